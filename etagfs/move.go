package etagfs

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"ifmatch/fs"
	"ifmatch/tree"
)

// rename moves by a rename, or fails with EXDEV. What replaces something is noted before the lock is taken.
func (s *Store) rename(ctx context.Context, from, to string, opts tree.CopyOptions, cond tree.Condition) (state tree.State, created bool, err error) {
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
