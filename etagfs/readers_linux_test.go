package etagfs_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"r-seed-1f3a754f.example/ifmatch/etagfs"
	"r-seed-1f3a754f.example/ifmatch/fs"
	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
	"r-seed-1f3a754f.example/ifmatch/tree"
	"r-seed-1f3a754f.example/ifmatch/tree/treetest"
)

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
