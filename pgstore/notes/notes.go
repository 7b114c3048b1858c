// Package notes keeps small things that all replicas share, until they expire: sessions of users, for instance.
//
// Each call waits for the database for a few seconds at the most. A [Table] may be used by several goroutines at once.
package notes

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// ErrNone says that there is no such note.
var ErrNone = errors.New("there is no such note")

// patience bounds each call, with the wait for a connection.
const patience = 5 * time.Second

// Forever is for notes that do not expire.
const Forever = 200 * 365 * 24 * time.Hour

// A Table has the notes of one kind.
type Table struct {
	pool      *pgxpool.Pool
	kind      string
	translate func(error) error
	patience  time.Duration // of a call: [patience], but in tests
}

// New returns the notes of a kind in a database. translate makes the errors of a caller of those of the database (nil:
// they stay what they are).
func New(pool *pgxpool.Pool, kind string, translate func(error) error) *Table {
	if translate == nil {
		translate = func(err error) error { return err }
	}
	return &Table{pool, kind, translate, patience}
}

func (t *Table) exec(ctx context.Context, sql string, args ...any) error {
	ctx, cancel := context.WithTimeout(ctx, t.patience)
	defer cancel()
	_, err := t.pool.Exec(ctx, sql, append([]any{t.kind}, args...)...)
	return t.translate(err)
}

// one reads a value of a row, or [ErrNone].
func (t *Table) one(ctx context.Context, into any, sql string, args ...any) error {
	ctx, cancel := context.WithTimeout(ctx, t.patience)
	defer cancel()
	err := t.pool.QueryRow(ctx, sql, append([]any{t.kind}, args...)...).Scan(into)
	if errors.Is(err, pgx.ErrNoRows) {
		return ErrNone
	}
	return t.translate(err)
}

// Put keeps a note, in place of one with the same key.
func (t *Table) Put(ctx context.Context, key string, value []byte, expires time.Time) error {
	return t.exec(ctx, `insert into ifmatch.note (kind, key, value, expires) values ($1, $2, $3, $4)
 on conflict (kind, key) do update set value = $3, expires = $4`, []byte(key), value, expires)
}

// Keep is [Table.Put] for some time by the clock of the database, for notes that expire so soon that clocks of several
// machines are too far apart.
func (t *Table) Keep(ctx context.Context, key string, value []byte, lasts time.Duration) error {
	return t.exec(ctx, `insert into ifmatch.note (kind, key, value, expires) values ($1, $2, $3, clock_timestamp() + $4)
 on conflict (kind, key) do update set value = $3, expires = clock_timestamp() + $4`, []byte(key), value, lasts)
}

// Change replaces a note that is there. Without one it does nothing.
func (t *Table) Change(ctx context.Context, key string, value []byte, expires time.Time) error {
	return t.exec(ctx, "update ifmatch.note set value = $3, expires = $4 where kind = $1 and key = $2",
		[]byte(key), value, expires)
}

// Prolong has a note that is there, and has not expired, last for some time from now. Without one it does nothing.
func (t *Table) Prolong(ctx context.Context, key string, lasts time.Duration) error {
	return t.exec(ctx, `update ifmatch.note set expires = clock_timestamp() + $3
 where kind = $1 and key = $2 and expires > clock_timestamp()`, []byte(key), lasts)
}

// Get returns a note, or [ErrNone].
func (t *Table) Get(ctx context.Context, key string) (value []byte, err error) {
	err = t.one(ctx, &value, "select value from ifmatch.note where kind = $1 and key = $2 and expires > clock_timestamp()",
		[]byte(key))
	return value, err
}

// Take removes a note and returns it, or nil if there is none. Of several calls at once, one gets it.
func (t *Table) Take(ctx context.Context, key string) (value []byte, err error) {
	err = t.one(ctx, &value, `delete from ifmatch.note where kind = $1 and key = $2
 returning case when expires > clock_timestamp() then value end`, []byte(key))
	if errors.Is(err, ErrNone) {
		err = nil
	}
	return value, err
}

// Remove removes notes. Those that are not there are no error.
func (t *Table) Remove(ctx context.Context, keys ...string) error {
	return t.exec(ctx, "delete from ifmatch.note where kind = $1 and key = any($2)", bytesOf(keys))
}

func bytesOf(keys []string) [][]byte {
	raw := make([][]byte, 0, len(keys))
	for _, key := range keys {
		raw = append(raw, []byte(key))
	}
	return raw
}

// GetAll returns those of some notes that are there, by their keys.
func (t *Table) GetAll(ctx context.Context, keys ...string) (map[string][]byte, error) {
	all, err := list(ctx, t.pool, "select key, value from ifmatch.note where kind = $1 and key = any($2) and expires > clock_timestamp()",
		t.kind, bytesOf(keys))
	return all, t.translate(err)
}

// List returns some notes by their keys, up to a number.
func (t *Table) List(ctx context.Context, most int) (map[string][]byte, error) {
	all, err := List(ctx, t.pool, t.kind, most)
	return all, t.translate(err)
}

// A Querier asks a database: a pool does, or a connection.
type Querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

// List returns some notes of a kind by their keys, up to a number.
func List(ctx context.Context, from Querier, kind string, most int) (map[string][]byte, error) {
	return list(ctx, from, "select key, value from ifmatch.note where kind = $1 and expires > clock_timestamp() limit $2", kind, most)
}

func list(ctx context.Context, from Querier, sql string, args ...any) (map[string][]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	rows, err := from.Query(ctx, sql, args...)
	if err != nil {
		return nil, err
	}
	all := map[string][]byte{}
	var key, value []byte
	_, err = pgx.ForEachRow(rows, []any{&key, &value}, func() error {
		all[string(key)], value = value, nil
		return nil
	})
	if err != nil {
		return nil, err
	}
	return all, nil
}
