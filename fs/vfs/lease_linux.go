package vfs

import (
	iofs "io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// When a program tries to open the file for writing, the kernel also sends SIGIO. The Go runtime ignores that signal,
// unless the program asks for it.

func setLease(fd int, name string, how int) error {
	for {
		_, err := unix.FcntlInt(uintptr(fd), unix.F_SETLEASE, how)
		switch err {
		case nil:
			return nil
		case unix.EINTR:
			continue
		case unix.EAGAIN:
			return &iofs.PathError{Op: "lease", Path: name, Err: ErrWriter}
		// EACCES: the file belongs to another user. The other errors come from file systems without leases.
		case unix.EACCES, unix.EPERM, unix.EINVAL, unix.ENOSYS, unix.EOPNOTSUPP, unix.ENOLCK:
			return &iofs.PathError{Op: "lease", Path: name, Err: errNoLease}
		}
		return &iofs.PathError{Op: "lease", Path: name, Err: err}
	}
}

func isLeased(fd int, name string) (bool, error) {
	how, err := unix.FcntlInt(uintptr(fd), unix.F_GETLEASE, 0)
	return how == unix.F_RDLCK, pathError("lease", name, err)
}

func lease(f *os.File) error          { return setLease(int(f.Fd()), f.Name(), unix.F_RDLCK) }
func unlease(f *os.File)              { _ = setLease(int(f.Fd()), f.Name(), unix.F_UNLCK) }
func leased(f *os.File) (bool, error) { return isLeased(int(f.Fd()), f.Name()) }

// mapWritable maps the first byte of a file, so that it can be written through memory.
func mapWritable(f *os.File) (memory []byte, err error) {
	return unix.Mmap(int(f.Fd()), 0, 1, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
}

func unmap(memory []byte) { _ = unix.Munmap(memory) }
