package etagfs

import (
	"context"
	"errors"
	"sync"
	"time"

	"ifmatch/etagfs/index"
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
	due   map[string]later // files that have changed
	trash bool
	away  time.Duration // the pause after which what could not be put back is tried again; 0: there is nothing
	again time.Time     // when that is over
}

// A task is a file to be hashed.
type task struct {
	name  string
	sums  bool // by all that there are, see [tree.Sums]
	found bool // the search has found it
	asked bool // a request wanted to know
	tries int  // that were in vain
}

// A later is a task that is to be done at a time.
type later struct {
	task
	at   time.Time
	firm bool // not before that, whatever happens
}

const (
	// maxAsked and maxDue bound the files that wait. What is dropped is found by the search, or asked for again.
	maxAsked = 1 << 10
	maxDue   = 1 << 16
	// maxTold bounds the files that are known to be in trouble, and not told of again.
	maxTold = 1 << 10
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
		due:     map[string]later{},
	}
}

// ask puts a file before all others.
func (q *queue) ask(wanted task) {
	wanted.asked = true
	select {
	case q.asked <- wanted:
	default:
	}
}

// hash has a file hashed when it is due. It reports whether there was room for it.
func (q *queue) hash(next later) bool {
	q.mu.Lock()
	before, waits := q.due[next.name]
	if waits {
		if before.firm && before.at.After(next.at) {
			next.at, next.firm, next.tries = before.at, true, before.tries
		}
		next.asked = next.asked || before.asked
	}
	room := waits || len(q.due) < maxDue
	if room {
		q.due[next.name] = next
	}
	q.mu.Unlock()
	poke(q.wake)
	return room
}

// isPutOff reports whether a file waits that has been tried in vain.
func (q *queue) isPutOff(name string) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.due[name].tries > 0
}

func (q *queue) emptyTrash() {
	q.mu.Lock()
	q.trash = true
	q.mu.Unlock()
	poke(q.wake)
}

// putBack has it tried again to put back what a failed commit has taken away.
func (q *queue) putBack() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.away == 0 {
		q.putBackAfter(firstPutBack)
	}
}

// putBackAfter has it tried again after a pause; mu must be held.
func (q *queue) putBackAfter(pause time.Duration) {
	q.away, q.again = pause, time.Now().Add(pause)
	time.AfterFunc(pause, func() { poke(q.wake) })
}

// firstPutBack is the pause before that is tried for the first time. It is doubled each time, up to lastPutBack.
const (
	firstPutBack = 100 * time.Millisecond
	lastPutBack  = time.Minute
)

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
	for name, next := range q.due {
		left := next.at.Sub(now)
		if left <= 0 {
			select {
			case q.changed <- next.task:
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

// Changed tells that something may have happened at these names: the tags of files there are computed ahead of need, where
// they last. It does not wait.
func (s *Store) Changed(names ...string) {
	for _, name := range names {
		if !s.queue.hash(later{task: task{name: name}, at: s.now()}) {
			s.Rescan()
		}
	}
}

// Rescan tells that anything may have happened anywhere. Nothing that is remembered becomes wrong by it, because each use
// of it looks at the file; but there may be files to be hashed ahead of need, and file systems that are not known yet. It does
// not wait.
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
					warm.hashed(s.hashFound(ctx, next))
				case next.sums:
					s.sumAhead(ctx, next.name)
				default:
					s.hashAhead(ctx, next)
				}
			}
		})
	}
	if opts.WarmUp > 0 && s.index.OnDisk() {
		s.running.Go(func() { s.search(ctx, warm, opts.Rescan) })
	}
}

// keepHouse hands on what is due, deletes what was removed, and looks after the index.
func (s *Store) keepHouse(ctx context.Context) {
	again := time.NewTimer(0)
	defer again.Stop()
	tick := time.NewTicker(index.Interval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastTrash)
			defer cancel()
			s.clearTrash(last)
			return
		case <-tick.C:
			s.tick()
			continue
		case <-again.C:
		case <-s.queue.wake:
		}
		s.clearTrash(ctx)
		s.putBack(ctx)
		if wait := s.queue.ripe(s.now()); wait > 0 {
			again.Reset(wait)
		}
	}
}

// putBack tries again to put back what a failed commit has taken away, if there is anything.
func (s *Store) putBack(ctx context.Context) {
	q := s.queue
	q.mu.Lock()
	pause, due := q.away, q.away > 0 && !time.Now().Before(q.again)
	q.mu.Unlock()
	if !due {
		return
	}
	waits := s.fs.PutBack(ctx)
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.away = 0; waits {
		q.putBackAfter(min(2*pause, lastPutBack))
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

// busyWait is when a file is looked at again that a program had open for writing, or that had changed while it was hashed. It
// is doubled each time, up to longestWait.
const (
	busyWait    = 5 * time.Second
	longestWait = time.Minute
)

// hashAhead is hashFound for a name at which there may be anything, or nothing.
func (s *Store) hashAhead(ctx context.Context, next task) {
	info, err := s.look(ctx, next.name)
	if err != nil || info.Kind != fs.Regular || !next.asked && !s.lasts(info) {
		return
	}
	if _, ok := s.index.Tag(info.Fingerprint); !ok {
		_, err = s.hashFound(ctx, next)
	}
	if err != nil {
		s.tellOnce(next.name, err)
	} else {
		s.told.Remove(next.name)
	}
}

// lasts reports whether the tag of a file is worth to be computed before anybody asks for it: on the mount of the root, and
// where it is kept on disk. What else is mounted can be far away, or in memory, or no storage at all.
func (s *Store) lasts(info fs.Info) bool {
	return info.Device == s.root.device || info.Mount != 0 && info.Mount == s.root.mount || s.index.Persists(info.Device)
}

// tellOnce reports why a file could not be hashed, as long as that is no news once.
func (s *Store) tellOnce(name string, err error) {
	if before, ok := s.told.Get(name); !ok || before != err.Error() {
		s.told.Add(name, err.Error())
		s.report(err)
	}
}

// sumAhead finds all sums of a file whose tag is known.
func (s *Store) sumAhead(ctx context.Context, name string) {
	info, err := s.look(ctx, name)
	if err != nil {
		return
	}
	if tag, ok := s.index.Tag(info.Fingerprint); ok {
		if _, err := s.sumsOf(ctx, name, info, tag); err != nil && ctx.Err() == nil && !errors.Is(err, tree.ErrNotExist) {
			s.report(err)
		}
	}
}

// hashFound hashes a file, or puts it off until its tag can be remembered. It returns the size of what it has hashed, -1 for
// nothing, and an error where it is of no use to try again.
func (s *Store) hashFound(ctx context.Context, next task) (size int64, err error) {
	info, _, err := s.hash(ctx, next.name, ahead)
	switch {
	case err == nil:
		return info.Size, nil
	case errors.Is(err, errNotNow), errors.Is(err, tree.ErrBusy):
		s.putOff(next, info, errors.Is(err, tree.ErrBusy))
	case ctx.Err() == nil && !errors.Is(err, tree.ErrNotExist):
		return -1, err
	}
	return -1, nil
}

// putOff has a file tried again, the later the more often that was in vain. A file that was read in vain is not tried before
// that, whatever is told of it.
func (s *Store) putOff(next task, info fs.Info, wasRead bool) {
	wait := s.untilSettled(info)
	if wait <= 0 || next.tries > 0 {
		wait = max(wait, min(busyWait<<min(next.tries, 10), longestWait))
	}
	next.tries, next.found = next.tries+1, false
	s.queue.hash(later{task: next, at: s.now().Add(wait), firm: wasRead})
}
