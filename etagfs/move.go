package etagfs

import (
	"context"

	"r-seed-1f3a754f.example/ifmatch/etagfs/failure"
	"r-seed-1f3a754f.example/ifmatch/etagfs/hashing"
	"r-seed-1f3a754f.example/ifmatch/fs"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

// noteMove writes the note of a move that replaces a file or collection, see [fs.FS.NoteMove].
func (s *Store) noteMove(ctx context.Context, from, to string, cond tree.Condition) (*fs.MoveNote, error) {
	need := fs.Need{Name: to, Client: tree.ClientOf(ctx), Ask: func() error { return s.Try(ctx, cond) }}
	note, err := s.fs.NoteMove(ctx, from, to, need, fs.How{Cause: "MOVE", By: string(tree.PrincipalOf(ctx))})
	return note, failure.Of(err)
}

// quietlyNoted is quietly for a file that is about to be moved. If there is a note of the move, the note has a lease on
// the file already.
func (t *transaction) quietlyNoted(note *fs.MoveNote, from string, source fs.Info) (quiet func() bool, end func()) {
	if note.Watches(source) {
		return note.IsQuiet, func() {}
	}
	return t.quietly(from, source)
}

// tagMoved hashes a moved file whose tag is not known, for the answer. If another file has the name by now, the answer
// leaves the tag out.
func (s *Store) tagMoved(ctx context.Context, to string, info fs.Info, tag tree.ETag) (fs.Info, tree.ETag) {
	if tag == "" && info.Kind == fs.Regular {
		if now, known, err := s.hasher.Hash(ctx, to, hashing.ForAnswer); err == nil && now.SameFile(info) {
			return now, known
		}
	}
	return info, tag
}
