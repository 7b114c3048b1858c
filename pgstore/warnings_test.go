package pgstore_test

import (
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"r-seed-1f3a754f.example/ifmatch/internal/pgtest"
	"r-seed-1f3a754f.example/ifmatch/pgstore"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

// TestWarningAtEachConnection: PostgreSQL warns at each connection where the collations of its machine have changed since the
// database was made, as after an upgrade. That says nothing of commits.
func TestWarningAtEachConnection(t *testing.T) {
	dsn := pgtest.Shared(t).Database(t, clean)
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	noteCollations := func(version any) {
		_, err := conn.Exec(t.Context(), "update pg_database set datcollversion = $1 where datname = current_database()", version)
		if err != nil {
			t.Fatal(err)
		}
	}
	noteCollations("of another machine")
	defer noteCollations(nil)
	s, err := pgstore.Open(t.Context(), dsn, pgstore.Options{Patience: 100 * time.Millisecond, Report: func(err error) { t.Log(err) }})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for range 2 {
		_, _, err = s.Put(t.Context(), "f", strings.NewReader(time.Now().String()), tree.PutOptions{Length: -1}, tree.Condition{})
		if err != nil {
			t.Errorf("a write: error %v", err)
		}
	}
}
