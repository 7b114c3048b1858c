package vfs

import (
	"errors"
	"io"

	"golang.org/x/sys/unix"
)

func (osFiles) Clone(from, to *File) error {
	in, out := osFile(from), osFile(to)
	return shareError("clone", to, again(func() error { return unix.IoctlFileClone(int(out.Fd()), int(in.Fd())) }))
}

func (osFiles) CopyRange(from, to *File, offset int64, n int) (copied int, err error) {
	in, out, at := osFile(from), osFile(to), [2]int64{offset, offset}
	err = again(func() (err error) {
		copied, err = unix.CopyFileRange(int(in.Fd()), &at[0], int(out.Fd()), &at[1], n, 0)
		return err
	})
	return max(copied, 0), shareError("copy_file_range", to, err)
}

// NextData moves the file's own offset.
func (osFiles) NextData(f *File, offset int64) (from, to int64, err error) {
	file := osFile(f)
	seek := func(offset int64, whence int) (to int64, err error) {
		err = again(func() (err error) { to, err = unix.Seek(int(file.Fd()), offset, whence); return err })
		return to, err
	}
	if from, err = seek(offset, unix.SEEK_DATA); err == unix.ENXIO {
		return 0, 0, io.EOF
	}
	if err == nil {
		to, err = seek(from, unix.SEEK_HOLE)
	}
	return from, to, shareError("lseek", f, err)
}

// shareError tells errors of file systems that cannot do the call from other errors.
func shareError(op string, to *File, err error) error {
	switch err {
	case unix.EOPNOTSUPP, unix.ENOTTY, unix.ENOSYS, unix.EXDEV, unix.EINVAL, unix.EPERM, unix.ETXTBSY:
		err = errors.ErrUnsupported
	}
	return pathError(op, to.Name(), err)
}
