//go:build unix

package main

import (
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"

	"r-seed-1f3a754f.example/ifmatch/internal/servertest"
	"r-seed-1f3a754f.example/ifmatch/listen"
)

// overSocket returns a client whose connections go over a Unix socket.
func overSocket(path string) *http.Client {
	return &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", path)
		},
	}}
}

// serveSocket runs a server with these flags until the test ends. It returns when the server has begun.
func serveSocket(t *testing.T, args ...string) (log *servertest.Log) {
	t.Helper()
	var cfg Config
	app := cli.App{Flags: serveFlags(), Action: func(c *cli.Context) (err error) { cfg, err = configOf(c); return err }}
	if err := app.Run(append([]string{"serve"}, args...)); err != nil {
		t.Fatal(err)
	}
	log = servertest.NewLog()
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- run(ctx, cfg, log) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	if _, err := log.Await(regexp.MustCompile("ifmatch: serving")); err != nil {
		t.Fatal(err)
	}
	return log
}

// TestUserFromAUnixSocket: a proxy on this machine names the user over a Unix socket. A socket that a crash has left is
// replaced.
func TestUserFromAUnixSocket(t *testing.T) {
	dir, data := t.TempDir(), t.TempDir()
	socket, users := filepath.Join(dir, "socket"), filepath.Join(dir, "users")
	if err := os.WriteFile(users, []byte("ann:*\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	left, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	left.(*net.UnixListener).SetUnlinkOnClose(false)
	left.Close()
	log := serveSocket(t, "--addr", "unix:"+socket, "--users", users, "--user-header", "X-Remote-User", "--user-header-from", "unix",
		"--trusted-proxy", "unix", data)
	if info, err := os.Stat(socket); err != nil || info.Mode().Perm() != listen.SocketMode {
		t.Errorf("the socket: %v, %v", info, err)
	}
	client := overSocket(socket)
	for _, tt := range []struct {
		method, header string
		want           int
	}{
		{"PUT", "X-Remote-User: ann", 201},
		{"GET", "X-Remote-User: ann", 200},
		{"GET", "X-Remote-User: bob", 403},
		{"GET", "X-Forwarded-Proto: https", 401},
		{"GET", "X-Forwarded-Proto: http", 403},
	} {
		r, err := http.NewRequestWithContext(t.Context(), tt.method, "http://files.example/f", strings.NewReader("x"))
		if err != nil {
			t.Fatal(err)
		}
		name, value, _ := strings.Cut(tt.header, ": ")
		r.Header.Set(name, value)
		r.Header.Set("X-Forwarded-For", "203.0.113.9")
		w, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(w.Body)
		w.Body.Close()
		if w.StatusCode != tt.want {
			t.Errorf("%s with %s: %d, want %d: %s", tt.method, tt.header, w.StatusCode, tt.want, body)
		}
	}
	if _, err := log.Await(regexp.MustCompile("client=203.0.113.9 user=ann")); err != nil {
		t.Error(err)
	}
}
