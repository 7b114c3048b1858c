// Package pgstore is a [tree.Store] for several machines. All that must change at one instant is in rows of one
// PostgreSQL. Large contents are objects (see package blobs), which never change. Any number of processes, the
// replicas, may serve the same tree, and none of them keeps anything between two calls.
//
// # Locks on names
//
// A write takes transaction-level advisory locks of the database on names, not on rows: exclusive ones on the names
// that it changes, shared ones on the names that its condition is about, and on all collections above. It takes them
// in one order, before it looks. So all names that a Check decides about stay as they were until the commit.
//
// A write takes two round trips: one to lock and look, one to change and commit. No transaction is open while a body
// moves. A reader takes no lock, and looks in one transaction with one snapshot. Of the PUTs of one name, two of a replica
// are at work at once. The others wait without a connection, and those that name a version which is replaced meanwhile
// are refused without a lock.
//
// [tree.Condition.Made] is called right after the commit, not inside it: no replica could undo the count of another.
//
// # Durability
//
// A write returns when the database has committed, which is as durable as the settings of the database say. An object
// is durable before that.
package pgstore

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"r-seed-1f3a754f.example/ifmatch/pgstore/blobs"
	"r-seed-1f3a754f.example/ifmatch/pgstore/clock"
	"r-seed-1f3a754f.example/ifmatch/pgstore/notes"
	"r-seed-1f3a754f.example/ifmatch/pgstore/schema"
	"r-seed-1f3a754f.example/ifmatch/pgstore/session"
	"r-seed-1f3a754f.example/ifmatch/pgstore/turns"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

// Bounds of a replica.
const (
	maxConns     = 16               // five replicas fit into the 100 connections that PostgreSQL has by default
	noteConns    = 2                // besides, for notes: a Check may ask for one while its transaction is open
	patience     = 5 * time.Second  // for a connection, and for a lock on a name
	lookPatience = 15 * time.Second // for all locks of a write, and the look
	// answerPatience is how long an answer of the database is waited for, and how long it is asked what has become of a
	// commit without one.
	answerPatience = 30 * time.Second
	treePatience   = 10 * time.Minute // for the copy of a collection
	defaultLevel   = 16 << 10         // contents up to this size lie in the database
	// putsAtOnce is how many of a name use a connection at once: one that has the lock on the name, and the next one.
	putsAtOnce = 2
	// asksAtOnce is how many of those that wait ask their condition again at once. Readers need connections, too.
	asksAtOnce = 4
)

// Options configure a [Store].
type Options struct {
	// Blobs keeps contents that do not lie in the database.
	Blobs blobs.Store
	// NewBlobs permits an empty place for the objects, though the tree has had another place for them before.
	NewBlobs bool
	// Reader says that nothing is made: neither tables, which must be those of this program, nor files in the place for the
	// objects, which the servers could not use where another user has made them. That must be the one of the tree.
	Reader bool
	// Inline is the largest content that lies in the database, in bytes. 0 means the default, a negative value that
	// only empty ones do.
	Inline int64
	// History is how long versions that were replaced or removed are kept, unless NoHistory says that no new ones are. Those
	// that are there stay for a day then.
	History   time.Duration
	NoHistory bool
	// HistorySize is the most bytes that versions may have together, or 0. The janitor removes the oldest ones beyond it.
	HistorySize int64
	// BlobGrace is how long an object is kept that has no name any more, since requests may still read it (0: the
	// default; [MinBlobGrace] at least, but in tests).
	BlobGrace time.Duration
	// NoMigrate says that the tables are not made or changed. They must be those of this program.
	NoMigrate bool
	// MaxConns bounds the connections to the database (0: the default).
	MaxConns int32
	// Patience is how long an answer of the database is waited for (0: 30 seconds).
	Patience time.Duration
	// Uploads returns the limits of the uploads that are not complete (nil: there are none).
	Uploads func() UploadLimits
	// Now is the clock (nil: that of the database).
	Now func() time.Time
	// Report gets errors that no caller gets (nil: they are dropped).
	Report func(error)
}

// A Store is one replica's view of the tree.
type Store struct {
	opts  Options
	pool  *pgxpool.Pool
	notes *pgxpool.Pool             // of its own, so that a Check can ask for a note while all connections of pool are in use
	id    uuid.UUID                 // of the tree: part of the locks' keys
	epoch atomic.Pointer[uuid.UUID] // part of cursors; another one after a restore from a backup

	// writing has a value for each write that uses a connection. Writes leave some for readers, since all of them hang
	// where the standby is gone.
	writing chan struct{}
	puts    *turns.Turns  // of this replica
	asking  chan struct{} // has the waiting Puts that ask their condition again
	// seen is the latest time of the database that this replica has seen, in nanoseconds since 1970.
	seen atomic.Int64
	// sessions counts the connections of pool that were opened. One may be with another server than those before it.
	sessions atomic.Uint64
	// shared shows the time of the database.
	shared *clock.Clock

	objectFailures, damages atomic.Uint64 // see [Figures]
	looks, commits          tripCounter

	stopJanitor func()
}

