package pgstore

import (
	"context"
	"iter"

	"github.com/jackc/pgx/v5"

	"r-seed-1f3a754f.example/ifmatch/tree"
)

const (
	// oneInstant is how many resources of a listing are of one instant.
	oneInstant = 10_000
	// listPage and propertyPage are how many rows are read at once. Properties may have 64 KiB each.
	listPage     = 2_500
	propertyPage = 128
)

// membersSQL reads members of some collections, after one of them.
const membersSQL = `select n.parent, n.name, ` + nodeColumns + `, case when $5 then n.props end from ifmatch.node n
 where n.parent = any($1::bigint[]) and (n.parent, n.name) > ($2, $3) order by n.parent, n.name limit $4`

// firstMembersSQL reads the first members of a collection, in the transaction that looks at it.
const firstMembersSQL = `with recursive t(i, seg) as materialized (
  select i, seg from unnest($1::bytea[]) with ordinality as u(seg, i)),
w as (
  select 0::bigint as i, id, kind from ifmatch.node where parent = 0 and name = ''
  union all
  select t.i, n.id, n.kind from w join t on t.i = w.i + 1 join ifmatch.node n on n.parent = w.id and n.name = t.seg
  and w.kind = 'd')
select n.parent, n.name, ` + nodeColumns + `, case when $3 then n.props end from ifmatch.node n
 where n.parent = (select id from w where i = cardinality($1::bytea[]) and kind = 'd') order by n.name limit $2`

// A listing is a List on its way: each level of collections after the one above.
type listing struct {
	s     *Store
	opts  tree.ListOptions
	sn    *snap
	page  int
	ready []tree.State // found, and not yielded
	found int          // below the first one

	level map[int64]*listed // the collections whose members are read now, by their ids
	below map[int64]*listed // those of the next level
	depth int               // how many levels are left, or negative
	after int64             // the last member that was read
	name  string
}

// A listed collection has members to be listed.
type listed struct {
	name string
	node *node
}

func newListing(s *Store, opts tree.ListOptions) *listing {
	l := &listing{s: s, opts: opts, sn: newSnap(), page: listPage, depth: opts.Depth}
	if opts.Want&tree.WantProperties != 0 {
		l.page = propertyPage
	}
	return l
}

// List implements [tree.Store]. Up to 10,000 resources are of one instant.
func (s *Store) List(
	ctx context.Context, dir string, opts tree.ListOptions, cond tree.Condition,
) iter.Seq2[tree.State, error] {
	return func(yield func(tree.State, error) bool) {
		l := newListing(s, opts)
		more, err := l.begin(ctx, dir, cond)
		if err != nil && s.reconnects(ctx, 0, err) {
			l = newListing(s, opts)
			more, err = l.begin(ctx, dir, cond)
		}
		for err == nil {
			for _, state := range l.ready {
				if state.Sums, err = l.sums(ctx, state); err == nil {
					err = ctx.Err()
				}
				if err != nil || !yield(state, nil) {
					break
				}
			}
			if l.ready = nil; err != nil || !more {
				break
			}
			more, err = l.goOn(ctx)
		}
		if err != nil {
			yield(tree.State{}, unwrapped(err))
		}
	}
}

// begin looks at the first resource and at all below it that are to be of one instant. more says that there are others.
func (l *listing) begin(ctx context.Context, dir string, cond tree.Condition) (more bool, err error) {
	if err := checkReserved(dir); err != nil {
		return false, err
	}
	conn, err := l.s.acquire(ctx)
	if err != nil {
		return false, err
	}
	defer l.s.rollback(ctx, conn, func() {})
	w := wishOf(cond, dir)
	w.props = l.opts.Want&tree.WantProperties != 0
	if l.opts.Want&tree.WantLocks != 0 {
		w.locks, w.below = true, true
	}
	b := &pgx.Batch{}
	b.Queue("begin isolation level repeatable read read only")
	readers := l.s.queue(b, w, l.sn)
	var first []member
	if l.depth != 0 {
		b.Queue(firstMembersSQL, segmentsOf(dir), l.page, w.props)
		readers = append(readers, func(rows pgx.Rows) (err error) {
			first, err = readMembers(rows)
			return err
		})
	}
	if err := l.s.send(ctx, conn.Conn(), b, 1, readers...); err != nil {
		return false, translate(err)
	}
	n := l.sn.nodes[dir]
	if !n.there {
		return false, about(dir, tree.ErrNotExist)
	}
	if err := l.s.viewOf(ctx, l.sn, w.names).ask(cond); err != nil {
		return false, err
	}
	state, err := l.s.describe(n, dir, l.sn, l.opts.Want)
	if err != nil {
		return false, err
	}
	l.ready = append(l.ready, state)
	l.below = map[int64]*listed{}
	if n.isDir() && l.depth != 0 {
		l.below[n.id] = &listed{dir, n}
	}
	for more = l.descend(); more; first = nil {
		if first == nil {
			if first, err = l.read(ctx, conn.Conn()); err != nil {
				return false, err
			}
		}
		if more, err = l.add(first); err != nil {
			return false, err
		}
		if l.opts.Limit > 0 && l.found > l.opts.Limit {
			return false, about(dir, tree.ErrTooMany)
		}
		if l.opts.Limit == 0 && len(l.ready) >= oneInstant {
			break
		}
	}
	return more, nil
}

