package checkup

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"r-seed-1f3a754f.example/ifmatch/pgstore/clock"
)

// Settings are those of a PostgreSQL server that matter, and its standbys.
type Settings struct {
	Version          int // 150018: 15.18
	Recovery         bool
	Fsync, FullPages bool
	Commit           string // synchronous_commit
	Autovacuum       bool
	Connections      int
	Locks            int    // max_locks_per_transaction
	Standbys         string // synchronous_standby_names
	Encoding         string // of the database
	Clock            time.Duration
	Connected        []Standby
}

// A Standby is connected to the primary.
type Standby struct {
	Name, State string
	Hidden      bool // the role may not see the fields below
	Sync        bool
	Lag         time.Duration // until it shows a commit of the primary
	Behind      int64         // bytes
}

// Least values of settings that a cluster needs.
const (
	leastVersion = 150000
	leastLocks   = 6400 // max_locks_per_transaction * max_connections: as PostgreSQL has it by default
)

// settings reads the settings of a server.
func settings(ctx context.Context, conn *pgx.Conn) (s Settings, err error) {
	var now time.Time
	err = conn.QueryRow(ctx, `select current_setting('server_version_num')::int, pg_is_in_recovery(),
 current_setting('fsync')::bool, current_setting('full_page_writes')::bool, current_setting('synchronous_commit'),
 current_setting('autovacuum')::bool, current_setting('max_connections')::int,
 current_setting('max_locks_per_transaction')::int, current_setting('synchronous_standby_names'),
 current_setting('server_encoding'), clock_timestamp()`).
		Scan(&s.Version, &s.Recovery, &s.Fsync, &s.FullPages, &s.Commit, &s.Autovacuum, &s.Connections, &s.Locks,
			&s.Standbys, &s.Encoding, &now)
	if err != nil || s.Recovery {
		return s, err
	}
	s.Clock = time.Until(now)
	// A role that may not see all of it gets nulls.
	rows, err := conn.Query(ctx, `select coalesce(application_name, ''), coalesce(state, ''), sync_state is null,
 coalesce(sync_state in ('sync', 'quorum'), false), coalesce(replay_lag, '0'::interval),
 coalesce(pg_wal_lsn_diff(pg_current_wal_lsn(), replay_lsn), 0)::bigint from pg_stat_replication order by 1`)
	if err == nil {
		s.Connected, err = pgx.CollectRows(rows, pgx.RowToStructByPos[Standby])
	}
	return s, err
}

func (c *Checkup) server(ctx context.Context) error {
	s, err := settings(ctx, c.Conn)
	if err == nil {
		s.judge(c.To)
	}
	return err
}

// judge tells each fault of the settings.
func (s Settings) judge(to Sink) {
	if s.Version < leastVersion {
		to.Bad(fmt.Sprintf("PostgreSQL has the version %d.%d", s.Version/10000, s.Version%10000), "use 15 or a later one")
	}
	if s.Recovery {
		to.Bad("this server is a standby", "name the primary, or all hosts and target_session_attrs=read-write")
		return
	}
	for _, one := range []struct {
		off        bool
		what, todo string
	}{
		{!s.Fsync, "fsync is off: a power failure can destroy the database", "set fsync = on"},
		{!s.FullPages, "full_page_writes is off: a power failure can destroy the database", "set full_page_writes = on"},
		{s.Commit == "off" || s.Commit == "local" && s.Standbys != "",
			"synchronous_commit is " + s.Commit + ": acknowledged writes can be lost", "set synchronous_commit = on"},
		{!s.Autovacuum, "autovacuum is off: tables grow without a bound", "set autovacuum = on"},
		{s.Locks*s.Connections < leastLocks, fmt.Sprintf("there is room for %d locks", s.Locks*s.Connections),
			"raise max_locks_per_transaction"},
		{s.Encoding != "UTF8" && s.Encoding != "SQL_ASCII", "the encoding of the database is " + s.Encoding + ": it refuses the " +
			"writes of users with other letters in their names", "make one with createdb --encoding=UTF8 --template=template0"},
		{s.Clock.Abs() > clock.Off, fmt.Sprintf("the clock of the database is off by %v", s.Clock.Round(time.Second)),
			"let both machines follow the same time server"},
	} {
		if one.off {
			to.Bad(one.what, one.todo)
		}
	}
	to.Good("PostgreSQL %d.%d, %d connections", s.Version/10000, s.Version%10000, s.Connections)
	s.judgeStandbys(to)
}

// doubts is a [Sink] for faults alone.
type doubts []string

func (d *doubts) Good(string, ...any)   {}
func (d *doubts) Note(string, string)   {}
func (d *doubts) Bad(what, todo string) { *d = append(*d, what+": "+todo) }

// Doubts returns the settings of a server by which acknowledged writes can be lost, or the replicas be held up.
func Doubts(ctx context.Context, conn *pgx.Conn) ([]string, error) {
	s, err := settings(ctx, conn)
	if err != nil {
		return nil, err
	}
	var found doubts
	s.judge(&found)
	if s.isAsynchronous() {
		found.Bad(asynchronous, setStandbys)
	}
	return found, nil
}

const (
	asynchronous = "the standby is asynchronous: a failover can lose the last acknowledged writes"
	setStandbys  = "set synchronous_standby_names"
)

func (s Settings) isAsynchronous() bool { return s.Standbys == "" && len(s.Connected) > 0 }

func (s Settings) judgeStandbys(to Sink) {
	isSync := func(one Standby) bool { return one.Sync }
	isHidden := func(one Standby) bool { return one.Hidden }
	switch n := len(s.Connected); {
	case s.Standbys != "" && slices.ContainsFunc(s.Connected, isHidden):
		to.Note("the role may not see whether the standbys are synchronous", "grant it pg_monitor, and look again")
	case s.Standbys != "" && !slices.ContainsFunc(s.Connected, isSync):
		to.Bad(fmt.Sprintf("no synchronous standby is connected (synchronous_standby_names = %q): writes wait for one", s.Standbys),
			"start it, or take it out of that setting")
	case n == 0:
		to.Note("there is no standby", "have one, if the service must not end with this machine (docs/cluster.md)")
	case s.isAsynchronous():
		to.Note(asynchronous, setStandbys)
	default:
		to.Good("writes wait for a synchronous standby")
	}
}
