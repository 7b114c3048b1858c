package pgstore_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/jackc/pgx/v5"

	"r-seed-1f3a754f.example/ifmatch/internal/pgtest"
	"r-seed-1f3a754f.example/ifmatch/pgstore"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

// TestCursorOfALostChange: a follower that has had a change which an asynchronous standby did not have lists again.
func TestCursorOfALostChange(t *testing.T) {
	ctx := t.Context()
	dsn := pgtest.Shared(t).Database(t, clean)
	s, err := pgstore.Open(ctx, dsn, pgstore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	write := func(name string) tree.Cursor {
		t.Helper()
		err := put(ctx, s, name, "content", tree.Condition{})
		now, failed := s.Now(ctx)
		if err := errors.Join(err, failed); err != nil {
			t.Fatal(err)
		}
		return now
	}
	kept, lost := write("kept"), write("lost")
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	if _, err := conn.Exec(ctx, "delete from ifmatch.change where path = 'lost'"); err != nil {
		t.Fatal(err)
	}
	now := write("new")
	for _, test := range []struct {
		name  string
		since tree.Cursor
		want  []string
		err   error
	}{
		{"from the change before", kept, []string{"new"}, nil},
		{"from the lost change", lost, nil, tree.ErrNotExist},
		{"from the beginning", "", []string{"kept", "new"}, nil},
	} {
		var got []string
		var err error
		for c, failed := range s.Changes(ctx, test.since, now) {
			if err = failed; err == nil {
				got = append(got, c.Name)
			}
		}
		if !slices.Equal(got, test.want) || !errors.Is(err, test.err) {
			t.Errorf("%s: %q, error %v, want %q, %v", test.name, got, err, test.want, test.err)
		}
	}
}
