package etagfs

import (
	"context"
	"errors"
	"maps"

	"r-seed-1f3a754f.example/ifmatch/etagfs/failure"
	"r-seed-1f3a754f.example/ifmatch/etagfs/feed"
	"r-seed-1f3a754f.example/ifmatch/etagfs/hashing"
	"r-seed-1f3a754f.example/ifmatch/fs"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

// hashEach hashes the files whose tags a Check has asked for. If exclusive is set, the other writers wait for it.
func (s *Store) hashEach(ctx context.Context, exclusive bool, names []string, into hashes) error {
	for _, name := range names {
		if exclusive && s.isLarge(name) {
			return tree.ErrBusy // all other writers would wait for that
		}
		info, tag, err := s.hasher.Hash(ctx, name, hashing.Alone)
		doubtful := errors.Is(err, failure.ErrWriter)
		if doubtful {
			info, tag, err = s.hasher.Hash(ctx, name, hashing.ForCheck)
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

// hashes are the tags that a Check of one call has asked for. The key is the file as the look found it. These tags are
// used at once or never, so they need not be reliable enough to be remembered.
type hashes struct {
	tags map[seen]tree.ETag
	// doubtful are the versions that a program had open for writing when they were hashed. The time of a change can be
	// visible before its bytes, so the tag of such a version can be wrong. The tag may refuse a write, but it must not
	// permit a write after the program has closed the file.
	doubtful map[fs.Fingerprint]bool
	// scanned are the changes that were looked for since the Check has asked about them, see Since.
	scanned map[feed.ScanKey]bool
}

// forget deletes the tags of doubtful versions, so that these tags are unknown again.
func (h hashes) forget() {
	maps.DeleteFunc(h.tags, func(s seen, _ tree.ETag) bool { return h.doubtful[s.as] })
	clear(h.doubtful)
}
