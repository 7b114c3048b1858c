package limit

import (
	"container/list"
	"context"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
)

// A Pool is a number of slots for which clients compete.
type Pool struct {
	what      string
	size      int
	perClient int // most that one client may hold; 0: as many as are free

	mu      sync.Mutex
	used    int
	clients map[string]*share
	nets    map[string]*network
	resting list.List // of *Slot, the longest first
	waiting int       // for a slot
	queues  list.List // of *share, those of which somebody waits
	looked  int64     // when slow clients were looked for last

	taken *lru.Cache[string, int64] // when a client will have waited for all that has given way to it
}

// A share is what one client has of a pool; one that has nothing is forgotten.
type share struct {
	client  string
	net     *network // nil: it is in none
	held    int
	queue   list.List // of *waiter, the first first
	queued  *list.Element
	slots   *Slot     // the first, and so on by next
	resting list.List // of *Slot, the longest first
}

// A Slot is held until it is released.
type Slot struct {
	In, Out Meter // what its client sends, and reads

	pool    *Pool
	share   *share
	giveWay func()
	taken   int64 // when

	// Under the lock of the pool.
	gone            bool  // it is not counted any more
	told            bool  // to give way
	rested          int64 // since when
	all, own        *list.Element
	next, previous  *Slot // of the same client
	lastIn, lastOut reading

	ending sync.Mutex // held while it is told to give way, which must not be after its release
	ended  bool
}

// A waiter waits for a slot.
type waiter struct {
	share *share
	slot  *Slot
	at    *list.Element // in the queue of its share
	given chan struct{} // closed when slot is counted
}

// NewPool returns a pool of so many slots, one at least. what says what they are for, in the plural.
func NewPool(what string, size int) *Pool {
	taken, _ := lru.New[string, int64](refusedKept) // fails for a size below one
	return &Pool{what: what, size: max(size, 1), clients: map[string]*share{}, nets: map[string]*network{}, taken: taken}
}

// Size returns how many slots there are.
func (p *Pool) Size() int { return p.size }

// leastWaiting is how many may wait for a slot of a small pool.
const leastWaiting = 1024

// lookEvery is how often slow clients are looked for while others wait.
const lookEvery = 100 * time.Millisecond

// Acquire takes a slot for a client, and waits for one for as long as patience says, or until ctx is done. giveWay, if it
// is not nil, is called at most once, and before Release returns, when others need the slot and its client is slow: it
// ends what is going on, and does not wait for that.
func (p *Pool) Acquire(ctx context.Context, client string, patience time.Duration, giveWay func()) (*Slot, error) {
	slot, w, err := p.enter(client, giveWay, patience > 0)
	if w == nil {
		return slot, err
	}
	end := time.NewTimer(patience)
	defer end.Stop()
	again := time.NewTicker(lookEvery)
	defer again.Stop()
	for {
		for _, slow := range p.slow(w.share) {
			slow.end(true)
		}
		select {
		case <-w.given:
			return w.slot, nil
		case <-again.C:
		case <-ctx.Done():
			return p.leave(w, ctx.Err())
		case <-end.C:
			return p.leave(w, nil)
		}
	}
}

// TryAcquire is Acquire for who does not wait. What has rested for a moment gives way to it at once: such a slot is not
// counted any more when its giveWay is called.
func (p *Pool) TryAcquire(client string, giveWay func()) (*Slot, error) {
	slot, rested, err := p.takeRested(client, giveWay)
	if rested != nil {
		rested.end(true)
	}
	return slot, err
}

func (p *Pool) takeRested(client string, giveWay func()) (slot, rested *Slot, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.shareOf(client)
	if slot = p.take(s, giveWay); slot != nil {
		return slot, nil, nil
	}
	if rested = p.longestResting(s); rested == nil {
		err = p.refusal(s)
		p.forget(s)
		return nil, nil, err
	}
	if p.isScarce() {
		p.noteTaken(s)
	}
	slot = p.newSlot(s, giveWay)
	p.count(slot) // before the other one is not: what becomes free is for this client
	p.drop(rested)
	return slot, rested, nil
}

// enter takes a slot, or a place among those who wait for one.
func (p *Pool) enter(client string, giveWay func(), mayWait bool) (*Slot, *waiter, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.shareOf(client)
	if slot := p.take(s, giveWay); slot != nil {
		return slot, nil, nil
	}
	// Who waits is bounded as who holds is. That costs little, so there may be more of them.
	if room := max(p.size, leastWaiting) - p.waiting; !mayWait || room <= 0 || client != "" && s.queue.Len() >= room {
		err := p.refusal(s)
		p.forget(s)
		return nil, nil, err
	}
	w := &waiter{share: s, slot: p.newSlot(s, giveWay), given: make(chan struct{})}
	p.waiting++
	w.at = s.queue.PushBack(w)
	if s.queued == nil {
		s.queued = p.queues.PushBack(s)
	}
	return nil, w, nil
}

func (w *waiter) isGiven() bool {
	select {
	case <-w.given:
		return true
	default:
		return false
	}
}

