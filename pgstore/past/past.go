// Package past shows package undo a tree in a database and its history, and takes the steps of its plans there.
//
// No program changes that tree beside the store, and each change is in the feed by the same commit. So a
// restore knows the tree as of each time that is not older than the feed.
package past

import (
	"context"
	"errors"
	"iter"
	"time"

	"r-seed-1f3a754f.example/ifmatch/tree"
	"r-seed-1f3a754f.example/ifmatch/tree/undo"
)

const (
	maxCached   = 200_000   // names whose resources are remembered
	maxKnown    = 1_000_000 // changes and versions of a plan, which are in memory
	namesAtOnce = 500       // of a look
)

// A Writer is the store.
type Writer interface {
	Try(ctx context.Context, cond tree.Condition) error
	List(ctx context.Context, dir string, opts tree.ListOptions, cond tree.Condition) iter.Seq2[tree.State, error]
	Mkdir(ctx context.Context, name string, opts tree.MkdirOptions, cond tree.Condition) (tree.State, error)
	Move(ctx context.Context, from, to string, opts tree.CopyOptions, cond tree.Condition) (tree.State, bool, error)
	Versions(ctx context.Context, name string, opts tree.VersionOptions) iter.Seq2[tree.Version, error]
	Now(ctx context.Context) (tree.Cursor, error)
	Changes(ctx context.Context, since, until tree.Cursor) iter.Seq2[tree.Change, error]
	// Since returns a cursor before all changes after a time, and the time since when all changes are known.
	Since(ctx context.Context, at time.Time) (before tree.Cursor, begun time.Time, err error)
	// Clock returns the time by the clock of the changes.
	Clock(ctx context.Context) (time.Time, error)
	// Bring is Restore, if shallow without the members of a collection.
	Bring(ctx context.Context, id, to string, shallow bool, opts tree.RestoreOptions, cond tree.Condition) error
	// RemoveEmpty is Remove of a collection without members, or of a file. Else the error is that of
	// [undo.ErrNotEmpty].
	RemoveEmpty(ctx context.Context, name string, cond tree.Condition) error
}

// A Database is a tree for [undo.RestoreAt].
type Database struct {
	Writer
	seen  map[string]undo.Info
	begun time.Time // when the plan was begun
	most  int       // how many changes a plan has, and how many versions
}

var _ undo.Store = (*Database)(nil)

// Of returns the tree of a store for one restore.
func Of(w Writer) *Database {
	return &Database{Writer: w, seen: map[string]undo.Info{}, most: maxKnown}
}

// infoOf returns the facts by which a resource is compared. A file has the ETag, too.
func infoOf(s tree.State) undo.Info {
	_, base := tree.Split(s.Name)
	i := undo.Info{Name: base, Born: s.Created.UnixNano(), Changed: s.Created.UnixNano()}
	switch dates, _ := s.Dates.(tree.DateRange); {
	case !s.Exists:
		return undo.Info{}
	case s.Collection:
		i.Kind = undo.Collection
	default:
		i.Kind, i.Size, i.Modified, i.Of = undo.File, s.Size, s.Modified.UnixNano(), s.Tag
		if !dates.Since.IsZero() {
			i.Changed = dates.Since.UnixNano()
		}
	}
	return i
}

// keptOf returns a version. The date of its content may be any that a client has set, and tells nothing.
func keptOf(v tree.Version) undo.Kept {
	i := infoOf(v.State)
	i.Modified, i.Changed = i.Born, i.Born
	return undo.Kept{Info: i, ID: v.ID, Path: v.Name, Gone: v.Gone, Cause: v.Cause}
}

func (d *Database) remember(name string, i undo.Info) {
	if len(d.seen) >= maxCached {
		clear(d.seen)
	}
	d.seen[name] = i
}

// look looks at some names, and remembers the resources.
func (d *Database) look(ctx context.Context, names []string) error {
	return d.Try(ctx, tree.Condition{Names: names, Check: func(v tree.View) error {
		for _, name := range names {
			s, err := v.State(name)
			if err != nil && !errors.Is(err, tree.ErrReserved) {
				return err
			}
			d.remember(name, infoOf(s))
		}
		return nil
	}})
}

// Lstat implements [undo.Disk].
func (d *Database) Lstat(ctx context.Context, name string) (undo.Info, error) {
	if i, known := d.seen[name]; known {
		return i, nil
	}
	err := d.look(ctx, []string{name})
	return d.seen[name], err
}

// Members implements [undo.Disk].
func (d *Database) Members(ctx context.Context, dir string) (all []undo.Info, err error) {
	for s, err := range d.List(ctx, dir, tree.ListOptions{Depth: 1, Want: tree.WantTag}, tree.Condition{}) {
		switch {
		case errors.Is(err, tree.ErrNotExist):
			return nil, nil
		case err != nil:
			return nil, err
		case s.Name == dir:
			continue
		}
		i := infoOf(s)
		d.remember(s.Name, i)
		all = append(all, i)
	}
	return all, nil
}

