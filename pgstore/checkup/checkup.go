// Package checkup looks at the database and the objects of a tree for faults, and mends those that can be mended: rows
// and objects that nothing leads to. Contents that are missing or damaged it names.
//
// All looks are beside running servers. None writes in a long transaction, because that would hold back the feed.
package checkup

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"r-seed-1f3a754f.example/ifmatch/pgstore/blobs"
	"r-seed-1f3a754f.example/ifmatch/pgstore/schema"
	"r-seed-1f3a754f.example/ifmatch/pgstore/session"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

// A Sink takes the findings.
type Sink interface {
	// Good is told of a look that has found no fault.
	Good(format string, args ...any)
	// Note is told of a setting that could be better, and of a remedy.
	Note(what, todo string)
	// Bad is told of a fault, and its remedy.
	Bad(what, todo string)
}

// A Checkup looks at a database and its objects.
type Checkup struct {
	Conn    *pgx.Conn // to the database, used by nothing else
	Objects blobs.Store
	To      Sink
	Fix     bool
	// Verify reads all contents, at most Rate bytes a second (0: as fast as it goes).
	Verify bool
	Rate   int64
	// Told gets the name of each content that is missing or damaged, and its fault.
	Told func(name, what string)

	// FeedLate is for how long followers of changes may wait for a transaction (0: a minute).
	FeedLate time.Duration

	store blobs.ID
}

// Connect opens a connection for a checkup.
func Connect(ctx context.Context, address string) (*pgx.Conn, error) {
	config, err := configOf(address)
	if err != nil {
		return nil, err
	}
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return nil, session.Explain(err)
	}
	return conn, nil
}

// configOf returns the configuration of a connection, whose bounds are those of a server's.
func configOf(address string) (*pgx.ConnConfig, error) {
	config, err := pgx.ParseConfig(address)
	if err != nil {
		return nil, errors.New("--store cannot be read: give an address such as postgres://user@host/database, and the password " +
			"by PGPASSFILE")
	}
	config.RuntimeParams["application_name"] = "ifmatch doctor"
	session.Configure(config)
	return config, nil
}

// Run takes all looks. An error ends it.
func (c *Checkup) Run(ctx context.Context) error {
	if err := c.server(ctx); err != nil {
		return err
	}
	if ok, err := c.tables(ctx); err != nil || !ok {
		return err
	}
	for _, look := range []func(context.Context) error{c.janitor, c.clock, c.feed, c.numbers, c.orphans, c.circles, c.removedOrphans, c.rows} {
		if err := look(ctx); err != nil {
			return err
		}
	}
	paired, err := c.pair(ctx)
	if err == nil && paired {
		err = c.objects(ctx)
	}
	if err == nil && c.Verify {
		err = c.verify(ctx, paired)
	}
	return err
}

// tables looks at the version of the tables.
func (c *Checkup) tables(ctx context.Context) (ok bool, err error) {
	var there bool
	if err := c.Conn.QueryRow(ctx, "select to_regclass('ifmatch.meta') is not null").Scan(&there); err != nil {
		return false, err
	}
	if !there {
		c.To.Bad("the database has no tree", "make one with ifmatch cluster init")
		return false, nil
	}
	var version int64
	var dumped bool
	err = c.Conn.QueryRow(ctx, "select store, (select max(version_id) from ifmatch.migration), "+schema.Dumped+
		" from ifmatch.meta").Scan(&c.store, &version, &dumped)
	if err != nil {
		return false, err
	}
	if err := schema.Check(version); err != nil {
		c.To.Bad(err.Error(), "")
		return false, nil
	}
	if dumped {
		c.To.Bad(schema.ErrDumped.Error(), "")
	}
	c.To.Good("the tables have version %d, of the tree %s", version, c.store)
	return true, nil
}

// pair looks whether the objects are those of the database.
func (c *Checkup) pair(ctx context.Context) (bool, error) {
	if c.Objects == nil {
		c.To.Note("large contents were not looked at", "give --blobs too")
		return false, nil
	}
	size := int64(len(c.store.String()))
	object, err := c.Objects.Open(ctx, c.store, size, 0, size)
	switch {
	case err == nil:
		c.To.Good("--blobs and --store belong together")
		return true, object.Close()
	case !errors.Is(err, tree.ErrNotExist):
		c.To.Bad("--blobs cannot be read: "+err.Error(), "")
		return false, nil
	}
	for id, err := range c.Objects.List(ctx) {
		if err != nil {
			return false, fmt.Errorf("--blobs cannot be listed: %w", err)
		}
		c.To.Bad(fmt.Sprintf("--blobs and --store do not belong together: it has the object %s, and not %s", id, c.store),
			"name the place that the servers have")
		return false, nil
	}
	c.To.Bad("--blobs is empty", "name the place that the servers have, or, if it is new, run ifmatch cluster init")
	return false, nil
}

// Times after which something is told.
const (
	janitorLate = 26 * time.Hour
	feedLate    = time.Minute
)

// janitor looks whether old entries are removed.
func (c *Checkup) janitor(ctx context.Context) error {
	var garbage int64
	var late bool
	err := c.Conn.QueryRow(ctx, `select (select count(*) from ifmatch.dead),
 exists (select from ifmatch.dead where since < now() - $1::interval) and
 not exists (select from ifmatch.job where name = 'clean' and until > now() - $1::interval)`, janitorLate).
		Scan(&garbage, &late)
	switch {
	case err != nil:
		return err
	case late:
		c.To.Note(fmt.Sprintf("no server has looked after the tables for a day, and %d contents may be garbage", garbage),
			"start a server")
	default:
		c.To.Good("%d contents may be garbage, and the servers look after that", garbage)
	}
	return nil
}

// clock looks whether the clock of the database has come as far as the last change. Servers write nothing before that.
func (c *Checkup) clock(ctx context.Context) error {
	var behind float64 // seconds
	err := c.Conn.QueryRow(ctx, `select coalesce((select at from ifmatch.change order by xid desc, seq desc limit 1) / 1e9
 - extract(epoch from clock_timestamp()), 0)::float8`).Scan(&behind)
	if by := time.Duration(behind * float64(time.Second)); err == nil && by > time.Second {
		c.To.Bad(fmt.Sprintf("the clock of the database is %v behind the last change: servers refuse each write until then",
			by.Round(time.Second)), "set the clock; if it was ahead before, stop the servers and run ifmatch cluster restored")
	}
	return err
}

// feed looks for a transaction that holds the feed of changes back.
func (c *Checkup) feed(ctx context.Context) error {
	lag, holder, err := feedLag(ctx, c.Conn)
	switch {
	case err != nil:
		return err
	case lag > cmp.Or(c.FeedLate, feedLate):
		c.To.Bad(fmt.Sprintf("followers of changes wait since %s for a transaction of %q", lag.Round(time.Second), holder),
			"end it, and give the tree a database server of its own")
	default:
		c.To.Good("the feed of changes is at most %s behind", lag.Round(time.Second))
	}
	return nil
}

// feedLag returns for how long the oldest writing transaction of the server goes on, and the program of it.
func feedLag(ctx context.Context, conn *pgx.Conn) (lag time.Duration, holder string, err error) {
	err = conn.QueryRow(ctx, `select clock_timestamp() - xact_start, coalesce(application_name, '') from pg_stat_activity
 where backend_xid is not null and xact_start is not null and pid <> pg_backend_pid() order by xact_start limit 1`).
		Scan(&lag, &holder)
	if errors.Is(err, pgx.ErrNoRows) {
		err = nil
	}
	return lag, holder, err
}
