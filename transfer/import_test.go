//go:build unix

package transfer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pkg/xattr"
	"golang.org/x/net/webdav"

	"r-seed-1f3a754f.example/ifmatch/tree"
	"r-seed-1f3a754f.example/ifmatch/tree/memtree"
)

// errCut is what a cut store fails with, as if the process had ended.
var errCut = errors.New("cut off")

// A cut store fails from its n-th write on.
type cut struct {
	tree.Store
	left int
}

func (c *cut) write() error {
	if c.left--; c.left < 0 {
		return errCut
	}
	return nil
}

func (c *cut) Put(
	ctx context.Context, name string, body io.Reader, opts tree.PutOptions, cond tree.Condition,
) (tree.State, bool, error) {
	if err := c.write(); err != nil {
		return tree.State{}, false, err
	}
	return c.Store.Put(ctx, name, body, opts, cond)
}

func (c *cut) Mkdir(
	ctx context.Context, name string, opts tree.MkdirOptions, cond tree.Condition,
) (tree.State, error) {
	if err := c.write(); err != nil {
		return tree.State{}, err
	}
	return c.Store.Mkdir(ctx, name, opts, cond)
}

func (c *cut) PatchProperties(ctx context.Context, name string, patch tree.Patch, cond tree.Condition) error {
	if err := c.write(); err != nil {
		return err
	}
	return c.Store.PatchProperties(ctx, name, patch, cond)
}

var then = time.Date(2020, 1, 2, 3, 4, 5, 0, time.UTC)

// makeDir makes a directory to import, with files of several kinds.
func makeDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range map[string]string{
		"a/b/deep": "deep", "a/one": "1", "a/run": "#!/bin/sh", "empty": "", "\xff": "no text", ".ifmatch/state": "s", "a/b/.ifmatch/state": "s",
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, then, then); err != nil {
			t.Fatal(err)
		}
	}
	for _, err := range []error{
		os.Chmod(filepath.Join(dir, "a/run"), 0o755),
		os.Symlink("one", filepath.Join(dir, "a/link")),
		syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o600),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// importer returns an import, and the lines that it tells.
func importer(dir string, to tree.Store) (*Import, *[]string) {
	lines := &[]string{}
	return &Import{Dir: dir, State: ".ifmatch", To: to, Jobs: 1, Alone: true, Tell: func(name, what string) {
		*lines = append(*lines, name+": "+what)
	}}, lines
}

// listed returns a line for each member of a store.
func listed(t *testing.T, s tree.Store) (all []string) {
	t.Helper()
	for m, err := range s.List(t.Context(), "", tree.ListOptions{Depth: -1, Want: tree.WantTag}, tree.Condition{}) {
		if err != nil {
			t.Fatal(err)
		}
		if m.Name != "" {
			line := fmt.Sprintf("%q %s %v", m.Name, m.Tag, m.Executable)
			if !m.Collection {
				line += m.Modified.UTC().Format(" 2006-01-02")
			}
			all = append(all, line)
		}
	}
	slices.Sort(all)
	return all
}

