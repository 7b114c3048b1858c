//go:build unix

package transfer

import (
	"context"
	"errors"
	"fmt"
	iofs "io/fs"
	"iter"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"r-seed-1f3a754f.example/ifmatch/tree"
	"r-seed-1f3a754f.example/ifmatch/tree/memtree"
)

// openMirror opens a mirror, and returns the lines that it tells.
func openMirror(t *testing.T, dir string, from Source) (*Mirror, *[]string) {
	t.Helper()
	lines := &[]string{}
	m := &Mirror{Dir: dir, From: from, Identity: "tree", Tell: func(name, what string) {
		*lines = append(*lines, name+": "+what)
	}}
	if err := m.Open(); err != nil {
		t.Skipf("NOT RUN: no mirror can be here: %v", err)
	}
	return m, lines
}

// run brings a mirror up to date.
func run(t *testing.T, dir string, from Source) (Mirrored, []string) {
	t.Helper()
	m, lines := openMirror(t, dir, from)
	done, err := m.Run(t.Context())
	if err = errors.Join(err, m.Close()); err != nil {
		t.Fatal(err)
	}
	return done, *lines
}

// onDisk returns the lines of [listed] for a directory.
func onDisk(t *testing.T, dir string) (all []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, e iofs.DirEntry, err error) error {
		name, _ := filepath.Rel(dir, path)
		switch {
		case err != nil:
			return err
		case name == MirrorState:
			return iofs.SkipDir
		case name == ".":
			return nil
		case e.IsDir():
			all = append(all, fmt.Sprintf("%q  false", name))
			return nil
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		content, err := os.ReadFile(path)
		all = append(all, fmt.Sprintf("%q %s %v%s", name, tagOf(string(content)), info.Mode()&0o111 != 0,
			info.ModTime().UTC().Format(" 2006-01-02")))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(all)
	return all
}

func put(t *testing.T, s tree.Store, name, content string) {
	t.Helper()
	opts := tree.PutOptions{Length: -1, Modified: then}
	if _, _, err := s.Put(t.Context(), name, strings.NewReader(content), opts, tree.Condition{}); err != nil {
		t.Fatal(err)
	}
}

// change makes a change at random.
func change(t *testing.T, s tree.Store, random *rand.Rand) {
	t.Helper()
	names := []string{"a", "b", "a/c", "a/c/d", "b/c", "f", "a/f", "a/c/f", "b/f"}
	name, other := names[random.IntN(len(names))], names[random.IntN(len(names))]
	var err error
	switch random.IntN(6) {
	case 0, 1:
		content := strings.NewReader(fmt.Sprint(random.IntN(4)))
		_, _, err = s.Put(t.Context(), name, content, tree.PutOptions{Length: -1, Modified: then}, tree.Condition{})
	case 2:
		_, err = s.Mkdir(t.Context(), name, tree.MkdirOptions{}, tree.Condition{})
	case 3:
		err = s.Remove(t.Context(), name, tree.Condition{})
	case 4:
		_, _, err = s.Move(t.Context(), name, other, tree.CopyOptions{}, tree.Condition{})
	default:
		_, _, err = s.Copy(t.Context(), name, other, tree.CopyOptions{}, tree.Condition{})
	}
	_ = err // many are impossible
}

// TestMirrorBecomesTheTree: after any changes, a mirror that takes them by the feed is the tree, and says so.
func TestMirrorBecomesTheTree(t *testing.T) {
	for seed := range uint64(20) {
		random := rand.New(rand.NewPCG(seed, 0))
		store, dir := memtree.New(memtree.Options{}), t.TempDir()
		listings := int64(0)
		for round := range 10 {
			for range random.IntN(8) {
				change(t, store, random)
			}
			done, lines := run(t, dir, store)
			listings += done.Listed
			want := listed(t, store)
			if got := onDisk(t, dir); !slices.Equal(got, want) || done.Different > 0 || len(lines) > 0 {
				t.Fatalf("seed %d, round %d: the mirror has\n%s\nthe tree has\n%s\nit tells %q", seed, round,
					strings.Join(got, "\n"), strings.Join(want, "\n"), lines)
			}
		}
		if listings != 1 {
			t.Fatalf("seed %d: the tree was listed %d times", seed, listings)
		}
	}
}

// A failing source fails at its n-th call.
type failing struct {
	Source
	left int
}

func (f *failing) call() error {
	if f.left--; f.left == -1 {
		return errCut
	}
	return nil
}

func (f *failing) Stat(ctx context.Context, name string, opts tree.ReadOptions) (tree.State, error) {
	if err := f.call(); err != nil {
		return tree.State{}, err
	}
	return f.Source.Stat(ctx, name, opts)
}

func (f *failing) Open(
	ctx context.Context, name string, opts tree.ReadOptions, cond tree.Condition,
) (tree.Content, tree.State, error) {
	if err := f.call(); err != nil {
		return nil, tree.State{}, err
	}
	return f.Source.Open(ctx, name, opts, cond)
}

func (f *failing) Now(ctx context.Context) (tree.Cursor, error) {
	if err := f.call(); err != nil {
		return "", err
	}
	return f.Source.Now(ctx)
}

// TestMirrorGoesOn: a run that ended before any of its reads leaves no half file, and another one completes it.
func TestMirrorGoesOn(t *testing.T) {
	for n := 0; ; n++ {
		store, dir := memtree.New(memtree.Options{}), t.TempDir()
		for _, name := range []string{"one", "two"} {
			put(t, store, name, name)
		}
		whole := map[string]bool{"1": true}
		cutOff := func() bool {
			m, _ := openMirror(t, dir, &failing{store, n})
			_, err := m.Run(t.Context())
			if err := m.Close(); err != nil {
				t.Fatal(err)
			}
			return errors.Is(err, errCut)
		}
		was := cutOff()
		run(t, dir, store)
		if _, err := store.Mkdir(t.Context(), "d", tree.MkdirOptions{}, tree.Condition{}); err != nil {
			t.Fatal(err)
		}
		put(t, store, "d/three", "3")
		put(t, store, "one", "1")
		was = cutOff() || was
		if content, err := os.ReadFile(filepath.Join(dir, "one")); err != nil || string(content) != "one" && !whole[string(content)] {
			t.Fatalf("cut at call %d: the file has %q, error %v", n, content, err)
		}
		done, lines := run(t, dir, store)
		if got, want := onDisk(t, dir), listed(t, store); !slices.Equal(got, want) || done.Different > 0 {
			t.Fatalf("cut at call %d: the mirror has\n%s\nthe tree has\n%s\nit tells %q", n, strings.Join(got, "\n"),
				strings.Join(want, "\n"), lines)
		}
		if left, err := os.ReadDir(filepath.Join(dir, MirrorState)); err != nil || len(left) != 2 {
			t.Fatalf("cut at call %d: its state has %v, error %v", n, left, err)
		}
		if !was {
			if n < 6 {
				t.Fatalf("it took %d calls", n)
			}
			return
		}
	}
}

// TestMirrorTouchesNothingElse: files of others, and files that were changed here, stay, and are told of.
func TestMirrorTouchesNothingElse(t *testing.T) {
	store, dir := memtree.New(memtree.Options{}), t.TempDir()
	if _, err := store.Mkdir(t.Context(), "d", tree.MkdirOptions{}, tree.Condition{}); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"d/edited", "d/gone", "stays"} {
		put(t, store, name, "theirs")
	}
	run(t, dir, store)
	for _, err := range []error{
		os.WriteFile(filepath.Join(dir, "mine"), []byte("mine"), 0o644),
		os.WriteFile(filepath.Join(dir, "d/mine"), []byte("mine"), 0o644),
		os.Chmod(filepath.Join(dir, "d/edited"), 0o644),
		os.WriteFile(filepath.Join(dir, "d/edited"), []byte("edited"), 0o644),
		store.Remove(t.Context(), "d", tree.Condition{}),
		os.Remove(filepath.Join(dir, "stays")),
		os.Symlink("mine", filepath.Join(dir, "stays")),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	put(t, store, "mine", "theirs")
	done, lines := run(t, dir, store)
	for name, want := range map[string]string{"mine": "mine", "d/mine": "mine", "d/edited": "edited", "stays": "mine"} {
		if got, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(got) != want {
			t.Errorf("%s has %q, error %v", name, got, err)
		}
	}
	if _, err := os.Lstat(filepath.Join(dir, "d/gone")); !errors.Is(err, iofs.ErrNotExist) {
		t.Errorf("what the mirror has made, and is removed in the tree: %v", err)
	}
	slices.Sort(lines)
	lines = slices.Compact(lines)
	want := []string{
		"d/edited: was changed here, and stays: remove it to get that of the tree",
		"d/mine: was not made by the mirror, and stays",
		"d: is here, and not in the tree",
		"mine: is not what it is in the tree",
		"mine: was not made by the mirror, and stays",
		"stays: is not what it is in the tree",
		"stays: was not made by the mirror, and stays",
	}
	if !slices.Equal(lines, want) || done.Different != 3 {
		t.Errorf("%d differ, and it tells\n%s\nwant\n%s", done.Different, strings.Join(lines, "\n"), strings.Join(want, "\n"))
	}
}

// A restless source has a file that is replaced while it is listed, and gone for an instant then.
type restless struct {
	Source
	replace func()
	gone    int // how many of the next looks do not find it
}

func (s *restless) List(
	ctx context.Context, dir string, opts tree.ListOptions, cond tree.Condition,
) iter.Seq2[tree.State, error] {
	if s.replace != nil {
		s.replace()
		s.gone, s.replace = 1, nil
	}
	return s.Source.List(ctx, dir, opts, cond)
}

func (s *restless) Stat(ctx context.Context, name string, opts tree.ReadOptions) (tree.State, error) {
	if s.gone > 0 && name == "f" {
		s.gone--
		return tree.State{}, tree.ErrNotExist
	}
	return s.Source.Stat(ctx, name, opts)
}

// TestMirrorOfABusyTree: a name that comes and goes while the mirror is compared is no difference.
func TestMirrorOfABusyTree(t *testing.T) {
	store, dir := memtree.New(memtree.Options{}), t.TempDir()
	put(t, store, "f", "one")
	run(t, dir, store)
	busy := &restless{Source: store, replace: func() { put(t, store, "f", "two") }}
	done, lines := run(t, dir, busy)
	if got, want := onDisk(t, dir), listed(t, store); !slices.Equal(got, want) || done.Different > 0 || busy.replace != nil {
		t.Errorf("the mirror has %q, want %q; %d differ, and it tells %q", got, want, done.Different, lines)
	}
}

func TestMirrorRefusesOtherDirectories(t *testing.T) {
	store, dir := memtree.New(memtree.Options{}), t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "mine"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := (&Mirror{Dir: dir, From: store, Identity: "tree"}).Open(); err == nil {
		t.Error("a directory that is not empty is taken")
	}
	if names, err := os.ReadDir(dir); err != nil || len(names) != 1 {
		t.Errorf("it has made %v, error %v", names, err)
	}
	dir = t.TempDir()
	m, _ := openMirror(t, dir, store)
	defer m.Close()
	if err := (&Mirror{Dir: dir, From: store, Identity: "tree"}).Open(); err == nil {
		t.Error("two use one directory")
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	if err := (&Mirror{Dir: dir, From: store, Identity: "another"}).Open(); err == nil {
		t.Error("the mirror of another tree is taken")
	}
}

// TestMirrorListsAnewWhereChangesAreForgotten also removes what has gone meanwhile.
func TestMirrorListsAnewWhereChangesAreForgotten(t *testing.T) {
	store, dir := memtree.New(memtree.Options{}), t.TempDir()
	put(t, store, "gone", "1")
	put(t, store, "stays", "1")
	run(t, dir, store)
	if err := store.Remove(t.Context(), "gone", tree.Condition{}); err != nil {
		t.Fatal(err)
	}
	put(t, store, "stays", "2")
	m, _ := openMirror(t, dir, store)
	m.state.Cursor = "unknown"
	done, err := m.Run(t.Context())
	if err = errors.Join(err, m.Close()); err != nil {
		t.Fatal(err)
	}
	if got, want := onDisk(t, dir), listed(t, store); !slices.Equal(got, want) || done.Listed != 1 {
		t.Errorf("it was listed %d times, and the mirror has %q, want %q", done.Listed, got, want)
	}
}

// TestMirrorHasNamesOfAnyLength: with the path of its directory, a name is longer than a system call takes.
func TestMirrorHasNamesOfAnyLength(t *testing.T) {
	store, name := memtree.New(memtree.Options{}), ""
	for len(name) < tree.MaxName-256 {
		name = tree.Join(name, strings.Repeat("n", 250))
		if _, err := store.Mkdir(t.Context(), name, tree.MkdirOptions{}, tree.Condition{}); err != nil {
			t.Fatal(err)
		}
	}
	name = tree.Join(name, strings.Repeat("f", tree.MaxName-len(name)-1))
	dir := t.TempDir()
	for _, content := range []string{"one", "two"} {
		put(t, store, name, content)
		if done, lines := run(t, dir, store); done.Compared != 1 || len(lines) != 0 {
			t.Errorf("with %q, %d files are compared, and it tells %q", content, done.Compared, lines)
		}
	}
	if err := store.Remove(t.Context(), name[:250], tree.Condition{}); err != nil {
		t.Fatal(err)
	}
	if done, lines := run(t, dir, store); done.Removed == 0 || len(lines) != 0 || len(onDisk(t, dir)) != 0 {
		t.Errorf("%d are removed, and it tells %q", done.Removed, lines)
	}
}
