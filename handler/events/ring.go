package events

import (
	"context"
	"sync"
	"time"

	"r-seed-1f3a754f.example/ifmatch/tree"
)

// A ring has the latest changes. Positions count all changes since it was made.
type ring struct {
	mu   sync.Mutex
	kept []*entry
	size int           // of the names in them, in bytes
	next int           // the position of the next change
	from int           // the position from which on the changes are known
	end  tree.Cursor   // after the last change
	more chan struct{} // closed by the next change
}

// An entry is a change, with the resource that is there now.
type entry struct {
	tree.Change
	looked sync.Once
	state  tree.State
	err    error
}

// maxKeptBytes bounds the names in a ring.
const maxKeptBytes = 4 << 20

// sizeOf returns the size of the names of a change, in bytes.
func sizeOf(c tree.Change) int { return len(c.Name) + len(c.From) }

func newRing(size int) *ring {
	return &ring{kept: make([]*entry, size), more: make(chan struct{})}
}

// begin says that the next change comes after a cursor. Changes before it may be missing.
func (r *ring) begin(at tree.Cursor) {
	r.mu.Lock()
	defer r.mu.Unlock()
	clear(r.kept)
	r.size = 0
	r.next++ // so that listeners at the end are told too
	r.from, r.end = r.next, at
	r.wake()
}

func (r *ring) add(c tree.Change) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.size += sizeOf(c)
	for r.from < r.next && (r.next-r.from == len(r.kept) || r.size > maxKeptBytes) {
		oldest := &r.kept[r.from%len(r.kept)]
		r.size -= sizeOf((*oldest).Change)
		*oldest = nil
		r.from++
	}
	r.kept[r.next%len(r.kept)] = &entry{Change: c}
	r.next++
	r.end = c.Cursor
	r.wake()
}

// wake must be called under mu.
func (r *ring) wake() {
	close(r.more)
	r.more = make(chan struct{})
}

// now returns the position and the cursor after the last change.
func (r *ring) now() (at int, c tree.Cursor) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.next, r.end
}

// after returns the position after the change with a cursor. ok is false if the ring does not have that cursor.
func (r *ring) after(c tree.Cursor) (at int, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if c == r.end {
		return r.next, true
	}
	for at := r.next - 1; at >= r.from; at-- {
		if r.kept[at%len(r.kept)].Cursor == c {
			return at + 1, true
		}
	}
	return 0, false
}

// read returns some of the changes after a position. ok is false if some of those are not known any more. more is closed
// when there are others.
func (r *ring) read(at int) (found []*entry, more <-chan struct{}, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if at < r.from {
		return nil, r.more, false
	}
	for ; at < r.next && len(found) < olderAtOnce; at++ {
		found = append(found, r.kept[at%len(r.kept)])
	}
	return found, r.more, true
}

// lookTime bounds the look at a resource that has changed.
const lookTime = 5 * time.Second

// look returns the resource at the name of the change now. All listeners share it.
func (e *entry) look(store tree.Store) (tree.State, error) {
	e.looked.Do(func() {
		ctx, cancel := context.WithTimeout(context.Background(), lookTime)
		defer cancel()
		e.state, e.err = store.Stat(ctx, e.Name, tree.ReadOptions{})
	})
	return e.state, e.err
}
