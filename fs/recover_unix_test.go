//go:build unix

package fs

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"r-seed-1f3a754f.example/ifmatch/fs/history"
	"r-seed-1f3a754f.example/ifmatch/fs/room"
	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
)

func TestRecover(t *testing.T) {
	t.Run("a maker that lives keeps its uploads", func(t *testing.T) {
		dir := t.TempDir()
		first, second := openTest(t, dir, Options{}), openTest(t, dir, Options{})
		st := stageFile(t, first, "on its way")
		if err := recoverTest(t, second); err != nil {
			t.Error(err)
		}
		has(t, dir, st.at.Name, "on its way")
		if err := first.Commit(st, "f", vfs.Info{}, How{}); err != nil {
			t.Error(err)
		}
		has(t, dir, "f", "on its way")
	})
	t.Run("uploads of one that is gone are removed", func(t *testing.T) {
		dir := t.TempDir()
		lay(t, dir, "f=stays")
		gone := openTest(t, dir, Options{})
		stageFile(t, gone, "never committed")
		tree, err := gone.StageDir(t.Context(), room.Need{Name: "d"})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tree.Member("f"); err != nil {
			t.Fatal(err)
		}
		abandon(gone)
		s := openTest(t, dir, Options{})
		if err := recoverTest(t, s); err != nil {
			t.Error(err)
		}
		if n := sessions(t, dir); n != 1 {
			t.Errorf("%d sessions are left", n)
		}
		has(t, dir, "f", "stays")
	})
}

// TestRecoverDisplaced lays out what a process leaves that dies while the tree d gives way to a staged version, where
// names cannot be exchanged.
func TestRecoverDisplaced(t *testing.T) {
	for _, test := range []struct {
		name    string
		between func(s *FS, dir, by, displaced string) error // before the recovery
		back    bool                                         // it is put back; else it is in the history
		unknown bool                                         // without its name
		told    bool
	}{
		{name: "what gave way to a commit that never came is put back",
			between: func(*FS, string, string, string) error { return nil }, back: true},
		{name: "it is not put over a new file",
			between: func(_ *FS, dir, _, _ string) error {
				return os.WriteFile(filepath.Join(dir, "d"), []byte("of a local program"), 0o666)
			}, told: true},
		{name: "what gave way for good is kept",
			between: func(s *FS, _, by, _ string) error { return s.root.RenameNew(by, "d") }},
		{name: "what was removed after the commit does not rise",
			between: func(s *FS, dir, by, _ string) error {
				return errors.Join(s.root.RenameNew(by, "d"), os.Remove(filepath.Join(dir, "d")))
			}},
		{name: "that the name is taken does not prove the commit",
			between: func(_ *FS, dir, by, _ string) error {
				return errors.Join(os.Remove(filepath.Join(dir, by)), os.Mkdir(filepath.Join(dir, "d"), 0o777))
			}},
		{name: "the note is empty",
			between: func(_ *FS, dir, _, displaced string) error {
				return os.Truncate(filepath.Join(dir, displaced, "path"), 0)
			}, unknown: true, told: true},
		{name: "the note is cut off",
			between: func(_ *FS, dir, _, displaced string) error {
				return os.WriteFile(filepath.Join(dir, displaced, "path"), []byte("d\x00x\x001\x002"), 0o666)
			}, unknown: true, told: true},
		{name: "the note is lost",
			between: func(_ *FS, dir, _, displaced string) error {
				return os.Remove(filepath.Join(dir, displaced, "path"))
			},
			unknown: true, told: true},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			lay(t, dir, "d/", "d/f=precious")
			gone := openTest(t, dir, Options{})
			st := stageFile(t, gone, "new")
			displaced := moveAside(t, gone, "d", st.at.Name)
			if err := test.between(gone, dir, st.at.Name, displaced); err != nil {
				t.Fatal(err)
			}
			abandon(gone)
			s := openTest(t, dir, Options{})
			if err := recoverTest(t, s); (err != nil) != test.told {
				t.Errorf("got error %v", err)
			}
			if err := recoverTest(t, s); err != nil {
				t.Errorf("again: got error %v", err)
			}
			if n := sessions(t, dir); n != 1 {
				t.Errorf("%d sessions are left", n)
			}
			switch {
			case test.back:
				has(t, dir, "d/f", "precious")
				keeps(t, s, "d/f")
			case test.unknown:
				if all, err := s.History(""); len(all) != 1 || all[0].Path != "" || err != nil {
					t.Errorf("the history has %+v, error %v", all, err)
				}
			default:
				keeps(t, s, "d/f", "precious")
			}
		})
	}
	t.Run("of a source that is moved again", func(t *testing.T) {
		dir := t.TempDir()
		lay(t, dir, "d/", "d/f=precious", "from=1")
		gone := openTest(t, dir, Options{})
		moveAside(t, gone, "d", "from")
		abandon(gone)
		s := openTest(t, dir, Options{})
		if err := recoverTest(t, s); err != nil {
			t.Error(err)
		}
		has(t, dir, "d/f", "precious")
		has(t, dir, "from", "1")
	})
}

