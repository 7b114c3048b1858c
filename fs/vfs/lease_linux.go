package vfs

import "golang.org/x/sys/unix"

// When a program tries to open the file for writing, the kernel also sends SIGIO. The Go runtime ignores that signal,
// unless the program asks for it.

func setLease(fd int, name string, how int) error {
	err := error(unix.EINTR)
	for err == unix.EINTR {
		_, err = unix.FcntlInt(uintptr(fd), unix.F_SETLEASE, how)
	}
	switch err {
	case unix.EAGAIN:
		err = ErrWriter
	// EACCES: the file belongs to another user. The other errors come from file systems without leases.
	case unix.EACCES, unix.EPERM, unix.EINVAL, unix.ENOSYS, unix.EOPNOTSUPP, unix.ENOLCK:
		err = errNoLease
	}
	return pathError("lease", name, err)
}

func (osFiles) Lease(f *File) error {
	return onDescriptor(f, func(fd int) error { return setLease(fd, f.name, unix.F_RDLCK) })
}

func (osFiles) Leased(f *File) (held bool, err error) {
	err = onDescriptor(f, func(fd int) error {
		how, err := unix.FcntlInt(uintptr(fd), unix.F_GETLEASE, 0)
		held = how == unix.F_RDLCK
		return pathError("lease", f.name, err)
	})
	return held, err
}

func (osFiles) Unlease(f *File) {
	_ = onDescriptor(f, func(fd int) error { return setLease(fd, f.name, unix.F_UNLCK) })
}

func (osFiles) MapWritable(f *File) ([]byte, error) {
	return unix.Mmap(int(osFile(f).Fd()), 0, 1, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
}

func unmap(memory []byte) { _ = unix.Munmap(memory) }
