package etagfs

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"r-seed-1f3a754f.example/ifmatch/fs"
	"r-seed-1f3a754f.example/ifmatch/fs/history"
	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
	"r-seed-1f3a754f.example/ifmatch/tree"
	"r-seed-1f3a754f.example/ifmatch/tree/treetest"
)

// failing opens a store in which removeAll fails with an error, that many times.
func failing(t *testing.T, dir string, fault error, before func(vfs.Call)) (s *Store, times *atomic.Int32) {
	t.Helper()
	times = new(atomic.Int32)
	below, err := fs.Open(dir, fs.Options{Before: func(c vfs.Call) error {
		before(c)
		if c.Op == "removeAll" && times.Add(-1) >= 0 {
			return fault
		}
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	if s, err = New(below, Options{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s, times
}

// An upload is refused while the server has too much open to remove what has come of it: that goes soon after.
func TestDiscardedLater(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, times := failing(t, dir, syscall.EMFILE, func(vfs.Call) {})
	times.Store(2)
	body := strings.NewReader(strings.Repeat("x", 1000))
	_, _, err := s.Put(t.Context(), "f", body, tree.PutOptions{Length: 2000}, tree.Condition{})
	if broken := new(tree.BodyError); !errors.As(err, &broken) {
		t.Fatalf("got error %v", err)
	}
	staged := func() []string {
		all, err := filepath.Glob(filepath.Join(dir, ".ifmatch", "stage", "*", "n*"))
		if err != nil {
			t.Fatal(err)
		}
		return all
	}
	if left := staged(); len(left) != 1 {
		t.Fatalf("there is %q: this test is about nothing", left)
	}
	s.chores.emptyTrash() // fails as well
	treetest.Eventually(t, "that it is removed", func() bool { return len(staged()) == 0 })
	if n := times.Load(); n >= 0 {
		t.Errorf("%d calls did not fail", n)
	}
}

// A member is removed while its collection is copied, and what was begun of it cannot be: no copy has half of it.
func TestCopyLeavesNoHalfMember(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, times := failing(t, dir, syscall.EIO, func(c vfs.Call) {
		if c.Op == "create" && strings.HasSuffix(c.Name, "/gone") {
			os.Remove(filepath.Join(dir, "d", "gone"))
		}
	})
	lay(t, dir, "d/gone=1", "d/stays=2")
	times.Store(1)
	_, _, err := s.Copy(t.Context(), "d", "copy", tree.CopyOptions{}, tree.Condition{})
	if !errors.Is(err, tree.ErrFailed) {
		t.Errorf("got error %v", err)
	}
	if _, err := os.Lstat(filepath.Join(dir, "copy")); !os.IsNotExist(err) {
		t.Errorf("there is a copy: error %v", err)
	}
	if _, _, err := s.Copy(t.Context(), "d", "copy", tree.CopyOptions{}, tree.Condition{}); err != nil {
		t.Errorf("again: %v", err)
	}
	if members, err := os.ReadDir(filepath.Join(dir, "copy")); len(members) != 1 || err != nil {
		t.Errorf("the copy has %v, error %v", members, err)
	}
}

// An expiry that is under way when the server stops leaves nothing in the trash.
func TestExpiryAtTheEndLeavesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		old := filepath.Join(dir, ".ifmatch", "history", "1999010100")
		begun, goOn := make(chan struct{}), make(chan struct{})
		below, err := fs.Open(dir, fs.Options{History: true, Before: func(c vfs.Call) error {
			if c.Op == "rename" && strings.HasSuffix(c.Name, filepath.Base(old)) {
				close(begun)
				<-goOn
			}
			return nil
		}})
		if err == nil {
			err = os.MkdirAll(old, 0o777)
		}
		if err != nil {
			t.Fatal(err)
		}
		s, err := New(below, Options{History: &history.Retention{Keep: time.Hour}})
		if err != nil {
			t.Fatal(err)
		}
		<-begun
		closed := make(chan error)
		go func() { closed <- s.Close() }()
		synctest.Wait() // all the rest has ended
		close(goOn)
		if err := <-closed; err != nil {
			t.Error(err)
		}
		for _, part := range []string{"trash", "history"} {
			if left, err := os.ReadDir(filepath.Join(dir, ".ifmatch", part)); err != nil || len(left) > 0 {
				t.Errorf("%s has %v, error %v", part, left, err)
			}
		}
	})
}
