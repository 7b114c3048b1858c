package pgstore

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"r-seed-1f3a754f.example/ifmatch/internal/pause"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

const (
	pollEvery  = 50 * time.Millisecond // while a follower waits
	changePage = 1000                  // changes that are read at once
	latestPage = 100                   // of those, the latest of a name
)

// A position is a place in table change. Conflicting writes have their numbers in the order of their commits, because
// they get them under their locks.
type position struct {
	xid uint64
	seq int64
}

func (p position) before(other position) bool {
	return p.xid < other.xid || p.xid == other.xid && p.seq < other.seq
}

func (s *Store) cursor(p position) tree.Cursor {
	return tree.Cursor(fmt.Sprintf("%s.%d.%d", s.epoch.Load(), p.xid, p.seq))
}

// parse returns the position of a cursor.
func (s *Store) parse(c tree.Cursor) (position, error) {
	rest, ours := strings.CutPrefix(string(c), s.epoch.Load().String()+".")
	xid, seq, _ := strings.Cut(rest, ".")
	var p position
	var err, failed error
	p.xid, err = strconv.ParseUint(xid, 10, 63)
	p.seq, failed = strconv.ParseInt(seq, 10, 64)
	if !ours || err != nil || failed != nil || s.cursor(p) != c {
		return p, errNoCursor
	}
	return p, nil
}

var errNoCursor = fmt.Errorf("no such cursor: %w", tree.ErrNotExist)

// locate returns the position of a cursor, if all changes after it are known. A change that a follower has had, and that
// is not there, was lost with a primary whose standby did not have it. The new primary gives its numbers out again.
func (s *Store) locate(ctx context.Context, c tree.Cursor) (p position, err error) {
	ctx, cancel := s.patient(ctx)
	defer cancel()
	var forgotten position
	var next uint64
	var epoch uuid.UUID
	var kept bool
	p, _ = s.parse(c)
	err = s.pool.QueryRow(ctx, `select epoch, forgotten_xid, forgotten_seq, pg_snapshot_xmax(pg_current_snapshot()),
 exists(select from ifmatch.change where xid = $1 and seq = $2) from ifmatch.meta`, p.xid, p.seq).
		Scan(&epoch, &forgotten.xid, &forgotten.seq, &next, &kept)
	if err != nil {
		return p, translate(err)
	}
	s.epoch.Store(&epoch)
	if c == "" {
		return forgotten, nil
	}
	if p, err = s.parse(c); err == nil && (p.before(forgotten) || p.xid >= next || !kept && p != forgotten) {
		err = errNoCursor
	}
	return p, err
}

// Now implements [tree.Feed]. It waits for the transactions that began to write before the last one that it sees.
func (s *Store) Now(ctx context.Context) (tree.Cursor, error) {
	limited, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var last position
	var oldest uint64
	var epoch uuid.UUID
	err := s.pool.QueryRow(limited, `select m.epoch, coalesce(c.xid, m.forgotten_xid), coalesce(c.seq, m.forgotten_seq),
 pg_snapshot_xmin(pg_current_snapshot()) from ifmatch.meta m
 left join (select xid, seq from ifmatch.change order by xid desc, seq desc limit 1) c on true`).
		Scan(&epoch, &last.xid, &last.seq, &oldest)
	if err == nil {
		s.epoch.Store(&epoch)
	}
	for err == nil && oldest <= last.xid {
		if err = pause.For(limited, time.Millisecond); err == nil {
			err = s.pool.QueryRow(limited, "select pg_snapshot_xmin(pg_current_snapshot())").Scan(&oldest)
		}
	}
	if err != nil && ctx.Err() != nil {
		return "", ctx.Err()
	}
	return s.cursor(last), translate(err)
}

const changeColumns = `xid, seq, at, cause, path, source, present, collection, created, old_file, old_sha256, sha256, principal`

// changesSQL reads the changes after a position. $4 says that transactions which have not ended may have others before
// the last of them, so that these are left out.
const changesSQL = `select ` + changeColumns + ` from ifmatch.change where (xid, seq) > ($1, $2) and told
 and (not $4 or xid < pg_snapshot_xmin(pg_current_snapshot())) order by xid, seq limit $3`

