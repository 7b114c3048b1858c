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
	perClient int // how many slots one client may hold. 0: as many as are free

	mu      sync.Mutex
	used    int
	clients map[string]*share
	nets    map[string]*network
	resting list.List // of *Slot. The slot that has rested longest is the first
	waiting int       // how many waiters wait for a slot
	queues  list.List // of *share, those with waiters
	looked  int64     // when the pool last looked for slow clients

	taken *lru.Cache[string, int64] // by client: when it has waited takeEvery for each slot that gave way to it
}

// A share is the part of a pool that one client has. The share of a client that holds no slot and waits for none is
// forgotten.
type share struct {
	client  string
	net     *network // nil: the client is in none
	held    int
	queue   list.List // of *waiter, the oldest first
	queued  *list.Element
	slots   *Slot     // the first slot. The others follow by next
	resting list.List // of *Slot. The slot that has rested longest is the first
}

// A Slot is held until it is released.
type Slot struct {
	In, Out Meter // measure how fast the client sends and reads

	pool    *Pool
	share   *share
	giveWay func()

	// Under the lock of the pool.
	gone            bool  // the slot does not count any more
	told            bool  // the slot was told to give way
	rested          int64 // since when the slot rests
	all, own        *list.Element
	next, previous  *Slot // of the same client
	lastIn, lastOut reading

	ending sync.Mutex // held while the slot is told to give way, which must not be after its release
	ended  bool
}

// A waiter waits for a slot.
type waiter struct {
	share *share
	slot  *Slot
	at    *list.Element // in the queue of its share
	given chan struct{} // closed when slot counts
}

// NewPool returns a pool of size slots, and of one slot at least. what names the use of the slots, in the plural.
func NewPool(what string, size int) *Pool {
	taken, _ := lru.New[string, int64](refusedKept) // fails for a size below one
	return &Pool{what: what, size: max(size, 1), clients: map[string]*share{}, nets: map[string]*network{}, taken: taken}
}

// Size returns how many slots there are.
func (p *Pool) Size() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.size
}

// Resize changes how many slots there are, one at least, and how many of them one client may hold (0: as many as are
// free). Slots that are held stay held, also if they are more than that. Waiters get new slots at once.
func (p *Pool) Resize(size, perClient int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.size, p.perClient = max(size, 1), perClient
	p.handOn()
}

// leastWaiting is how many waiters even a small pool may have.
const leastWaiting = 1024

// lookEvery is how often the pool looks for slow clients while others wait.
const lookEvery = 100 * time.Millisecond

// Acquire takes a slot for a client. It waits for one until patience is over, or ctx is done. If giveWay is not nil, it
// is called at most once, and before Release returns, if others need the slot and its client is slow. giveWay ends the
// work in the slot, and does not wait for the end of that work.
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

// TryAcquire is [Pool.Acquire] for callers that do not wait. A slot that has rested for a moment gives way at once: it
// does not count any more when its giveWay is called.
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
	p.count(slot) // before the other slot is dropped, so that its place is for this client
	p.drop(rested)
	return slot, rested, nil
}

// enter takes a slot or, if none is free, a place in the queue.
func (p *Pool) enter(client string, giveWay func(), mayWait bool) (*Slot, *waiter, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.shareOf(client)
	if slot := p.take(s, giveWay); slot != nil {
		return slot, nil, nil
	}
	// The number of waiters is bounded in the same way as the number of slots. A waiter costs little, so there may be
	// more waiters than slots.
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

// leave ends the wait for a slot. If the slot was given meanwhile, leave returns the slot.
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

// shareOf returns the share of a client. mu must be held.
func (p *Pool) shareOf(client string) *share {
	s := p.clients[client]
	if s == nil {
		s = &share{client: client, net: p.join(client)}
		p.clients[client] = s
	}
	return s
}

// forget forgets a client that holds no slot and waits for none. mu must be held.
func (p *Pool) forget(s *share) {
	if s.held == 0 && s.queue.Len() == 0 && p.clients[s.client] == s {
		delete(p.clients, s.client)
		p.part(s.net)
	}
}

// admits reports whether a client may have one more slot. mu must be held.
func (p *Pool) admits(s *share) bool { return !p.hasMost(s) && s.admitted(p.size-p.used) }

// hasMost reports whether a client holds as many as one client may.
func (p *Pool) hasMost(s *share) bool {
	return p.perClient > 0 && s.client != "" && s.held >= p.perClient
}

// admitted reports whether a client may have one more slot if free slots are free.
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

// drop ends the counting of a slot, and gives free slots to waiters. mu must be held.
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

// handOn gives free slots to waiters: to one waiter of each client in turn. mu must be held.
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

// Release gives a slot back. It is enough to call it once.
func (slot *Slot) Release() {
	slot.pool.mu.Lock()
	slot.pool.drop(slot)
	slot.pool.mu.Unlock()
	slot.end(false)
}

// end ends a slot. If giveWay is true, it calls the slot's giveWay.
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

// slow returns slots of slow clients, which are to give way to waiters. They are slots of the waiting client itself or,
// if the whole pool is taken, of the client that holds the most slots.
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
		// Both are called, so that both readings move on.
		in, out := slot.In.slow(&slot.lastIn, at), slot.Out.slow(&slot.lastOut, at)
		if (in || out) && slot.giveWay != nil && !slot.told {
			slot.told = true
			found = append(found, slot)
		}
	}
	return found
}
