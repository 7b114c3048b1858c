// Package schema makes the tables of package pgstore, and brings them from one version of the program to the next.
//
// Release N of the program works with the tables of release N, and with those of release N+1, so that replicas can be
// replaced one after another. A migration therefore only adds, and the release after the next removes.
package schema

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
)

//go:embed migrations/*.sql
var migrations embed.FS

// The wait for another replica that migrates: it is asked once in a second.
const (
	askEvery = 1
	patience = 5 * time.Minute
)

// Version is that of the tables that this program makes.
const Version = 3

// Check says whether this program works with tables of a version: its own, or the next one.
func Check(version int64) error {
	switch {
	case version > Version+1:
		return errors.New("the tables of the database are of a later release of ifmatch: start that one")
	case version < Version:
		return errors.New("the tables of the database are of an earlier release: run ifmatch cluster migrate")
	}
	return nil
}

// Dumped is a condition in SQL: a change has the number of a transaction that the server has not begun yet, or the latest
// change or version one that its sequence has not given out. So another server has made the tables, and they came here in a
// dump, or by logical replication, which leaves sequences behind. A role that may not look at a sequence is not told of it.
const Dumped = `(exists (select from ifmatch.change where xid >= pg_snapshot_xmax(pg_current_snapshot()))
 or exists (select from (
  values ((select seq from ifmatch.change order by xid desc, seq desc limit 1), pg_get_serial_sequence('ifmatch.change', 'seq')),
   ((select max(id) from ifmatch.version), pg_get_serial_sequence('ifmatch.version', 'id'))) last(number, sequence)
  where case when has_sequence_privilege(sequence, 'usage, select')
   then number > coalesce(pg_sequence_last_value(sequence::regclass), 0) end))`

// ErrDumped says that a database was restored, and that nothing was done for that.
var ErrDumped = errors.New("the database came from another server, by a dump or by logical replication: stop all servers, and run " +
	"ifmatch cluster restored, so that followers of changes list anew, and no number is given out twice")

// Migrate brings the tables of a database to the version of this program. Of several replicas that do so at once, one
// works and the others wait. Where they have it, no right is needed but to read them.
func Migrate(ctx context.Context, config *pgx.ConnConfig) error {
	db := stdlib.OpenDB(*config)
	defer db.Close()
	version, err := versionOf(ctx, db)
	if err != nil || version >= Version {
		return errors.Join(err, Check(max(version, Version)))
	}
	locker, err := lock.NewPostgresSessionLocker(lock.WithLockTimeout(askEvery, uint64(patience/time.Second)))
	if err != nil {
		return err
	}
	if _, err := db.ExecContext(ctx, createSchema); err != nil {
		return err
	}
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return err
	}
	provider, err := goose.NewProvider(goose.DialectPostgres, db, files, goose.WithSessionLocker(locker),
		goose.WithTableName("ifmatch.migration"), goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return err
	}
	if _, err := provider.Up(ctx); err != nil {
		return fmt.Errorf("the tables cannot be made or changed: %w", err)
	}
	return nil
}

// versionOf returns the version of the tables of a database, or 0 where there are none.
func versionOf(ctx context.Context, db *sql.DB) (version int64, err error) {
	var there bool
	err = db.QueryRowContext(ctx, "select to_regclass('ifmatch.migration') is not null").Scan(&there)
	if err != nil || !there {
		return 0, err
	}
	err = db.QueryRowContext(ctx, "select coalesce(max(version_id), 0) from ifmatch.migration").Scan(&version)
	return version, err
}

// createSchema takes a lock, because "if not exists" alone fails for one of two that create at once.
const createSchema = `do $$ begin
  perform pg_advisory_xact_lock(hashtext('ifmatch schema'));
  create schema if not exists ifmatch;
end $$`
