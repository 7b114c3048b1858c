package etagfs_test

import (
	"errors"
	"fmt"
	iofs "io/fs"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"r-seed-1f3a754f.example/ifmatch/etagfs"
	"r-seed-1f3a754f.example/ifmatch/fs"
	"r-seed-1f3a754f.example/ifmatch/tree"
	"r-seed-1f3a754f.example/ifmatch/tree/treetest"
)

// contentsOf returns the content of each file below a directory, and "/" for each collection, by name.
func contentsOf(t testing.TB, dir string) map[string]string {
	t.Helper()
	found := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, e iofs.DirEntry, err error) error {
		name, _ := filepath.Rel(dir, path)
		name = filepath.ToSlash(name)
		switch {
		case err != nil:
			return err
		case name == ".ifmatch":
			return filepath.SkipDir
		case name == ".":
		case e.IsDir():
			found[name] = "/"
		case e.Type()&iofs.ModeSymlink != 0:
			found[name], err = os.Readlink(path)
		default:
			var data []byte
			data, err = os.ReadFile(path)
			found[name] = "=" + string(data)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// only returns the names of a tree that are at a name, or below it.
func only(all map[string]string, name string) map[string]string {
	part := map[string]string{}
	for n, content := range all {
		if name == "" || n == name || tree.Below(n, name) {
			part[n] = content
		}
	}
	return part
}

// different returns the lines in which two trees differ.
func different(got, want map[string]string) (lines []string) {
	names := maps.Clone(got)
	maps.Copy(names, want)
	for _, name := range slices.Sorted(maps.Keys(names)) {
		if got[name] != want[name] {
			lines = append(lines, fmt.Sprintf("%s: %.40q, want %.40q", name, got[name], want[name]))
		}
	}
	return lines
}

func openUndo(t testing.TB, dir string) *etagfs.Store {
	t.Helper()
	below, err := fs.Open(dir, fs.Options{Durability: fs.None, History: true})
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

// undone restores a name as of a time, and asserts that nothing is left but what is wanted, in the form "NAME: REASON".
func undone(t testing.TB, s *etagfs.Store, name string, at time.Time, want ...string) tree.Restored {
	t.Helper()
	result, err := s.RestoreAt(ctx, name, at, tree.RestoreAtOptions{})
	if err != nil {
		t.Fatalf("restore %q: %v", name, err)
	}
	var got []string
	for _, left := range result.Left {
		got = append(got, left.Name+": "+left.Reason)
	}
	if !slices.Equal(got, want) {
		t.Errorf("restore %q: left %q, want %q", name, got, want)
	}
	return result
}

// TestRestoreAtLeavesProgramsAlone: what a program has done on the disk is named and left as it is, whether a watcher
// has told of it or not. What a server has done is undone beside it.
func TestRestoreAtLeavesProgramsAlone(t *testing.T) {
	const changed, removed, unknown = "a program has changed it on the disk", "a program has removed it on the disk",
		"it is not known what has made or changed it since then"
	write := func(name, content string) func(*watchedStore) {
		return func(w *watchedStore) { w.write(t, name, content); w.told(name) }
	}
	unseen := func(name, content string) func(*watchedStore) {
		return func(w *watchedStore) { w.write(t, name, content) }
	}
	do := func(change func(tree.Store) error) func(*watchedStore) {
		return func(w *watchedStore) {
			if err := change(w); err != nil {
				t.Fatal(err)
			}
		}
	}
	rm := func(name string) func(*watchedStore) {
		return do(func(s tree.Store) error { return s.Remove(ctx, name, tree.Condition{}) })
	}
	unlink := func(name string) func(*watchedStore) {
		return func(w *watchedStore) {
			if err := os.Remove(filepath.Join(w.dir, name)); err != nil {
				t.Fatal(err)
			}
			w.Removed(name)
		}
	}
	type steps = []func(*watchedStore)
	for _, test := range []struct {
		name string
		do   steps
		want []string          // of d/, in which there were f=1, g=2 and e/
		left []string          // the rest is as it was
		as   map[string]string // and this is not
	}{
		{name: "a file is overwritten by a program", do: steps{write("d/f", "9")},
			as: map[string]string{"d/f": "=9"}, left: []string{"d/f: " + changed}},
		{name: "unseen", do: steps{unseen("d/f", "9")},
			as: map[string]string{"d/f": "=9"}, left: []string{"d/f: " + unknown}},
		{name: "by a client, and then by a program", do: steps{do(lay("d/f=8")), unseen("d/f", "9")},
			as: map[string]string{"d/f": "=9"}, left: []string{"d/f: " + changed}},
		{name: "by a program, and then by a client", do: steps{write("d/f", "9"), do(lay("d/f=8"))},
			as: map[string]string{"d/f": "=8"}, left: []string{"d/f: " + changed}},
		{name: "changed by a program, and then removed by a client", do: steps{write("d/f", "9"), rm("d/f")},
			as: map[string]string{"d/f": ""}, left: []string{"d/f: " + changed}},
		{name: "changed unseen, and then removed by a client", do: steps{unseen("d/f", "9"), rm("d/f")},
			as: map[string]string{"d/f": ""}, left: []string{"d/f: a program had changed it on the disk before it " +
				"gave way"}},
		{name: "changed unseen, and then removed with its collection", do: steps{unseen("d/f", "9"), rm("d")},
			as: map[string]string{"d/f": ""}, left: []string{"d/f: a program had changed it on the disk before it " +
				"gave way"}},
		{name: "changed by a client before, of which the watcher tells later, and then removed", do: steps{
			func(w *watchedStore) { w.Removed("d/f"); w.Now(ctx) }, rm("d/f")}},
		{name: "removed by a program", do: steps{unlink("d/f")},
			as: map[string]string{"d/f": ""}, left: []string{"d/f: " + removed}},
		{name: "a client has removed it, and a program has made it", do: steps{rm("d/f"), unseen("d/f", "9")},
			as: map[string]string{"d/f": "=9"}, left: []string{"d/f: a program has put something there"}},
		{name: "a program makes a file in a new collection",
			do: steps{do(lay("d/n/", "d/n/own=1")), unseen("d/n/x", "9")},
			as: map[string]string{"d/n": "/", "d/n/x": "=9"}, left: []string{"d/n/x: " + unknown}},
		{name: "and in a copied one", do: steps{do(copyTo("d", "c")), do(copyTo("c", "d/c")), unseen("d/c/x", "9")},
			as: map[string]string{"d/c": "/", "d/c/x": "=9"}, left: []string{"d/c/x: " + unknown}},
		{name: "an old file is moved into a copied one", do: steps{do(copyTo("d", "c")), do(copyTo("c", "d/c")),
			func(w *watchedStore) {
				if err := os.Rename(filepath.Join(w.dir, "old"), filepath.Join(w.dir, "d/c/old")); err != nil {
					t.Fatal(err)
				}
			}}, as: map[string]string{"d/c": "/", "d/c/old": "=old"}, left: []string{"d/c/old: " + unknown}},
		{name: "a file is in the place of a removed collection", do: steps{rm("d"), unseen("d", "9")},
			as:   map[string]string{"d": "=9", "d/f": "", "d/g": "", "d/e": ""},
			left: []string{"d: a program has put something there"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := openWatched(t, t.TempDir())
			if err := lay("d/", "d/f=1", "d/g=2", "d/e/", "old=old")(w); err != nil {
				t.Fatal(err)
			}
			at := tick(t)
			before := contentsOf(t, w.dir)
			for _, one := range test.do {
				one(w)
			}
			w.settle(t)
			undone(t, w.Store, "d", at, test.left...)
			maps.Copy(before, test.as)
			maps.DeleteFunc(before, func(_, content string) bool { return content == "" })
			if diff := different(only(contentsOf(t, w.dir), "d"), only(before, "d")); len(diff) > 0 {
				t.Errorf("it differs:\n%s", strings.Join(diff, "\n"))
			}
		})
	}
}

// told has the watcher tell of a name, and waits until that is in the journal.
func (w *watchedStore) told(name string) {
	w.Changed(name)
	w.Now(ctx)
}

// tick waits until files get a later time of change, and returns a time between.
func tick(t testing.TB) time.Time {
	t.Helper()
	probe := filepath.Join(t.TempDir(), "probe")
	stamp := func() time.Time {
		if err := os.WriteFile(probe, nil, 0o666); err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(probe)
		if err != nil {
			t.Fatal(err)
		}
		return info.ModTime()
	}
	at := time.Now()
	for !stamp().After(at) { // the clock of the file system has coarser steps
		runtime.Gosched()
	}
	return at
}

// TestRestoreAtWithoutJournal: where the changes of that time are not known, what was replaced or removed comes back,
// and what was made or moved is named and stays.
func TestRestoreAtWithoutJournal(t *testing.T) {
	dir := t.TempDir()
	s := openUndo(t, dir)
	if err := lay("d/", "d/replaced=1", "d/removed=2", "d/moved=3", "d/sub/", "d/sub/f=4")(s); err != nil {
		t.Fatal(err)
	}
	at := tick(t)
	want := contentsOf(t, dir)
	if err := errors.Join(lay("d/replaced=new", "d/made=new")(s), s.Remove(ctx, "d/removed", tree.Condition{}),
		s.Remove(ctx, "d/sub", tree.Condition{}), move("d/moved", "d/elsewhere")(s)); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(dir, ".ifmatch/journal")); err != nil {
		t.Fatal(err)
	}
	const unknown = "it is not known what has made or changed it since then"
	result := undone(t, openUndo(t, dir), "d", at, "d/elsewhere: "+unknown, "d/made: "+unknown)
	if !result.Since.After(at) {
		t.Errorf("it says that changes are known since %v, and they are not known at %v", result.Since, at)
	}
	delete(want, "d/moved")
	want["d/elsewhere"], want["d/made"] = "=3", "=new"
	if diff := different(contentsOf(t, dir), want); len(diff) > 0 {
		t.Errorf("it differs:\n%s", strings.Join(diff, "\n"))
	}
}

func TestRestoreAt(t *testing.T) {
	treetest.RestoreAt(t, 12, func(t *testing.T) treetest.Undoer { return openUndo(t, t.TempDir()) })
}
