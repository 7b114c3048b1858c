package etagfs

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"ifmatch/fs"
)

// bootID returns what the kernel has called itself since it started; "" where it does not tell.
func bootID() string {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(id))
}

// noWait has an open of what is not a file of the index any more, or is leased to another program, not wait for anybody.
const noWait = unix.O_NONBLOCK

// flock locks an open file until it is closed. It waits for another process as long as patience lasts, and fails with errHeld
// then.
func flock(f *os.File, patience time.Duration) error {
	for end := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		switch {
		case errors.Is(err, unix.EINTR):
		case !errors.Is(err, unix.EWOULDBLOCK):
			return err
		case time.Now().Before(end):
		case patience == 0:
			return errHeld
		default:
			return fmt.Errorf("%s: %w: %s has had it for %v", f.Name(), errHeld, fs.HolderOf(f), patience)
		}
	}
}

func funlock(f *os.File) {
	for errors.Is(unix.Flock(int(f.Fd()), unix.LOCK_UN), unix.EINTR) {
	}
}
