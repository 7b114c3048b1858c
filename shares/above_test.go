package shares_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"r-seed-1f3a754f.example/ifmatch/shares"
	"r-seed-1f3a754f.example/ifmatch/tree"
	"r-seed-1f3a754f.example/ifmatch/tree/memtree"
)

// openTeam makes shares whose paths have one and two segments.
func openTeam(t *testing.T) (s *shares.Store, docs *spy) {
	t.Helper()
	docs = &spy{Store: memtree.New(memtree.Options{})}
	s, err := shares.New([]shares.Share{
		{Path: "team/docs", Store: docs},
		{Path: "team/b\u00fccher", Store: memtree.New(memtree.Options{})},
		{Path: "home", Store: memtree.New(memtree.Options{})},
	}, shares.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"home/f", "team/docs/g", "team/b\u00fccher/h"} {
		if _, _, err := s.Put(t.Context(), name, strings.NewReader("1"), tree.PutOptions{Length: 1}, tree.Condition{}); err != nil {
			t.Fatal(err)
		}
	}
	return s, docs
}

func TestNewRefusesPaths(t *testing.T) {
	for _, paths := range [][]string{
		{""}, {"a", "a"}, {"a", "a/b"}, {"a/b", "a"}, {"a/b/c", "a"}, {"/a"}, {"a/"}, {"a//b"}, {".."}, {"a/./b"}, {},
	} {
		var all []shares.Share
		for _, path := range paths {
			all = append(all, shares.Share{Path: path, Store: memtree.New(memtree.Options{})})
		}
		if _, err := shares.New(all, shares.Options{}); err == nil {
			t.Errorf("%q is accepted", paths)
		}
	}
	for _, paths := range [][]string{{"a", "ab"}, {"a", "A"}, {"a/b", "a/c", "b"}, {"a b"}} {
		var all []shares.Share
		for _, path := range paths {
			all = append(all, shares.Share{Path: path, Store: memtree.New(memtree.Options{})})
		}
		if s, err := shares.New(all, shares.Options{}); err != nil || !slices.Equal(s.Paths(), paths) {
			t.Errorf("%q: error %v", paths, err)
		}
	}
}

// Shares whose paths differ only in case are two, if they are given at all.
func TestSharesThatLookAlike(t *testing.T) {
	s := two(t, shares.Share{Path: "a", Store: memtree.New(memtree.Options{})},
		shares.Share{Path: "A", Store: memtree.New(memtree.Options{})})
	f := &fixture{Store: s, t: t}
	for _, name := range []string{"a/f", "A/f", "A/F"} {
		if _, err := f.put(name, name); err != nil {
			t.Fatal(err)
		}
	}
	f.wantTree("A/F=A/F", "A/f=A/f", "a/f=a/f")
	if _, _, err := s.Move(t.Context(), "a/f", "A/f", tree.CopyOptions{}, tags(map[string]string{"a/f": "a/f", "A/f": "A/f"})); err != nil {
		t.Error(err)
	}
	f.wantTree("A/F=A/F", "A/f=a/f")
}

