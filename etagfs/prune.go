package etagfs

import (
	"context"
	"errors"

	"r-seed-1f3a754f.example/ifmatch/etagfs/failure"
	"r-seed-1f3a754f.example/ifmatch/fs"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

// Prune drops the versions that the history keeps of a name and of all names below it, before their time is over, and
// calls dropped with each, and with the space that it takes in bytes. The space is free at the return. With dryRun it
// only says which these would be. left is how many versions stay, see [fs.FS.Prune].
func (s *Store) Prune(
	ctx context.Context, name string, dryRun bool, dropped func(v tree.Version, bytes int64),
) (left int, err error) {
	if s.fs.ReadOnly() && !dryRun {
		return 0, tree.ErrReadOnly
	}
	left, err = s.fs.Prune(ctx, name, fs.PruneOptions{DryRun: dryRun, Dropped: func(k fs.Kept, bytes int64) {
		dropped(tree.Version{
			State: tree.State{
				Name: k.Path, Exists: true, Collection: k.Kind == fs.Directory, Link: k.Kind == fs.Link, Size: k.Size,
			},
			ID: k.ID(), Gone: k.Gone, Cause: k.Cause, Principal: tree.Principal(k.By), Late: k.Late,
		}, bytes)
	}})
	if !dryRun {
		err = errors.Join(err, s.fs.EmptyTrash(ctx))
	}
	return left, failure.Of(err)
}
