package vfs

import (
	iofs "io/fs"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

func identify(info *Info, fi iofs.FileInfo) {
	if st, ok := fi.Sys().(*syscall.Stat_t); ok {
		info.Device, info.Inode = uint64(st.Dev), st.Ino
		info.User, info.Group = ID{true, st.Uid}, ID{true, st.Gid}
		info.Links = uint32(st.Nlink)
		info.Allocated = st.Blocks * 512
		info.Born, info.Changed = st.Birthtimespec.Nano(), st.Ctimespec.Nano()
	}
}

func spaceOf(dir *os.File) (Space, error) {
	var st unix.Statfs_t
	err := unix.Fstatfs(int(dir.Fd()), &st)
	unit := int64(st.Bsize)
	return Space{Size: int64(st.Blocks) * unit, Free: int64(st.Bavail) * unit}, err
}
