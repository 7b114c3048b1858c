package index

import (
	"errors"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// BootID returns the kernel's name for the present boot of the machine. It is "" if the kernel does not tell.
func BootID() string {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(id))
}

// monotonic returns the time of the monotonic clock, in nanoseconds, which does not change when the time is set. It is
// the same for all processes until the machine goes down, and package time uses it too.
func monotonic() int64 {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &t); err != nil {
		return 0
	}
	return t.Nano()
}

// noWait makes an open fail at once if the name is a pipe by now, or if another program has a lease on the file.
const noWait = unix.O_NONBLOCK

// tryFlock locks an open file until it is closed. It fails with errLocked if another process has locked it, or if this
// process has locked it by another descriptor.
func tryFlock(f *os.File) error {
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if errors.Is(err, unix.EWOULDBLOCK) {
			return errLocked
		}
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

func funlock(f *os.File) {
	for errors.Is(unix.Flock(int(f.Fd()), unix.LOCK_UN), unix.EINTR) {
	}
}
