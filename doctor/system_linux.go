package doctor

import (
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// watchLimit returns how many directories a user may watch.
func watchLimit() (int, bool) {
	data, err := os.ReadFile("/proc/sys/fs/inotify/max_user_watches")
	if err != nil {
		return 0, false
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(data)))
	return n, err == nil
}

// mayWrite reports whether this user may make and remove names in a directory. Nothing is made there: clients would see it.
func mayWrite(dir string) bool {
	err := unix.Faccessat(unix.AT_FDCWD, dir, unix.W_OK|unix.X_OK, unix.AT_EACCESS)
	return err != unix.EACCES && err != unix.EROFS
}

// clock asks the kernel whether the clock follows a time server.
func (d *Diagnosis) clock() {
	var state unix.Timex
	status, err := unix.Adjtimex(&state)
	switch {
	case err != nil: // not allowed to ask
	case status == unix.TIME_ERROR:
		d.Note("the clock of this machine follows no time server, and dates of files follow the clock",
			"start one that sets it, such as systemd-timesyncd or chrony")
	default:
		d.Good("the clock follows a time server")
	}
}
