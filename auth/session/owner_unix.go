//go:build unix

package session

import (
	"errors"
	"fmt"
	iofs "io/fs"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// checkOwner fails with [errUntrusted] where a user other than root, the one of this process, and the owner of the
// anchor can put files into a directory.
func checkOwner(info iofs.FileInfo, anchor string) error {
	if info.Mode().Perm()&0o022 != 0 {
		return fmt.Errorf("%w, because others can write there", errUntrusted)
	}
	owner := ownerOf(info)
	if owner == 0 || owner == os.Geteuid() {
		return nil
	}
	of, err := os.Stat(anchor)
	if err != nil {
		return err
	}
	if os.Geteuid() == 0 && owner == ownerOf(of) {
		return nil
	}
	return fmt.Errorf("%w, because it is of user %d", errUntrusted, owner)
}

// ownerOf returns the id of the user who owns a file, or -1 if that is not known.
func ownerOf(info iofs.FileInfo) int {
	if own, ok := info.Sys().(*syscall.Stat_t); ok {
		return int(own.Uid)
	}
	return -1
}

// giveTo gives a file of root to the owner of the anchor: the server may run as that user the next time.
func giveTo(path, anchor string) error {
	if os.Geteuid() != 0 {
		return nil
	}
	info, err := os.Stat(anchor)
	if err != nil {
		return err
	}
	own, ok := info.Sys().(*syscall.Stat_t)
	if !ok || own.Uid == 0 {
		return nil
	}
	return os.Lchown(path, int(own.Uid), int(own.Gid))
}

// syncDir has the names in a directory outlast a power failure, where the disk can do that.
func syncDir(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Sync(); err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOTSUP) {
		return err
	}
	return nil
}
