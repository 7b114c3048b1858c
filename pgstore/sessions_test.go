package pgstore_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"r-seed-1f3a754f.example/ifmatch/pgstore"
	"r-seed-1f3a754f.example/ifmatch/tree"
	"r-seed-1f3a754f.example/ifmatch/tree/treetest"
)

// TestNoSessionCanBegin: where the database lets no server in for a while, as while a password is changed, it is away.
func TestNoSessionCanBegin(t *testing.T) {
	r := newFaultRig(t, 0)
	r.lay()
	do := func(sql string) {
		t.Helper()
		_, err := r.conn.Exec(r.ctx, sql)
		r.must(err)
	}
	do("do $$ begin create role other superuser login; exception when duplicate_object then null; end $$")
	s, err := pgstore.Open(r.ctx, strings.Replace(r.proxy.through(r.conn.Config().ConnString()), "ifmatch@", "other@", 1),
		pgstore.Options{NoMigrate: true})
	r.must(err)
	defer s.Close()
	use := func() map[string]error {
		_, read := s.Stat(r.ctx, "old", tree.ReadOptions{})
		_, now := s.Now(r.ctx)
		return map[string]error{"write": put(r.ctx, s, "old", "new", tree.Condition{}), "read": read, "now": now}
	}
	do("alter role other nologin; select pg_terminate_backend(pid, 10000) from pg_stat_activity where usename = 'other'")
	for what, err := range use() {
		unavailable(t, what, err)
	}
	do("alter role other login")
	for what, err := range use() {
		if err != nil {
			t.Errorf("in the end, the %s has the error %v", what, err)
		}
	}
}

// TestStatementThatIsEnded, by statement_timeout or an administrator, is no fault of the server, and can be tried again.
func TestStatementThatIsEnded(t *testing.T) {
	r := newFaultRig(t, 0)
	r.lay()
	for what, do := range map[string]func() error{
		"read":  func() error { _, err := r.direct.Stat(r.ctx, "old", tree.ReadOptions{}); return err },
		"write": func() error { return put(r.ctx, r.direct, "old", "new", tree.Condition{}) },
	} {
		tx, err := r.conn.BeginTx(r.ctx, pgx.TxOptions{})
		r.must(err)
		_, err = tx.Exec(r.ctx, "lock table ifmatch.node in access exclusive mode")
		r.must(err)
		failed := make(chan error, 1)
		go func() { failed <- do() }()
		treetest.Eventually(t, "the end of the statement", func() bool {
			var ended bool
			r.must(tx.QueryRow(r.ctx, `select coalesce(bool_or(pg_cancel_backend(pid)), false) from pg_stat_activity
 where datname = current_database() and wait_event_type = 'Lock'`).Scan(&ended))
			_, err := tx.Exec(r.ctx, "select pg_stat_clear_snapshot()")
			r.must(err)
			return ended
		})
		if err := <-failed; !errors.Is(err, tree.ErrBusy) {
			t.Errorf("a %s has the error %v", what, err)
		}
		r.must(tx.Rollback(r.ctx))
	}
}
