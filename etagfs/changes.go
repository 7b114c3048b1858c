package etagfs

import (
	"cmp"
	"context"
	"errors"
	"iter"

	"r-seed-1f3a754f.example/ifmatch/etagfs/failure"
	"r-seed-1f3a754f.example/ifmatch/etagfs/feed"
	"r-seed-1f3a754f.example/ifmatch/etagfs/index"
	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

// Now implements [tree.Feed].
func (s *Store) Now(ctx context.Context) (tree.Cursor, error) { return s.feed.Now(ctx) }

// Latest implements [tree.Feed].
func (s *Store) Latest(ctx context.Context, name string) (tree.Change, error) {
	return s.feed.Latest(ctx, name)
}

// Changes implements [tree.Feed].
func (s *Store) Changes(ctx context.Context, since, until tree.Cursor) iter.Seq2[tree.Change, error] {
	return s.feed.Changes(ctx, since, until)
}

// Changed says that the files at these names may have changed. Their tags are computed ahead of need, if these tags
// last. Changed does not wait.
func (s *Store) Changed(names ...string) {
	s.warmer.Changed(names...)
	s.feed.Hint(names, false)
}

// Rescan says that any file may have changed. No record becomes wrong by this, because each use of a record looks at
// the file. But there may be files to be hashed ahead of need, and file systems that are not known yet. Rescan does not
// wait.
func (s *Store) Rescan() {
	s.feed.Missed()
	s.warmer.Rescan()
}

// NoteSeen is [feed.Feed.NoteSeen].
func (s *Store) NoteSeen(ctx context.Context) { s.feed.NoteSeen(ctx) }

// AskDir is [feed.Feed.AskDir].
func (s *Store) AskDir() string { return s.feed.AskDir() }

// Watched is [feed.Feed.Watched], for a watcher that calls [Store.Changed] and [Store.Removed].
func (s *Store) Watched(ask func(context.Context) error) { s.feed.Watched(ask) }

// Removed says that nothing may be at these names any more. It does not wait.
func (s *Store) Removed(names ...string) { s.feed.Hint(names, true) }

// A telling is a change that a transaction is about to make.
type telling struct {
	cause, name, from string
	over              vfs.Info // what is at the name
	kind              vfs.Kind // of the resource that is at the name after the change, or Nothing
	old, tag          tree.ETag
}

// tell says that the transaction is about to make a change, and appends the change to the journal. It is shown at the
// end of the transaction, or taken back if the transaction fails.
func (t *transaction) tell(c telling) error {
	names := []string{c.name}
	if c.from != "" {
		names = append(names, c.from)
	}
	if err := t.begin(names...); err != nil || t.feed == nil {
		return err
	}
	if c.old == "" && c.over.Exists() {
		c.old, _ = t.tag(c.name, c.over)
	}
	return t.feed.Tell(tree.Change{
		Name: c.name, From: c.from, Cause: c.cause, Old: c.old, Principal: t.by,
		State: tree.State{
			Name: c.name, Exists: c.kind != vfs.Nothing, Collection: c.kind == vfs.Directory, Tag: c.tag,
		},
	}, c.over)
}

// Since implements [tree.FeedView]. A view of a commit looks at no more than the changes in memory. The store looks at
// older ones outside of the lock, after it has asked the watcher.
func (v *view) Since(name string, since tree.Cursor, hidden func(string) bool) (changed bool, err error) {
	f, key := v.s.feed, feed.ScanKey{Name: name, Since: since}
	switch {
	case f == nil:
		return false, feed.ErrNone
	case v.hashes == nil: // the view of a reader
		return f.Scan(key, hidden)
	case !v.scanned[key]:
		v.unscan(key, hidden)
		return false, tree.ErrTagUnknown
	case f.Unsettled():
		return true, nil
	}
	if v.commits {
		// No change that the answer depends on may be under way.
		if err := v.lack(cmp.Or(v.hold.CheckBelow(name), v.hold.CheckShared())); err != nil {
			return false, err
		}
		if err := v.hold.WithShared(context.Background(), func(bool) error { return f.CatchUp() }); err != nil {
			return false, failure.Of(err)
		}
	}
	changed, all, err := f.ScanRecent(key, hidden)
	if err == nil && !all {
		v.unscan(key, hidden)
		err = tree.ErrTagUnknown
	}
	return changed, err
}

func (v *view) unscan(key feed.ScanKey, hidden func(string) bool) {
	v.unscanned, v.hidden = append(v.unscanned, key), hidden
}

// scanEach asks the watcher, and looks for the changes that a Check has asked about.
func (s *Store) scanEach(ctx context.Context, v *view, into map[feed.ScanKey]bool) error {
	for _, key := range v.unscanned {
		if !into[key] {
			s.feed.AwaitDisk(ctx)
		}
		if _, err := s.feed.Scan(key, v.hidden); err != nil && !errors.Is(err, tree.ErrNotExist) {
			return failure.Of(err)
		}
		into[key] = true
	}
	return nil
}

func tagOf(k index.Record, known bool) tree.ETag {
	if !known {
		return ""
	}
	return k.Tag()
}
