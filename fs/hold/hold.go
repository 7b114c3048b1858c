// Package hold takes several locks for one holder, so that a holder that hangs keeps no other caller waiting for long.
//
// The locks are taken in one order, so that two callers never wait for each other. A caller that holds some of them
// waits for the next one for a second at most. Then it gives the others up, and waits for that one alone.
//
// The holder of several locks may hang in a system call at the thing that one of the locks guards. After a second, the
// locks that it does not need any more are let go. Before its first change it needs none, since it can begin again. A
// holder that is about to make a change says which locks it goes on to need ([Held.Keep]). A holder whose locks were
// let go before that learns it from the error of Keep, and has changed nothing.
package hold

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
)

// A Lock is a lock that one caller holds at a time. Two values with the same Order are one lock.
type Lock interface {
	// Order is the position of the lock among all locks.
	Order() uint64
	// Take waits for the lock. It fails with [vfs.ErrBusy] if another caller has the lock for as long as patience.
	Take(ctx context.Context, patience time.Duration) error
	// Release gives the lock up. It is called once for each Take that has succeeded, by any goroutine.
	Release()
}

// Patience is how long a caller that holds other locks waits for one lock, and how long it holds locks beside others
// before it is asked whether it still needs them.
const Patience = time.Second

// ErrLetGo says that locks were let go before the first change, because their holder did not answer for [Patience].
var ErrLetGo = errors.New("locks were let go, since a call did not return")

// A Held is the locks that one caller holds.
type Held struct {
	mu    sync.Mutex // never held across a system call that is not the release of a lock
	locks []Lock     // those that are held, in their order
	all   bool       // none of them was let go
	kept  []uint64   // nil: no change was begun
	// stall is called before locks are let go after a change was begun. The function that it returns is called by
	// Release.
	stall   func() (end func())
	stalled []func()
	pins    int
	timer   *time.Timer // nil: no lock is let go
}

// Take takes locks, which may be in any order. It waits as long as within for all of them, and then fails with
// [vfs.ErrBusy], and holds none.
func Take(ctx context.Context, locks []Lock, within time.Duration) (*Held, error) {
	if len(locks) > 1 {
		locks = slices.SortedFunc(slices.Values(locks),
			func(a, b Lock) int { return cmp.Compare(a.Order(), b.Order()) })
		locks = slices.CompactFunc(locks, func(a, b Lock) bool { return a.Order() == b.Order() })
	}
	if len(locks) == 1 {
		if err := locks[0].Take(ctx, within); err != nil {
			return nil, err
		}
		return &Held{locks: locks, all: true}, nil
	}
	late := time.Now().Add(within)
	for {
		busy, err := takeAll(ctx, locks, late)
		if err == nil {
			h := &Held{locks: locks, all: true}
			h.mu.Lock()
			defer h.mu.Unlock()
			h.timer = time.AfterFunc(Patience, h.letGo)
			return h, nil
		}
		if !errors.Is(err, vfs.ErrBusy) || !time.Now().Before(late) {
			return nil, err
		}
		if err := busy.Take(ctx, time.Until(late)); err != nil {
			return nil, err
		}
		busy.Release()
	}
}

// takeAll takes all locks, or none. busy is the lock that it could not take.
func takeAll(ctx context.Context, locks []Lock, late time.Time) (busy Lock, err error) {
	for i, l := range locks {
		patience := time.Until(late)
		if i > 0 {
			patience = min(patience, Patience)
		}
		if err := l.Take(ctx, patience); err != nil {
			releaseAll(locks[:i])
			return l, err
		}
	}
	return nil, nil
}

func releaseAll(locks []Lock) {
	for _, l := range slices.Backward(locks) {
		l.Release()
	}
}

// letGo lets go of the locks that the holder does not need any more.
func (h *Held) letGo() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.timer == nil {
		return // they are released
	}
	if h.pins > 0 {
		h.timer.Reset(Patience)
		return
	}
	var needed, others []Lock
	for _, l := range h.locks {
		if slices.Contains(h.kept, l.Order()) {
			needed = append(needed, l)
		} else {
			others = append(others, l)
		}
	}
	if len(others) == 0 {
		return
	}
	if h.stall != nil {
		h.stalled = append(h.stalled, h.stall())
	}
	releaseAll(others)
	h.locks, h.all = needed, false
}

// Keep says that the holder is about to make a change, and needs these locks until Release. If any of the others is
// let go from then on, stall is called before that. Keep fails with [ErrLetGo] if locks were let go before the first
// change, or if one of these locks is not held. It may be called again for a further change.
func (h *Held) Keep(orders []uint64, stall func() (end func())) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.all && h.kept == nil {
		return ErrLetGo
	}
	if slices.ContainsFunc(orders, func(order uint64) bool { return !h.has(order) }) {
		return ErrLetGo
	}
	if h.kept == nil {
		h.kept = slices.Clip(orders)
	} else {
		h.kept = append(h.kept, orders...)
	}
	h.stall = stall
	return nil
}

// Has reports whether a lock is held.
func (h *Held) Has(order uint64) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.has(order)
}

func (h *Held) has(order uint64) bool {
	return slices.ContainsFunc(h.locks, func(l Lock) bool { return l.Order() == order })
}

// Stands reports whether all that was seen under the locks is still so: none of them was let go before the first
// change.
func (h *Held) Stands() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.all || h.kept != nil
}

// IsSafe reports whether no lock can be let go, since there is one alone.
func (h *Held) IsSafe() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.timer == nil
}

// Begun reports whether a change was begun.
func (h *Held) Begun() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.kept != nil
}

// Pin keeps a lock from being let go until Unpin is called, for calls that only that lock guards. ok is false if the
// lock is not held, and Unpin is not to be called then.
func (h *Held) Pin(order uint64) (ok bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.has(order) {
		return false
	}
	h.pins++
	return true
}

// Unpin ends a Pin.
func (h *Held) Unpin() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.pins--
}

// Release releases the locks that are still held. It may be called again.
func (h *Held) Release() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.timer != nil {
		h.timer.Stop()
		h.timer = nil
	}
	for _, end := range h.stalled {
		end()
	}
	h.stalled = nil
	releaseAll(h.locks)
	h.locks = nil
}
