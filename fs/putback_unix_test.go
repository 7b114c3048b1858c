//go:build unix

package fs

import (
	"errors"
	iofs "io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"r-seed-1f3a754f.example/ifmatch/fs/history"
	"r-seed-1f3a754f.example/ifmatch/fs/room"
	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
	"r-seed-1f3a754f.example/ifmatch/fs/volumes"
)

// A log keeps what an FS tells of.
type log struct {
	mu  sync.Mutex
	all []string
}

func logOf(s *FS) *log {
	l := &log{}
	s.ReportTo(func(err error) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.all = append(l.all, err.Error())
	})
	return l
}

// has reports whether something was told that has all of these in it.
func (l *log) has(parts ...string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, line := range l.all {
		found := true
		for _, part := range parts {
			found = found && strings.Contains(line, part)
		}
		if found {
			return true
		}
	}
	return false
}

// smallest keeps as little as can be.
var smallest = history.Retention{Keep: 24 * time.Hour, Most: 1}

// What a commit has taken away when it fails, and cannot put back since the process has too much open, has its name
// again later. Until then nothing takes it that lets go of history, here or in another process, and the history shows
// it.
func TestPutBackAgain(t *testing.T) {
	over := func(t *testing.T, s *FS, seen, f vfs.Info, arm func()) error {
		how := How{Exact: true, Cause: "MOVE"}
		note, err := s.NoteMove(t.Context(), "d/o", "f", room.Need{Name: "f"}, how)
		if err != nil {
			t.Fatal(err)
		}
		arm()
		how.Note = note
		return errors.Join(s.Move("d/o", seen, "f", f, how), note.End(t.Context()))
	}
	for _, test := range []struct {
		name  string
		do    func(t *testing.T, s *FS, seen, f vfs.Info, arm func()) error
		op    string // the n-th of these fails, and all calls after it until there is room again
		n     int
		stays string // where it is meanwhile; "" for the history
		moved bool   // the move has come so far that it is finished, and not undone
		asked bool   // it was to go: it may, with the history of another process
	}{
		{name: "moved over, the first look after the exchange fails", do: over, op: "lstat", n: 1, moved: true,
			stays: "f"},
		{name: "moved over, the second look after the exchange fails", do: over, op: "lstat", n: 2, moved: true,
			stays: "f"},
		{name: "moved over, the second rename fails", do: over, op: "renameNew", n: 1, moved: true, stays: "f"},
		{name: "moved, the look fails", op: "lstat", n: 1, stays: "g",
			do: func(_ *testing.T, s *FS, seen, _ vfs.Info, arm func()) error {
				arm()
				return s.Move("d/o", seen, "g", vfs.Info{}, How{Exact: true, Cause: "MOVE"})
			}},
		{name: "removed, the look fails", op: "lstat", n: 1, asked: true,
			do: func(_ *testing.T, s *FS, seen, _ vfs.Info, arm func()) error {
				arm()
				return s.Remove(s.At("d/o"), seen, How{Exact: true, Cause: "DELETE"})
			}},
		{name: "removed for good, the look fails", op: "lstat", n: 1,
			do: func(_ *testing.T, s *FS, seen, _ vfs.Info, arm func()) error {
				arm()
				return s.Remove(s.At("d/o"), seen, How{Exact: true, Unkept: true})
			}},
		{name: "taken, the look fails", op: "lstat", n: 1,
			do: func(_ *testing.T, s *FS, seen, _ vfs.Info, arm func()) error {
				arm()
				_, err := s.Take("d/o", seen, How{Exact: true, Cause: "MOVE"})
				return err
			}},
		{name: "taken, and given back", op: "renameNew", n: 2,
			do: func(t *testing.T, s *FS, seen, _ vfs.Info, arm func()) error {
				arm()
				taken, err := s.Take("d/o", seen, How{Exact: true, Cause: "MOVE"})
				if err != nil {
					t.Fatal(err)
				}
				return taken.GiveBack()
			}},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			lay(t, dir, "d/", "d/o=precious", "f=old", "warm=1")
			armed, calls := false, 0
			s := openTest(t, dir, Options{History: true, Before: func(c vfs.Call) error {
				if armed && c.Op == test.op {
					calls++
				}
				if armed && calls >= test.n {
					return syscall.EMFILE
				}
				return nil
			}})
			removeTest(t, s, "warm") // the directory of the hour is there
			told := logOf(s)
			seen, f := see(t, s, "d/o"), see(t, s, "f")
			err := test.do(t, s, seen, f, func() { armed = true })
			armed = false
			if !errors.Is(err, ErrAway) {
				t.Fatalf("got error %v", err)
			}
			if test.stays == "" {
				if !told.has(`"d/o"`, volumes.OwnDir, "too many open files") {
					t.Errorf("told: %q", told.all)
				}
				if _, err := os.Stat(filepath.Join(dir, "d/o")); !errors.Is(err, iofs.ErrNotExist) {
					t.Errorf("this test is about nothing: %v", err)
				}
			}
			// Another process lets go of what it can, and deletes it.
			other := openTest(t, dir, Options{History: true})
			if !test.asked {
				if err := errors.Join(other.EmptyTrash(t.Context())); err != nil {
					t.Error(err)
				}
				if !test.moved { // else what gave way is an ordinary entry by now
					if err := other.Expire(t.Context(), smallest); err != nil {
						t.Error(err)
					}
					for other.MakeRoom(t.Context(), syscall.ENOSPC, "new") {
					}
				}
			}
			if s.PutBack(t.Context()) {
				t.Errorf("some of it still waits: %q", told.all)
			}
			if test.moved {
				has(t, dir, "f", "precious")
				keeps(t, s, "f", "old")
				keeps(t, s, "d/o")
				if left, err := s.Entries(s.root.StatePath(movingPart)); len(left) > 0 || err != nil {
					t.Errorf("noted as under way: %q, error %v", left, err)
				}
				return
			}
			if err := errors.Join(s.Expire(t.Context(), smallest), s.EmptyTrash(t.Context())); err != nil {
				t.Error(err)
			}
			has(t, dir, "d/o", "precious")
			has(t, dir, "f", "old")
		})
	}
}

