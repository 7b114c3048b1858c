package etagfs_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"r-seed-1f3a754f.example/ifmatch/etagfs"
	"r-seed-1f3a754f.example/ifmatch/fs"
	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
	"r-seed-1f3a754f.example/ifmatch/tree"
	"r-seed-1f3a754f.example/ifmatch/tree/treetest"
)

// isAt chooses the calls at a name and below it.
func isAt(name string) func(vfs.Call) bool {
	return func(c vfs.Call) bool { return c.Name == name || strings.HasPrefix(c.Name, name+"/") }
}

// readElsewhere reads in all ways, but not at m.
func readElsewhere(s *etagfs.Store) error {
	_, err := s.Stat(ctx, "f", tree.ReadOptions{Want: tree.WantTag | tree.WantProperties | tree.WantLocks})
	_, missing := s.Stat(ctx, "missing", tree.ReadOptions{})
	if !errors.Is(missing, tree.ErrNotExist) {
		err = errors.Join(err, fmt.Errorf("what is missing: %w", missing))
	}
	err = errors.Join(err, getWhole(s, "f"), getWhole(s, "l/g"))
	for _, dir := range []string{"d", "l"} {
		for _, failed := range s.List(ctx, dir, tree.ListOptions{Want: tree.WantTag, Depth: -1}, tree.Condition{}) {
			err = errors.Join(err, failed)
		}
	}
	return errors.Join(err, s.Try(ctx, treetest.IfTag("l/g", treetest.TagOf("2"))))
}

// writeElsewhere writes in all ways, but not at m.
func writeElsewhere(s *etagfs.Store) error {
	return errors.Join(put(s, "f", "again", tree.Condition{}), put(s, "d/new", "new", tree.Condition{}),
		move("d/new", "f")(s), copyTo("d", "copied")(s), lock("f")(s), s.Remove(ctx, "f", tree.Condition{}),
		put(s, "f", "1", tree.Condition{}), s.PatchProperties(ctx, "d", patch("p", "v"), tree.Condition{}))
}

// elsewhere reads and writes in all ways, but not at m.
func elsewhere(s *etagfs.Store) error { return errors.Join(readElsewhere(s), writeElsewhere(s)) }

// TestHungDiskHoldsUpNobodyElsewhere: what is mounted at m does not answer to a reader, or to a commit that is in the
// middle of it. Another server on the directory goes on too, and one starts and stops meanwhile.
func TestHungDiskHoldsUpNobodyElsewhere(t *testing.T) {
	var all sync.WaitGroup // they wait most of the time
	for _, tt := range []struct {
		name  string
		hangs func(c vfs.Call) bool
		after func(c vfs.Call) bool // nothing hangs before the first of these calls (nil: from the start on)
		do    func(s *etagfs.Store) error
	}{
		{"a look", isAt("m"), nil, func(s *etagfs.Store) error { return getWhole(s, "m/f") }},
		{"a listing", isAt("m"), nil, func(s *etagfs.Store) error {
			for _, err := range s.List(ctx, "", tree.ListOptions{Depth: 1}, tree.Condition{}) {
				if err != nil {
					return err
				}
			}
			return nil
		}},
		{"a condition", isAt("m"), nil, func(s *etagfs.Store) error {
			return s.Try(ctx, treetest.IfTag("m/f", treetest.TagOf("3")))
		}},
		{"an exchange", isCall("exchange", "m/"), nil, func(s *etagfs.Store) error {
			return put(s, "m/f", "new", tree.Condition{})
		}},
		{"a rename", isCall("renameNew", "m/f"), nil, func(s *etagfs.Store) error {
			return s.Remove(ctx, "m/f", tree.Condition{})
		}},
		{"a sync of the history", isCall("sync", "m/.ifmatch/history/"), nil, func(s *etagfs.Store) error {
			return s.Remove(ctx, "m/f", tree.Condition{})
		}},
		{"a new name", isCall("mkdir", "m/d"), nil, func(s *etagfs.Store) error {
			_, err := s.Mkdir(ctx, "m/d", tree.MkdirOptions{}, tree.Condition{})
			return err
		}},
		{"a property", isCall("setAttr", "m/f"), nil, func(s *etagfs.Store) error {
			return s.PatchProperties(ctx, "m/f", patch("p", "v"), tree.Condition{})
		}},
		{"a move over something", isCall("exchange", "m/"), nil, asStore(move("m/f", "m/g"))},
		{"the second rename of a move", isCall("renameNew", "m/f"), nil, asStore(move("m/f", "m/g"))},
		{"a look of a commit at a name of its condition", isCall("lstat", "m/f"), isCall("tryFlock", ""),
			func(s *etagfs.Store) error { return put(s, "x", "new", treetest.IfTag("m/f", treetest.TagOf("3"))) }},
		{"a look of a commit through a link", isCall("lstat", "m/f"), isCall("tryFlock", ""),
			func(s *etagfs.Store) error { return put(s, "x", "new", treetest.IfTag("k", treetest.TagOf("3"))) }},
		{"a look of a commit at the source of its copy", isCall("lstat", "m/f"), isCall("tryFlock", ""),
			func(s *etagfs.Store) error { return copyTo("m/f", "x")(s) }},
		{"the rename of a copy", isCall("renameNew", "m/.ifmatch/stage/"), nil, func(s *etagfs.Store) error {
			return copyTo("f", "m/x")(s)
		}},
		{"the note of what a copy replaces", isCall("appendTo", "m/.ifmatch/history/"), nil,
			func(s *etagfs.Store) error {
				return copyTo("f", "m/g")(s)
			}},
		{"the lease on the source of a move", isCall("lease", "m/f"), isCall("tryFlock", ""),
			func(s *etagfs.Store) error {
				return move("m/f", "x")(s)
			}},
		{"the removal of the source of a move", isCall("renameNew", "m/f"), nil, func(s *etagfs.Store) error {
			return move("m/f", "x")(s)
		}},
		{"the first use of it", isAt("m"), nil, func(s *etagfs.Store) error {
			return s.Remove(ctx, "m/f", tree.Condition{})
		}},
	} {
		all.Go(func() {
			t.Run(tt.name, func(t *testing.T) {
				dir := quickDir(t)
				mountAt(t, filepath.Join(dir, "m"))
				p := openPaused(t, dir)
				err := lay("f=1", "d/", "d/g=2", "m/f=3", "m/g=4")(p.Store)
				err = errors.Join(err, os.Symlink("d", filepath.Join(dir, "l")),
					os.Symlink("m/f", filepath.Join(dir, "k")))
				if err != nil {
					t.Fatal(err)
				}
				another := openQuietly(t, dir, fs.Options{})
				defer another.Close()
				var begun atomic.Bool
				hung, end := p.hang(func(c vfs.Call) bool {
					if tt.after != nil && !begun.Load() {
						begun.CompareAndSwap(false, tt.after(c))
						return false
					}
					return tt.hangs(c)
				})
				defer end()
				done := make(chan error, 1)
				go func() { done <- tt.do(p.Store) }()
				for hangs := false; !hangs; {
					select {
					case c := <-hung:
						hangs = c.Op != "space" // with which the background asks whether it answers
					case err := <-done:
						t.Fatalf("it has not hung, and returned %v", err)
					}
				}
				// Whoever is held up here is for as long as the test may take.
				if err := elsewhere(p.Store); err != nil {
					t.Error(err)
				}
				if err := elsewhere(another); err != nil {
					t.Errorf("another server: %v", err)
				}
				third := openQuietly(t, dir, fs.Options{})
				if err := errors.Join(elsewhere(third), third.Close()); err != nil {
					t.Errorf("one that starts, and stops: %v", err)
				}
				select {
				case err := <-done:
					t.Errorf("it has not hung, and returned %v", err)
				default:
				}
				end()
				if err := <-done; err != nil && !errors.Is(err, tree.ErrBusy) {
					t.Error(err)
				}
				err = put(p.Store, "m/f", "5", tree.Condition{})
				if err = errors.Join(err, put(another, "m/g", "6", tree.Condition{})); err != nil {
					t.Errorf("when it answers again: %v", err)
				}
			})
		})
	}
	all.Wait()
}

