//go:build linux || darwin

package vfs

import (
	"os"

	"golang.org/x/sys/unix"
)

func spaceOf(dir *os.File) (Space, error) {
	var st unix.Statfs_t
	err := unix.Fstatfs(int(dir.Fd()), &st)
	unit := int64(st.Bsize)
	return Space{Size: int64(st.Blocks) * unit, Free: int64(st.Bavail) * unit}, err
}
