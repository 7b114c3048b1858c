// Package reopening is the store of a directory that may disappear while it is served, such as the mount point of a
// disk that is unplugged. It opens the store anew when the directory is back, or when another directory took its
// place, and lets each call end in the store in which it began.
package reopening

import (
	"context"
	"errors"
	"fmt"
	iofs "io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"r-seed-1f3a754f.example/ifmatch/etagfs"
	"r-seed-1f3a754f.example/ifmatch/etagfs/failure"
	"r-seed-1f3a754f.example/ifmatch/fs"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

// Options are the directory that a [Store] opens, and the functions that it calls.
type Options struct {
	Dir   string // a path of the operating system
	State string // the name of the state directory in Dir
	// Open opens the store of the directory at Dir.
	Open func() (*etagfs.Store, error)
	// Start begins to watch the directory of a store. It is called with each store that takes the place of another
	// store, and by [Store.Start] with the first. The returned stop ends the watch.
	Start func(*etagfs.Store) (stop func())
	Log   *slog.Logger
}

// A Store is a [tree.Store] of a directory that may disappear while it is served, and that may come back or be
// replaced. A missing directory must not look like an empty one, because sync clients would delete their own files. So
// every method fails with [tree.ErrUnavailable] until the directory is back.
type Store struct {
	opts Options
	name string // the absolute path, for the log

	now atomic.Pointer[instance]

	down    atomic.Bool // reports whether why is not nil
	mu      sync.Mutex
	why     error     // the logged reason why the directory is missing (nil: it is there)
	next    time.Time // the earliest time of the next attempt to open the replacement
	retired sync.WaitGroup
}

var _ interface {
	tree.Store
	tree.Speller
	tree.Quotas
	tree.Feed
	tree.Uploads
	tree.Undoer
} = (*Store)(nil)

// An instance is a directory that was opened, and its store.
type instance struct {
	*etagfs.Store
	dir  standing // the directory to which the path led when it was opened
	stop func()

	users    sync.WaitGroup // running calls and open contents
	replaced chan struct{}  // closed when another one has taken its place
	mu       sync.Mutex     // held while a user comes, or replaced is closed
}

// Open opens a directory. The returned store owns all stores that it opens.
func Open(opts Options) (*Store, error) {
	r := &Store{opts: opts, name: opts.Dir}
	if abs, err := filepath.Abs(opts.Dir); err == nil {
		r.name = abs
	}
	first, err := r.open()
	if err != nil {
		return nil, err
	}
	r.now.Store(first)
	return r, nil
}

// Start begins to watch the directory of the first store.
func (r *Store) Start() {
	o := r.now.Load()
	o.stop = r.opts.Start(o.Store)
}

// Current returns the store of the directory that is served now.
func (r *Store) Current() *etagfs.Store { return r.now.Load().Store }

// Close closes all stores. No method may be running.
func (r *Store) Close() error {
	err := r.now.Load().close()
	r.retired.Wait()
	return err
}

func (r *Store) open() (*instance, error) {
	dir, err := standingAt(r.opts.Dir) // before Open, so that the next check notices a replacement in between
	if err != nil {
		return nil, err
	}
	store, err := r.opts.Open()
	if err != nil {
		return nil, err
	}
	o := &instance{Store: store, dir: dir, stop: func() {}, replaced: make(chan struct{})}
	// A commit asks because the upload of a body can take long. A version that is committed to a directory that
	// is no longer served would be lost for its client.
	store.OnCommit(func() error {
		err := r.absent(o, forReading)
		if err == nil && store.FS().StateReplaced() {
			err = r.stateRemoved()
		}
		if err != nil {
			return unavailable(err)
		}
		return nil
	})
	return o, nil
}

func (o *instance) close() error {
	o.NoteSeen(context.Background())
	o.stop()
	return o.Store.Close()
}

// enter counts a user. It fails once the instance has been replaced.
func (o *instance) enter() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	select {
	case <-o.replaced:
		return false
	default:
		o.users.Add(1)
		return true
	}
}

func (o *instance) leave() { o.users.Done() }

// An access says which parts of the directory a call needs.
type access uint8