func TestImportTakesWhatAStoreKeepsAndTellsTheRest(t *testing.T) {
	store := memtree.New(memtree.Options{})
	im, lines := importer(makeDir(t), store)
	done, err := im.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	tag := func(s string) tree.ETag { return tagOf(s) }
	want := []string{
		`"\xff" ` + string(tag("no text")) + " false 2020-01-02", `"a"  false`, `"a/b"  false`,
		`"a/b/deep" ` + string(tag("deep")) + " false 2020-01-02", `"a/one" ` + string(tag("1")) + " false 2020-01-02",
		`"a/run" ` + string(tag("#!/bin/sh")) + " true 2020-01-02", `"empty" ` + string(tag("")) + " false 2020-01-02",
	}
	if got := listed(t, store); !slices.Equal(got, want) {
		t.Errorf("the store has\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	told := []string{"a/link: is a symbolic link", "pipe: is neither a file nor a directory"}
	if !slices.Equal(*lines, told) {
		t.Errorf("it tells %q, want %q", *lines, told)
	}
	if n := done.Compared.Load(); n != 5 {
		t.Errorf("%d files are compared", n)
	}
}

// A refusing store cannot have some names.
type refusing struct {
	tree.Store
	names map[string]error
}

func (r *refusing) Put(
	ctx context.Context, name string, body io.Reader, opts tree.PutOptions, cond tree.Condition,
) (tree.State, bool, error) {
	if err := r.names[name]; err != nil {
		return tree.State{}, false, err
	}
	return r.Store.Put(ctx, name, body, opts, cond)
}

func (r *refusing) Mkdir(
	ctx context.Context, name string, opts tree.MkdirOptions, cond tree.Condition,
) (tree.State, error) {
	if err := r.names[name]; err != nil {
		return tree.State{}, err
	}
	return r.Store.Mkdir(ctx, name, opts, cond)
}

// TestImportTellsOnceOfEachNameThatItLeaves: the comparison at the end does not tell of it again.
func TestImportTellsOnceOfEachNameThatItLeaves(t *testing.T) {
	store := &refusing{memtree.New(memtree.Options{}), map[string]error{
		"empty": tree.ErrNameTooLong, "a/one": tree.ErrPermission, "a/b": tree.ErrReserved,
	}}
	im, lines := importer(makeDir(t), store)
	done, err := im.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(*lines)
	want := []string{
		"a/b: " + tree.ErrReserved.Error(), "a/link: is a symbolic link", "a/one: " + tree.ErrPermission.Error(),
		"empty: " + tree.ErrNameTooLong.Error(), "pipe: is neither a file nor a directory",
	}
	if !slices.Equal(*lines, want) || done.Left.Load() != 5 || done.Different.Load() != 0 {
		t.Errorf("it tells %q, want %q; %d are left, and %d differ", *lines, want, done.Left.Load(), done.Different.Load())
	}
}

// TestImportEndsWhereTheStoreFails: it does not go through all other names, to leave each of them.
func TestImportEndsWhereTheStoreFails(t *testing.T) {
	below := &os.PathError{Op: "write", Path: "/blobs/object", Err: syscall.ENOSPC}
	for _, kind := range []error{tree.ErrNoSpace, tree.ErrFailed} {
		err := &tree.StorageError{Kind: kind, Err: below}
		store := &refusing{memtree.New(memtree.Options{}), map[string]error{"\xff": err, "a": err, "empty": err}}
		im, lines := importer(makeDir(t), store)
		if done, err := im.Run(t.Context()); !errors.Is(err, kind) || done.Left.Load() != 0 || len(*lines) != 0 {
			t.Errorf("%v: it ends with %v, %d are left, and it tells %q", kind, err, done.Left.Load(), *lines)
		}
	}
}

// TestImportTakesWhatHasDamagedProperties: neither its content nor the files after it are lost for them.
func TestImportTakesWhatHasDamagedProperties(t *testing.T) {
	dir := makeDir(t)
	for _, name := range []string{"a", "a/one"} {
		if err := xattr.Set(filepath.Join(dir, name), ours, []byte("damaged")); err != nil {
			t.Skipf("NOT RUN: the disk keeps no attributes: %v", err)
		}
	}
	im, lines := importer(dir, memtree.New(memtree.Options{}))
	im.Properties = func(context.Context, string) ([]webdav.Property, error) { return nil, errors.New("damaged") }
	done, err := im.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(*lines)
	want := []string{
		"a/link: is a symbolic link", "a/one: is taken without its properties: damaged",
		"a: is taken without its properties: damaged", "pipe: is neither a file nor a directory",
	}
	if !slices.Equal(*lines, want) || done.Lost.Load() != 2 || done.Compared.Load() != 5 {
		t.Errorf("it tells %q, want %q; %d have lost something, and %d are compared", *lines, want, done.Lost.Load(),
			done.Compared.Load())
	}
}

// TestImportTellsOfAFileWithTheNameOfTheState, which is of a user: the state is a directory.
func TestImportTellsOfAFileWithTheNameOfTheState(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, ".ifmatch"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	im, lines := importer(dir, memtree.New(memtree.Options{}))
	done, err := im.Run(t.Context())
	if err != nil || done.Left.Load() != 1 || done.Different.Load() != 0 || len(*lines) != 1 {
		t.Errorf("%d names are left, %d differ, error %v: %q", done.Left.Load(), done.Different.Load(), err, *lines)
	}
}

// TestImportGoesOn: an import that ended before any of its writes is completed by another one, and makes nothing twice.
func TestImportGoesOn(t *testing.T) {
	dir := makeDir(t)
	whole := memtree.New(memtree.Options{})
	im, _ := importer(dir, whole)
	if _, err := im.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	want := listed(t, whole)
	for n := 0; ; n++ {
		store := memtree.New(memtree.Options{})
		im, _ := importer(dir, &cut{store, n})
		_, err := im.Run(t.Context())
		if err == nil {
			if n < 8 {
				t.Fatalf("it took %d writes", n)
			}
			return
		}
		if !errors.Is(err, errCut) {
			t.Fatal(err)
		}
		im, _ = importer(dir, store)
		done, err := im.Run(t.Context())
		if got := listed(t, store); err != nil || !slices.Equal(got, want) || done.Different.Load() > 0 {
			t.Fatalf("cut at write %d: error %v, and the store has\n%s", n, err, strings.Join(got, "\n"))
		}
	}
}

func TestImportReplacesNothingUnlessItIsTold(t *testing.T) {
	for _, replace := range []bool{false, true} {
		store := memtree.New(memtree.Options{})
		for name, content := range map[string]string{"empty": "other", "mine": "mine"} {
			_, _, err := store.Put(t.Context(), name, strings.NewReader(content), tree.PutOptions{Length: -1}, tree.Condition{})
			if err != nil {
				t.Fatal(err)
			}
		}
		im, lines := importer(makeDir(t), store)
		im.Alone, im.Replace = false, replace
		done, err := im.Run(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		s, err := store.Stat(t.Context(), "empty", tree.ReadOptions{Want: tree.WantTag})
		if err != nil || (s.Tag == tagOf("")) != replace || (done.Different.Load() == 0) != replace {
			t.Errorf("replace %v: the tag is %s, %d differ, error %v: %q", replace, s.Tag, done.Different.Load(), err, *lines)
		}
		if s, err := store.Stat(t.Context(), "mine", tree.ReadOptions{Want: tree.WantTag}); err != nil || s.Tag != tagOf("mine") {
			t.Errorf("a file of the tree alone: %+v, error %v", s, err)
		}
	}
}

// TestImportNoticesOtherTags: the comparison at the end finds what has changed meanwhile.
func TestImportNoticesOtherTags(t *testing.T) {
	dir, store := makeDir(t), memtree.New(memtree.Options{})
	im, lines := importer(dir, store)
	if _, err := im.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{
		store.Remove(t.Context(), "a/b", tree.Condition{}),
		os.WriteFile(filepath.Join(dir, "a/one"), []byte("2"), 0o644),
		os.Remove(filepath.Join(dir, "empty")),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	*lines = nil
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	im.root = root
	if err := im.pass(t.Context(), im.compare); err != nil {
		t.Fatal(err)
	}
	slices.Sort(*lines)
	want := []string{
		"a/b: is not in the tree",
		fmt.Sprintf("a/one: has the tag %s in the directory, and %s in the tree", tagOf("2"), tagOf("1")),
		"empty: is in the tree, and not in the directory",
	}
	if !slices.Equal(*lines, want) {
		t.Errorf("it tells %q, want %q", *lines, want)
	}
}

// TestImportTakesProperties asks for those of members with the attribute of a server alone.
func TestImportTakesProperties(t *testing.T) {
	dir, store := makeDir(t), memtree.New(memtree.Options{})
	if err := setAttribute(filepath.Join(dir, "a/one"), ours, "[]"); err != nil {
		t.Skipf("NOT RUN: no attributes can be kept here: %v", err)
	}
	if err := setAttribute(filepath.Join(dir, "empty"), "user.other", "x"); err != nil {
		t.Fatal(err)
	}
	im, lines := importer(dir, store)
	property := webdav.Property{InnerXML: []byte("v")}
	property.XMLName.Local = "p"
	im.Properties = func(_ context.Context, name string) ([]webdav.Property, error) {
		if name != "a/one" {
			t.Errorf("the properties of %q are asked for", name)
		}
		return []webdav.Property{property}, nil
	}
	if _, err := im.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	s, err := store.Stat(t.Context(), "a/one", tree.ReadOptions{Want: tree.WantProperties})
	if err != nil || !tree.SameProperties(s.Properties, []webdav.Property{property}) {
		t.Errorf("it has %+v, error %v", s.Properties, err)
	}
	if want := "empty: is taken without the attribute user.other"; !slices.Contains(*lines, want) {
		t.Errorf("it tells %q, and not %q", *lines, want)
	}
}

// An unsure store does what it is told first, and says that it does not know.
type unsure struct {
	tree.Store
	told atomic.Bool
}

func (u *unsure) Put(
	ctx context.Context, name string, body io.Reader, opts tree.PutOptions, cond tree.Condition,
) (tree.State, bool, error) {
	state, created, err := u.Store.Put(ctx, name, body, opts, cond)
	if err == nil && u.told.CompareAndSwap(false, true) {
		err = &tree.StorageError{Kind: tree.ErrUnavailable, Hint: "look before you try again"}
	}
	return state, created, err
}

// TestImportLooksWhatHasBecomeOfAWrite whose answer was lost: a file that is there is not said to be left out.
func TestImportLooksWhatHasBecomeOfAWrite(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "f"), []byte("content"), 0o600); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) { // it waits before it tries again
		im, lines := importer(dir, &unsure{Store: memtree.New(memtree.Options{})})
		done, err := im.Run(t.Context())
		if err != nil || len(*lines) > 0 || done.Files.Load() != 1 || done.Compared.Load() != 1 {
			t.Errorf("%d files are imported, %d compared, it tells %q, error %v", done.Files.Load(), done.Compared.Load(), *lines, err)
		}
	})
}