// TestWritesAboveShares: every write to a collection above the shares, to a share as a whole, or to a name beside one
// is refused, and changes nothing.
func TestWritesAboveShares(t *testing.T) {
	ctx := t.Context()
	methods := map[string]func(s *shares.Store, name string) error{
		"Put": func(s *shares.Store, name string) error {
			_, _, err := s.Put(ctx, name, strings.NewReader("x"), tree.PutOptions{Length: 1}, tree.Condition{})
			return err
		},
		"Mkdir": func(s *shares.Store, name string) error {
			_, err := s.Mkdir(ctx, name, tree.MkdirOptions{}, tree.Condition{})
			return err
		},
		"Remove": func(s *shares.Store, name string) error { return s.Remove(ctx, name, tree.Condition{}) },
		"Move": func(s *shares.Store, name string) error {
			_, _, err := s.Move(ctx, name, "home/x", tree.CopyOptions{}, tree.Condition{})
			return err
		},
		"Move to": func(s *shares.Store, name string) error {
			_, _, err := s.Move(ctx, "home/f", name, tree.CopyOptions{}, tree.Condition{})
			return err
		},
		"Copy to": func(s *shares.Store, name string) error {
			_, _, err := s.Copy(ctx, "home/f", name, tree.CopyOptions{}, tree.Condition{})
			return err
		},
		"Lock": func(s *shares.Store, name string) error {
			_, _, err := s.Lock(ctx, tree.LockRequest{Root: name, Infinite: true, Timeout: time.Hour}, tree.Condition{})
			return err
		},
		"Unlock": func(s *shares.Store, name string) error { return s.Unlock(ctx, name, "token", tree.Condition{}) },
		"Refresh": func(s *shares.Store, name string) error {
			_, err := s.Refresh(ctx, name, []string{"token"}, time.Hour, tree.Condition{})
			return err
		},
		"Patch": func(s *shares.Store, name string) error {
			return s.PatchProperties(ctx, name, tree.Patch{Modified: time.Unix(1, 0)}, tree.Condition{})
		},
	}
	fixed, none, parent := tree.ErrPermission, tree.ErrNotExist, tree.ErrNoParent
	for _, test := range []struct {
		name string
		want map[string]error
	}{
		{"", map[string]error{"Put": tree.ErrIsCollection, "Mkdir": tree.ErrExist}},
		{"team", map[string]error{"Put": tree.ErrIsCollection, "Mkdir": tree.ErrExist}},
		{"new", map[string]error{"Remove": none, "Move": none, "Patch": none}},
		{"team/new", map[string]error{"Remove": none, "Move": none, "Patch": none}},
		{"home/.ifmatch-copy-x", map[string]error{"Put": tree.ErrReserved, "Mkdir": tree.ErrReserved, "Remove": tree.ErrReserved,
			"Move": tree.ErrReserved, "Move to": tree.ErrReserved, "Copy to": tree.ErrReserved, "Lock": tree.ErrReserved,
			"Patch": tree.ErrReserved}},
		{"TEAM/docs/x", map[string]error{"Put": parent, "Mkdir": parent, "Remove": none, "Move": none, "Move to": parent,
			"Copy to": parent, "Lock": parent, "Patch": none}},
		{"team/docs", map[string]error{"Put": tree.ErrIsCollection, "Mkdir": tree.ErrExist, "Lock": nil, "Patch": nil}},
	} {
		for method, do := range methods {
			t.Run(fmt.Sprintf("%s %q", method, test.name), func(t *testing.T) {
				s, _ := openTeam(t)
				want, ok := test.want[method]
				switch {
				case method == "Unlock" || method == "Refresh":
					want = tree.ErrNoLock
				case !ok:
					want = fixed
				}
				before := layoutOf(t, s, "", -1)
				if err := do(s, test.name); !errors.Is(err, want) {
					t.Errorf("got error %v, want %v", err, want)
				}
				if after := layoutOf(t, s, "", -1); !slices.Equal(before, after) {
					t.Errorf("it has changed %q to %q", before, after)
				}
			})
		}
	}
}

// layoutOf lists names. Those with an error end in "!".
func layoutOf(t *testing.T, s tree.Store, dir string, depth int) (names []string) {
	t.Helper()
	for state, err := range s.List(t.Context(), dir, tree.ListOptions{Depth: depth}, tree.Condition{}) {
		name := state.Name
		if state.Collection {
			name += "/"
		}
		if err != nil {
			name += "!"
		}
		names = append(names, name)
	}
	return names
}

