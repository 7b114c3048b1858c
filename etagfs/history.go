package etagfs

import (
	"bytes"
	"context"
	"errors"
	iofs "io/fs"
	"iter"
	"time"

	"r-seed-1f3a754f.example/ifmatch/etagfs/copier"
	"r-seed-1f3a754f.example/ifmatch/etagfs/failure"
	"r-seed-1f3a754f.example/ifmatch/etagfs/hashing"
	"r-seed-1f3a754f.example/ifmatch/etagfs/past"
	"r-seed-1f3a754f.example/ifmatch/fs/history"
	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
	"r-seed-1f3a754f.example/ifmatch/tree"
	"r-seed-1f3a754f.example/ifmatch/tree/undo"
)

// Versions implements [tree.Store].
func (s *Store) Versions(ctx context.Context, name string, opts tree.VersionOptions) iter.Seq2[tree.Version, error] {
	return func(yield func(tree.Version, error) bool) {
		for k, err := range s.keptVersions(ctx, name, opts) {
			if err != nil {
				yield(tree.Version{}, failure.Of(err))
				return
			}
			v, err := s.version(ctx, k, opts.Want)
			switch {
			case errors.Is(err, iofs.ErrNotExist):
				continue // the history entry has expired since
			case err != nil:
				yield(tree.Version{}, failure.Of(err))
				return
			case !yield(v, nil):
				return
			}
		}
	}
}

// keptVersions yields the history entries that [Store.Versions] is about. An error ends them. Few requests read the
// history at the same time: each takes memory for all entries of a busy week.
func (s *Store) keptVersions(ctx context.Context, name string, opts tree.VersionOptions) iter.Seq2[history.Kept, error] {
	return func(yield func(history.Kept, error) bool) {
		if opts.Inside != "" {
			dir, err := s.fs.KeptByID(opts.Inside)
			if err != nil {
				yield(dir, err)
				return
			}
			s.fs.Inside(dir)(yield)
			return
		}
		all, err := s.allKept(ctx, name, opts.Since)
		if err != nil {
			yield(history.Kept{}, err)
			return
		}
		for _, k := range all {
			if !yield(k, nil) {
				return
			}
		}
	}
}

// versionsPatience is how long a request waits for its turn to read the history.
const versionsPatience = 5 * time.Second

