package fs

import (
	"context"
	"errors"
	"fmt"
	"path"
	"syscall"
)

// errAttribute says that there is no room beside a file, which has little to do with that on the disk.
var errAttribute = fmt.Errorf("more than can be kept beside a file (%w)", syscall.ENOSPC)

// IsFull reports whether an error says that the disk, or the quota of the server's user, has no room; then
// [FS.MakeRoom] may help.
func IsFull(err error) bool {
	return (errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)) && !errors.Is(err, errAttribute)
}

// IsAttributeFull reports whether an error says that there is no room with a file for what [FS.SetAttributes] was given.
func IsAttributeFull(err error) bool { return errors.Is(err, errAttribute) }

// withRoom runs step again as long as the disk is full and room can be made. It must not be called under [FS.Lock].
func (s *FS) withRoom(step func() error) error {
	for {
		err := step()
		if !IsFull(err) {
			return err
		}
		if !s.MakeRoom(context.Background(), err) {
			return err
		}
	}
}

// Space is what a file system has room for, in bytes.
type Space struct {
	Size int64
	Free int64 // for us; the history counts as free
}

// Space tells how much room there is where a name is. errors.ErrUnsupported where nobody says.
func (s *FS) Space(name string) (Space, error) {
	dir, info, err := s.resolve(name)
	if err == nil && info.Kind != Directory {
		dir = path.Dir(dir)
		info, err = s.calls.lstat(dir)
	}
	if err != nil {
		return Space{}, err
	}
	space, err := s.calls.space(dir)
	if err != nil {
		return Space{}, err
	}
	for _, p := range s.places() {
		if p.volume == volumeOf(info) {
			space.Free += p.historySize()
		}
	}
	return space, nil
}
