package shares_test

import (
	"context"
	"encoding/xml"
	"io"
	"iter"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/webdav"

	"r-seed-1f3a754f.example/ifmatch/shares"
	"r-seed-1f3a754f.example/ifmatch/tree"
	"r-seed-1f3a754f.example/ifmatch/tree/memtree"
	"r-seed-1f3a754f.example/ifmatch/tree/treetest"
)

// A spy is a store whose calls a test sees, and can have fail: on is called before each of them with the name of the
// method and the name of the resource.
type spy struct {
	tree.Store
	on func(method, name string) error
}

func (s *spy) say(method, name string) error {
	if s.on == nil {
		return nil
	}
	return s.on(method, name)
}

func (s *spy) Stat(ctx context.Context, name string, opts tree.ReadOptions) (tree.State, error) {
	if err := s.say("Stat", name); err != nil {
		return tree.State{}, err
	}
	return s.Store.Stat(ctx, name, opts)
}

func (s *spy) List(
	ctx context.Context, name string, opts tree.ListOptions, cond tree.Condition,
) iter.Seq2[tree.State, error] {
	if err := s.say("List", name); err != nil {
		return func(yield func(tree.State, error) bool) { yield(tree.State{}, err) }
	}
	return s.Store.List(ctx, name, opts, cond)
}

func (s *spy) Open(
	ctx context.Context, name string, opts tree.ReadOptions, cond tree.Condition,
) (tree.Content, tree.State, error) {
	if err := s.say("Open", name); err != nil {
		return nil, tree.State{}, err
	}
	return s.Store.Open(ctx, name, opts, cond)
}

func (s *spy) Try(ctx context.Context, cond tree.Condition) error {
	if err := s.say("Try", ""); err != nil {
		return err
	}
	return s.Store.Try(ctx, cond)
}

func (s *spy) Put(
	ctx context.Context, name string, body io.Reader, opts tree.PutOptions, cond tree.Condition,
) (tree.State, bool, error) {
	if err := s.say("Put", name); err != nil {
		return tree.State{}, false, err
	}
	return s.Store.Put(ctx, name, body, opts, cond)
}

func (s *spy) Mkdir(
	ctx context.Context, name string, opts tree.MkdirOptions, cond tree.Condition,
) (tree.State, error) {
	if err := s.say("Mkdir", name); err != nil {
		return tree.State{}, err
	}
	return s.Store.Mkdir(ctx, name, opts, cond)
}

func (s *spy) Remove(ctx context.Context, name string, cond tree.Condition) error {
	if err := s.say("Remove", name); err != nil {
		return err
	}
	return s.Store.Remove(ctx, name, cond)
}

func (s *spy) Move(
	ctx context.Context, from, to string, opts tree.CopyOptions, cond tree.Condition,
) (tree.State, bool, error) {
	if err := s.say("Move", to); err != nil {
		return tree.State{}, false, err
	}
	return s.Store.Move(ctx, from, to, opts, cond)
}

func (s *spy) PatchProperties(ctx context.Context, name string, patch tree.Patch, cond tree.Condition) error {
	if err := s.say("PatchProperties", name); err != nil {
		return err
	}
	return s.Store.PatchProperties(ctx, name, patch, cond)
}

func (s *spy) Versions(
	ctx context.Context, name string, opts tree.VersionOptions,
) iter.Seq2[tree.Version, error] {
	if err := s.say("Versions", name); err != nil {
		return func(yield func(tree.Version, error) bool) { yield(tree.Version{}, err) }
	}
	return s.Store.Versions(ctx, name, opts)
}

func (s *spy) Now(ctx context.Context) (tree.Cursor, error) {
	if err := s.say("Now", ""); err != nil {
		return "", err
	}
	return s.Store.(tree.Feed).Now(ctx)
}

