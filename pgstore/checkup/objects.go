package checkup

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"r-seed-1f3a754f.example/ifmatch/pgstore/blobs"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

// atOnce is how many identifiers are in memory.
const atOnce = 10_000

// list puts the identifiers of all objects into a temporary table, in short transactions.
func (c *Checkup) list(ctx context.Context) (n int64, err error) {
	if _, err := c.Conn.Exec(ctx, "create temporary table if not exists found (blob uuid); truncate found"); err != nil {
		return 0, err
	}
	var some [][]any
	flush := func() error {
		copied, err := c.Conn.CopyFrom(ctx, pgx.Identifier{"found"}, []string{"blob"}, pgx.CopyFromRows(some))
		n, some = n+copied, some[:0]
		return err
	}
	for id, err := range c.Objects.List(ctx) {
		if err != nil {
			return n, fmt.Errorf("--blobs cannot be listed: %w", err)
		}
		if some = append(some, []any{id}); len(some) == atOnce {
			if err := flush(); err != nil {
				return n, err
			}
		}
	}
	if err := flush(); err != nil {
		return n, err
	}
	_, err = c.Conn.Exec(ctx, "analyze found")
	return n, err
}

// objects looks for objects that are missing, and for those that nothing refers to.
func (c *Checkup) objects(ctx context.Context) error {
	n, err := c.list(ctx)
	if err != nil {
		return err
	}
	candidates, err := collect[content](ctx, c.Conn, `select r.blob, 'o', r.size, ''::bytea from (
  select blob, size from ifmatch.node where kind = 'f' and place = 'o' union
  select blob, size from ifmatch.version where kind = 'f' and place = 'o') r left join found f on f.blob = r.blob
 where f.blob is null limit 10000`)
	if err != nil {
		return err
	}
	var missing []lost
	unknown, refused := 0, error(nil)
	for _, one := range candidates {
		object, err := c.Objects.Open(ctx, one.Blob, one.Size, 0, one.Size) // it may have come since the listing
		switch {
		case err == nil:
			_ = object.Close()
		case errors.Is(err, tree.ErrNotExist):
			missing = append(missing, lost{one.Blob, one.Place})
		case errors.Is(err, blobs.ErrDamaged): // it is there
		default:
			err = fmt.Errorf("the object %s: %w", one.Blob, err)
			if failed := c.away(ctx, err); failed != nil {
				return failed
			}
			unknown, refused = unknown+1, err
		}
	}
	if unknown > 0 {
		c.To.Bad(fmt.Sprintf("of %d objects it is not known whether they are missing, as of %v", unknown, refused), "look again")
	}
	switch {
	case len(missing) > 0:
		if err := c.tellLost(ctx, "objects are missing", "is missing in --blobs", missing); err != nil {
			return err
		}
	case unknown == 0:
		c.To.Good("no object is missing, of %d", n)
	}
	return c.unreferenced(ctx)
}

// unreferencedSQL finds objects that no row names. Each object has a row before it is begun.
const unreferencedSQL = `select f.blob from found f where f.blob <> (select store from ifmatch.meta)
 and not exists (select from ifmatch.dead d where d.blob = f.blob)
 and not exists (select from ifmatch.upload u where f.blob in (u.blob, u.tail))
 and f.blob not in (select blob from ifmatch.node where kind = 'f' union all
  select blob from ifmatch.version where kind = 'f')`

func (c *Checkup) unreferenced(ctx context.Context) error {
	var n int64
	if err := c.Conn.QueryRow(ctx, "select count(*) from ("+unreferencedSQL+") u").Scan(&n); err != nil {
		return err
	}
	switch {
	case n == 0:
		c.To.Good("a row refers to each object")
	case !c.Fix:
		c.To.Bad(fmt.Sprintf("no row refers to %d objects", n), "have the servers remove them with --fix")
	default:
		_, err := c.Conn.Exec(ctx, "insert into ifmatch.dead (blob, place) select u.blob, 'o' from ("+unreferencedSQL+
			") u on conflict do nothing")
		if err != nil {
			return err
		}
		c.To.Note(fmt.Sprintf("no row referred to %d objects; the servers remove them after the time for garbage", n), "")
	}
	return nil
}

