//go:build unix

package fs

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"r-seed-1f3a754f.example/ifmatch/fs/volumes"
)

func TestLock(t *testing.T) {
	dir := t.TempDir()
	first, second := openTest(t, dir, Options{}), openTest(t, dir, Options{})
	unlock, err := first.Lock(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	others := []*FS{first, second}
	if !first.Abilities().Flock {
		t.Log("no file locks here: one server only")
		others = others[:1]
	}
	for _, other := range others {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
		defer cancel()
		if _, err := other.Lock(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("another has it, and we get error %v", err)
		}
	}
	unlock()
	unlock, err = second.Lock(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	unlock()
}

// However the lock file is lost, two servers agree on one.
func TestLockFileReplaced(t *testing.T) {
	for _, lose := range []func(name string) error{
		os.Remove,
		func(name string) error { return errors.Join(os.Remove(name), os.WriteFile(name, nil, 0o666)) },
	} {
		dir := t.TempDir()
		first, second := openTest(t, dir, Options{}), openTest(t, dir, Options{})
		if !first.Abilities().Flock {
			if os.Getenv("CI") != "" {
				t.Fatal("no file locks here")
			}
			t.Skip("NOT RUN: no file locks here")
		}
		if err := lose(filepath.Join(dir, lockName)); err != nil {
			t.Fatal(err)
		}
		for _, s := range [][2]*FS{{first, second}, {second, first}} {
			unlock, err := s[0].Lock(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
			defer cancel()
			if _, err := s[1].Lock(ctx); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("both have it: error %v", err)
			}
			unlock()
		}
	}
}

func TestOpenState(t *testing.T) {
	t.Run("a newer format is refused", func(t *testing.T) {
		dir := t.TempDir()
		openTest(t, dir, Options{}).Close()
		lay(t, dir, volumes.OwnDir+"/"+formatPart+"=2\n")
		if s, err := Open(dir, Options{}); err == nil || !strings.Contains(err.Error(), "newer") {
			t.Errorf("got %v, error %v", s, err)
		}
		has(t, dir, volumes.OwnDir+"/"+formatPart, "2\n")
	})
	t.Run("a format that a power failure has emptied is written again", func(t *testing.T) {
		dir := t.TempDir()
		openTest(t, dir, Options{Durability: None}).Close()
		lay(t, dir, volumes.OwnDir+"/"+formatPart+"=")
		openTest(t, dir, Options{})
		has(t, dir, volumes.OwnDir+"/"+formatPart, "1\n")
	})
	t.Run("read-only makes nothing", func(t *testing.T) {
		dir := t.TempDir()
		lay(t, dir, "f=1")
		s := openTest(t, dir, Options{ReadOnly: true})
		if info, err := s.Stat("f"); err != nil || info.Size != 1 {
			t.Errorf("got %+v, error %v", info, err)
		}
		s.Close()
		if found, err := os.ReadDir(dir); len(found) != 1 || err != nil {
			t.Errorf("there is %v now, error %v", found, err)
		}
	})
	t.Run("read-only knows other spellings", func(t *testing.T) {
		dir := t.TempDir()
		lay(t, dir, "f=1", ".IFMATCH/") // as a file system that takes one for the other shows it
		s := openTest(t, dir, Options{ReadOnly: true})
		if !s.Abilities().Aliases {
			t.Error("it does not")
		}
		if _, err := s.Stat("f"); err != nil {
			t.Error(err)
		}
	})
	t.Run("nobody else looks into it", func(t *testing.T) {
		dir := t.TempDir()
		openTest(t, dir, Options{})
		if fi, err := os.Stat(filepath.Join(dir, volumes.OwnDir)); err != nil || fi.Mode().Perm() != 0o700 {
			t.Errorf("got %v, error %v", fi, err)
		}
	})
	t.Run("something else has the name", func(t *testing.T) {
		for _, layout := range [][]string{{".ifmatch=file"}, {"d/", ".ifmatch => d"}} {
			dir := t.TempDir()
			lay(t, dir, layout...)
			if _, err := Open(dir, Options{}); err == nil {
				t.Errorf("%q: opened", layout)
			}
		}
	})
	t.Run("many start at once", func(t *testing.T) {
		dir := t.TempDir()
		errs := make(chan error)
		const n = 8
		for range n {
			go func() {
				s, err := Open(dir, Options{})
				if err == nil {
					err = s.Close()
				}
				errs <- err
			}()
		}
		for range n {
			if err := <-errs; err != nil {
				t.Error(err)
			}
		}
		if n := sessions(t, dir); n != 0 {
			t.Errorf("%d sessions are left", n)
		}
	})
}