func (s *spy) Changes(ctx context.Context, since, until tree.Cursor) iter.Seq2[tree.Change, error] {
	if err := s.say("Changes", ""); err != nil {
		return func(yield func(tree.Change, error) bool) { yield(tree.Change{}, err) }
	}
	return s.Store.(tree.Feed).Changes(ctx, since, until)
}

func (s *spy) Latest(ctx context.Context, name string) (tree.Change, error) {
	if err := s.say("Latest", name); err != nil {
		return tree.Change{}, err
	}
	return s.Store.(tree.Feed).Latest(ctx, name)
}

// A fixture is two shares, a and b, and a third one, c, whose stores tests can spy on.
type fixture struct {
	*shares.Store
	t       testing.TB
	a, b, c *spy
}

// backends are the stores of which shares are made in tests.
var backends = map[string]func(t testing.TB) tree.Store{
	"memory": func(testing.TB) tree.Store { return memtree.New(memtree.Options{}) },
	"directory": func(t testing.TB) tree.Store {
		s := openDir(t, t.TempDir(), "", time.Now)
		t.Cleanup(func() { s.Close() })
		return s
	},
}

// open makes a fixture with a layout: "a/d/" is a collection, "a/f=content" a file.
func open(t testing.TB, backend func(testing.TB) tree.Store, layout ...string) *fixture {
	t.Helper()
	f := &fixture{t: t, a: &spy{Store: backend(t)}, b: &spy{Store: backend(t)}, c: &spy{Store: backend(t)}}
	var err error
	f.Store, err = shares.New([]shares.Share{{Path: "a", Store: f.a}, {Path: "b", Store: f.b}, {Path: "c", Store: f.c}},
		shares.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range layout {
		if name, ok := strings.CutSuffix(line, "/"); ok {
			_, err = f.Mkdir(t.Context(), name, tree.MkdirOptions{}, tree.Condition{})
		} else {
			name, content, _ := strings.Cut(line, "=")
			_, err = f.put(name, content)
		}
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
	}
	return f
}

func (f *fixture) put(name, content string) (tree.State, error) {
	s, _, err := f.Put(f.t.Context(), name, strings.NewReader(content), tree.PutOptions{Length: -1}, tree.Condition{})
	return s, err
}

// patch sets a property of that name to "set".
func (f *fixture) patch(name, property string) {
	f.t.Helper()
	yes := true
	patch := tree.Patch{Properties: []webdav.Proppatch{{Props: []webdav.Property{
		{XMLName: xml.Name{Space: "x:", Local: property}, InnerXML: []byte("set")}}}}}
	if s, err := f.Stat(f.t.Context(), name, tree.ReadOptions{}); err == nil && !s.Collection {
		patch.Executable = &yes
	}
	if err := f.PatchProperties(f.t.Context(), name, patch, tree.Condition{}); err != nil {
		f.t.Fatal(err)
	}
}

// properties returns the names of the properties of a resource, and "x" if it is executable.
func (f *fixture) properties(name string) (all []string) {
	f.t.Helper()
	s, err := f.Stat(f.t.Context(), name, tree.ReadOptions{Want: tree.WantProperties})
	if err != nil {
		f.t.Error(err)
	}
	for _, p := range s.Properties {
		all = append(all, p.XMLName.Local)
	}
	if s.Executable {
		all = append(all, "x")
	}
	return all
}

// wantTree compares the tree below the shares with a layout, in any order.
func (f *fixture) wantTree(want ...string) {
	f.t.Helper()
	got := slices.DeleteFunc(treetest.Layout(f.t, f.Store), func(line string) bool { return len(line) == len("a/") })
	slices.Sort(want)
	if !slices.Equal(got, want) {
		f.t.Errorf("the tree is\n  %q\nwant\n  %q", got, want)
	}
}

// each runs a test over each backend.
func each(t *testing.T, test func(t *testing.T, backend func(testing.TB) tree.Store)) {
	for name, backend := range backends {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, backend)
		})
	}
}
