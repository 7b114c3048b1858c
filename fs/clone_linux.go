package fs

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// reflink makes one file share the blocks of another, as they are at this instant.
func reflink(from, to *os.File) error {
	return shareError("clone", to, again(func() error { return unix.IoctlFileClone(int(to.Fd()), int(from.Fd())) }))
}

// copyRange copies up to n bytes at an offset to the same one of another file, within the kernel.
func copyRange(from, to *os.File, offset int64, n int) (copied int, err error) {
	at := [2]int64{offset, offset}
	err = again(func() (err error) {
		copied, err = unix.CopyFileRange(int(from.Fd()), &at[0], int(to.Fd()), &at[1], n, 0)
		return err
	})
	return max(copied, 0), shareError("copy_file_range", to, err)
}

// shareError tells that the file system cannot do it from that it went wrong.
func shareError(op string, to *os.File, err error) error {
	switch err {
	case unix.EOPNOTSUPP, unix.ENOTTY, unix.ENOSYS, unix.EXDEV, unix.EINVAL, unix.EPERM, unix.ETXTBSY:
		err = errors.ErrUnsupported
	}
	return pathError(op, to.Name(), err)
}
