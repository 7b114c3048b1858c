package etagfs

import (
	"context"
	"errors"
	"fmt"
	"path"
	"sync"

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
	err = s.insistOnCopy(from, func(turn sync.Locker) (err error) {
		state, created, err = s.moveAcrossOnce(ctx, turn, from, to, opts, cond)
		return err
	})
	return state, created, err
}

func (s *Store) moveAcrossOnce(ctx context.Context, turn sync.Locker, from, to string, opts tree.CopyOptions, cond tree.Condition) (tree.State, bool, error) {
	ends := func(v *view) (source, over fs.Info, err error) {
		if source, over, err = v.ends(from, to); err == nil && over.Exists() && opts.NoOverwrite {
			err = tree.ErrExist
		}
		return source, over, err
	}
	ask := func() error {
		return s.try(ctx, func(v *view) error {
			if _, _, err := ends(v); err != nil {
				return translate(err)
			}
			return v.ask(cond)
		})
	}
	if err := ask(); err != nil {
		return tree.State{}, false, err
	}
	opts.Shallow = false
	c := &copier{s: s, ask: ask, copied: map[string]fs.Fingerprint{}}
	staged, copied, tag, err := c.stageWhole(ctx, from, to, opts)
	if err != nil {
		return tree.State{}, false, translate(err)
	}
	defer s.discard(staged)
	opts.Modified = c.wanted
	var state tree.State
	var created bool
	commit := func(keep bool) error {
		return s.commitIn(ctx, turn, func(v *view) error {
			source, over, err := ends(v)
			if err != nil {
				return err
			}
			if err := v.ask(cond); err != nil {
				return err
			}
			if source.Kind != copied.Kind || source.Fingerprint != copied.Fingerprint {
				return errStale
			}
			if decided, ok := v.tags[seen{from, source.Fingerprint}]; ok && decided != tag {
				return errStale // a program was writing to it
			}
			locks, err := v.fateOf(to, from)
			if err != nil {
				return err
			}
			if err := v.hold(from, to); err != nil {
				return err
			}
			defer s.fs.OneStep(to)()
			defer s.fs.OneStep(from)()
			how := v.how("MOVE", from, source)
			how.Exact, how.Unkept = true, !keep // what goes must be what was copied, whoever asks for it
			info, err := s.takeFor(c, from, source, how, func() (fs.Info, error) {
				change := dateChange{s.change(to, over, staged), shownFor(opts.Modified)}
				return s.commitStaged(staged, to, over, v.how("MOVE", to, over), tag, change)
			})
			if err != nil {
				return err
			}
			created = !over.Exists()
			state = s.stateOf(to, info, tag, shownFor(opts.Modified))
			s.displaced()
			return unsure(s.locks.replaced(locks, source.Kind == fs.Directory)) // as for a rename
		})
	}
	if err = commit(true); errors.Is(err, errNoRoomToTake) && !errors.Is(err, tree.ErrUnsure) {
		// The way out of a disk that is full.
		if err = commit(false); err == nil {
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
func (s *Store) takeFor(c *copier, from string, source fs.Info, how fs.How, commit func() (fs.Info, error)) (info fs.Info, err error) {
	if how.Unkept {
		if err = c.isAll(s.fs.Unkept(from, source)); err == nil {
			info, err = commit()
		}
		if err == nil {
			err = unsure(s.takeCopied(c, from, source, how))
		}
		return info, err
	}
	defer s.givingWay(from, source)()
	taken, err := s.fs.Take(from, source, how)
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
func (s *Store) takeCopied(c *copier, from string, source fs.Info, how fs.How) error {
	defer s.givingWay(from, source)()
	taken, err := s.fs.Take(from, source, how)
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
