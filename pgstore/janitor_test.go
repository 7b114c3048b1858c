package pgstore_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"r-seed-1f3a754f.example/ifmatch/internal/pgtest"
	"r-seed-1f3a754f.example/ifmatch/pgstore"
	"r-seed-1f3a754f.example/ifmatch/pgstore/blobs"
	"r-seed-1f3a754f.example/ifmatch/tree"
	"r-seed-1f3a754f.example/ifmatch/tree/treetest"
)

// hourly opens a store that keeps versions for an hour, the place of all its contents, and a connection beside it. must ends
// the test if there is an error.
func hourly(t *testing.T) (s *pgstore.Store, dir *blobs.Dir, conn *pgx.Conn, must func(error)) {
	t.Helper()
	must = func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	dsn := pgtest.Shared(t).Database(t, clean)
	dir, err := blobs.NewDir(t.TempDir())
	must(err)
	s, err = pgstore.Open(t.Context(), dsn, pgstore.Options{Blobs: dir, Inline: -1, History: time.Hour})
	must(err)
	t.Cleanup(func() { s.Close() })
	conn, err = pgx.Connect(t.Context(), dsn)
	must(err)
	t.Cleanup(func() { conn.Close(context.Background()) })
	return s, dir, conn, must
}

// TestJanitor: what has expired is removed, with its content, and nothing else is.
func TestJanitor(t *testing.T) {
	ctx := t.Context()
	s, dir, conn, must := hourly(t)
	mkdir := func(name string) {
		t.Helper()
		_, err := s.Mkdir(ctx, name, tree.MkdirOptions{}, tree.Condition{})
		must(err)
	}
	objects := func() (n int) {
		t.Helper()
		for _, err := range dir.List(ctx) {
			must(err)
			n++
		}
		return n - 1 // without the one that names the tree
	}
	versions := func() (names []string) {
		t.Helper()
		for v, err := range s.Versions(ctx, "", tree.VersionOptions{}) {
			must(err)
			names = append(names, v.Name)
		}
		return names
	}
	// later makes all rows older by d, so that the janitor sees them as after that time.
	later := func(d time.Duration) {
		t.Helper()
		for _, sql := range []string{
			"update ifmatch.version set gone = gone - $1::interval", "update ifmatch.dead set since = since - $1::interval",
			"update ifmatch.job set until = until - $1::interval",
			"update ifmatch.upload set expires = expires - $1::interval, held_until = held_until - $1::interval",
			"update ifmatch.gone set at = at - $1::interval", "update ifmatch.davlock set expires = expires - $1::interval",
			"update ifmatch.change set at = at - extract(epoch from $1::interval)::bigint * 1000000000",
		} {
			_, err := conn.Exec(ctx, sql, d)
			must(err)
		}
		must(s.Clean(ctx))
	}

	must(put(ctx, s, "f", "one", tree.Condition{}))
	must(put(ctx, s, "f", "two", tree.Condition{}))
	must(put(ctx, s, "shared", "three", tree.Condition{}))
	_, _, err := s.Copy(ctx, "shared", "copy", tree.CopyOptions{}, tree.Condition{})
	must(err)
	must(s.Remove(ctx, "shared", tree.Condition{}))
	mkdir("d")
	mkdir("d/e")
	must(put(ctx, s, "d/e/g", "four", tree.Condition{}))
	must(s.Remove(ctx, "d", tree.Condition{}))
	upload := func(content string, expires time.Duration) tree.Upload {
		t.Helper()
		u, err := s.NewUpload(ctx, "u", tree.UploadOptions{Length: 9, Expires: time.Now().Add(expires)}, tree.Condition{})
		must(err)
		must(u.Append(ctx, strings.NewReader(content), tree.AppendOptions{}))
		must(u.Close())
		return u
	}
	short, long := upload("short", time.Hour), upload("long", 1000*time.Hour)
	since, err := s.Now(ctx)
	must(err)

	later(0)
	if got := versions(); !slices.Equal(got, []string{"f", "shared", "d"}) || objects() != 6 {
		t.Errorf("at once, the history has %q, and there are %d objects, want 6", got, objects())
	}
	later(2 * time.Hour) // the history and the short upload have expired, and their contents are garbage
	if got := versions(); len(got) != 0 || objects() != 6 {
		t.Errorf("after two hours, the history has %q, and there are %d objects, want 6", got, objects())
	}
	later(25 * time.Hour)
	if n := objects(); n != 3 {
		t.Errorf("after a day there are %d objects, want those of f, of the copy and of the long upload", n)
	}
	if got := treetest.Layout(t, s); !slices.Equal(got, []string{"copy=three", "f=two"}) {
		t.Errorf("the tree is %q", got)
	}
	if _, err := s.OpenUpload(ctx, short.State().ID); !errors.Is(err, tree.ErrNotExist) {
		t.Errorf("the short upload: %v", err)
	}
	u, err := s.OpenUpload(ctx, long.State().ID)
	must(err)
	must(u.Append(ctx, strings.NewReader("-long"), tree.AppendOptions{}))
	_, _, err = u.Put(ctx, "u", tree.PutOptions{}, tree.Condition{})
	must(err)

	later(8 * 24 * time.Hour)
	for c, err := range s.Changes(ctx, since, "") {
		if !errors.Is(err, tree.ErrNotExist) {
			t.Errorf("a cursor before what was forgotten yields %+v, error %v", c, err)
		}
		break
	}
	// A date that was shown for a name before it was forgotten does not prove another content.
	var shown time.Time
	must(put(ctx, s, "again", "one", tree.Condition{}))
	state, err := s.Stat(ctx, "again", tree.ReadOptions{})
	must(err)
	shown = state.Modified
	must(s.Remove(ctx, "again", tree.Condition{}))
	later(100 * 24 * time.Hour)
	_, _, err = s.Put(ctx, "again", strings.NewReader("two"), tree.PutOptions{Length: 3, Modified: shown}, tree.Condition{})
	must(err)
	must(s.Try(ctx, treetest.If(func(v tree.View) error {
		state, err := v.State("again")
		if state.ProvenBy(shown) == tree.True {
			t.Errorf("the date of a content that was forgotten proves another one: %+v", state)
		}
		return err
	}, "again")))
	if got := treetest.Layout(t, s); !slices.Equal(got, []string{"again=two", "copy=three", "f=two", "u=long-long"}) {
		t.Errorf("the tree is %q", got)
	}
}

