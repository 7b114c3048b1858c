package etagfs

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"sync"

	"ifmatch/fs"
	"ifmatch/tree"
)

// moveAcross moves something to another file system, where no rename leads. A copy is committed like any other. When
// that is on disk, the source is removed, if it still is what was copied: otherwise both are there, and errSourceLeft
// says so. After a crash in between both are there too.
func (s *Store) moveAcross(ctx context.Context, from, to string, opts tree.CopyOptions, cond tree.Condition) (
	state tree.State, created bool, err error) {
	err = s.insistOnCopy(from, func(turn sync.Locker) (err error) {
		state, created, err = s.moveAcrossOnce(ctx, turn, from, to, opts, cond)
		return err
	})
	return state, created, err
}

// errSourceLeft says that the source of a move to another file system has been changed after it was copied.
var errSourceLeft = busy("it is on another disk, so that it was copied, and the copy is there; but it was changed " +
	"meanwhile, or is in use, so that it is still there too; try again, or remove one of the two")

// A crossing is one try of a move to another file system.
type crossing struct {
	s        *Store
	c        *copier
	from, to string
	opts     tree.CopyOptions
	cond     tree.Condition

	copied  fs.Info // the look at the source that the copy is of
	tag     tree.ETag
	state   tree.State
	created bool

	locks []tree.Lock // those that covered the source when the copy was committed, or were below it
	taken *fs.Taken   // the source, out of the way
	ended fate        // of the locks, when it is removed for good
}

func (s *Store) moveAcrossOnce(ctx context.Context, turn sync.Locker, from, to string, opts tree.CopyOptions,
	cond tree.Condition) (tree.State, bool, error) {
	opts.Shallow = false
	r := &crossing{s: s, from: from, to: to, opts: opts, cond: cond}
	ask := func() error {
		return s.try(ctx, func(v *view) error {
			if _, _, err := r.ends(v); err != nil {
				return translate(err)
			}
			return v.ask(cond)
		})
	}
	if err := ask(); err != nil {
		return tree.State{}, false, err
	}
	r.c = &copier{s: s, ask: ask, copied: map[string]fs.Fingerprint{}}
	staged, copied, tag, err := r.c.stageWhole(ctx, from, to, opts)
	if err != nil {
		return tree.State{}, false, translate(err)
	}
	defer s.discard(staged)
	r.copied, r.tag, r.opts.Modified = copied, tag, r.c.wanted
	// A member that has changed while others were copied is copied again. All are compared once more before the source
	// goes.
	if err := r.c.isAll(s.fs.Unkept(from, copied)); err != nil {
		return tree.State{}, false, translate(err)
	}
	err = s.commitIn(ctx, turn, func(v *view) error { return r.commit(v, staged) })
	if err == nil {
		err = unsure(s.locks.sync())
	}
	if err == nil {
		err = r.remove(ctx, turn)
	}
	return r.state, r.created, err
}

func (r *crossing) ends(v *view) (source, over fs.Info, err error) {
	if source, over, err = v.ends(r.from, r.to); err == nil && over.Exists() && r.opts.NoOverwrite {
		err = tree.ErrExist
	}
	return source, over, err
}

// commit gives the copy its name.
func (r *crossing) commit(v *view, staged *fs.Staged) error {
	s := r.s
	source, over, err := r.ends(v)
	if err != nil {
		return err
	}
	if err := v.ask(r.cond); err != nil {
		return err
	}
	if !r.isCopied(source) {
		return errStale
	}
	if decided, ok := v.tags[seen{r.from, source.Fingerprint}]; ok && decided != r.tag {
		return errStale // a program was writing to it
	}
	if r.locks, err = v.Locks(r.from); err != nil {
		return err
	}
	locks, err := v.fateOf(r.to, "")
	if err != nil {
		return err
	}
	quiet, end := s.quietly(r.from, source)
	defer end()
	if !quiet() {
		return errWriter
	}
	if err := v.hold(r.to); err != nil {
		return err
	}
	change := dateChange{s.change(r.to, over, staged), shownFor(r.opts.Modified)}
	info, err := s.commitStaged(staged, r.to, over, v.how("MOVE", r.to, over), r.tag, change)
	if err != nil {
		return err
	}
	r.created = !over.Exists()
	r.state = s.stateOf(r.to, info, r.tag, shownFor(r.opts.Modified))
	return unsure(s.locks.replaced(locks, source.Kind == fs.Directory)) // as for a copy
}

// isCopied reports whether a look has found what was copied; of a collection only whether it is that one.
func (r *crossing) isCopied(now fs.Info) bool {
	if now.Kind == fs.Directory && r.copied.Kind == fs.Directory {
		return now.SameFile(r.copied)
	}
	return now.Kind == r.copied.Kind && now.Fingerprint == r.copied.Fingerprint
}

// remove removes the source, if it still is what was copied. A collection is compared after it was renamed into the
// history, where no client comes, and without the lock; it gets its name back if it has changed.
func (r *crossing) remove(ctx context.Context, turn sync.Locker) error {
	s := r.s
	defer func() {
		if r.taken != nil {
			r.taken.Release()
		}
	}()
	err := s.commitIn(ctx, turn, func(v *view) error { return r.take(v, true) })
	if fs.IsFull(err) && r.taken == nil {
		// The way out of a disk that is full.
		err = s.commitIn(ctx, turn, func(v *view) error { return r.take(v, false) })
		if err == nil && r.taken != nil {
			s.report(fmt.Errorf("%q was moved and is not in the history, for which the disk is too full", r.from))
			defer s.queue.emptyTrash()
		}
	}
	if err == nil && r.taken != nil && r.copied.Kind == fs.Directory {
		changed := r.c.isAll(r.taken.Kept())
		err = s.commitIn(ctx, turn, func(v *view) error {
			if changed == nil {
				return r.finish()
			}
			if err := v.hold(r.from); err != nil {
				return err
			}
			return errors.Join(errSourceLeft, r.taken.GiveBack())
		})
	}
	switch {
	case err == nil:
		return unsure(s.locks.sync())
	case errors.Is(err, tree.ErrBusy) && !errors.Is(err, tree.ErrUnsure):
		return errSourceLeft
	}
	return unsure(err)
}

// take renames the source out of the way. If it is gone, that is as good. A file is removed for good at once.
func (r *crossing) take(v *view, keep bool) error {
	s := r.s
	found, err := v.existing(r.from)
	if errors.Is(translate(err), tree.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	locks, err := v.Locks(r.from)
	if err != nil {
		return err
	}
	sameLock := func(a, b tree.Lock) bool { return a.Token == b.Token }
	if !r.isCopied(found) || !slices.EqualFunc(locks, r.locks, sameLock) {
		return errSourceLeft
	}
	if r.ended, err = v.fateOf(r.from, ""); err != nil {
		return err
	}
	if err := v.hold(r.from); err != nil {
		return err
	}
	how := v.how("MOVE", r.from, found)
	how.Exact, how.Unkept = true, !keep // what goes must be what was copied, whoever asks for it
	defer s.givingWay(r.from, found)()
	taken, err := s.fs.Take(r.from, found, how)
	if err != nil {
		return err
	}
	r.taken = taken
	if found.Kind != fs.Directory {
		return r.finish()
	}
	return nil
}

// finish leaves to the history what was taken.
func (r *crossing) finish() error {
	r.taken.GiveUp()
	r.s.displaced()
	return unsure(r.s.locks.removed(r.ended))
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
