package etagfs

import (
	"context"
	"errors"
	"fmt"

	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
	"r-seed-1f3a754f.example/ifmatch/fs/volumes"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

// Mkdir implements [tree.Store].
func (s *Store) Mkdir(
	ctx context.Context, name string, opts tree.MkdirOptions, cond tree.Condition,
) (tree.State, error) {
	var state tree.State
	err := s.update(ctx, scopeOf(cond, false, name), nil, func(t *transaction) error {
		if name == "" {
			return tree.ErrExist
		}
		over, err := t.target(name)
		switch {
		case err != nil:
			return err
		case over.Kind == vfs.Link:
			return vfs.ErrLink
		case over.Exists():
			return tree.ErrExist
		}
		if err := t.ask(cond); err != nil {
			return err
		}
		if err := t.isHeldAbove(name); err != nil {
			return err
		}
		if err := t.names(name); err != nil {
			return err
		}
		if err := t.tell(telling{cause: "MKCOL", name: name, kind: vfs.Directory}); err != nil {
			return err
		}
		if err := t.at(name).Mkdir(opts.Modified); err != nil {
			return err
		}
		info, err := t.at(name).Lstat()
		if err != nil {
			info = vfs.Info{Kind: vfs.Directory} // the directory is made, even if the look at it fails
		}
		t.feed.Made(name, info, false)
		state = s.bareState(name, info, "")
		if opts.Modified.IsZero() {
			return nil
		}
		return t.file(name) // the time is kept in the new directory and not in its parent
	})
	return state, err
}

// Remove implements [tree.Store].
func (s *Store) Remove(ctx context.Context, name string, cond tree.Condition) error {
	err := s.remove(ctx, name, true, cond)
	if volumes.IsFull(err) && !errors.Is(err, tree.ErrUnsure) {
		// The history has freed all the room that it can, and the disk still has no room for a new history entry.
		if err = s.remove(ctx, name, false, cond); err == nil {
			s.report(fmt.Errorf("%q was removed and is not in the history, for which the disk is too full", name))
			s.chores.emptyTrash()
		}
	}
	return err
}

func (s *Store) remove(ctx context.Context, name string, keep bool, cond tree.Condition) error {
	if keep {
		s.fs.ReadyHistory(name)
	}
	return s.update(ctx, scopeOf(cond, true, name), nil, func(t *transaction) error {
		found, err := t.existing(name)
		if err != nil {
			return err
		}
		if name == "" {
			return tree.ErrPermission
		}
		if err := t.ask(cond); err != nil {
			return err
		}
		locks, err := t.FateOf(name, "")
		if err != nil {
			return err
		}
		how := t.how("DELETE", name, found)
		how.Unkept = !keep
		defer s.asOneStep(name, locks)()
		if err := t.remove(name, found, how); err != nil {
			return err
		}
		return t.endLocks(locks.All(), false)
	})
}
