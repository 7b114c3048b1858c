//go:build unix && !linux

package fs

import "golang.org/x/sys/unix"

const openNoWait = unix.O_NONBLOCK