var (
	_ tree.Store   = (*Store)(nil)
	_ tree.Feed    = (*Store)(nil)
	_ tree.Uploads = (*Store)(nil)
)

// Open connects to a database, and makes or changes its tables first where that is needed.
func Open(ctx context.Context, dsn string, opts Options) (*Store, error) {
	if opts.Inline == 0 {
		opts.Inline = defaultLevel
	}
	opts.Inline = max(opts.Inline, 0)
	if opts.BlobGrace <= 0 {
		opts.BlobGrace = DefaultBlobGrace
	}
	if opts.Patience == 0 {
		opts.Patience = answerPatience
	}
	if opts.Uploads == nil {
		opts.Uploads = func() (none UploadLimits) { return none }
	}
	if opts.Report == nil {
		opts.Report = func(error) {}
	}
	config, err := pgxpool.ParseConfig(dsn)
	if err != nil {
		return nil, fmt.Errorf("the address of the database: %w", hidden(err))
	}
	config.MaxConns = maxConns
	if opts.MaxConns > 0 {
		config.MaxConns = opts.MaxConns
	}
	session.Configure(config.ConnConfig)
	if !opts.NoMigrate && !opts.Reader {
		if err := schema.Migrate(ctx, config.ConnConfig); err != nil {
			return nil, hidden(err)
		}
	}
	s := &Store{
		opts: opts, puts: turns.New(putsAtOnce), asking: make(chan struct{}, asksAtOnce), writing: make(chan struct{}, max(1, config.MaxConns-config.MaxConns/4)),
		shared: clock.New(time.Now),
	}
	config.AfterConnect = s.connected
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, hidden(err)
	}
	config = config.Copy()
	config.MaxConns, config.AfterConnect = noteConns, nil
	side, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		pool.Close()
		return nil, hidden(err)
	}
	s.pool, s.notes = pool, side
	if err = s.identify(ctx); err == nil {
		err = s.claimBlobs(ctx)
	}
	if err != nil {
		s.pool.Close()
		s.notes.Close()
		return nil, hidden(err)
	}
	return s, nil
}

// identify reads which tree the database has. The tables must be of this release, or of the next one.
func (s *Store) identify(ctx context.Context) error {
	var version int64
	var epoch uuid.UUID
	var dumped bool
	err := s.pool.QueryRow(ctx, "select store, epoch, (select max(version_id) from ifmatch.migration), "+schema.Dumped+
		" from ifmatch.meta").Scan(&s.id, &epoch, &version, &dumped)
	s.epoch.Store(&epoch)
	if err == nil {
		err = schema.Check(version)
	}
	if err == nil && dumped {
		err = schema.ErrDumped
	}
	return err
}

// ID says which tree the store has. It is the same for all replicas.
func (s *Store) ID() string { return s.id.String() }

// hidden returns an error of the start without the password that the text of a broken address may have, and with what to
// do about it.
func hidden(err error) error {
	if broken := new(pgconn.ParseConfigError); errors.As(err, &broken) {
		return errors.New("it cannot be read: give one such as postgres://user@host/database, and the password by PGPASSFILE")
	}
	return session.Explain(err)
}

// connected looks at a new session. It may be with another server, whose clock is another one: no change may be older
// than those that are there.
func (s *Store) connected(ctx context.Context, conn *pgx.Conn) error {
	ctx, cancel := s.patient(ctx)
	defer cancel()
	s.sessions.Add(1)
	var last *int64
	err := s.shared.Look(func() (now time.Time, err error) {
		err = conn.QueryRow(ctx, `select clock_timestamp(), (select at from ifmatch.change order by xid desc, seq desc limit 1)`).
			Scan(&now, &last)
		return now, err
	})
	if err == nil && last != nil {
		s.saw(*last)
	}
	return err
}

// Close ends the connections. It does not wait for long for commits that the database does not answer, nor for an object that
// is just removed.
func (s *Store) Close() error {
	closed := make(chan struct{})
	go func() {
		if s.stopJanitor != nil {
			s.stopJanitor()
		}
		s.pool.Close()
		s.notes.Close()
		close(closed)
	}()
	select {
	case <-closed:
	case <-time.After(min(patience, s.opts.Patience)):
	}
	return nil
}

// Notes returns the small things of a kind that the replicas share.
func (s *Store) Notes(kind string) *notes.Table { return notes.New(s.notes, kind, translate) }

