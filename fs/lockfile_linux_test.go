package fs

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
)

// A commit waits for another process for ten seconds, and says then for which.
func TestLockSaysWhoHasIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		ours, theirs := openTest(t, dir, Options{}), openTest(t, dir, Options{})
		unlock, err := theirs.Lock(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		const lockPatience = 10 * time.Second
		start := time.Now()
		_, err = ours.Lock(t.Context())
		if took := time.Since(start); !errors.Is(err, vfs.ErrBusy) || took < lockPatience ||
			took > lockPatience+time.Second {
			t.Errorf("error %v after %v", err, took)
		}
		if want := fmt.Sprintf("process %d (", os.Getpid()); !strings.Contains(fmt.Sprint(err), want) ||
			!strings.Contains(err.Error(), lockName) {
			t.Errorf("it says %q, want %q and %q in it", err, want, lockName)
		}
		unlock()
		if unlock, err = ours.Lock(t.Context()); err != nil {
			t.Fatal(err)
		}
		unlock()
	})
}

// To write at the end of a file waits for nobody: neither for who reads a pipe in its place, nor for who has a lease on
// it.
func TestAppendWaitsForNobody(t *testing.T) {
	forBothWalks(t, func(t *testing.T, open func(*testing.T, string, Options) *FS) {
		dir := t.TempDir()
		lay(t, dir, "pipe|", "leased=1", "f=1")
		s := open(t, dir, Options{})
		leased, err := os.Open(filepath.Join(dir, "leased"))
		if err != nil {
			t.Fatal(err)
		}
		defer leased.Close()
		if _, err := unix.FcntlInt(leased.Fd(), unix.F_SETLEASE, unix.F_RDLCK); err != nil {
			t.Skip("NOT RUN: ", err)
		}
		for name, want := range map[string]error{"pipe": unix.ENXIO, "leased": syscall.EAGAIN, "f": nil, "new": nil} {
			soon(t, name, func() {
				f, err := s.calls.Append(name)
				if !errors.Is(err, want) {
					t.Errorf("%s: error %v, want %v", name, err, want)
				}
				if err != nil {
					return
				}
				defer f.Close()
				if _, err := f.Write([]byte("2")); err != nil {
					t.Errorf("writing to %s: %v", name, err)
				}
			})
		}
		has(t, dir, "f", "12")
		has(t, dir, "leased", "1")
	})
}
