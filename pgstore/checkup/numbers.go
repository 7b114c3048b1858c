package checkup

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// A column has numbers that a sequence gives out.
type column struct{ table, name string }

var numbered = []column{{"node", "id"}, {"version", "id"}, {"change", "seq"}}

// sequence is the sequence of the column, in a statement.
func (c column) sequence() string {
	return fmt.Sprintf("pg_get_serial_sequence('ifmatch.%s', '%s')::regclass", c.table, c.name)
}

// skip has a sequence go on after the last number that is in use, and some more. It is never set back.
func (c column) skip(ctx context.Context, tx querier, more int64) error {
	var ignored int64
	return tx.QueryRow(ctx, fmt.Sprintf(`select setval(s, greatest((select coalesce(max(%[2]s), 1) from ifmatch.%[1]s) + $1,
 coalesce(pg_sequence_last_value(s), 1))) from (select %[3]s s) i`, c.table, c.name, c.sequence()), more).Scan(&ignored)
}

// A querier is a connection, or a transaction.
type querier interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// givenMeanwhile is more numbers than servers get from a sequence while it is set.
const givenMeanwhile = 10_000

// insufficientPrivilege is a code of errors of PostgreSQL, appendix A of its manual.
const insufficientPrivilege = "42501"

// numbers looks whether numbers are given out twice. Logical replication leaves the sequences behind.
func (c *Checkup) numbers(ctx context.Context) error {
	for _, one := range numbered {
		var last, given int64
		err := c.Conn.QueryRow(ctx, fmt.Sprintf(`select coalesce(max(%s), 0), coalesce(pg_sequence_last_value(%s), 0)
 from ifmatch.%s`, one.name, one.sequence(), one.table)).Scan(&last, &given)
		if denied := (*pgconn.PgError)(nil); errors.As(err, &denied) && denied.Code == insufficientPrivilege {
			c.To.Note("this role may not read the sequence of table "+one.table+", so its numbers were not looked at",
				"look as the role that owns the tables")
			continue
		}
		if err != nil {
			return err
		}
		what := fmt.Sprintf("table %s has the number %d, and the next one is %d", one.table, last, given+1)
		switch {
		case last <= given:
		case c.Fix:
			if err := one.skip(ctx, c.Conn, givenMeanwhile); err != nil {
				return err
			}
			c.To.Note(what+"; numbers go on after it now", "")
		default:
			c.To.Bad(what+", so that numbers are given out twice", "set it with --fix")
		}
	}
	var twice int64
	err := c.Conn.QueryRow(ctx, `select count(*) from (
 select from ifmatch.node where kind = 'd' group by id having count(*) > 1) d`).Scan(&twice)
	if err == nil && twice > 0 {
		c.To.Bad(fmt.Sprintf("%d numbers are those of several collections, each of which shows the members of the others", twice),
			"restore the database from a backup, and run ifmatch cluster restored before servers start")
	}
	return err
}
