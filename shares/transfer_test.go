package shares_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"r-seed-1f3a754f.example/ifmatch/shares"
	"r-seed-1f3a754f.example/ifmatch/tree"
	"r-seed-1f3a754f.example/ifmatch/tree/memtree"
)

var transfers = []struct {
	name    string
	layout  []string
	from    string
	to      string
	opts    tree.CopyOptions
	created bool
	want    []string // the destination, and all that is not the source
	source  []string // the source
}{
	{"a file", nil, "a/f", "b/g", tree.CopyOptions{}, true, []string{"b/g=1"}, []string{"a/f=1"}},
	{"an empty file", nil, "a/f", "b/g", tree.CopyOptions{}, true, []string{"b/g="}, []string{"a/f="}},
	{"a file over a file", []string{"b/g=2"}, "a/f", "b/g", tree.CopyOptions{}, false, []string{"b/g=1"}, []string{"a/f=1"}},
	{"a file over a collection", []string{"b/g/", "b/g/h=2"}, "a/f", "b/g", tree.CopyOptions{}, false, []string{"b/g=1"},
		[]string{"a/f=1"}},
	{"a collection", nil, "a/d", "b/e", tree.CopyOptions{}, true, []string{"b/e/", "b/e/f=1", "b/e/s/", "b/e/s/g=2", "b/e/t/"},
		[]string{"a/d/", "a/d/f=1", "a/d/s/", "a/d/s/g=2", "a/d/t/"}},
	{"an empty collection", nil, "a/d", "b/e", tree.CopyOptions{}, true, []string{"b/e/"}, []string{"a/d/"}},
	{"a collection over a file", []string{"b/e=2"}, "a/d", "b/e", tree.CopyOptions{}, false, []string{"b/e/", "b/e/f=1"},
		[]string{"a/d/", "a/d/f=1"}},
	{"a collection over a collection", []string{"b/e/", "b/e/old=2"}, "a/d", "b/e", tree.CopyOptions{}, false,
		[]string{"b/e/", "b/e/f=1"}, []string{"a/d/", "a/d/f=1"}},
	{"to a name in a collection", []string{"b/x/"}, "a/f", "b/x/g", tree.CopyOptions{NoOverwrite: true}, true,
		[]string{"b/x/", "b/x/g=1"}, []string{"a/f=1"}},
	{"a name that needs escaping", nil, "a/ü %2F", "b/ü %2F", tree.CopyOptions{}, true, []string{"b/ü %2F=1"},
		[]string{"a/ü %2F=1"}},
}

func TestTransfer(t *testing.T) {
	each(t, func(t *testing.T, backend func(testing.TB) tree.Store) {
		for _, test := range transfers {
			for _, move := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s, move=%v", test.name, move), func(t *testing.T) {
					f := open(t, backend, append(slices.Clip(test.layout), test.source...)...)
					f.patch(test.from, "own")
					before, err := f.Stat(t.Context(), test.from, tree.ReadOptions{Want: tree.WantTag})
					if err != nil {
						t.Fatal(err)
					}
					do, want := f.Copy, append(slices.Clone(test.want), test.source...)
					if move {
						do, want = f.Move, test.want
					}
					s, created, err := do(t.Context(), test.from, test.to, test.opts, tree.Condition{})
					if err != nil || created != test.created || s.Name != test.to || s.Tag != before.Tag {
						t.Errorf("got %+v, %v, error %v; want the tag %s", s, created, err, before.Tag)
					}
					f.wantTree(want...)
					if got, want := f.properties(test.to), []string{"own", "x"}[:len(f.properties(test.to))]; !slices.Equal(got, want) ||
						len(got) == 0 {
						t.Errorf("the properties are %q", got)
					}
					if move && !before.Collection && !s.Modified.Equal(before.Modified) {
						t.Errorf("it is of %v, want %v", s.Modified, before.Modified)
					}
				})
			}
		}
	})
}

// A replaced file leaves none of its properties to the copy, and is in the history of its share.
func TestTransferReplacesProperties(t *testing.T) {
	each(t, func(t *testing.T, backend func(testing.TB) tree.Store) {
		f := open(t, backend, "a/f=1", "b/g=2")
		f.patch("b/g", "old")
		if _, _, err := f.Copy(t.Context(), "a/f", "b/g", tree.CopyOptions{}, tree.Condition{}); err != nil {
			t.Fatal(err)
		}
		if got := f.properties("b/g"); len(got) > 0 {
			t.Errorf("it has %q", got)
		}
		var kept []string
		for v, err := range f.Versions(t.Context(), "", tree.VersionOptions{}) {
			if err != nil {
				t.Fatal(err)
			}
			kept = append(kept, v.Name)
		}
		if !slices.Equal(kept, []string{"b/g"}) {
			t.Errorf("the history has %q", kept)
		}
	})
}

func TestShallowCopy(t *testing.T) {
	each(t, func(t *testing.T, backend func(testing.TB) tree.Store) {
		f := open(t, backend, "a/d/", "a/d/f=1")
		f.patch("a/d", "own")
		_, _, err := f.Copy(t.Context(), "a/d", "b/e", tree.CopyOptions{Shallow: true}, tree.Condition{})
		if err != nil {
			t.Fatal(err)
		}
		f.wantTree("a/d/", "a/d/f=1", "b/e/")
		if got := f.properties("b/e"); !slices.Equal(got, []string{"own"}) {
			t.Errorf("it has %q", got)
		}
	})
}

