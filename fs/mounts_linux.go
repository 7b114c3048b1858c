package fs

import (
	"fmt"
	iofs "io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/moby/sys/mountinfo"
)

// mountedIn returns the names at which something is mounted in a directory or below it, and the directory itself if
// something is mounted there, unless it is the root. The kernel tells by paths, and of the root which one it has now; the
// directory itself need not be readable.
func mountedIn(root *os.File, dir string) ([]string, error) {
	at, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", root.Fd()))
	if err != nil {
		return nil, &iofs.PathError{Op: "mounts", Path: dir, Err: err}
	}
	mounts, err := mountinfo.GetMounts(mountinfo.PrefixFilter(path.Join(at, dir)))
	if err != nil {
		return nil, &iofs.PathError{Op: "mounts", Path: dir, Err: err}
	}
	var names []string
	for _, m := range mounts {
		if name, err := filepath.Rel(at, m.Mountpoint); err == nil && name != "." {
			names = append(names, name)
		}
	}
	return names, nil
}

// hasLazyTimes reports whether what is mounted where a path leads writes time stamps to the disk long after the bytes that they
// go with.
func hasLazyTimes(path string) bool {
	path, err := filepath.Abs(path)
	if err == nil {
		path, err = filepath.EvalSymlinks(path)
	}
	if err != nil {
		return false
	}
	mounts, err := mountinfo.GetMounts(mountinfo.ParentsFilter(path))
	if err != nil || len(mounts) == 0 {
		return false
	}
	on := mounts[0]
	for _, m := range mounts { // the last one of several on one directory is on top
		if len(m.Mountpoint) >= len(on.Mountpoint) {
			on = m
		}
	}
	return slices.Contains(strings.Split(on.VFSOptions, ","), "lazytime")
}
