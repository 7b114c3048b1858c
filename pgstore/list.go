package pgstore

import (
	"context"
	"iter"
	"slices"

	"github.com/jackc/pgx/v5"

	"r-seed-1f3a754f.example/ifmatch/tree"
)

const (
	// oneInstant is how many resources of a listing are of one instant.
	oneInstant = 10_000
	// listPage is how many rows are read at once: one more than are of one instant, so that the last page of a listing of so
	// many is known to be the last. A page ends with pageBytes of names and properties, too: these may have 4 and 64 KiB each.
	listPage     = oneInstant + 1
	propertyPage = 2_500
	pageBytes    = 8 << 20
	// collectionsAtOnce is of how many collections the members are looked for at once.
	collectionsAtOnce = 1_000
)

// A page has members of a collection, or of several in their order, after a name in the first one, up to a number. The
// index is read in its order and no further than the page goes, however many members there are: package session has bitmaps
// turned off, for which all members would be read and sorted. The first column is the place of the collection among
// several. One that is moved while it is listed may be among them twice.
const (
	memberColumns = `, n.name, ` + nodeColumns
	ofOne         = `select 1::bigint` + memberColumns

	membersOf  = ofOne + `, null::bytea, false from ifmatch.node n where n.parent = `
	pageOfName = ` and n.name > $2 order by n.name limit $3`

	// With properties, the page has those of the first bytes, and tells which others it leaves out.
	propertiesOf = ofOne + `, case when n.total <= $4 then n.props end, coalesce(n.total > $4, false) from (
 select n.*, sum(octet_length(n.props)) over (order by n.name rows unbounded preceding) as total
 from ifmatch.node n where n.parent = `
	pageOfProperties = pageOfName + `) n order by n.name`

	pathID   = `(select id from w where i = cardinality($1::bytea[]) and kind = 'd')`
	walkPath = `with recursive t(i, seg) as materialized (
  select i, seg from unnest($1::bytea[]) with ordinality as u(seg, i)),
w as (
  select 0::bigint as i, id, kind from ifmatch.node where parent = 0 and name = ''
  union all
  select t.i, n.id, n.kind from w join t on t.i = w.i + 1 join ifmatch.node n on n.parent = w.id and n.name = t.seg
  and w.kind = 'd')
`
	// Of one collection: that with an id, or that at a path, in the transaction that looks at it.
	membersSQL          = membersOf + `$1` + pageOfName
	propertiesSQL       = propertiesOf + `$1` + pageOfProperties
	membersAtPathSQL    = walkPath + membersOf + pathID + pageOfName
	propertiesAtPathSQL = walkPath + propertiesOf + pathID + pageOfProperties

	ofMany = `unnest($1::bigint[]) with ordinality as p(id, i) cross join lateral (
  select m.* from ifmatch.node m where m.parent = p.id and m.name > case when p.i = 1 then $2::bytea else ''::bytea end
  order by m.name limit $3) m order by p.i, m.name limit $3) n order by n.i, n.name`
	membersOfManySQL    = `select n.i` + memberColumns + `, null::bytea, false from (select m.*, p.i from ` + ofMany
	propertiesOfManySQL = `select n.i` + memberColumns + `, case when n.total <= $4 then n.props end, coalesce(n.total > $4, false) from (
 select m.*, p.i, sum(octet_length(m.props)) over (order by p.i, m.name rows unbounded preceding) as total from ` + ofMany
)

// A listing is a List on its way: each level of collections after the one above.
type listing struct {
	s     *Store
	opts  tree.ListOptions
	sn    *snap
	page  int
	ready []tree.State // found, and not yielded
	found int          // below the first one
	bytes int          // of the names and properties in ready

	level []*listed // the collections whose members are read now
	below []*listed // those of the next level
	depth int       // how many levels are left, or negative
	after []byte    // the last member of the first of level that was read
	sums  map[tree.ETag]tree.Sums
}

