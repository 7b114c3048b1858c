package pgstore_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"r-seed-1f3a754f.example/ifmatch/internal/pgtest"
	"r-seed-1f3a754f.example/ifmatch/pgstore"
	"r-seed-1f3a754f.example/ifmatch/pgstore/blobs"
	"r-seed-1f3a754f.example/ifmatch/tree"
	"r-seed-1f3a754f.example/ifmatch/tree/treetest"
)

// openThrough opens a store whose only connection goes through a proxy, so that each statement is prepared once.
func openThrough(t *testing.T) (s *pgstore.Store, p *proxy, dsn string) {
	t.Helper()
	dsn = pgtest.Shared(t).Database(t, clean)
	dir, err := blobs.NewDir(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	direct, err := pgstore.Open(t.Context(), dsn, pgstore.Options{Blobs: dir})
	if err != nil {
		t.Fatal(err)
	}
	direct.Close()
	p = newProxy(t)
	s, err = pgstore.Open(t.Context(), p.through(dsn), pgstore.Options{Blobs: dir, MaxConns: 1, NoMigrate: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.allow(unlimited); s.Close() })
	return s, p, dsn
}

func put(ctx context.Context, s tree.Store, name, content string, cond tree.Condition) error {
	_, _, err := s.Put(ctx, name, strings.NewReader(content), tree.PutOptions{Length: int64(len(content))}, cond)
	return err
}

var errRefused = errors.New("refused")

// TestRoundTrips: each method takes as many round trips to the database as the network is to see.
func TestRoundTrips(t *testing.T) {
	s, p, _ := openThrough(t)
	ctx := t.Context()
	mkdir := func(name string) error {
		_, err := s.Mkdir(ctx, name, tree.MkdirOptions{}, tree.Condition{})
		return err
	}
	tokens := map[string]string{}
	lock := func(name string) error {
		l, _, err := s.Lock(ctx, tree.LockRequest{Root: name, Timeout: time.Hour}, tree.Condition{})
		tokens[name] = l.Token
		return err
	}
	large := strings.Repeat("large", 10<<10)
	// Each row is run once before it counts: then its statements are prepared. i is 0 then, and 1 when it counts.
	for _, row := range []struct {
		name  string
		trips int
		do    func(i int) error
	}{
		{"MKCOL", 2, func(i int) error { return mkdir(fmt.Sprint("d", i)) }},
		{"PUT of a new name", 2, func(i int) error { return put(ctx, s, fmt.Sprint("f", i), "old", tree.Condition{}) }},
		{"PUT If-Match", 2, func(i int) error {
			name := fmt.Sprint("f", i)
			return put(ctx, s, name, "new", treetest.IfTag(name, treetest.TagOf("old")))
		}},
		{"Try and PUT of a short body", 2, func(i int) error {
			cond := late(treetest.IfTag("f0", treetest.TagOf([]string{"new", "short"}[i])))
			return errors.Join(s.Try(ctx, cond), put(ctx, s, "f0", []string{"short", "new"}[i], cond))
		}},
		{"PUT of a large content", 3, func(i int) error { // one tells the janitor, before the first bytes
			return put(ctx, s, fmt.Sprint("large", i), large, tree.Condition{})
		}},
		{"PUT of the bytes that are there", 1, func(i int) error { return put(ctx, s, "f0", "new", tree.Condition{}) }},
		{"PUT that is refused", 1, func(i int) error {
			err := put(ctx, s, "f0", "other", tree.Condition{Check: func(tree.View) error { return errRefused }})
			if err != errRefused {
				return fmt.Errorf("it is not refused: %w", err)
			}
			return nil
		}},
		{"Try", 1, func(int) error { return s.Try(ctx, treetest.IfTag("f0", treetest.TagOf("new"))) }},
		{"Stat", 1, func(int) error {
			_, err := s.Stat(ctx, "f0", tree.ReadOptions{Want: tree.WantTag | tree.WantLocks | tree.WantProperties})
			return err
		}},
		{"GET If-Match", 1, func(int) error {
			c, _, err := s.Open(ctx, "f0", tree.ReadOptions{Want: tree.WantTag}, treetest.IfTag("f0", treetest.TagOf("new")))
			if err == nil {
				err = c.Close()
			}
			return err
		}},
		{"PROPFIND", 1, func(int) error {
			for _, err := range treetest.Members(ctx, s, "", tree.WantTag|tree.WantLocks|tree.WantProperties) {
				if err != nil {
					return err
				}
			}
			return nil
		}},
		{"PROPPATCH", 2, func(i int) error {
			return s.PatchProperties(ctx, "f0", tree.Patch{Modified: time.Unix(int64(i), 0)}, tree.Condition{})
		}},
		{"COPY of a collection", 2, func(i int) error {
			_, _, err := s.Copy(ctx, "d0", fmt.Sprint("copy", i), tree.CopyOptions{}, tree.Condition{})
			return err
		}},
		{"MOVE", 2, func(i int) error {
			_, _, err := s.Move(ctx, fmt.Sprint("copy", i), fmt.Sprint("moved", i), tree.CopyOptions{}, tree.Condition{})
			return err
		}},
		{"MOVE over something", 2, func(i int) error {
			_, _, err := s.Move(ctx, fmt.Sprint("moved", i), fmt.Sprint("d", i), tree.CopyOptions{}, tree.Condition{})
			return err
		}},
		{"DELETE", 2, func(i int) error { return s.Remove(ctx, fmt.Sprint("d", i), tree.Condition{}) }},
		{"LOCK", 2, func(i int) error { return lock(fmt.Sprint("f", i)) }},
		{"LOCK of nothing", 2, func(i int) error { return lock(fmt.Sprint("new", i)) }},
		{"UNLOCK", 2, func(i int) error {
			name := fmt.Sprint("new", i)
			return s.Unlock(ctx, name, tokens[name], tree.Condition{})
		}},
	} {
		p.allow(unlimited)
		within(t, row.name+", at first", func() error { return row.do(0) })
		if _, err := s.Stat(ctx, "", tree.ReadOptions{}); err != nil { // it waits for the end of a rollback
			t.Fatal(err)
		}
		p.allow(row.trips)
		within(t, row.name, func() error { return row.do(1) })
		if n := p.counted(); n != row.trips {
			t.Errorf("%s takes %d round trips, want %d", row.name, n, row.trips)
		}
	}
	p.allow(unlimited)
}

// TestLostAnswers: an answer to a commit that is lost is found out, and never guessed.
func TestLostAnswers(t *testing.T) {
	s, p, _ := openThrough(t)
	ctx := t.Context()
	if err := put(ctx, s, "counter", "0", tree.Condition{}); err != nil {
		t.Fatal(err)
	}
	content := func(i int) string { return fmt.Sprint(i) }
	for i := range 12 {
		cut := lost
		if i%2 == 0 {
			cut = unheard
		}
		p.next(answered, cut) // the look is answered, the commit is not
		err := put(ctx, s, "counter", content(i+1), treetest.IfTag("counter", treetest.TagOf(content(i))))
		if err != nil {
			t.Fatalf("write %d: %v", i, err)
		}
		p.next()
		versions := 0
		for _, err := range s.Versions(ctx, "counter", tree.VersionOptions{}) {
			if err != nil {
				t.Fatal(err)
			}
			versions++
		}
		if versions != i+1 {
			t.Fatalf("after %d writes there are %d old versions: one has happened twice", i+1, versions)
		}
	}
	// A lock is taken once, and a removal that has happened is no 404.
	p.next(answered, unheard)
	if _, _, err := s.Lock(ctx, tree.LockRequest{Root: "counter", Timeout: time.Hour}, tree.Condition{}); err != nil {
		t.Errorf("Lock: %v", err)
	}
	p.next(answered, unheard)
	if err := s.Remove(ctx, "counter", tree.Condition{}); err != nil {
		t.Errorf("Remove: %v", err)
	}
	// A look that is lost is done again.
	p.next(lost)
	if err := put(ctx, s, "new", "1", treetest.IfAbsent("new")); err != nil {
		t.Errorf("Put after a lost look: %v", err)
	}
	// So is a read.
	p.next(lost)
	if _, err := s.Stat(ctx, "new", tree.ReadOptions{}); err != nil {
		t.Errorf("Stat: %v", err)
	}
	p.next(unheard)
	for _, err := range treetest.Members(ctx, s, "", tree.WantLocks) {
		if err != nil {
			t.Errorf("List: %v", err)
		}
	}
}

// TestServerIsGoneBehindAPooler: an error that ends a session is no answer to a commit. What has become of that is found
// out, and the object of a file that has got its name stays.
func TestServerIsGoneBehindAPooler(t *testing.T) {
	r := newFaultRig(t, 0)
	for i, cut := range []fate{crashed, dropped} {
		r.lay()
		content := fmt.Sprint(strings.Repeat("large", 100), i)
		r.must(put(r.ctx, r.through, "warm", content, tree.Condition{}))
		r.proxy.next(answered, answered, cut) // the claim of the object, the look, the commit
		if err := put(r.ctx, r.through, "new", content, treetest.IfAbsent("new")); err != nil {
			t.Errorf("fate %d: error %v", cut, err)
		}
		if !r.proxy.hasMet() {
			t.Errorf("fate %d: nothing was cut", cut)
		}
		r.proxy.next()
		c, state, err := r.direct.Open(r.ctx, "new", tree.ReadOptions{}, tree.Condition{})
		if err == nil {
			_, err = c.WriteRange(r.ctx, io.Discard, 0, state.Size)
		}
		if err != nil {
			t.Errorf("fate %d: the file: %v", cut, err)
		}
	}
	r.proxy.next(dropped)
	if _, err := r.through.Stat(r.ctx, "old", tree.ReadOptions{}); err != nil {
		t.Errorf("a read is not tried again: %v", err)
	}
}

// TestLateCommit: a write that comes to the database when its locks have ended, as from a replica that was stopped, changes
// nothing, and is not run again.
func TestLateCommit(t *testing.T) {
	r := newFaultRig(t, 0)
	r.lay()
	before := r.state()
	r.must(put(r.ctx, r.through, "warm", "1", tree.Condition{})) // prepares the statements
	r.must(r.direct.Remove(r.ctx, "warm", tree.Condition{}))
	failed := make(chan error, 1)
	r.proxy.next(answered, held)
	go func() { failed <- put(r.ctx, r.through, "late", "1", tree.Condition{}) }()
	count := func(state string) (n int) {
		r.must(r.conn.QueryRow(r.ctx, `select count(*) from pg_stat_activity where datname = current_database()
 and state = $1 and query like '%davlock%'`, state).Scan(&n))
		return n
	}
	treetest.Eventually(t, "the transaction", func() bool { return count("idle in transaction") > 0 })
	treetest.Eventually(t, "the end of its locks", func() bool { return count("idle in transaction") == 0 })
	r.must(put(r.ctx, r.direct, "late", "2", treetest.IfAbsent("late"))) // the name is free
	r.must(r.direct.Remove(r.ctx, "late", tree.Condition{}))
	r.proxy.next()
	if err := <-failed; !errors.Is(err, tree.ErrUnavailable) || isUnknown(err) {
		t.Errorf("a write whose locks have ended: %v", err)
	}
	if after := r.state(); len(strings.Split(after, "\n")) != len(strings.Split(before, "\n"))+2 || strings.Contains(after, "\nlate") {
		t.Errorf("it has changed something:\n%s\nbefore\n%s", after, before)
	}
}

// TestClockBehind: on a new primary whose clock is behind, writes wait, or are refused until it has come that far. Reads go
// on.
func TestClockBehind(t *testing.T) {
	for _, test := range []struct {
		ahead time.Duration
		waits bool
	}{{300 * time.Millisecond, true}, {time.Minute, false}} {
		r := newFaultRig(t, 0)
		r.must(put(r.ctx, r.direct, "f", "1", tree.Condition{}))
		// What the former primary has done, whose clock was ahead.
		_, err := r.conn.Exec(r.ctx, `update ifmatch.change set at = (extract(epoch from clock_timestamp() + $1) * 1000000000)::bigint`,
			test.ahead)
		r.must(err)
		r.proxy.next(lost) // the next session is with the new primary
		_, _ = r.through.Stat(r.ctx, "f", tree.ReadOptions{})
		r.proxy.next()
		err = put(r.ctx, r.through, "f", "2", tree.Condition{})
		var refused *tree.StorageError
		switch {
		case test.waits && err == nil:
		case !test.waits && errors.As(err, &refused) && refused.Kind == tree.ErrUnavailable && refused.RetryAfter > test.ahead/2:
		default:
			t.Errorf("a write %v before the latest change: %v", test.ahead, err)
		}
		if _, err := r.through.Stat(r.ctx, "f", tree.ReadOptions{}); err != nil {
			t.Errorf("a read: %v", err)
		}
	}
}
