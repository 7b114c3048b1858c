package vfs

import (
	"errors"
	"fmt"
	iofs "io/fs"
	"os"
	"path"
	"strconv"
	"syscall"
	"time"

	"github.com/pkg/xattr"
	"golang.org/x/sys/unix"
)

// NoWait has an open of the operating system wait for nobody.
const NoWait = unix.O_NONBLOCK

// beneath resolves names by openat2, which follows no link at all, so that not even a directory that becomes a link to
// the state directory between two calls leads there. It also tells a file's time of birth.
type beneath struct{ dir *os.File } // the root again, for the calls that take a descriptor

// openKernel returns os.Root's way for kernels and sandboxes without openat2.
func openKernel(root *os.Root) (kernel, error) {
	dir, err := root.Open(".")
	if err != nil {
		return nil, err
	}
	b := beneath{dir}
	if _, err := b.lstat("."); errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EPERM) {
		return rootKernel{root}, dir.Close()
	}
	return b, nil
}

func (b beneath) close() error { return b.dir.Close() }

// resolve opens a name. It fails with ErrLink where a link is on the way, and unless the flags ask for the link itself,
// also where the name is one.
func (b beneath) resolve(name string, flags uint64) (fd int, err error) {
	how := unix.OpenHow{
		Flags:   flags | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS,
	}
	err = again(func() (err error) {
		fd, err = unix.Openat2(int(b.dir.Fd()), name, &how)
		return err
	})
	if err == unix.ELOOP {
		err = ErrLink
	}
	return fd, err
}

// maxUnsure bounds how often a call is repeated that the kernel was not sure of.
const maxUnsure = 64

// again repeats a call that was interrupted. EAGAIN: a rename elsewhere made the kernel unsure that the name stayed below
// the root. It is also what an open says that would wait for a program with a lease on the file, and comes back then.
func again(call func() error) (err error) {
	for unsure := 0; unsure < maxUnsure; unsure++ {
		for err = call(); err == unix.EINTR; err = call() {
		}
		if err != unix.EAGAIN {
			return err
		}
	}
	return err
}

