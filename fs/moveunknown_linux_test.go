package fs

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
	"r-seed-1f3a754f.example/ifmatch/fs/volumes"
)

// TestMoveHalfDoneOnAnUnknownPlace: a process dies in the middle of a move on a mounted file system on which the next
// holder of its lock has not been yet. That one finishes the move before anything else all the same.
func TestMoveHalfDoneOnAnUnknownPlace(t *testing.T) {
	dir := t.TempDir()
	lay(t, dir, "m/")
	opts := Options{History: true, Durability: None}
	next := openTest(t, dir, opts)
	mountTest(t, filepath.Join(dir, "m"), "")
	armed, dead := false, false
	mover := opts
	mover.Before = func(c vfs.Call) error {
		if dead = dead || armed && c.Op == "lstat"; dead {
			return errDead
		}
		armed = armed || c.Op == "exchange" && c.Name == "m/o"
		return nil
	}
	s := openTest(t, dir, mover)
	createTest(t, s, "m/f", "seen")
	createTest(t, s, "m/o", "other")
	err := moveTest(s, "m/o", see(t, s, "m/o"), "m/f", see(t, s, "m/f"), How{Exact: true, Cause: "MOVE"})
	if !dead || !errors.Is(err, errDead) {
		t.Fatalf("dead: %v, error %v", dead, err)
	}
	abandon(s)
	if known := next.volumes(); len(known) > 1 {
		t.Fatalf("it knows %d places", len(known))
	}
	has(t, dir, "m/o", "seen") // half done
	log := logOf(next)
	if err := next.Learn("m/f"); err != nil {
		t.Fatal(err)
	}
	hold, err := next.Hold(t.Context(), volumes.Scope{Changed: []string{"m/f"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	hold.Release()
	has(t, dir, "m/f", "other")
	if _, err := os.Lstat(filepath.Join(dir, "m/o")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the source is still there: %v", err)
	}
	keeps(t, next, "m/f", "seen")
	if log.all != nil {
		t.Errorf("told: %q", log.all)
	}
	lockFile := next.volumes()[1].CommitLock.Name
	if mark, err := os.ReadFile(filepath.Join(dir, lockFile)); len(mark) > 0 || err != nil {
		t.Errorf("the lock file has %q, error %v", mark, err)
	}
}

// TestMarkOfNoMove: the lock file may have been written to by another program. Nothing is looked for outside of the
// tree, and the lock is to be had.
func TestMarkOfNoMove(t *testing.T) {
	for _, mark := range []string{"x", "../.ifmatch/moving/x", "missing/.ifmatch/moving/x", "/.ifmatch/moving/x",
		"\x00"} {
		dir := t.TempDir()
		s := openTest(t, dir, Options{History: true, Durability: None})
		if err := os.WriteFile(filepath.Join(dir, lockName), []byte(mark), 0o666); err != nil {
			t.Fatal(err)
		}
		log := logOf(s)
		unlock, err := s.Lock(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		unlock()
		if len(log.all) != 1 && mark != "missing/.ifmatch/moving/x" {
			t.Errorf("%q: told %q, want one report", mark, log.all)
		}
		if left, err := os.ReadFile(filepath.Join(dir, lockName)); len(left) > 0 || err != nil {
			t.Errorf("%q: the lock file has %q, error %v", mark, left, err)
		}
	}
}
