package vfs

import (
	"errors"
	iofs "io/fs"
	"os"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/pkg/xattr"
	"golang.org/x/sys/unix"
)

// openat2 resolves names with openat2(2) and follows no link at all. So if a directory is replaced by a link to the
// state directory between two calls, the second call does not lead there. It also returns the time of birth of a file.
type openat2 struct {
	osFiles
	dir *os.File // the root too, for calls that take a descriptor
}

// openKernel returns openat2. For kernels and sandboxes without that call, it returns the implementation over os.Root.
func openKernel(root *os.Root) (System, error) {
	dir, err := root.Open(".")
	if err != nil {
		return nil, err
	}
	k := openat2{osFiles{root: root}, dir}
	fd, err := k.resolve(At{}, ".", unix.O_PATH)
	if errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EPERM) {
		return newRootSystem(root), dir.Close()
	}
	if err == nil {
		unix.Close(fd)
	}
	return k, nil
}

func (k openat2) Close() error { return errors.Join(k.dir.Close(), k.root.Close()) }

// fd returns the descriptor of a directory.
func (k openat2) fd(at At) int {
	if at.dir == nil {
		return int(k.dir.Fd())
	}
	return int(at.dir.Fd())
}

// resolve opens a name. It fails with ErrLink if a link is on the way. It also fails with ErrLink if the name itself is
// a link, unless the flags ask for the link.
func (k openat2) resolve(at At, name string, flags uint64) (fd int, err error) {
	how := unix.OpenHow{
		Flags:   flags | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS,
	}
	err = again(func() (err error) {
		fd, err = openName(k.fd(at), name, &how)
		if err == unix.EXDEV {
			// The names are below the directory, and lead over no link. So what was found has been moved out of the
			// directory since (complete_walk in fs/namei.c).
			err = unix.EAGAIN
		}
		return err
	})
	if err == unix.ELOOP {
		err = ErrLink
	}
	return fd, err
}

// maxUnsure bounds how often a call is repeated after EAGAIN.
const maxUnsure = 64

// again repeats a call that was interrupted, or that failed with EAGAIN. With EAGAIN the kernel says that, because of a
// rename elsewhere, it is not sure whether the name stayed below the root. EAGAIN is also the answer to an open that
// would wait for a program with a lease on the file. Then each try fails with it.
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

// isBase reports whether a name is one segment that stands for a member of its directory. Calls that take a descriptor
// can look up such a name without resolving a directory first.
func isBase(name string) bool {
	return name != "" && name != "." && name != ".." && !strings.Contains(name, "/")
}

