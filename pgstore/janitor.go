package pgstore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"r-seed-1f3a754f.example/ifmatch/internal/pause"
)

const (
	janitorEvery  = time.Hour           // of one replica
	janitorAsks   = 5 * time.Minute     // how often each replica asks whether it is time
	feedKept      = 7 * 24 * time.Hour  // changes
	goneKept      = 90 * 24 * time.Hour // dates of names at which nothing is
	leftFor       = 24 * time.Hour      // versions that another server has kept, where this one keeps none
	garbageAtOnce = 1000
	deletesAtOnce = 8
)

// How long contents without a name are kept. A request may read one of them, and an upload may be about to use it.
const (
	DefaultBlobGrace = 24 * time.Hour
	MinBlobGrace     = time.Hour
)

// Start begins to look after the tables.
func (s *Store) Start() {
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	s.stopJanitor = func() { stop(); <-done }
	go func() {
		defer close(done)
		for {
			if err := s.Clean(ctx); err != nil && ctx.Err() == nil {
				s.opts.Report(fmt.Errorf("the tables cannot be looked after: %w", err))
			}
			if pause.For(ctx, janitorAsks) != nil {
				return
			}
		}
	}()
}

// Clean removes old entries of the tables and objects without a name, if no replica has done so within the last hour.
func (s *Store) Clean(ctx context.Context) error {
	answer, err := s.pool.Exec(ctx, `insert into ifmatch.job (name, until) values ('clean', coalesce($2, now()) + $1)
 on conflict (name) do update set until = coalesce($2, now()) + $1 where job.until < coalesce($2, now())`,
		janitorEvery, s.clock())
	if err != nil || answer.RowsAffected() == 0 {
		return err
	}
	var now time.Time
	if err := s.pool.QueryRow(ctx, "select coalesce($1, now())", s.clock()).Scan(&now); err != nil {
		return err
	}
	expired := now.Add(-s.opts.History)
	if s.opts.NoHistory {
		expired = now.Add(-leftFor)
	}
	if s.opts.HistorySize > 0 {
		if expired, err = s.oversize(ctx, expired); err != nil {
			return err
		}
	}
	var waits error // a task for which others hold a lock, as a restore, keeps none of the rest back
	for _, task := range s.tasks(now, expired) {
		switch err := s.do(ctx, task); {
		case code(err) == codeLockNotGranted:
			waits = errors.Join(waits, err)
		case err != nil:
			return err
		}
	}
	return errors.Join(waits, s.collect(ctx, now.Add(-s.opts.BlobGrace)))
}

// do runs a task to its end.
func (s *Store) do(ctx context.Context, task task) error {
	for {
		answer, err := s.pool.Exec(ctx, task.sql, task.args...)
		if err != nil {
			return fmt.Errorf("%s: %w", task.name, err)
		}
		if answer.RowsAffected() < task.most {
			return nil
		}
	}
}

// measure writes the bytes of the files in each removed collection into its version, once: such a tree changes only by
// [Store.Prune], which says so. A tree without any counts as a byte. No lock is held while a tree is read.
func (s *Store) measure(ctx context.Context) error {
	var failed error
	for last := int64(0); ; {
		rows, err := s.pool.Query(ctx, `select id from ifmatch.version where kind = 'd' and size = 0 and id > $1
 order by id limit $2`, last, garbageAtOnce)
		if err != nil {
			return err
		}
		all, err := pgx.CollectRows(rows, pgx.RowTo[int64])
		if err != nil || len(all) == 0 {
			return errors.Join(err, failed)
		}
		for _, id := range all {
			last = id
			switch err := s.measureOne(ctx, id); {
			case code(err) == codeLockNotGranted:
				failed = err // a restore reads the version: the next run measures it
			case err != nil:
				return err
			}
		}
	}
}

func (s *Store) measureOne(ctx context.Context, id int64) error {
	var read string
	var size int64
	err := s.pool.QueryRow(ctx, "select xmin::text, ("+treeSizeSQL+") from ifmatch.version where id = -($1::bigint)", -id, nil).
		Scan(&read, &size)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil // it has expired
	}
	if err == nil {
		_, err = s.pool.Exec(ctx, "update ifmatch.version set size = $2 where id = $1 and xmin::text = $3", id, max(1, size), read)
	}
	return err
}

// oversize returns the time before which versions expire, so that the others take no more than the size of the history:
// that of their age, or a later one. A content that has several versions counts for each.
func (s *Store) oversize(ctx context.Context, expired time.Time) (time.Time, error) {
	if err := s.measure(ctx); err != nil {
		s.opts.Report(fmt.Errorf("the sizes of removed collections, for --history-size: %w", err))
	}
	var last *time.Time // the newest version that has no room
	err := s.pool.QueryRow(ctx, `select max(gone) from (
 select gone, sum(size) over (order by gone desc, id desc) as until from ifmatch.version where gone >= $2) v where until > $1`,
		s.opts.HistorySize, expired).Scan(&last)
	if err != nil || last == nil {
		return expired, err
	}
	return last.Add(time.Microsecond), nil // the unit of the database's time
}

// A task is a statement that runs until it has done less than the most that it does at once.
type task struct {
	name, sql string
	args      []any
	most      int64
}

// removal returns a statement that removes some versions, and all that is in them. It notes at $2 that their contents
// may be garbage, and selects a row for each version.
func removal(which string) string {
	return `with recursive v as (delete from ifmatch.version where id in (` + which + `) returning id, kind, blob, place),
 t as (select n.parent, n.name, n.id, n.kind, n.blob, n.place from v join ifmatch.node n on n.parent = -v.id` + treeRemoval + `
 union select blob, place from v where kind = 'f') g` + noted + `) select from v`
}

