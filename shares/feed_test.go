package shares_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"r-seed-1f3a754f.example/ifmatch/shares"
	"r-seed-1f3a754f.example/ifmatch/tree"
	"r-seed-1f3a754f.example/ifmatch/tree/memtree"
)

func (f *fixture) now() tree.Cursor {
	f.t.Helper()
	c, err := f.Now(f.t.Context())
	if err != nil {
		f.t.Fatal(err)
	}
	return c
}

func told(c tree.Change) string {
	line := c.Cause + " "
	if c.From != "" {
		line += c.From + " -> "
	}
	line += c.Name
	switch {
	case c.Again:
		line += " again"
	case !c.State.Exists:
		line += " gone"
	}
	return line
}

// changes returns the changes after a cursor, and checks that each of their cursors leads to the rest.
func (f *fixture) changes(since tree.Cursor) (all []string) {
	f.t.Helper()
	end := f.now()
	var cursors []tree.Cursor
	for c, err := range f.Changes(f.t.Context(), since, end) {
		if err != nil {
			f.t.Fatal(err)
		}
		all, cursors = append(all, told(c)), append(cursors, c.Cursor)
	}
	for i, cursor := range cursors {
		var rest []string
		for c, err := range f.Changes(f.t.Context(), cursor, end) {
			if err != nil {
				f.t.Fatal(err)
			}
			rest = append(rest, told(c))
		}
		if !slices.Equal(rest, all[i+1:]) {
			f.t.Errorf("after %q there are %q, want %q", all[i], rest, all[i+1:])
		}
	}
	return all
}

func (f *fixture) wantChanges(what string, since tree.Cursor, want ...string) {
	f.t.Helper()
	if got := f.changes(since); !slices.Equal(got, want) {
		f.t.Errorf("%s: told %q, want %q", what, got, want)
	}
}

func TestChangesOfAllSharesAreTold(t *testing.T) {
	each(t, func(t *testing.T, backend func(testing.TB) tree.Store) {
		f := open(t, backend, "a/d/", "a/d/f=1", "b/g=2")
		begin := f.now()
		f.wantChanges("nothing", begin)
		for _, name := range []string{"b/new", "a/new", "b/g"} {
			if _, err := f.put(name, "x"); err != nil {
				t.Fatal(err)
			}
		}
		f.wantChanges("writes", begin, "PUT a/new", "PUT b/new", "PUT b/g")
		begin = f.now()
		if _, _, err := f.Move(t.Context(), "a/new", "a/moved", tree.CopyOptions{}, tree.Condition{}); err != nil {
			t.Fatal(err)
		}
		f.wantChanges("inside of a share", begin, "MOVE a/new -> a/moved")
		begin = f.now()
		if _, _, err := f.Move(t.Context(), "a/d", "b/d", tree.CopyOptions{}, tree.Condition{}); err != nil {
			t.Fatal(err)
		}
		// Nothing is told of the names under which the copy was made.
		for _, line := range f.changes(begin) {
			if strings.Contains(line, ".ifmatch") {
				t.Errorf("told %q", line)
			}
		}
		var names []string
		for c, err := range f.Changes(t.Context(), begin, f.now()) {
			if err != nil {
				t.Fatal(err)
			}
			names = append(names, fmt.Sprint(c.Name, " ", c.State.Exists, c.Deep()))
		}
		if want := []string{"a/d false true", "b/d true true"}; !slices.Equal(names, want) {
			t.Errorf("a move to another share: told %q, want %q", names, want)
		}
	})
}