// TestJanitorWaitsForNoRestore: a version that a restore reads stays, and what else has expired is removed in the same run.
func TestJanitorWaitsForNoRestore(t *testing.T) {
	ctx := t.Context()
	s, _, conn, must := hourly(t)
	must(put(ctx, s, "f", "f", tree.Condition{}))
	must(s.Remove(ctx, "f", tree.Condition{}))
	_, err := s.Mkdir(ctx, "d", tree.MkdirOptions{}, tree.Condition{})
	must(err)
	must(s.Remove(ctx, "d", tree.Condition{}))
	_, err = conn.Exec(ctx, "update ifmatch.version set gone = gone - interval '2 hours'")
	must(err)
	restore, err := conn.Begin(ctx)
	must(err)
	_, err = restore.Exec(ctx, "select from ifmatch.version where kind = 'f' for share")
	must(err)
	if err := s.Clean(ctx); err == nil || !strings.Contains(err.Error(), "files of the history") {
		t.Errorf("while a version is read: %v", err)
	}
	var left string
	must(restore.QueryRow(ctx, "select string_agg(kind::text, ' ') from ifmatch.version").Scan(&left))
	if left != "f" {
		t.Errorf("of a file and a collection that have expired, %q are left", left)
	}
	must(restore.Rollback(ctx))
	_, err = conn.Exec(ctx, "update ifmatch.job set until = until - interval '2 hours'")
	must(err)
	must(s.Clean(ctx))
	for v, err := range s.Versions(ctx, "", tree.VersionOptions{}) {
		t.Errorf("in the next run: %+v, %v", v, err)
	}
}

// TestServerWithoutHistory keeps no new version, and those that another server has kept for a day.
func TestServerWithoutHistory(t *testing.T) {
	ctx := t.Context()
	keeps, dir, conn, must := hourly(t)
	s, err := pgstore.Open(ctx, conn.Config().ConnString(), pgstore.Options{Blobs: dir, NoHistory: true})
	must(err)
	defer s.Close()
	for _, by := range []*pgstore.Store{keeps, s} {
		must(put(ctx, by, "f", "f", tree.Condition{}))
		_, err := by.Mkdir(ctx, "d", tree.MkdirOptions{}, tree.Condition{})
		must(errors.Join(err, by.Remove(ctx, "d", tree.Condition{}), by.Remove(ctx, "f", tree.Condition{})))
	}
	for _, test := range []struct {
		age  time.Duration
		want []string
	}{{0, []string{"d", "f"}}, {23 * time.Hour, []string{"d", "f"}}, {2 * time.Hour, nil}} {
		_, err := conn.Exec(ctx, "update ifmatch.version set gone = gone - $1::interval", test.age)
		must(err)
		_, err = conn.Exec(ctx, "delete from ifmatch.job")
		must(err)
		must(s.Clean(ctx))
		var left []string
		for v, err := range s.Versions(ctx, "", tree.VersionOptions{}) {
			must(err)
			left = append(left, v.Name)
		}
		if !slices.Equal(left, test.want) {
			t.Errorf("after %v more, the history has %q, want %q", test.age, left, test.want)
		}
	}
}

// A hungPlace removes nothing, and does not say so, as a file system of a machine that is gone.
type hungPlace struct {
	blobs.Store
	removes, freed chan struct{}
}

func (p hungPlace) Delete(context.Context, blobs.ID) error {
	close(p.removes)
	<-p.freed
	return errors.New("freed")
}

// TestCloseWaitsForNoObject that hangs.
func TestCloseWaitsForNoObject(t *testing.T) {
	ctx := t.Context()
	_, dir, conn, must := hourly(t)
	place := hungPlace{dir, make(chan struct{}), make(chan struct{})}
	defer close(place.freed)
	s, err := pgstore.Open(ctx, conn.Config().ConnString(), pgstore.Options{Blobs: place, Reader: true, Patience: time.Second})
	must(err)
	_, err = conn.Exec(ctx, "insert into ifmatch.dead (blob, place, since) values (gen_random_uuid(), 'o', now() - interval '3 days')")
	must(err)
	s.Start()
	<-place.removes
	within(t, "Close", s.Close)
}
