//go:build unix

package vfs

import (
	"errors"
	iofs "io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// NoWait makes an open of the operating system not wait for a pipe or a lease.
const NoWait = unix.O_NONBLOCK

func tryFlock(f *os.File) error { return flock(f, unix.LOCK_EX|unix.LOCK_NB) }
func funlock(f *os.File) error  { return flock(f, unix.LOCK_UN) }

func flock(f *os.File, how int) error {
	err := error(unix.EINTR)
	for err == unix.EINTR {
		err = unix.Flock(int(f.Fd()), how)
	}
	switch {
	case err == nil:
		return nil
	case err == unix.EWOULDBLOCK:
		err = ErrBusy
	case errors.Is(err, unix.ENOTSUP), err == unix.ENOLCK, err == unix.ENOSYS, err == unix.EINVAL:
		err = errors.ErrUnsupported
	}
	return &iofs.PathError{Op: "flock", Path: f.Name(), Err: err}
}

func fsyncDir(f *os.File) error { return f.Sync() }
