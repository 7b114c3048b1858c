package pgstore_test

import (
	"context"
	"errors"
	"iter"
	"slices"
	"testing"

	"github.com/jackc/pgx/v5"

	"r-seed-1f3a754f.example/ifmatch/internal/pgtest"
	"r-seed-1f3a754f.example/ifmatch/pgstore"
	"r-seed-1f3a754f.example/ifmatch/tree"
	"r-seed-1f3a754f.example/ifmatch/tree/treetest"
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

// TestFollowerOfALostChange: one who waits for changes while a standby takes over that did not have the last of them lists
// again, too, although no question of its own has met a broken connection. The numbers of the lost ones are given out again.
func TestFollowerOfALostChange(t *testing.T) {
	r := newFaultRig(t, 0)
	begun, err := r.direct.Now(r.ctx)
	r.must(err)
	r.must(put(r.ctx, r.direct, "lost", "content", tree.Condition{}))
	next, stop := iter.Pull2(r.through.Changes(r.ctx, begun, ""))
	defer stop()
	if c, err, _ := next(); c.Name != "lost" || err != nil {
		t.Fatalf("it is told of %q, error %v", c.Name, err)
	}
	_, err = r.conn.Exec(r.ctx, "delete from ifmatch.change where path = 'lost'")
	r.must(err)
	// All connections but one are new ones, and nothing has failed.
	tx, err := r.conn.Begin(r.ctx)
	r.must(err)
	_, err = tx.Exec(r.ctx, "lock table ifmatch.node in access exclusive mode")
	r.must(err)
	reads := make(chan error)
	for range 8 {
		go func() { _, err := r.through.Stat(r.ctx, "lost", tree.ReadOptions{}); reads <- err }()
	}
	treetest.Eventually(t, "the reads", func() (wait bool) {
		r.must(tx.QueryRow(r.ctx, `select count(*) = 8 from pg_stat_activity, pg_stat_clear_snapshot()
 where datname = current_database() and wait_event_type = 'Lock'`).Scan(&wait))
		return wait
	})
	r.must(tx.Rollback(r.ctx))
	for range 8 {
		r.must(<-reads)
	}
	r.must(put(r.ctx, r.direct, "after", "content", tree.Condition{}))
	if c, err, _ := next(); !errors.Is(err, tree.ErrNotExist) {
		t.Errorf("it is told of %q, error %v", c.Name, err)
	}
}
