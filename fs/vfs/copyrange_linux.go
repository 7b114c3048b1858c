package vfs

import (
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// reflink makes a file share the blocks of another file, as they are at this instant.
func reflink(from, to *os.File) error {
	return shareError("clone", to, again(func() error { return unix.IoctlFileClone(int(to.Fd()), int(from.Fd())) }))
}

// copyRange copies up to n bytes at an offset to the same offset of another file, inside the kernel.
func copyRange(from, to *os.File, offset int64, n int) (copied int, err error) {
	at := [2]int64{offset, offset}
	err = again(func() (err error) {
		copied, err = unix.CopyFileRange(int(from.Fd()), &at[0], int(to.Fd()), &at[1], n, 0)
		return err
	})
	return max(copied, 0), shareError("copy_file_range", to, err)
}

// nextData returns the next part of a file that is not a hole. It moves the file's own offset.
func nextData(f *os.File, offset int64) (from, to int64, err error) {
	err = again(func() (err error) {
		from, err = unix.Seek(int(f.Fd()), offset, unix.SEEK_DATA)
		return err
	})
	if err == unix.ENXIO {
		return 0, 0, io.EOF
	}
	if err == nil {
		err = again(func() (err error) {
			to, err = unix.Seek(int(f.Fd()), from, unix.SEEK_HOLE)
			return err
		})
	}
	return from, to, shareError("lseek", f, err)
}

// shareError tells errors of file systems that cannot do the call from other errors.
func shareError(op string, to *os.File, err error) error {
	switch err {
	case unix.EOPNOTSUPP, unix.ENOTTY, unix.ENOSYS, unix.EXDEV, unix.EINVAL, unix.EPERM, unix.ETXTBSY:
		err = errors.ErrUnsupported
	}
	return pathError(op, to.Name(), err)
}
