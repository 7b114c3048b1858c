package volumes

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestLocksOfFileSystemsThatAreGoneAreForgotten: their files are closed, and a process that waits for one gets it.
func TestLocksOfFileSystemsThatAreGoneAreForgotten(t *testing.T) {
	dir := t.TempDir()
	at := filepath.Join(dir, "m")
	if err := os.Mkdir(at, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("none", at, "tmpfs", 0, ""); err != nil {
		t.Skip("NOT RUN: ", err)
	}
	t.Cleanup(func() { unix.Unmount(at, unix.MNT_DETACH) })
	s := openTree(t, dir)
	if err := s.Learn("m/x"); err != nil {
		t.Fatal(err)
	}
	l := s.Volumes()[1].CommitLock
	if err := l.Take(t.Context(), time.Second); err != nil {
		t.Fatal(err)
	}
	s.DropVolume(s.Volumes()[1])
	if s.forgetLocks(); len(s.locks.of) != 1 || l.File == nil {
		t.Error("a lock that is held was forgotten")
	}
	l.Release()
	if s.forgetLocks(); len(s.locks.of) != 0 || l.File != nil {
		t.Error("a lock of no volume was not forgotten")
	}
	if err := l.Take(t.Context(), time.Second); err != nil {
		t.Fatal(err)
	}
	l.Release()
	l.close()
}