// Tag implements [undo.Disk].
func (d *Database) Tag(_ context.Context, _ string, info undo.Info) (tree.ETag, error) {
	tag, _ := info.Of.(tree.ETag)
	return tag, nil
}

// TagKept implements [undo.Disk].
func (d *Database) TagKept(ctx context.Context, k undo.Kept) (tree.ETag, error) {
	return d.Tag(ctx, "", k.Info)
}

// Inside implements [undo.Disk].
func (d *Database) Inside(ctx context.Context, dir undo.Kept) (all []undo.Kept, err error) {
	for v, err := range d.Versions(ctx, "", tree.VersionOptions{Inside: dir.ID}) {
		if err != nil {
			return nil, err
		}
		all = append(all, keptOf(v))
	}
	return all, nil
}

// Now implements [undo.Store].
func (d *Database) Now(ctx context.Context) (at tree.Cursor, now time.Time, err error) {
	clear(d.seen)
	if at, err = d.Writer.Now(ctx); err == nil {
		d.begun, err = d.Clock(ctx)
	}
	return at, d.begun, err
}

// ChangedSince implements [undo.Store].
func (d *Database) ChangedSince(ctx context.Context, name string, since tree.Cursor) (changed bool, err error) {
	err = d.Try(ctx, tree.Condition{Names: []string{name}, Check: func(v tree.View) (err error) {
		changed, err = v.(tree.FeedView).Since(name, since, nil)
		return err
	}})
	return changed, err
}

var errTooMany = &tree.StorageError{Kind: tree.ErrTooLarge,
	Hint: "more than a million changes were made in the whole tree since then, or versions replaced: give a later time, or " +
		"restore single names with --etag"}

// Known implements [undo.Store].
func (d *Database) Known(ctx context.Context, at time.Time) (known undo.Known, err error) {
	known.At = at
	var since, until tree.Cursor
	if since, known.Begun, err = d.Since(ctx, at); err == nil {
		until, err = d.Writer.Now(ctx)
	}
	if err != nil {
		return known, err
	}
	for c, err := range d.Changes(ctx, since, until) {
		switch {
		case err != nil:
			return known, err
		case !c.Time.After(at):
			continue
		case len(known.Changes) == d.most:
			return known, errTooMany
		}
		known.Changes = append(known.Changes, c)
	}
	for v, err := range d.Versions(ctx, "", tree.VersionOptions{Since: at}) {
		switch {
		case err != nil:
			return known, err
		case !v.Gone.After(at):
			continue
		case len(known.Kept) == d.most:
			return known, errTooMany
		}
		known.Kept = append(known.Kept, keptOf(v))
	}
	return known, d.lookAhead(ctx, known.Changes)
}

// lookAhead looks at the names of changes, many in one round trip.
func (d *Database) lookAhead(ctx context.Context, changes []tree.Change) error {
	var names []string
	asked := map[string]bool{}
	for _, c := range changes {
		for _, name := range []string{c.Name, c.From} {
			if asked[name] || len(asked) == maxCached {
				continue
			}
			asked[name] = true
			if names = append(names, name); len(names) == namesAtOnce {
				if err := d.look(ctx, names); err != nil {
					return err
				}
				names = nil
			}
		}
	}
	if len(names) == 0 {
		return nil
	}
	return d.look(ctx, names)
}

// IsSeen implements [undo.Store].
func (d *Database) IsSeen(v tree.View, name string, seen undo.Info) (bool, error) {
	s, err := v.State(name)
	now := infoOf(s)
	if now.Kind == undo.Collection {
		return seen.Kind == now.Kind && seen.Born == now.Born, err
	}
	now.Name = seen.Name
	return now == seen, err
}

// Remove implements [undo.Store].
func (d *Database) Remove(ctx context.Context, name string, cond tree.Condition) error {
	return d.RemoveEmpty(ctx, name, cond)
}

// Bring implements [undo.Store].
func (d *Database) Bring(
	ctx context.Context, k undo.Kept, shallow bool, opts tree.RestoreOptions, cond tree.Condition,
) error {
	return d.Writer.Bring(ctx, k.ID, k.Path, shallow, opts, cond)
}

// Archived implements [undo.Store].
func (d *Database) Archived(ctx context.Context, name string, over undo.Info) (found undo.Kept, ok bool, err error) {
	for v, err := range d.Versions(ctx, name, tree.VersionOptions{Since: d.begun}) {
		if err != nil {
			return found, false, err
		}
		if k := keptOf(v); k.Path == name && k.Kind == over.Kind && k.Born == over.Born {
			found, ok = k, true
		}
	}
	return found, ok, nil
}
