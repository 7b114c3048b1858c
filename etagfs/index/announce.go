package index

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"time"

	"r-seed-1f3a754f.example/ifmatch/tree"
)

// A moment has the facts that decide about dates at one time.
type moment struct {
	now, high, floor int64
	alone            bool        // no other process has shown a date since floor
	mounted          bool        // as in a sharedState
	back             int64       // as in a sharedState
	broken           bool        // no date proves anything
	ahead            []tree.Span // future dates when any process showed them, for any name
}

func (d *Dates) moment() moment {
	m := moment{now: d.clock()}
	h := d.x.home.Load()
	n, ok := sharedState{back: never}, true
	if h != nil {
		if n, ok = h.shared.read(); ok {
			raise(&d.high, n.high)
			raise(&d.lead, n.lead)
		}
	}
	m.high, m.mounted, m.back, m.broken = d.highest(), n.mounted, n.back, !ok || n.broken || d.broken.Load()
	d.mu.Lock()
	defer d.mu.Unlock()
	m.floor, m.ahead = d.floor, n.ahead
	if h == nil {
		m.alone, m.ahead = true, d.ahead
	} else {
		m.alone = ok && h == d.at && !d.company && n.showing == d.showing
	}
	return m
}

// join reads the shared state of an index that has just been opened.
func (d *Dates) join(h *home) {
	d.mu.Lock()
	d.at, d.company = h, false
	d.mu.Unlock()
	if h == nil {
		return
	}
	n, ok := h.shared.read()
	_, show := h.epochs.others()
	if ok {
		raise(&d.high, n.high)
		raise(&d.lead, n.lead)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.showing, d.company = n.showing, show || !ok
}

// Tick finds out whether other processes still show dates. It has to be called after each [Index.Tick], and never at
// the same time.
func (d *Dates) Tick() {
	h := d.x.home.Load()
	d.mu.Lock()
	moved, ahead := h != d.at, len(d.ahead) > 0
	d.mu.Unlock()
	if moved {
		d.join(h)
		d.forget()
		if h != nil && ahead { // the index was begun anew, and has to get these dates again
			_ = h.shared.setBroken(h.epochs.run, true)
			d.broken.Store(true)
			d.mend(h)
		}
		return
	}
	if h == nil {
		return
	}
	d.mend(h)
	n, ok := h.shared.read()
	if m := d.moment(); !m.alone && ok {
		if _, show := h.epochs.others(); !show {
			d.mu.Lock()
			d.showing, d.company = n.showing, false
			d.mu.Unlock()
			d.forget()
		}
	}
	d.publish(h, n.high)
}

// publish writes the highest time that the clock has shown to the shared state.
func (d *Dates) publish(h *home, published int64) {
	if d.announced.Load() != h || d.highest() <= published {
		return
	}
	if err := d.share(h); err != nil {
		d.x.trouble("shared", fmt.Errorf("noting in the index what time it is: %w", err))
	}
}

// share writes the facts of this process into the shared state.
func (d *Dates) share(h *home) error {
	d.mu.Lock()
	facts, ahead := d.facts.Load(), d.ahead
	mounted, high, lead, back := d.mounted.Load(), d.highest(), d.lead.Load(), d.back.Load()
	d.mu.Unlock()
	err := h.shared.change(func(n *sharedState) bool {
		before := *n
		n.mounted = n.mounted || mounted
		n.high, n.lead, n.back = max(high, n.high), max(lead, n.lead), max(back, n.back)
		for _, s := range ahead {
			n.ahead = addTo(n.ahead, s)
		}
		return n.mounted != before.mounted || n.high != before.high || n.lead != before.lead ||
			n.back != before.back || !slices.Equal(n.ahead, before.ahead)
	})
	d.announcing.Lock()
	defer d.announcing.Unlock()
	if err == nil && d.announced.Load() == h {
		raise(&d.said, facts)
	}
	return err
}

// announce tells other processes that this process shows dates, and by which clock, before it shows one.
func (d *Dates) announce(mounted bool, now int64) {
	high := d.highest()
	behind := now < high-1
	if mounted && !d.mounted.Load() || behind != d.behind.Load() {
		d.mu.Lock()
		if mounted && !d.mounted.Load() {
			d.facts.Add(1)
			d.mounted.Store(true)
		}
		if behind && high > d.back.Load() {
			d.facts.Add(1)
			d.back.Store(high)
		}
		d.behind.Store(behind)
		d.mu.Unlock()
	}
	d.say()
}

// say tells other processes the facts that they do not have yet.
func (d *Dates) say() {
	h := d.x.home.Load()
	if h == nil {
		return
	}
	var err error
	if d.announced.Load() != h {
		err = d.announceAt(h)
	}
	if err == nil && d.said.Load() < d.facts.Load() {
		err = d.share(h)
	}
	if err != nil {
		d.breakDown(h, err)
	}
}

// announceAt writes into the shared file that this process shows dates. It needs no lock. The file of its run says so
// first. So if another process begins later, it sees this process, or this process sees it.
func (d *Dates) announceAt(h *home) error {
	d.announcing.Lock()
	defer d.announcing.Unlock()
	if d.announced.Load() == h {
		return nil
	}
	err := h.epochs.set(false, func(e *epochs) bool { e.shows = true; return true })
	if err != nil {
		return err
	}
	before, ok := h.shared.read()
	showing := rand.Uint64()
	if err := h.shared.word(showingAt, showing); err != nil {
		return err
	}
	_, show := h.epochs.others()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.company = d.company || show || !ok || before.showing != d.showing
	if d.at == h { // otherwise the next Tick finds out
		d.showing = showing
	}
	d.said.Store(0)
	d.facts.Add(1)
	d.announced.Store(h)
	return nil
}

// breakDown writes into the shared file, without its lock, that no date proves anything any more.
func (d *Dates) breakDown(h *home, err error) {
	if d.broken.Swap(true) {
		return
	}
	if failed := h.shared.setBroken(h.epochs.run, true); failed != nil {
		err = errors.Join(err, failed)
	}
	d.report(fmt.Errorf("telling other servers which dates are shown, which is tried again; "+
		"until then no date proves anything: %w", err))
}

// mend writes the facts into the shared file that could not be written before, and removes the mark of
// [Dates.breakDown].
func (d *Dates) mend(h *home) {
	if !d.broken.Load() || d.announced.Load() != h && d.announceAt(h) != nil {
		return
	}
	if d.share(h) == nil && h.shared.setBroken(h.epochs.run, false) == nil {
		d.broken.Store(false)
		d.forget()
	}
}

// tell notes that a future date is shown. A date in the next second needs no note: the date that takes the place of
// lost notes is at least as late.
func (d *Dates) tell(date, now int64) {
	if date <= now+1 {
		return
	}
	d.mu.Lock()
	if !tree.AnyHas(d.ahead, date) {
		d.ahead = addTo(d.ahead, tree.Span{First: date, Last: date})
		d.facts.Add(1)
	}
	d.mu.Unlock()
	d.say()
}

// Close writes the present time to the shared state, for later processes.
func (d *Dates) Close() error {
	h := d.x.home.Load()
	if h == nil {
		return nil
	}
	n, ok := h.shared.read()
	if !ok {
		return errors.New("the shared state of the index cannot be read")
	}
	d.publish(h, n.high)
	return nil
}

// clock returns the present second.
func (d *Dates) clock() int64 {
	now := d.now().Unix()
	if lead := now - d.monotonic(); lead > d.lead.Load() {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.facts.Add(1)
		raise(&d.lead, lead)
	}
	return now
}

// monotonic returns the present second of the machine's monotonic clock.
func (d *Dates) monotonic() int64 {
	return (d.ticked + int64(time.Since(d.start))) / int64(time.Second)
}

// highest returns the highest second that the clock can have shown in any process.
func (d *Dates) highest() int64 { return max(d.high.Load(), d.lead.Load()+d.monotonic()) }

// raise reports whether it has raised a value.
func raise(v *atomic.Int64, to int64) bool {
	for is := v.Load(); to > is; is = v.Load() {
		if v.CompareAndSwap(is, to) {
			return true
		}
	}
	return false
}
