package copier

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	iofs "io/fs"
	"path"
	"slices"

	"r-seed-1f3a754f.example/ifmatch/etagfs/failure"
	"r-seed-1f3a754f.example/ifmatch/etagfs/index"
	"r-seed-1f3a754f.example/ifmatch/etagfs/snapshots"
	"r-seed-1f3a754f.example/ifmatch/fs"
	"r-seed-1f3a754f.example/ifmatch/fs/history"
	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
	"r-seed-1f3a754f.example/ifmatch/fs/volumes"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

// versions are the versions of members, by the hashes of their names in the tree: the names of a large tree would take
// much more memory.
type versions map[[sha256.Size]byte]vfs.Fingerprint

func (v versions) at(place string) vfs.Fingerprint { return v[sha256.Sum256([]byte(place))] }

// note records the fingerprint of a copied member.
func (c *Copy) note(place string, info vfs.Info) {
	if c.copied != nil {
		c.copied[sha256.Sum256([]byte(place))] = info.Fingerprint
	}
}

// A collection is a member that is copied after the others.
type collection struct {
	name string
	id   snapshots.MemberID
}

// members copies the members of a collection. Links are copied as links. The collections among the members are copied
// after the collection is closed again, so that one collection of a deep tree is open at a time. id is the one of the
// collection: another one can have its name meanwhile.
func (c *Copy) members(ctx context.Context, from, place string, id snapshots.MemberID, top *fs.Staged) error {
	below, err := c.membersButCollections(ctx, from, place, id, top)
	if err != nil {
		return err
	}
	for _, one := range below {
		if err := c.collection(ctx, from, place, id, one, below, top); err != nil {
			return err
		}
	}
	return nil
}

// collection copies a member that was left out when its collection was read. It has the name that it had then, wherever
// it is by now: others of the collection can have its name, and it can have theirs. If it was removed, collection copies
// the new collection that has come in its place.
func (c *Copy) collection(
	ctx context.Context, from, place string, in snapshots.MemberID, one collection, all []collection, top *fs.Staged,
) error {
	err := c.memberOf(ctx, tree.Join(from, one.name), path.Join(place, one.name), one.id, top)
	for isGone(err) {
		if c.searches == snapshots.MaxRereads {
			return ErrStale // members are renamed faster than they are copied
		}
		c.searches++
		base, failed := c.Reader.Renamed(ctx, from, in, one.id)
		if failed != nil {
			return failed // the collection itself was removed or renamed
		}
		if base != "" {
			err = c.memberOf(ctx, tree.Join(from, base), path.Join(place, one.name), one.id, top)
			continue
		}
		info, failed := c.FS.Lstat(tree.Join(from, one.name))
		if failed != nil || info.Kind != vfs.Directory ||
			slices.ContainsFunc(all, func(other collection) bool { return other.id.IsOf(info) }) {
			return nil
		}
		err = c.memberOf(ctx, tree.Join(from, one.name), path.Join(place, one.name), snapshots.IDOf(info), top)
		if isGone(err) {
			return nil
		}
	}
	return err
}

// memberOf copies what is at a name, if it is the resource. Else it fails as if nothing were there.
func (c *Copy) memberOf(ctx context.Context, name, at string, id snapshots.MemberID, top *fs.Staged) error {
	info, err := c.FS.Lstat(name)
	switch {
	case err == nil && !id.IsOf(info):
		return goneFrom(name)
	case err == nil && info.Kind == vfs.Special:
		return nil
	case err == nil:
		err = c.member(ctx, name, at, info, nil, top)
	}
	if err != nil && !isGone(err) {
		err = c.failedAt(name, at, true, err)
	}
	return err
}

// isGone reports whether an error says that a resource does not exist any more.
func isGone(err error) bool { return errors.Is(failure.Of(err), tree.ErrNotExist) }

// goneFrom returns the error of a resource that is not at a name any more.
func goneFrom(name string) error {
	return &iofs.PathError{Op: "copy", Path: name, Err: iofs.ErrNotExist}
}

// membersButCollections copies the members of a collection, except for collections. It returns the collections that it
// leaves out.
func (c *Copy) membersButCollections(
	ctx context.Context, from, place string, id snapshots.MemberID, top *fs.Staged,
) (below []collection, err error) {
	r := c.Reader.Members(from, volumes.DirOptions{})
	r.ID = id
	for members, err := range r.Batches(ctx) {
		if err != nil {
			return nil, err
		}
		for _, m := range members {
			if m.Err == nil && m.Kind == vfs.Directory {
				below = append(below, collection{m.Name, snapshots.IDOf(m.Info)})
				continue
			}
			name, at := tree.Join(from, m.Name), path.Join(place, m.Name)
			err := m.Err
			if err == nil {
				err = c.member(ctx, name, at, m.Info, r, top)
			}
			if isGone(err) {
				r.MarkGone(m.Name)
			} else if err != nil {
				return nil, c.failedAt(name, at, m.Kind == vfs.Directory, err)
			}
		}
	}
	switch {
	case r.IsAway(): // it was removed or renamed, and its members cannot be opened by this name
		return nil, goneFrom(from)
	case r.IsIncomplete():
		return nil, ErrStale // members are renamed faster than they are copied
	}
	return below, nil
}

