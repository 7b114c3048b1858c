package index

import (
	"errors"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// BootID returns the name that the kernel has given to the boot of the machine; "" if it does not tell.
func BootID() string {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(id))
}

// monotonic returns the time of the clock that no setting of the time moves, in nanoseconds. It is one for all
// processes until the machine goes down, and the one that package time has.
func monotonic() int64 {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &t); err != nil {
		return 0
	}
	return t.Nano()
}

// noWait has an open of a name fail at once that is a pipe by now, or leased to another program.
const noWait = unix.O_NONBLOCK

// tryFlock locks an open file until it is closed. It fails with errLocked if another process has locked it, or this
// one by another descriptor.
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
