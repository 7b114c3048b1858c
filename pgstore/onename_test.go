package pgstore

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jackc/pgx/v5"

	"r-seed-1f3a754f.example/ifmatch/internal/pgtest"
	"r-seed-1f3a754f.example/ifmatch/pgstore/turns"
	"r-seed-1f3a754f.example/ifmatch/tree"
	"r-seed-1f3a754f.example/ifmatch/tree/treetest"
)

// TestOneNameLeavesConnections: however many clients write one name, two of its writes use a connection at once, so that
// other names can be written. Of those that name the version that is there, one succeeds.
func TestOneNameLeavesConnections(t *testing.T) {
	dsn := pgtest.Shared(t).Database(t, CleanDatabase)
	s, err := Open(t.Context(), dsn, Options{MaxConns: 4}) // three for writes
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	put := func(name, content string, cond tree.Condition) error {
		_, _, err := s.Put(t.Context(), name, strings.NewReader(content), tree.PutOptions{Length: -1}, cond)
		return err
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(put("hot", "old", tree.Condition{}))
	conn, err := pgx.Connect(t.Context(), dsn)
	must(err)
	defer conn.Close(t.Context())
	_, err = conn.Exec(t.Context(), "select pg_advisory_lock($1)", s.lockKey("hot"))
	must(err)
	waiting := func() (n int) {
		must(conn.QueryRow(t.Context(), `select count(*) from pg_locks where locktype = 'advisory' and not granted
 and database = (select oid from pg_database where datname = current_database())`).Scan(&n))
		return n
	}
	const writers = 8
	done := make(chan error)
	stale := errors.New("stale")
	old := treetest.If(func(v tree.View) error {
		now, err := v.State("hot")
		if err == nil && now.Tag != treetest.TagOf("old") {
			err = stale
		}
		return err
	}, "hot")
	for i := range writers {
		go func() {
			err := put("hot", fmt.Sprint(i), old)
			for errors.Is(err, tree.ErrBusy) { // the lock is held for longer than writes wait
				err = put("hot", fmt.Sprint(i), old)
			}
			done <- err
		}()
	}
	treetest.Eventually(t, "two writes that wait for the lock", func() bool { return waiting() == putsAtOnce })
	for i := range writers {
		must(put(fmt.Sprint("beside-", i), "1", tree.Condition{}))
	}
	if n := waiting(); n > putsAtOnce {
		t.Errorf("%d writes wait for the lock, not %d", n, putsAtOnce)
	}
	_, err = conn.Exec(t.Context(), "select pg_advisory_unlock($1)", s.lockKey("hot"))
	must(err)
	succeeded := 0
	for range writers {
		switch err := <-done; {
		case err == nil:
			succeeded++
		case err != stale:
			t.Error(err)
		}
	}
	if succeeded != 1 {
		t.Errorf("%d writes replace one version", succeeded)
	}
}

// TestWritersOfOneNameDoNotWaitForeverToAsk: those that ask before them may get no answer of the database.
func TestWritersOfOneNameDoNotWaitForeverToAsk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &Store{puts: turns.New(putsAtOnce), asking: make(chan struct{}, asksAtOnce), opts: Options{Patience: answerPatience}}
		for range asksAtOnce {
			s.asking <- struct{}{}
		}
		var leave []func(bool)
		for range putsAtOnce {
			one, err := s.turn(t.Context(), "hot", tree.Condition{})
			if err != nil {
				t.Fatal(err)
			}
			leave = append(leave, one)
		}
		const writers = 10
		done := make(chan error, writers)
		for range writers {
			go func() {
				leave, err := s.turn(t.Context(), "hot", treetest.IfTag("hot", treetest.TagOf("old")))
				if err == nil {
					leave(false)
				}
				done <- err
			}()
		}
		synctest.Wait()
		for _, one := range leave {
			one(true)
		}
		time.Sleep(answerPatience + time.Second)
		synctest.Wait()
		if len(done) != writers {
			t.Errorf("%d of %d writers still wait", writers-len(done), writers)
		}
		for range len(done) {
			if err := <-done; err != nil && !errors.Is(err, tree.ErrUnavailable) {
				t.Error(err)
			}
		}
		for range asksAtOnce {
			<-s.asking
		}
	})
}
