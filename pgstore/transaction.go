package pgstore

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"r-seed-1f3a754f.example/ifmatch/internal/pause"
	"r-seed-1f3a754f.example/ifmatch/pgstore/session"
	"r-seed-1f3a754f.example/ifmatch/spelling"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

const (
	maxAttempts = 10
	maxSegment  = 255 // bytes of a segment
	maxDepth    = 128 // segments of a name that is made
	// lockLevels is how many levels of collections have locks of their own. A deeper name is locked as its ancestor
	// there, because the table of locks in the database is finite, and the depth is the client's choice.
	lockLevels = 16
)

// A write is the change that a method makes.
type write struct {
	names   []string // locked exclusively
	sources []string // looked at, and locked for others that would change them
	cond    tree.Condition
	props   bool // whether step needs the properties
	// more, if not nil, adds queries to the look. Their answers are read by the results.
	more func(*pgx.Batch) []func(pgx.Rows) error
	// step decides, asks the Check, and queues the statements that make the change. It may be called several times.
	step func(*transaction) error
}

// A transaction is a write that holds its locks.
type transaction struct {
	*view
	now    int64 // the second of the write
	id     uuid.UUID
	batch  *pgx.Batch
	cond   tree.Condition
	writes bool // whether the batch changes anything
	long   bool // it copies a collection
	begun  time.Time
}

// update runs a write until it has happened, or cannot.
func (s *Store) update(ctx context.Context, w write) error {
	if err := errors.Join(checkReserved(w.sources...), checkNames(w.names)); err != nil {
		return err
	}
	check := newCursorCheck(s)
	exclusive := slices.Clone(w.names)
	var err error
	for attempt := range maxAttempts {
		err = s.attempt(ctx, w, exclusive, check)
		early := earlyError{}
		switch wants := (*exclusiveError)(nil); {
		case err == nil:
			if w.cond.Made != nil {
				w.cond.Made()
			}
			return nil
		case errors.As(err, new(refusal)):
			return unwrapped(err)
		case errors.As(err, &wants):
			exclusive = append(exclusive, wants.name)
		case errors.Is(err, errBehind), errors.Is(err, errRepeat):
		case errors.As(err, &early) && early.by <= waitedFor:
			if pause.For(ctx, early.by) != nil {
				return ctx.Err()
			}
		case code(err) == codeDivision, errors.Is(err, errUnknown): // see transaction.place and guard, and resolve
			return err
		case code(err) == codeSerialization, code(err) == codeDeadlock, code(err) == codeUnique:
			s.opts.Report(fmt.Errorf("a write of %q runs again: %w", w.names, err)) // no two writes of ours conflict so
		case s.reconnects(ctx, attempt, err):
		default:
			return translate(err)
		}
		if failed := check.catchUp(ctx); failed != nil {
			return failed
		}
	}
	return &tree.StorageError{Kind: tree.ErrBusy, Err: err,
		Hint: "other writes change the same names all the time; try again"}
}

// errRepeat says that a write has not happened, and may be tried again.
var errRepeat = errors.New("the answer to the commit was lost, and it has not happened")

// checkReserved refuses names that no client may use.
func checkReserved(names ...string) error {
	for _, name := range names {
		if spelling.HasReserved(name) {
			return about(name, tree.ErrReserved)
		}
	}
	return nil
}

// checkNames refuses names at which nothing can be made.
func checkNames(names []string) error {
	if err := checkReserved(names...); err != nil {
		return err
	}
	for _, name := range names {
		depth := 0
		for segment := range strings.SplitSeq(name, "/") {
			if depth++; len(segment) > maxSegment {
				return about(name, tree.ErrSegmentLong)
			}
		}
		if depth > maxDepth || len(name) > tree.MaxName {
			return about(name, tree.ErrNameTooLong)
		}
	}
	return nil
}

// lockSQL takes the locks in the order of their keys. It is a statement of its own: the snapshot of the next one is
// younger than the wait.
const lockSQL = `select case when x then pg_advisory_xact_lock(k) else pg_advisory_xact_lock_shared(k) end
 from unnest($1::bigint[], $2::bool[]) as u(k, x)`

