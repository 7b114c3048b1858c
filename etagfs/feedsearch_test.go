package etagfs

import (
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"r-seed-1f3a754f.example/ifmatch/etagfs/feed"
	"r-seed-1f3a754f.example/ifmatch/fs"
	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

// TestSearchIsTriedAgain: another process holds the lock of the directory when changes were missed. They are looked for
// later, though nothing else is missed. Otherwise they would never be told, and no condition on a cursor would be true.
func TestSearchIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var held atomic.Bool
		dir := t.TempDir()
		below, err := fs.Open(dir, fs.Options{Durability: fs.None, Before: func(c vfs.Call) error {
			if held.Load() && c.Op == "tryFlock" {
				return vfs.ErrBusy
			}
			return nil
		}})
		if err != nil {
			t.Fatal(err)
		}
		s, err := New(below, Options{Journal: true})
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		begin, err := s.Now(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "f"), nil, 0o666); err != nil {
			t.Fatal(err)
		}
		held.Store(true)
		s.feed.Missed()
		time.Sleep(2 * feed.SearchAgain)
		if !s.feed.Unsettled() {
			t.Error("what was missed is told without the lock")
		}
		held.Store(false)
		time.Sleep(3 * feed.SearchAgain)
		synctest.Wait()
		if s.feed.Unsettled() {
			t.Error("what was missed is looked for once alone")
		}
		end, err := s.Now(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var told []tree.Change
		for c, err := range s.Changes(t.Context(), begin, end) {
			if err != nil {
				t.Fatal(err)
			}
			told = append(told, c)
		}
		if !slices.ContainsFunc(told, func(c tree.Change) bool { return c.Cause == tree.CauseDisk }) {
			t.Errorf("told %+v", told)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
}
