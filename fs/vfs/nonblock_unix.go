//go:build unix && !linux

package vfs

import "golang.org/x/sys/unix"

// NoWait has an open of the operating system wait for nobody.
const NoWait = unix.O_NONBLOCK
