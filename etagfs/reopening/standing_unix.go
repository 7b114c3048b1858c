//go:build unix

package reopening

import (
	iofs "io/fs"
	"syscall"
)

// A standing identifies the directory to which a path leads. Each request asks for it, so it makes less garbage than an
// os.FileInfo.
type standing struct{ device, inode uint64 }

func standingAt(path string) (standing, error) {
	for {
		var st syscall.Stat_t
		switch err := syscall.Stat(path, &st); err {
		case nil:
			return standing{uint64(st.Dev), uint64(st.Ino)}, nil
		case syscall.EINTR:
		default:
			return standing{}, &iofs.PathError{Op: "stat", Path: path, Err: err}
		}
	}
}

func (s standing) is(other standing) bool { return s == other }
