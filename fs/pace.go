package fs

import "time"

// A pace measures how fast an upload comes. The time in which the server is busy with what has come does not count. Like all
// of a room it is under the lock of its promises.
//
// A reservation lasts as long as its upload moves. Where its room is needed, an upload that is slow keeps only what it will
// send in paceTime; it gets back what is still there when it sends more.
type pace struct {
	since   time.Time // when the part began that is measured, but for the time that does not count
	before  int64     // that had come by then
	rate    float64   // bytes in a second of the part before that
	known   bool      // rate is
	busy    time.Time // since when the server is; zero: it waits for the client
	waiting time.Time // since when it does
	gaveWay bool      // room was given back since the last byte came
}

const (
	// paceSpan is for how long an upload is measured, and how long it may be silent.
	paceSpan = 10 * time.Second
	// paceTime is how long an upload that is not slow takes for the rest.
	paceTime = time.Hour
)

// begin begins, while the server is busy.
func (p *pace) begin(now time.Time) { p.since, p.busy = now, now }

// waits tells that the server waits for the client, which has sent so much.
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

// sends returns how many bytes will come in paceTime.
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

// isSlow reports whether an upload takes longer than paceTime for the rest. What the server copies itself is no upload.
// promises.mu must be held.
func (r *room) isSlow(now time.Time) bool {
	return r.need.Measure == nil && r.pace.busy.IsZero() && r.pace.sends(now, r.staged) < r.length-r.staged
}

// works tells that something has come and is being written, until waits is called.
func (r *room) works() {
	all := r.volume.promises()
	all.mu.Lock()
	defer all.mu.Unlock()
	if r.pace.busy.IsZero() {
		r.pace.busy = r.volume.opts.Now()
	}
}

func (r *room) waits() {
	if r == nil {
		return
	}
	all := r.volume.promises()
	all.mu.Lock()
	defer all.mu.Unlock()
	r.pace.waits(r.volume.opts.Now(), r.staged)
}
