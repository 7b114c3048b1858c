package pgstore

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"r-seed-1f3a754f.example/ifmatch/internal/pgtest"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

// TestStatementsArePlannedOnce: PostgreSQL keeps the plans of the statements of usual requests. To plan one anew each time may
// take longer than to run it. Five times it does so in any case, to compare the costs.
func TestStatementsArePlannedOnce(t *testing.T) {
	s, err := Open(t.Context(), pgtest.Shared(t).Database(t, nil), Options{MaxConns: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	// What the server finds out about tables, at a time of its own, changes the costs.
	if _, err := s.pool.Exec(t.Context(), `do $$ declare name regclass; begin
 for name in select oid from pg_class where relnamespace = 'ifmatch'::regnamespace and relkind = 'r' loop
  execute format('alter table %s set (autovacuum_enabled = false)', name);
 end loop; end $$`); err != nil {
		t.Fatal(err)
	}
	put := func(name, content string) {
		t.Helper()
		cond := tree.Condition{Names: []string{name}, Check: func(v tree.View) error { _, err := v.Locks(name); return err }}
		if err := s.Try(t.Context(), cond); err != nil {
			t.Fatal(err)
		}
		_, _, err := s.Put(t.Context(), name, strings.NewReader(content), tree.PutOptions{Length: -1}, cond)
		if err != nil {
			t.Fatal(err)
		}
	}
	for i := range 20 {
		name := fmt.Sprint("planned-", i)
		put(name, "old")
		put(name, "new")
		if _, err := s.Stat(t.Context(), name, tree.ReadOptions{Want: tree.WantLocks}); err != nil {
			t.Fatal(err)
		}
		l, _, err := s.Lock(t.Context(), tree.LockRequest{Root: name, Timeout: time.Hour}, tree.Condition{})
		if err == nil {
			err = s.Unlock(t.Context(), name, l.Token, tree.Condition{})
		}
		if err == nil {
			_, _, err = s.Move(t.Context(), name, name+"-moved", tree.CopyOptions{}, tree.Condition{})
		}
		if err == nil {
			err = s.Remove(t.Context(), name+"-moved", tree.Condition{})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	rows, err := s.pool.Query(t.Context(), "select statement, custom_plans, generic_plans from pg_prepared_statements")
	if err != nil {
		t.Fatal(err)
	}
	kept := 0
	var sql string
	var anew, used int
	_, err = pgx.ForEachRow(rows, []any{&sql, &anew, &used}, func() error {
		if anew > 5 {
			t.Errorf("planned anew %d times:\n%s", anew, sql)
		}
		kept += min(used, 1)
		return nil
	})
	if err != nil || kept < 10 {
		t.Fatalf("%d plans are kept, %v", kept, err)
	}
}
