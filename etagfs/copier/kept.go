package copier

import (
	"cmp"
	"context"
	"errors"
	"path"
	"time"

	"r-seed-1f3a754f.example/ifmatch/fs"
	"r-seed-1f3a754f.example/ifmatch/fs/history"
	"r-seed-1f3a754f.example/ifmatch/fs/room"
	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

// StageKept stages a copy of a version that the history keeps, for its path.
func (c *Copy) StageKept(ctx context.Context, version history.Kept) (err error) {
	c.Source = version.Info
	measure := func() (sum int64, err error) {
		sum = takes(version.Info)
		if !c.Shallow {
			err = c.eachInside(version, ".", func(m history.Kept, _ string) error {
				sum += takes(m.Info)
				return nil
			})
		}
		return sum, err
	}
	need := room.Need{
		Name: version.Path, Client: tree.ClientOf(ctx), Keep: version, Measure: measure, Ask: c.Ask,
	}
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
	if _, err = c.opened(ctx, f, info, staged, time.Time{}); err == nil && info.Fingerprint != version.Fingerprint {
		err = ErrStale
	}
	if errors.Is(err, ErrStale) {
		return tree.ErrBusy
	}
	return err
}

func (c *Copy) keptTraits(version history.Kept, staged *fs.Staged) error {
	traits, err := c.FS.TraitsKept(version)
	if err != nil {
		return err
	}
	return staged.Annotate(fs.Meta{Traits: traits})
}

// eachInside calls visit with all that is below a collection in the history, and its path there.
func (c *Copy) eachInside(dir history.Kept, place string, visit func(m history.Kept, place string) error) error {
	if dir.Kind != vfs.Directory {
		return nil
	}
	for m, err := range c.FS.Inside(dir) {
		at := path.Join(place, m.Name)
		if err == nil {
			err = visit(m, at)
		}
		if err == nil {
			err = c.eachInside(m, at, visit)
		}
		if err != nil {
			return err
		}
	}
	return nil
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