// lockKeys returns the locks of a write in the one order that all writes take them in. Two names with the same key only
// wait for one another.
func (s *Store) lockKeys(exclusive, shared []string) (keys []int64, modes []bool) {
	all := map[int64]bool{}
	for _, name := range slices.Concat(exclusive, shared) {
		for _, p := range lockedPrefixes(name) {
			all[s.lockKey(p)] = false
		}
	}
	for _, name := range exclusive {
		locked := lockedPrefixes(name)
		all[s.lockKey(locked[len(locked)-1])] = true
	}
	for k := range all {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	for _, k := range keys {
		modes = append(modes, all[k])
	}
	return keys, modes
}

func lockedPrefixes(name string) []string {
	all := tree.Prefixes(name)
	return all[:min(len(all), lockLevels)]
}

func (s *Store) lockKey(name string) int64 {
	h := sha256.Sum256(slices.Concat(s.id[:], []byte(name)))
	return int64(binary.LittleEndian.Uint64(h[:]))
}

// attempt locks, looks, decides, changes and commits.
func (s *Store) attempt(ctx context.Context, w write, exclusive []string, check *cursorCheck) error {
	done, err := s.begins(ctx)
	if err != nil {
		return err
	}
	conn, err := s.acquire(ctx)
	if err != nil {
		done()
		return err
	}
	keys, modes := s.lockKeys(exclusive, slices.Concat(w.sources, w.cond.Names))
	t, err := s.begin(ctx, conn, w, exclusive, check, keys, modes)
	if err == nil {
		err = s.decide(ctx, conn, w, t, done)
	}
	if err != nil || !t.writes {
		s.rollback(ctx, conn, done)
		return err
	}
	late, err := s.commit(ctx, conn, t, done)
	switch {
	case late:
		return &tree.StorageError{Kind: tree.ErrUnavailable, RetryAfter: retryAfterFailover, Err: errUnknown, Hint: hintUnknown}
	case err == nil && session.Replicated(conn.Conn()):
		conn.Release()
		done()
		return nil
	case code(err) != "" && !isAway(err):
		s.rollback(ctx, conn, done)
		return err // it was answered: nothing has happened
	}
	defer done()
	slept := time.Since(t.begun) > session.IdleLimit // the database counts from its last answer, which is later
	_ = conn.Conn().Close(context.WithoutCancel(ctx))
	conn.Release()
	if err = s.resolve(ctx, t.id, t.xmin, keys, modes, err); err == errRepeat && slept {
		// This process was stopped, or the database has not answered for long, or other writes had the names for long. The
		// client may have given up.
		return &tree.StorageError{Kind: tree.ErrUnavailable, RetryAfter: retryAfterFailover,
			Hint: "the write has taken too long, and the database has ended its transaction; nothing has changed; try again"}
	}
	return err
}

// decide takes the step of a write. If a Check panics, no connection is left in its transaction.
func (s *Store) decide(ctx context.Context, conn *pgxpool.Conn, w write, t *transaction, done func()) (err error) {
	decided := false
	defer func() {
		if !decided {
			s.rollback(ctx, conn, done)
		}
	}()
	err = w.step(t)
	decided = true
	return err
}

// commit sends the changes, and waits for the answer. It never cancels: PostgreSQL answers a commit that is cancelled while
// it waits for a standby as if it had happened. If the answer is late, commit returns before it, and the connection of the
// write is freed when the answer comes.
func (s *Store) commit(ctx context.Context, conn *pgxpool.Conn, t *transaction, done func()) (late bool, err error) {
	t.batch.Queue("commit")
	answered := make(chan error, 1)
	start := time.Now()
	session.Commits(conn.Conn())
	go func() { answered <- conn.SendBatch(context.WithoutCancel(ctx), t.batch).Close() }()
	limit := s.opts.Patience
	if t.long {
		limit = max(limit, treePatience)
	}
	timeout := time.NewTimer(limit)
	defer timeout.Stop()
	select {
	case err := <-answered:
		s.commits.since(start)
		return false, err
	case <-timeout.C:
	}
	s.commits.since(start)
	go func() {
		defer done()
		defer conn.Release()
		<-answered
		_ = conn.Conn().Close(context.WithoutCancel(ctx))
	}()
	return true, nil
}

// begin takes the locks and looks.
func (s *Store) begin(
	ctx context.Context, conn *pgxpool.Conn, w write, exclusive []string, check *cursorCheck, keys []int64, modes []bool,
) (*transaction, error) {
	names := slices.Concat(exclusive, w.sources, w.cond.Names)
	v := s.viewOf(ctx, newSnap(), names)
	v.changes, v.since = exclusive, check
	b := &pgx.Batch{}
	b.Queue("begin isolation level read committed")
	b.Queue(lockSQL, keys, modes)
	readers := s.queue(b, wish{names: names, locks: true, below: true, props: w.props, gone: true}, v.snap)
	if w.more != nil {
		readers = append(readers, w.more(b)...)
	}
	check.conn = conn.Conn()
	seen := s.seen.Load()
	limited, cancel := context.WithTimeout(ctx, min(lookPatience, s.opts.Patience))
	defer cancel()
	start := time.Now()
	err := s.send(limited, conn.Conn(), b, 2, readers...)
	s.looks.since(start)
	if err != nil {
		return &transaction{}, err
	}
	if by := time.Duration(seen - v.snap.now.UnixNano()); by > 0 && s.opts.Now == nil {
		return &transaction{}, earlyError{by}
	}
	return &transaction{
		view: v, now: v.snap.now.Unix(), id: uuid.Must(uuid.NewV7()), batch: &pgx.Batch{}, cond: w.cond, begun: start,
	}, nil
}

// waitedFor is how far the clock of the database may be behind for writes that wait.
const waitedFor = time.Second

// An earlyError says that the clock of the database is behind what it has shown, as after a failover to a server with
// another clock. Locks that have expired would hold again, beside later ones.
type earlyError struct{ by time.Duration }

func (e earlyError) Error() string {
	return fmt.Sprintf("the clock of the database is behind by %v", e.by)
}

// rollback ends a transaction that has changed nothing, and gives the connection back. No caller waits for that. Where
// it fails, the connection is closed, which does the same.
func (s *Store) rollback(ctx context.Context, conn *pgxpool.Conn, done func()) {
	go func() {
		defer done()
		defer conn.Release()
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
		defer cancel()
		if _, err := conn.Exec(ctx, "rollback"); err != nil {
			_ = conn.Conn().Close(ctx)
		}
	}()
}

const hintUnknown = "the database does not say whether the write has happened; look before you try again"

// resolve finds out whether a commit has happened whose answer was lost. As long as the database works on it, it holds
// the locks on the names. So an attempt that gets them knows that it has ended, and table change says how. A commit that
// waited for its standby when the primary died is seen before the standby has it. So the look is a commit itself, which
// is answered when the standby has both.
func (s *Store) resolve(ctx context.Context, id uuid.UUID, xmin string, keys []int64, modes []bool, lost error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.opts.Patience)
	defer cancel()
	for {
		happened, err := s.happened(ctx, id, xmin, keys, modes)
		switch {
		case err == nil && happened:
			return nil
		case err == nil:
			return errRepeat
		}
		select {
		case <-ctx.Done():
			return &tree.StorageError{
				Kind: tree.ErrUnavailable, RetryAfter: retryAfterFailover, Err: errors.Join(errUnknown, lost, err),
				Hint: hintUnknown,
			}
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func (s *Store) happened(
	ctx context.Context, id uuid.UUID, xmin string, keys []int64, modes []bool,
) (happened bool, err error) {
	conn, err := s.acquire(ctx)
	if err != nil {
		s.pool.Reset()
		return false, err
	}
	defer conn.Release()
	b := &pgx.Batch{}
	b.Queue("begin isolation level read committed")
	b.Queue(lockSQL, keys, modes)
	b.Queue("select exists(select from ifmatch.change where xid >= $1::text::xid8 and id = $2)", xmin, id)
	b.Queue("select pg_current_xact_id()") // a standby refuses it, and cannot say what has become of a commit
	b.Queue("commit")
	session.Commits(conn.Conn())
	err = s.send(ctx, conn.Conn(), b, 2, func(rows pgx.Rows) error {
		_, err := pgx.CollectExactlyOneRow(rows, func(row pgx.CollectableRow) (struct{}, error) {
			return struct{}{}, row.Scan(&happened)
		})
		return err
	})
	if err == nil && !session.Replicated(conn.Conn()) {
		err = errUnknown
	}
	if err != nil {
		_ = conn.Conn().Close(ctx)
	}
	return happened, err
}

// do queues a statement that changes something.
func (t *transaction) do(sql string, args ...any) {
	t.writes = true
	for i, arg := range args {
		args[i] = argument(arg)
	}
	t.batch.Queue(sql, args...)
}

// ask asks the Check of the write.
func (t *transaction) ask() error { return t.view.ask(t.cond) }

// target returns the node at a name that is about to be changed. Its collection must exist.
func (t *transaction) target(name string) (*node, error) {
	if name != "" {
		if dir, _ := tree.Split(name); !t.nodes[dir].isDir() {
			return nil, about(name, tree.ErrNoParent)
		}
	}
	return t.nodes[name], nil
}
