package room

import "time"

// A pace measures how fast the data of an upload arrives. The time in which the server is busy with data that has
// arrived does not count. The lock of the promises of a room protects the pace, as it protects the whole room.
//
// A reservation lasts as long as its upload makes progress. If other uploads need the reserved space, a slow upload
// keeps only the space for the data that it will send in paceTime. When it sends more data, it gets back the space that
// is still free.
type pace struct {
	since   time.Time // when the measured part began, moved forward by the time that does not count
	before  int64     // bytes that had arrived by then
	rate    float64   // bytes per second in the previous part
	known   bool      // rate is known
	busy    time.Time // since when the server is busy, or zero while it waits for the client
	waiting time.Time // since when the server waits for the client
	gaveWay bool      // space was given back since the last byte arrived
}

const (
	// paceSpan is the period over which an upload is measured, and the longest time for which an upload may be silent.
	paceSpan = 10 * time.Second
	// paceTime is the longest time that an upload may need for the rest of its data without being slow.
	paceTime = time.Hour
)

// begin starts the measurement, while the server is busy.
func (p *pace) begin(now time.Time) { p.since, p.busy = now, now }

// waits records that the server waits for the client, and that staged bytes have arrived.
func (p *pace) waits(now time.Time, staged int64) {
	if !p.busy.IsZero() {
		p.since = p.since.Add(now.Sub(p.busy))
		p.busy = time.Time{}
	}
	p.waiting = now
	if now.Sub(p.since) >= paceSpan {
		p.rate, p.known = p.rateAt(now, staged), true
		p.since, p.before = now, staged
	}
}

func (p *pace) rateAt(now time.Time, staged int64) float64 {
	return float64(staged-p.before) / now.Sub(p.since).Seconds()
}

// sends returns how many bytes will arrive in paceTime.
func (p *pace) sends(now time.Time, staged int64) int64 {
	rate, known := p.rate, p.known
	switch {
	case !p.busy.IsZero():
	case now.Sub(p.waiting) >= paceSpan:
		return 0
	case now.Sub(p.since) >= paceSpan:
		rate, known = p.rateAt(now, staged), true
	}
	if !known {
		return tooMuch
	}
	return int64(min(rate*paceTime.Seconds(), tooMuch))
}

// isSlow reports whether an upload needs longer than paceTime for the rest of its data. A copy that the server makes
// itself is not an upload. promises.mu must be held.
func (r *Room) isSlow(now time.Time) bool {
	return r.need.Measure == nil && r.pace.busy.IsZero() && r.pace.sends(now, r.staged) < r.length-r.staged
}

// works records that data has arrived and that the server is writing it, until waits is called.
func (r *Room) works() {
	_, unlock := r.lock()
	defer unlock()
	if r.pace.busy.IsZero() {
		r.pace.busy = r.rooms.now()
	}
}

// Waits records that the data that has arrived is staged, and that the server waits for more.
func (r *Room) Waits() {
	if r == nil {
		return
	}
	_, unlock := r.lock()
	defer unlock()
	r.pace.waits(r.rooms.now(), r.staged)
}
