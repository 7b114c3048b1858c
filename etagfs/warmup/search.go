package warmup

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"r-seed-1f3a754f.example/ifmatch/etagfs/failure"
	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
	"r-seed-1f3a754f.example/ifmatch/fs/volumes"
	"r-seed-1f3a754f.example/ifmatch/internal/pause"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

// Progress is the progress of a search of the tree for files whose tags are not known.
type Progress struct {
	Files, Bytes        int64 // found so far
	Hashed, HashedBytes int64 // of these, because their tags were not known
	Took                time.Duration
	Done                bool
	Unreadable          int64 // files and directories
}

// warmUp counts the files that are hashed in the background, and the files and directories that cannot be read.
type warmUp struct {
	hashedFiles, hashedBytes atomic.Int64
	inHand                   sync.WaitGroup // files that the search has handed to workers

	mu       sync.Mutex
	troubles map[string]*trouble // of this search, by the error text of the system
	told     map[string]int64    // the counts of the last search, by the same text
}

// A trouble is one reason why files or directories cannot be read. It has their number and the first error.
type trouble struct {
	count int64
	first error
}

// hashed records the end of the hash of a file that the search has found.
func (w *warmUp) hashed(size int64, err error) {
	defer w.inHand.Done()
	if err != nil {
		w.failed(err)
	}
	if size >= 0 {
		w.hashedFiles.Add(1)
		w.hashedBytes.Add(size)
	}
}

func (w *warmUp) failed(err error) {
	kind := "other"
	if errno := syscall.Errno(0); errors.As(err, &errno) {
		kind = errno.Error()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.troubles[kind] == nil {
		w.troubles[kind] = &trouble{first: err}
	}
	w.troubles[kind].count++
}

// unreadable returns how many files and directories could not be read so far.
func (w *warmUp) unreadable() (n int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, t := range w.troubles {
		n += t.count
	}
	return n
}

// news returns the troubles whose counts differ from those of the previous search. It is called at the end of a search.
func (w *warmUp) news() (errs []error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	before := w.told
	w.told = map[string]int64{}
	for kind, t := range w.troubles {
		if w.told[kind] = t.count; before[kind] == t.count {
			continue
		}
		if t.count == 1 {
			errs = append(errs, fmt.Errorf("a file or directory cannot be read to compute ETags: %w", t.first))
		} else {
			errs = append(errs, fmt.Errorf("%d files or directories cannot be read to compute ETags, such as this: "+
				"%w", t.count, t.first))
		}
	}
	return errs
}

const (
	// progressEvery is how often a long search reports its progress.
	progressEvery = 30 * time.Second
	// headStart is how long the first search waits, so that the server first answers the clients that waited for its
	// start.
	headStart = 200 * time.Millisecond
	// scanPause is the shortest wait before the next search.
	scanPause = time.Second
)

// search looks for files whose tags are not known. It searches once at the start, then each time [Warmer.Rescan] asks
// for it, and at the interval every if that is positive.
func (w *Warmer) search(ctx context.Context, found *warmUp, every time.Duration) {
	var again <-chan time.Time
	if every > 0 {
		ticker := time.NewTicker(every)
		defer ticker.Stop()
		again = ticker.C
	}
	if pause.For(ctx, headStart) != nil {
		return
	}
	for {
		took := w.searchOnce(ctx, found)
		if pause.For(ctx, max(scanPause, took)) != nil { // a search runs for half of the time at the most
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-w.queue.scan:
		case <-again:
		}
	}
}

func (w *Warmer) searchOnce(ctx context.Context, found *warmUp) time.Duration {
	start := time.Now()
	files, bytes := found.hashedFiles.Load(), found.hashedBytes.Load()
	found.mu.Lock()
	found.troubles = map[string]*trouble{}
	found.mu.Unlock()
	var p Progress
	tell := func() {
		p.Unreadable = found.unreadable()
		p.Hashed, p.HashedBytes, p.Took = found.hashedFiles.Load()-files, found.hashedBytes.Load()-bytes,
			time.Since(start)
		if w.Progress != nil {
			w.Progress(p)
		}
	}
	told := start
	err := w.walk(ctx, func(name string, info vfs.Info, err error) error {
		if err != nil {
			found.failed(err)
			return nil
		}
		if !w.Index.Persists(info.Device) {
			return nil // an index in memory has no room for the tags of all files
		}
		p.Files++
		p.Bytes += info.Size
		if time.Since(told) >= progressEvery {
			tell()
			told = time.Now()
		}
		if _, ok := w.Index.Tag(info.Fingerprint); ok || w.queue.isPutOff(name) {
			return nil
		}
		found.inHand.Add(1)
		select {
		case w.queue.found <- task{name: name, found: true}:
			return nil
		case <-ctx.Done():
			found.inHand.Done()
			return ctx.Err()
		}
	})
	found.inHand.Wait()
	if err == nil && ctx.Err() == nil {
		for _, err := range found.news() {
			w.Report(err)
		}
		p.Done = true
		tell()
	}
	return time.Since(start)
}

// walk calls visit for each file of the root's file system, and of those file systems below it whose tags the index can
// keep on disk. The order of the files is undefined. If a file or directory cannot be read, walk calls visit with the
// error. walk follows no links. It holds only the directories that it has still to visit.
func (w *Warmer) walk(ctx context.Context, visit func(name string, info vfs.Info, err error) error) error {
	left := []directory{w.root}
	for len(left) > 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		next := left[len(left)-1]
		left = left[:len(left)-1]
		below, err := w.walkOne(ctx, next, visit)
		if err != nil {
			return err
		}
		left = append(left, below...)
	}
	return nil
}

