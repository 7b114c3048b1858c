package copier

import (
	"cmp"
	"context"
	"errors"
	"path"
	"time"

	"r-seed-1f3a754f.example/ifmatch/fs"
	"r-seed-1f3a754f.example/ifmatch/fs/history"
	"r-seed-1f3a754f.example/ifmatch/fs/metadata"
	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

// StageKept stages a copy of a version that the history keeps, for its path.
func (c *Copy) StageKept(ctx context.Context, version history.Kept) (err error) {
	c.Source = version.Info
	need := c.need(ctx, version.Path, func() (int64, error) {
		if version.Kind == vfs.Directory && !c.Shallow {
			return c.keptTotal(version)
		}
		return takes(version.Info), nil
	})
	need.Keep = version
	readlink := func() (string, error) { return c.FS.ReadlinkKept(version) }
	return c.stage(ctx, need, time.Time{}, readlink, func() (err error) {
		if version.Kind == vfs.Regular {
			return c.keptFile(ctx, version, c.Staged)
		}
		if !c.Shallow {
			err = c.keptMembers(ctx, version, ".", c.Staged)
		}
		if err == nil {
			err = c.keptTraits(version, c.Staged)
		}
		return err
	})
}

// keptFile copies the file of a history entry. A program that had the file open when the file was replaced may still be
// writing to it. If the file has changed, keptFile fails with ErrBusy.
func (c *Copy) keptFile(ctx context.Context, version history.Kept, staged *fs.Staged) error {
	f, info, err := c.FS.OpenKept(version)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = c.content(ctx, f, info, staged)
	traits, again, failed := metadata.Of(f)
	switch {
	case failed != nil:
		return failed
	case err != nil:
		return err
	case again.Fingerprint != info.Fingerprint || info.Fingerprint != version.Fingerprint:
		return tree.ErrBusy
	}
	return staged.Annotate(fs.Meta{Traits: traits})
}

func (c *Copy) keptTraits(version history.Kept, staged *fs.Staged) error {
	traits, err := c.FS.TraitsKept(version)
	if err != nil {
		return err
	}
	return staged.Annotate(fs.Meta{Traits: traits})
}

// keptTotal returns how many bytes of a collection in the history must be copied.
func (c *Copy) keptTotal(version history.Kept) (sum int64, err error) {
	for m, err := range c.FS.Inside(version) {
		if err != nil {
			return 0, err
		}
		sum += takes(m.Info)
		if m.Kind == vfs.Directory {
			below, err := c.keptTotal(m)
			if err != nil {
				return 0, err
			}
			sum += below
		}
	}
	return sum, nil
}

func (c *Copy) keptMembers(ctx context.Context, version history.Kept, place string, top *fs.Staged) error {
	for m, err := range c.FS.Inside(version) {
		if err := cmp.Or(err, ctx.Err()); err != nil {
			return err
		}
		if err := c.keptMember(ctx, m, path.Join(place, m.Name), top); err != nil {
			return err
		}
	}
	return nil
}

func (c *Copy) keptMember(ctx context.Context, m history.Kept, place string, top *fs.Staged) error {
	switch m.Kind {
	case vfs.Link:
		target, err := c.FS.ReadlinkKept(m)
		if err != nil {
			return err
		}
		return top.Symlink(target, place)
	case vfs.Directory:
		dir, err := top.Mkdir(place)
		if err == nil {
			err = c.keptMembers(ctx, m, place, top)
		}
		if err == nil {
			err = c.keptTraits(m, dir)
		}
		if err == nil {
			err = c.sync(dir)
		}
		return err
	case vfs.Regular:
		staged, err := top.Member(place)
		if err != nil {
			return err
		}
		c.files++
		return errors.Join(c.keptFile(ctx, m, staged), staged.SetModified(m.ModTime()), c.sync(staged), staged.Close())
	}
	return nil // a special file is not served either
}
