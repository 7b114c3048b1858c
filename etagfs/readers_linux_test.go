package etagfs_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
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

// A paused store is one whose system calls a test may come before.
type paused struct {
	*etagfs.Store
	below *fs.FS
	dir   string

	mu     sync.Mutex
	before func(c vfs.Call) // nil: calls just happen
	busy   bool             // with before
	hangs  func(c vfs.Call) bool
	hung   chan vfs.Call // gets the calls that hang
	end    chan struct{} // closed when they go on
}

// hang has those calls hang from now on that are chosen, as on a disk that does not answer. end has them go on.
func (p *paused) hang(which func(c vfs.Call) bool) (hung <-chan vfs.Call, end func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.hangs, p.hung, p.end = which, make(chan vfs.Call, 100), make(chan struct{})
	return p.hung, sync.OnceFunc(func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.hangs = nil
		close(p.end)
	})
}

// come has do called before each system call from now on (nil: before none), but not before those of do itself, nor of
// what it starts and waits for.
func (p *paused) come(do func(c vfs.Call)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.before = do
}

func (p *paused) call(c vfs.Call) {
	p.mu.Lock()
	if p.hangs != nil && p.hangs(c) {
		hung, end := p.hung, p.end
		p.mu.Unlock()
		hung <- c
		<-end
		return
	}
	do := p.before
	// The locks in memory wait for the file when it has changed, or is being changed.
	if do == nil || p.busy || isBackground(c) || c.Name == ".ifmatch/locks" && c.Op != "lstat" {
		p.mu.Unlock()
		return
	}
	p.busy = true
	p.mu.Unlock()
	do(c)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.busy = false
}

func openPaused(t *testing.T, dir string, lacks ...string) *paused {
	t.Helper()
	p := (&paused{}).open(t, dir, lacks...)
	t.Cleanup(func() { p.come(nil); p.Close() })
	return p
}