// failedAt returns an error that names the member at which a copy has failed: its source, or its destination. An error
// that concerns all members alike is returned as it is.
func (c *Copy) failedAt(from, place string, collection bool, err error) error {
	member := new(tree.MemberError)
	switch {
	case errors.As(err, &member), volumes.IsFull(err), errors.Is(err, context.Canceled),
		errors.Is(err, context.DeadlineExceeded):
		return err
	}
	for _, whole := range []error{failure.ErrExhausted, failure.ErrLost, failure.ErrReadOnlyDisk, tree.ErrNested} {
		if errors.Is(failure.Of(err), whole) {
			return err
		}
	}
	if volumes.IsAtStaged(err) {
		from = tree.Join(c.to, place)
	}
	return &tree.MemberError{Name: from, Collection: collection, Err: err}
}

// member copies a member that was seen. in, if not nil, reads the collection: another one can have its name.
func (c *Copy) member(
	ctx context.Context, from, place string, info vfs.Info, in *snapshots.Members, top *fs.Staged,
) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	switch info.Kind {
	case vfs.Link:
		target, err := c.FS.Readlink(from)
		if err != nil {
			return err
		}
		c.note(place, info)
		return top.Symlink(target, place)
	case vfs.Directory:
		if err := c.isOutside(info); err != nil {
			return err
		}
		dir, err := top.Mkdir(place)
		if err != nil {
			return err
		}
		c.note(place, info)
		err = c.members(ctx, from, place, snapshots.IDOf(info), top)
		if err == nil {
			err = c.inherit(from, dir, info)
		}
		if now, failed := c.FS.Lstat(from); err == nil && (failed != nil || !snapshots.IDOf(info).IsOf(now)) {
			err = goneFrom(from) // its properties may be those of another one
		}
		if err == nil {
			err = c.sync(dir)
		}
		if err != nil {
			err = c.leaveOut(dir, err) // the member was removed meanwhile, or the whole copy has failed
		}
		return err
	}
	var err error
	for range memberTries {
		if err = c.memberFile(ctx, from, place, info, in, top); !errors.Is(err, ErrStale) {
			return err
		}
	}
	return err
}

// leaveOut removes from a staged tree a member that could not be copied. If this fails, half of the member would be in
// the copy. Then the copy has failed, even if the source of the member has been removed meanwhile.
func (c *Copy) leaveOut(member *fs.Staged, err error) error {
	if failed := member.Discard(); failed != nil {
		return fmt.Errorf("%w, and before that: %v", failed, err)
	}
	return err
}

// sync syncs a member of a tree, or leaves the sync to the end.
func (c *Copy) sync(member *fs.Staged) error {
	c.behind = c.behind || c.files > maxSyncedAlone
	if c.behind {
		return nil
	}
	return member.Sync()
}

func (c *Copy) memberFile(
	ctx context.Context, from, place string, seen vfs.Info, in *snapshots.Members, top *fs.Staged,
) error {
	staged, err := top.Member(place)
	if err != nil {
		return err
	}
	source, tag, err := c.file(ctx, from, staged)
	if err == nil && in != nil && !snapshots.IDOf(seen).IsOf(source) && !in.Has(path.Base(from), source) {
		err = goneFrom(from)
	}
	if err == nil {
		c.note(place, source)
		c.files++
		err = c.sync(staged)
	}
	if err != nil {
		return c.leaveOut(staged, err)
	}
	// The directory of the staged file is renamed later, but the file itself is not. So this look at the file stays
	// true.
	if info, err := staged.Info(); err == nil && tag != "" && c.FS.AbilitiesOf(info).FineTimes {
		c.Index.Put(info.Fingerprint, index.RecordOf(tag))
	}
	return staged.Close()
}

// IsAll fails with [ErrStale] unless the members of a collection are those that were copied, in the same versions.
func (c *Copy) IsAll(source history.Kept) error {
	found := 0
	err := c.eachInside(source, ".", func(m history.Kept, at string) error {
		switch {
		case m.Kind == vfs.Special: // it is not served, and stays in the history
			return nil
		case c.copied.at(at) != m.Fingerprint:
			return ErrStale
		}
		found++
		return nil
	})
	if err == nil && found != len(c.copied) {
		err = ErrStale // a member was removed since
	}
	return err
}
