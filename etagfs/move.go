package etagfs

import (
	"context"
	"errors"
	"fmt"
	"path"
	"sync"
	"syscall"
	"time"

	"r-seed-1f3a754f.example/ifmatch/etagfs/failure"
	"r-seed-1f3a754f.example/ifmatch/etagfs/hashing"
	"r-seed-1f3a754f.example/ifmatch/etagfs/index"
	"r-seed-1f3a754f.example/ifmatch/fs"
	"r-seed-1f3a754f.example/ifmatch/fs/room"
	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
	"r-seed-1f3a754f.example/ifmatch/fs/volumes"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

// Move implements [tree.Store].
func (s *Store) Move(
	ctx context.Context, from, to string, opts tree.CopyOptions, cond tree.Condition,
) (tree.State, bool, error) {
	state, created, err := s.rename(ctx, from, to, opts, cond)
	if errors.Is(err, syscall.EXDEV) && !s.fs.Together(from, to) {
		state, created, err = s.moveAcross(ctx, from, to, opts, cond)
	}
	return state, created, err
}

// A renaming is a move by a rename.
type renaming struct {
	s        *Store
	from, to string
	opts     tree.CopyOptions
	cond     tree.Condition
	note     *fs.MoveNote // nil if the move replaces nothing

	info    vfs.Info
	tag     tree.ETag
	created bool
}

// rename moves by a rename, or fails with EXDEV. If the move replaces a file or collection, rename writes a note of the
// move before it takes the lock.
func (s *Store) rename(
	ctx context.Context, from, to string, opts tree.CopyOptions, cond tree.Condition,
) (tree.State, bool, error) {
	r := &renaming{s: s, from: from, to: to, opts: opts, cond: cond}
	err := s.update(ctx, scopeOf(cond, true, from, to), func(bool) (err error) {
		if ended := r.end(ctx); ended != nil {
			s.report(ended)
		}
		need := room.Need{Name: to, Client: tree.ClientOf(ctx), Ask: func() error { return s.Try(ctx, cond) }}
		r.note, err = s.fs.NoteMove(ctx, from, to, need, fs.How{Cause: "MOVE", By: string(tree.PrincipalOf(ctx))})
		return err
	}, r.step)
	if ended := r.end(ctx); err == nil {
		err = failure.Unsure(ended)
	} else if ended != nil {
		s.report(ended)
	}
	if err != nil {
		return tree.State{}, false, err
	}
	if r.tag == "" && r.info.Kind == vfs.Regular { // if another file has the name by now, the answer leaves the tag out
		if now, tag, err := s.hasher.Hash(ctx, to, hashing.ForAnswer); err == nil && now.SameFile(r.info) {
			r.info, r.tag = now, tag
		}
	}
	return s.stateOfEarlier(ctx, to, r.info, r.tag, shownFor(opts.Modified)), r.created, nil
}

// end ends the note.
func (r *renaming) end(ctx context.Context) error {
	defer func() {
		if r.note.Waits() {
			r.s.chores.putBack()
		}
	}()
	return r.note.End(context.WithoutCancel(ctx))
}

// decide looks at both names, and asks the condition.
func (r *renaming) decide(t *transaction) (source, over vfs.Info, err error) {
	if source, over, err = t.ends(r.from, r.to); err != nil {
		return source, over, err
	}
	if r.created = !over.Exists(); !r.created && r.opts.NoOverwrite && !t.SameName(r.from, r.to) {
		return source, over, tree.ErrExist
	}
	err = t.ask(r.cond)
	if err == nil && r.created {
		err = t.isHeldAbove(r.to)
	}
	if err == nil && r.s.fs.AreApart(r.from, r.to) {
		err = syscall.EXDEV // no call that may hang on one of them is made while the other one is held
	}
	return source, over, err
}

// step moves, inside a transaction.
func (r *renaming) step(t *transaction) error {
	r.note.Watch()
	defer r.note.Unwatch()
	source, over, err := r.decide(t)
	if err != nil {
		return err
	}
	locks, err := t.FateOf(r.to, r.from)
	if err != nil {
		return err
	}
	r.s.hasher.MeetUnknown(r.from, source)
	k, known := r.s.index.Lookup(source.Fingerprint)
	change := r.s.change(r.to, over, shownFor(r.opts.Modified), nil)
	if err := t.names(r.from, r.to); err != nil {
		return err
	}
	how := t.how("MOVE", r.to, over)
	how.Note = r.note
	news := telling{"MOVE", r.to, r.from, over, source.Kind, tree.ETag(how.Tag), tagOf(k, known)}
	if err := t.tell(news); err != nil {
		return err
	}
	quiet := r.note.IsQuiet // the note may have a lease on the file already
	if !r.note.Watches(source) {
		var stop func()
		quiet, stop = t.quietly(r.from, source)
		defer stop()
	}
	defer t.givingWay(r.to, over)()
	// No reader finds the version before its tag is remembered, or beside ended locks.
	endStep := r.s.fs.OneStep(r.to)
	defer endStep()
	how.Settled = sync.OnceFunc(func() {
		r.info, r.tag = t.carryMoved(r.note, source, r.to, k, known, quiet, change)
		if locks.None() && r.opts.Modified.IsZero() {
			endStep()
		}
	})
	if err := r.s.move(r.from, source, r.to, over, how); err != nil {
		if errors.Is(err, fs.ErrNotNoted) {
			return fmt.Errorf("%w: %w", errStale, err)
		}
		return appeared(err, over.Kind)
	}
	r.s.displaced()
	how.Settled()
	if !r.opts.Modified.IsZero() {
		r.info, r.tag = t.setModified(r.to, r.info, r.opts.Modified, r.tag)
		err = t.file(r.to)
	}
	t.feed.Made(r.from, vfs.Info{}, false)
	t.feed.Made(r.to, r.info, source.Kind == vfs.Directory)
	// RFC 4918 §6.1 and §7.6: a lock does not move with its resource, and a lock of the destination covers the resource
	// that comes there.
	return errors.Join(err, t.endLocks(locks, source.Kind == vfs.Directory))
}

// carryMoved is [transaction.carry] for a file that has just been moved. It returns the tag of the file, if it is still
// known.
func (t *transaction) carryMoved(note *fs.MoveNote, source vfs.Info, to string, k index.Record, known bool,
	quiet func() bool, change *index.Change) (info vfs.Info, tag tree.ETag) {
	var carried bool
	if now, isQuiet, ok := note.Arrived(); ok {
		info, carried = t.carryLooked(source, now, k, known, func() bool { return isQuiet }, change.Done)
	} else {
		info, carried = t.carry(source, to, k, known, quiet, change.Done)
	}
	return info, tagOf(k, known && carried)
}

// setModified sets the modification time of a file or collection that has just been moved. If only the owner may set it
// and the server does not run as the owner, or if the disk keeps no such time, the time stays as it is. The move has
// happened, and the returned look says which time the file or collection has.
func (t *transaction) setModified(name string, before vfs.Info, to time.Time, tag tree.ETag) (vfs.Info, tree.ETag) {
	after, err := t.at(name).SetModified(before, to, volumes.Nearly)
	if errors.Is(err, volumes.ErrTime) {
		return before, ""
	}
	if err != nil {
		t.s.report(fmt.Errorf("%q was moved, and its modification time could not be set: %w", name, err))
		return before, tag
	}
	// The new time hides whether a local program has changed the file meanwhile, so the file is hashed again.
	return after, ""
}

func (s *Store) move(from string, source vfs.Info, to string, over vfs.Info, how fs.How) error {
	if source.Kind != vfs.Directory && source.SameFile(over) && !s.fs.SameName(from, source, to, over) {
		// These are two names of one file, and rename(2) does nothing in that case.
		return s.fs.Remove(s.fs.At(from), source, how)
	}
	return s.fs.Move(from, source, to, over, how)
}

// ends looks at the source and the destination of a move or copy.
func (v *view) ends(from, to string) (source, over vfs.Info, err error) {
	if source, err = v.existing(from); err != nil {
		return source, over, err
	}
	if err = tree.CheckEnds(from, to); err != nil {
		return source, over, err
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
