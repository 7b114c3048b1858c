package fs

import (
	"errors"
	iofs "io/fs"
	"os"
	"path"
	"syscall"

	"golang.org/x/sys/unix"
)

const openNoWait = unix.O_NONBLOCK

// kernel is what Linux does better than os.Root can from user space: it resolves a whole name at once, and tells a
// file's time of birth.
type kernel struct {
	dir     *os.File // the root again, for the calls that take a descriptor
	openat2 bool     // false on kernels and in sandboxes without it
}

func openKernel(root *os.Root) (kernel, error) {
	dir, err := root.Open(".")
	if err != nil {
		return kernel{}, err
	}
	k := kernel{dir: dir, openat2: true}
	if _, err := k.lstat(root, "."); errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EPERM) {
		k.openat2 = false
	}
	return k, nil
}

func (k kernel) close() error { return k.dir.Close() }

func (k kernel) lstat(root *os.Root, name string) (Info, error) {
	if !k.openat2 {
		return rootLstat(root, name)
	}
	fd, err := k.openPath(name)
	if err != nil {
		if err == unix.ELOOP {
			err = ErrLink
		}
		return Info{}, &iofs.PathError{Op: "lstat", Path: name, Err: err}
	}
	defer unix.Close(fd)
	info, err := statx(fd)
	if err != nil {
		return Info{}, &iofs.PathError{Op: "lstat", Path: name, Err: err}
	}
	info.Name = path.Base(name)
	return info, nil
}

// openPath opens the name itself, be it a link, without opening what it stands for: no device is touched, no pipe waits.
func (k kernel) openPath(name string) (int, error) {
	how := unix.OpenHow{
		Flags:   unix.O_PATH | unix.O_NOFOLLOW | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS,
	}
	for {
		fd, err := unix.Openat2(int(k.dir.Fd()), name, &how)
		// EAGAIN: a rename elsewhere made the kernel unsure that the name stayed below the root.
		if err != unix.EAGAIN && err != unix.EINTR {
			return fd, err
		}
	}
}

func (k kernel) fstat(f *os.File) (Info, error) {
	info, err := statx(int(f.Fd()))
	if err != nil {
		return Info{}, &iofs.PathError{Op: "fstat", Path: f.Name(), Err: err}
	}
	if !k.openat2 {
		info.Born = 0 // lstat does not know it there, and the two must agree
	}
	return info, nil
}

func statx(fd int) (Info, error) {
	var st unix.Statx_t
	if err := unix.Statx(fd, "", unix.AT_EMPTY_PATH, unix.STATX_BASIC_STATS|unix.STATX_BTIME, &st); err != nil {
		return Info{}, err
	}
	info := Info{
		Mode: iofs.FileMode(st.Mode & 0o777),
		Fingerprint: Fingerprint{
			Device:   unix.Mkdev(st.Dev_major, st.Dev_minor),
			Inode:    st.Ino,
			Modified: nanoseconds(st.Mtime),
			Changed:  nanoseconds(st.Ctime),
		},
	}
	if st.Mask&unix.STATX_BTIME != 0 {
		info.Born = nanoseconds(st.Btime)
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		info.Kind, info.Size = Regular, int64(st.Size)
	case unix.S_IFDIR:
		info.Kind = Directory
	case unix.S_IFLNK:
		info.Kind = Link
	default:
		info.Kind = Special
	}
	return info, nil
}

func nanoseconds(t unix.StatxTimestamp) int64 { return t.Sec*1e9 + int64(t.Nsec) }

// infoOf serves kernels without openat2.
func infoOf(fi iofs.FileInfo) Info {
	info := Info{Name: fi.Name(), Kind: kindOf(fi.Mode()), Mode: fi.Mode().Perm()}
	info.Modified = fi.ModTime().UnixNano()
	if info.Kind == Regular {
		info.Size = fi.Size()
	}
	if st, ok := fi.Sys().(*syscall.Stat_t); ok {
		info.Device, info.Inode, info.Changed = st.Dev, st.Ino, st.Ctim.Nano()
	}
	return info
}

func (k kernel) renameNew(root *os.Root, from, to string) error {
	fromDir, err := root.Open(path.Dir(from))
	if err != nil {
		return err
	}
	defer fromDir.Close()
	toDir, err := root.Open(path.Dir(to))
	if err != nil {
		return err
	}
	defer toDir.Close()
	err = unix.Renameat2(int(fromDir.Fd()), path.Base(from), int(toDir.Fd()), path.Base(to), unix.RENAME_NOREPLACE)
	switch err {
	case nil:
		return nil
	case unix.ENOSYS, unix.EINVAL:
		return errors.ErrUnsupported // the file system does not know the flag
	}
	return &os.LinkError{Op: "rename", Old: from, New: to, Err: err}
}

func fdatasync(f *os.File) error {
	for {
		err := unix.Fdatasync(int(f.Fd()))
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return &iofs.PathError{Op: "fdatasync", Path: f.Name(), Err: err}
		}
		return nil
	}
}
