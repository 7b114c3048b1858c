package fs

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
	"r-seed-1f3a754f.example/ifmatch/fs/volumes"
)

// What the history notes is on disk before a commit is acknowledged, also if the sync for an earlier one began before
// and ends after it.
func TestSyncNotesBesideAnother(t *testing.T) {
	dir := t.TempDir()
	synced, between := 0, func() {}
	s := openTest(t, dir, Options{History: true, Before: func(c vfs.Call) error {
		if c.Op == "sync" && strings.HasSuffix(c.Name, "/paths") {
			synced++
			do := between
			between = func() {}
			do()
		}
		return nil
	}})
	lay(t, dir, "f=1", "g=2")
	removeTest(t, s, "f")
	sync := func() error { return s.Unsynced().Sync() }
	between = func() {
		if err := sync(); err != nil { // another one for the same, which is faster
			t.Error(err)
		}
		removeTest(t, s, "g")
	}
	if err := sync(); err != nil {
		t.Fatal(err)
	}
	synced = 0
	if err := sync(); err != nil || synced != 1 {
		t.Errorf("the note is synced %d times, error %v", synced, err)
	}
}

// The name of the directory of an hour is on disk before a commit is acknowledged, also if another process has just made
// it and has not come to its sync.
func TestHourOfAnotherIsSynced(t *testing.T) {
	for name, change := range map[string]func(t *testing.T, s *FS) error{
		"removed": func(t *testing.T, s *FS) error { removeTest(t, s, "f"); return nil },
		"moved over": func(t *testing.T, s *FS) error {
			return moveTest(s, "g", see(t, s, "g"), "f", see(t, s, "f"), How{})
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			lay(t, dir, "f=1", "g=2", "other=3")
			removeTest(t, openTest(t, dir, Options{History: true}), "other") // and does not sync
			synced := false
			s := openTest(t, dir, Options{History: true, Before: func(c vfs.Call) error {
				synced = synced || c.Op == "syncDir" && c.Name == volumes.OwnDir+"/"+volumes.HistoryPart
				return nil
			}})
			if err := errors.Join(change(t, s), s.Unsynced().Sync()); err != nil || !synced {
				t.Errorf("synced: %t, error %v", synced, err)
			}
		})
	}
}

// The trash is emptied beside a removal that comes to nothing: what is taken back is not in there to be deleted.
func TestEmptyTrashBesideRemoval(t *testing.T) {
	dir := t.TempDir()
	lay(t, dir, "f=seen")
	other := openTest(t, dir, Options{})
	armed := false
	s := openTest(t, dir, Options{Before: func(c vfs.Call) error {
		switch {
		case armed && c.Op == "renameNew" && c.Name == "f":
			if err := os.Remove(filepath.Join(dir, "f")); err != nil {
				return err
			}
			return os.WriteFile(filepath.Join(dir, "f"), []byte("theirs"), 0o666)
		case armed && c.Op == "lstat" && strings.HasPrefix(c.Name, volumes.OwnDir+"/"+volumes.TrashPart+"/"):
			armed = false
			return other.EmptyTrash(context.Background())
		}
		return nil
	}})
	seen := see(t, s, "f")
	unlock, err := s.Lock(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	armed = true
	if err := s.Remove(s.At("f"), seen, How{Exact: true, Unkept: true}); !errors.Is(err, volumes.ErrMoved) || armed {
		t.Errorf("got error %v", err)
	}
	has(t, dir, "f", "theirs")
}