// Where what failed lets nothing be put back, it is shown until it can be.
func TestAwayIsShown(t *testing.T) {
	dir := t.TempDir()
	lay(t, dir, "o=precious", "f=old")
	stuck := true
	s := openTest(t, dir, Options{History: true, Before: func(c vfs.Call) error {
		if stuck && (c.Op == "lstat" && strings.Contains(c.Name, "/r") || c.Op == "renameNew" && c.To == "o") {
			return syscall.EIO
		}
		return nil
	}})
	if err := s.Remove(s.At("o"), see(t, s, "o"), How{Exact: true, Cause: "DELETE"}); !errors.Is(err, ErrAway) {
		t.Fatalf("got error %v", err)
	}
	keepsNow := func() {
		t.Helper()
		was := stuck
		stuck = false
		defer func() { stuck = was }()
		if k := keeps(t, s, "o", "precious"); k[0].Late {
			t.Errorf("got %+v", k[0])
		}
	}
	keepsNow()
	other := openTest(t, dir, Options{History: true})
	left, err := other.Prune(t.Context(), "o", history.PruneOptions{})
	if err = errors.Join(err, other.Expire(t.Context(), smallest)); left != 1 || err != nil {
		t.Errorf("another process lets go of it: left %d, error %v", left, err)
	}
	keepsNow()
	if !s.PutBack(t.Context()) {
		t.Error("nothing waits")
	}
	if err := s.Remove(s.At("f"), see(t, s, "f"), How{Cause: "DELETE"}); err != nil {
		t.Error(err)
	}
	if err := s.Expire(t.Context(), smallest); err == nil {
		t.Error("the history let go of what it is in, or said nothing")
	}
	if err := s.Expire(t.Context(), smallest); err != nil {
		t.Errorf("it is told again: %v", err)
	}
	keepsNow()
	stuck = false
	if s.PutBack(t.Context()) {
		t.Error("it still waits")
	}
	keeps(t, s, "o")
	has(t, dir, "o", "precious")
}

// What cannot have its name back, since the directory is gone that it was in, is in the history for its time, however
// little that may take, and it is told.
func TestShelved(t *testing.T) {
	for name, instead := range map[string]func(dir string) error{
		"removed":       func(dir string) error { return os.Remove(dir) },
		"a file now":    func(dir string) error { return errors.Join(os.Remove(dir), os.WriteFile(dir, nil, 0o666)) },
		"a link now":    func(dir string) error { return errors.Join(os.Remove(dir), os.Symlink("elsewhere", dir)) },
		"renamed since": func(dir string) error { return os.Rename(dir, dir+"2") },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			lay(t, dir, "d/", "d/o=precious", "f=old", "elsewhere/")
			c := newTestClock()
			done := false
			s := openTest(t, dir, Options{History: true, Now: c.Now, Before: func(call vfs.Call) error {
				if call.Op == "lstat" && call.Name == "g" && !done {
					done = true
					return errors.Join(instead(filepath.Join(dir, "d")), syscall.EIO)
				}
				return nil
			}})
			err := s.Move("d/o", see(t, s, "d/o"), "g", vfs.Info{}, How{Exact: true, Cause: "MOVE"})
			if !errors.Is(err, ErrShelved) || !errors.Is(err, syscall.EIO) {
				t.Errorf("got error %v", err)
			}
			for range 3 {
				if err := errors.Join(s.Expire(t.Context(), smallest), s.EmptyTrash(t.Context())); err != nil {
					t.Error(err)
				}
				for s.MakeRoom(t.Context(), syscall.ENOSPC, "d/o") {
				}
				c.now = c.now.Add(7 * time.Hour)
			}
			if k := keeps(t, s, "d/o", "precious"); k[0].Cause != history.CauseRecovered {
				t.Errorf("got %+v", k[0])
			}
			c.now = c.now.Add(7 * time.Hour)
			if err := s.Expire(t.Context(), smallest); err != nil {
				t.Error(err)
			}
			keeps(t, s, "d/o")
		})
	}
}

