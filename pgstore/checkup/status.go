package checkup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"text/tabwriter"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/jackc/pgx/v5"

	"r-seed-1f3a754f.example/ifmatch/pgstore/schema"
)

// A client is a program with connections to the database.
type client struct {
	Program, Address string
	Connections      int64
}

// clients returns the programs of ours, and other ones, with connections to the database of conn.
func clients(ctx context.Context, conn *pgx.Conn) ([]client, error) {
	return collect[client](ctx, conn, `select coalesce(application_name, ''), coalesce(host(client_addr), 'this machine'), count(*)
 from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid() and backend_type = 'client backend'
 group by 1, 2 order by 1, 2`)
}

// Status writes the state of a cluster. It counts nothing that takes long: numbers of rows are estimates, or end at
// [mostCounted].
func Status(ctx context.Context, conn *pgx.Conn, w io.Writer) error {
	out := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, part := range []func(context.Context, *pgx.Conn, io.Writer) error{
		serverStatus, clientStatus, rowStatus, garbageStatus, feedStatus,
	} {
		if err := part(ctx, conn, out); err != nil {
			return errors.Join(err, out.Flush())
		}
	}
	return out.Flush()
}

func serverStatus(ctx context.Context, conn *pgx.Conn, w io.Writer) error {
	s, err := settings(ctx, conn)
	if err != nil {
		return err
	}
	role := "primary"
	if s.Recovery {
		role = "standby"
	}
	fmt.Fprintf(w, "database\tPostgreSQL %d.%d, %s\n", s.Version/10000, s.Version%10000, role)
	for _, one := range s.Connected {
		if one.Hidden {
			fmt.Fprintf(w, "standby\t%s: grant pg_monitor to the role, to see more\n", one.Name)
			continue
		}
		kind := "asynchronous"
		if one.Sync {
			kind = "synchronous"
		}
		fmt.Fprintf(w, "standby\t%s: %s, %s, %s (%v) behind\n", one.Name, kind, one.State,
			humanize.Bytes(uint64(max(one.Behind, 0))), one.Lag.Round(time.Millisecond))
	}
	if len(s.Connected) == 0 && !s.Recovery {
		fmt.Fprintln(w, "standby\tnone is connected")
	}
	var store, epoch string
	var version int64
	err = conn.QueryRow(ctx, `select store::text, epoch::text, (select max(version_id) from ifmatch.migration)
 from ifmatch.meta`).Scan(&store, &epoch, &version)
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "tree\t%s, epoch %s\n", store, epoch)
	fmt.Fprintf(w, "tables\tversion %d; this program makes %d\n", version, schema.Version)
	return nil
}

func clientStatus(ctx context.Context, conn *pgx.Conn, w io.Writer) error {
	all, err := clients(ctx, conn)
	if err != nil {
		return err
	}
	used := int64(0)
	for _, one := range all {
		used += one.Connections
		fmt.Fprintf(w, "program\t%q from %s: %d connections\n", one.Program, one.Address, one.Connections)
	}
	var most int64
	err = conn.QueryRow(ctx, "select current_setting('max_connections')::bigint").Scan(&most)
	fmt.Fprintf(w, "connections\t%d to this database; the server takes %d\n", used, most)
	return err
}

func rowStatus(ctx context.Context, conn *pgx.Conn, w io.Writer) error {
	type table struct {
		Name        string
		Rows, Bytes int64
	}
	all, err := collect[table](ctx, conn, `select relname::text, n_live_tup, pg_total_relation_size(relid)
 from pg_stat_user_tables where schemaname = 'ifmatch' order by 3 desc, 1`)
	for _, one := range all {
		fmt.Fprintf(w, "table %s\tabout %d rows, %s\n", one.Name, one.Rows, humanize.Bytes(uint64(one.Bytes)))
	}
	return err
}

// mostCounted is how many rows of a table are counted.
const mostCounted = 100_000

// counted is a number of rows that was counted up to a limit.
type counted int64

