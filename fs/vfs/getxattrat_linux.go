package vfs

import (
	"os"
	"path"
	"sync"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// An attrBuffer is what getxattrat(2) reads into, with the struct xattr_args that says so. It is on the heap, since the
// kernel is told where it is by a number.
type attrBuffer struct {
	value uint64
	size  uint32
	flags uint32
	data  [4 << 10]byte
}

var (
	attrBuffers  = sync.Pool{New: func() any { return new(attrBuffer) }}
	noGetxattrat atomic.Bool // the kernel does not know it (before 6.13), or a sandbox forbids it
)

// getAttrAt returns an attribute of what a name in an open directory stands for, nil where there is none, by one call and
// without a way through /proc. ok is false where that cannot be had.
func getAttrAt(dir *os.File, name, attr string) (value []byte, ok bool) {
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
	n, _, failed := unix.Syscall6(unix.SYS_GETXATTRAT, dir.Fd(), uintptr(unsafe.Pointer(base)), unix.AT_SYMLINK_NOFOLLOW,
		uintptr(unsafe.Pointer(attribute)), uintptr(unsafe.Pointer(b)), unsafe.Offsetof(b.data))
	switch failed {
	case 0:
		return append([]byte{}, b.data[:n]...), true
	case unix.ENODATA, unix.EOPNOTSUPP:
		return nil, true
	case unix.ENOSYS, unix.EPERM:
		noGetxattrat.Store(true)
	}
	return nil, false // the other way says why
}
