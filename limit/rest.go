package limit

import (
	"container/list"
	"context"
	"time"
)

// A Rester holds a slot for several who work, and rests where none of them does.
type Rester interface {
	Rest()      // one works no more
	Work() bool // one begins; false: the slot has given way
}

type resterKey struct{}

// WithRester returns a context of one that works, by which others find the [Rester].
func WithRester(ctx context.Context, r Rester) context.Context {
	return context.WithValue(ctx, resterKey{}, r)
}

// Rest has one that works rest while it waits for something that gives way to others, until work is called.
func Rest(ctx context.Context) (work func()) {
	r, ok := ctx.Value(resterKey{}).(Rester)
	if !ok {
		return func() {}
	}
	r.Rest()
	return func() { r.Work() }
}

// Rest tells that nothing is going on in a slot, so that it gives way to whoever needs it.
func (slot *Slot) Rest() {
	p := slot.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	if !slot.gone && slot.all == nil {
		slot.rested = now()
		slot.all, slot.own = p.resting.PushBack(slot), slot.share.resting.PushBack(slot)
	}
}

// Work takes back Rest. It reports whether the slot is still held.
func (slot *Slot) Work() bool {
	slot.pool.mu.Lock()
	defer slot.pool.mu.Unlock()
	slot.work()
	return !slot.gone
}

// work is Work. mu must be held.
func (slot *Slot) work() {
	if slot.all != nil {
		slot.pool.resting.Remove(slot.all)
		slot.share.resting.Remove(slot.own)
		slot.all, slot.own = nil, nil
	}
}

// restTime is how long a slot that rests is left alone: who connects needs a moment to say what for, and an answer a
// moment to be sent. After longRest it gives way to anybody, and before only to who has less.
const (
	restTime = time.Second / 2
	longRest = time.Second
)

// triedResting bounds how many are looked at to find one that gives way.
const triedResting = 16

// longestResting returns the slot that gives way to a client: of its own the one that has rested longest, or one of somebody
// else's. What others have that rests counts as if it were free: who has many at work does not get that, too. mu must be
// held.
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

// Where few slots are free, what rests gives way to a client so many times at once, and then once in each takeEvery, be it
// its own or not. Clients that come again and again would have all slots be so young that they are left alone, and keep the
// next one out.
const (
	takenAtOnce = 8
	takeEvery   = 2 * time.Second
)

// isScarce reports whether few slots are free. mu must be held.
func (p *Pool) isScarce() bool { return p.size-p.used <= p.size/8 }

// mayTake reports whether what rests gives way to a client. mu must be held.
func (p *Pool) mayTake(s *share) bool {
	until, ok := p.taken.Get(s.client)
	return !ok || s.client == "" || until-now() <= int64((takenAtOnce-1)*takeEvery)
}

// noteTaken notes that something has given way to a client. mu must be held.
func (p *Pool) noteTaken(s *share) {
	at := now()
	if until, ok := p.taken.Get(s.client); ok {
		at = max(at, until)
	}
	p.taken.Add(s.client, at+int64(takeEvery))
}