// A server dies while it has taken something away for good, and another one goes on. The disk had no room to note what
// it was, so it is in the history without its name.
func TestDeadBesideAnother(t *testing.T) {
	dir := t.TempDir()
	lay(t, dir, "o=precious")
	lives, dies := openTest(t, dir, Options{History: true}), openTest(t, dir, Options{History: true})
	if _, err := dies.Take("o", see(t, dies, "o"), How{Exact: true, Unkept: true}); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(lives.EmptyTrash(t.Context()), lives.Recover(t.Context())); err != nil {
		t.Error(err) // its maker may give it back still
	}
	if found, err := lives.Entries(lives.root.StatePath(volumes.TrashPart)); len(found) != 1 || err != nil {
		t.Errorf("in the trash: %q, error %v", found, err)
	}
	abandon(dies)
	if err := errors.Join(lives.EmptyTrash(t.Context()), lives.Recover(t.Context())); err != nil {
		t.Error(err)
	}
	all, err := lives.History("")
	if err != nil || len(all) != 1 || all[0].Path != "" || all[0].Size != int64(len("precious")) {
		t.Errorf("the history has %+v, error %v", all, err)
	}
}

// An entry of which nothing is noted is shown without a name: the power has failed, or a server died that keeps
// nothing.
func TestUnnotedIsShown(t *testing.T) {
	dir := t.TempDir()
	lay(t, dir, "f=1", "g=2")
	s := openTest(t, dir, Options{History: true})
	removeTest(t, s, "f")
	removeTest(t, s, "g")
	notes, err := filepath.Glob(filepath.Join(dir, volumes.OwnDir, volumes.HistoryPart, "*", "paths"))
	if err != nil || len(notes) != 1 {
		t.Fatal(notes, err)
	}
	if err := os.Truncate(notes[0], 0); err != nil {
		t.Fatal(err)
	}
	all, err := s.History("")
	if err != nil || len(all) != 2 || all[0].Path != "" || all[0].Late || all[0].Cause != history.CauseRecovered {
		t.Errorf("got %+v, error %v", all, err)
	}
	keeps(t, s, "f")
}

// TestUndoOfACollectionLeavesNothing: where names cannot be exchanged and the disk fails twice, a collection that had given
// way is put back later, and neither its place nor the staged one is left.
func TestUndoOfACollectionLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	lay(t, dir, "d/", "d/f=precious")
	sick := false
	s := openTest(t, dir, Options{History: true, Before: func(c vfs.Call) error {
		if c.Op == "exchange" {
			return errors.ErrUnsupported
		}
		if sick && (strings.HasSuffix(c.To, "/old") || strings.HasSuffix(c.Name, "/old")) {
			return syscall.EIO
		}
		return nil
	}})
	staged, err := s.StageDir(t.Context(), room.Need{Name: "d"})
	if err != nil {
		t.Fatal(err)
	}
	seen := see(t, s, "d")
	sick = true
	if err := s.Commit(staged, "d", seen, How{}); !errors.Is(err, ErrAway) {
		t.Errorf("a commit on a sick disk: %v", err)
	}
	sick = false
	if err := staged.Discard(); err != nil {
		t.Error(err)
	}
	if s.PutBack(t.Context()) {
		t.Error("it still waits")
	}
	if content, err := os.ReadFile(filepath.Join(dir, "d/f")); err != nil || string(content) != "precious" {
		t.Errorf("the collection has %q, error %v", content, err)
	}
	if err := errors.Join(s.EmptyTrash(t.Context())); err != nil {
		t.Error(err)
	}
	for _, pattern := range []string{"stage/*/[^a]*", "trash/*/*"} { // but the file alive of this process
		if left, err := filepath.Glob(filepath.Join(dir, ".ifmatch", pattern)); err != nil || len(left) > 0 {
			t.Errorf("left: %q, error %v", left, err)
		}
	}
}
