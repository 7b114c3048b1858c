package etagfs

import (
	"context"
	"errors"

	"r-seed-1f3a754f.example/ifmatch/etagfs/failure"
	"r-seed-1f3a754f.example/ifmatch/fs"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

var _ tree.Quotas = (*Store)(nil)

// Abilities returns the abilities of the file system at the root.
func (s *Store) Abilities() fs.Abilities { return s.fs.Abilities() }

// Quota implements [tree.Quotas]. It reports the space of the disk that a name is on. The space that the history takes
// counts as free, because the history gives way to new data.
func (s *Store) Quota(_ context.Context, name string) (used, available int64, err error) {
	space, err := s.fs.Space(name)
	if err == nil && space.Size <= 0 {
		err = errors.ErrUnsupported // some file systems without a disk report zero, which clients take for a full disk
	}
	if err != nil {
		return 0, 0, failure.Of(err)
	}
	available = min(max(space.Free, 0), space.Size)
	return space.Size - available, available, nil
}
