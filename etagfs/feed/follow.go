package feed

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"r-seed-1f3a754f.example/ifmatch/etagfs/failure"
	"r-seed-1f3a754f.example/ifmatch/fs/volumes"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

// ErrNone is the error of a store without a journal.
var ErrNone = fmt.Errorf("no changes are kept: %w", tree.ErrUnsupported)

// adopt takes in the changes of other processes, if there are any.
func (f *Feed) adopt(ctx context.Context) error {
	if !f.journal.Grown() {
		return nil
	}
	unlock, err := f.lock(ctx)
	if err != nil {
		return failure.Of(err)
	}
	defer unlock()
	return failure.Of(f.journal.Adopt())
}

// Now implements [tree.Feed].
func (f *Feed) Now(ctx context.Context) (tree.Cursor, error) {
	if f == nil {
		return "", ErrNone
	}
	f.AwaitDisk(ctx)
	if err := f.adopt(ctx); err != nil {
		return "", err
	}
	return f.journal.Now()
}

// Latest implements [tree.Feed].
func (f *Feed) Latest(ctx context.Context, name string) (tree.Change, error) {
	if f == nil {
		return tree.Change{}, ErrNone
	}
	if err := f.adopt(ctx); err != nil {
		return tree.Change{}, err
	}
	c, err := f.journal.Latest(ctx, name)
	return c, failure.Of(err)
}

// adoptEvery is how often a follower looks for changes of other processes.
const adoptEvery = time.Second

// Changes implements [tree.Feed].
func (f *Feed) Changes(ctx context.Context, since, until tree.Cursor) iter.Seq2[tree.Change, error] {
	return func(yield func(tree.Change, error) bool) {
		again := time.NewTimer(adoptEvery)
		defer again.Stop()
		var more <-chan struct{}
		looked := false
		read := func(since tree.Cursor) ([]tree.Change, bool, error) {
			if f == nil {
				return nil, false, ErrNone
			}
			more = f.journal.More()
			changes, err := f.journal.Read(since)
			if errors.Is(err, tree.ErrNotExist) && !looked {
				// Another process may have given that cursor to the client.
				looked = true
				if err = f.adopt(ctx); err == nil {
					return nil, true, nil
				}
			}
			return changes, len(changes) > 0, failure.Of(err)
		}
		tree.FollowChanges(since, until, read, func() error {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-more:
			case <-again.C:
				again.Reset(adoptEvery)
				if err := f.adopt(ctx); ctx.Err() == nil && !errors.Is(err, tree.ErrBusy) {
					return err
				}
			}
			return nil
		})(yield)
	}
}

// Begun returns the time since which all changes are kept, as [journal.Journal.Begun] does.
func (f *Feed) Begun() (time.Time, error) { return f.journal.Begun() }

// Read returns the next changes after a cursor, or none, as [journal.Journal.Read] does. It does not wait.
func (f *Feed) Read(since tree.Cursor) ([]tree.Change, error) { return f.journal.Read(since) }

// ChangedSince reports whether a name, or one below it, has changed since a cursor.
func (f *Feed) ChangedSince(ctx context.Context, name string, since tree.Cursor) (bool, error) {
	if err := f.adopt(ctx); err != nil {
		return false, err
	}
	for {
		changes, err := f.journal.Read(since)
		if errors.Is(err, tree.ErrNotExist) {
			return true, nil
		}
		if err != nil || len(changes) == 0 {
			return false, failure.Of(err)
		}
		if concerns(changes, name, nil) {
			return true, nil
		}
		since = changes[len(changes)-1].Cursor
	}
}

// The questions of a Check: has a name changed since a cursor?

// A ScanKey is a name, and a cursor since which it may have changed.
type ScanKey struct {
	Name  string
	Since tree.Cursor
}

// A scan says how far the changes of a name since a cursor were read. It is remembered, so that a transaction has only
// the newest changes to look at.
type scan struct {
	upTo    tree.Cursor // up to there, nothing has changed
	changed bool
}

// maxRecent is how many changes a transaction looks at. If there are more, they are looked at outside of the lock.
const maxRecent = 512

// maxScans is how many scans are remembered.
const maxScans = 1 << 10

// concerns is [tree.Concern], where names that some file system takes for one count as the same.
func concerns(changes []tree.Change, name string, hidden func(string) bool) bool {
	return tree.Concern(changes, name, hidden, volumes.Alike)
}

// Scan reads the changes of a name since a cursor, and reports whether it has changed, or may have. Names for which
// hidden is true do not count (nil: all count).
func (f *Feed) Scan(key ScanKey, hidden func(string) bool) (changed bool, err error) {
	found, _ := f.scans.Get(key)
	found.upTo = cmp.Or(found.upTo, key.Since)
	for !found.changed {
		changes, err := f.journal.Read(found.upTo)
		if err != nil {
			return false, err
		}
		if len(changes) == 0 {
			break
		}
		found.upTo = changes[len(changes)-1].Cursor
		found.changed = concerns(changes, key.Name, hidden)
	}
	f.scans.Add(key, found)
	return found.changed || f.Unsettled(), nil
}

// ScanRecent is [Feed.Scan] for a commit. It looks at no more than the latest changes, which are in memory. all is
// false if there are more, so that a Scan outside of the lock is needed.
func (f *Feed) ScanRecent(key ScanKey, hidden func(string) bool) (changed, all bool, err error) {
	known, _ := f.scans.Get(key)
	if known.changed {
		return true, true, nil
	}
	changes, all, err := f.journal.Recent(cmp.Or(known.upTo, key.Since), maxRecent)
	if err != nil || !all {
		return false, all, err
	}
	return concerns(changes, key.Name, hidden), true, nil
}

// CatchUp takes in all changes that were made until now. It must be called under the lock of the journal.
func (f *Feed) CatchUp() error { return cmp.Or(f.flush(), f.journal.Adopt()) }
