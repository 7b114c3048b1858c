// Package past shows package undo a directory and its history, and takes the steps of its plans there.
package past

import (
	"context"
	"errors"
	"time"

	"r-seed-1f3a754f.example/ifmatch/etagfs/failure"
	"r-seed-1f3a754f.example/ifmatch/etagfs/feed"
	"r-seed-1f3a754f.example/ifmatch/etagfs/hashing"
	"r-seed-1f3a754f.example/ifmatch/etagfs/index"
	"r-seed-1f3a754f.example/ifmatch/etagfs/snapshots"
	"r-seed-1f3a754f.example/ifmatch/fs"
	"r-seed-1f3a754f.example/ifmatch/fs/history"
	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
	"r-seed-1f3a754f.example/ifmatch/fs/volumes"
	"r-seed-1f3a754f.example/ifmatch/tree"
	"r-seed-1f3a754f.example/ifmatch/tree/undo"
)

// A Disk is a directory for [undo.RestoreAt]. All fields but Feed are needed.
type Disk struct {
	tree.Store // makes the changes
	FS         *fs.FS
	Feed       *feed.Feed
	Reader     *snapshots.Reader
	Index      *index.Index
	Hasher     *hashing.Hasher
	Clock      func() time.Time
	// Restore restores a version at its path, if shallow without its members.
	Restore func(ctx context.Context, k history.Kept, shallow bool, opts tree.RestoreOptions, cond tree.Condition) error
	// TagOf returns the tag of a version that is a file, and hashes it if necessary.
	TagOf func(ctx context.Context, k history.Kept) (tree.ETag, error)
}

var _ undo.Store = Disk{}

var kinds = map[vfs.Kind]undo.Kind{
	vfs.Nothing: undo.Nothing, vfs.Regular: undo.File, vfs.Directory: undo.Collection, vfs.Link: undo.Link,
	vfs.Special: undo.Other,
}

func infoOf(i vfs.Info) undo.Info {
	return undo.Info{
		Name: i.Name, Kind: kinds[i.Kind], Size: i.Size, Born: i.Born, Modified: i.Modified, Changed: i.Changed, Of: i,
	}
}

func keptOf(k history.Kept) undo.Kept {
	kept := undo.Kept{Info: infoOf(k.Info), ID: k.ID(), Path: k.Path, Gone: k.Gone, Cause: k.Cause, Late: k.Late}
	kept.Of = k
	return kept
}

// Lstat implements [undo.Disk].
func (d Disk) Lstat(_ context.Context, name string) (undo.Info, error) {
	info, err := d.FS.Lstat(name)
	if errors.Is(failure.Of(err), tree.ErrNotExist) || errors.Is(err, vfs.ErrLink) {
		return undo.Info{}, nil
	}
	return infoOf(info), failure.Of(err)
}

// Members implements [undo.Disk].
func (d Disk) Members(ctx context.Context, dir string) (all []undo.Info, err error) {
	for members, err := range d.Reader.Members(dir, volumes.DirOptions{}).Batches(ctx) {
		if errors.Is(failure.Of(err), tree.ErrNotExist) || errors.Is(err, failure.ErrNotCollection) {
			return all, nil
		}
		if err != nil {
			return nil, failure.Of(err)
		}
		for _, m := range members {
			all = append(all, infoOf(m.Info))
		}
	}
	return all, nil
}

// Tag implements [undo.Disk].
func (d Disk) Tag(ctx context.Context, name string, info undo.Info) (tree.ETag, error) {
	if tag, known := d.Index.Tag(info.Of.(vfs.Info).Fingerprint); known {
		return tag, nil
	}
	_, tag, err := d.Hasher.Hash(ctx, name, hashing.How{Rounds: 1})
	err = failure.Of(err)
	if errors.Is(err, tree.ErrNotExist) || errors.Is(err, tree.ErrBusy) {
		return "", nil // no change has made the file that is there
	}
	return tag, err
}

// Inside implements [undo.Disk].
func (d Disk) Inside(_ context.Context, dir undo.Kept) (all []undo.Kept, err error) {
	for m, err := range d.FS.Inside(dir.Of.(history.Kept)) {
		if err != nil {
			return all, failure.Of(err)
		}
		all = append(all, keptOf(m))
	}
	return all, nil
}

