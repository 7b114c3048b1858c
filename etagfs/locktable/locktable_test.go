package locktable

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"r-seed-1f3a754f.example/ifmatch/fs"
	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

// take takes a lock, and ends it.
func take(t *testing.T, s *fs.FS, table *Table, token string) {
	t.Helper()
	unlock, err := s.Lock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	lock := tree.Lock{Token: token, Root: "f", Owner: strings.Repeat("o", 2000), Expires: time.Now().Add(time.Hour)}
	err = table.Look(func(*Set, time.Time) {})
	if err == nil {
		err = table.Take(lock)
	}
	table.mu.Lock()
	defer table.mu.Unlock()
	if err == nil {
		err = table.append(endLine(lock))
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestFileOfAnotherServerIsSynced: where another server has written the file anew, and has not come to the sync of its
// name, a lock is not acknowledged before that.
func TestFileOfAnotherServerIsSynced(t *testing.T) {
	dir, named := t.TempDir(), 0
	open := func(before vfs.Hook) (*fs.FS, *Table) {
		s, err := fs.Open(dir, fs.Options{Before: before})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		return s, New(s, time.Now, func(err error) { t.Error(err) })
	}
	ours, table := open(func(c vfs.Call) error {
		if c.Op == "syncDir" && c.Name == ".ifmatch" {
			named++
		}
		return nil
	})
	theirs, another := open(nil)
	lock := func(want int) {
		t.Helper()
		named = 0
		take(t, ours, table, "ours")
		if err := table.Sync(); err != nil || named != want {
			t.Errorf("the name is synced %d times, want %d, error %v", named, want, err)
		}
	}
	lock(1)
	lock(0)
	take(t, theirs, another, "theirs")
	lock(0) // it was only appended to
	staged, err := theirs.StageState([]byte(fileFormat))
	if err == nil {
		err = theirs.ReplaceState(fileName, staged)
	}
	if err != nil {
		t.Fatal(err)
	}
	lock(1)
	lock(0)
}

// TestLocksOfTwoServersAreWrittenAnew: the file does not grow where another server changes locks before each sync.
func TestLocksOfTwoServersAreWrittenAnew(t *testing.T) {
	dir := t.TempDir()
	open := func() (*fs.FS, *Table) {
		s, err := fs.Open(dir, fs.Options{Durability: fs.None})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		return s, New(s, time.Now, func(err error) { t.Error(err) })
	}
	one, ofOne := open()
	another, ofAnother := open()
	for i := range 100 {
		take(t, one, ofOne, fmt.Sprint("one", i))
		take(t, another, ofAnother, fmt.Sprint("another", i))
		if err := ofOne.Sync(); err != nil {
			t.Fatal(err)
		}
	}
	if info, err := os.Stat(filepath.Join(dir, ".ifmatch", fileName)); err != nil || info.Size() > 2*RewriteAt {
		t.Errorf("the file of no locks has %d bytes, error %v", info.Size(), err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, ".ifmatch", "stage", "*", "state-*")); len(left) > 0 {
		t.Errorf("left: %q", left)
	}
}
