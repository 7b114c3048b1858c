package vfs

import (
	"bytes"
	"encoding/binary"
	"io"
	iofs "io/fs"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// mountID asks for the number of a mount. If the kernel has them (6.8), it is a number that no other mount ever gets.
const mountID = unix.STATX_MNT_ID | unix.STATX_MNT_ID_UNIQUE

func statx(fd int) (Info, error) { return statxAt(fd, "", unix.AT_EMPTY_PATH) }

// A shortName is a name as the kernel takes it, on the stack. The functions of package unix make garbage of a copy of
// each name.
type shortName [unix.NAME_MAX + 1]byte

// set reports whether the name fits.
func (b *shortName) set(name string) bool {
	if len(name) >= len(b) || strings.IndexByte(name, 0) >= 0 {
		return false
	}
	copy(b[:], name)
	return true
}

// asError returns the error of a system call, or nil.
func asError(errno unix.Errno) error {
	if errno != 0 {
		return errno
	}
	return nil
}

// statxName is [unix.Statx]. A listing calls it for each member.
func statxName(fd int, name string, flags, mask int, st *unix.Statx_t) error {
	var b shortName
	if !b.set(name) {
		return unix.Statx(fd, name, flags, mask, st)
	}
	_, _, errno := unix.Syscall6(unix.SYS_STATX, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), uintptr(flags),
		uintptr(mask), uintptr(unsafe.Pointer(st)), 0)
	return asError(errno)
}

// openName is [unix.Openat2].
func openName(dir int, name string, how *unix.OpenHow) (int, error) {
	var b shortName
	if !b.set(name) {
		return unix.Openat2(dir, name, how)
	}
	fd, _, errno := unix.Syscall6(unix.SYS_OPENAT2, uintptr(dir), uintptr(unsafe.Pointer(&b[0])),
		uintptr(unsafe.Pointer(how)), unix.SizeofOpenHow, 0, 0)
	if errno != 0 {
		return -1, errno
	}
	return int(fd), nil
}

// renameName is [unix.Renameat2].
func renameName(fromDir int, from string, toDir int, to string, flags uint) error {
	var a, b shortName
	if !a.set(from) || !b.set(to) {
		return unix.Renameat2(fromDir, from, toDir, to, flags)
	}
	_, _, errno := unix.Syscall6(unix.SYS_RENAMEAT2, uintptr(fromDir), uintptr(unsafe.Pointer(&a[0])),
		uintptr(toDir), uintptr(unsafe.Pointer(&b[0])), uintptr(flags), 0)
	return asError(errno)
}

// statxAt looks at a file as it is now. Without a forced sync, network file systems would return facts that are up to a
// minute old (NFS), or as old as the file system has allowed (FUSE). A caller that decides by old facts would replace a
// file that another machine has written. Other file systems ignore the flag.
func statxAt(fd int, name string, flags int) (Info, error) {
	var st unix.Statx_t
	const mask = unix.STATX_BASIC_STATS | unix.STATX_BTIME | mountID
	if err := statxName(fd, name, flags|unix.AT_STATX_FORCE_SYNC, mask, &st); err != nil {
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
	if info.Kind = kindOf(byte(st.Mode & unix.S_IFMT >> 12)); info.Kind == Regular {
		info.Size = int64(st.Size)
	}
	return info, nil
}

// kindOf returns the kind of a type as in a directory entry, which is that in a mode, shifted (IFTODT).
func kindOf(dt byte) Kind {
	switch dt {
	case unix.DT_UNKNOWN:
		return Nothing
	case unix.DT_REG:
		return Regular
	case unix.DT_DIR:
		return Directory
	case unix.DT_LNK:
		return Link
	}
	return Special
}

func nanoseconds(t unix.StatxTimestamp) int64 { return t.Sec*1e9 + int64(t.Nsec) }

func identify(info *Info, fi iofs.FileInfo) {
	if st, ok := fi.Sys().(*syscall.Stat_t); ok {
		info.Device, info.Inode, info.Changed = st.Dev, st.Ino, st.Ctim.Nano()
		info.User, info.Group = ID{true, st.Uid}, ID{true, st.Gid}
		info.Links = uint32(st.Nlink)
		info.Allocated = st.Blocks * 512
	}
}

// Kinds reads the names and the kinds by getdents64(2).
func (osFiles) Kinds(f *File) ([]Info, error) {
	dir := osFile(f)
	buffer := make([]byte, 32<<10)
	n := 0
	err := again(func() (err error) { n, err = unix.ReadDirent(int(dir.Fd()), buffer); return err })
	if err != nil {
		return nil, pathError("getdents", dir.Name(), err)
	}
	if n <= 0 {
		return nil, io.EOF
	}
	const lengthAt, kindAt, nameAt = 16, 18, 19
	var found []Info
	for rest := buffer[:n]; len(rest) > nameAt; {
		length := int(binary.NativeEndian.Uint16(rest[lengthAt:]))
		name, _, _ := bytes.Cut(rest[nameAt:length], []byte{0})
		info := Info{Name: string(name), Kind: kindOf(rest[kindAt])}
		if info.Name != "." && info.Name != ".." {
			found = append(found, info)
		}
		rest = rest[length:]
	}
	return found, nil
}