// A whole share is copied into another one, without its reserved names.
func TestCopyOfAWholeShare(t *testing.T) {
	each(t, func(t *testing.T, backend func(testing.TB) tree.Store) {
		f := open(t, backend, "a/d/", "a/d/f=1", "b/x=2")
		if _, err := f.a.Mkdir(t.Context(), ".ifmatch-copy-left", tree.MkdirOptions{}, tree.Condition{}); err != nil {
			t.Fatal(err)
		}
		if _, _, err := f.Copy(t.Context(), "a", "b/all", tree.CopyOptions{}, tree.Condition{}); err != nil {
			t.Fatal(err)
		}
		f.wantTree("a/d/", "a/d/f=1", "b/all/", "b/all/d/", "b/all/d/f=1", "b/x=2")
	})
}

func TestTransferRefuses(t *testing.T) {
	each(t, func(t *testing.T, backend func(testing.TB) tree.Store) {
		for _, test := range []struct {
			name, from, to string
			opts           tree.CopyOptions
			want           error
		}{
			{"a missing source", "a/none", "b/g", tree.CopyOptions{}, tree.ErrNotExist},
			{"a missing collection", "a/f", "b/none/g", tree.CopyOptions{}, tree.ErrNoParent},
			{"a file in place of a collection", "a/f", "b/g/h", tree.CopyOptions{}, tree.ErrNoParent},
			{"to overwrite", "a/f", "b/g", tree.CopyOptions{NoOverwrite: true}, tree.ErrExist},
			{"to overwrite a share", "a/f", "b", tree.CopyOptions{}, tree.ErrPermission},
			{"a new share", "a/f", "new", tree.CopyOptions{}, tree.ErrPermission},
			{"a name in no share", "a/f", "none/g", tree.CopyOptions{}, tree.ErrNoParent},
			{"the root as source", "", "b/g", tree.CopyOptions{}, tree.ErrPermission},
			{"the root as destination", "a/f", "", tree.CopyOptions{}, tree.ErrPermission},
			{"a reserved source", "a/.ifmatch-copy-x", "b/g", tree.CopyOptions{}, tree.ErrReserved},
			{"a reserved destination", "a/f", "b/.IFMATCH-Copy-X. /g", tree.CopyOptions{}, tree.ErrReserved},
		} {
			for _, move := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s, move=%v", test.name, move), func(t *testing.T) {
					f := open(t, backend, "a/f=1", "b/g=2")
					do := f.Copy
					if move {
						do = f.Move
					}
					_, _, err := do(t.Context(), test.from, test.to, test.opts, tree.Condition{})
					if !errors.Is(err, test.want) {
						t.Errorf("got error %v, want %v", err, test.want)
					}
					f.wantTree("a/f=1", "b/g=2")
				})
			}
		}
		f := open(t, backend, "a/f=1")
		if _, _, err := f.Move(t.Context(), "a", "b/g", tree.CopyOptions{}, tree.Condition{}); !errors.Is(err, tree.ErrPermission) {
			t.Errorf("MOVE of a share: error %v", err)
		}
		f.wantTree("a/f=1")
	})
}

// Without a history, a file that comes into a collection at the last instant of a MOVE would be lost.
func TestMoveOfACollectionNeedsAHistory(t *testing.T) {
	a, b := memtree.New(memtree.Options{}), memtree.New(memtree.Options{})
	s := two(t, shares.Share{Path: "a", Store: a, NoHistory: true}, shares.Share{Path: "b", Store: b})
	f := &fixture{Store: s, t: t}
	if err := mkdir(f, "a/d"); err != nil {
		t.Fatal(err)
	}
	if _, err := f.put("a/f", "1"); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.Move(t.Context(), "a/d", "b/d", tree.CopyOptions{}, tree.Condition{}); !errors.Is(err, tree.ErrPermission) {
		t.Errorf("got error %v", err)
	}
	if _, _, err := s.Move(t.Context(), "a/f", "b/f", tree.CopyOptions{}, tree.Condition{}); err != nil {
		t.Error(err)
	}
	if _, _, err := s.Copy(t.Context(), "a/d", "b/d", tree.CopyOptions{}, tree.Condition{}); err != nil {
		t.Error(err)
	}
	f.wantTree("a/d/", "b/d/", "b/f=1")
}

// A copy that a crash has left is hidden, and a later copy removes it once it is a day old.
func TestLeftoversOfCopies(t *testing.T) {
	now := time.Now()
	clock := func() time.Time { return now }
	a, b := memtree.New(memtree.Options{Now: clock}), memtree.New(memtree.Options{Now: clock})
	s, err := shares.New([]shares.Share{{Path: "a", Store: a}, {Path: "b", Store: b}}, shares.Options{Now: clock})
	if err != nil {
		t.Fatal(err)
	}
	f := &fixture{Store: s, t: t}
	if _, err := f.put("a/f", "1"); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{".ifmatch-copy-left", ".ifmatch-copy-left/f"} {
		if _, err := b.Mkdir(t.Context(), name, tree.MkdirOptions{}, tree.Condition{}); err != nil {
			t.Fatal(err)
		}
	}
	f.wantTree("a/f=1")
	f.patch("a/f", "own")
	left := func() bool {
		_, err := b.Stat(t.Context(), ".ifmatch-copy-left", tree.ReadOptions{})
		return err == nil
	}
	for _, test := range []struct {
		after time.Duration
		want  bool
	}{{0, true}, {23 * time.Hour, true}, {2 * time.Hour, false}} {
		now = now.Add(test.after)
		if _, _, err := s.Copy(t.Context(), "a/f", "b/f", tree.CopyOptions{}, tree.Condition{}); err != nil {
			t.Fatal(err)
		}
		if left() != test.want {
			t.Errorf("after %v it is there: %v", test.after, left())
		}
	}
	f.wantTree("a/f=1", "b/f=1")
}