// A querier is the pool, or the connection of a transaction.
type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

// changesAfter returns some changes after a position.
func (s *Store) changesAfter(
	ctx context.Context, from querier, p position, settled bool,
) (all []tree.Change, last position, err error) {
	ctx, cancel := s.patient(ctx)
	defer cancel()
	rows, err := from.Query(ctx, changesSQL, p.xid, p.seq, changePage, settled)
	if err != nil {
		return nil, p, translate(err)
	}
	return s.readChanges(rows, p)
}

// readChanges returns the changes in an answer, and the position of the last one.
func (s *Store) readChanges(rows pgx.Rows, p position) (all []tree.Change, last position, err error) {
	defer rows.Close()
	for last = p; rows.Next(); {
		var c tree.Change
		var path, source, old, sum []byte
		var at int64
		var principal string
		err := rows.Scan(&last.xid, &last.seq, &at, &c.Cause, &path, &source, &c.State.Exists, &c.State.Collection,
			&c.Created, &c.OldFile, &old, &sum, &principal)
		if err != nil {
			return nil, p, err
		}
		c.Cursor, c.Name, c.From, c.State.Name = s.cursor(last), string(path), string(source), string(path)
		c.Time, c.Principal = time.Unix(0, at), tree.Principal(principal)
		c.OldCollection = !c.Created && !c.OldFile
		if old != nil {
			c.Old = tree.TagOf([32]byte(old))
		}
		if sum != nil {
			c.State.Tag = tree.TagOf([32]byte(sum))
		}
		all = append(all, c)
	}
	return all, last, translate(rows.Err())
}

// latestSQL reads the changes of some names before a position, the latest first.
const latestSQL = `select ` + changeColumns + ` from ifmatch.change where (path = any($1::bytea[]) or source = any($1::bytea[]))
 and told and cause <> 'PROPPATCH' and (xid, seq) < ($2, $3) order by xid desc, seq desc limit $4`

// Latest implements [tree.Feed].
func (s *Store) Latest(ctx context.Context, name string) (tree.Change, error) {
	ctx, cancel := s.patient(ctx)
	defer cancel()
	var names [][]byte
	for _, p := range tree.Prefixes(name) {
		names = append(names, []byte(p))
	}
	for at, full := (position{math.MaxInt64, math.MaxInt64}), true; full; {
		rows, err := s.pool.Query(ctx, latestSQL, names, at.xid, at.seq, latestPage)
		if err != nil {
			return tree.Change{}, translate(err)
		}
		var all []tree.Change
		if all, at, err = s.readChanges(rows, at); err != nil {
			return tree.Change{}, err
		}
		for _, c := range all {
			if c.Brought(name) {
				return c, nil
			}
		}
		full = len(all) == latestPage
	}
	return tree.Change{}, about(name, tree.ErrNotExist)
}

// Changes implements [tree.Feed].
func (s *Store) Changes(ctx context.Context, since, until tree.Cursor) iter.Seq2[tree.Change, error] {
	return func(yield func(tree.Change, error) bool) {
		sessions := s.sessions.Load()
		at, err := s.locate(ctx, since)
		end := position{math.MaxInt64, math.MaxInt64}
		if err == nil && until != "" {
			end, err = s.parse(until)
		}
		read := func(tree.Cursor) (all []tree.Change, more bool, _ error) {
			if err == nil {
				before := at
				all, at, err = s.changesAfter(ctx, s.pool, at, until == "")
				if now := s.sessions.Load(); err == nil && now != sessions { // it may be another server that has not all changes
					sessions = now
					if _, err = s.locate(ctx, s.cursor(before)); err != nil {
						all = nil
					}
				}
			}
			more = len(all) == changePage && !end.before(at)
			return slices.DeleteFunc(all, func(c tree.Change) bool {
				p, _ := s.parse(c.Cursor)
				return end.before(p)
			}), more, cmp.Or(ctx.Err(), err)
		}
		tree.FollowChanges(since, until, read, func() error { return pause.For(ctx, pollEvery) })(yield)
	}
}
