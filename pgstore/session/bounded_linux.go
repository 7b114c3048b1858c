package session

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// bounded bounds how long sent bytes may go unacknowledged. Without that, a server whose machine is gone is waited for
// for a quarter of an hour, however often the connection is probed while it is idle.
func bounded(network, _ string, conn syscall.RawConn) error {
	if network == "unix" {
		return nil
	}
	var err error
	failed := conn.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(silence.Milliseconds()))
	})
	if failed != nil {
		return failed
	}
	return err
}
