package etagfs

import (
	"context"
	"errors"

	"r-seed-1f3a754f.example/ifmatch/etagfs/failure"
	"r-seed-1f3a754f.example/ifmatch/etagfs/index"
	"r-seed-1f3a754f.example/ifmatch/etagfs/warmup"
	"r-seed-1f3a754f.example/ifmatch/fs/volumes"
)

// Figures are how much is going on in a store now.
type Figures struct {
	Hashing int // files that are hashed for requests that wait, including those that wait for their turn
	Queued  int // files to be hashed ahead of requests, as far as they are known
	Locks   int // WebDAV locks, as of the last look at them, or -1 during such a look

	History int64         // bytes of the history, see [fs.FS.HistorySize], or -1 where that is not known now
	Index   index.Lookups // how often a tag was looked for
}

// Figures returns how much is going on. It neither reads the disk nor waits for a lock that is held during a read.
func (s *Store) Figures() (f Figures) {
	f.Hashing = s.hasher.Asked()
	f.Queued = s.warmer.Queued()
	f.Locks = s.locks.Count()
	f.Index = s.index.Lookups()
	history, known := s.fs.HistorySize()
	if f.History = history; !known {
		f.History = -1
	}
	return f
}

// What package warmup says about files.
type (
	Progress = warmup.Progress
	Survey   = warmup.Survey
	Reading  = warmup.Reading
)

// Warmer returns what hashes files ahead of need, and for the commands about the index.
func (s *Store) Warmer() *warmup.Warmer { return s.warmer }

// Abilities returns the abilities of the file system at the root.
func (s *Store) Abilities() volumes.Abilities { return s.fs.Abilities() }

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
