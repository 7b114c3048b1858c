package pgstore_test

import (
	"os"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"r-seed-1f3a754f.example/ifmatch/internal/pgtest"
	"r-seed-1f3a754f.example/ifmatch/pgstore"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

// TestServerWithTheRightsOfTheDocuments: a role that may make no tables serves those that its owner has made.
func TestServerWithTheRightsOfTheDocuments(t *testing.T) {
	ctx, dsn := t.Context(), pgtest.Shared(t).Database(t, clean)
	owner, err := pgstore.Open(ctx, dsn, pgstore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := owner.Close(); err != nil {
		t.Fatal(err)
	}
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	page, err := os.ReadFile("../docs/cluster.md")
	if err != nil {
		t.Fatal(err)
	}
	grants := "do $$ begin create role server login; exception when duplicate_object then null; end $$;"
	for line := range strings.Lines(string(page)) {
		if line = strings.TrimSpace(line); strings.HasPrefix(line, "grant ") {
			grants += line
		}
	}
	if _, err := conn.Exec(ctx, grants); err != nil {
		t.Fatal(err)
	}
	s, err := pgstore.Open(ctx, strings.Replace(dsn, "ifmatch@", "server@", 1), pgstore.Options{NoHistory: true})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	_, err = s.Mkdir(ctx, "d", tree.MkdirOptions{}, tree.Condition{})
	for _, do := range []func() error{
		func() error { return put(ctx, s, "d/f", "content", tree.Condition{}) },
		func() error { _, _, err := s.Copy(ctx, "d", "e", tree.CopyOptions{}, tree.Condition{}); return err },
		func() error { _, _, err := s.Move(ctx, "d", "f", tree.CopyOptions{}, tree.Condition{}); return err },
		func() error { return s.Remove(ctx, "f", tree.Condition{}) },
		func() error { return s.Notes("link").Keep(ctx, "x", []byte("y"), 1) },
		func() error { _, err := s.Now(ctx); return err },
		func() error { return s.Clean(ctx) },
	} {
		if err == nil {
			err = do()
		}
	}
	if err != nil {
		t.Error(err)
	}
}