// parent hands the directory that a name is in to a call, and the last segment: the one thing that it changes.
func (b beneath) parent(name string, call func(dir int, base string) error) error {
	dir, base := path.Split(name)
	if base == "" || base == ".." {
		return unix.EINVAL // a place, and no name in it
	}
	fd, err := b.resolve(path.Clean(dir), unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return again(func() error { return call(fd, base) })
}

func pathError(op, name string, err error) error {
	if err != nil {
		err = &iofs.PathError{Op: op, Path: name, Err: err}
	}
	return err
}

func (b beneath) lstat(name string) (Info, error) {
	// It opens the name itself without opening what it stands for: no device is touched, no pipe waits.
	fd, err := b.resolve(name, unix.O_PATH|unix.O_NOFOLLOW)
	if err != nil {
		return Info{}, pathError("lstat", name, err)
	}
	defer unix.Close(fd)
	info, err := statx(fd)
	info.Name = path.Base(name)
	return info, pathError("lstat", name, err)
}

func (beneath) fstat(f *os.File) (Info, error) {
	info, err := statx(int(f.Fd()))
	return info, pathError("fstat", f.Name(), err)
}

// lstatIn asks the open directory, so that a listing costs one call a member.
func (beneath) lstatIn(dir *os.File, name string) (Info, error) {
	info, err := statxAt(int(dir.Fd()), path.Base(name), unix.AT_SYMLINK_NOFOLLOW)
	info.Name = path.Base(name)
	return info, pathError("lstat", name, err)
}

// getAttrIn asks for the attribute by a name in the open directory or, where the kernel takes none, by one below it, which
// /proc has; the last segment is not followed.
func (b beneath) getAttrIn(dir *os.File, name, attr string) ([]byte, error) {
	if value, ok := getAttrAt(dir, name, attr); ok {
		return value, nil
	}
	value, err := xattr.LGet("/proc/self/fd/"+strconv.Itoa(int(dir.Fd()))+"/"+path.Base(name), attr)
	if errors.Is(err, iofs.ErrNotExist) {
		return attrByOpening(b, name, attr) // there is no /proc, or no such file
	}
	return value, err
}

func (b beneath) readlink(name string) (target string, err error) {
	err = b.parent(name, func(dir int, base string) error {
		buffer := make([]byte, unix.PathMax)
		n, err := unix.Readlinkat(dir, base, buffer)
		target = string(buffer[:max(n, 0)])
		return err
	})
	return target, pathError("readlink", name, err)
}

func (b beneath) open(name string) (*os.File, error) {
	fd, err := b.resolve(name, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOFOLLOW|unix.O_LARGEFILE)
	if err != nil {
		return nil, pathError("open", name, err)
	}
	return os.NewFile(uintptr(fd), name), nil
}

func (b beneath) create(name string) (*os.File, error) {
	return b.openToWrite("create", name, unix.O_RDWR|unix.O_EXCL)
}

func (b beneath) appendTo(name string) (*os.File, error) {
	return b.openToWrite("append", name, unix.O_WRONLY|unix.O_APPEND|unix.O_NONBLOCK)
}

func (b beneath) openToWrite(op, name string, flags int) (f *os.File, err error) {
	err = b.parent(name, func(dir int, base string) error {
		flags := flags | unix.O_CREAT | unix.O_NOFOLLOW | unix.O_CLOEXEC | unix.O_LARGEFILE
		fd, err := unix.Openat(dir, base, flags, 0o666)
		if err == nil {
			f = os.NewFile(uintptr(fd), name)
		}
		return err
	})
	return f, pathError(op, name, err)
}

func (b beneath) mkdir(name string, mode iofs.FileMode) error {
	return pathError("mkdir", name, b.parent(name, func(dir int, base string) error {
		return unix.Mkdirat(dir, base, uint32(mode))
	}))
}

func (b beneath) symlink(target, name string) error {
	return pathError("symlink", name, b.parent(name, func(dir int, base string) error {
		return unix.Symlinkat(target, dir, base)
	}))
}

func (b beneath) remove(name string) error {
	return pathError("remove", name, b.parent(name, func(dir int, base string) error {
		err := unix.Unlinkat(dir, base, 0)
		if err == unix.EISDIR || err == unix.EPERM { // which of them says that it is a directory is the system's choice
			if failed := unix.Unlinkat(dir, base, unix.AT_REMOVEDIR); failed != unix.ENOTDIR {
				err = failed
			}
		}
		return err
	}))
}

func (b beneath) chtimes(name string, modified time.Time) error {
	return pathError("chtimes", name, b.parent(name, func(dir int, base string) error {
		times, err := unix.TimeToTimespec(modified)
		if err != nil {
			return err
		}
		return unix.UtimesNanoAt(dir, base, []unix.Timespec{{Nsec: unix.UTIME_OMIT}, times}, unix.AT_SYMLINK_NOFOLLOW)
	}))
}

func (b beneath) link(name, other string) error {
	err := b.parent(name, func(dir int, base string) error {
		return b.parent(other, func(otherDir int, otherBase string) error {
			return unix.Linkat(dir, base, otherDir, otherBase, 0)
		})
	})
	if err == unix.EPERM || err == unix.EOPNOTSUPP || err == unix.ENOSYS {
		err = errors.ErrUnsupported
	}
	if err != nil {
		err = &os.LinkError{Op: "link", Old: name, New: other, Err: err}
	}
	return err
}

func (b beneath) rename(from, to string) error { return b.renameat2(from, to, 0) }

func (b beneath) renameNew(from, to string) error {
	return b.renameat2(from, to, unix.RENAME_NOREPLACE)
}

func (b beneath) exchange(x, y string) error { return b.renameat2(x, y, unix.RENAME_EXCHANGE) }

func (b beneath) renameat2(from, to string, flags uint) error {
	return renameError(from, to, flags, b.parent(from, func(fromDir int, fromBase string) error {
		return b.parent(to, func(toDir int, toBase string) error {
			return unix.Renameat2(fromDir, fromBase, toDir, toBase, flags)
		})
	}))
}

func renameError(from, to string, flags uint, err error) error {
	switch {
	case err == nil:
		return nil
	case flags != 0 && (err == unix.ENOSYS || err == unix.EINVAL):
		return errors.ErrUnsupported // the file system does not know the flag
	}
	return &os.LinkError{Op: "rename", Old: from, New: to, Err: err}
}

// mountID asks for the number of a mount: one that none has again, where the kernel has those (6.8).
const mountID = unix.STATX_MNT_ID | unix.STATX_MNT_ID_UNIQUE

func statx(fd int) (Info, error) { return statxAt(fd, "", unix.AT_EMPTY_PATH) }

// statxAt looks at a file as it is. Network file systems would tell what they have known for a minute (NFS) or as long as they
// were told to (FUSE), and who decides by that replaces what another machine has written. The others do not care.
func statxAt(fd int, name string, flags int) (Info, error) {
	var st unix.Statx_t
	if err := unix.Statx(fd, name, flags|unix.AT_STATX_FORCE_SYNC, unix.STATX_BASIC_STATS|unix.STATX_BTIME|mountID, &st); err != nil {
		return Info{}, err
	}
	info := Info{
		Mode:   iofs.FileMode(st.Mode & 0o777),
		Second: st.Mtime.Sec,
		User:   ID{true, st.Uid},
		Group:  ID{true, st.Gid},
		Links:  st.Nlink,
		Fingerprint: Fingerprint{
			Mount:    st.Mnt_id,
			Device:   unix.Mkdev(st.Dev_major, st.Dev_minor),
			Inode:    st.Ino,
			Modified: nanoseconds(st.Mtime),
			Changed:  nanoseconds(st.Ctime),
		},
		Allocated: int64(st.Blocks) * 512,
	}
	if st.Mode&unix.S_ISUID != 0 {
		info.Mode |= iofs.ModeSetuid
	}
	if st.Mode&unix.S_ISGID != 0 {
		info.Mode |= iofs.ModeSetgid
	}
	if st.Mode&unix.S_ISVTX != 0 {
		info.Mode |= iofs.ModeSticky
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
	info := Info{Name: fi.Name(), Kind: kindOf(fi.Mode()), Mode: fi.Mode() & modeBits}
	info.Modified, info.Second = fi.ModTime().UnixNano(), fi.ModTime().Unix()
	if info.Kind == Regular {
		info.Size = fi.Size()
	}
	if st, ok := fi.Sys().(*syscall.Stat_t); ok {
		info.Device, info.Inode, info.Changed = st.Dev, st.Ino, st.Ctim.Nano()
		info.User, info.Group = ID{true, st.Uid}, ID{true, st.Gid}
		info.Links = uint32(st.Nlink)
		info.Allocated = st.Blocks * 512
	}
	return info
}

func (k rootKernel) renameNew(from, to string) error {
	return k.renameat2(from, to, unix.RENAME_NOREPLACE)
}

func (k rootKernel) exchange(a, b string) error { return k.renameat2(a, b, unix.RENAME_EXCHANGE) }

func (k rootKernel) renameat2(from, to string, flags uint) error {
	fromDir, err := k.root.Open(path.Dir(from))
	if err != nil {
		return err
	}
	defer fromDir.Close()
	toDir, err := k.root.Open(path.Dir(to))
	if err != nil {
		return err
	}
	defer toDir.Close()
	return renameError(from, to, flags,
		unix.Renameat2(int(fromDir.Fd()), path.Base(from), int(toDir.Fd()), path.Base(to), flags))
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

func syncfs(f *os.File) error {
	var st unix.Statfs_t
	err := unix.Fstatfs(int(f.Fd()), &st)
	if err == nil {
		switch uint32(st.Type) { // as the constants are
		case unix.FUSE_SUPER_MAGIC, unix.V9FS_MAGIC, unix.SMB_SUPER_MAGIC, unix.CIFS_SUPER_MAGIC, unix.SMB2_SUPER_MAGIC:
			// These hand over what is to be written, and do not ask whoever keeps it to sync.
			err = errors.ErrUnsupported
		default:
			err = unix.Syncfs(int(f.Fd()))
		}
	}
	return pathError("syncfs", f.Name(), err)
}

const (
	zfsMagic      = 0x2fc12fc1 // as statfs(2) has it, and package unix has not
	bcachefsMagic = 0xca451a4e
	ntfsMagic     = 0x7366746e
)

// volumeOn makes a name of f_fsid (statfs(2)), where that is made of what is on the disk or of what the disk is, and not of what
// was mounted before.
//
// Of file systems that are not named here the numbers are not trusted. FAT, what a program serves, and what a Windows server
// does can have their inodes numbered as they are looked up: sshfs and mergerfs do that, and which programs do not, nothing
// tells. Two images (SquashFS, EROFS, ISO 9660) can have a file with one number, size and time, since all times are those of a
// release.
func volumeOn(f *os.File) Volume {
	var st unix.Statfs_t
	if err := unix.Fstatfs(int(f.Fd()), &st); err != nil {
		return Volume{}
	}
	switch uint32(st.Type) { // as the constants are
	case unix.EXT4_SUPER_MAGIC, unix.XFS_SUPER_MAGIC, unix.BTRFS_SUPER_MAGIC, unix.F2FS_SUPER_MAGIC, unix.OVERLAYFS_SUPER_MAGIC,
		zfsMagic, bcachefsMagic:
		return Volume{Numbered: true, Leases: true, LongOnly: true, Name: fmt.Sprintf("%x-%08x%08x", uint32(st.Type), uint32(st.Fsid.Val[0]), uint32(st.Fsid.Val[1]))}
	case unix.TMPFS_MAGIC:
		return Volume{Numbered: true, Leases: true, LongOnly: true}
	case unix.MSDOS_SUPER_MAGIC, unix.EXFAT_SUPER_MAGIC, ntfsMagic, unix.SMB_SUPER_MAGIC, unix.CIFS_SUPER_MAGIC,
		unix.SMB2_SUPER_MAGIC, unix.FUSE_SUPER_MAGIC, unix.V9FS_MAGIC:
		return Volume{Modeless: true}
	case unix.NFS_SUPER_MAGIC, unix.CEPH_SUPER_MAGIC, unix.NILFS_SUPER_MAGIC, unix.OCFS2_SUPER_MAGIC,
		unix.REISERFS_SUPER_MAGIC:
		return Volume{Numbered: true}
	}
	return Volume{}
}

// uncache has the next read come from the disk, where nobody else has the content mapped. It is advice, and fails for no
// reason that matters.
func uncache(f *os.File) { _ = unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED) }
