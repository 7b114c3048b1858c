package schema

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"r-seed-1f3a754f.example/ifmatch/internal/pgtest"
)

// empty takes the tables out of a database that an earlier test has used.
func empty(dsn string) error {
	conn, err := pgx.Connect(context.Background(), dsn)
	if err != nil {
		return err
	}
	_, err = conn.Exec(context.Background(), "drop schema if exists ifmatch cascade")
	return errors.Join(err, conn.Close(context.Background()))
}

// TestRoleThatMayMakeNothing: where the tables are those of this release, a server starts as a role that may read and write
// them, and nothing else.
func TestRoleThatMayMakeNothing(t *testing.T) {
	dsn := pgtest.Shared(t).Database(t, empty)
	config, err := pgx.ParseConfig(dsn)
	if err != nil {
		t.Fatal(err)
	}
	if err := Migrate(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	conn, err := pgx.ConnectConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	_, err = conn.Exec(t.Context(), `do $$ begin create role server login; exception when duplicate_object then null; end $$; grant usage on schema ifmatch to server;
 grant select, insert, update, delete on all tables in schema ifmatch to server`)
	if err != nil {
		t.Fatal(err)
	}
	server, err := pgx.ParseConfig(strings.Replace(dsn, "ifmatch@", "server@", 1))
	if err != nil {
		t.Fatal(err)
	}
	if err := Migrate(t.Context(), server); err != nil {
		t.Errorf("the tables are there: %v", err)
	}
	if _, err := conn.Exec(t.Context(), "delete from ifmatch.migration where version_id = $1", Version); err != nil {
		t.Fatal(err)
	}
	if err := Migrate(t.Context(), server); err == nil {
		t.Error("the tables are of an earlier release, and it says nothing")
	}
}
