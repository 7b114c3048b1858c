package etagfs

import (
	"cmp"
	"context"
	"errors"
	"slices"

	"r-seed-1f3a754f.example/ifmatch/etagfs/failure"
	"r-seed-1f3a754f.example/ifmatch/fs"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

// The questions of a Check: has a name changed since a cursor?

// A scanKey is a name, and a cursor since which it may have changed.
type scanKey struct {
	name  string
	since tree.Cursor
}

// A scan is what is known of the changes of a name since a cursor. It is remembered, so that a transaction has only
// the newest changes to look at.
type scan struct {
	upTo    tree.Cursor // up to there, nothing has changed
	changed bool
}

// maxRecent is how many changes a transaction looks at. If there are more, they are looked at outside of the lock.
const maxRecent = 512

// maxScans is how many scans are remembered.
const maxScans = 1 << 10

// Since implements [tree.FeedView]. A view of a commit looks at no more than the changes in memory. The store looks at
// older ones outside of the lock, after it has asked the watcher.
func (v *view) Since(name string, since tree.Cursor, hidden func(string) bool) (changed bool, err error) {
	f, key := v.s.feed, scanKey{name, since}
	switch {
	case f == nil:
		return false, errNoFeed
	case v.scanned == nil: // the view of a reader
		return v.s.scan(key, hidden)
	case !v.scanned[key]:
		v.unscan(key, hidden)
		return false, tree.ErrTagUnknown
	case f.unsettled():
		return true, nil
	}
	if v.commits {
		// No change that the answer depends on may be under way.
		if err := v.lack(cmp.Or(v.hold.CheckBelow(name), v.hold.CheckShared())); err != nil {
			return false, err
		}
		err := v.hold.WithShared(context.Background(), func(bool) error { return cmp.Or(f.flush(), f.Adopt()) })
		if err != nil {
			return false, failure.Of(err)
		}
	}
	known, _ := f.scans.Get(key)
	if known.changed {
		return true, nil
	}
	if known.upTo != "" {
		since = known.upTo
	}
	changes, all, err := f.Recent(since, maxRecent)
	if err != nil {
		return false, err
	}
	if !all {
		v.unscan(key, hidden)
		return false, tree.ErrTagUnknown
	}
	return concerns(changes, name, hidden), nil
}

func (v *view) unscan(key scanKey, hidden func(string) bool) {
	v.unscanned, v.hidden = append(v.unscanned, key), hidden
}

// concerns reports whether one of the changes is of a name, or of a resource below it. Names that some file system
// takes for one count as the same.
func concerns(changes []tree.Change, name string, hidden func(string) bool) bool {
	return slices.ContainsFunc(changes, func(c tree.Change) bool {
		ok := true
		if hidden != nil {
			c, ok = c.Without(hidden)
		}
		return ok && c.Concerns(name, fs.Alike)
	})
}

// scanEach asks the watcher, and looks for the changes that a Check has asked about.
func (s *Store) scanEach(ctx context.Context, v *view, into map[scanKey]bool) error {
	for _, key := range v.unscanned {
		if !into[key] {
			s.awaitDisk(ctx)
		}
		if _, err := s.scan(key, v.hidden); err != nil && !errors.Is(err, tree.ErrNotExist) {
			return failure.Of(err)
		}
		into[key] = true
	}
	return nil
}

// scan reads the changes of a name since a cursor.
func (s *Store) scan(key scanKey, hidden func(string) bool) (changed bool, err error) {
	f := s.feed
	found, ok := f.scans.Get(key)
	if !ok {
		found.upTo = key.since
	}
	for !found.changed {
		changes, err := f.Read(found.upTo)
		if err != nil {
			return false, err
		}
		if len(changes) == 0 {
			break
		}
		found.upTo = changes[len(changes)-1].Cursor
		found.changed = concerns(changes, key.name, hidden)
	}
	f.scans.Add(key, found)
	return found.changed || f.unsettled(), nil
}
