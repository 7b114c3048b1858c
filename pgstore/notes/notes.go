// Package notes keeps small things that all replicas share, until they expire: sessions of users, for instance.
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

// A Table has the notes of one kind.
type Table struct {
	pool *pgxpool.Pool
	kind string
}

// New returns the notes of a kind in a database.
func New(pool *pgxpool.Pool, kind string) *Table { return &Table{pool, kind} }

// Put keeps a note, in place of one with the same key.
func (t *Table) Put(ctx context.Context, key string, value []byte, expires time.Time) error {
	_, err := t.pool.Exec(ctx, `insert into ifmatch.note (kind, key, value, expires) values ($1, $2, $3, $4)
 on conflict (kind, key) do update set value = $3, expires = $4`, t.kind, []byte(key), value, expires)
	return err
}

// Change replaces a note that is there. Without one it does nothing.
func (t *Table) Change(ctx context.Context, key string, value []byte, expires time.Time) error {
	_, err := t.pool.Exec(ctx, "update ifmatch.note set value = $3, expires = $4 where kind = $1 and key = $2",
		t.kind, []byte(key), value, expires)
	return err
}

// Get returns a note, or [ErrNone].
func (t *Table) Get(ctx context.Context, key string) (value []byte, err error) {
	err = t.pool.QueryRow(ctx, "select value from ifmatch.note where kind = $1 and key = $2 and expires > now()",
		t.kind, []byte(key)).Scan(&value)
	if errors.Is(err, pgx.ErrNoRows) {
		err = ErrNone
	}
	return value, err
}

// Remove removes notes. Those that are not there are no error.
func (t *Table) Remove(ctx context.Context, keys ...string) error {
	raw := make([][]byte, 0, len(keys))
	for _, key := range keys {
		raw = append(raw, []byte(key))
	}
	_, err := t.pool.Exec(ctx, "delete from ifmatch.note where kind = $1 and key = any($2)", t.kind, raw)
	return err
}

// List returns some notes by their keys, up to a number.
func (t *Table) List(ctx context.Context, most int) (map[string][]byte, error) {
	rows, err := t.pool.Query(ctx, "select key, value from ifmatch.note where kind = $1 and expires > now() limit $2",
		t.kind, most)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	all := map[string][]byte{}
	for rows.Next() {
		var key, value []byte
		if err := rows.Scan(&key, &value); err != nil {
			return nil, err
		}
		all[string(key)] = value
	}
	return all, rows.Err()
}
