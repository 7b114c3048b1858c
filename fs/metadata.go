package fs

import (
	"errors"
	"time"

	"r-seed-1f3a754f.example/ifmatch/fs/history"
	"r-seed-1f3a754f.example/ifmatch/fs/metadata"
	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
	"r-seed-1f3a754f.example/ifmatch/fs/volumes"
)

// Traits returns the traits of a file or directory.
func (s *FS) Traits(name string) (metadata.Traits, error) {
	if err := s.CheckReserved(name); err != nil {
		return metadata.Traits{}, err
	}
	return s.traitsAt(volumes.Local(name))
}

func (s *FS) traitsAt(name string) (metadata.Traits, error) {
	f, t, err := metadata.Open(s.At(name))
	f.Close()
	return t, err
}

// TraitsKept returns the traits of a directory that the history keeps.
func (s *FS) TraitsKept(k history.Kept) (metadata.Traits, error) { return s.traitsAt(k.ID()) }

// AttributesKept returns the attributes of a file or directory that the history keeps, see [FS.Attributes].
func (s *FS) AttributesKept(k history.Kept) ([]byte, error) {
	if k.Kind == vfs.Link {
		return nil, nil
	}
	return s.At(k.ID()).Attributes()
}

// TrySetModified sets the modification time of a version, or a time within [volumes.Nearly] of it, and returns the time
// that the version has. If the disk does not keep the time, the version keeps the time that it had, and TrySetModified
// returns the zero time. It also returns the zero time if t is the zero time.
func (st *Staged) TrySetModified(t time.Time) (time.Time, error) {
	if t.IsZero() {
		return t, nil
	}
	before, err := st.Info()
	if err != nil {
		return time.Time{}, err
	}
	st.seen = vfs.Info{}
	after, err := st.at.SetModified(before, t, volumes.Nearly)
	if errors.Is(err, volumes.ErrTime) {
		return time.Time{}, nil
	}
	return after.ModTime(), err
}