type directory struct {
	name          string
	device, mount uint64
}

// walkOne visits the files of one directory and returns the directories in it.
func (w *Warmer) walkOne(
	ctx context.Context, of directory, visit func(name string, info vfs.Info, err error) error,
) (below []directory, err error) {
	dir := of.name
	r, begun := w.Reader.Members(dir, volumes.DirOptions{}), false
	for members, end := range r.Batches(ctx) {
		switch {
		case end == nil:
		case begun:
			return below, visit(dir, vfs.Info{}, fmt.Errorf("listing %q: %w", dir, end))
		case errors.Is(failure.Of(end), tree.ErrNotExist), errors.Is(end, failure.ErrNotCollection):
			return nil, nil
		default:
			return nil, visit(dir, vfs.Info{}, failure.Of(end))
		}
		begun = true
		for _, m := range members {
			name := tree.Join(dir, m.Name)
			switch {
			case m.Err != nil:
				err = visit(name, m.Info, m.Err)
			case m.Kind == vfs.Directory:
				if next := (directory{name, m.Device, m.Mount}); m.Device == of.device || w.isKept(next) {
					below = append(below, next)
				}
			case m.Kind == vfs.Regular:
				if m.Device != of.device && m.Mount == of.mount && !w.Index.Persists(m.Device) {
					w.Index.Mounted(m.Device, r.Volume(), of.mount != w.root.mount, dir) // dir is on an overlay
				}
				err = visit(name, m.Info, nil)
			}
			if err == nil {
				err = ctx.Err()
			}
			if err != nil {
				return nil, err
			}
		}
	}
	return below, nil
}

// isKept finds the file system of a directory, and reports whether the index keeps the tags of that file system on
// disk. It looks at no member of the directory, and it does not wait for a file system that does not answer.
func (w *Warmer) isKept(dir directory) bool {
	if dir.device == w.root.device {
		return true
	}
	d, err := w.FS.OpenDir(dir.name, volumes.DirOptions{})
	if err != nil {
		return true // the later listing of the directory reports the error
	}
	defer d.Close()
	w.Index.Mounted(dir.device, d.Volume(), dir.mount != w.root.mount, dir.name)
	return w.Index.Persists(dir.device)
}
