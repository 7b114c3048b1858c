// Package treetest is the conformance suite for implementations of [tree.Store]. Each sentence of that contract is a
// test here.
//
// A backend says in words which promises it cannot keep (see [Backend]). The suite skips nothing for that. It asserts
// the weaker promise, and logs the reason.
package treetest

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"r-seed-1f3a754f.example/ifmatch/tree"
)

// A Backend says how to open a store, and which promises the store cannot keep.
type Backend struct {
	// Open opens a store of an empty tree with a clock. The store is closed when the test ends. reopen closes it and
	// opens the same tree again.
	Open func(t *testing.T, now func() time.Time) (s tree.Store, reopen func() tree.Store)

	// Each of these is "" if the store keeps the promise, and otherwise the reason.

	Forgets      string // a tree is the same after it was closed and opened again
	ForgetsDates string // a store that was opened again knows the dates that were shown before
	AnyLength    string // a segment of more than 255 bytes is ErrNameTooLong
	NoProperties string // there are dead properties (without them, setting one is ErrUnsupported)
	Trims        string // a name can end in a dot or a space
	NoHistory    string // a replaced or removed version is kept in the history
	ForgetsFeed  string // a cursor is good after the tree was closed and opened again
	EveryDate    string // a date that no client was shown counts against no other version

	// Spellings are the differences of names that the store ignores (nil: names are the same only if all bytes are).
	Spellings []Spelling
}

// A Spelling is a difference between names that a store ignores.
type Spelling struct {
	Name  string
	File  string                   // the name of a file
	Dir   string                   // the name of a collection ("": that of the file with a suffix)
	Other func(name string) string // returns another spelling of a segment
	Fold  func(name string) string // returns the common form of all spellings
	Kept  bool                     // a listing has the spelling of the creation
}

// A Clock advances only when a test says so.
type Clock struct {
	mu  sync.Mutex
	now time.Time
}

// NewClock returns a clock that shows the current time.
func NewClock() *Clock { return &Clock{now: time.Now().Round(0)} }