// A local program takes the name between the two renames: what stood there is in the history.
func TestTakenBetween(t *testing.T) {
	dir := t.TempDir()
	lay(t, dir, "d/", "d/f=precious")
	s, err := Open(dir, Options{Before: func(c vfs.Call) error {
		if c.Op == "exchange" {
			return errors.ErrUnsupported
		}
		if c.Op == "renameNew" && c.To == "d" {
			return os.MkdirAll(filepath.Join(dir, "d"), 0o777)
		}
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	st, err := s.StageDir(t.Context(), room.Need{Name: "d"})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Commit(st, "d", see(t, s, "d"), How{}); !errors.Is(err, ErrAway) {
		t.Errorf("Commit: got error %v", err)
	}
	st.Discard()
	if err := s.Close(); err == nil {
		t.Error("Close reports nothing")
	}
	keeps(t, openTest(t, dir, Options{}), "d/f", "precious")
}

// A rename over a network happens, and its answer is lost.
func TestRenameHappens(t *testing.T) {
	for _, taken := range []bool{false, true} {
		dir := t.TempDir()
		lay(t, dir, "d/", "d/f=precious")
		s, err := Open(dir, Options{Before: func(c vfs.Call) error {
			if c.Op == "exchange" {
				return errors.ErrUnsupported
			}
			if c.Op != "rename" || c.Name != "d" {
				return nil
			}
			err := os.Rename(filepath.Join(dir, "d"), filepath.Join(dir, c.To))
			if taken {
				err = errors.Join(err, os.Mkdir(filepath.Join(dir, "d"), 0o777))
			}
			return errors.Join(err, syscall.EIO)
		}})
		if err != nil {
			t.Fatal(err)
		}
		st, err := s.StageDir(t.Context(), room.Need{Name: "d"})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Commit(st, "d", see(t, s, "d"), How{}); !errors.Is(err, syscall.EIO) {
			t.Errorf("got error %v", err)
		}
		st.Discard()
		if err := s.Close(); (err != nil) != taken {
			t.Errorf("Close: got error %v", err)
		}
		if taken {
			keeps(t, openTest(t, dir, Options{}), "d/f", "precious")
		} else {
			has(t, dir, "d/f", "precious")
		}
	}
}

// TestRecoverStaged: what a dead process has left in the history on its way to a name is removed. It is searched for
// without the lock, however many entries and uploads there are, and looked at once more under it.
func TestRecoverStaged(t *testing.T) {
	for _, test := range []struct {
		name    string
		between func(s *FS, entry string) error // the search and the lock
		fails   bool                            // the state of an upload cannot be read at first
		want    string                          // what the entry has after that, "" for nothing
	}{
		{name: "it is removed"},
		{name: "its commit ends meanwhile", want: "1",
			between: func(s *FS, entry string) error { return s.root.Exchange(entry, "f") }},
		{name: "it may be the data of an upload", fails: true, want: "2"},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			lay(t, dir, "f=1")
			gone := openTest(t, dir, Options{History: true})
			st := stageFile(t, gone, "2")
			ours, err := st.Seen()
			if err != nil {
				t.Fatal(err)
			}
			entry, err := gone.root.history.ArchiveStaged(st.at, ours.Inode, history.Note{Path: "f"})
			if err != nil {
				t.Fatal(err)
			}
			abandon(gone)
			lay(t, dir, ".ifmatch/uploads/u/", ".ifmatch/uploads/u/state=")
			var s *FS
			searching, locked := false, false
			s = openTest(t, dir, Options{History: true, Before: func(c vfs.Call) error {
				within := func(part string) bool { return strings.HasPrefix(c.Name, ".ifmatch/"+part) }
				switch {
				case !searching:
				case c.Op == "tryFlock":
					if locked = true; test.between != nil {
						return test.between(s, entry.Name)
					}
				case c.Op == "open" && test.fails && within("uploads/u/state"):
					return syscall.EMFILE
				case c.Op == "open" && locked && (within("history") || within("uploads")):
					t.Errorf("under the lock: %v", c)
				}
				return nil
			}})
			searching = true
			if err := s.root.history.Recover(t.Context()); (err != nil) != test.fails {
				t.Errorf("got error %v", err)
			}
			searching = false
			if got, _ := os.ReadFile(filepath.Join(dir, entry.Name)); string(got) != test.want {
				t.Errorf("the entry has %q, want %q", got, test.want)
			}
		})
	}
}
