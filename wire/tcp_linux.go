package wire

import "golang.org/x/sys/unix"

// The states of a TCP connection in which the other side may still listen (include/net/tcp_states.h).
const (
	tcpEstablished = 1
	tcpCloseWait   = 8
)

// side returns the state of the other side, as far as the kernel knows it.
func (c *Conn) side() side {
	info, ok := c.tcpInfo()
	switch {
	case !ok:
		return unknown
	case info.State == tcpEstablished:
		return open
	case info.State == tcpCloseWait:
		return halfClosed
	}
	return gone
}

// taken returns how many bytes the kernel of the other side has taken. Its program has read all of them, except for
// those in the kernel's buffer.
func (c *Conn) taken() (int64, bool) {
	info, ok := c.tcpInfo()
	return int64(info.Bytes_acked), ok
}

func (c *Conn) tcpInfo() (info unix.TCPInfo, ok bool) {
	c.control(func(fd int) {
		if got, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
			info, ok = *got, true
		}
	})
	return info, ok
}

// hasUnread reports whether bytes have come that were not read.
func (c *Conn) hasUnread() bool { return c.queued() > 0 }

// queued returns how many bytes have come that were not read: 0 if that is not known.
func (c *Conn) queued() (n int) {
	c.control(func(fd int) {
		if got, err := unix.IoctlGetInt(fd, unix.SIOCINQ); err == nil {
			n = got
		}
	})
	return n
}

func (c *Conn) control(do func(fd int)) {
	if c.tcp == nil {
		return
	}
	if raw, err := c.tcp.SyscallConn(); err == nil {
		raw.Control(func(fd uintptr) { do(int(fd)) })
	}
}