// acquire returns a connection. It waits a moment where all are in use.
func (s *Store) acquire(ctx context.Context) (*pgxpool.Conn, error) {
	limited, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		conn, err := s.pool.Acquire(limited)
		switch all := s.pool.Stat(); {
		case err == nil || ctx.Err() != nil || !errors.Is(err, context.DeadlineExceeded):
			return conn, translate(err)
		case limited.Err() == nil:
			// A new connection has taken too long to open. Another one may be free by now.
		case all.AcquiredConns() == all.MaxConns():
			return nil, &tree.StorageError{Kind: tree.ErrBusy, Err: err,
				Hint: "all connections to the database are in use; try again"}
		default:
			return nil, translate(err)
		}
	}
}

var errManyWrites = &tree.StorageError{Kind: tree.ErrBusy,
	Hint: "too many writes wait for the database; try again"}

// begins waits for the turn of a write. The caller calls done when it leaves its connection.
func (s *Store) begins(ctx context.Context) (done func(), err error) {
	select {
	case s.writing <- struct{}{}:
		return func() { <-s.writing }, nil
	default:
	}
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	select {
	case s.writing <- struct{}{}:
		return func() { <-s.writing }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-timeout.C:
		return nil, errManyWrites
	}
}

// exec runs a statement that changes something by itself. It may run twice, where the first answer is lost.
func (s *Store) exec(ctx context.Context, sql string, args ...any) (answer pgconn.CommandTag, err error) {
	done, err := s.begins(ctx)
	if err != nil {
		return answer, err
	}
	defer done()
	for attempt := 0; ; attempt++ {
		limited, cancel := s.patient(ctx)
		answer, err = s.pool.Exec(limited, sql, args...)
		cancel()
		if !s.reconnects(ctx, attempt, err) {
			return answer, err
		}
	}
}

// execRow is [Store.exec] of a statement that yields one row.
func (s *Store) execRow(ctx context.Context, sql string, args []any, into ...any) error {
	done, err := s.begins(ctx)
	if err != nil {
		return err
	}
	defer done()
	ctx, cancel := s.patient(ctx)
	defer cancel()
	return s.pool.QueryRow(ctx, sql, args...).Scan(into...)
}

// patient bounds the wait for answers.
func (s *Store) patient(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, s.opts.Patience)
}

// read runs queries in one transaction with one snapshot, in one round trip. Each element of results reads one of them.
func (s *Store) read(ctx context.Context, b *pgx.Batch, results ...func(pgx.Rows) error) error {
	conn, err := s.acquire(ctx)
	if err != nil {
		return err
	}
	defer conn.Release()
	ctx, cancel := s.patient(ctx)
	defer cancel()
	if b.Len() == 1 { // one statement has one snapshot
		return translate(s.send(ctx, conn.Conn(), b, 0, results...))
	}
	whole := &pgx.Batch{}
	whole.Queue("begin isolation level repeatable read read only")
	whole.QueuedQueries = append(whole.QueuedQueries, b.QueuedQueries...)
	whole.Queue("commit")
	return translate(s.send(ctx, conn.Conn(), whole, 1, results...))
}

// send sends a batch. Each element of results reads the rows of a query, from the one at first.
func (s *Store) send(
	ctx context.Context, conn *pgx.Conn, b *pgx.Batch, first int, results ...func(pgx.Rows) error,
) error {
	answers := conn.SendBatch(ctx, b)
	var err error
	for i := 0; i < b.Len() && err == nil; i++ {
		if i < first || i >= first+len(results) {
			_, err = answers.Exec()
			continue
		}
		var rows pgx.Rows
		if rows, err = answers.Query(); err == nil {
			err = results[i-first](rows)
			rows.Close()
			err = errors.Join(err, rows.Err())
		}
	}
	return errors.Join(err, answers.Close())
}

// claimBlobs notes the id of the tree in the place for objects, and refuses a place that belongs to another tree, or
// that does not work. The note in the database tells an empty place of a new tree from a disk that is not mounted.
func (s *Store) claimBlobs(ctx context.Context) error {
	if s.opts.Blobs == nil {
		return nil
	}
	claimed := s.Notes("place")
	_, err := claimed.Get(ctx, "")
	switch {
	case s.opts.Reader && (err == nil || errors.Is(err, notes.ErrNone)):
		err = blobs.Belongs(ctx, s.opts.Blobs, s.id)
	case err == nil && !s.opts.NewBlobs:
		err = blobs.Recognize(ctx, s.opts.Blobs, s.id)
	case err == nil || errors.Is(err, notes.ErrNone):
		err = blobs.Claim(ctx, s.opts.Blobs, s.id)
		if err == nil {
			return claimed.Keep(ctx, "", []byte{}, notes.Forever)
		}
	default:
		return err
	}
	if err != nil {
		return fmt.Errorf("--blobs: %w", err)
	}
	return nil
}
