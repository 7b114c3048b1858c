package fs

import (
	"errors"
	"io"
)

// IsEmpty reports whether a directory has no members at all, not even any that are not served.
func (s *FS) IsEmpty(name string) (bool, error) {
	dir, err := s.OpenDir(name, DirOptions{})
	if err != nil {
		return false, err
	}
	defer dir.Close()
	names, err := dir.names(1)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return len(names) == 0, err
}
