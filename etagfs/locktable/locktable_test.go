package locktable

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"r-seed-1f3a754f.example/ifmatch/fs"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

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
	take := func(s *fs.FS, table *Table, token string) {
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
	one, ofOne := open()
	another, ofAnother := open()
	for i := range 100 {
		take(one, ofOne, fmt.Sprint("one", i))
		take(another, ofAnother, fmt.Sprint("another", i))
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
