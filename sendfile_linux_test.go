//go:build !race

package main

import (
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"r-seed-1f3a754f.example/ifmatch/internal/servertest"
	"r-seed-1f3a754f.example/ifmatch/wire"
)

// TestKernelSendsDownloads: of a large file, the kernel sends nearly all to a program on this machine that keeps pace,
// and the server copies the rest alone. A wrapper on the way that does not forward ReadFrom would have it copy
// everything.
func TestKernelSendsDownloads(t *testing.T) {
	onTheWay, relayed := wire.Buffered()
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_INET_DIAG)
	if onTheWay == 0 || err != nil {
		t.Skipf("NOT RUN: the kernel tells neither of its buffers nor of sockets here: %v", err)
	}
	unix.Close(fd)
	const header, slack, chunk = 4 << 10, 1 << 20, 64 << 10
	size := 2*onTheWay + 1<<20
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	copied := &copyCounter{Listener: l}
	s := serveWholeAt(t, copied, slog.LevelInfo)
	file := filepath.Join(s.dir, "large")
	if err := os.WriteFile(file, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(file, size); err != nil {
		t.Fatal(err)
	}
	get := func(int) string { return "GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n" }
	var got int64
	// A client that is not given a CPU for a while does not keep pace, so there is more than one try.
	for until := time.Now().Add(servertest.Patience); time.Now().Before(until); {
		before := copied.bytes.Load()
		s.ask(t, get(0), http.StatusOK)
		if got = copied.bytes.Load() - before; got <= relayed+slack+chunk+header {
			return
		}
		if got > onTheWay+chunk+header {
			t.Fatalf("%d bytes of %d were copied", got, size)
		}
	}
	t.Errorf("%d bytes of %d were copied, not %d", got, size, relayed+slack+chunk+header)
}

// A copyCounter is a listener that counts the bytes that the server itself writes to connections.
type copyCounter struct {
	net.Listener
	bytes atomic.Int64
}

func (l *copyCounter) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	return copyCounted{c, &l.bytes}, err
}

type copyCounted struct {
	net.Conn
	bytes *atomic.Int64
}

// NetConn has the connection found that the kernel sends to.
func (c copyCounted) NetConn() net.Conn { return c.Conn }

func (c copyCounted) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.bytes.Add(int64(n))
	return n, err
}
