package pgstore_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"r-seed-1f3a754f.example/ifmatch/internal/pgtest"
	"r-seed-1f3a754f.example/ifmatch/pgstore"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

// TestPanicLeavesNoConnection: a Check that panics, as in a request, leaves neither a connection nor a lock behind.
func TestPanicLeavesNoConnection(t *testing.T) {
	dsn := pgtest.Shared(t).Database(t, clean)
	s, err := pgstore.Open(t.Context(), dsn, pgstore.Options{MaxConns: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := put(t.Context(), s, "f", "one", tree.Condition{}); err != nil {
		t.Fatal(err)
	}
	cond := tree.Condition{Names: []string{"f"}, Check: func(tree.View) error { panic("a check") }}
	for name, call := range map[string]func() error{
		"Put":  func() error { return put(t.Context(), s, "f", "two", cond) },
		"Move": func() error { _, _, err := s.Move(t.Context(), "f", "g", tree.CopyOptions{}, cond); return err },
		"Lock": func() error {
			_, _, err := s.Lock(t.Context(), tree.LockRequest{Root: "f", Timeout: time.Minute}, cond)
			return err
		},
		"Try": func() error { return s.Try(t.Context(), cond) },
		"Open": func() error {
			_, _, err := s.Open(t.Context(), "f", tree.ReadOptions{}, cond)
			return err
		},
		"List": func() error {
			for _, err := range s.List(t.Context(), "", tree.ListOptions{Depth: 1}, cond) {
				return err
			}
			return nil
		},
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s has not panicked", name)
				}
			}()
			t.Errorf("%s returns %v", name, call())
		}()
		if err := put(t.Context(), s, "f", "after "+name, tree.Condition{}); err != nil {
			t.Errorf("after %s: %v", name, err)
		}
	}
}

// TestSameContentWritesNothing: a PUT of the bytes that are there changes no row, and leaves no object, whether these
// are in the database or not. With a date, it sets that.
func TestSameContentWritesNothing(t *testing.T) {
	dsn := pgtest.Shared(t).Database(t, clean)
	objects := dirPlace(t)
	s, err := pgstore.Open(t.Context(), dsn, pgstore.Options{Blobs: objects, Inline: 10})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	state := func() (rows string, found int) {
		t.Helper()
		err := conn.QueryRow(t.Context(), `select concat_ws(' ', (select string_agg(xmin::text, ' ' order by name) from ifmatch.node),
 (select count(*) from ifmatch.change), (select count(*) from ifmatch.version), (select count(*) from ifmatch.content),
 (select count(*) from ifmatch.dead), (select count(*) from ifmatch.gone))`).Scan(&rows)
		for _, failed := range objects.List(t.Context()) {
			err = errors.Join(err, failed)
			found++
		}
		if err != nil {
			t.Fatal(err)
		}
		return rows, found
	}
	for _, content := range []string{"small", strings.Repeat("an object", 10)} {
		if err := put(t.Context(), s, "f", content, tree.Condition{}); err != nil {
			t.Fatal(err)
		}
		was, objects := state()
		opts := tree.PutOptions{Length: int64(len(content))}
		before, err := s.Stat(t.Context(), "f", tree.ReadOptions{Want: tree.WantTag})
		if err != nil {
			t.Fatal(err)
		}
		got, created, err := s.Put(t.Context(), "f", strings.NewReader(content), opts, tree.Condition{})
		if err != nil || created || got.Tag != before.Tag || !got.Modified.Equal(before.Modified) {
			t.Errorf("got %+v, created %v, error %v, want %+v", got, created, err, before)
		}
		if is, found := state(); is != was || found != objects {
			t.Errorf("%d bytes: the rows are %s with %d objects, and were %s with %d", len(content), is, found, was, objects)
		}
		opts.Modified = time.Unix(1_000_000_000, 0)
		if got, _, err = s.Put(t.Context(), "f", strings.NewReader(content), opts, tree.Condition{}); err != nil ||
			got.Tag != before.Tag || !got.Modified.Equal(opts.Modified) {
			t.Errorf("with a date: got %+v, error %v", got, err)
		}
		if is, found := state(); is == was || found != objects {
			t.Errorf("with a date: the rows are %s with %d objects, and were %s with %d", is, found, was, objects)
		}
	}
}

// TestUploadsEndByTheClockOfTheDatabase: the clock of a replica may be an hour wrong.
func TestUploadsEndByTheClockOfTheDatabase(t *testing.T) {
	for _, wrong := range []string{"1 hour", "-1 hour"} {
		dsn := pgtest.Shared(t).Database(t, clean)
		conn, err := pgx.Connect(t.Context(), dsn)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close(context.Background()) })
		exec := func(sql string) {
			t.Helper()
			if _, err := conn.Exec(t.Context(), sql); err != nil {
				t.Fatal(err)
			}
		}
		first, err := pgstore.Open(t.Context(), dsn, pgstore.Options{})
		if err != nil {
			t.Fatal(err)
		}
		first.Close()
		exec("drop schema if exists shifted cascade; create schema shifted")
		for _, name := range []string{"now", "clock_timestamp"} {
			exec("create function shifted." + name + "() returns timestamptz language sql as $$select pg_catalog." + name +
				"() + interval '" + wrong + "'$$")
		}
		t.Cleanup(func() { _, _ = conn.Exec(context.Background(), "drop schema shifted cascade") })
		s, err := pgstore.Open(t.Context(), dsn+"&search_path=shifted,pg_catalog", pgstore.Options{Blobs: dirPlace(t), NoMigrate: true})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		ends := func() time.Time { return s.Time().Add(30 * time.Minute) }
		u, err := s.NewUpload(t.Context(), "f", tree.UploadOptions{Length: 2, Expires: ends()}, tree.Condition{})
		if err != nil {
			t.Fatal(err)
		}
		part := func(want string) {
			t.Helper()
			if err := u.Append(t.Context(), strings.NewReader("x"), tree.AppendOptions{Expires: ends}); err != nil {
				t.Fatalf("%s: %v", wrong, err)
			}
			if err := u.Close(); err != nil {
				t.Fatal(err)
			}
			var left time.Duration
			if err := conn.QueryRow(t.Context(), "select expires - (pg_catalog.now() + interval '"+wrong+"') from ifmatch.upload").
				Scan(&left); err != nil || left.Round(time.Minute) != 30*time.Minute {
				t.Errorf("%s: %s, the upload ends in %v, error %v", wrong, want, left, err)
			}
		}
		part("at first")
		if u, err = s.OpenUpload(t.Context(), u.State().ID); err != nil {
			t.Fatalf("%s: opened again: %v", wrong, err)
		}
		part("after another part")
		exec("update ifmatch.upload set expires = expires - interval '31 minutes'")
		if _, err := s.OpenUpload(t.Context(), u.State().ID); !errors.Is(err, tree.ErrNotExist) {
			t.Errorf("%s: after its end: %v", wrong, err)
		}
	}
}
