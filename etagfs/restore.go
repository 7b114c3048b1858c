package etagfs

import (
	"context"
	"errors"
	"path"

	"r-seed-1f3a754f.example/ifmatch/etagfs/failure"
	"r-seed-1f3a754f.example/ifmatch/etagfs/index"
	"r-seed-1f3a754f.example/ifmatch/fs"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

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
	return s.restore(ctx, &copier{s: s}, version, opts, cond)
}

// restore restores a version at its path.
func (s *Store) restore(
	ctx context.Context, c *copier, version fs.Kept, opts tree.RestoreOptions, cond tree.Condition,
) (tree.State, bool, error) {
	name := version.Path
	c.source = version.Info
	defer c.discard()
	var state tree.State
	var created bool
	err := s.update(ctx, scopeOf(cond, true, name), func(bool) (err error) {
		c.discard()
		if c.staged, c.tag, err = c.kept(ctx, version); err == nil {
			c.version("").lease()
		}
		return err
	}, func(t *transaction) error {
		over, err := t.target(name)
		if err == nil && over.Kind == fs.Link {
			err = fs.ErrLink
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
		locks, err := t.fateOf(name, "")
		if err != nil {
			return err
		}
		defer s.asOneStep(name, locks)()
		info, err := t.commit(name, over, c.version("restore"))
		if err != nil {
			return err
		}
		state = s.stateOf(name, info, c.tag, index.AsValidator)
		return t.endLocks(locks, version.Kind == fs.Directory)
	})
	return state, created, err
}

// kept stages a copy of a version that the history keeps. For a file, it returns the tag too.
func (c *copier) kept(ctx context.Context, version fs.Kept) (staged *fs.Staged, tag tree.ETag, err error) {
	switch version.Kind {
	case fs.Regular:
		need := c.need(ctx, version.Path, func() (int64, error) { return takes(version.Info), nil })
		need.Keep = version
		if staged, err = c.s.fs.StageFor(ctx, need); err != nil {
			return nil, "", stagingFailed(err)
		}
		if err = c.keptFile(ctx, version, staged); err == nil {
			tag, err = c.s.hashStaged(ctx, staged, version.Size)
		}
		if err == nil {
			err = staged.Sync()
		}
	case fs.Directory:
		members := func() (int64, error) { return c.keptTotal(version) }
		if c.shallow {
			members = func() (int64, error) { return 0, nil }
		}
		need := c.need(ctx, version.Path, members)
		need.Keep = version
		if staged, err = c.s.fs.StageDir(ctx, need); err != nil {
			return nil, "", stagingFailed(err)
		}
		if !c.shallow {
			err = c.keptMembers(ctx, version, ".", staged)
		}
		if err == nil {
			err = c.keptTraits(version, staged)
		}
		if err == nil && c.behind {
			err = staged.SyncAll()
		} else if err == nil {
			err = staged.Sync()
		}
	case fs.Link:
		var target string
		if target, err = c.s.fs.ReadlinkKept(version); err != nil {
			return nil, "", err
		}
		if staged, err = c.s.fs.StageLink(target, version.Path); err != nil {
			return nil, "", stagingFailed(err)
		}
	default:
		return nil, "", fs.ErrSpecial
	}
	if err != nil {
		c.s.discard(staged)
		return nil, "", err
	}
	return staged, tag, nil
}

// keptFile copies the file of a history entry. A program that had the file open when the file was replaced may still be
// writing to it. If the file has changed, keptFile fails with ErrBusy.
func (c *copier) keptFile(ctx context.Context, version fs.Kept, staged *fs.Staged) error {
	f, info, err := c.s.fs.OpenKept(version)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = c.content(ctx, f, info, staged)
	traits, again, failed := c.s.fs.TraitsOf(f)
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

func (c *copier) keptTraits(version fs.Kept, staged *fs.Staged) error {
	traits, err := c.s.fs.TraitsKept(version)
	if err != nil {
		return err
	}
	return staged.Annotate(fs.Meta{Traits: traits})
}

// keptTotal returns how many bytes of a collection in the history must be copied.
func (c *copier) keptTotal(version fs.Kept) (sum int64, err error) {
	members, err := c.s.fs.Inside(version)
	if err != nil {
		return 0, err
	}
	for _, m := range members {
		sum += takes(m.Info)
		if m.Kind == fs.Directory {
			below, err := c.keptTotal(m)
			if err != nil {
				return 0, err
			}
			sum += below
		}
	}
	return sum, nil
}

func (c *copier) keptMembers(ctx context.Context, version fs.Kept, place string, top *fs.Staged) error {
	members, err := c.s.fs.Inside(version)
	if err != nil {
		return err
	}
	for _, m := range members {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := c.keptMember(ctx, m, path.Join(place, m.Name), top); err != nil {
			return err
		}
	}
	return nil
}

func (c *copier) keptMember(ctx context.Context, m fs.Kept, place string, top *fs.Staged) error {
	switch m.Kind {
	case fs.Link:
		target, err := c.s.fs.ReadlinkKept(m)
		if err != nil {
			return err
		}
		return top.Symlink(target, place)
	case fs.Directory:
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
	case fs.Regular:
		staged, err := top.Member(place)
		if err != nil {
			return err
		}
		c.files++
		return errors.Join(c.keptFile(ctx, m, staged), staged.SetModified(m.ModTime()), c.sync(staged), staged.Close())
	}
	return nil // a special file is not served either
}
