package fs

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// A sequence is the sequence number of the names on one file system: it is odd from before the first rename of a
// commit until after the last one. A reader that finds it even, and after its looks unmoved, has seen no name in the
// middle of a commit, nor a version that was taken back. No lock is needed for that, and nothing is held while a
// reader looks.
//
// Only this process counts. A commit of another one is seen as those of local programs are.
type sequence struct {
	number atomic.Uint64

	mu    sync.Mutex    // never held across a system call
	open  int           // commits, and renames outside of one, that have not ended
	ended chan struct{} // closed when the number gets even; nil: nobody waits
}

// commit opens a commit. With the first rename in it the number gets odd, and even again when all that is open has
// ended. end may be called again.
func (q *sequence) commit() (end func()) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.open++
	ended := false
	return func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		if ended {
			return
		}
		ended = true
		if q.open--; q.open > 0 || q.number.Load()%2 == 0 {
			return
		}
		q.number.Add(1)
		if q.ended != nil {
			close(q.ended)
			q.ended = nil
		}
	}
}

// rename makes the number odd, until end is called, or the end of the commit that is open.
func (q *sequence) rename() (end func()) {
	end = q.commit()
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.number.Load()%2 == 0 {
		q.number.Add(1)
	}
	return end
}

// even waits until the number is even, and returns it. It fails with ErrBusy when the time is over.
func (q *sequence) even(ctx context.Context, timeout <-chan time.Time) (uint64, error) {
	for {
		n := q.number.Load()
		if n%2 == 0 {
			return n, nil
		}
		select {
		case <-q.end():
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-timeout:
			return 0, ErrBusy
		}
	}
}

// end returns a channel that is closed when the number is even.
func (q *sequence) end() <-chan struct{} {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.number.Load()%2 == 0 {
		now := make(chan struct{})
		close(now)
		return now
	}
	if q.ended == nil {
		q.ended = make(chan struct{})
	}
	return q.ended
}

// committing begins a commit on a volume, which readers see as one step: from the first name of a user's that changes
// until end is called. Commits may be one in the other.
func (v *volume) committing() (end func()) { return v.names.commit() }

// renaming is called before names change. Of those in the state directory readers see nothing.
func (v *volume) renaming(names ...string) (end func()) {
	for _, name := range names {
		if !v.isOurs(name) {
			return v.names.rename()
		}
	}
	return func() {}
}

// rename, renameNew and exchange are those of [FS], as a part of the commit that is open.
func (v *volume) rename(from, to string) error {
	defer v.renaming(from, to)()
	return v.FS.rename(from, to)
}

func (v *volume) renameNew(from, to string) error {
	defer v.renaming(from, to)()
	return v.FS.renameNew(from, to)
}

func (v *volume) exchange(a, b string) error {
	defer v.renaming(a, b)()
	return v.FS.exchange(a, b)
}

// OneStep has readers see as one step all that is done to a name, and beside it, from the first change of a name on
// until end is called. It must be called under [FS.Lock].
func (s *FS) OneStep(name string) (end func()) { return s.lowest(local(name)).committing() }

// Changing has readers see as one step all that is done to a name, and beside it, until end is called. It must be
// called under [FS.Lock].
func (s *FS) Changing(name string) (end func()) { return s.lowest(local(name)).names.rename() }

// IsChanging reports whether a commit is in the middle where a name is, so that readers of it wait.
func (s *FS) IsChanging(name string) bool { return s.lowest(local(name)).names.number.Load()%2 != 0 }

// lowest returns the lowest volume that a name without links may be on, by the name alone; see Snapshot.pass.
func (s *FS) lowest(name string) *volume {
	lowest := s.root
	for _, v := range *s.below.Load() {
		if mayBeIn(name, v.top) && (lowest == s.root || len(v.top) > len(lowest.top)) {
			lowest = v
		}
	}
	return lowest
}
