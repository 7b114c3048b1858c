package wire

import (
	"io"
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestWhatTheOtherSideHasReadIsKnown: of a program in the same network namespace it is known how many bytes it has not
// read, be they in its buffer or in ours. Those that are being acknowledged count twice.
func TestWhatTheOtherSideHasReadIsKnown(t *testing.T) {
	const written = 300 << 10
	for _, test := range []struct {
		name, network, addr string
		read                int64
		most                int64
		patience            time.Duration
		encrypted           bool
		do                  func(*net.TCPConn) error
		unknown             bool
	}{
		{name: "it reads nothing", network: "tcp4", addr: "127.0.0.1:0", most: written},
		{name: "it reads some", network: "tcp4", addr: "127.0.0.1:0", read: 100 << 10, most: written},
		{name: "it reads all", network: "tcp4", addr: "127.0.0.1:0", read: written},
		{name: "there is no patience for it", network: "tcp4", addr: "127.0.0.1:0", read: 1 << 10},
		{name: "patience ends", network: "tcp4", addr: "127.0.0.1:0", read: 1 << 10, patience: time.Millisecond},
		{name: "IPv6", network: "tcp6", addr: "[::1]:0", read: 100 << 10, most: written},
		{name: "IPv4 on a socket for both", network: "tcp", addr: ":0", read: 100 << 10, most: written},
		{name: "it sends no more", network: "tcp4", addr: "127.0.0.1:0", most: written, do: (*net.TCPConn).CloseWrite},
		{name: "it is gone", network: "tcp4", addr: "127.0.0.1:0", do: (*net.TCPConn).Close, unknown: true},
		{name: "TLS", network: "tcp4", addr: "127.0.0.1:0", encrypted: true, unknown: true},
	} {
		t.Run(test.name, func(t *testing.T) {
			needsDiag(t)
			l, err := net.Listen(test.network, test.addr)
			if err != nil {
				t.Skipf("NOT RUN: there is no such network here: %v", err)
			}
			defer l.Close()
			dialed := "tcp"
			if test.network == "tcp" {
				dialed = "tcp4"
			}
			client, err := net.Dial(dialed, l.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			conn, err := Listen(l, func() Limit { return DefaultLimit }).Accept()
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if _, err := conn.Write(make([]byte, written)); err != nil {
				t.Fatal(err)
			}
			if _, err := io.CopyN(io.Discard, client, test.read); err != nil {
				t.Fatal(err)
			}
			if test.do != nil {
				if err := test.do(client.(*net.TCPConn)); err != nil {
					t.Fatal(err)
				}
			}
			p := &Peer{conn: conn.(*Conn), clear: !test.encrypted}
			unread, ok := p.AwaitRead(test.most, test.patience)
			wrong := func() bool { return ok == test.unknown || ok && unread != written-test.read }
			for until := time.Now().Add(patience); wrong() && time.Now().Before(until); {
				unread, ok = p.AwaitRead(test.most, time.Millisecond) // what has come is known a moment later
			}
			if wrong() {
				t.Errorf("%d bytes of %d were not read, known: %t", unread, written, ok)
			}
		})
	}
}

// TestWaitForTheOtherSideToRead: the wait ends when the other side has read enough.
func TestWaitForTheOtherSideToRead(t *testing.T) {
	needsDiag(t)
	const written, most = 300 << 10, 200 << 10
	conn, client := pair(t, DefaultLimit)
	if _, err := conn.Write(make([]byte, written)); err != nil {
		t.Fatal(err)
	}
	go io.CopyN(io.Discard, client, written-most)
	if unread, ok := (&Peer{conn: conn, clear: true}).AwaitRead(most, patience); !ok || unread > most {
		t.Errorf("%d bytes were not read, known: %t", unread, ok)
	}
}

// needsDiag skips a test where the kernel cannot be asked about sockets.
func needsDiag(t *testing.T) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_INET_DIAG)
	if err != nil {
		t.Skipf("NOT RUN: the kernel cannot be asked about sockets here: %v", err)
	}
	unix.Close(fd)
}
