//go:build unix

package watcher

import (
	"os"
	"syscall"
)

// A fileID identifies a directory, whichever path it has.
type fileID struct{ dev, ino uint64 }

// identify returns the zero ID if the file system has none.
func identify(fi os.FileInfo) fileID {
	st, ok := fi.Sys().(*syscall.Stat_t)
	if !ok || st.Ino == 0 {
		return fileID{}
	}
	return fileID{uint64(st.Dev), uint64(st.Ino)}
}

// openDir opens a directory and no other file: neither a link that took its place, nor a FIFO, which would block.
func openDir(path string, root bool) (*os.File, error) {
	flags := os.O_RDONLY | syscall.O_DIRECTORY
	if !root {
		flags |= syscall.O_NOFOLLOW
	}
	return os.OpenFile(path, flags, 0)
}