func (n counted) String() string {
	if n > mostCounted {
		return fmt.Sprintf("more than %d", mostCounted)
	}
	return strconv.FormatInt(int64(n), 10)
}

func garbageStatus(ctx context.Context, conn *pgx.Conn, w io.Writer) error {
	var dead, claimed, versions, uploads counted
	var bytes int64
	var oldest *time.Time
	err := conn.QueryRow(ctx, `select d.n, d.claimed, v.n, v.bytes, (select gone from ifmatch.version order by gone limit 1),
  (select count(*) from (select from ifmatch.upload limit $1) r)
 from (select count(*) as n, count(*) filter (where claimed) as claimed
  from (select claimed from ifmatch.dead limit $1) r) d,
 (select count(*) as n, coalesce(sum(size), 0)::bigint as bytes from (select size from ifmatch.version limit $1) r) v`,
		mostCounted+1).Scan(&dead, &claimed, &versions, &bytes, &oldest, &uploads)
	if err != nil {
		return err
	}
	since, more, least := "", "", ""
	if dead > mostCounted {
		least = "at least "
	}
	fmt.Fprintf(w, "garbage\t%v contents may be, %s%v are being removed\n", dead, least, claimed)
	if oldest != nil {
		since = ", since " + oldest.UTC().Format(time.RFC3339)
	}
	if versions > mostCounted {
		more = "more than "
	}
	fmt.Fprintf(w, "history\t%v versions, %s%s in files%s\n", versions, more, humanize.Bytes(uint64(bytes)), since)
	fmt.Fprintf(w, "uploads\t%v in parts\n", uploads)
	return nil
}

func feedStatus(ctx context.Context, conn *pgx.Conn, w io.Writer) error {
	lag, holder, err := feedLag(ctx, conn)
	if err != nil {
		return err
	}
	by := ""
	if lag > 0 {
		by = fmt.Sprintf(", by %q", holder)
	}
	fmt.Fprintf(w, "feed\t%v behind%s\n", lag.Round(time.Millisecond), by)
	return nil
}

// ErrInUse says that servers are connected.
var ErrInUse = errors.New("programs are connected to the database: stop the servers first, and followers")

// Restored makes a database that was restored from a backup ready for servers. Cursors of clients end, because changes
// that they know are not in it any more. So do logins: some of them may have been ended since the backup.
func Restored(ctx context.Context, conn *pgx.Conn) (epoch string, err error) {
	all, err := clients(ctx, conn)
	if err != nil {
		return "", err
	}
	for _, one := range all {
		if one.Program == "ifmatch" {
			return "", fmt.Errorf("%w (%d connections from %s)", ErrInUse, one.Connections, one.Address)
		}
	}
	err = pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		if err := renumber(ctx, tx); err != nil {
			return err
		}
		return tx.QueryRow(ctx, `with n as (delete from ifmatch.note where kind = 'session'), j as (delete from ifmatch.job)
 update ifmatch.meta set epoch = gen_random_uuid() returning epoch::text`).Scan(&epoch)
	})
	return epoch, err
}

// renumber gives all changes the number of a transaction that is before each of this server. A dump has the numbers of
// another server, which may be far ahead. The order of conflicting changes is that of seq, too. Logical replication copies
// no sequences: these go on after the last number that is in use. No change is of the future: servers write nothing before
// the last one.
func renumber(ctx context.Context, tx pgx.Tx) error {
	_, err := tx.Exec(ctx, `update ifmatch.change set xid = '1', at = least(at, (extract(epoch from now()) * 1000000000)::bigint)`)
	if err == nil {
		_, err = tx.Exec(ctx, "update ifmatch.version set gone = now() where gone > now()")
	}
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, "update ifmatch.meta set forgotten_xid = '1', forgotten_seq = 0 where forgotten_xid > '0'")
	if err != nil {
		return err
	}
	for _, one := range numbered {
		if err := one.skip(ctx, tx, 0); err != nil {
			return err
		}
	}
	return nil
}