// leave ends the wait for a slot; one that was given meanwhile is taken all the same.
func (p *Pool) leave(w *waiter, err error) (*Slot, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if w.isGiven() {
		return w.slot, nil
	}
	p.unqueue(w)
	if err == nil {
		err = p.refusal(w.share)
	}
	p.forget(w.share)
	return nil, err
}

// shareOf returns what a client has. mu must be held.
func (p *Pool) shareOf(client string) *share {
	s := p.clients[client]
	if s == nil {
		s = &share{client: client, net: p.join(client)}
		p.clients[client] = s
	}
	return s
}

// forget forgets a client that has nothing. mu must be held.
func (p *Pool) forget(s *share) {
	if s.held == 0 && s.queue.Len() == 0 && p.clients[s.client] == s {
		delete(p.clients, s.client)
		p.part(s.net)
	}
}

// admits reports whether a client may have one more. mu must be held.
func (p *Pool) admits(s *share) bool { return !p.hasMost(s) && s.admitted(p.size-p.used) }

// hasMost reports whether a client holds as many as one client may.
func (p *Pool) hasMost(s *share) bool {
	return p.perClient > 0 && s.client != "" && s.held >= p.perClient
}

// admitted reports whether a client may have one more of so many that are free.
func (s *share) admitted(free int) bool {
	return free > 0 && (s.client == "" || s.held < free) && (s.net == nil || s.net.held < netShare*free)
}

// take takes a slot if there is one for this client, and nil otherwise. mu must be held.
func (p *Pool) take(s *share, giveWay func()) *Slot {
	if !p.admits(s) {
		return nil
	}
	slot := p.newSlot(s, giveWay)
	p.count(slot)
	return slot
}

func (p *Pool) newSlot(s *share, giveWay func()) *Slot {
	return &Slot{pool: p, share: s, giveWay: giveWay}
}

// count counts a slot as held. mu must be held.
func (p *Pool) count(slot *Slot) {
	slot.taken = now()
	p.used++
	s := slot.share
	s.held++
	if s.net != nil {
		s.net.held++
	}
	if slot.next = s.slots; slot.next != nil {
		slot.next.previous = slot
	}
	s.slots = slot
}

// drop counts a slot no more, and hands what is free to those who wait. mu must be held.
func (p *Pool) drop(slot *Slot) {
	if slot.gone {
		return
	}
	slot.gone = true
	slot.work()
	p.used--
	slot.share.held--
	if slot.share.net != nil {
		slot.share.net.held--
	}
	if slot.previous != nil {
		slot.previous.next = slot.next
	} else {
		slot.share.slots = slot.next
	}
	if slot.next != nil {
		slot.next.previous = slot.previous
	}
	p.forget(slot.share)
	p.handOn()
}

// unqueue ends a wait. mu must be held.
func (p *Pool) unqueue(w *waiter) {
	p.waiting--
	s := w.share
	if s.queue.Remove(w.at); s.queue.Len() == 0 {
		p.queues.Remove(s.queued)
		s.queued = nil
	}
}

// handOn gives what is free to those who wait: to one of each client in turn. mu must be held.
func (p *Pool) handOn() {
	for given := true; given && p.used < p.size; {
		given = false
		for e := p.queues.Front(); e != nil; {
			s, next := e.Value.(*share), e.Next()
			if p.admits(s) {
				w := s.queue.Front().Value.(*waiter)
				p.unqueue(w)
				p.count(w.slot)
				close(w.given)
				given = true
			}
			e = next
		}
	}
}

func (p *Pool) refusal(s *share) *Error {
	e := &Error{What: p.what, Held: s.held, Size: p.size, Shared: p.used < p.size}
	if p.hasMost(s) {
		e.PerClient = p.perClient
	}
	return e
}

// Release gives a slot back; once is enough.
func (slot *Slot) Release() {
	slot.pool.mu.Lock()
	slot.pool.drop(slot)
	slot.pool.mu.Unlock()
	slot.end(false)
}

// end ends a slot, and tells it so where it is to give way.
func (slot *Slot) end(giveWay bool) {
	slot.ending.Lock()
	defer slot.ending.Unlock()
	if slot.ended {
		return
	}
	slot.ended = true
	if giveWay && slot.giveWay != nil {
		slot.giveWay()
	}
}

// slow returns the slots of slow clients that give way to one that waits: its own, or where none is left, those of who
// has the most.
func (p *Pool) slow(s *share) (found []*Slot) {
	p.mu.Lock()
	defer p.mu.Unlock()
	at := now()
	if p.looked != 0 && at-p.looked < int64(lookEvery) {
		return nil
	}
	p.looked = at
	from := s
	if p.used >= p.size {
		for _, other := range p.clients {
			if other.held > from.held {
				from = other
			}
		}
	}
	for slot := from.slots; slot != nil && len(found) < p.waiting; slot = slot.next {
		// Both, so that both readings move on.
		in, out := slot.In.slow(&slot.lastIn, at), slot.Out.slow(&slot.lastOut, at)
		if (in || out) && slot.giveWay != nil && !slot.told {
			slot.told = true
			found = append(found, slot)
		}
	}
	return found
}
