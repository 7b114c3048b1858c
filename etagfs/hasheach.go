package etagfs

import (
	"context"
	"errors"

	"ifmatch/etagfs/failure"
	"ifmatch/tree"
)

// hashEach hashes the files whose tags a Check has asked for. If exclusive is set, the other writers wait for it.
func (s *Store) hashEach(ctx context.Context, exclusive bool, names []string, into hashes) error {
	for _, name := range names {
		if exclusive && s.isLarge(name) {
			return tree.ErrBusy // all other writers would wait for that
		}
		info, tag, err := s.hash(ctx, name, alone)
		doubtful := errors.Is(err, failure.ErrWriter)
		if doubtful {
			info, tag, err = s.hash(ctx, name, forCheck)
		}
		if err == nil {
			into.tags[seen{name, info.Fingerprint}] = tag
			if doubtful {
				into.doubtful[info.Fingerprint] = true
			}
		} else if !errors.Is(err, tree.ErrNotExist) {
			return err
		}
	}
	return nil
}

// isLarge reports whether a file is not hashed while all other writers wait.
func (s *Store) isLarge(name string) bool {
	info, err := s.fs.Stat(name)
	return err == nil && info.Size > copyAlone
}