func (s *Store) allKept(ctx context.Context, name string, since time.Time) ([]history.Kept, error) {
	select {
	case s.versions <- struct{}{}:
		defer func() { <-s.versions }()
		return s.fs.HistorySince(name, since)
	case <-time.After(versionsPatience):
		return nil, &tree.StorageError{Kind: tree.ErrBusy, Hint: "too many requests read the history; try again"}
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// version returns the version that a client sees of a history entry.
func (s *Store) version(ctx context.Context, k history.Kept, want tree.Want) (v tree.Version, err error) {
	v = bareVersion(k)
	switch k.Kind {
	case vfs.Regular:
		if v.Tag == "" && want&tree.WantTag != 0 {
			v.Tag, err = s.tagOfVersion(ctx, k)
		}
	case vfs.Link:
		v.Target, err = s.fs.ReadlinkKept(k)
	}
	return v, err
}

// bareVersion is [Store.version] without what must be read.
func bareVersion(k history.Kept) tree.Version {
	v := tree.Version{
		State: tree.State{
			Name: k.Path, Exists: true, Collection: k.Kind == vfs.Directory, Link: k.Kind == vfs.Link,
			Tag:     tree.ETag(k.Tag),
			Created: k.BirthTime(), Modified: time.Unix(k.ModTime().Unix(), 0),
		},
		ID: k.ID(), Gone: k.Gone, Cause: k.Cause, Principal: tree.Principal(k.By), Late: k.Late,
	}
	if k.Kind == vfs.Regular {
		v.Size = k.Size
	}
	return v
}

// tagOfVersion returns the tag of the file of a history entry. If the entry has no tag, tagOfVersion reads the file.
func (s *Store) tagOfVersion(ctx context.Context, k history.Kept) (tree.ETag, error) {
	if k.Tag != "" {
		return tree.ETag(k.Tag), nil
	}
	f, info, err := s.fs.OpenKept(k)
	if err != nil {
		return "", err
	}
	defer f.Close()
	end, err := s.hasher.Turn(ctx, info.Size, hashing.Patience)
	if err != nil {
		return "", err
	}
	defer end()
	return hashing.TagOf(ctx, f, info.Size)
}

// OpenVersion implements [tree.Store].
func (s *Store) OpenVersion(ctx context.Context, id string) (tree.Content, tree.Version, error) {
	k, err := s.fs.KeptByID(id)
	if err == nil && k.Kind == vfs.Directory {
		err = tree.ErrIsCollection
	}
	var v tree.Version
	if err == nil {
		v, err = s.version(ctx, k, 0)
	}
	var f *vfs.File
	var info vfs.Info
	if err == nil {
		f, info, err = s.fs.OpenKept(k)
	}
	if err != nil {
		return nil, tree.Version{}, failure.Of(err)
	}
	c := s.contents.Of(f, info, v.Tag, false)
	c.Begin()
	return c, v, nil
}

// isOther fails with ErrSame if the file, collection or link at a name equals a version, so that there is nothing to
// restore.
func (s *Store) isOther(ctx context.Context, name string, version history.Kept) error {
	now, err := s.fs.Lstat(name)
	if err != nil || now.Kind != version.Kind {
		return nil // the commit reports any error of the name
	}
	same := false
	if there := s.fs.Unkept(name, now); version.Kind != vfs.Regular {
		same, err = s.isSame(version, there)
	} else if version.Size == there.Size {
		was, failed := s.tagOfVersion(ctx, version)
		is, failedToo := s.tagOfVersion(ctx, there)
		same, err = was == is, errors.Join(failed, failedToo)
	}
	if err == nil && same {
		err = tree.ErrSame
	}
	return err
}

// isSame compares two collections with their members, two links, or two files of such collections. It reads no content.
func (s *Store) isSame(a, b history.Kept) (bool, error) {
	if a.Kind != b.Kind || a.Size != b.Size || a.Mode != b.Mode || a.Kind == vfs.Regular && a.Modified != b.Modified {
		return false, nil
	}
	if a.Kind == vfs.Link {
		one, err := s.fs.ReadlinkKept(a)
		other, failed := s.fs.ReadlinkKept(b)
		return one == other, errors.Join(err, failed)
	}
	one, err := s.fs.AttributesKept(a)
	other, failed := s.fs.AttributesKept(b)
	if err := errors.Join(err, failed); err != nil || !bytes.Equal(one, other) || a.Kind != vfs.Directory {
		return err == nil && bytes.Equal(one, other), err
	}
	next, stop := iter.Pull2(s.fs.Inside(b)) // sorted by name, as those of a are
	defer stop()
	for m, err := range s.fs.Inside(a) {
		other, failed, ok := next()
		if err := errors.Join(err, failed); err != nil || !ok || m.Name != other.Name {
			return false, err
		}
		if same, err := s.isSame(m, other); err != nil || !same {
			return false, err
		}
	}
	_, failed, more := next()
	return !more, failed
}

// Restore implements [tree.Store]. A restored link has its former target, and a restored file or collection has its
// former mode. The condition must check the locks of the name, and of the members of a collection that is replaced.
func (s *Store) Restore(
	ctx context.Context, id, to string, opts tree.RestoreOptions, cond tree.Condition,
) (tree.State, bool, error) {
	if s.fs.ReadOnly() {
		return tree.State{}, false, tree.ErrReadOnly
	}
	version, err := s.fs.KeptByID(id)
	if err == nil {
		err = s.isOther(ctx, to, version)
	}
	if err != nil {
		return tree.State{}, false, failure.Of(err)
	}
	version.Path = to
	return s.restore(ctx, s.newCopy(), version, opts, cond)
}

// restore restores a version at its path.
func (s *Store) restore(
	ctx context.Context, c *copier.Copy, version history.Kept, opts tree.RestoreOptions, cond tree.Condition,
) (tree.State, bool, error) {
	name := version.Path
	defer c.Discard()
	var state tree.State
	var created bool
	err := s.update(ctx, scopeOf(cond, true, name), func(bool) error {
		c.Discard()
		if err := c.StageKept(ctx, version); err != nil {
			return err
		}
		return readyCopy(c, name)
	}, func(t *transaction) error {
		over, err := t.target(name)
		if err == nil && over.Kind == vfs.Link {
			err = vfs.ErrLink
		}
		if err != nil {
			return err
		}
		if err := t.ask(cond); err != nil {
			return err
		}
		if created = !over.Exists(); !created && opts.NoOverwrite {
			return tree.ErrExist
		}
		state, err = t.replace(name, over, copied(c, "restore"))
		return err
	})
	return state, created, err
}

// Prune drops the versions that the history keeps of a name and of all names below it, before their time is over, and
// calls dropped with each, and with the space that it takes in bytes. The space is free at the return. With dryRun it
// only says which these would be. left is how many versions stay, see [fs.FS.Prune].
func (s *Store) Prune(
	ctx context.Context, name string, dryRun bool, dropped func(v tree.Version, bytes int64),
) (left int, err error) {
	if s.fs.ReadOnly() && !dryRun {
		return 0, tree.ErrReadOnly
	}
	left, err = s.fs.Prune(ctx, name, history.PruneOptions{DryRun: dryRun, Dropped: func(k history.Kept, bytes int64) {
		dropped(bareVersion(k), bytes)
	}})
	if !dryRun {
		err = errors.Join(err, s.fs.EmptyTrash(ctx))
	}
	return left, failure.Of(err)
}

// RestoreAt implements [tree.Undoer].
func (s *Store) RestoreAt(
	ctx context.Context, name string, at time.Time, opts tree.RestoreAtOptions,
) (tree.Restored, error) {
	disk := past.Disk{
		Store: s, FS: s.fs, Feed: s.feed, Reader: s.reader, Index: s.index, Hasher: s.hasher, Clock: s.now,
		TagOf: s.tagOfVersion,
		Restore: func(
			ctx context.Context, k history.Kept, shallow bool, opts tree.RestoreOptions, cond tree.Condition,
		) error {
			_, _, err := s.restore(ctx, &copier.Copy{Copier: s.copier, Shallow: shallow}, k, opts, cond)
			return err
		},
	}
	return undo.RestoreAt(ctx, disk, name, at, opts)
}
