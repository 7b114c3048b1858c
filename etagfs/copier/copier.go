// Package copier stages copies of files, collections and links: of those that are in the tree, and of versions that the
// history keeps.
package copier

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"time"

	"r-seed-1f3a754f.example/ifmatch/etagfs/failure"
	"r-seed-1f3a754f.example/ifmatch/etagfs/hashing"
	"r-seed-1f3a754f.example/ifmatch/etagfs/index"
	"r-seed-1f3a754f.example/ifmatch/etagfs/snapshots"
	"r-seed-1f3a754f.example/ifmatch/fs"
	"r-seed-1f3a754f.example/ifmatch/fs/metadata"
	"r-seed-1f3a754f.example/ifmatch/fs/room"
	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
	"r-seed-1f3a754f.example/ifmatch/fs/volumes"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

// A Copier stages copies. All fields are needed.
type Copier struct {
	FS     *fs.FS
	Reader *snapshots.Reader
	Index  *index.Index
	// Drop removes a staged resource, unless it is committed.
	Drop func(*fs.Staged)
}

// A Copy is a copy of a file, a collection or a link that is staged. The first fields are set before.
type Copy struct {
	*Copier
	// Ask fails if the copy is not to be made any more. If it is nil, the copy is made.
	Ask func() error
	// Shallow says that a collection is staged without its members, if it is a version from the history.
	Shallow bool
	// Whole says that the copy is to take the place of the source: it keeps its times, and can be a link.
	Whole bool

	Staged *fs.Staged // the copy
	Source vfs.Info   // the look at the source of the copy
	Tag    tree.ETag  // of a file
	// Wanted is the modification time that the copy got because a client wants it. It is zero if the disk keeps no such
	// time.
	Wanted time.Time

	to    string   // the name that the copy is to have
	into  vfs.Info // the collection of that name, if the copy is whole
	files int      // in the tree so far
	// some members are not synced one by one, but with the rest of the disk at the end
	behind   bool
	searches int      // how many, for collections that were renamed
	copied   versions // of a whole copy (nil: of another one)
}

// ErrStale says that a preparation is not one of what is there: the source of a copy has changed, or its destination.
var ErrStale = errors.New("it has changed while it was prepared")

// Discard removes the staged copy, unless it is committed.
func (c *Copy) Discard() {
	if c.Staged != nil {
		c.Drop(c.Staged)
		c.Staged = nil
	}
}

const (
	// maxSyncedAlone is how many files of a tree are synced one by one. Each sync takes the disk a moment. If there are
	// more files, one sync writes all data that waits to be written to the disk.
	maxSyncedAlone = 16
	// minCloned is the size, in bytes, from which the kernel copies a file. A smaller file is read, and hashed at the
	// same time.
	minCloned = 64 << 10
	// memberTries is how often a member is copied that changes while it is.
	memberTries = 5
)

// Stage stages a copy of the resource at a name, as it is there now. Its look and its tag are those of the copy.
func (c *Copy) Stage(ctx context.Context, from, to string, opts tree.CopyOptions) (err error) {
	c.to, c.Source, c.searches = to, vfs.Info{}, 0
	if c.Whole {
		c.copied = versions{}
		c.Source, _ = c.FS.Lstat(from)
		parent, _ := tree.Split(to)
		c.into, _ = c.FS.Lstat(parent)
	}
	if c.Source.Kind != vfs.Link { // a link that is copied as a whole stays one
		if c.Source, err = c.Reader.Look(ctx, from, nil); err != nil {
			return err
		}
	}
	if err := c.isOutside(c.Source); err != nil {
		return err
	}
	// Content that the copy can share with the source takes no room.
	need := room.Need{Name: to, Client: tree.ClientOf(ctx), Ask: c.Ask, Measure: func() (int64, error) {
		if c.Source.Kind == vfs.Directory && !opts.Shallow {
			return c.total(ctx, from)
		}
		return takes(c.Source), nil
	}}
	readlink := func() (string, error) { return c.FS.Readlink(from) }
	return c.stage(ctx, need, opts.Modified, readlink, func() (err error) {
		if c.Source.Kind == vfs.Regular {
			c.Source, c.Tag, err = c.file(ctx, from, c.Staged)
			return err
		}
		if !opts.Shallow {
			err = c.members(ctx, from, ".", snapshots.MemberID{}, c.Staged)
		}
		if err == nil {
			err = c.inherit(from, c.Staged, c.Source) // after its members, because its permissions may not let members in
		}
		return err
	})
}

// isOutside fails if a collection of the source is the one that the whole copy is to be in, which a mount shows at
// another name too. What is moved there would go with its source.
func (c *Copy) isOutside(info vfs.Info) error {
	if info.Kind == vfs.Directory && info.SameFile(c.into) {
		return tree.ErrNested
	}
	return nil
}

