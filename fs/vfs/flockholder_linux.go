package vfs

import (
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// HolderOf says which process has an open file locked, such as "process 7 (ifmatch)", as far as the system tells.
func HolderOf(f *os.File) string {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return someProcess
	}
	locks, err := os.ReadFile("/proc/locks")
	if err != nil {
		return someProcess
	}
	return holderIn(string(locks), unix.Major(st.Dev), unix.Minor(st.Dev), st.Ino)
}

// holderIn looks for the lock of a file in the table of the kernel (proc_locks(5)):
//
//	1: FLOCK  ADVISORY  WRITE 7 fe:00:4711 0 EOF
func holderIn(locks string, major, minor uint32, inode uint64) string {
	file := fmt.Sprintf("%02x:%02x:%d", major, minor, inode)
	for line := range strings.Lines(locks) {
		fields := strings.Fields(line)
		if len(fields) < 6 || fields[1] != "FLOCK" || fields[5] != file {
			continue // a line of a process that waits has "->" before the kind
		}
		holder := "process " + fields[4]
		if name, err := os.ReadFile("/proc/" + fields[4] + "/comm"); err == nil {
			holder += " (" + strings.TrimSpace(string(name)) + ")"
		}
		return holder
	}
	return someProcess
}

const someProcess = "another process"
