package mounts

import (
	"fmt"
	iofs "io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// A Table tells when a file system was mounted or unmounted.
type Table struct{ fd int }

// OpenTable returns a Table. If there is no /proc, the Table never changes. It is not an os.File, because the runtime
// would wait for the same events and take them away.
func OpenTable() Table {
	fd, err := unix.Open("/proc/self/mountinfo", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		fd = -1
	}
	return Table{fd}
}

// Close closes the table.
func (t Table) Close() {
	if t.fd >= 0 {
		unix.Close(t.fd)
	}
}

// Changed reports whether a file system was mounted or unmounted anywhere since the last call (proc_pid_mountinfo(5)).
func (t Table) Changed() bool {
	n, err := unix.Poll([]unix.PollFd{{Fd: int32(t.fd), Events: unix.POLLPRI}}, 0)
	return err == nil && n > 0
}

// In returns the mounts at a directory and below it, by name. "" is the mount that has the directory itself.
func In(root string) map[string]Mount {
	found := map[string]Mount{"": {ID: mountID(root)}}
	at, err := filepath.EvalSymlinks(root)
	if err != nil {
		return found
	}
	around := ""
	_, err = mountinfo.GetMounts(func(m *mountinfo.Info) (skip, stop bool) {
		switch above := strings.TrimSuffix(m.Mountpoint, "/") + "/"; {
		case strings.HasPrefix(at+"/", above) && len(above) >= len(around):
			// Of two mounts at one name the later one hides the other.
			around = above
			found[""] = Mount{found[""].ID, m.FSType}
		case strings.HasPrefix(m.Mountpoint, strings.TrimSuffix(at, "/")+"/"):
			name := strings.TrimPrefix(strings.TrimPrefix(m.Mountpoint, at), "/")
			found[name] = Mount{mountID(m.Mountpoint), m.FSType}
		}
		return true, false
	})
	if err != nil {
		return map[string]Mount{"": found[""]}
	}
	return found
}

// mountID returns 0 if the path does not exist, or if the kernel does not tell.
func mountID(path string) uint64 {
	var st unix.Statx_t
	const quickly = unix.AT_STATX_DONT_SYNC | unix.AT_NO_AUTOMOUNT
	if err := unix.Statx(unix.AT_FDCWD, path, quickly, unix.STATX_MNT_ID|unix.STATX_MNT_ID_UNIQUE, &st); err != nil {
		return 0
	}
	return st.Mnt_id
}

// Below returns the mount points at dir and below it, relative to an open root. It leaves out the root itself. The
// kernel knows the paths of mount points and the present path of the root, so dir need not be readable.
func Below(root *os.File, dir string) ([]string, error) {
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

// HasLazyTimes reports whether the file system at a path writes time stamps to the disk long after the bytes that they
// go with (mount(8), lazytime).
func HasLazyTimes(path string) bool {
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
	for _, m := range mounts { // the last of several mounts on one directory is on top
		if len(m.Mountpoint) >= len(on.Mountpoint) {
			on = m
		}
	}
	return slices.Contains(strings.Split(on.VFSOptions, ","), "lazytime")
}

// statfs returns the traits of the file system of an open file. It returns no traits if the kind is not known.
func statfs(f *os.File) (st unix.Statfs_t, traits trait, err error) {
	err = unix.Fstatfs(int(f.Fd()), &st)
	if err == nil {
		traits = byMagic[uint32(st.Type)] // statfs(2) has a type of 32 bits, in a field of any size
	}
	return st, traits, err
}

// VolumeOf describes the file system of an open file.
func VolumeOf(f *os.File) Volume {
	st, traits, _ := statfs(f)
	v := Volume{
		LongOnly: traits&longOnly != 0,
		Numbered: traits&numbered != 0,
		Modeless: traits&modeless != 0,
		Recalled: traits&recalled != 0,
		Leases:   traits&leases != 0,
	}
	if traits&named != 0 {
		v.Name = fmt.Sprintf("%x-%08x%08x", uint32(st.Type), uint32(st.Fsid.Val[0]), uint32(st.Fsid.Val[1]))
	}
	return v
}

// CanSync reports whether syncfs(2) of an open file returns when the data is on disk.
func CanSync(f *os.File) (bool, error) {
	_, traits, err := statfs(f)
	return traits&unsynced == 0, err
}
