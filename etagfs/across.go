package etagfs

import (
	"context"
	"errors"
	"fmt"
	"path"

	"ifmatch/fs"
	"ifmatch/tree"
)

// moveAcross moves something to another file system, where no rename leads: a copy of it is staged there, and then, inside
// one commit, it is taken from its name, the copy is compared with what was taken and gets its own name, and what was taken
// is left to the history. If it is not what was copied any more, or the copy cannot have the name, it gets its own back.
//
// A process that dies between the two leaves it to the next start, or to another process, to give it its name back, beside the
// copy.
func (s *Store) moveAcross(ctx context.Context, from, to string, opts tree.CopyOptions, cond tree.Condition) (state tree.State, created bool, err error) {
	ends := func(v *view) (source, over fs.Info, err error) {
		if source, over, err = v.ends(from, to); err == nil && over.Exists() && opts.NoOverwrite {
			err = tree.ErrExist
		}
		return source, over, err
	}
	c := &copier{s: s}
	c.ask = func() error {
		return s.try(ctx, func(v *view) error {
			if _, _, err := ends(v); err != nil {
				return translate(err)
			}
			return v.ask(cond)
		})
	}
	opts.Shallow = false
	defer c.discard()
	prepare := func(alone bool) error {
		c.copied = map[string]fs.Fingerprint{}
		return c.prepare(ctx, alone, from, to, opts)
	}
	keep := true
	step := func(t *transaction) error {
		source, over, err := ends(t.view)
		if err != nil {
			return err
		}
		if err := t.ask(cond); err != nil {
			return err
		}
		if source.Fingerprint != c.source.Fingerprint {
			return errStale
		}
		if err := c.isOf(t, from, source); err != nil {
			return err
		}
		locks, err := t.fateOf(to, from)
		if err != nil {
			return err
		}
		if err := t.names(from); err != nil {
			return err
		}
		t.oneStep(to)
		t.oneStep(from)
		how := t.how("MOVE", from, source)
		how.Exact, how.Unkept = true, !keep // what goes must be what was copied, whoever asks for it
		info, err := t.takeFor(c, from, source, how, func() (fs.Info, error) {
			// One directory can be mounted twice, so that the destination went away with the source.
			if !t.isInPlace(to) {
				return fs.Info{}, tree.ErrNested
			}
			return t.commit(to, over, c.version("MOVE"))
		})
		if err != nil {
			return err
		}
		created = !over.Exists()
		state = s.stateOf(to, info, c.tag, shownFor(c.wanted))
		s.displaced()
		return t.endLocks(locks, source.Kind == fs.Directory) // as for a rename
	}
	if err = s.update(ctx, prepare, step); errors.Is(err, errNoRoomToTake) && !errors.Is(err, tree.ErrUnsure) {
		// The way out of a disk that is full.
		keep = false
		if err = s.update(ctx, prepare, step); err == nil {
			s.report(fmt.Errorf("%q was moved and is not in the history, for which the disk is too full", from))
			s.queue.emptyTrash()
		}
	}
	return state, created, err
}

// errNoRoomToTake says that the disk of a source has no room to note where that was.
var errNoRoomToTake = errors.New("no room to take it away")

// takeFor takes the source of a copy from its name, commits the copy, and leaves to the history what was taken. Where
// that has no room, the copy is committed first.
func (t *transaction) takeFor(
	c *copier, from string, source fs.Info, how fs.How, commit func() (fs.Info, error),
) (info fs.Info, err error) {
	if how.Unkept {
		if err = c.isAll(t.s.fs.Unkept(from, source)); err == nil {
			info, err = commit()
		}
		if err == nil {
			err = unsure(t.takeCopied(c, from, source, how))
		}
		return info, err
	}
	defer t.givingWay(from, source)()
	taken, err := t.s.fs.Take(from, source, how)
	if fs.IsFull(err) {
		return info, fmt.Errorf("%w: %w", errNoRoomToTake, err)
	}
	if err != nil {
		return info, err
	}
	if err = c.isAll(taken.Kept()); err == nil {
		info, err = commit()
	}
	if err != nil {
		return info, errors.Join(err, taken.GiveBack())
	}
	return info, unsure(taken.GiveUp())
}

// takeCopied removes the source of a copy that is committed, unless it has changed: then both are there.
func (t *transaction) takeCopied(c *copier, from string, source fs.Info, how fs.How) error {
	defer t.givingWay(from, source)()
	taken, err := t.s.fs.Take(from, source, how)
	if err != nil {
		return err
	}
	if err := c.isAll(taken.Kept()); err != nil {
		return errors.Join(fmt.Errorf("%q is not what was copied any more, and left: %v", from, err), taken.GiveBack())
	}
	return taken.GiveUp()
}

// stageWhole stages a copy of whatever can be moved.
func (c *copier) stageWhole(ctx context.Context, from, to string, opts tree.CopyOptions) (*fs.Staged, fs.Info, tree.ETag, error) {
	info, err := c.s.fs.Lstat(from)
	if err != nil || info.Kind != fs.Link {
		return c.stage(ctx, from, to, opts)
	}
	target, err := c.s.fs.Readlink(from)
	if err != nil {
		return nil, fs.Info{}, "", err
	}
	staged, err := c.s.fs.StageLink(target, to)
	if err != nil {
		return nil, fs.Info{}, "", stagingFailed(err)
	}
	return staged, info, "", nil
}

// isAll fails with errStale unless all that is in a collection is what was copied.
func (c *copier) isAll(source fs.Kept) error {
	found, err := c.compare(source, ".")
	if err == nil && found != len(c.copied) {
		err = errStale // it was removed since
	}
	return err
}

// compare compares what is in a collection with what was copied, and returns how much that is.
func (c *copier) compare(dir fs.Kept, place string) (found int, err error) {
	if dir.Kind != fs.Directory {
		return 0, nil
	}
	members, err := c.s.fs.Inside(dir)
	if err != nil {
		return 0, err
	}
	for _, m := range members {
		at := path.Join(place, m.Name)
		if m.Kind == fs.Special {
			continue // it is not served, and stays in the history
		}
		if c.copied[at] != m.Fingerprint {
			return 0, errStale
		}
		more, err := c.compare(m, at)
		if err != nil {
			return 0, err
		}
		found += 1 + more
	}
	return found, nil
}
