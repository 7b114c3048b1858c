package limit

import (
	"container/list"
	"context"
	"time"
)

// A Rester holds a slot for several goroutines that work. The slot rests while none of them works.
type Rester interface {
	Rest()      // one goroutine stops working
	Work() bool // one goroutine begins to work. false: the slot has given way
}

type resterKey struct{}

// WithRester returns a context for a goroutine that works. Functions that it calls find the [Rester] in it.
func WithRester(ctx context.Context, r Rester) context.Context {
	return context.WithValue(ctx, resterKey{}, r)
}

// Rest lets the goroutine rest while it waits, so that its slot can give way to other clients. The rest ends with a
// call of work.
func Rest(ctx context.Context) (work func()) {
	r, ok := ctx.Value(resterKey{}).(Rester)
	if !ok {
		return func() {}
	}
	r.Rest()
	return func() { r.Work() }
}

// Rest says that no work goes on in a slot, so that it can give way to a client that needs a slot.
func (slot *Slot) Rest() {
	p := slot.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	if !slot.gone && slot.all == nil {
		slot.rested = now()
		slot.all, slot.own = p.resting.PushBack(slot), slot.share.resting.PushBack(slot)
	}
}

// Work ends a Rest. It reports whether the slot is still held.
func (slot *Slot) Work() bool {
	slot.pool.mu.Lock()
	defer slot.pool.mu.Unlock()
	slot.work()
	return !slot.gone
}

// work does the work of Work. mu must be held.
func (slot *Slot) work() {
	if slot.all != nil {
		slot.pool.resting.Remove(slot.all)
		slot.share.resting.Remove(slot.own)
		slot.all, slot.own = nil, nil
	}
}

// restTime is how long a resting slot is left alone. A client that has connected needs a moment to send its request,
// and an answer needs a moment to be sent. After longRest, the slot gives way to each client. Before, it gives way only
// to clients that hold fewer slots.
const (
	restTime = time.Second / 2
	longRest = time.Second
)

// triedResting bounds how many resting slots are looked at to find one that gives way.
const triedResting = 16

// longestResting returns the resting slot that gives way to a client. It is the client's own slot that has rested
// longest, or a slot of another client. The resting slots of other clients count as free here. So a client that has
// many slots at work does not also get those. mu must be held.
func (p *Pool) longestResting(s *share) *Slot {
	at := now()
	find := func(in *list.List, fits func(slot *Slot, rest time.Duration) bool) *Slot {
		e := in.Front()
		for range triedResting {
			if e == nil {
				break
			}
			slot := e.Value.(*Slot)
			if rest := time.Duration(at - slot.rested); rest >= restTime && fits(slot, rest) {
				return slot
			}
			e = e.Next()
		}
		return nil
	}
	if p.isScarce() && !p.mayTake(s) {
		return nil
	}
	if own := find(&s.resting, func(*Slot, time.Duration) bool { return true }); own != nil {
		return own
	}
	if p.hasMost(s) {
		return nil
	}
	room := s.admitted(p.size - p.used + p.resting.Len() - s.resting.Len())
	return find(&p.resting, func(slot *Slot, rest time.Duration) bool {
		return slot.share.held > s.held || room && rest >= longRest
	})
}

// If few slots are free, resting slots give way to a client at most takenAtOnce times at once, and then once per
// takeEvery, no matter if they are the client's own. Without this bound, clients that come again and again would keep
// all slots so young that they are left alone, and would keep the next client out.
const (
	takenAtOnce = 8
	takeEvery   = 2 * time.Second
)

// isScarce reports whether few slots are free. mu must be held.
func (p *Pool) isScarce() bool { return p.size-p.used <= p.size/8 }

// mayTake reports whether a resting slot may give way to a client. mu must be held.
func (p *Pool) mayTake(s *share) bool {
	until, ok := p.taken.Get(s.client)
	return !ok || s.client == "" || until-now() <= int64((takenAtOnce-1)*takeEvery)
}

// noteTaken notes that a slot has given way to a client. mu must be held.
func (p *Pool) noteTaken(s *share) {
	at := now()
	if until, ok := p.taken.Get(s.client); ok {
		at = max(at, until)
	}
	p.taken.Add(s.client, at+int64(takeEvery))
}
