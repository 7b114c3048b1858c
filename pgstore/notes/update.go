package notes

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

const (
	readSQL = `select u.i, n.value, clock_timestamp() from unnest($2::bytea[]) with ordinality as u(key, i)
 left join ifmatch.note n on n.kind = $1 and n.key = u.key and n.expires > clock_timestamp() order by u.i`
	writeSQL = `insert into ifmatch.note (kind, key, value, expires)
 select $1, u.key, u.value, clock_timestamp() + $4 from unnest($2::bytea[], $3::bytea[]) as u(key, value)
 where u.value is not null
 on conflict (kind, key) do update set value = excluded.value, expires = excluded.expires`
	dropSQL = `delete from ifmatch.note where kind = $1 and key in (
  select u.key from unnest($2::bytea[], $3::bytea[]) as u(key, value) where u.value is null)`
)

// Update replaces the notes of some keys in one step. change gets the time by the clock of the database, and the values
// in the order of the keys, nil where there is none, and puts the new ones in their place. It may be called again. All
// of them expire after some time. If change fails, nothing happens, and its error is returned. Another error says that
// the change may have happened or not.
//
// It takes two round trips. Updates of the same keys wait for one another.
func (t *Table) Update(
	ctx context.Context, keys []string, lasts time.Duration, change func(now time.Time, values [][]byte) error,
) error {
	ctx, cancel := context.WithTimeout(ctx, t.patience)
	defer cancel()
	failed, err := t.update(ctx, keys, lasts, change)
	if err != nil && failed == nil && pgconn.SafeToRetry(err) { // a connection was broken before anything was sent
		failed, err = t.update(ctx, keys, lasts, change)
	}
	if failed != nil {
		return failed
	}
	return t.translate(err)
}

// update is one try of [Table.Update]. failed is the error of change, and err any error, also one of the database.
func (t *Table) update(
	ctx context.Context, keys []string, lasts time.Duration, change func(now time.Time, values [][]byte) error,
) (failed, err error) {
	conn, err := t.pool.Acquire(ctx)
	if err != nil {
		return nil, err
	}
	defer conn.Release() // which closes it where the transaction has not ended
	b := &pgx.Batch{}
	b.Queue("begin isolation level read committed")
	b.Queue("select pg_advisory_xact_lock(k) from unnest($1::bigint[]) as u(k)", t.lockKeys(keys))
	b.Queue(readSQL, t.kind, bytesOf(keys))
	values := make([][]byte, len(keys))
	now, err := read(conn.SendBatch(ctx, b), values)
	if err != nil {
		return nil, err
	}
	if err := change(now, values); err != nil {
		return err, err
	}
	b = &pgx.Batch{}
	b.Queue(dropSQL, t.kind, bytesOf(keys), values)
	b.Queue(writeSQL, t.kind, bytesOf(keys), values, lasts)
	b.Queue("commit")
	return nil, conn.SendBatch(ctx, b).Close()
}

// read reads the answer to the first batch of an update into values.
func read(answers pgx.BatchResults, values [][]byte) (now time.Time, err error) {
	defer func() {
		if closed := answers.Close(); err == nil {
			err = closed
		}
	}()
	for range 2 {
		if _, err := answers.Exec(); err != nil {
			return now, err
		}
	}
	rows, err := answers.Query()
	if err != nil {
		return now, err
	}
	defer rows.Close()
	for rows.Next() {
		var i int
		var value []byte
		if err := rows.Scan(&i, &value, &now); err != nil {
			return now, err
		}
		values[i-1] = value
	}
	return now, rows.Err()
}

// lockKeys returns the keys of the locks of some notes, in the one order in which all updates take them.
func (t *Table) lockKeys(keys []string) []int64 {
	all := make([]int64, 0, len(keys))
	for _, key := range keys {
		h := sha256.Sum256([]byte("note\x00" + t.kind + "\x00" + key))
		all = append(all, int64(binary.LittleEndian.Uint64(h[:])))
	}
	slices.Sort(all)
	return all
}
