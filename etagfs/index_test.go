package etagfs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"r-seed-1f3a754f.example/ifmatch/fs"
	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
	"r-seed-1f3a754f.example/ifmatch/tree"
	"r-seed-1f3a754f.example/ifmatch/tree/treetest"
)

// openStore opens a store of dir, and counts the files that are hashed.
func openStore(t *testing.T, dir string, opts Options) (s *Store, hashed *atomic.Int32) {
	t.Helper()
	return openHooked(t, dir, opts, func(vfs.Call) error { return nil })
}

// openHooked is openStore with a function that sees each call but those of the goroutine that empties the trash, at a
// time of its own.
func openHooked(t *testing.T, dir string, opts Options, before func(vfs.Call) error) (s *Store, hashed *atomic.Int32) {
	t.Helper()
	hashed = new(atomic.Int32)
	below, err := fs.Open(dir, fs.Options{Durability: fs.None, Before: func(c vfs.Call) error {
		if strings.HasPrefix(c.Name, ".ifmatch/trash") {
			return nil
		}
		if err := before(c); err != nil {
			return err
		}
		if c.Op == "readAt" && !strings.HasPrefix(c.Name, ".ifmatch") {
			hashed.Add(1)
		}
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	s, err = New(below, opts)
	if err != nil {
		t.Fatal(err)
	}
	return s, hashed
}

func (s *Store) knows(name string) bool {
	info, err := s.reader.Look(context.Background(), name, nil)
	_, ok := s.index.Tag(info.Fingerprint)
	return err == nil && ok
}

func TestIndexOutlivesTheStore(t *testing.T) {
	dir, index := t.TempDir(), filepath.Join(t.TempDir(), "index")
	clock := treetest.NewClock()
	names := []string{"f", "g"}
	for _, name := range names {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(name), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	clock.Advance(10 * time.Second)
	for round, want := range []int32{2, 0} {
		s, hashed := openStore(t, dir,
			Options{IndexDir: index, Now: clock.Now, Report: func(err error) { t.Error(err) }})
		for _, name := range names {
			if state, err := s.Stat(t.Context(), name, tree.ReadOptions{Want: tree.WantTag}); err != nil ||
				state.Tag != treetest.TagOf(name) {
				t.Errorf("got %+v, error %v", state, err)
			}
		}
		if n := hashed.Load(); n != want && s.index.OnDisk() {
			t.Errorf("round %d: %d files were hashed, want %d", round, n, want)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestOneHashAtATime has many ask for one tag, the first of whom gives up.
func TestOneHashAtATime(t *testing.T) {
	dir := t.TempDir()
	content := strings.Repeat("x", 1<<20)
	if err := os.WriteFile(filepath.Join(dir, "f"), []byte(content), 0o666); err != nil {
		t.Fatal(err)
	}
	var reads atomic.Int32
	reading, goOn := make(chan struct{}), make(chan struct{})
	below, err := fs.Open(dir, fs.Options{Durability: fs.None, Before: func(c vfs.Call) error {
		if c.Op == "readAt" && c.Name == "f" && reads.Add(1) == 1 {
			close(reading)
			<-goOn
		}
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	s, err := New(below, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	ctx, cancel := context.WithCancel(t.Context())
	first := make(chan error, 1)
	go func() {
		_, err := s.Stat(ctx, "f", tree.ReadOptions{Want: tree.WantTag})
		first <- err
	}()
	<-reading
	const n = 8
	rest := make(chan error, n)
	for range n {
		go func() {
			state, err := s.Stat(t.Context(), "f", tree.ReadOptions{Want: tree.WantTag})
			if err == nil && state.Tag != treetest.TagOf(content) {
				err = fmt.Errorf("it has the tag %s", state.Tag)
			}
			rest <- err
		}()
	}
	cancel()
	close(goOn)
	if err := <-first; !errors.Is(err, context.Canceled) {
		t.Errorf("the one that gave up got error %v", err)
	}
	for range n {
		if err := <-rest; err != nil {
			t.Error(err)
		}
	}
}

func TestDamagedLocks(t *testing.T) {
	dir := t.TempDir()
	var reported atomic.Int32
	s, _ := openStore(t, dir, Options{Report: func(error) { reported.Add(1) }})
	defer s.Close()
	l, _, err := s.Lock(t.Context(), tree.LockRequest{Root: "f", Timeout: time.Hour}, tree.Condition{})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, ".ifmatch", "locks")
	data, err := os.ReadFile(file)
	if err == nil {
		err = os.WriteFile(file, data[:len(data)-1], 0o666)
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Unlock(t.Context(), "f", l.Token, tree.Condition{}); !errors.Is(err, tree.ErrNoLock) ||
		reported.Load() == 0 {
		t.Errorf("got error %v, %d reports", err, reported.Load())
	}
	if _, _, err := s.Lock(t.Context(), tree.LockRequest{Root: "f", Timeout: time.Hour}, tree.Condition{}); err != nil {
		t.Errorf("the next lock: %v", err)
	}
}

// TestTwoStores serves one directory twice, as two processes do.
func TestTwoStores(t *testing.T) {
	dir := t.TempDir()
	a, _ := openStore(t, dir, Options{})
	defer a.Close()
	b, _ := openStore(t, dir, Options{})
	defer b.Close()
	put := func(s *Store, content string, check tree.Condition) error {
		_, _, err := s.Put(t.Context(), "f", strings.NewReader(content), tree.PutOptions{Length: -1}, check)
		return err
	}
	if err := put(a, "one", treetest.IfAbsent("f")); err != nil {
		t.Fatal(err)
	}
	if err := put(b, "two", treetest.IfAbsent("f")); err == nil {
		t.Error("created twice")
	}
	if err := put(b, "two", treetest.IfTag("f", treetest.TagOf("one"))); err != nil {
		t.Error(err)
	}
	if err := put(a, "three", treetest.IfTag("f", treetest.TagOf("one"))); err == nil {
		t.Error("a lost update")
	}
	l, _, err := a.Lock(t.Context(), tree.LockRequest{Root: "f", Timeout: time.Hour}, tree.Condition{})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := b.Lock(t.Context(), tree.LockRequest{Root: "f", Timeout: time.Hour}, tree.Condition{}); err == nil {
		t.Error("locked twice")
	}
	if err := b.Unlock(t.Context(), "f", l.Token, tree.Condition{}); err != nil {
		t.Error(err)
	}
}