func (p *paused) open(t *testing.T, dir string, lacks ...string) *paused {
	t.Helper()
	below, err := fs.Open(dir, fs.Options{Durability: fs.Full, History: true, Before: func(c vfs.Call) error {
		if slices.Contains(lacks, c.Op) {
			return errors.ErrUnsupported
		}
		p.call(c)
		return nil
	}})
	if err == nil {
		p.below, p.dir = below, dir
		p.Store, err = etagfs.New(below, etagfs.Options{})
	}
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// isChanging reports whether readers wait, at the root or at what is mounted in the tree.
func (p *paused) isChanging(k kind) bool {
	for _, at := range append([]string{""}, k.mounts...) {
		if p.below.IsChanging(path.Join(at, "x")) {
			return true
		}
	}
	return false
}

// changesNames reports whether a call changes what a reader can see of a user's name, and of which. A rename of a name
// to itself changes nothing.
func changesNames(c vfs.Call) (name string, ok bool) {
	if c.Name == c.To {
		return "", false
	}
	switch c.Op {
	case "mkdir", "symlink", "rename", "renameNew", "exchange", "remove", "chtimes", "setAttr":
		for _, name := range []string{c.Name, c.To} {
			if name != "" && !strings.Contains("/"+name+"/", "/.ifmatch/") {
				return name, true
			}
		}
	}
	return "", false
}

// TestReadersSeeNoCommitInTheMiddle has all of the tree read before each system call of each kind of commit. A reader
// sees all of it as it was, or all as it is after the commit; where names are in the middle, it waits. A move to
// another file system is two commits: a reader may see the copy beside the source, and neither of the two in the
// middle.
func TestReadersSeeNoCommitInTheMiddle(t *testing.T) {
	for _, k := range append(kinds(), nestedKinds()...) {
		t.Run(k.name, func(t *testing.T) {
			begin := func() *paused {
				p := openPaused(t, dirOf(t, k), k.lacks...)
				if err := k.setup(p.Store); err != nil {
					t.Fatal(err)
				}
				return p
			}
			p := begin()
			before := snapshot(t, p.Store)
			across := k.between != nil && k.mounts != nil // it changes two volumes
			waits, waited := false, make(chan string, 1)
			p.come(func(vfs.Call) {
				if !p.isChanging(k) {
					if got := snapshot(t, p.Store); got != before {
						t.Errorf("before anything has changed, a reader sees\n%s\nand it was\n%s", got, before)
					}
					return
				}
				p.come(nil)
				if waits = true; across {
					waited <- before // it takes several requests, and only those of one volume would wait
					return
				}
				go func() { waited <- snapshot(t, p.Store) }()
			})
			if err := k.do(p.Store); err != nil {
				t.Fatal(err)
			}
			p.come(nil)
			after := snapshot(t, p.Store)
			switch {
			case waits:
				// It sees what was before if that was a try in vain.
				if got := <-waited; got != before && got != after {
					t.Errorf("a reader that has waited sees\n%s\nwant\n%s\nor\n%s", got, before, after)
				}
			case before != after:
				t.Error("no reader has waited")
			}

			p = begin()
			stages, at := []string{before, after}, 0
			if across {
				stages = []string{before, committed(t, k).between, after}
			}
			p.come(func(c vfs.Call) {
				if name, ok := changesNames(c); ok && !p.below.IsChanging(name) {
					t.Errorf("%v: and no reader waits", c)
				}
				if p.isChanging(k) {
					return
				}
				got := snapshot(t, p.Store)
				for got != stages[at] && at < len(stages)-1 {
					at++
				}
				if got != stages[at] {
					t.Errorf("before %v, a reader sees\n%s\nwant one of these, in turn:\n%s", c, got,
						strings.Join(stages, "\n"))
				}
			})
			err := k.do(p.Store)
			p.come(nil)
			if err != nil {
				t.Fatal(err)
			}
		})
	}
}

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

// TestReadersThatWaitGiveUp: a reader waits for names in the middle of a commit no longer than its context says.
func TestReadersThatWaitGiveUp(t *testing.T) {
	p := openPaused(t, quickDir(t))
	if err := lay("f=1")(p.Store); err != nil {
		t.Fatal(err)
	}
	hung, end := p.hang(func(c vfs.Call) bool { return c.Op == "exchange" })
	defer end()
	done := make(chan error, 1)
	go func() { done <- put(p.Store, "f", "2", tree.Condition{}) }()
	<-hung
	given, giveUp := context.WithCancel(ctx)
	giveUp()
	if _, err := p.Stat(given, "f", tree.ReadOptions{}); !errors.Is(err, context.Canceled) {
		t.Errorf("Stat returned %v, want that it was canceled", err)
	}
	if _, _, err := p.Open(given, "f", tree.ReadOptions{}, tree.Condition{}); !errors.Is(err, context.Canceled) {
		t.Errorf("Open returned %v, want that it was canceled", err)
	}
	end()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// TestReadersAreNotStarved: names change each time that a reader looks. After some tries it keeps commits out.
func TestReadersAreNotStarved(t *testing.T) {
	p := openPaused(t, quickDir(t))
	if err := lay("f=1", "g=0")(p.Store); err != nil {
		t.Fatal(err)
	}
	looks, locked := 0, false
	p.come(func(c vfs.Call) {
		switch {
		case c.Op == "tryFlock":
			locked = true
		case c.Op == "lstat" && c.Name == "f":
			if looks++; !locked {
				if err := put(p.Store, "g", fmt.Sprint(looks), tree.Condition{}); err != nil {
					t.Error(err)
				}
			}
		}
	})
	state, err := p.Stat(ctx, "f", tree.ReadOptions{})
	p.come(nil)
	if err != nil || !state.Exists || !locked || looks != 4 {
		t.Errorf("after %d looks, the last under the lock (%v), Stat returned %+v, %v; want 3 before the lock", looks,
			locked, state, err)
	}
}

// TestChecksOfReadersSeeOneInstant: a commit comes between two looks of a Check. It is asked again, and what it was
// told before goes for nothing.
func TestChecksOfReadersSeeOneInstant(t *testing.T) {
	for _, reader := range []struct {
		name string
		ask  func(s *etagfs.Store, cond tree.Condition) error
	}{
		{"Try", func(s *etagfs.Store, cond tree.Condition) error { return s.Try(ctx, cond) }},
		{"Open", func(s *etagfs.Store, cond tree.Condition) error {
			_, _, err := s.Open(ctx, "a", tree.ReadOptions{Want: tree.WantTag}, cond)
			return err
		}},
		{"List", func(s *etagfs.Store, cond tree.Condition) error {
			for _, err := range s.List(ctx, "a", tree.ListOptions{Want: tree.WantTag}, cond) {
				return err
			}
			return nil
		}},
	} {
		t.Run(reader.name, func(t *testing.T) {
			s := openQuietly(t, quickDir(t), fs.Options{Durability: fs.None})
			defer s.Close()
			if err := lay("a=1", "b=1")(s); err != nil {
				t.Fatal(err)
			}
			asked := 0
			err := reader.ask(s, treetest.If(func(v tree.View) error {
				asked++
				a, err := v.State("a")
				if err != nil {
					return err
				}
				if asked == 1 {
					// Both are 2 from here on, b before a: a is never newer than b.
					if err := errors.Join(put(s, "b", "2", tree.Condition{}),
						put(s, "a", "2", tree.Condition{})); err != nil {
						t.Error(err)
					}
				}
				b, err := v.State("b")
				if err != nil {
					return err
				}
				if a.Tag != b.Tag {
					t.Errorf("a Check sees %s and %s", a.Tag, b.Tag)
				}
				return errNotNow
			}, "a", "b"))
			if !errors.Is(err, errNotNow) || asked != 2 {
				t.Errorf("the Check was asked %d times, and it returned %v; want twice", asked, err)
			}
		})
	}
}

// TestReadersWaitForFewCalls counts, in each kind of commit, the system calls from the first change of a name to the
// last one: readers wait for them.
func TestReadersWaitForFewCalls(t *testing.T) {
	const most = 11 // of a PROPPATCH that sets a time too, and looks whether the disk keeps it
	for _, k := range append(kinds(), nestedKinds()...) {
		p := openPaused(t, dirOf(t, k), k.lacks...)
		if err := k.setup(p.Store); err != nil {
			t.Fatal(err)
		}
		var calls []string
		p.come(func(c vfs.Call) {
			if p.isChanging(k) {
				calls = append(calls, c.Op)
			}
		})
		err := k.do(p.Store)
		p.come(nil)
		if err != nil {
			t.Fatal(err)
		}
		waits := slices.ContainsFunc(calls, func(op string) bool { return strings.HasPrefix(op, "sync") })
		if len(calls) > most || waits || calls == nil && k.name != "put-same" {
			t.Errorf("readers wait for %d calls of %s, want %d at the most, and none that waits for the disk: %v",
				len(calls), k.name, most, calls)
		}
	}
}
