package compare

import (
	"cmp"
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// kernel returns the version of the kernel.
func kernel() string {
	text, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(text))
}

// fileSystem names the kind of file system of a directory ("": that of temporary files).
func fileSystem(dir string) string {
	var s unix.Statfs_t
	if err := unix.Statfs(cmp.Or(dir, os.TempDir()), &s); err != nil {
		return "unknown"
	}
	names := map[int64]string{
		unix.EXT4_SUPER_MAGIC: "ext4", unix.XFS_SUPER_MAGIC: "xfs", unix.BTRFS_SUPER_MAGIC: "btrfs",
		unix.TMPFS_MAGIC: "tmpfs", unix.OVERLAYFS_SUPER_MAGIC: "overlayfs",
	}
	return cmp.Or(names[int64(s.Type)], fmt.Sprintf("file system %#x", s.Type))
}

func syncData(f *os.File) error { return unix.Fdatasync(int(f.Fd())) }

// ownCPU returns the CPU time of this process so far.
func ownCPU() time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func look(dir *os.File, name string) error {
	var s unix.Statx_t
	return unix.Statx(int(dir.Fd()), name, unix.AT_SYMLINK_NOFOLLOW, unix.STATX_BASIC_STATS|unix.STATX_BTIME, &s)
}

// readLeased fills a buffer from a file that no program has open for writing.
func readLeased(dir *os.File, name string, buffer []byte) error {
	fd, err := unix.Openat(int(dir.Fd()), name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETLEASE, unix.F_RDLCK); err != nil {
		return fmt.Errorf("a lease: %w", err)
	}
	n, err := unix.Pread(fd, buffer, 0)
	if err == nil && n != len(buffer) {
		err = fmt.Errorf("%s has %d bytes", name, n)
	}
	return err
}
