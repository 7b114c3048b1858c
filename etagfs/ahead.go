package etagfs

import (
	"context"
	"errors"
	"sync"
	"time"

	"ifmatch/fs"
	"ifmatch/tree"
)

// ahead is what one goroutine does when nobody waits for it: hash files that have changed, delete what was removed,
// tell that the index is in use.
type ahead struct {
	wake chan struct{} // has room for one; full while there is something to look at

	mu    sync.Mutex
	due   map[string]time.Time // files to hash, and when
	trash bool
}

const (
	// maxAhead bounds the files that wait to be hashed ahead of need. The rest are hashed when they are asked for.
	maxAhead = 1 << 16
	// lastTrash bounds how long Close goes on deleting what was removed. The next start does the rest.
	lastTrash = 5 * time.Second
)

func newAhead() *ahead {
	return &ahead{wake: make(chan struct{}, 1), due: map[string]time.Time{}}
}

func (a *ahead) hash(name string, due time.Time) {
	a.mu.Lock()
	if len(a.due) < maxAhead {
		a.due[name] = due
	}
	a.mu.Unlock()
	a.poke()
}

func (a *ahead) emptyTrash() {
	a.mu.Lock()
	a.trash = true
	a.mu.Unlock()
	a.poke()
}

func (a *ahead) poke() {
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

// take returns what is to be done now, and how long until there is more (0: unknown).
func (a *ahead) take(now time.Time) (names []string, wait time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for name, due := range a.due {
		if left := due.Sub(now); left <= 0 {
			names = append(names, name)
		} else if wait == 0 || left < wait {
			wait = left
		}
	}
	for _, name := range names {
		delete(a.due, name)
	}
	return names, wait
}

// Changed tells that something may have happened at these names: the tags of files there are computed ahead of need. It
// does not wait.
func (s *Store) Changed(names ...string) {
	for _, name := range names {
		s.ahead.hash(name, s.now())
	}
}

func (s *Store) workAhead(ctx context.Context) {
	again := time.NewTimer(0)
	defer again.Stop()
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	for {
		select {
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastTrash)
			defer cancel()
			s.clearTrash(last)
			return
		case <-beat.C:
			s.index.beatIfDue()
			continue
		case <-again.C:
		case <-s.ahead.wake:
		}
		s.clearTrash(ctx)
		names, wait := s.ahead.take(s.now())
		for _, name := range names {
			s.hashAhead(ctx, name)
		}
		if wait > 0 {
			again.Reset(wait)
		}
	}
}

// clearTrash deletes what was removed since the last time, if anything was.
func (s *Store) clearTrash(ctx context.Context) {
	s.ahead.mu.Lock()
	trash := s.ahead.trash
	s.ahead.trash = false
	s.ahead.mu.Unlock()
	if !trash {
		return
	}
	if err := s.fs.EmptyTrash(ctx); ctx.Err() != nil {
		s.ahead.emptyTrash() // what is left is deleted by Close, or at the next start
	} else if err != nil {
		s.report(err)
	}
}

// hashAhead hashes a file whose tag is not known, or puts it off until its tag can be remembered.
func (s *Store) hashAhead(ctx context.Context, name string) {
	info, err := s.look(name)
	if err != nil || info.Kind != fs.Regular {
		return
	}
	if _, ok := s.index.get(info.Fingerprint); ok {
		return
	}
	if left := s.untilSettled(info); left > 0 {
		s.ahead.hash(name, s.now().Add(left))
		return
	}
	_, _, err = s.hash(ctx, name, readRounds)
	if err == nil || ctx.Err() != nil || errors.Is(err, tree.ErrNotExist) || errors.Is(err, tree.ErrBusy) {
		return // gone, or changing: then the next event comes
	}
	s.report(err)
}
