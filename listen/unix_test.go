//go:build unix

package listen

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A file and the socket of a running server stay. The socket of a server that has died is replaced.
func TestSocketsThatAreNotTaken(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := openUnix(t.Context(), file); err == nil || !strings.Contains(err.Error(), "is no socket") {
		t.Errorf("a file: %v", err)
	}
	socket := filepath.Join(dir, "socket")
	l, err := openUnix(t.Context(), socket)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if _, err := openUnix(t.Context(), socket); err == nil || !strings.Contains(err.Error(), "another server listens") {
		t.Errorf("the socket of a server: %v", err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false) // as if the process had died
	l.Close()
	if l, err = openUnix(t.Context(), socket); err != nil {
		t.Fatalf("the socket of a server that has died: %v", err)
	}
	if info, err := os.Stat(socket); err != nil || info.Mode().Perm() != SocketMode {
		t.Errorf("the socket has the mode %v: %v", info.Mode(), err)
	}
	if l.Close(); len(entries(t, dir)) != 1 {
		t.Errorf("the socket is left: %v", entries(t, dir))
	}
}

func entries(t *testing.T, dir string) (names []string) {
	t.Helper()
	all, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range all {
		names = append(names, e.Name())
	}
	return names
}
