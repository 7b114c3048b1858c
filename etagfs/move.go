package etagfs

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"ifmatch/fs"
	"ifmatch/tree"
)

// rename moves by a rename, or fails with EXDEV. A move that replaces something is noted before the lock is taken.
func (s *Store) rename(ctx context.Context, from, to string, opts tree.CopyOptions, cond tree.Condition) (
	state tree.State, created bool, err error) {
	if s.fs.ReadOnly() {
		return state, false, tree.ErrReadOnly
	}
	err = s.insist(func(turn sync.Locker) error {
		note, err := s.noteMove(ctx, from, to, cond)
		if err != nil {
			return err
		}
		state, created, err = s.renameNoted(ctx, turn, note, from, to, opts, cond)
		if errors.Is(err, fs.ErrNotNoted) {
			err = fmt.Errorf("%w: %w", errStale, err)
		}
		ended := note.End(context.WithoutCancel(ctx))
		if err == nil {
			err = unsure(ended)
		} else if ended != nil {
			s.report(ended)
		}
		return err
	})
	return state, created, err
}

// noteMove writes the note of a move that replaces something; see [fs.FS.NoteMove].
func (s *Store) noteMove(ctx context.Context, from, to string, cond tree.Condition) (*fs.MoveNote, error) {
	need := fs.Need{Name: to, Client: tree.ClientOf(ctx), Ask: func() error { return s.Try(ctx, cond) }}
	note, err := s.fs.NoteMove(ctx, from, to, need, fs.How{Cause: "MOVE", By: string(tree.PrincipalOf(ctx))})
	return note, translate(err)
}

// quietlyNoted is quietly for a file that is about to be moved. A note has a lease of its own; where the move does not
// take place by the note, nothing is known.
func (s *Store) quietlyNoted(note *fs.MoveNote, from string, source fs.Info) (quiet func() bool, end func()) {
	if note == nil {
		return s.quietly(from, source)
	}
	return func() bool { return false }, func() {}
}

// syncMoved puts on disk what a move has changed besides the names.
func (s *Store) syncMoved(to string, opts tree.CopyOptions) error {
	err := s.locks.sync()
	if err == nil && !opts.Modified.IsZero() {
		err = s.fs.SyncFile(to)
	}
	return unsure(err)
}

// tagMoved hashes a moved file whose tag is not known, for the answer. If another file has the name by now, its tag is
// not told.
func (s *Store) tagMoved(ctx context.Context, to string, info fs.Info, tag tree.ETag) (fs.Info, tree.ETag) {
	if tag == "" && info.Kind == fs.Regular {
		if now, known, err := s.hash(ctx, to, forAnswer); err == nil && now.SameFile(info) {
			return now, known
		}
	}
	return info, tag
}
