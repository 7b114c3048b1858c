package wire

import (
	"encoding/binary"
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// unread returns how many of the written bytes the program at the other side has not read, if its end of the
// connection is a socket in this network namespace. A byte that has come there, and is not acknowledged
// yet, counts twice. So the sum is never too small.
func (c *Conn) unread() (sum int64, ok bool) {
	if c.tcp == nil {
		return 0, false
	}
	ours, _ := c.tcp.LocalAddr().(*net.TCPAddr)
	theirs, _ := c.tcp.RemoteAddr().(*net.TCPAddr)
	if ours == nil || theirs == nil {
		return 0, false
	}
	c.control(func(fd int) {
		n, err := unix.IoctlGetInt(fd, unix.SIOCOUTQ)
		sum, ok = int64(n), err == nil
	})
	if !ok {
		return 0, false
	}
	queued, ok := queuedAt(theirs, ours)
	return sum + queued, ok
}

// The layout of the messages of sock_diag(7) (include/uapi/linux/inet_diag.h), and the states of tcp_states.h in which
// a program may still read.
const (
	diagRequestSize = unix.SizeofNlMsghdr + 56
	diagID          = 8 // offset of inet_diag_sockid in inet_diag_req_v2, without the header
	diagReplyID     = 4 // and in inet_diag_msg
	diagQueue       = 56
	diagReplySize   = 72
	endpointsSize   = 36 // ports and addresses in inet_diag_sockid
	tcpFinWait1     = 4
	tcpFinWait2     = 5
)

// diagPatience bounds the wait for an answer of the kernel, which comes at once.
var diagPatience = unix.NsecToTimeval(int64(time.Second))

// queuedAt returns how many bytes have come to the socket that has these two ends, seen from its side, and were not
// read by its program. ok is false if there is no such socket in this network namespace.
func queuedAt(its, other *net.TCPAddr) (n int64, ok bool) {
	request, ok := diagRequest(its, other)
	if !ok {
		return 0, false
	}
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_INET_DIAG)
	if err != nil {
		return 0, false
	}
	defer unix.Close(fd)
	if unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &diagPatience) != nil ||
		unix.Sendto(fd, request, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}) != nil {
		return 0, false
	}
	var buf [1024]byte
	size, from, err := unix.Recvfrom(fd, buf[:], 0)
	if kernel, is := from.(*unix.SockaddrNetlink); err != nil || !is || kernel.Pid != 0 {
		return 0, false
	}
	return diagReply(buf[:size], request)
}

// diagRequest asks for one TCP socket by its two ends.
func diagRequest(its, other *net.TCPAddr) (request []byte, ok bool) {
	family, from, to := byte(unix.AF_INET), its.IP.To4(), other.IP.To4()
	if from == nil || to == nil {
		family, from, to = unix.AF_INET6, its.IP.To16(), other.IP.To16()
	}
	if from == nil || to == nil || its.Zone != other.Zone {
		return nil, false
	}
	request = make([]byte, diagRequestSize)
	host, network := binary.NativeEndian, binary.BigEndian
	host.PutUint32(request, diagRequestSize)
	host.PutUint16(request[4:], unix.SOCK_DIAG_BY_FAMILY)
	host.PutUint16(request[6:], unix.NLM_F_REQUEST)
	body := request[unix.SizeofNlMsghdr:]
	body[0], body[1] = family, unix.IPPROTO_TCP
	host.PutUint32(body[4:], 1<<tcpEstablished|1<<tcpFinWait1|1<<tcpFinWait2)
	id := body[diagID:]
	network.PutUint16(id, uint16(its.Port))
	network.PutUint16(id[2:], uint16(other.Port))
	copy(id[4:20], from)
	copy(id[20:36], to)
	host.PutUint64(id[40:], 1<<64-1) // INET_DIAG_NOCOOKIE
	return request, true
}

// diagReply reads the answer to a request. The kernel may also have found a socket that listens.
func diagReply(reply, request []byte) (n int64, ok bool) {
	host := binary.NativeEndian
	if len(reply) < unix.SizeofNlMsghdr+diagReplySize || host.Uint16(reply[4:]) != unix.SOCK_DIAG_BY_FAMILY {
		return 0, false
	}
	body := reply[unix.SizeofNlMsghdr:]
	asked := request[unix.SizeofNlMsghdr+diagID:][:endpointsSize]
	if string(body[diagReplyID:][:endpointsSize]) != string(asked) {
		return 0, false
	}
	switch body[1] {
	case tcpEstablished, tcpFinWait1, tcpFinWait2:
		return int64(host.Uint32(body[diagQueue:])), true
	}
	return 0, false
}