// A condition about a cursor is decided for the shares that it is about, and is not turned by the copy of the move that
// it guards.
func TestConditionOnACursorOfShares(t *testing.T) {
	errChanged := errors.New("it has changed")
	unchanged := func(name string, since tree.Cursor) tree.Condition {
		return tree.Condition{Names: []string{name}, Check: func(v tree.View) error {
			changed, err := v.(tree.FeedView).Since(name, since, nil)
			if err == nil && changed {
				err = errChanged
			}
			return err
		}}
	}
	each(t, func(t *testing.T, backend func(testing.TB) tree.Store) {
		for _, tt := range []struct {
			name, change string
			holds        bool
		}{
			{"", "", true}, {"a", "", true}, {"b", "", true}, {"b/d", "", true}, {"c", "", true},
			{"", "c/x", false}, {"a", "b/x", true}, {"b", "a/x", true}, {"a", "a/x", false}, {"b", "b/d/x", false},
			{"b/d", "b/x", true}, {"b/d", "b/d/x", false}, {"nothing", "a/x", true},
		} {
			f := open(t, backend, "a/e/", "a/e/f=1", "b/d/", "b/d/y=2")
			since := f.now()
			if tt.change != "" {
				if _, err := f.put(tt.change, "x"); err != nil {
					t.Fatal(err)
				}
			}
			want := errChanged
			if tt.holds {
				want = nil
			}
			what := fmt.Sprintf("%q unchanged after a PUT of %q", tt.name, tt.change)
			if err := f.Try(t.Context(), unchanged(tt.name, since)); !errors.Is(err, want) {
				t.Errorf("%s: error %v, want %v", what, err, want)
			}
			_, _, err := f.Move(t.Context(), "a/e", "b/d/e", tree.CopyOptions{}, unchanged(tt.name, since))
			if !errors.Is(err, want) {
				t.Errorf("%s: a MOVE to another share: error %v, want %v", what, err, want)
			}
			_, there := f.Stat(t.Context(), "a/e", tree.ReadOptions{})
			if gone := errors.Is(there, tree.ErrNotExist); gone != tt.holds {
				t.Errorf("%s: the source is gone: %v", what, gone)
			}
		}
	})
}

func TestShareThatIsAwayIsToldAgain(t *testing.T) {
	f := open(t, backends["memory"], "a/f=1", "b/g=2")
	begin := f.now()
	away := false
	f.b.on = func(string, string) error {
		if away {
			return fmt.Errorf("its disk: %w", tree.ErrUnavailable)
		}
		return nil
	}
	away = true
	if _, err := f.put("a/x", "1"); err != nil {
		t.Fatal(err)
	}
	f.wantChanges("the others", begin, "PUT a/x")
	without := f.now()
	f.wantChanges("still away", without)
	away = false
	f.wantChanges("it is back", without, "disk b again")
	f.wantChanges("one that was told before", begin, "PUT a/x")
	err := f.Try(t.Context(), tree.Condition{Names: []string{"b"}, Check: func(v tree.View) error {
		_, err := v.(tree.FeedView).Since("b", without, nil)
		return err
	}})
	if !errors.Is(err, tree.ErrNotExist) {
		t.Errorf("a condition on what was not known: error %v", err)
	}
}

func TestCursorsOfOtherShares(t *testing.T) {
	store := func(paths ...string) *shares.Store {
		var all []shares.Share
		for _, path := range paths {
			all = append(all, shares.Share{Path: path, Store: memtree.New(memtree.Options{})})
		}
		s, err := shares.New(all, shares.Options{})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	s := store("a", "b")
	own, err := s.Now(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, others := range [][]string{{"a"}, {"a", "b", "c"}, {"a", "c"}} {
		other, err := store(others...).Now(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, cursor := range []tree.Cursor{other, own + "x", own[:len(own)-1], own + ",", "x", ","} {
			for _, err := range s.Changes(t.Context(), cursor, own) {
				if !errors.Is(err, tree.ErrNotExist) {
					t.Errorf("the cursor %q of %q: error %v", cursor, others, err)
				}
			}
		}
	}
	var many []string
	for i := range 65 {
		many = append(many, fmt.Sprint("s", i))
	}
	if _, err := store(many...).Now(t.Context()); !errors.Is(err, tree.ErrUnsupported) {
		t.Errorf("65 shares: error %v", err)
	}
	if c, err := store(many[1:]...).Now(t.Context()); err != nil || len(c) > 4<<10 {
		t.Errorf("64 shares: a cursor of %d bytes, error %v", len(c), err)
	}
}

// A follower gets the changes of all shares as they come, and those that a share could not tell as one.
func TestFollowerOfShares(t *testing.T) {
	f := open(t, backends["memory"])
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	lost := false
	f.b.on = func(method, _ string) error {
		if method == "Changes" && !lost {
			lost = true
			return tree.ErrNotExist
		}
		return nil
	}
	steps := []struct{ put, want string }{{"", "disk b again"}, {"a/x", "PUT a/x"}, {"b/y", "PUT b/y"}, {"a/z", "PUT a/z"}}
	i := 0
	for c, err := range f.Changes(ctx, f.now(), "") {
		if i == len(steps) {
			if !errors.Is(err, context.Canceled) {
				t.Errorf("at the end: %+v, error %v", c, err)
			}
			return
		}
		if err != nil || told(c) != steps[i].want {
			t.Fatalf("%q, error %v; want %q", told(c), err, steps[i].want)
		}
		if i++; i == len(steps) {
			cancel()
		} else if _, err := f.put(steps[i].put, "1"); err != nil {
			t.Fatal(err)
		}
	}
	t.Error("it ends without an error")
}