// TagKept implements [undo.Disk].
func (d Disk) TagKept(ctx context.Context, k undo.Kept) (tree.ETag, error) {
	tag, err := d.TagOf(ctx, k.Of.(history.Kept))
	return tag, failure.Of(err)
}

// Now implements [undo.Store].
func (d Disk) Now(ctx context.Context) (tree.Cursor, time.Time, error) {
	if d.Feed == nil {
		return "", time.Time{}, feed.ErrNone
	}
	at, err := d.Feed.Now(ctx)
	return at, d.Clock(), err
}

// ChangedSince implements [undo.Store].
func (d Disk) ChangedSince(ctx context.Context, name string, since tree.Cursor) (bool, error) {
	return d.Feed.ChangedSince(ctx, name, since)
}

// Known implements [undo.Store]. It has the changes shortly before the time, too.
func (d Disk) Known(_ context.Context, at time.Time) (known undo.Known, err error) {
	known.At = at
	if known.Begun, err = d.Feed.Begun(); err != nil {
		return known, failure.Of(err)
	}
	for since := tree.Cursor(""); ; {
		changes, err := d.Feed.Read(since)
		if errors.Is(err, tree.ErrNotExist) {
			known.Begun, known.Changes, known.Before = time.Time{}, nil, undo.Census{} // it was begun anew meanwhile
			break
		}
		if err != nil {
			return known, failure.Of(err)
		}
		if len(changes) == 0 {
			break
		}
		for _, c := range changes {
			if since = c.Cursor; c.Time.After(at.Add(-undo.EchoTime)) {
				known.Changes = append(known.Changes, c)
			}
			if !c.Time.After(at) {
				known.Before.Add(c)
			}
		}
	}
	all, err := d.FS.HistorySince("", at)
	for _, k := range all {
		if k.Gone.After(at) {
			known.Kept = append(known.Kept, keptOf(k))
		}
	}
	return known, failure.Of(err)
}

// lookAt looks at a name inside a commit.
func lookAt(v tree.View, name string) (vfs.Info, error) {
	info, err := v.(interface {
		Lstat(name string) (vfs.Info, error)
	}).Lstat(name)
	if errors.Is(failure.Of(err), tree.ErrNotExist) {
		err = nil
	}
	return info, err
}

// IsSeen implements [undo.Store].
func (d Disk) IsSeen(v tree.View, name string, seen undo.Info) (bool, error) {
	now, err := lookAt(v, name)
	if err != nil {
		return false, err
	}
	want, _ := seen.Of.(vfs.Info)
	if !now.Exists() || !want.Exists() || now.Kind == vfs.Directory {
		return now.Kind == want.Kind && (!now.Exists() || now.SameFile(want)), nil
	}
	return now.Kind == want.Kind && now.Fingerprint == want.Fingerprint, nil
}

// Remove implements [undo.Store].
func (d Disk) Remove(ctx context.Context, name string, cond tree.Condition) error {
	asked := cond
	cond.Check = func(v tree.View) error {
		info, err := lookAt(v, name)
		if err == nil && info.Kind == vfs.Directory {
			var empty bool
			if empty, err = d.FS.IsEmpty(name); err == nil && !empty {
				err = undo.ErrNotEmpty
			}
		}
		if err != nil {
			return err
		}
		return asked.Ask(v)
	}
	return d.Store.Remove(ctx, name, cond)
}

// Bring implements [undo.Store].
func (d Disk) Bring(
	ctx context.Context, k undo.Kept, shallow bool, opts tree.RestoreOptions, cond tree.Condition,
) error {
	version := k.Of.(history.Kept)
	version.Path = k.Path
	return d.Restore(ctx, version, shallow, opts, cond)
}

// Archived implements [undo.Store].
func (d Disk) Archived(_ context.Context, name string, over undo.Info) (found undo.Kept, ok bool, err error) {
	all, err := d.FS.HistorySince(name, d.Clock().Add(-time.Hour)) // a step has just replaced it
	if err != nil {
		return found, false, failure.Of(err)
	}
	seen := over.Of.(vfs.Info)
	for _, k := range all {
		if k.Path == name && k.Inode == seen.Inode && k.Born == seen.Born {
			found, ok = keptOf(k), true
		}
	}
	return found, ok, nil
}
