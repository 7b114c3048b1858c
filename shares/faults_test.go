package shares_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"r-seed-1f3a754f.example/ifmatch/tree"
	"r-seed-1f3a754f.example/ifmatch/tree/treetest"
)

var errDisk = &tree.StorageError{Kind: tree.ErrFailed, Hint: "the disk has failed"}

// TestFaultsOfTransfers has each call of each share fail, one after the other. The resource is at one name at least,
// and an error other than ErrUnsure says that nothing has changed.
func TestFaultsOfTransfers(t *testing.T) {
	each(t, func(t *testing.T, backend func(testing.TB) tree.Store) {
		for _, move := range []bool{false, true} {
			for _, source := range []string{"a/f", "a/p", "a/d"} {
				for _, share := range []string{"a", "b"} {
					t.Run(fmt.Sprintf("%s, move=%v, of %s", source, move, share), func(t *testing.T) {
						for n := 1; ; n++ {
							if !failNth(t, backend, source, move, share, n) {
								break
							}
							if n > 100 {
								t.Fatal("it takes ever more calls")
							}
						}
					})
				}
			}
		}
	})
}

// failNth has the n-th call of a share fail, and reports whether there was one.
func failNth(t *testing.T, backend func(testing.TB) tree.Store, source string, move bool, share string, n int) bool {
	t.Helper()
	f := open(t, backend, "a/f=1", "a/p=1", "a/d/", "a/d/f=1", "b/g=2")
	f.patch("a/p", "own")
	before := treetest.Snapshot(t, f.Store)
	var failed string
	fail := func(method, name string) error {
		if n--; n == 0 {
			failed = method + " " + name
			return errDisk
		}
		return nil
	}
	do := f.Copy
	if move {
		do = f.Move
	}
	if share == "a" {
		f.a.on = fail
	} else {
		f.b.on = fail
	}
	_, _, err := do(t.Context(), source, "b/g", tree.CopyOptions{}, tree.Condition{})
	f.a.on, f.b.on = nil, nil
	after := treetest.Snapshot(t, f.Store)
	there, copied := len(linesOf(after, source)) > 0, !slices.Contains(after, "b/g=2 tag="+string(treetest.TagOf("2")))
	switch {
	case failed == "":
		if err != nil {
			t.Errorf("got error %v", err)
		}
	case err == nil && (move && there || !copied):
		t.Errorf("%s: no error, and the tree is %q", failed, after)
	case err != nil && !errors.Is(err, tree.ErrUnsure) && !slices.Equal(before, after):
		t.Errorf("%s: error %v has changed\n  %q\nto\n  %q", failed, err, before, after)
	case errors.Is(err, tree.ErrUnsure) && !copied:
		t.Errorf("%s: error %v, and nothing was copied", failed, err)
	case !there && !copied:
		t.Errorf("%s: it is lost: %q", failed, after)
	}
	return failed != ""
}

// linesOf returns the lines of a snapshot about a resource and the members below it.
func linesOf(lines []string, name string) (found []string) {
	for _, line := range lines {
		if strings.HasPrefix(line, name+"=") || strings.HasPrefix(line, name+"/") {
			found = append(found, line)
		}
	}
	return found
}

// TestMoveRacesWithWriters: each content that a writer was told is stored is at one of the names, or in the history.
func TestMoveRacesWithWriters(t *testing.T) {
	each(t, func(t *testing.T, backend func(testing.TB) tree.Store) {
		for _, source := range []string{"a/d/f", "a/d"} {
			t.Run(source, func(t *testing.T) {
				f := open(t, backend, "a/d/", "a/d/f=0")
				var stored []string
				var running sync.WaitGroup
				start := make(chan struct{})
				running.Go(func() {
					<-start
					for i := range 30 {
						content := fmt.Sprint("content ", i)
						if _, err := f.put("a/d/f", content); err == nil {
							stored = append(stored, content)
						}
					}
				})
				running.Go(func() {
					<-start
					for i := range 5 {
						_, _, err := f.Move(t.Context(), source, fmt.Sprint("b/g", i), tree.CopyOptions{}, tree.Condition{})
						if err != nil && !errors.Is(err, tree.ErrUnsure) && !errors.Is(err, tree.ErrBusy) && !errors.Is(err, tree.ErrNotExist) {
							t.Errorf("got error %v", err)
						}
					}
				})
				close(start)
				running.Wait()
				found := contents(t, f)
				for _, content := range stored {
					if !found[treetest.TagOf(content)] {
						t.Errorf("%q was stored, and is lost", content)
					}
				}
			})
		}
	})
}

// contents returns the tags of all files, and of all versions in the history.
func contents(t *testing.T, f *fixture) map[tree.ETag]bool {
	t.Helper()
	found := map[tree.ETag]bool{}
	for s, err := range f.List(t.Context(), "", tree.ListOptions{Want: tree.WantTag, Depth: -1}, tree.Condition{}) {
		if err != nil {
			t.Fatal(err)
		}
		found[s.Tag] = true
	}
	var inside func(opts tree.VersionOptions)
	inside = func(opts tree.VersionOptions) {
		for v, err := range f.Versions(t.Context(), "", opts) {
			switch {
			case err != nil:
				t.Fatal(err)
			case v.Collection:
				inside(tree.VersionOptions{Inside: v.ID, Want: tree.WantTag})
			default:
				found[v.Tag] = true
			}
		}
	}
	inside(tree.VersionOptions{Want: tree.WantTag})
	return found
}