// A listed collection has members to be listed.
type listed struct {
	name string
	node node
}

func newListing(s *Store, opts tree.ListOptions) *listing {
	l := &listing{s: s, opts: opts, sn: newSnap(), page: listPage, depth: opts.Depth}
	if l.properties() {
		l.page = propertyPage
	}
	return l
}

func (l *listing) properties() bool { return l.opts.Want&tree.WantProperties != 0 }

// List implements [tree.Store]. Up to 10,000 resources are of one instant, and up to 8 MiB of names and properties.
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
			if err = l.lookUpSums(ctx); err != nil {
				break
			}
			for _, state := range l.ready {
				if state.Sums, err = l.sumsOf(ctx, state); err == nil {
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
	full, err := l.look(ctx, conn.Conn(), dir, cond)
	if err != nil {
		return false, err
	}
	for more = l.goesOn(full); more; {
		if l.opts.Limit > 0 && l.found > l.opts.Limit || l.opts.Limit == 0 && len(l.ready) > oneInstant ||
			l.bytes >= pageBytes {
			break
		}
		if more, err = l.read(ctx, conn.Conn()); err != nil {
			return false, err
		}
	}
	if l.opts.Limit > 0 && l.found > l.opts.Limit {
		return false, about(dir, tree.ErrTooMany)
	}
	if more && l.opts.Limit > 0 {
		return more, about(dir, l.countRest(ctx, conn.Conn()))
	}
	return more, nil
}

// look begins the transaction of a listing, asks the condition, and reads the collection and the first page of its
// members, all in one message. It reports whether that page is full.
func (l *listing) look(ctx context.Context, conn *pgx.Conn, dir string, cond tree.Condition) (full bool, err error) {
	w := wishOf(cond, dir)
	w.props = l.properties()
	if l.opts.Want&tree.WantLocks != 0 {
		w.locks, w.below = true, true
	}
	b := &pgx.Batch{}
	b.Queue("begin isolation level repeatable read read only")
	readers := l.s.queue(b, w, l.sn)
	if l.depth != 0 {
		sql, args := l.query(membersAtPathSQL, propertiesAtPathSQL, segmentsOf(dir))
		b.Queue(sql, args...)
		readers = append(readers, func(rows pgx.Rows) (err error) {
			if n := l.sn.nodes[dir]; n.isDir() { // the statement before has read it
				l.below = []*listed{{dir, *n}}
				l.descend()
			}
			full, err = l.readPage(rows)
			return err
		})
	}
	limited, cancel := l.s.patient(ctx)
	defer cancel()
	if err := l.s.send(limited, conn, b, 1, readers...); err != nil {
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
	l.ready = slices.Insert(l.ready, 0, state)
	return full, nil
}

// countRest returns [tree.ErrTooMany] if the members that are not read yet are too many. They are read without their
// properties, and the listing goes on where it was.
func (l *listing) countRest(ctx context.Context, conn *pgx.Conn) error {
	rest := *l
	rest.opts.Want, rest.page, rest.below = 0, listPage, slices.Clip(l.below)
	for more := true; more; {
		rest.ready, rest.bytes = nil, 0
		var err error
		if more, err = rest.read(ctx, conn); err != nil {
			return err
		}
		if rest.found > l.opts.Limit {
			return tree.ErrTooMany
		}
	}
	return nil
}

// goOn reads another part, which is of a later instant.
func (l *listing) goOn(ctx context.Context) (more bool, err error) {
	conn, err := l.s.acquire(ctx)
	if err != nil {
		return false, err
	}
	defer conn.Release()
	l.bytes = 0
	for more = true; more && len(l.ready) < l.page && l.bytes < pageBytes; {
		if more, err = l.read(ctx, conn.Conn()); err != nil {
			return false, err
		}
	}
	return more, nil
}

// descend goes on with the next level. It reports whether there is one.
func (l *listing) descend() bool {
	l.level, l.below, l.after = l.below, nil, nil
	if len(l.level) == 0 || l.depth == 0 {
		return false
	}
	l.depth--
	return true
}

// goesOn reports whether there is more to be read, after a page that was full or not.
func (l *listing) goesOn(full bool) bool {
	if !full && len(l.level) > 0 {
		l.level, l.after = l.level[min(len(l.level), collectionsAtOnce):], nil
	}
	return len(l.level) > 0 || l.descend()
}

// read reads a page of the level. more says that there are others.
func (l *listing) read(ctx context.Context, conn *pgx.Conn) (more bool, err error) {
	level := l.level[:min(len(l.level), collectionsAtOnce)]
	ids := make([]int64, 0, len(level))
	for _, one := range level {
		ids = append(ids, one.node.id)
	}
	sql, args := l.query(membersOfManySQL, propertiesOfManySQL, ids)
	if len(ids) == 1 {
		sql, args = l.query(membersSQL, propertiesSQL, ids[0])
	}
	ctx, cancel := l.s.patient(ctx)
	defer cancel()
	rows, err := conn.Query(ctx, sql, args...)
	if err != nil {
		return false, translate(err)
	}
	full, err := l.readPage(rows)
	return l.goesOn(full), err
}

// query returns the statement for a page of some collections, and its arguments.
func (l *listing) query(members, properties string, of any) (sql string, args []any) {
	args = []any{of, append([]byte{}, l.after...), l.page}
	if l.properties() {
		return properties, append(args, pageBytes)
	}
	return members, args
}

// readPage adds a page of members to the listing. full says that others may follow it.
func (l *listing) readPage(rows pgx.Rows) (full bool, err error) {
	defer rows.Close()
	read, at := 0, 0 // the index in the level of the collection whose members are read
	for rows.Next() {
		var n node
		of, name, over, err := n.readMember(rows)
		if err != nil {
			return false, err
		}
		if full = full || over || l.bytes >= pageBytes; full {
			continue // the page has as many bytes as it may
		}
		at = int(of) - 1
		read++
		l.after = name
		if err := l.add(l.level[at], string(name), &n); err != nil {
			return false, err
		}
	}
	if full = full || read == l.page; full {
		l.level = l.level[at:] // the next page goes on there
	}
	return full, translate(rows.Err())
}

// add adds a member of a collection to the listing. A MOVE of a collection takes one row, and can give its members names
// that are too long for a request. These are left out, and so is all below them: their length would have no bound.
func (l *listing) add(above *listed, base string, n *node) error {
	name := tree.Join(above.name, base)
	if len(name) > tree.MaxName || l.opts.Show != nil && !l.opts.Show(name, nil, n.isDir()) {
		return nil
	}
	n.under(&above.node, l.sn.latest)
	state, err := l.s.describe(n, name, l.sn, l.opts.Want)
	if err != nil {
		return err
	}
	l.ready = append(l.ready, state)
	l.found, l.bytes = l.found+1, l.bytes+len(name)+len(n.props)
	n.props = nil // they are in the state, and the node may stay for its members
	if n.isDir() && l.depth != 0 {
		l.below = append(l.below, &listed{name, *n})
	}
	return nil
}

// lookUpSums looks for the sums of the files that are ready, all at once.
func (l *listing) lookUpSums(ctx context.Context) (err error) {
	if l.opts.Want&tree.WantSums == 0 {
		return nil
	}
	var tags []tree.ETag
	for _, state := range l.ready {
		if !state.Collection {
			tags = append(tags, state.Tag)
		}
	}
	l.sums, err = l.s.knownSums(ctx, tags...)
	return err
}

// sumsOf returns the sums of a listed file, if they are wanted and can be computed in time.
func (l *listing) sumsOf(ctx context.Context, state tree.State) (tree.Sums, error) {
	if l.opts.Want&tree.WantSums == 0 || state.Collection {
		return nil, nil
	}
	if known, ok := l.sums[state.Tag]; ok {
		return known, nil
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