func TestListAboveShares(t *testing.T) {
	s, docs := openTeam(t)
	for _, test := range []struct {
		dir   string
		depth int
		want  []string
	}{
		{"", 0, []string{"/"}},
		{"", 1, []string{"/", "home/", "team/"}},
		{"", 2, []string{"/", "home/", "home/f", "team/", "team/bücher/", "team/docs/"}},
		{"", -1, []string{"/", "home/", "home/f", "team/", "team/bücher/", "team/bücher/h", "team/docs/", "team/docs/g"}},
		{"team", 1, []string{"team/", "team/bücher/", "team/docs/"}},
		{"team", -1, []string{"team/", "team/bücher/", "team/bücher/h", "team/docs/", "team/docs/g"}},
		{"team/docs", 1, []string{"team/docs/", "team/docs/g"}},
		{"new", 1, []string{"!"}},
	} {
		if got := layoutOf(t, s, test.dir, test.depth); !slices.Equal(got, test.want) {
			t.Errorf("%q to depth %d: got %q, want %q", test.dir, test.depth, got, test.want)
		}
	}
	t.Run("with a limit", func(t *testing.T) {
		for limit, want := range map[int]error{0: nil, 7: nil, 6: tree.ErrTooMany, 3: tree.ErrTooMany, 1: tree.ErrTooMany} {
			var first error
			for _, first = range s.List(t.Context(), "", tree.ListOptions{Depth: -1, Limit: limit}, tree.Condition{}) {
				break
			}
			if !errors.Is(first, want) {
				t.Errorf("a limit of %d: error %v, want %v", limit, first, want)
			}
		}
	})
	t.Run("of what is shown", func(t *testing.T) {
		opts := tree.ListOptions{Depth: -1, Limit: 3, Show: func(name string, _ *string, _ bool) bool {
			return name == "team" || strings.HasPrefix(name, "team/docs")
		}}
		var got []string
		for state, err := range s.List(t.Context(), "", opts, tree.Condition{}) {
			if err != nil {
				t.Error(err)
			}
			got = append(got, state.Name)
		}
		if want := []string{"", "team", "team/docs", "team/docs/g"}; !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	})
	t.Run("that the caller ends", func(t *testing.T) {
		for n := 1; n <= 8; n++ {
			left := n
			for range s.List(t.Context(), "", tree.ListOptions{Depth: -1}, tree.Condition{}) {
				if left--; left == 0 {
					break
				}
			}
		}
	})
	t.Run("while a share is away", func(t *testing.T) {
		docs.on = func(string, string) error {
			return &tree.StorageError{Kind: tree.ErrUnavailable, Hint: "it is away"}
		}
		defer func() { docs.on = nil }()
		if got, want := layoutOf(t, s, "team", 1), []string{"team/", "team/bücher/", "team/docs/"}; !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
		want := []string{"team/", "team/bücher/", "team/bücher/h", "team/docs/!"}
		if got := layoutOf(t, s, "team", -1); !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
		if got := layoutOf(t, s, "team/docs", 1); !slices.Equal(got, []string{"!"}) {
			t.Errorf("got %q", got)
		}
		if _, err := s.Stat(t.Context(), "team/docs", tree.ReadOptions{}); !errors.Is(err, tree.ErrUnavailable) {
			t.Errorf("Stat of the share: error %v", err)
		}
		if _, err := s.Stat(t.Context(), "home/f", tree.ReadOptions{}); err != nil {
			t.Errorf("Stat in another share: %v", err)
		}
		if _, _, err := s.Move(t.Context(), "home/f", "team/docs/f", tree.CopyOptions{}, tree.Condition{}); !errors.Is(err,
			tree.ErrUnavailable) {
			t.Errorf("MOVE to it: error %v", err)
		}
		if _, err := s.Stat(t.Context(), "home/f", tree.ReadOptions{}); err != nil {
			t.Errorf("Stat of the source of the MOVE: %v", err)
		}
	})
}

func TestStatAboveShares(t *testing.T) {
	s, _ := openTeam(t)
	for name, want := range map[string]bool{"": true, "team": true, "team/docs": false, "home": false, "home/f": false} {
		state, err := s.Stat(t.Context(), name, tree.ReadOptions{Want: tree.WantLocks})
		if err != nil || state.Name != name || state.Fixed != want {
			t.Errorf("%q: got %+v, error %v", name, state, err)
		}
	}
	for _, name := range []string{"new", "team/new", "Team", "home2", "home/f/x", "team\x00"} {
		if state, err := s.Stat(t.Context(), name, tree.ReadOptions{}); !errors.Is(err, tree.ErrNotExist) {
			t.Errorf("%q: got %+v, error %v", name, state, err)
		}
	}
	for _, name := range []string{"", "team"} {
		if _, _, err := s.Open(t.Context(), name, tree.ReadOptions{}, tree.Condition{}); !errors.Is(err, tree.ErrIsCollection) {
			t.Errorf("Open of %q: error %v", name, err)
		}
	}
	if _, _, err := s.Open(t.Context(), "new", tree.ReadOptions{}, tree.Condition{}); !errors.Is(err, tree.ErrNotExist) {
		t.Errorf("Open of nothing: error %v", err)
	}
}

