package etagfs

import (
	"context"
	"errors"
	"fmt"
	"path"
	"syscall"
	"time"

	"ifmatch/fs"
	"ifmatch/tree"
)

// Mkdir implements [tree.Store].
func (s *Store) Mkdir(ctx context.Context, name string, opts tree.MkdirOptions, cond tree.Condition) (tree.State, error) {
	var state tree.State
	err := s.update(ctx, nil, func(t *transaction) error {
		if name == "" {
			return tree.ErrExist
		}
		over, err := t.target(name)
		switch {
		case err != nil:
			return err
		case over.Kind == fs.Link:
			return fs.ErrLink
		case over.Exists():
			return tree.ErrExist
		}
		if err := t.ask(cond); err != nil {
			return err
		}
		if err := t.names(name); err != nil {
			return err
		}
		if err := t.tell(telling{cause: "MKCOL", name: name, kind: fs.Directory}); err != nil {
			return err
		}
		if err := t.at(name).Mkdir(opts.Modified); err != nil {
			return err
		}
		info, err := t.at(name).Lstat()
		if err != nil {
			info = fs.Info{Kind: fs.Directory} // the directory is made, even if the look at it fails
		}
		t.made(name, info, false)
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
	if fs.IsFull(err) && !errors.Is(err, tree.ErrUnsure) {
		// The history has freed all the room that it can, and the disk still has no room for a new history entry.
		if err = s.remove(ctx, name, false, cond); err == nil {
			s.report(fmt.Errorf("%q was removed and is not in the history, for which the disk is too full", name))
			s.queue.emptyTrash()
		}
	}
	return err
}

func (s *Store) remove(ctx context.Context, name string, keep bool, cond tree.Condition) error {
	return s.update(ctx, nil, func(t *transaction) error {
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
		locks, err := t.fateOf(name, "")
		if err != nil {
			return err
		}
		how := t.how("DELETE", name, found)
		how.Unkept = !keep
		defer s.asOneStep(name, locks)()
		if err := t.remove(name, found, how); err != nil {
			return err
		}
		return t.endLocks(locks.all(), false)
	})
}

// Move implements [tree.Store].
func (s *Store) Move(ctx context.Context, from, to string, opts tree.CopyOptions, cond tree.Condition) (tree.State, bool, error) {
	state, created, err := s.rename(ctx, from, to, opts, cond)
	if errors.Is(err, syscall.EXDEV) && !s.fs.Together(from, to) {
		state, created, err = s.moveAcross(ctx, from, to, opts, cond)
	}
	return state, created, err
}

// rename moves by a rename, or fails with EXDEV. If the move replaces a file or collection, rename writes a note of the
// move before it takes the lock.
func (s *Store) rename(ctx context.Context, from, to string, opts tree.CopyOptions, cond tree.Condition) (tree.State, bool, error) {
	var note *fs.MoveNote
	end := func() error {
		defer func() {
			if note.Waits() {
				s.queue.putBack()
			}
		}()
		return note.End(context.WithoutCancel(ctx))
	}
	var info fs.Info
	var tag tree.ETag
	var created bool
	err := s.update(ctx, func(bool) (err error) {
		if ended := end(); ended != nil {
			s.report(ended)
		}
		note, err = s.noteMove(ctx, from, to, cond)
		return err
	}, func(t *transaction) error {
		note.Watch()
		defer note.Unwatch()
		source, over, err := t.ends(from, to)
		if err != nil {
			return err
		}
		if created = !over.Exists(); !created && opts.NoOverwrite && !t.SameName(from, to) {
			return tree.ErrExist
		}
		if err := t.ask(cond); err != nil {
			return err
		}
		locks, err := t.fateOf(to, from)
		if err != nil {
			return err
		}
		s.meetUnknown(from, source)
		k, known := s.index.Lookup(source.Fingerprint)
		change := dateChange{s.change(to, over, nil), shownFor(opts.Modified)}
		if err := t.names(from, to); err != nil {
			return err
		}
		quiet, stop := t.quietlyNoted(note, from, source)
		defer stop()
		defer t.givingWay(to, over)()
		defer s.fs.OneStep(to)() // no reader finds the version before its tag is remembered, or beside ended locks
		how := t.how("MOVE", to, over)
		how.Note = note
		if err := t.tell(telling{"MOVE", to, from, over, source.Kind, tree.ETag(how.Tag), tagOf(k, known)}); err != nil {
			return err
		}
		if err := s.move(from, source, to, over, how); err != nil {
			if errors.Is(err, fs.ErrNotNoted) {
				return fmt.Errorf("%w: %w", errStale, err)
			}
			return appeared(err, over.Kind)
		}
		s.displaced()
		var carried bool
		if now, isQuiet, ok := note.Arrived(); ok {
			info, carried = t.carryLooked(source, now, k, known, func() bool { return isQuiet }, change.done)
		} else {
			info, carried = t.carry(source, to, k, known, quiet, change.done)
		}
		tag = ""
		if known && carried {
			tag = k.Tag()
		}
		if !opts.Modified.IsZero() {
			info, tag = t.setModified(to, info, opts.Modified, tag)
			err = t.file(to)
		}
		t.made(from, fs.Info{}, false)
		t.made(to, info, source.Kind == fs.Directory)
		// RFC 4918 §6.1 and §7.6: a lock does not move with its resource, and a lock of the destination covers the
		// resource that comes there.
		return errors.Join(err, t.endLocks(locks, source.Kind == fs.Directory))
	})
	if ended := end(); err == nil {
		err = unsure(ended)
	} else if ended != nil {
		s.report(ended)
	}
	if err != nil {
		return tree.State{}, false, err
	}
	info, tag = s.tagMoved(ctx, to, info, tag)
	return s.stateOfEarlier(to, info, tag, shownFor(opts.Modified)), created, nil
}

// setModified sets the modification time of a file or collection that has just been moved. If only the owner may set it
// and the server does not run as the owner, or if the disk keeps no such time, the time stays as it is. The move has
// happened, and the returned look says which time the file or collection has.
func (t *transaction) setModified(name string, before fs.Info, to time.Time, tag tree.ETag) (fs.Info, tree.ETag) {
	after, err := t.at(name).SetModified(before, to, fs.Nearly)
	if errors.Is(err, fs.ErrTime) {
		return before, ""
	}
	if err != nil {
		t.s.report(fmt.Errorf("%q was moved, and its modification time could not be set: %w", name, err))
		return before, tag
	}
	// The new time hides whether a local program has changed the file meanwhile, so the file is hashed again.
	return after, ""
}

func (s *Store) move(from string, source fs.Info, to string, over fs.Info, how fs.How) error {
	if source.Kind != fs.Directory && source.SameFile(over) && !s.fs.SameName(from, source, to, over) {
		// These are two names of one file, and rename(2) does nothing in that case.
		return s.fs.Remove(from, source, how)
	}
	return s.fs.Move(from, source, to, over, how)
}

// ends looks at the source and the destination of a move or copy.
func (v *view) ends(from, to string) (source, over fs.Info, err error) {
	if source, err = v.existing(from); err != nil {
		return source, over, err
	}
	switch {
	case from == to:
		return source, over, tree.ErrSame
	case tree.Below(to, from), tree.Below(from, to):
		return source, over, tree.ErrNested
	}
	over, err = v.target(to)
	switch {
	case err != nil:
	case source.Mount != over.Mount && source.SameFile(over):
		err = tree.ErrSame // one directory that is mounted twice
	case over.Exists() && path.Base(from) == path.Base(to) && v.SameName(from, to):
		err = tree.ErrSame // the two names are spellings of one name
	case v.isBelow(to, from), v.isBelow(from, to):
		err = tree.ErrNested
	}
	return source, over, err
}
