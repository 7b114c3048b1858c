package watcher

import (
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// swap exchanges two names in one step, as a commit of ours does.
func swap(a, b string) error {
	return unix.Renameat2(unix.AT_FDCWD, a, unix.AT_FDCWD, b, unix.RENAME_EXCHANGE)
}

// inNamespace lets a command see itself as root, who mounts for nobody else to see, and has limits of its own.
func inNamespace(cmd *exec.Cmd) error {
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Geteuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{HostID: os.Getegid(), Size: 1}},
	}
	return nil
}

// unshared fails where nothing may be mounted. From then on nobody else sees what is.
func unshared() error { return unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "") }

func mountKind(kind, dir string) error {
	options := ""
	if kind == "devpts" {
		options = "newinstance,ptmxmode=0666"
	}
	return unix.Mount(kind, dir, kind, 0, options)
}

func bind(from, to string) error { return unix.Mount(from, to, "", unix.MS_BIND, "") }

// unmount works although somebody has a look at what is mounted.
func unmount(dir string) error { return unix.Unmount(dir, unix.MNT_DETACH) }

// limitWatches bounds the watches of this namespace (user_namespaces(7)).
func limitWatches(n string) error {
	return os.WriteFile("/proc/sys/user/max_inotify_watches", []byte(n), 0)
}

// maxQueuedEvents is when the kernel's queue overflows (inotify(7)).
func maxQueuedEvents() (int, error) {
	text, err := os.ReadFile("/proc/sys/fs/inotify/max_queued_events")
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(string(text)))
}
