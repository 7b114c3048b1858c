package reopening

import (
	"context"
	"time"

	"r-seed-1f3a754f.example/ifmatch/etagfs"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

// RestoreAt implements [tree.Undoer].
func (r *Store) RestoreAt(
	ctx context.Context, name string, at time.Time, opts tree.RestoreAtOptions,
) (tree.Restored, error) {
	return call(r, forWriting, func(s *etagfs.Store) (tree.Restored, error) { return s.RestoreAt(ctx, name, at, opts) })
}