// Now returns the time of the clock.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// Advance moves the clock.
func (c *Clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// A group is a part of the suite.
type group struct {
	name string
	test func(*testing.T, Backend)
}

// aboutNames are the groups about names.
var aboutNames = []group{
	{"Names", testNames},
	{"Spellings", testSpellings},
	{"Forms", testForms},
}

// RunNames runs the groups about names.
func RunNames(t *testing.T, b Backend) { run(t, b, aboutNames) }

// Run runs the suite.
func Run(t *testing.T, b Backend) {
	run(t, b, append(slices.Clip(aboutNames), []group{
		{"Put", testPut},
		{"Read", testRead},
		{"Tag", testTag},
		{"Check", testCheck},
		{"Made", testMade},
		{"Mkdir", testMkdir},
		{"Remove", testRemove},
		{"CopyMove", testCopyMove},
		{"Content", testContent},
		{"Properties", testProperties},
		{"Described", testDescribed},
		{"Kept", testKept},
		{"Locks", testLocks},
		{"History", testHistory},
		{"Dates", testDates},
		{"Feed", testFeed},
		{"Uploads", testUploads},
		{"Race", testRace},
		{"Reopen", testReopen},
	}...))
}

func run(t *testing.T, b Backend, groups []group) {
	for _, group := range groups {
		t.Run(group.name, func(t *testing.T) {
			t.Parallel()
			group.test(t, b)
		})
	}
}

// A fixture is a store under test.
type fixture struct {
	tree.Store
	t      *testing.T
	ctx    context.Context
	b      Backend
	clock  *Clock
	reopen func() tree.Store
}

// open makes a fixture with a layout: "d/" is a collection, "f=content" is a file.
func open(t *testing.T, b Backend, layout ...string) *fixture {
	t.Helper()
	f := &fixture{t: t, ctx: t.Context(), b: b, clock: NewClock()}
	f.Store, f.reopen = b.Open(t, f.clock.Now)
	f.lay(layout...)
	return f
}

func (f *fixture) lay(layout ...string) {
	f.t.Helper()
	for _, line := range layout {
		if name, ok := strings.CutSuffix(line, "/"); ok {
			f.mkdir(name)
		} else {
			name, content, _ := strings.Cut(line, "=")
			f.put(name, content)
		}
	}
}

func (f *fixture) mkdir(name string) {
	f.t.Helper()
	if _, err := f.Mkdir(f.ctx, name, tree.MkdirOptions{}, tree.Condition{}); err != nil {
		f.t.Fatalf("Mkdir(%q): %v", name, err)
	}
}

func (f *fixture) put(name, content string) tree.State {
	f.t.Helper()
	s, _, err := f.tryPut(name, content, tree.Condition{})
	if err != nil {
		f.t.Fatalf("Put(%q): %v", name, err)
	}
	return s
}

func (f *fixture) tryPut(name, content string, check tree.Condition) (tree.State, bool, error) {
	return f.Put(f.ctx, name, strings.NewReader(content), tree.PutOptions{Length: int64(len(content))}, check)
}

func (f *fixture) stat(name string, want tree.Want) tree.State {
	f.t.Helper()
	s, err := f.Stat(f.ctx, name, tree.ReadOptions{Want: want})
	if err != nil {
		f.t.Fatalf("Stat(%q): %v", name, err)
	}
	return s
}

func (f *fixture) wantErr(what string, err, want error) {
	f.t.Helper()
	if !errors.Is(err, want) {
		f.t.Errorf("%s: got error %v, want %v", what, err, want)
	}
}

// wantTree compares the tree with a layout, in any order.
func (f *fixture) wantTree(want ...string) {
	f.t.Helper()
	got, want := Layout(f.t, f.Store), slices.Sorted(slices.Values(want))
	if !slices.Equal(got, want) {
		f.t.Errorf("the tree is\n  %q\nwant\n  %q", got, want)
	}
}

// unchanged calls do, and fails if that has changed anything visible.
func (f *fixture) unchanged(what string, do func()) {
	f.t.Helper()
	before := Snapshot(f.t, f.Store)
	do()
	if after := Snapshot(f.t, f.Store); !slices.Equal(before, after) {
		f.t.Errorf("%s has changed\n  %q\nto\n  %q", what, before, after)
	}
}

// Layout returns a tree as sorted lines: "d/" for a collection, "f=content" for a file.
func Layout(t testing.TB, s tree.Store) (lines []string) {
	t.Helper()
	walk(t, s, "", func(state tree.State, content string) {
		lines = append(lines, line(state, content))
	})
	slices.Sort(lines)
	return lines
}

// Snapshot returns everything visible in a tree but the times, as sorted lines.
func Snapshot(t testing.TB, s tree.Store) (lines []string) {
	t.Helper()
	describe := func(state tree.State, content string) {
		text := fmt.Sprintf("%s tag=%s", line(state, content), state.Tag)
		for _, p := range state.Properties {
			text += fmt.Sprintf(" {%s}%s=%s", p.XMLName.Space, p.XMLName.Local, p.InnerXML)
		}
		for _, l := range state.Locks {
			text += fmt.Sprintf(" %+v", l)
		}
		lines = append(lines, text)
	}
	root, err := s.Stat(t.Context(), "", tree.ReadOptions{Want: tree.WantProperties | tree.WantLocks})
	if err != nil {
		t.Fatalf("Stat of the root: %v", err)
	}
	describe(root, "")
	walk(t, s, "", describe)
	slices.Sort(lines)
	return lines
}

func line(state tree.State, content string) string {
	if state.Collection {
		return state.Name + "/"
	}
	return state.Name + "=" + content
}

// walk visits all members below a collection. It fails if the content of a file is not that of its State.
func walk(t testing.TB, s tree.Store, dir string, visit func(state tree.State, content string)) {
	t.Helper()
	for state, err := range Members(t.Context(), s, dir, tree.WantTag|tree.WantProperties|tree.WantLocks) {
		if err != nil {
			t.Errorf("List(%q): %q: %v", dir, state.Name, err)
			continue
		}
		if !state.Exists {
			t.Errorf("List(%q) yields %q, which does not exist", dir, state.Name)
		}
		if state.Collection {
			visit(state, "")
			walk(t, s, state.Name, visit)
			continue
		}
		content, opened := read(t, s, state.Name)
		if opened.Tag != state.Tag || opened.Size != state.Size {
			t.Errorf("%q is listed as %+v and opens as %+v", state.Name, state, opened)
		}
		visit(state, content)
	}
}

// read reads a file. It fails if the content is not that of the State.
func read(t testing.TB, s tree.Store, name string) (string, tree.State) {
	t.Helper()
	content, state, err := s.Open(t.Context(), name, tree.ReadOptions{Want: tree.WantTag}, tree.Condition{})
	if err != nil {
		t.Errorf("Open(%q): %v", name, err)
		return "", tree.State{}
	}
	defer content.Close()
	data, err := ReadAll(content, state)
	if err != nil {
		t.Errorf("reading %q: %v", name, err)
	}
	if state.Tag != TagOf(data) || state.Size != int64(len(data)) {
		t.Errorf("%q opens as %+v, and has %d bytes with the tag %s", name, state, len(data), TagOf(data))
	}
	return data, state
}

// ReadAll returns the content of an opened file with this State.
func ReadAll(content tree.Content, state tree.State) (string, error) {
	var all strings.Builder
	_, err := content.WriteRange(context.Background(), &all, 0, state.Size)
	return all.String(), err
}

// TagOf returns the tag of a content.
func TagOf(content string) tree.ETag { return tree.TagOf(sha256.Sum256([]byte(content))) }

// errStale is the error of the conditions of this package.
var errStale = errors.New("the version is not there any more")

// Members yields a List with Depth 1, without the collection itself.
func Members(ctx context.Context, s tree.Store, dir string, want tree.Want) iter.Seq2[tree.State, error] {
	return func(yield func(tree.State, error) bool) {
		for state, err := range s.List(ctx, dir, tree.ListOptions{Want: want, Depth: 1}, tree.Condition{}) {
			if err == nil && state.Name == dir {
				continue
			}
			if !yield(state, err) {
				return
			}
		}
	}
}

// If returns a condition on the version that a check has seen. The check may look at some names.
func If(check tree.Check, names ...string) tree.Condition {
	return tree.Condition{Exact: true, Names: names, Check: check}
}

// IfTag returns a condition that a name has a tag, as If-Match does.
func IfTag(name string, tag tree.ETag) tree.Condition {
	return If(func(v tree.View) error {
		s, err := v.State(name)
		switch {
		case err != nil:
			return err
		case !s.Exists || s.Collection:
			return errStale
		case s.Tag == "":
			return tree.ErrTagUnknown
		case s.Tag != tag:
			return errStale
		}
		return nil
	}, name)
}

// IfAbsent returns a condition that a name is free, as If-None-Match: * does.
func IfAbsent(name string) tree.Condition {
	return If(func(v tree.View) error {
		s, err := v.State(name)
		if err == nil && s.Exists {
			err = errStale
		}
		return err
	}, name)
}
