package vfs

import (
	"errors"
	iofs "io/fs"
	"os"
	"path"
	"strings"
	"sync"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"

	"r-seed-1f3a754f.example/ifmatch/mounts"
)

func fdatasync(f *os.File) error {
	return pathError("fdatasync", f.Name(), again(func() error { return unix.Fdatasync(int(f.Fd())) }))
}

func syncfs(f *os.File) error {
	ok, err := mounts.CanSync(f)
	switch {
	case err != nil:
	case !ok:
		err = errors.ErrUnsupported
	default:
		err = unix.Syncfs(int(f.Fd()))
	}
	return pathError("syncfs", f.Name(), err)
}

// Uncache does nothing to the content that a program has mapped. The call is advice to the kernel, and its failures do
// not matter.
func (osFiles) Uncache(f *File) { _ = unix.Fadvise(int(osFile(f).Fd()), 0, 0, unix.FADV_DONTNEED) }

// These calls are not in os.Root. They take directories that os.Root has opened.

func (r rootSystem) RenameNew(from At, name string, to At, other string) error {
	return r.renameat2(from.Join(name), to.Join(other), unix.RENAME_NOREPLACE)
}

func (r rootSystem) Exchange(from At, name string, to At, other string) error {
	return r.renameat2(from.Join(name), to.Join(other), unix.RENAME_EXCHANGE)
}

func (r rootSystem) Renew(at At, dir, name string) {
	in, err := r.root.OpenRoot(at.Join(dir))
	for err == nil {
		base, rest, more := strings.Cut(name, "/")
		if f, failed := in.Open("."); failed == nil {
			if isBase(base) {
				renewed(int(f.Fd()), base)
			}
			f.Close()
		}
		was := in
		if err = iofs.ErrNotExist; more && isBase(base) {
			in, err = was.OpenRoot(base)
		}
		was.Close()
		name = rest
	}
}

func (r rootSystem) renameat2(from, to string, flags uint) error {
	fromDir, err := r.root.Open(path.Dir(from))
	if err != nil {
		return err
	}
	defer fromDir.Close()
	toDir, err := r.root.Open(path.Dir(to))
	if err != nil {
		return err
	}
	defer toDir.Close()
	return renameError(from, to, flags,
		unix.Renameat2(int(fromDir.Fd()), path.Base(from), int(toDir.Fd()), path.Base(to), flags))
}

func spaceOf(dir *os.File) (Space, error) { return spaceIn(int(dir.Fd())) }

func spaceIn(dir int) (Space, error) {
	var st unix.Statfs_t
	err := again(func() error { return unix.Fstatfs(dir, &st) })
	unit := int64(st.Bsize)
	return Space{Size: int64(st.Blocks) * unit, Free: int64(st.Bavail) * unit}, err
}

// An attrBuffer has the struct xattr_args of getxattrat(2), and the buffer that the call reads into. It is on the heap,
// because the kernel gets the address of the buffer as a number.
type attrBuffer struct {
	value uint64
	size  uint32
	flags uint32
	data  [4 << 10]byte
}

var (
	attrBuffers  = sync.Pool{New: func() any { return new(attrBuffer) }}
	noGetxattrat atomic.Bool // the kernel does not have getxattrat(2) (before 6.13), or a sandbox forbids it
)

// getAttrAt returns an attribute of a name in an open directory, by one call and without a path in /proc. The value is
// nil if there is no attribute. ok is false if the call is not possible or fails.
func getAttrAt(dir int, name, attr string) (value []byte, ok bool) {
	if noGetxattrat.Load() {
		return nil, false
	}
	base, err := unix.BytePtrFromString(path.Base(name))
	if err != nil {
		return nil, false
	}
	attribute, err := unix.BytePtrFromString(attr)
	if err != nil {
		return nil, false
	}
	b := attrBuffers.Get().(*attrBuffer)
	defer attrBuffers.Put(b)
	b.value, b.size = uint64(uintptr(unsafe.Pointer(&b.data))), uint32(len(b.data))
	n, _, failed := unix.Syscall6(unix.SYS_GETXATTRAT,
		uintptr(dir), uintptr(unsafe.Pointer(base)), unix.AT_SYMLINK_NOFOLLOW,
		uintptr(unsafe.Pointer(attribute)), uintptr(unsafe.Pointer(b)), unsafe.Offsetof(b.data))
	switch failed {
	case 0:
		return append([]byte{}, b.data[:n]...), true
	case unix.ENODATA, unix.EOPNOTSUPP:
		return nil, true
	case unix.ENOSYS, unix.EPERM:
		noGetxattrat.Store(true)
	}
	return nil, false // the caller tries another way, which returns the error
}
