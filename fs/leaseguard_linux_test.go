package fs

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"r-seed-1f3a754f.example/ifmatch/fs/room"
	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
)

func openLeased(t *testing.T, s *FS, name string) *vfs.File {
	t.Helper()
	f, _, err := s.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	if err := f.Lease(); err != nil {
		t.Fatal(err)
	}
	return f
}

// Who has a file open for writing is in the way of a lease, and who wants to breaks it and waits for its end. The SIGIO
// that comes with it does no harm.
func TestLease(t *testing.T) {
	dir := t.TempDir()
	lay(t, dir, "f=1", "g=2")
	s := openTest(t, dir, Options{})
	if !s.Abilities().Leases {
		t.Fatalf("there are none here: %s", s.Abilities())
	}
	path := filepath.Join(dir, "f")

	f := openLeased(t, s, "f")
	if !f.Leased() {
		t.Error("not held")
	}
	if err := s.root.Exchange("f", "g"); err != nil || !f.Leased() {
		t.Errorf("an exchange breaks it: error %v", err)
	}
	if err := s.root.Exchange("f", "g"); err != nil {
		t.Fatal(err)
	}
	if other, err := os.Open(path); err != nil || !f.Leased() {
		t.Errorf("a reader breaks it: error %v", err)
	} else {
		other.Close()
	}
	if _, err := unix.Open(path, unix.O_WRONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0); err != unix.EAGAIN {
		t.Errorf("opened for writing beside the lease: %v", err)
	}
	if f.Leased() {
		t.Error("still held, and somebody wants to write")
	}

	opened := make(chan *os.File)
	go func() { // a blocking open, as any program has it
		w, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil {
			t.Error(err)
		}
		opened <- w
	}()
	f.Unlease()
	w := <-opened
	if err := f.Lease(); !errors.Is(err, vfs.ErrWriter) || !errors.Is(err, vfs.ErrBusy) {
		t.Errorf("somebody writes, and we get %v", err)
	}
	w.Close()
	if err := f.Lease(); err != nil || !f.Leased() {
		t.Errorf("nobody writes any more: %v", err)
	}
	f.Close() // ends it
	soon(t, "open for writing", func() {
		if w, err := os.OpenFile(path, os.O_WRONLY, 0); err != nil {
			t.Error(err)
		} else {
			w.Close()
		}
	})
}

func TestProbeTellsLeasesAndExchangeApart(t *testing.T) {
	all := openTest(t, t.TempDir(), Options{}).Abilities()
	for _, op := range []string{"lease", "exchange"} {
		s := openTest(t, t.TempDir(), Options{Before: func(c vfs.Call) error {
			if c.Op == op {
				return errors.ErrUnsupported
			}
			return nil
		}})
		want := all
		if op == "lease" {
			want.Leases, want.LeasesSeeMaps, want.Mappings = false, false, false
		} else {
			want.Exchange = false
		}
		if a := s.Abilities(); a != want {
			t.Errorf("without %s: %+v, want %+v", op, a, want)
		}
	}
}

// The note of a move holds both files open, and keeps a program from writing to one of them only while the move is
// decided and made.
func TestMoveNoteKeepsNoProgramWaiting(t *testing.T) {
	for _, watched := range []bool{true, false} {
		dir := t.TempDir()
		lay(t, dir, "f=seen", "o=other")
		s := openTest(t, dir, Options{History: true})
		if able := s.Abilities(); !able.Exchange || !able.Leases {
			t.Fatalf("this needs exchange and leases: %s", able)
		}
		waits := func(name string) bool {
			t.Helper()
			fd, err := unix.Open(filepath.Join(dir, name), unix.O_WRONLY|unix.O_NONBLOCK, 0)
			if err == nil {
				unix.Close(fd)
			} else if err != unix.EAGAIN {
				t.Fatal(err)
			}
			return err != nil
		}
		how := How{Exact: true, Cause: "MOVE"}
		m, err := s.NoteMove(t.Context(), "o", "f", room.Need{Name: "f"}, how)
		if err != nil {
			t.Fatal(err)
		}
		if waits("f") || waits("o") {
			t.Error("a program waits once the move is noted")
		}
		if watched {
			m.Watch()
			if !waits("f") || !waits("o") {
				t.Error("no program waits once both files are watched")
			}
			m.Unwatch()
			m.Watch() // the leases were broken
		}
		how.Note = m
		if err := s.Move("o", see(t, s, "o"), "f", see(t, s, "f"), how); err != nil {
			t.Error(err)
		}
		m.Unwatch()
		if waits("f") {
			t.Error("a program waits after the move")
		}
		if err := m.End(t.Context()); err != nil {
			t.Error(err)
		}
		has(t, dir, "f", "other")
		keeps(t, s, "f", "seen")
	}
}