func TestSharesAreSpelledAsMacOSDoes(t *testing.T) {
	s, _ := openTeam(t)
	for name, want := range map[string]string{
		"team/bu\u0308cher/h": "team/bücher/h", "team/bu\u0308cher": "team/bücher", "team/docs/x": "team/docs/x",
		"new/bu\u0308": "new/bu\u0308", "": "", "team": "team", "TEAM": "TEAM",
	} {
		if got, err := s.Spelled(t.Context(), name); got != want || err != nil {
			t.Errorf("%q is spelled %q, error %v; want %q", name, got, err, want)
		}
	}
}

// The locks that a Check sees have the names of the whole tree, and those of a collection above are those of all
// shares.
func TestLocksOfShares(t *testing.T) {
	s, _ := openTeam(t)
	lock, _, err := s.Lock(t.Context(), tree.LockRequest{Root: "team/docs/g", Timeout: time.Hour}, tree.Condition{})
	if err != nil || lock.Root != "team/docs/g" {
		t.Fatalf("got %+v, error %v", lock, err)
	}
	_, _, err = s.Lock(t.Context(), tree.LockRequest{Root: "team/docs", Infinite: true, Timeout: time.Hour}, tree.Condition{})
	locked := new(tree.LockedError)
	if !errors.As(err, &locked) || locked.Lock.Root != "team/docs/g" || locked.Name != "team/docs" {
		t.Errorf("a conflict: error %+v", err)
	}
	for _, names := range [][]string{{"home/f"}, {"team/docs/g"}, nil} {
		for name, want := range map[string]int{"": 1, "team": 1, "team/docs": 1, "team/docs/g": 1, "home": 0, "new": 0, "team/bücher": 0} {
			err := s.Try(t.Context(), tree.Condition{Names: append(slices.Clone(names), name), Check: func(v tree.View) error {
				locks, err := v.Locks(name)
				if err == nil && len(locks) != want {
					err = fmt.Errorf("locks of %q: %+v", name, locks)
				}
				if covering, failed := v.Covering(name); err == nil && (len(covering) == 1) != (name == "team/docs/g") {
					err = fmt.Errorf("covering %q: %+v, error %v", name, covering, failed)
				}
				if held, failed := v.Holds(name, lock.Token); err == nil && held != (name == "team/docs/g") {
					err = fmt.Errorf("held by %q: %v, error %v", name, held, failed)
				}
				return err
			}})
			if err != nil {
				t.Error(err)
			}
		}
	}
}

// The history of a collection above the shares is that of all of them, the oldest first.
func TestHistoryOfShares(t *testing.T) {
	s, _ := openTeam(t)
	for i, name := range []string{"team/docs/g", "home/f", "team/docs/g", "team/bücher/h", "home/f"} {
		if _, _, err := s.Put(t.Context(), name, strings.NewReader(fmt.Sprint("new ", i)), tree.PutOptions{Length: -1},
			tree.Condition{}); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	var last tree.Version
	for v, err := range s.Versions(t.Context(), "", tree.VersionOptions{}) {
		if err != nil {
			t.Fatal(err)
		}
		got, last = append(got, v.Name), v
	}
	if want := []string{"team/docs/g", "home/f", "team/docs/g", "team/bücher/h", "home/f"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	content, v, err := s.OpenVersion(t.Context(), last.ID)
	if err != nil || v.Name != "home/f" || v.ID != last.ID {
		t.Fatalf("got %+v, error %v", v, err)
	}
	content.Close()
	if s, created, err := s.Restore(t.Context(), last.ID, "home/old", tree.RestoreOptions{}, tree.Condition{}); err != nil ||
		!created || s.Name != "home/old" {
		t.Errorf("Restore: got %+v, error %v", s, err)
	}
	for to, want := range map[string]error{"team/docs/x": tree.ErrUnsupported, "": tree.ErrPermission, "home": tree.ErrPermission} {
		if _, _, err := s.Restore(t.Context(), last.ID, to, tree.RestoreOptions{}, tree.Condition{}); !errors.Is(err, want) {
			t.Errorf("Restore to %q: error %v, want %v", to, err, want)
		}
	}
	for _, id := range []string{"", "1", "home//x", "home/f//0", "new//0", "team//0"} {
		if _, _, err := s.OpenVersion(t.Context(), id); !errors.Is(err, tree.ErrNotExist) {
			t.Errorf("version %q: error %v", id, err)
		}
	}
}
