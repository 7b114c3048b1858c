package shares_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"r-seed-1f3a754f.example/ifmatch/etagfs"
	"r-seed-1f3a754f.example/ifmatch/fs"
	"r-seed-1f3a754f.example/ifmatch/shares"
	"r-seed-1f3a754f.example/ifmatch/tree"
	"r-seed-1f3a754f.example/ifmatch/tree/memtree"
	"r-seed-1f3a754f.example/ifmatch/tree/treetest"
)

// A past is a store of two shares that were changed after a time.
type past struct {
	*shares.Store
	t      *testing.T
	a      *etagfs.Store // the share a
	at     time.Time
	before []string // the layout then
}

func (p *past) put(name, content string) {
	p.t.Helper()
	_, _, err := p.Put(p.t.Context(), name, strings.NewReader(content), tree.PutOptions{Length: -1}, tree.Condition{})
	if err != nil {
		p.t.Fatal(err)
	}
}

func openPast(t *testing.T) *past {
	t.Helper()
	openShare := func() *etagfs.Store {
		below, err := fs.Open(t.TempDir(), fs.Options{Durability: fs.None, History: true})
		if err != nil {
			t.Fatal(err)
		}
		s, err := etagfs.New(below, etagfs.Options{Journal: true})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		return s
	}
	p := &past{t: t, a: openShare()}
	p.Store = two(t, shares.Share{Path: "a", Store: p.a}, shares.Share{Path: "team/b", Store: openShare()})
	p.put("a/f", "1")
	p.put("a/g", "2")
	p.put("team/b/f", "3")
	p.before = treetest.Layout(t, p.Store)
	p.at = time.Now()
	p.put("a/f", "other")
	p.put("team/b/new", "other")
	if err := p.Remove(t.Context(), "a/g", tree.Condition{}); err != nil {
		t.Fatal(err)
	}
	if _, _, err := p.Move(t.Context(), "team/b/f", "a/moved", tree.CopyOptions{}, tree.Condition{}); err != nil {
		t.Fatal(err)
	}
	return p
}

func (p *past) wantThen(what string, result tree.Restored, err error) {
	p.t.Helper()
	if err != nil || len(result.Left) > 0 || !result.Existed || result.Since.IsZero() || result.Began.IsZero() {
		p.t.Errorf("%s: %+v, %v", what, result, err)
	}
	if now := treetest.Layout(p.t, p.Store); !slices.Equal(now, p.before) {
		p.t.Errorf("%s: there is\n%q, want\n%q", what, now, p.before)
	}
}

// TestRestoreAtOfShares: a share is made what it was at a time, and so are all shares below a collection.
func TestRestoreAtOfShares(t *testing.T) {
	p := openPast(t)
	try, err := p.RestoreAt(t.Context(), "", p.at, tree.RestoreAtOptions{DryRun: true})
	if err != nil || try.Steps() == 0 || slices.Equal(treetest.Layout(t, p.Store), p.before) {
		t.Errorf("a dry run: %+v, %v", try, err)
	}
	result, err := p.RestoreAt(t.Context(), "", p.at, tree.RestoreAtOptions{})
	p.wantThen("all shares", result, err)
	if result.Returned != 2 || result.Replaced != 1 || result.Removed != 2 || result.Steps() != try.Steps() {
		t.Errorf("%+v, and a dry run %+v", result, try)
	}

	p = openPast(t)
	for _, name := range []string{"a/f", "a/g", "a/moved", "team"} {
		one, err := p.RestoreAt(t.Context(), name, p.at, tree.RestoreAtOptions{})
		if err != nil {
			t.Errorf("%s: %+v, %v", name, one, err)
		}
		result = one
	}
	p.wantThen("one by one", result, err)
	if _, err := p.RestoreAt(t.Context(), "none/f", p.at, tree.RestoreAtOptions{}); !errors.Is(err, tree.ErrNotExist) {
		t.Errorf("outside of all shares: %v", err)
	}
	s := two(t, shares.Share{Path: "a", Store: p.a}, shares.Share{Path: "b", Store: memtree.New(memtree.Options{})})
	if _, err := s.RestoreAt(t.Context(), "", p.at, tree.RestoreAtOptions{}); !errors.Is(err, tree.ErrUnsupported) {
		t.Errorf("a share that cannot: %v", err)
	}
}

// TestRestoreAtOfSharesIsGuarded by locks, and by conditions of the caller, which are about names of the whole tree.
func TestRestoreAtOfSharesIsGuarded(t *testing.T) {
	p := openPast(t)
	changed := treetest.Layout(t, p.Store)
	lock, _, err := p.Lock(t.Context(), tree.LockRequest{Root: "team/b/new", Timeout: time.Hour}, tree.Condition{})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"", "team/b/new"} {
		_, err := p.RestoreAt(t.Context(), name, p.at, tree.RestoreAtOptions{})
		if locked := new(tree.LockedError); !errors.As(err, &locked) || locked.Lock.Root != "team/b/new" {
			t.Errorf("%q: %v", name, err)
		}
	}
	if now := treetest.Layout(t, p.Store); !slices.Equal(now, changed) {
		t.Errorf("there is %q, want %q", now, changed)
	}
	if err := p.Unlock(t.Context(), "team/b/new", lock.Token, tree.Condition{}); err != nil {
		t.Fatal(err)
	}
	// The copy that another request is making in a share belongs to that request.
	if _, err := p.a.Mkdir(t.Context(), ".ifmatch-copy-x", tree.MkdirOptions{}, tree.Condition{}); err != nil {
		t.Fatal(err)
	}
	var asked []string
	condition := func(name, from string) tree.Condition {
		asked = append(asked, name+" "+from)
		return tree.Condition{Names: []string{name, "team/b/new"}, Check: func(v tree.View) error {
			other, err := v.State("team/b/new")
			if err == nil && !other.Exists || name == "a/g" {
				err = errors.New("the condition is not true")
			}
			return err
		}}
	}
	result, err := p.RestoreAt(t.Context(), "a", p.at, tree.RestoreAtOptions{Condition: condition})
	slices.Sort(asked)
	if want := []string{"a/f ", "a/g ", "a/moved "}; err != nil || !slices.Equal(asked, want) {
		t.Errorf("%v; asked %q, want %q", err, asked, want)
	}
	if len(result.Left) != 1 || result.Left[0].Name != "a/g" || result.Replaced != 1 || result.Removed != 1 {
		t.Errorf("%+v", result)
	}
	if _, err := p.a.Stat(t.Context(), ".ifmatch-copy-x", tree.ReadOptions{}); err != nil {
		t.Errorf("the copy that was being made: %v", err)
	}
}
