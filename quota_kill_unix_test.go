//go:build unix

package main

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"r-seed-1f3a754f.example/ifmatch/internal/servertest"
)

// TestKillLeavesNoReservation: the room that a body has reserved when the server is killed is free for the next server.
func TestKillLeavesNoReservation(t *testing.T) {
	dir, config := t.TempDir(), filepath.Join(t.TempDir(), "config.toml")
	if err := os.WriteFile(config, []byte("[[quota]]\npath = \"/\"\nsize = \"1000B\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	start := func() *servertest.Server {
		t.Helper()
		server, err := servertest.Start(servertest.Command("--config", config, dir))
		if err != nil {
			t.Fatal(err)
		}
		return server
	}
	put := func(s *servertest.Server, name string, bytes, want int) {
		t.Helper()
		answer, _ := servertest.Do(t, http.DefaultClient, "PUT", s.URL+"/"+name, strings.Repeat("x", bytes))
		if answer.StatusCode != want {
			t.Errorf("a PUT of %d bytes: status %d, want %d", bytes, answer.StatusCode, want)
		}
	}
	server := start()
	conn, err := net.Dial("tcp", server.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(servertest.Patience)); err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(conn, "PUT /running HTTP/1.1\r\nHost: localhost\r\nContent-Length: 900\r\nExpect: 100-continue\r\n\r\n")
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil || !strings.HasPrefix(line, "HTTP/1.1 100 ") {
		t.Fatalf("the server answers %q, error %v: it shall wait for the body", line, err)
	}
	fmt.Fprint(conn, strings.Repeat("x", 500))
	put(server, "other", 200, http.StatusInsufficientStorage)
	put(server, "small", 100, http.StatusCreated)
	if err := server.Kill(); err != nil {
		t.Fatal(err)
	}
	http.DefaultClient.CloseIdleConnections()

	server = start()
	put(server, "other", 900, http.StatusCreated)
	put(server, "more", 1, http.StatusInsufficientStorage)
	if _, err := os.Stat(filepath.Join(dir, "running")); !os.IsNotExist(err) {
		t.Errorf("something is left of the body that broke off: %v", err)
	}
	http.DefaultClient.CloseIdleConnections()
	if err := server.Stop(false); err != nil {
		t.Error(err)
	}
}