func asStore(do func(tree.Store) error) func(*etagfs.Store) error {
	return func(s *etagfs.Store) error { return do(s) }
}

// isCall chooses the calls of a kind at names that begin so.
func isCall(op, name string) func(vfs.Call) bool {
	return func(c vfs.Call) bool { return c.Op == op && strings.HasPrefix(c.Name, name) }
}

// TestHungDiskHoldsUpNeitherStartNorStop: what is mounted at m has a state directory of ours, and does not answer any
// more.
func TestHungDiskHoldsUpNeitherStartNorStop(t *testing.T) {
	dir := quickDir(t)
	mountAt(t, filepath.Join(dir, "m"))
	p := (&paused{}).open(t, dir)
	err := lay("f=1", "d/", "d/g=2", "m/f=3")(p.Store)
	if err = errors.Join(err, os.Symlink("d", filepath.Join(dir, "l"))); err != nil {
		t.Fatal(err)
	}
	p.hang(isAt("m")) // for good
	if err := p.Close(); err != nil {
		t.Errorf("the stop: %v", err)
	}

	p = &paused{}
	p.hang(isAt("m"))
	p.open(t, dir)
	if err := errors.Join(readElsewhere(p.Store), writeElsewhere(p.Store)); err != nil {
		t.Error(err)
	}
	if err := p.Close(); err != nil {
		t.Errorf("the stop after a start: %v", err)
	}

	p = (&paused{}).open(t, dir)
	defer p.Close()
	state, err := p.Stat(ctx, "m/f", tree.ReadOptions{Want: tree.WantTag})
	if err != nil || state.Tag != treetest.TagOf("3") {
		t.Errorf("when it answers again, Stat returns %+v, %v", state, err)
	}
}

// TestStopLeavesWorkBehindThatHangs: the search for files that are not known waits for what is mounted at m when the
// server stops. Another server finds no session of it that lives.
func TestStopLeavesWorkBehindThatHangs(t *testing.T) {
	dir := quickDir(t)
	mountAt(t, filepath.Join(dir, "m"))
	p := (&paused{}).open(t, dir)
	if err := errors.Join(lay("f=1", "m/f=3")(p.Store), p.Close()); err != nil {
		t.Fatal(err)
	}
	p = &paused{}
	below, err := fs.Open(dir, fs.Options{Before: func(c vfs.Call) error {
		p.call(c)
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	hung, end := p.hang(func(c vfs.Call) bool { return c.Op == "lstat" && c.Name == "m" })
	defer end()
	told := make(chan error, 10)
	s, err := etagfs.New(below,
		etagfs.Options{IndexDir: t.TempDir(), WarmUp: 1, Report: func(err error) { told <- err }})
	if err != nil {
		t.Fatal(err)
	}
	<-hung
	if err := s.Close(); err != nil {
		t.Errorf("the stop: %v", err)
	}
	if err := <-told; !strings.Contains(err.Error(), "left behind") {
		t.Errorf("it tells of %v", err)
	}
	another := openQuietly(t, dir, fs.Options{})
	defer another.Close()
	if sessions, err := os.ReadDir(filepath.Join(dir, ".ifmatch/stage")); len(sessions) != 1 || err != nil {
		t.Errorf("there are the sessions %v, %v; want one", sessions, err)
	}
}
