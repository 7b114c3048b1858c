package pgstore_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"r-seed-1f3a754f.example/ifmatch/internal/pgtest"
	"r-seed-1f3a754f.example/ifmatch/pgstore"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

// TestPrunedCollectionIsMeasuredAgain: versions that have room again after a prune do not expire.
func TestPrunedCollectionIsMeasuredAgain(t *testing.T) {
	ctx := t.Context()
	dsn := pgtest.Shared(t).Database(t, clean)
	s, err := pgstore.Open(ctx, dsn, pgstore.Options{History: time.Hour, HistorySize: 150})
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(err)
	t.Cleanup(func() { s.Close() })
	_, err = s.Mkdir(ctx, "d", tree.MkdirOptions{}, tree.Condition{})
	must(err)
	for name, size := range map[string]int{"d/x": 100, "d/y": 20, "f": 100} {
		must(put(ctx, s, name, strings.Repeat("x", size), tree.Condition{}))
	}
	must(s.Remove(ctx, "d", tree.Condition{}))
	must(s.Clean(ctx)) // it is measured
	_, err = s.Prune(ctx, "d/x", false, func(tree.Version, int64) {})
	must(err)
	must(s.Remove(ctx, "f", tree.Condition{}))
	conn, err := pgx.Connect(ctx, dsn)
	must(err)
	t.Cleanup(func() { conn.Close(context.Background()) })
	_, err = conn.Exec(ctx, "delete from ifmatch.job")
	must(err)
	must(s.Clean(ctx))
	var got []string
	for v, err := range s.Versions(ctx, "", tree.VersionOptions{}) {
		must(err)
		got = append(got, v.Name)
	}
	if want := []string{"d", "f"}; !slices.Equal(got, want) {
		t.Errorf("the history has %q, want %q", got, want)
	}
}

// TestHistorySize: the oldest versions beyond the size go at the next run of the janitor, whatever their age, and with
// them all that is in a removed collection.
func TestHistorySize(t *testing.T) {
	for _, row := range []struct {
		size int64
		want []string // names of the versions that stay
	}{
		{0, []string{"a", "d", "empty", "b", "c"}}, // no bound
		{341, []string{"a", "d", "empty", "b", "c"}},
		{340, []string{"d", "empty", "b", "c"}}, // 100 + 140 + 1 + 50 + 50
		{240, []string{"empty", "b", "c"}},
		{101, []string{"empty", "b", "c"}},
		{100, []string{"b", "c"}},
		{99, []string{"c"}},
		{1, nil},
	} {
		t.Run(fmt.Sprint(row.size), func(t *testing.T) {
			ctx := t.Context()
			dsn := pgtest.Shared(t).Database(t, clean)
			s, err := pgstore.Open(ctx, dsn, pgstore.Options{History: time.Hour, HistorySize: row.size})
			must := func(err error) {
				t.Helper()
				if err != nil {
					t.Fatal(err)
				}
			}
			must(err)
			t.Cleanup(func() { s.Close() })
			remove := func(name string) { t.Helper(); must(s.Remove(ctx, name, tree.Condition{})) }
			for _, name := range []string{"d", "d/e", "d/e/f", "empty"} {
				_, err := s.Mkdir(ctx, name, tree.MkdirOptions{}, tree.Condition{})
				must(err)
			}
			for name, size := range map[string]int{"a": 100, "b": 50, "c": 50, "d/x": 40, "d/e/y": 60, "d/e/f/z": 40} {
				must(put(ctx, s, name, strings.Repeat("x", size), tree.Condition{}))
			}
			for _, name := range []string{"a", "d", "empty", "b", "c"} {
				remove(name)
			}
			must(s.Clean(ctx))

			var got []string
			for v, err := range s.Versions(ctx, "", tree.VersionOptions{}) {
				must(err)
				if got = append(got, v.Name); v.Collection && v.Size != 0 {
					t.Errorf("the collection %s has the size %d", v.Name, v.Size)
				}
			}
			if !slices.Equal(got, row.want) {
				t.Errorf("the history has %q, want %q", got, row.want)
			}
			conn, err := pgx.Connect(ctx, dsn)
			must(err)
			t.Cleanup(func() { conn.Close(context.Background()) })
			members := 1 // the root
			if slices.Contains(row.want, "d") {
				members += 6
			}
			if slices.Contains(row.want, "empty") {
				members++
			}
			var rows int
			must(conn.QueryRow(ctx, "select count(*) from ifmatch.node").Scan(&rows))
			if rows != members {
				t.Errorf("%d resources are left of removed collections and the root, want %d", rows, members)
			}
		})
	}
}
