package etagfs

import (
	"context"
	"time"

	"ifmatch/tree"
)

// RestoreAt implements [tree.Undoer].
func (r *Reopening) RestoreAt(
	ctx context.Context, name string, at time.Time, opts tree.RestoreAtOptions,
) (tree.Restored, error) {
	return call(r, forWriting, func(s *Store) (tree.Restored, error) { return s.RestoreAt(ctx, name, at, opts) })
}
