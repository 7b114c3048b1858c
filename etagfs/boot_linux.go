package etagfs

import (
	"errors"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// bootID returns what the kernel has called itself since it started; "" where it does not tell.
func bootID() string {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(id))
}

// flock locks an open file until it is closed. It fails where another has it, or waits for that one.
func flock(f *os.File, wait bool) error {
	how := unix.LOCK_EX
	if !wait {
		how |= unix.LOCK_NB
	}
	for {
		if err := unix.Flock(int(f.Fd()), how); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

func funlock(f *os.File) {
	for errors.Is(unix.Flock(int(f.Fd()), unix.LOCK_UN), unix.EINTR) {
	}
}
