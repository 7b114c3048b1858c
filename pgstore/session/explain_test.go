package session

import (
	"errors"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"r-seed-1f3a754f.example/ifmatch/internal/pgtest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// TestErrorsAtTheStartSayWhatToDo, in one line.
func TestErrorsAtTheStartSayWhatToDo(t *testing.T) {
	server := pgtest.Shared(t)
	database := server.Database(t, func(string) error { return nil })
	conn, err := pgx.Connect(t.Context(), database)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	if _, err := conn.Exec(t.Context(), "drop role if exists stranger; create role stranger login"); err != nil {
		t.Fatal(err)
	}
	as := func(user string) string { return strings.Replace(database, "ifmatch@", user+"@", 1) }
	for _, test := range []struct{ name, at, do, want string }{
		{"no tables", database, "select from ifmatch.meta", "ifmatch cluster init"},
		{"no right", as("stranger"), "create schema ifmatch", "says: permission denied for database test1: grant it"},
		{"a standby", database, "set transaction read only; create schema ifmatch", "target_session_attrs=read-write"},
		{"no such role", as("absent"), "", `role "absent" does not exist: look at the user`},
		{"no such database", server.DSN("absent"), "", "createdb"},
		{"no server", "postgres://u@127.0.0.1:1/d", "", "connect: connection refused: start it"},
		{"no host, twice", "postgres://u@127.0.0.1:1,127.0.0.1:1/d", "", "connect: connection refused: start it"},
	} {
		conn, err := pgx.Connect(t.Context(), test.at)
		if err == nil {
			_, err = conn.Exec(t.Context(), test.do)
			conn.Close(t.Context())
		}
		got := Explain(err)
		if got == nil || !strings.Contains(got.Error(), test.want) || strings.Contains(got.Error(), "\n") ||
			strings.Contains(got.Error(), "SQLSTATE") || !errors.Is(got, err) {
			t.Errorf("%s: it says %v; the error is %v", test.name, got, err)
		}
	}
	for _, err := range []error{nil, errors.New("another"), &pgconn.PgError{Code: "22012", Message: "division"}} {
		if got := Explain(err); !errors.Is(got, err) || got != err {
			t.Errorf("%v is explained as %v", err, got)
		}
	}
}
