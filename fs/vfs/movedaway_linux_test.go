package vfs

import (
	"errors"
	iofs "io/fs"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
)

// TestOpenBesideMovesOutOfTheDirectory: a file that leaves its directory while it is opened there is gone, or is
// opened. The kernel answers EXDEV then, as if the name led out of the directory.
func TestOpenBesideMovesOutOfTheDirectory(t *testing.T) {
	root := t.TempDir()
	for _, name := range []string{"d", "state"} {
		if err := os.Mkdir(filepath.Join(root, name), 0o777); err != nil {
			t.Fatal(err)
		}
	}
	inside, outside := filepath.Join(root, "d", "f"), filepath.Join(root, "state", "f")
	if err := os.WriteFile(inside, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	s, err := Open(root, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	d, err := s.OpenDir("d")
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	var stop atomic.Bool
	moved := make(chan error, 1)
	go func() {
		var err error
		for err == nil && !stop.Load() {
			if err = os.Rename(inside, outside); err == nil {
				err = os.Rename(outside, inside)
			}
		}
		moved <- err
	}()
	found, gone := 0, 0
	for range 20_000 {
		f, err := d.Open("f")
		switch {
		case err == nil:
			found++
			err = f.Close()
		case errors.Is(err, iofs.ErrNotExist):
			gone++
			err = nil
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	stop.Store(true)
	if err := <-moved; err != nil {
		t.Fatal(err)
	}
	t.Logf("found %d times, and gone %d times", found, gone)
}