// goOn reads another part, which is of a later instant.
func (l *listing) goOn(ctx context.Context) (more bool, err error) {
	conn, err := l.s.acquire(ctx)
	if err != nil {
		return false, err
	}
	defer conn.Release()
	for more = true; more && len(l.ready) < l.page; {
		members, err := l.read(ctx, conn.Conn())
		if err != nil {
			return false, err
		}
		if more, err = l.add(members); err != nil {
			return false, err
		}
	}
	return more, nil
}

// descend goes on with the next level. It reports whether there is one.
func (l *listing) descend() bool {
	l.level, l.below = l.below, map[int64]*listed{}
	if l.after, l.name = -1<<63, ""; len(l.level) == 0 || l.depth == 0 {
		return false
	}
	l.depth--
	return true
}

// A member is a row of a listing.
type member struct {
	parent int64
	name   string
	node   *node
}

func readMembers(rows pgx.Rows) (all []member, err error) {
	defer rows.Close()
	for rows.Next() {
		var row nodeRow
		var m member
		var name []byte
		if err := row.scan(rows, []any{&m.parent, &name}); err != nil {
			return nil, err
		}
		m.name, m.node = string(name), row.node()
		all = append(all, m)
	}
	return all, translate(rows.Err())
}

// read reads a page of the level.
func (l *listing) read(ctx context.Context, conn *pgx.Conn) ([]member, error) {
	ids := make([]int64, 0, len(l.level))
	for id := range l.level {
		ids = append(ids, id)
	}
	rows, err := conn.Query(ctx, membersSQL, ids, l.after, []byte(l.name), l.page, l.opts.Want&tree.WantProperties != 0)
	if err != nil {
		return nil, translate(err)
	}
	return readMembers(rows)
}

// add adds a page of the level to the listing. more says that there are others.
func (l *listing) add(page []member) (more bool, err error) {
	for _, m := range page {
		l.after, l.name = m.parent, m.name
		above, n := l.level[m.parent], m.node
		name := tree.Join(above.name, m.name)
		if l.opts.Show != nil && !l.opts.Show(name, nil, n.isDir()) {
			continue
		}
		n.under(above.node, l.sn.latest)
		state, err := l.s.describe(n, name, l.sn, l.opts.Want)
		if err != nil {
			return false, err
		}
		l.ready = append(l.ready, state)
		l.found++
		if n.isDir() && l.depth != 0 {
			l.below[n.id] = &listed{name, n}
		}
	}
	return len(page) == l.page || l.descend(), nil
}

// sums returns the sums of a listed file, if they are wanted and can be computed in time.
func (l *listing) sums(ctx context.Context, state tree.State) (tree.Sums, error) {
	if l.opts.Want&tree.WantSums == 0 || state.Collection {
		return nil, nil
	}
	patient, cancel := tree.Patience(ctx, l.opts.TagDeadline)
	defer cancel()
	found, err := l.s.Stat(patient, state.Name, tree.ReadOptions{Want: tree.WantSums, TagDeadline: l.opts.TagDeadline})
	if err != nil && ctx.Err() != nil {
		return nil, err
	}
	if err != nil || found.Tag != state.Tag {
		return nil, nil // another version by now
	}
	return found.Sums, nil
}
