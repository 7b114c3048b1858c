package watcher

import (
	"path/filepath"
	"strings"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// A mountTable tells that something was mounted or unmounted.
type mountTable struct{ fd int }

// openMountTable returns one that tells nothing where there is no /proc. It is not an os.File, because the runtime would
// wait for the same events and take them away.
func openMountTable() mountTable {
	fd, err := unix.Open("/proc/self/mountinfo", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		fd = -1
	}
	return mountTable{fd}
}

func (t mountTable) close() {
	if t.fd >= 0 {
		unix.Close(t.fd)
	}
}

// changed reports whether anything was mounted or unmounted anywhere since the last time (proc_pid_mountinfo(5)).
func (t mountTable) changed() bool {
	n, err := unix.Poll([]unix.PollFd{{Fd: int32(t.fd), Events: unix.POLLPRI}}, 0)
	return err == nil && n > 0
}

// mountedAt returns what is mounted at and below root, by name. What differs is another mount; on kernels before 6.8
// it may have the number of one that is gone. Of the root it is the mount that it is in.
func mountedAt(root string) map[string]mount {
	found := map[string]mount{"": {id: mountID(root)}}
	at, err := filepath.EvalSymlinks(root)
	if err != nil {
		return found
	}
	around := ""
	_, err = mountinfo.GetMounts(func(m *mountinfo.Info) (skip, stop bool) {
		switch above := strings.TrimSuffix(m.Mountpoint, "/") + "/"; {
		case strings.HasPrefix(at+"/", above) && len(above) >= len(around): // of two at one place the later one hides the other
			around = above
			found[""] = mount{found[""].id, m.FSType}
		case strings.HasPrefix(m.Mountpoint, strings.TrimSuffix(at, "/")+"/"):
			name := strings.TrimPrefix(strings.TrimPrefix(m.Mountpoint, at), "/")
			found[name] = mount{mountID(m.Mountpoint), m.FSType}
		}
		return true, false
	})
	if err != nil {
		return map[string]mount{"": found[""]}
	}
	return found
}

// mountID returns 0 where nothing is, or the kernel does not tell.
func mountID(path string) uint64 {
	var st unix.Statx_t
	const quickly = unix.AT_STATX_DONT_SYNC | unix.AT_NO_AUTOMOUNT
	if err := unix.Statx(unix.AT_FDCWD, path, quickly, unix.STATX_MNT_ID|unix.STATX_MNT_ID_UNIQUE, &st); err != nil {
		return 0
	}
	return st.Mnt_id
}
