package etagfs

import (
	"context"
	"errors"
	"sync"
	"time"

	"r-seed-1f3a754f.example/ifmatch/etagfs/hashing"
	"r-seed-1f3a754f.example/ifmatch/etagfs/index"
	"r-seed-1f3a754f.example/ifmatch/fs"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

// A queue holds the work for which no request waits: files to be hashed, the most urgent first, and removed files to be
// deleted.
type queue struct {
	wake chan struct{} // has room for one, and is full while keepHouse has work to look at
	scan chan struct{} // has room for one, and is full while the tree is to be searched

	asked   chan task // files of which a request wanted a hash, and did not wait for it
	changed chan task // files that have changed
	found   chan task // files that the search has found

	mu    sync.Mutex
	due   map[string]later // files that have changed
	trash bool
	// away is the pause before the next try to put back files that a failed commit has taken away. It is 0 if there are
	// none.
	away  time.Duration
	again time.Time // the time when that pause is over
}

// A task is a file to be hashed.
type task struct {
	name  string
	sums  bool // compute all sums that there are, see [tree.Sums]
	found bool // the search has found it
	asked bool // a request has asked for it
	tries int  // how many have failed
}

// A later is a task with the time when it is due.
type later struct {
	task
	at   time.Time
	firm bool // not before that time, even if the file is queued again
}

const (
	// maxAsked and maxDue bound the files that wait. If a file is dropped, the search finds it, or a request asks for
	// it again.
	maxAsked = 1 << 10
	maxDue   = 1 << 16
	// maxTold bounds the files whose errors are remembered, so that the same error is not reported again.
	maxTold = 1 << 10
	// lastTrash bounds how long Close goes on deleting removed files. The next start deletes the rest.
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

// hash queues a file to be hashed when it is due. It reports whether there was room for it.
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

// isPutOff reports whether a file waits for another try, after a hash of it has failed.
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

// putBack schedules another try to put back the files that a failed commit has taken away.
func (q *queue) putBack() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.away == 0 {
		q.putBackAfter(firstPutBack)
	}
}

// putBackAfter schedules another try after a pause. The caller must hold mu.
func (q *queue) putBackAfter(pause time.Duration) {
	q.away, q.again = pause, time.Now().Add(pause)
	time.AfterFunc(pause, func() { poke(q.wake) })
}

// firstPutBack is the pause before the first such try. It is doubled each time, up to lastPutBack.
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

// ripe hands the tasks that are due to the workers, as many as the workers take. It returns how long it is until more
// tasks are due (0: unknown).
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

// busyPause is how long a task that is due waits before it is offered again, if all workers are busy.
const busyPause = 10 * time.Millisecond

// next returns the most urgent task. ok is false if ctx is done.
func (q *queue) next(ctx context.Context) (next task, ok bool) {
	// If several channels are ready, a select takes any of them. So ask the more urgent ones first.
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

// Changed says that the files at these names may have changed. Their tags are computed ahead of need, if these tags
// last. Changed does not wait.
func (s *Store) Changed(names ...string) {
	for _, name := range names {
		if !s.queue.hash(later{task: task{name: name}, at: s.now()}) {
			s.rescan()
		}
	}
	s.feed.Hint(names, false)
}

// Rescan says that any file may have changed. No record becomes wrong by this, because each use of a record looks at
// the file. But there may be files to be hashed ahead of need, and file systems that are not known yet. Rescan does not
// wait.
func (s *Store) Rescan() {
	s.feed.Missed()
	s.rescan()
}

func (s *Store) rescan() { poke(s.queue.scan) }

// work starts the goroutines that work in the background.
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

// keepHouse hands due tasks to the workers, deletes removed files, puts files back after failed commits, and maintains
// the index.
func (s *Store) keepHouse(ctx context.Context) {
	again := time.NewTimer(0)
	defer again.Stop()
	tick := time.NewTicker(index.Interval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return // Close empties the trash
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

// putBack tries again to put back the files that a failed commit has taken away, if there are any and the pause is
// over.
func (s *Store) putBack(ctx context.Context) {
	q := s.queue
	q.mu.Lock()
	pause, due := q.away, q.away > 0 && !time.Now().Before(q.again)
	q.mu.Unlock()
	if !due {
		return
	}
	waits := s.fs.PutBack(ctx)
	s.feed.Missed() // names have come back
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.away = 0; waits {
		q.putBackAfter(min(2*pause, lastPutBack))
	}
}

// clearTrashLast is the last clearTrash. An expiry that was under way when Close began has put its directories into the
// trash by now.
func (s *Store) clearTrashLast() {
	last, cancel := context.WithTimeout(context.Background(), lastTrash)
	defer cancel()
	s.clearTrash(last)
}

// clearTrash deletes the files that were removed since the last time, if there are any.
func (s *Store) clearTrash(ctx context.Context) {
	s.queue.mu.Lock()
	trash := s.queue.trash
	s.queue.trash = false
	s.queue.mu.Unlock()
	if !trash {
		return
	}
	if err := s.fs.EmptyTrash(ctx); ctx.Err() != nil {
		s.queue.emptyTrash() // Close or the next start deletes the rest
	} else if err != nil {
		s.report(err)
	}
}

// busyWait is the wait before another look at a file that a program had open for writing, or that changed while it was
// hashed. It is doubled each time, up to longestWait.
const (
	busyWait    = 5 * time.Second
	longestWait = time.Minute
)

// hashAhead is hashFound for a name at which there may be any resource, or none.
func (s *Store) hashAhead(ctx context.Context, next task) {
	info, err := s.reader.Look(ctx, next.name, nil)
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

// lasts reports whether the tag of a file is worth computing before a request asks for it. This is so on the mount of
// the root, and if the index keeps the tag on disk. Another mount can be far away, or in memory, or no storage at all.
func (s *Store) lasts(info fs.Info) bool {
	return info.Device == s.root.device || info.Mount != 0 && info.Mount == s.root.mount || s.index.Persists(info.Device)
}

// tellOnce reports why a file could not be hashed. It does not report the same error of a file again.
func (s *Store) tellOnce(name string, err error) {
	if before, ok := s.told.Get(name); !ok || before != err.Error() {
		s.told.Add(name, err.Error())
		s.report(err)
	}
}

// sumAhead finds all sums of a file whose tag is known.
func (s *Store) sumAhead(ctx context.Context, name string) {
	info, err := s.reader.Look(ctx, name, nil)
	if err != nil {
		return
	}
	if tag, ok := s.index.Tag(info.Fingerprint); ok {
		if _, err := s.hasher.SumsOf(ctx, name, info, tag); err != nil && ctx.Err() == nil && !errors.Is(err, tree.ErrNotExist) {
			s.report(err)
		}
	}
}

// hashFound hashes a file, or puts it off until its tag can be remembered. It returns the size of the file that it has
// hashed, or -1 if it has hashed none. It returns an error if another try is of no use.
func (s *Store) hashFound(ctx context.Context, next task) (size int64, err error) {
	info, _, err := s.hasher.Hash(ctx, next.name, hashing.Ahead)
	switch {
	case err == nil:
		return info.Size, nil
	case errors.Is(err, hashing.ErrNotNow), errors.Is(err, tree.ErrBusy):
		s.putOff(next, info, errors.Is(err, tree.ErrBusy))
	case ctx.Err() == nil && !errors.Is(err, tree.ErrNotExist):
		return -1, err
	}
	return -1, nil
}

// putOff schedules another try for a file. The wait grows with each try that fails. A file that was read in vain is not
// tried before the end of the wait, even if a watcher reports the file again.
func (s *Store) putOff(next task, info fs.Info, wasRead bool) {
	wait := s.hasher.UntilSettled(info)
	if wait <= 0 || next.tries > 0 {
		wait = max(wait, min(busyWait<<min(next.tries, 10), longestWait))
	}
	next.tries, next.found = next.tries+1, false
	s.queue.hash(later{task: next, at: s.now().Add(wait), firm: wasRead})
}
