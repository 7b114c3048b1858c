package etagfs

import (
	"context"
	"errors"

	"ifmatch/fs"
	"ifmatch/tree"
)

var _ tree.Quotas = (*Store)(nil)

// Abilities returns what the file system at the root can do.
func (s *Store) Abilities() fs.Abilities { return s.fs.Abilities() }

// Quota implements [tree.Quotas], by what the disk has that a name is on. What the history takes counts as free: it gives
// way to what is written.
func (s *Store) Quota(_ context.Context, name string) (used, available int64, err error) {
	space, err := s.fs.Space(name)
	if err == nil && space.Size <= 0 {
		err = errors.ErrUnsupported // some file systems without a disk say zero, which clients take for full
	}
	if err != nil {
		return 0, 0, translate(err)
	}
	available = min(max(space.Free, 0), space.Size)
	return space.Size - available, available, nil
}
