//go:build unix

package fs

import (
	"context"
	"errors"
	iofs "io/fs"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
	"r-seed-1f3a754f.example/ifmatch/fs/volumes"
)

// The trash is left when there is no time for it.
func TestEmptyTrash(t *testing.T) {
	dir := t.TempDir()
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	empties := false
	s := openTest(t, dir, Options{Before: func(c vfs.Call) error {
		switch {
		case c.Op == "removeAll" && strings.HasPrefix(c.Name, volumes.OwnDir+"/"+volumes.TrashPart):
			stop()
		case c.Op == "tryFlock" && empties:
			t.Error("commits wait until the trash is listed, however much is in it")
		}
		return nil
	}})
	lay(t, dir, "f=1", "g=2")
	if err := errors.Join(s.Remove(s.At("f"), see(t, s, "f"), How{}), s.Remove(s.At("g"), see(t, s, "g"), How{})); err != nil {
		t.Fatal(err)
	}
	empties = true
	for _, want := range []int{1, 0} {
		if err := s.EmptyTrash(ctx); (err != nil) != (want > 0) {
			t.Errorf("got error %v", err)
		}
		if found, err := s.Entries(s.root.StatePath(volumes.TrashPart)); len(found) != want || err != nil {
			t.Errorf("there is left %q, error %v", found, err)
		}
		ctx = context.Background()
	}
	empties = false
}

// What is discarded and cannot be removed is removed later, and before the history gives way.
func TestDiscardAgain(t *testing.T) {
	for name, again := range map[string]func(s *FS) error{
		"with the trash": func(s *FS) error { return s.EmptyTrash(t.Context()) },
		"to make room": func(s *FS) error {
			if !s.MakeRoom(t.Context(), syscall.ENOSPC, "h") {
				t.Error("it frees nothing")
			}
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			lay(t, dir, "f=old")
			fails := 0
			s := openTest(t, dir, Options{History: true, Before: func(c vfs.Call) error {
				if c.Op == "removeAll" && fails > 0 {
					fails--
					return syscall.EMFILE
				}
				return nil
			}})
			replaceBy(t, s, "f", "new")
			first, second := stageFile(t, s, "1"), stageFile(t, s, "2")
			fails = 3
			for _, st := range []*Staged{first, second} {
				if err := st.Discard(); !errors.Is(err, syscall.EMFILE) {
					t.Errorf("Discard: got error %v", err)
				}
			}
			if err := s.EmptyTrash(t.Context()); !errors.Is(err, syscall.EMFILE) {
				t.Errorf("one cannot be removed yet: got error %v", err)
			}
			if err := again(s); err != nil {
				t.Error(err)
			}
			if left, err := s.Entries(s.root.Session); len(left) != 1 || err != nil {
				t.Errorf("staged: %q, error %v", left, err)
			}
			keeps(t, s, "f", "old")
		})
	}
}

// What is discarded, or was removed, and cannot be deleted is told of once, and tried again after longer and longer
// pauses.
func TestUndeletable(t *testing.T) {
	dir := t.TempDir()
	c := newTestClock()
	var stuck string
	tries := 0
	s := openTest(t, dir, Options{Now: c.Now, Before: func(c vfs.Call) error {
		if c.Op == "removeAll" && (stuck == "" || c.Name == stuck) {
			stuck = c.Name
			tries++
			return &os.PathError{Op: "RemoveAll", Path: c.Name, Err: syscall.EACCES}
		}
		return nil
	}})
	lay(t, dir, "f=1", "g=2")
	for name, leave := range map[string]func(){
		"discarded": func() { stageFile(t, s, "1").Discard() },
		"removed":   func() { removeTest(t, s, "f"); lay(t, dir, "f=1") },
	} {
		leave()
		told := 0
		for range 60 {
			removeTest(t, s, "g")
			lay(t, dir, "g=2")
			if err := s.EmptyTrash(t.Context()); err != nil {
				if !errors.Is(err, iofs.ErrPermission) {
					t.Errorf("%s: got error %v", name, err)
				}
				told++
			}
			if !s.MakeRoom(t.Context(), syscall.ENOSPC, "h") {
				removeTest(t, s, "g")
				lay(t, dir, "g=2")
				if !s.MakeRoom(t.Context(), syscall.ENOSPC, "h") {
					t.Errorf("%s: it is in the way of the rest", name)
				}
			}
			c.now = c.now.Add(time.Second)
		}
		if left, err := s.Entries(s.root.StatePath(volumes.TrashPart)); len(left) > 1 || err != nil {
			t.Errorf("%s: in the trash: %q, error %v", name, left, err)
		}
		if told > 1 || tries < 3 || tries > 10 {
			t.Errorf("%s: told %d times after %d tries", name, told, tries)
		}
		stuck, tries = "nothing", 0
		c.now = c.now.Add(2 * time.Hour)
		if err := s.EmptyTrash(t.Context()); err != nil {
			t.Errorf("%s: it can be deleted now: %v", name, err)
		}
		left, err := s.Entries(s.root.StatePath(volumes.TrashPart))
		staged, failed := s.Entries(s.root.Session)
		if err := errors.Join(err, failed); err != nil || len(left) > 0 || len(staged) != 1 {
			t.Errorf("%s: there is left %q and %q, error %v", name, left, staged, err)
		}
		stuck = ""
	}
}