// stage stages a copy of the kind of its source. fill gives it content and traits.
func (c *Copy) stage(
	ctx context.Context, need room.Need, modified time.Time, readlink func() (string, error), fill func() error,
) (err error) {
	c.Tag = ""
	switch c.Source.Kind {
	case vfs.Regular:
		c.Staged, err = c.FS.StageFor(ctx, need)
	case vfs.Directory:
		c.Staged, err = c.FS.StageDir(ctx, need)
	case vfs.Link:
		target, err := readlink()
		if err != nil {
			return err
		}
		c.Staged, err = c.FS.StageLink(target, need.Name)
		return failure.OfStaging(err)
	default:
		return volumes.ErrSpecial
	}
	if err != nil {
		return failure.OfStaging(err)
	}
	err = fill()
	if err == nil && c.Source.Kind == vfs.Regular && c.Tag == "" {
		// The answer has the tag. The staged file is as good to hash as its source, and no program writes to the staged
		// file.
		c.Tag, err = hashing.TagOf(ctx, c.Staged, c.Source.Size)
	}
	if err == nil {
		c.Wanted, err = c.Staged.TrySetModified(modified)
	}
	if err == nil && c.behind {
		err = c.Staged.SyncAll()
	} else if err == nil {
		err = c.Staged.Sync()
	}
	if err != nil {
		c.Discard()
	}
	return err
}

// takes returns how many bytes of a file must be copied. Holes are not copied.
func takes(info vfs.Info) int64 {
	if info.Kind != vfs.Regular {
		return 0
	}
	return min(info.Size, info.Allocated)
}

// total returns how many bytes of a collection must be copied. It has one collection open at a time, however deep the
// tree is.
func (c *Copy) total(ctx context.Context, from string) (sum int64, err error) {
	for left := []string{from}; len(left) > 0; {
		dir := left[len(left)-1]
		left = left[:len(left)-1]
		for members, err := range c.Reader.Members(dir, volumes.DirOptions{}).Batches(ctx) {
			if dir != from && isGone(err) {
				break
			}
			if err = cmp.Or(err, ctx.Err()); err != nil {
				return 0, err
			}
			for _, m := range members {
				sum += takes(m.Info)
				if m.Err == nil && m.Kind == vfs.Directory {
					left = append(left, tree.Join(dir, m.Name))
				}
			}
		}
	}
	return sum, nil
}

// file copies the content of a file, and its traits. It returns the look at the source to which the copy belongs, and
// the tag if it is known.
func (c *Copy) file(ctx context.Context, from string, staged *fs.Staged) (vfs.Info, tree.ETag, error) {
	f, info, err := c.Reader.Open(ctx, from)
	if err != nil {
		return vfs.Info{}, "", err
	}
	if f == nil {
		return vfs.Info{}, "", ErrStale // it is a collection now
	}
	defer f.Close()
	tag, err := c.opened(ctx, f, info, staged, c.modified(info))
	return info, tag, err
}

// opened copies the content and the traits of an open file, which is to have a modification time, or zero. It fails with
// ErrStale if the file has changed since the look.
func (c *Copy) opened(
	ctx context.Context, f *vfs.File, info vfs.Info, staged *fs.Staged, modified time.Time,
) (tree.ETag, error) {
	tag, err := c.content(ctx, f, info, staged)
	traits, again, failed := metadata.Of(f)
	switch {
	case errors.Is(failed, volumes.ErrMoved):
		return "", ErrStale
	case failed != nil:
		return "", failed
	case again.Fingerprint != info.Fingerprint:
		return "", ErrStale
	case err != nil:
		return "", err
	}
	return tag, staged.Annotate(fs.Meta{Modified: modified, Traits: traits})
}

// content copies the content of an open file. It returns the tag of the version that the look has found, if the tag is
// known. So a second look must find this version unchanged.
func (c *Copy) content(ctx context.Context, f *vfs.File, info vfs.Info, staged *fs.Staged) (tree.ETag, error) {
	if info.Size >= minCloned {
		// If the index knows the tag only after the clone, a program may have written to the file in between.
		tag, _ := c.Index.Tag(info.Fingerprint)
		n, err := staged.Clone(ctx, f, info.Size)
		if err == nil && n < info.Size {
			err = ErrStale
		}
		if err == nil {
			return tag, nil
		}
		if !errors.Is(err, errors.ErrUnsupported) {
			return "", err
		}
	}
	return c.read(ctx, f, info.Size, staged)
}

// read copies the content of an open file by reading it. Holes stay holes, and are not read.
func (c *Copy) read(ctx context.Context, f *vfs.File, size int64, staged *fs.Staged) (tree.ETag, error) {
	hash := sha256.New()
	to := io.MultiWriter(staged, hash)
	for at := int64(0); at < size; {
		from, end := c.FS.NextData(f, at, size)
		if from > at {
			if err := staged.Skip(from); err != nil {
				return "", err
			}
			if _, err := hashing.CopyBody(ctx, hash, io.LimitReader(zeros{}, from-at)); err != nil {
				return "", err
			}
		}
		n, err := hashing.CopyBody(ctx, to, io.NewSectionReader(f, from, end-from))
		if err != nil {
			return "", err
		}
		if n < end-from {
			return "", ErrStale // it has become shorter
		}
		at = end
	}
	return tree.TagOf([sha256.Size]byte(hash.Sum(nil))), nil
}

// zeros reads the zero bytes of a hole.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// inherit gives a staged collection the traits of its source, and the modification time if the copy keeps times.
func (c *Copy) inherit(from string, staged *fs.Staged, info vfs.Info) error {
	traits, err := c.FS.Traits(from)
	if err != nil {
		return err
	}
	return staged.Annotate(fs.Meta{Modified: c.modified(info), Traits: traits})
}

// modified returns the modification time that a copy is to have. If it is zero, the time is left as it is.
func (c *Copy) modified(info vfs.Info) time.Time {
	if !c.Whole {
		return time.Time{}
	}
	return info.ModTime()
}
