package pgstore

import (
	"context"
	"strings"
	"time"

	"r-seed-1f3a754f.example/ifmatch/pgstore/past"
	"r-seed-1f3a754f.example/ifmatch/tree"
	"r-seed-1f3a754f.example/ifmatch/tree/undo"
)

var _ tree.Undoer = (*Store)(nil)

// RestoreAt implements [tree.Undoer].
func (s *Store) RestoreAt(
	ctx context.Context, name string, at time.Time, opts tree.RestoreAtOptions,
) (tree.Restored, error) {
	if err := checkReserved(name); err != nil {
		return tree.Restored{}, err
	}
	return undo.RestoreAt(ctx, past.Of(undoing{s}), name, at, opts)
}

// undoing implements [past.Writer].
type undoing struct{ *Store }

// Clock implements [past.Writer].
func (s undoing) Clock(ctx context.Context) (time.Time, error) { return s.now(ctx) }

// sinceSlack is by how much the numbers of changes that do not conflict may differ from the order of their times. A
// write looks at the clock at most [session.IdleLimit] before it gets its number.
const sinceSlack = time.Minute

// Since implements [past.Writer]. The janitor drops no change that is younger than feedKept.
func (s undoing) Since(ctx context.Context, at time.Time) (before tree.Cursor, begun time.Time, err error) {
	ctx, cancel := s.patient(ctx)
	defer cancel()
	var last, forgotten position
	var made, now time.Time
	err = s.pool.QueryRow(ctx, `select coalesce(c.xid, m.forgotten_xid), coalesce(c.seq, m.forgotten_seq), m.forgotten_xid,
 n.created, coalesce($2, clock_timestamp())
 from ifmatch.meta m join ifmatch.node n on n.parent = 0 and n.name = ''
 left join (select xid, seq from ifmatch.change where at <= $1 order by xid desc, seq desc limit 1) c on true`,
		at.Add(-sinceSlack).UnixNano(), s.clock()).Scan(&last.xid, &last.seq, &forgotten.xid, &made, &now)
	if begun = made; forgotten.xid > 0 {
		begun = now.Add(-feedKept)
	}
	return s.cursor(last), begun, translate(err)
}

// Bring implements [past.Writer].
func (s undoing) Bring(
	ctx context.Context, id, to string, shallow bool, opts tree.RestoreOptions, cond tree.Condition,
) error {
	_, _, err := s.restore(ctx, id, to, shallow, opts, cond)
	return err
}

// RemoveEmpty implements [past.Writer].
func (s undoing) RemoveEmpty(ctx context.Context, name string, cond tree.Condition) error {
	err := s.remove(ctx, name, true, cond)
	if code(err) == codeDivision {
		err = undo.ErrNotEmpty
	}
	return err
}

// memberRemovalSQL removes a member of a removed collection, with all below it. The size of the collection has to be
// measured again.
const memberRemovalSQL = `with recursive z as (update ifmatch.version set size = 0 where id = $4),
t as (select n.parent, n.name, n.id, n.kind, n.blob, n.place from ifmatch.node n
 where n.parent = $1 and n.name = $3` + treeRemoval + `) g` + noted + `) select from t`

// treeSizeSQL sums up the files of a removed tree: all that is in $1, or its member $2.
const treeSizeSQL = `with recursive t as (
  select n.id, n.kind, n.size from ifmatch.node n where n.parent = $1 and ($2::bytea is null or n.name = $2)
  union all select n.id, n.kind, n.size
  from t cross join lateral (select * from ifmatch.node where parent = t.id offset 0) n where t.kind = 'd')
select coalesce(sum(size) filter (where kind = 'f'), 0)::bigint from t`

// Prune deletes the versions of a name and of all names below it before their time is over, and calls told with each,
// and with the bytes of its files. Of a removed collection above, it deletes what that had at the name. The servers
// free the space after the grace of contents. With dryRun it only says which versions these would be. None is ever
// left.
func (s *Store) Prune(
	ctx context.Context, name string, dryRun bool, told func(tree.Version, int64),
) (left int, err error) {
	for v, err := range s.Versions(ctx, name, tree.VersionOptions{}) {
		if err != nil {
			return 0, err
		}
		number, rest, _ := strings.Cut(v.ID, "/")
		bytes, err := s.pruneVersion(ctx, number, rest, v.State, dryRun)
		if err != nil {
			return 0, err
		}
		told(v, bytes)
	}
	return 0, nil
}

// pruneVersion deletes a version, or what it has at a path below it, and returns the bytes of its files.
func (s *Store) pruneVersion(
	ctx context.Context, id, rest string, state tree.State, dryRun bool,
) (bytes int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, max(s.opts.Patience, treePatience))
	defer cancel()
	k, err := s.find(ctx, id)
	if err != nil {
		return 0, err
	}
	above, base := -k.id, []byte(nil)
	if rest != "" {
		dir, segment := tree.Split(rest)
		parent, there, err := s.memberOf(ctx, k, dir)
		if err != nil || !there {
			return 0, err
		}
		above, base = parent.node.id, []byte(segment)
	}
	if bytes = state.Size; state.Collection {
		if err := s.pool.QueryRow(ctx, treeSizeSQL, above, base).Scan(&bytes); err != nil {
			return 0, translate(err)
		}
	}
	switch now := s.Time(); {
	case dryRun:
	case rest != "":
		_, err = s.pool.Exec(ctx, memberRemovalSQL, above, now, base, k.id)
	default:
		_, err = s.pool.Exec(ctx, removal("$1::bigint"), k.id, now)
	}
	return bytes, translate(err)
}
