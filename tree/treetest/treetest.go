// Package treetest is the one conformance suite for implementations of [tree.Store]: each sentence of that contract is a
// test here.
//
// What a backend cannot promise it says in words (see [Backend]). Nothing is skipped for it: where less is promised, the
// suite asserts the less, and logs the reason.
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

	"ifmatch/tree"
)

// A Backend says how to open a store, and what it cannot promise.
type Backend struct {
	// Open opens a store of an empty tree, with this clock; it is closed when the test ends. reopen closes it and opens
	// the same tree again.
	Open func(t *testing.T, now func() time.Time) (s tree.Store, reopen func() tree.Store)

	// Each is "" where the promise is kept, and else the reason why it cannot be.

	Forgets      string // what is reopened is what was closed
	ForgetsDates string // what is reopened knows the dates that were shown before
	AnyLength    string // a segment of more than 255 bytes is ErrNameTooLong
	NoProperties string // there are dead properties; without them, setting one is ErrUnsupported
	Trims        string // a name can end in a dot or a space
	NoHistory    string // what gives way to a write is kept as a version

	// Spellings are how names differ that the store takes for one; nil where two names are the same only if every byte is.
	Spellings []Spelling
}

// A Spelling is a way in which names differ that a store takes for one.
type Spelling struct {
	Name  string
	File  string                   // a name, of a file
	Dir   string                   // another one, of a collection; "": the same with something behind it
	Other func(name string) string // returns another spelling of a segment
	Fold  func(name string) string // returns what all of them have in common
	Kept  bool                     // what a name is made as is what is seen of it
}

// A Clock stands still until it is told to go on.
type Clock struct {
	mu  sync.Mutex
	now time.Time
}

// NewClock returns a clock that shows the time of its making.
func NewClock() *Clock { return &Clock{now: time.Now().Round(0)} }

// Now returns what the clock shows.
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

// aboutNames are the groups that are about what a name stands for.
var aboutNames = []group{
	{"Names", testNames},
	{"Spellings", testSpellings},
	{"Forms", testForms},
}

// RunNames runs the part of the suite that is about names.
func RunNames(t *testing.T, b Backend) { run(t, b, aboutNames) }

// Run runs the suite.
func Run(t *testing.T, b Backend) {
	run(t, b, append(slices.Clip(aboutNames), []group{
		{"Put", testPut},
		{"Read", testRead},
		{"Tag", testTag},
		{"Check", testCheck},
		{"Mkdir", testMkdir},
		{"Remove", testRemove},
		{"CopyMove", testCopyMove},
		{"Content", testContent},
		{"Properties", testProperties},
		{"Kept", testKept},
		{"Locks", testLocks},
		{"History", testHistory},
		{"Dates", testDates},
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

// open makes a fixture with this layout: "d/" is a collection, "f=content" a file.
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

// wantTree compares what is there with a layout, in any order.
func (f *fixture) wantTree(want ...string) {
	f.t.Helper()
	got, want := Layout(f.t, f.Store), slices.Sorted(slices.Values(want))
	if !slices.Equal(got, want) {
		f.t.Errorf("the tree is\n  %q\nwant\n  %q", got, want)
	}
}

// unchanged calls do and says so if anything that can be seen has changed by it.
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

// Snapshot returns all that can be seen of a tree but the times, as sorted lines.
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

// walk visits all that is below a collection. Each file must be what its State says.
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

// read reads a file. Its content must be what the State says.
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

// ReadAll returns the content that was opened with this State.
func ReadAll(content tree.Content, state tree.State) (string, error) {
	var all strings.Builder
	_, err := content.WriteRange(context.Background(), &all, 0, state.Size)
	return all.String(), err
}

// TagOf returns the tag that this content must have.
func TagOf(content string) tree.ETag { return tree.TagOf(sha256.Sum256([]byte(content))) }

// errStale is what the checks here refuse with.
var errStale = errors.New("the version is not there any more")

// Members yields what List does at Depth 1, but for the collection itself.
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

// If returns a condition on the version that a check has seen, which may look at these names.
func If(check tree.Check, names ...string) tree.Condition {
	return tree.Condition{Exact: true, Names: names, Check: check}
}

// IfTag returns a condition that a name has this tag: what If-Match asks.
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

// IfAbsent returns a condition that nothing is there: what If-None-Match: * asks.
func IfAbsent(name string) tree.Condition {
	return If(func(v tree.View) error {
		s, err := v.State(name)
		if err == nil && s.Exists {
			err = errStale
		}
		return err
	}, name)
}
