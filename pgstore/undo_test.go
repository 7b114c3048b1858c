package pgstore_test

import (
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"r-seed-1f3a754f.example/ifmatch/internal/pgtest"
	"r-seed-1f3a754f.example/ifmatch/pgstore"
	"r-seed-1f3a754f.example/ifmatch/tree"
	"r-seed-1f3a754f.example/ifmatch/tree/treetest"
)

// openUndo opens an empty tree for a restore as of a time.
func openUndo(t *testing.T) *pgstore.Store {
	t.Helper()
	opts := pgstore.Options{Inline: math.MaxInt64 - 1, MaxConns: 4, Report: func(err error) { t.Log(err) }}
	s, err := pgstore.Open(t.Context(), pgtest.Shared(t).Database(t, clean), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func TestRestoreAt(t *testing.T) {
	treetest.RestoreAt(t, 3, func(t *testing.T) treetest.Undoer { return openUndo(t) })
}

// TestPrune: the versions of a name go, and what removed collections above had there. All else stays.
func TestPrune(t *testing.T) {
	s := openUndo(t)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, dir := range []string{"d", "d/e", "d/e/deep", "other"} {
		_, err := s.Mkdir(t.Context(), dir, tree.MkdirOptions{}, tree.Condition{})
		must(err)
	}
	for i, name := range []string{"d/e/f", "d/e/f", "d/e/deep/g", "d/kept", "other/x", "other/x"} {
		must(put(t.Context(), s, name, fmt.Sprint("content ", i), tree.Condition{}))
	}
	remove := func(name string) { t.Helper(); must(s.Remove(t.Context(), name, tree.Condition{})) }
	remove("d")
	_, err := s.Mkdir(t.Context(), "d", tree.MkdirOptions{}, tree.Condition{})
	must(err)
	_, err = s.Mkdir(t.Context(), "d/e", tree.MkdirOptions{}, tree.Condition{})
	must(err)
	must(put(t.Context(), s, "d/e/now", "now", tree.Condition{}))
	remove("d/e")

	prune := func(name string, dryRun bool) (all []string) {
		t.Helper()
		left, err := s.Prune(t.Context(), name, dryRun, func(v tree.Version, bytes int64) {
			all = append(all, fmt.Sprintf("%s %d", v.Name, bytes))
		})
		if must(err); left != 0 {
			t.Errorf("%d versions are left", left)
		}
		return all
	}
	versions := func(name string) (all []string) {
		t.Helper()
		for v, err := range s.Versions(t.Context(), name, tree.VersionOptions{}) {
			must(err)
			all = append(all, v.Name)
		}
		return all
	}
	before := versions("")
	want := []string{"d/e/f 9", "d/e 18", "d/e 3"}
	if got := prune("d/e", true); !slices.Equal(got, want) || !slices.Equal(versions(""), before) {
		t.Errorf("a dry run would delete %q, want %q, and leaves %q of %q", got, want, versions(""), before)
	}
	if got := prune("d/e", false); !slices.Equal(got, want) {
		t.Errorf("deleted are %q, want %q", got, want)
	}
	if got := versions("d/e"); len(got) > 0 {
		t.Errorf("of d/e there are %q", got)
	}
	if got := versions("d/kept"); !slices.Equal(got, []string{"d/kept"}) {
		t.Errorf("of d/kept there are %q", got)
	}
	if got := versions(""); !slices.Equal(got, []string{"other/x", "d"}) {
		t.Errorf("all are %q", got)
	}
	if got := prune("", false); !slices.Equal(got, []string{"other/x 9", "d 9"}) || len(versions("")) > 0 {
		t.Errorf("deleted are %q, and left are %q", got, versions(""))
	}
}

// TestManyCollectionsExpire: removed collections leave the history in one run, however many and small they are.
func TestManyCollectionsExpire(t *testing.T) {
	s, err := pgstore.Open(t.Context(), pgtest.Shared(t).Database(t, clean), pgstore.Options{History: time.Nanosecond, MaxConns: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for range 5 {
		_, err := s.Mkdir(t.Context(), "d", tree.MkdirOptions{}, tree.Condition{})
		if err == nil {
			err = s.Remove(t.Context(), "d", tree.Condition{})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Clean(t.Context()); err != nil {
		t.Fatal(err)
	}
	for v, err := range s.Versions(t.Context(), "", tree.VersionOptions{}) {
		t.Errorf("there still is %q, error %v", v.Name, err)
	}
}