// parent resolves the directory of a name, and passes it to call together with the last segment, which is all that call
// changes.
func (k openat2) parent(at At, name string, call func(dir int, base string) error) error {
	if isBase(name) {
		return again(func() error { return call(k.fd(at), name) })
	}
	dir, base := path.Split(name)
	if !isBase(base) {
		return unix.EINVAL // the name is a directory without a last segment
	}
	fd, err := k.resolve(at, path.Clean(dir), unix.O_PATH|unix.O_DIRECTORY)
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

func (k openat2) OpenDir(at At, name string) (At, error) {
	fd, err := k.resolve(at, name, unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return At{}, pathError("open", at.Join(name), err)
	}
	full := at.Join(name)
	return At{&descriptor{name: full, fd: fd}, full}, nil
}

// Lstat opens the name, but not the file that it stands for: it touches no device and waits for no pipe. A name of one
// segment takes a single system call.
func (k openat2) Lstat(at At, name string) (info Info, err error) {
	switch {
	case isBase(name):
		info, err = statxAt(k.fd(at), name, unix.AT_SYMLINK_NOFOLLOW)
	case name == ".":
		info, err = statx(k.fd(at))
	default:
		var fd int
		if fd, err = k.resolve(at, name, unix.O_PATH|unix.O_NOFOLLOW); err == nil {
			defer unix.Close(fd)
			info, err = statx(fd)
		}
	}
	if err != nil {
		return Info{}, pathError("lstat", at.Join(name), err)
	}
	info.Name = path.Base(name)
	return info, nil
}

func (k openat2) Find(at At, name string) (Info, error) {
	info, err := statxAt(k.fd(at), name, unix.AT_SYMLINK_NOFOLLOW)
	return info, pathError("lstat", at.Join(name), err)
}

// GetAttrAt asks by a name in an open directory. If the kernel does not support that, it asks by a path in /proc. It
// does not follow the last segment.
func (k openat2) GetAttrAt(at At, name, attr string) ([]byte, error) {
	if name != "." && (at.dir == nil || !isBase(name)) {
		return attrOf(attrByOpening(k, at, name, attr))
	}
	if value, ok := getAttrAt(k.fd(at), name, attr); ok {
		return value, nil
	}
	value, err := xattr.LGet("/proc/self/fd/"+strconv.Itoa(k.fd(at))+"/"+name, attr)
	if errors.Is(err, iofs.ErrNotExist) {
		value, err = attrByOpening(k, at, name, attr) // there is no /proc, or there is no such file
	}
	return attrOf(value, err)
}

func (k openat2) Readlink(at At, name string) (target string, err error) {
	err = k.parent(at, name, func(dir int, base string) error {
		buffer := make([]byte, unix.PathMax)
		n, err := unix.Readlinkat(dir, base, buffer)
		target = string(buffer[:max(n, 0)])
		return err
	})
	return target, pathError("readlink", at.Join(name), err)
}

func (k openat2) Open(at At, name string) (*File, error) {
	fd, err := k.resolve(at, name, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOFOLLOW|unix.O_LARGEFILE)
	if err != nil {
		return nil, pathError("open", at.Join(name), err)
	}
	full := at.Join(name)
	return &File{name: full, handle: &descriptor{name: full, fd: fd}}, nil
}

func (k openat2) Create(at At, name string) (*File, error) {
	return k.openToWrite("create", at, name, unix.O_RDWR|unix.O_CREAT|unix.O_EXCL)
}

func (k openat2) Append(at At, name string) (*File, error) {
	return k.openToWrite("append", at, name, unix.O_WRONLY|unix.O_CREAT|unix.O_APPEND|unix.O_NONBLOCK)
}

func (k openat2) AppendTo(at At, name string) (*File, error) {
	return k.openToWrite("append", at, name, unix.O_WRONLY|unix.O_APPEND|unix.O_NONBLOCK)
}

func (k openat2) openToWrite(op string, at At, name string, flags int) (f *File, err error) {
	full := at.Join(name)
	err = k.parent(at, name, func(dir int, base string) error {
		flags := flags | unix.O_NOFOLLOW | unix.O_CLOEXEC | unix.O_LARGEFILE
		fd, err := unix.Openat(dir, base, flags, 0o666)
		if err == nil {
			f = &File{name: full, handle: &descriptor{name: full, fd: fd}}
		}
		return err
	})
	return f, pathError(op, full, err)
}

func (k openat2) Mkdir(at At, name string, mode iofs.FileMode) error {
	return pathError("mkdir", at.Join(name), k.parent(at, name, func(dir int, base string) error {
		return unix.Mkdirat(dir, base, uint32(mode))
	}))
}

func (k openat2) Symlink(target string, at At, name string) error {
	return pathError("symlink", at.Join(name), k.parent(at, name, func(dir int, base string) error {
		return unix.Symlinkat(target, dir, base)
	}))
}

func (k openat2) Remove(at At, name string) error {
	return pathError("remove", at.Join(name), k.parent(at, name, func(dir int, base string) error {
		err := unix.Unlinkat(dir, base, 0)
		if err == unix.EISDIR || err == unix.EPERM { // the system chooses which of them stands for a directory
			if failed := unix.Unlinkat(dir, base, unix.AT_REMOVEDIR); failed != unix.ENOTDIR {
				err = failed
			}
		}
		return err
	}))
}

func (k openat2) Chtimes(at At, name string, modified time.Time) error {
	return pathError("chtimes", at.Join(name), k.parent(at, name, func(dir int, base string) error {
		times, err := unix.TimeToTimespec(modified)
		if err != nil {
			return err
		}
		return unix.UtimesNanoAt(dir, base, []unix.Timespec{{Nsec: unix.UTIME_OMIT}, times}, unix.AT_SYMLINK_NOFOLLOW)
	}))
}

// renewed has the kernel ask the file system which file a name in an open directory stands for, even if the kernel
// remembers an answer. For that, it tries to make a new name. The kernel then looks the name up anew: for FUSE since
// Linux 5.15. It does so before it finds that a directory cannot get a second name, so no name is made.
func renewed(dir int, base string) {
	_ = again(func() error { return unix.Linkat(dir, ".", dir, base, 0) })
}

func (k openat2) Renew(at At, dir, name string) {
	in := k.fd(at)
	if dir != "." {
		fd, err := k.resolve(at, dir, unix.O_PATH|unix.O_DIRECTORY)
		if err != nil {
			return
		}
		defer func() { unix.Close(fd) }()
		in = fd
	}
	how := unix.OpenHow{
		Flags:   unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_XDEV,
	}
	for opened := -1; ; {
		base, rest, more := strings.Cut(name, "/")
		if isBase(base) {
			renewed(in, base)
		}
		next, err := -1, error(unix.ENOENT)
		if isBase(base) && more {
			err = again(func() (err error) {
				next, err = unix.Openat2(in, base, &how)
				return err
			})
		}
		if opened >= 0 {
			unix.Close(opened)
		}
		if err != nil {
			return
		}
		in, opened, name = next, next, rest
	}
}

func (k openat2) Link(from At, name string, to At, other string) error {
	err := k.parent(from, name, func(dir int, base string) error {
		return k.parent(to, other, func(otherDir int, otherBase string) error {
			return unix.Linkat(dir, base, otherDir, otherBase, 0)
		})
	})
	if err == unix.EPERM || err == unix.EOPNOTSUPP || err == unix.ENOSYS {
		err = errors.ErrUnsupported
	}
	if err != nil {
		err = &os.LinkError{Op: "link", Old: from.Join(name), New: to.Join(other), Err: err}
	}
	return err
}

func (k openat2) Rename(from At, name string, to At, other string) error {
	return k.renameat2(from, name, to, other, 0)
}

func (k openat2) RenameNew(from At, name string, to At, other string) error {
	return k.renameat2(from, name, to, other, unix.RENAME_NOREPLACE)
}

func (k openat2) Exchange(from At, name string, to At, other string) error {
	return k.renameat2(from, name, to, other, unix.RENAME_EXCHANGE)
}

func (k openat2) renameat2(from At, name string, to At, other string, flags uint) error {
	err := k.parent(from, name, func(fromDir int, fromBase string) error {
		return k.parent(to, other, func(toDir int, toBase string) error {
			return renameName(fromDir, fromBase, toDir, toBase, flags)
		})
	})
	if err == nil {
		return nil
	}
	return renameError(from.Join(name), to.Join(other), flags, err)
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

func (k openat2) Space(dir string) (space Space, err error) {
	if dir == "." {
		return spaceIn(k.fd(At{}))
	}
	fd, err := k.resolve(At{}, dir, unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return Space{}, pathError("statfs", dir, err)
	}
	defer unix.Close(fd)
	space, err = spaceIn(fd)
	return space, pathError("statfs", dir, err)
}

func (k openat2) SyncAll(dir string) error { return onDir(k, dir, syncfs) }
