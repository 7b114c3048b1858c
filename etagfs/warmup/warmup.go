// Package warmup hashes files ahead of the requests that need their tags: those that have changed, those for which a
// request did not wait, and, if it is told to, all whose tags are not known.
package warmup

import (
	"context"
	"errors"
	"sync"
	"time"

	"r-seed-1f3a754f.example/ifmatch/etagfs/failure"
	"r-seed-1f3a754f.example/ifmatch/etagfs/hashing"
	"r-seed-1f3a754f.example/ifmatch/etagfs/snapshots"
	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

// Options say what is hashed. All fields but Progress are needed.
type Options struct {
	*hashing.Hasher // of the directory
	Reader          *snapshots.Reader
	// Report gets the errors of a search, and Once those of single files.
	Report func(error)
	Once   *failure.Once
	// Running has the work in the background.
	Running *sync.WaitGroup
	// AtOnce, Every and Progress are WarmUp, Rescan and Progress in the options of package etagfs.
	AtOnce   int
	Every    time.Duration
	Progress func(Progress)
}

// A Warmer hashes files ahead of need.
type Warmer struct {
	Options
	root  directory
	queue *queue
}

// New returns a warmer, which does nothing before Start.
func New(o Options) *Warmer {
	return &Warmer{Options: o, root: directory{"", o.Root.Device, o.Root.Mount}, queue: &queue{
		wake: make(chan struct{}, 1), scan: make(chan struct{}, 1), found: make(chan task), due: map[string]later{},
	}}
}

// Start starts the work in the background. It ends with the context.
func (w *Warmer) Start(ctx context.Context) {
	warm := new(warmUp)
	for range max(1, w.AtOnce) {
		w.Running.Go(func() {
			for {
				next, ok := w.queue.next(ctx, w.Now)
				switch {
				case !ok:
					return
				case next.found:
					warm.hashed(w.hashFound(ctx, next))
				case next.sums:
					w.sumAhead(ctx, next.name)
				default:
					w.hashAhead(ctx, next)
				}
			}
		})
	}
	if w.AtOnce > 0 && w.Index.OnDisk() {
		w.Running.Go(func() { w.search(ctx, warm, w.Every) })
	}
}

// Changed says that the files at these names may have changed. Their tags are computed ahead of need, if these tags
// last. Changed does not wait.
func (w *Warmer) Changed(names ...string) {
	for _, name := range names {
		if !w.queue.hash(later{task: task{name: name}, at: w.Now()}) {
			w.Rescan()
		}
	}
}

// Rescan has the tree searched for files to be hashed. It does not wait.
func (w *Warmer) Rescan() { poke(w.queue.scan) }

// Ask puts a file before all others, because a request has not waited for its tag. sums says that it wants all sums.
func (w *Warmer) Ask(name string, sums bool) { w.queue.ask(task{name: name, sums: sums, asked: true}) }

// Queued returns how many files wait to be hashed, as far as they are known.
func (w *Warmer) Queued() int { return w.queue.count() }

// busyWait is the wait before another look at a file that a program had open for writing, or that changed while it was
// hashed. It is doubled each time, up to longestWait.
const (
	busyWait    = 5 * time.Second
	longestWait = time.Minute
)

// hashAhead is [Warmer.hashFound] for a name at which there may be any resource, or none.
func (w *Warmer) hashAhead(ctx context.Context, next task) {
	info, err := w.Reader.Look(ctx, next.name, nil)
	if err != nil || info.Kind != vfs.Regular || !next.asked && !w.lasts(info) {
		return
	}
	if _, ok := w.Index.Tag(info.Fingerprint); !ok {
		_, err = w.hashFound(ctx, next)
	}
	if err != nil {
		w.Once.Report(next.name, err)
	} else {
		w.Once.Forget(next.name)
	}
}

// lasts reports whether the tag of a file is worth computing before a request asks for it. This is so on the mount of
// the root, and if the index keeps the tag on disk. Another mount can be far away, or in memory, or no storage at all.
func (w *Warmer) lasts(info vfs.Info) bool {
	return info.Device == w.root.device || info.Mount != 0 && info.Mount == w.root.mount ||
		w.Index.Persists(info.Device)
}

// sumAhead finds all sums of a file whose tag is known.
func (w *Warmer) sumAhead(ctx context.Context, name string) {
	info, err := w.Reader.Look(ctx, name, nil)
	if err != nil {
		return
	}
	if tag, ok := w.Index.Tag(info.Fingerprint); ok {
		if _, err := w.Hasher.SumsOf(ctx, name, info, tag); err != nil && ctx.Err() == nil &&
			!errors.Is(err, tree.ErrNotExist) {
			w.Report(err)
		}
	}
}

// hashFound hashes a file, or puts it off until its tag can be remembered. It returns the size of the file that it has
// hashed, or -1 if it has hashed none. It returns an error if another try is of no use.
func (w *Warmer) hashFound(ctx context.Context, next task) (size int64, err error) {
	info, _, err := w.Hasher.Hash(ctx, next.name, hashing.Ahead)
	switch {
	case err == nil:
		return info.Size, nil
	case errors.Is(err, hashing.ErrNotNow), errors.Is(err, tree.ErrBusy):
		w.putOff(next, info, errors.Is(err, tree.ErrBusy))
	case ctx.Err() == nil && !errors.Is(err, tree.ErrNotExist):
		return -1, err
	}
	return -1, nil
}

// putOff schedules another try for a file. The wait grows with each try that fails. A file that was read in vain is not
// tried before the end of the wait, even if a watcher reports the file again.
func (w *Warmer) putOff(next task, info vfs.Info, wasRead bool) {
	wait := w.Hasher.UntilSettled(info)
	if wait <= 0 || next.tries > 0 {
		wait = max(wait, min(busyWait<<min(next.tries, 10), longestWait))
	}
	next.tries, next.found = next.tries+1, false
	w.queue.hash(later{task: next, at: w.Now().Add(wait), firm: wasRead})
}