// A content is to have a size and a SHA-256.
type content struct {
	Blob  uuid.UUID
	Place string
	Size  int64
	Sum   []byte
}

// verify reads all contents. The cursor is of one instant, and no transaction is open while contents are read.
func (c *Checkup) verify(ctx context.Context, withObjects bool) error {
	for _, sql := range []string{"begin read only", `declare contents cursor with hold for
 select distinct on (blob) blob, place::text, size, sha256 from (
  select blob, place, size, sha256 from ifmatch.node where kind = 'f' union all
  select blob, place, size, sha256 from ifmatch.version where kind = 'f') n`, "commit"} {
		if _, err := c.Conn.Exec(ctx, sql); err != nil {
			return err
		}
	}
	var damaged []lost
	var files, bytes int64
	begun := time.Now()
	for {
		some, err := collect[content](ctx, c.Conn, "fetch 100 from contents")
		if err != nil {
			return err
		}
		if len(some) == 0 {
			break
		}
		for _, one := range some {
			if one.Place == "o" && !withObjects {
				continue
			}
			ok, err := c.isWhole(ctx, one)
			if err != nil {
				return err
			}
			if !ok {
				damaged = append(damaged, lost{one.Blob, one.Place})
			}
			files, bytes = files+1, bytes+one.Size
			if err := c.pace(ctx, bytes, begun); err != nil {
				return err
			}
		}
	}
	if _, err := c.Conn.Exec(ctx, "close contents"); err != nil {
		return err
	}
	if len(damaged) == 0 {
		c.To.Good("%d contents were read (%s), and are whole", files, humanize.Bytes(uint64(bytes)))
		return nil
	}
	return c.tellLost(ctx, fmt.Sprintf("of %d contents are damaged", files), "is damaged", damaged)
}

// pace waits until the rate permits the bytes that have been read since the beginning.
func (c *Checkup) pace(ctx context.Context, bytes int64, begun time.Time) error {
	if c.Rate <= 0 {
		return ctx.Err()
	}
	wait := time.Duration(float64(bytes)/float64(c.Rate)*float64(time.Second)) - time.Since(begun)
	if wait <= 0 {
		return ctx.Err()
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(wait):
		return nil
	}
}

// away returns an error of an object if the place of the objects has failed, and not the object alone.
func (c *Checkup) away(ctx context.Context, failed error) error {
	size := int64(len(c.store.String()))
	mark, err := c.Objects.Open(ctx, c.store, size, 0, size)
	if err == nil {
		_, err = io.Copy(io.Discard, mark)
		err = errors.Join(err, mark.Close())
	}
	if err != nil || ctx.Err() != nil {
		return fmt.Errorf("--blobs cannot be read: %w", failed)
	}
	return nil
}

// isWhole reads a content. One that is gone meanwhile, or missing, was told of elsewhere. One that cannot be read is not
// whole.
func (c *Checkup) isWhole(ctx context.Context, one content) (bool, error) {
	sum := sha256.New()
	var size int64
	if one.Place == "i" {
		var data []byte
		err := c.Conn.QueryRow(ctx, "select data from ifmatch.content where blob = $1", one.Blob).Scan(&data)
		if errors.Is(err, pgx.ErrNoRows) {
			return true, nil
		}
		if err != nil {
			return false, err
		}
		sum.Write(data)
		size = int64(len(data))
	} else {
		read := func() error {
			sum.Reset()
			object, err := c.Objects.Open(ctx, one.Blob, one.Size, 0, one.Size)
			if err == nil {
				size, err = io.Copy(sum, object)
				_ = object.Close()
			}
			return err
		}
		err := read()
		if err != nil && !errors.Is(err, tree.ErrNotExist) && !errors.Is(err, blobs.ErrDamaged) {
			if err := c.away(ctx, fmt.Errorf("the object %s: %w", one.Blob, err)); err != nil {
				return false, err
			}
			err = read() // the place answers again
		}
		switch {
		case errors.Is(err, tree.ErrNotExist):
			return true, nil
		case errors.Is(err, blobs.ErrDamaged):
			return false, nil
		case err != nil:
			return false, c.away(ctx, fmt.Errorf("the object %s: %w", one.Blob, err))
		}
	}
	return size == one.Size && bytes.Equal(sum.Sum(nil), one.Sum), nil
}