const (
	forReading access = iota
	forWriting        // its state directory too
	forCommit         // as forWriting, but the store checks in its transaction, before it changes anything
)

// use returns the instance that is served now, and counts the caller as a user. The caller must call leave.
func (r *Store) use(how access) (*instance, error) {
	for {
		o := r.now.Load()
		if how != forCommit || r.down.Load() {
			if err := r.absent(o, how); err != nil {
				if err = r.reopen(o, err); err != nil {
					return nil, unavailable(err)
				}
				continue
			}
			r.recovered(o)
		}
		if o.enter() {
			return o, nil
		}
	}
}

func unavailable(why error) error {
	lost := failure.ErrLost
	return &tree.StorageError{Kind: tree.ErrUnavailable, Err: why, Hint: lost.Hint, RetryAfter: lost.RetryAfter}
}

var errMissing = errors.New("it is not there any more; put it back, and it is served again")

// absent returns the reason why the opened directory cannot be served. Either its path leads to another directory or to
// none, or a write needs the state directory and it is gone.
func (r *Store) absent(o *instance, how access) error {
	now, err := standingAt(r.opts.Dir)
	switch {
	case errors.Is(err, iofs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR):
		return errMissing
	case err == nil && !now.is(o.dir):
		return errors.New("something else is in its place")
	case how != forReading && o.FS().Lost():
		return r.stateRemoved()
	}
	return nil // the call reports any other error
}

func (r *Store) stateRemoved() error { return fmt.Errorf("its %s was removed", r.opts.State) }

// reopen opens the directory that replaced a missing one, if it may be served.
func (r *Store) reopen(gone *instance, why error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.now.Load() != gone {
		return nil // another call has reopened it
	}
	if why != errMissing {
		now := time.Now()
		if now.Before(r.next) {
			return r.why
		}
		o, err := r.replacement(gone)
		if err == nil {
			o.stop = r.opts.Start(o.Store)
			r.now.Store(o)
			r.retire(gone)
			r.opts.Log.Warn("what is served was opened anew", "dir", r.name, "because", why)
			r.logServedAgain()
			return nil
		}
		why, r.next = err, now.Add(time.Second)
	}
	if r.why == nil || r.why.Error() != why.Error() {
		r.opts.Log.Error("the directory cannot be served, and all requests are refused", "dir", r.name, "error", why)
		r.why = why
		r.down.Store(true)
	}
	return why
}

// recovered logs that the same directory is back.
func (r *Store) recovered(o *instance) {
	if !r.down.Load() {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	// The check of this call may be older than the loss, and only the check for a write covers the state directory.
	if r.now.Load() == o && r.absent(o, forWriting) == nil {
		r.logServedAgain()
	}
}

// logServedAgain logs that the directory is served again. mu must be held.
func (r *Store) logServedAgain() {
	if r.why != nil {
		r.opts.Log.Info("the directory is served again", "dir", r.name)
	}
	r.why, r.next = nil, time.Time{}
	r.down.Store(false)
}

// replacement opens the directory that replaced a missing one, if it may be served. A directory on another file system
// must have been served before. Otherwise it may be the mount point of a missing disk.
func (r *Store) replacement(gone *instance) (*instance, error) {
	below, err := fs.Open(r.opts.Dir, fs.Options{ReadOnly: true})
	if err != nil {
		return nil, fmt.Errorf("cannot open %s: %w", r.opts.Dir, err)
	}
	now, err := below.Stat("")
	if err = errors.Join(err, below.Close()); err != nil {
		return nil, err
	}
	if before, err := gone.FS().Stat(""); err != nil || before.Device != now.Device {
		if _, err := os.Stat(filepath.Join(r.opts.Dir, r.opts.State)); err != nil {
			return nil, errors.New("another file system is there now, which was not served before: mount the one " +
				"that was, " +
				"or restart the server to serve this one")
		}
	}
	return r.open()
}

// retire closes a replaced directory after its last user has left.
func (r *Store) retire(gone *instance) {
	gone.mu.Lock()
	close(gone.replaced)
	gone.mu.Unlock()
	r.retired.Go(func() {
		gone.users.Wait()
		if err := gone.close(); err != nil {
			r.opts.Log.Debug("what was served before is closed", "error", err)
		}
	})
}
