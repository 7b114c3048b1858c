package fs

import (
	"fmt"
	iofs "io/fs"
	"os"
	"path"

	"github.com/moby/sys/mountinfo"
)

// mountedIn reports whether something is mounted below a directory. The kernel tells by paths, and of the root which one
// it has now; the directory itself need not be readable.
func mountedIn(root *os.File, dir string) (bool, error) {
	at, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", root.Fd()))
	if err != nil {
		return false, &iofs.PathError{Op: "mounts", Path: dir, Err: err}
	}
	mounts, err := mountinfo.GetMounts(mountinfo.PrefixFilter(path.Join(at, dir)))
	if err != nil {
		return false, &iofs.PathError{Op: "mounts", Path: dir, Err: err}
	}
	return len(mounts) > 0, nil
}
