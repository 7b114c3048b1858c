package etagfs

import (
	"context"
	"errors"
	"sync"
	"time"

	"ifmatch/fs"
	"ifmatch/tree"
)

// A queue holds what is done when nobody waits for it: files to be hashed, the most urgent first, and what was removed
// and is to be deleted.
type queue struct {
	wake chan struct{} // has room for one; full while there is something for the housekeeper to look at
	scan chan struct{} // has room for one; full while the tree is to be searched

	asked   chan task // what a request wanted to know, and did not wait for
	changed chan task // files that have changed
	found   chan task // files that the search has found

	mu    sync.Mutex
	due   map[string]time.Time // files that have changed, and when to hash them
	trash bool
}

// A task is a file to be hashed.
type task struct {
	name  string
	sums  bool // by all that there are, see [tree.Sums]
	found bool // the search has found it
}

const (
	// maxAsked and maxDue bound the files that wait. What is dropped is found by the search, or asked for again.
	maxAsked = 1 << 10
	maxDue   = 1 << 16
	// lastTrash bounds how long Close goes on deleting what was removed. The next start does the rest.
	lastTrash = 5 * time.Second
)

func newQueue() *queue {
	return &queue{
		wake:    make(chan struct{}, 1),
		scan:    make(chan struct{}, 1),
		asked:   make(chan task, maxAsked),
		changed: make(chan task, 64),
		found:   make(chan task),
		due:     map[string]time.Time{},
	}
}

// ask puts a file before all others.
func (q *queue) ask(wanted task) {
	select {
	case q.asked <- wanted:
	default:
	}
}

// hash has a file hashed when it is due. It reports whether there was room for it.
func (q *queue) hash(name string, due time.Time) bool {
	q.mu.Lock()
	room := len(q.due) < maxDue
	if room {
		q.due[name] = due
	}
	q.mu.Unlock()
	poke(q.wake)
	return room
}

func (q *queue) emptyTrash() {
	q.mu.Lock()
	q.trash = true
	q.mu.Unlock()
	poke(q.wake)
}

func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// ripe hands to the workers what is due, as far as they take it, and returns how long until there is more (0: unknown).
func (q *queue) ripe(now time.Time) (wait time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for name, due := range q.due {
		left := due.Sub(now)
		if left <= 0 {
			select {
			case q.changed <- task{name: name}:
				delete(q.due, name)
				continue
			default:
				left = busyPause
			}
		}
		if wait == 0 || left < wait {
			wait = left
		}
	}
	return wait
}

// busyPause is how long what is due waits before it is offered again to workers that have enough to do.
const busyPause = 10 * time.Millisecond

// next returns the most urgent task; ok is false when ctx is done.
func (q *queue) next(ctx context.Context) (next task, ok bool) {
	// Of several that are ready a select takes any.
	select {
	case next = <-q.asked:
		return next, true
	default:
	}
	select {
	case next = <-q.changed:
		return next, true
	default:
	}
	select {
	case next = <-q.asked:
	case next = <-q.changed:
	case next = <-q.found:
	case <-ctx.Done():
		return task{}, false
	}
	return next, true
}

// Changed tells that something may have happened at these names: the tags of files there are computed ahead of need. It
// does not wait.
func (s *Store) Changed(names ...string) {
	for _, name := range names {
		if !s.queue.hash(name, s.now()) {
			s.Rescan()
		}
	}
}

// Rescan tells that anything may have happened anywhere. Nothing that is remembered becomes wrong by it, because each use
// of it looks at the file; but there may be files to be hashed ahead of need. It does not wait.
func (s *Store) Rescan() { poke(s.queue.scan) }

// work starts what goes on in the background.
func (s *Store) work(ctx context.Context, opts Options) {
	s.running.Go(func() { s.keepHouse(ctx) })
	warm := &warmUp{progress: opts.Progress}
	for range max(1, opts.WarmUp) {
		s.running.Go(func() {
			for {
				next, ok := s.queue.next(ctx)
				switch {
				case !ok:
					return
				case next.found:
					warm.hashed(s.hashFound(ctx, next.name))
				case next.sums:
					s.sumAhead(ctx, next.name)
				default:
					s.hashAhead(ctx, next.name)
				}
			}
		})
	}
	if opts.WarmUp > 0 && s.index.dir != nil {
		s.running.Go(func() { s.search(ctx, warm, opts.Rescan) })
	}
}

// keepHouse hands on what is due, deletes what was removed, and tells that the index is in use.
func (s *Store) keepHouse(ctx context.Context) {
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
		case <-s.queue.wake:
		}
		s.clearTrash(ctx)
		if wait := s.queue.ripe(s.now()); wait > 0 {
			again.Reset(wait)
		}
	}
}

// clearTrash deletes what was removed since the last time, if anything was.
func (s *Store) clearTrash(ctx context.Context) {
	s.queue.mu.Lock()
	trash := s.queue.trash
	s.queue.trash = false
	s.queue.mu.Unlock()
	if !trash {
		return
	}
	if err := s.fs.EmptyTrash(ctx); ctx.Err() != nil {
		s.queue.emptyTrash() // what is left is deleted by Close, or at the next start
	} else if err != nil {
		s.report(err)
	}
}

// busyWait is when a file is looked at again that a program had open for writing.
const busyWait = 5 * time.Second

// hashAhead is hashFound for a name at which there may be anything, or nothing.
func (s *Store) hashAhead(ctx context.Context, name string) {
	info, err := s.look(name)
	if err != nil || info.Kind != fs.Regular {
		return
	}
	if _, ok := s.index.get(info.Fingerprint); !ok {
		s.hashFound(ctx, name)
	}
}

// sumAhead finds all sums of a file whose tag is known.
func (s *Store) sumAhead(ctx context.Context, name string) {
	info, err := s.look(name)
	if err != nil {
		return
	}
	if tag, ok := s.index.get(info.Fingerprint); ok {
		if _, err := s.sumsOf(ctx, name, info, tag); err != nil && ctx.Err() == nil && !errors.Is(err, tree.ErrNotExist) {
			s.report(err)
		}
	}
}

// hashFound hashes a file, or puts it off until its tag can be remembered. It returns the size of what it has hashed, -1 for
// nothing.
func (s *Store) hashFound(ctx context.Context, name string) int64 {
	info, _, err := s.hash(ctx, name, ahead)
	switch {
	case err == nil:
		return info.Size
	case errors.Is(err, errNotNow), errors.Is(err, tree.ErrBusy):
		wait := s.untilSettled(info)
		if wait <= 0 {
			wait = busyWait
		}
		s.queue.hash(name, s.now().Add(wait))
	case ctx.Err() == nil && !errors.Is(err, tree.ErrNotExist):
		s.report(err)
	}
	return -1
}