// treeRemoval goes on with a statement that has found the root of a removed tree: it removes that with all below.
const treeRemoval = `
  union all select n.parent, n.name, n.id, n.kind, n.blob, n.place
  from t cross join lateral (select * from ifmatch.node where parent = t.id offset 0) n where t.kind = 'd'),
 d as (delete from ifmatch.node n using t where n.parent = t.parent and n.name = t.name),
 g as (insert into ifmatch.dead (blob, place, since) select blob, place, $2::timestamptz from (
  select distinct blob, place from t where kind = 'f'`

// tasks returns the tasks at a time. Versions from before expired are removed. A content whose last name has gone is kept
// for the whole of its grace from then on, also where it was noted before that it may be garbage.
func (s *Store) tasks(now, expired time.Time) []task {
	return []task{
		{"locks", "delete from ifmatch.davlock where expires < $1", []any{now}, garbageAtOnce},
		{"sums of an earlier release, which are notes now", `delete from ifmatch.sums where sha256 in (
  select sha256 from ifmatch.sums limit 1000)`, nil, garbageAtOnce},
		{"notes", `delete from ifmatch.note where (kind, key) in (
  select kind, key from ifmatch.note where expires < $1 limit 1000)`, []any{now}, garbageAtOnce},
		{"uploads", `with d as (delete from ifmatch.upload where expires < $1 and held_until < now() returning blob, sha256)
 insert into ifmatch.dead (blob, place, begun, since) select blob, 'o', true, $1 from d where sha256 is null` + noted,
			[]any{now}, garbageAtOnce},
		{"files of the history", removal(`select id from ifmatch.version
 where gone < $1 and kind = 'f' order by gone limit 1000`), []any{expired, now}, garbageAtOnce},
		{"collections of the history", removal(`select id from ifmatch.version
 where gone < $1 and kind = 'd' order by gone limit 1`), []any{expired, now}, 1},
		{"dates of names at which nothing is", `with g as (delete from ifmatch.gone where at < $1
  returning greatest(earlier, below, ahead_last, extract(epoch from at)::bigint + 1) as last)
 update ifmatch.node set earlier = greatest(earlier, (select max(last) from g))
 where parent = 0 and name = '' and exists (select from g)`, []any{now.Add(-goneKept)}, garbageAtOnce},
		{"changes", `with c as (delete from ifmatch.change where at < $1 and xid < pg_snapshot_xmin(pg_current_snapshot())
  returning xid, seq), l as (select xid, seq from c order by xid desc, seq desc limit 1)
 update ifmatch.meta set forgotten_xid = l.xid, forgotten_seq = l.seq from l
 where (l.xid, l.seq) > (forgotten_xid, forgotten_seq)`, []any{now.Add(-feedKept).UnixNano()}, garbageAtOnce},
	}
}

// noted ends a statement that notes what may be garbage.
const noted = " on conflict (blob) do update set since = excluded.since where not dead.claimed"

// A garbage is a content that has no name.
type garbage struct {
	Blob   uuid.UUID
	Object bool
	Begun  bool
}

// collect deletes the contents that have had no name since before a time. It looks for names first, then claims the rest, and
// no claimed content can get a name. A content that is younger has not been looked at, and may have a name. A content that
// cannot be deleted stays claimed for the next time.
func (s *Store) collect(ctx context.Context, before time.Time) error {
	err := s.do(ctx, task{"garbage that has a name", `delete from ifmatch.dead d where since < $1 and not claimed and (
 exists (select from ifmatch.upload u where u.blob = d.blob and u.sha256 is null) or d.blob in (
  select blob from ifmatch.node where kind = 'f' union all select blob from ifmatch.version where kind = 'f'))`,
		[]any{before}, garbageAtOnce})
	if err != nil {
		return err
	}
	_, err = s.pool.Exec(ctx, `update ifmatch.dead d set claimed = true where since < $1
 and not exists (select from ifmatch.upload u where u.tail = d.blob)`, before)
	if err != nil {
		return err
	}
	var after uuid.UUID
	var failed error
	for {
		rows, err := s.pool.Query(ctx, `select blob, place = 'o', begun from ifmatch.dead where claimed and blob > $1
 order by blob limit $2`, after, garbageAtOnce)
		if err != nil {
			return err
		}
		all, err := pgx.CollectRows(rows, pgx.RowToStructByPos[garbage])
		if err != nil || len(all) == 0 {
			return errors.Join(err, failed)
		}
		after = all[len(all)-1].Blob
		deleted, err := s.deleteAll(ctx, all)
		failed = errors.Join(failed, err)
		_, err = s.pool.Exec(ctx, `with c as (delete from ifmatch.content where blob = any($1))
 delete from ifmatch.dead where blob = any($1)`, deleted)
		if err != nil {
			return err
		}
	}
}

// deleteAll deletes contents, and returns those that are gone. It tells one error of many.
func (s *Store) deleteAll(ctx context.Context, all []garbage) (deleted []uuid.UUID, failed error) {
	var group errgroup.Group
	group.SetLimit(deletesAtOnce)
	gone := make([]bool, len(all))
	for i, one := range all {
		group.Go(func() error {
			var err error
			switch {
			case !one.Object:
			case s.opts.Blobs == nil:
				return nil
			case one.Begun:
				err = s.opts.Blobs.Discard(ctx, one.Blob)
			default:
				err = s.opts.Blobs.Delete(ctx, one.Blob)
			}
			if gone[i] = err == nil; err != nil {
				return fmt.Errorf("an object cannot be deleted: %w", err)
			}
			return nil
		})
	}
	failed = group.Wait()
	for i, one := range all {
		if gone[i] {
			deleted = append(deleted, one.Blob)
		}
	}
	return deleted, failed
}
