package pgstore

import (
	"bytes"
	"context"
	"errors"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
	"golang.org/x/text/unicode/norm"

	"r-seed-1f3a754f.example/ifmatch/tree"
)

// A wish says what a look has to find.
type wish struct {
	names   []string // with all collections above
	locks   bool     // that cover the names
	below   bool     // also those below the names
	props   bool
	gone    bool   // the dates of names at which nothing is, which only writes need
	content string // the name of a file whose content is wanted too, if it lies in the database
	data    bool   // whether there is one
}

// A snap is the tree as a look has found it.
type snap struct {
	now   time.Time // by the clock of the database
	xmin  string    // all transactions before this one have ended
	nodes map[string]*node
	locks *tree.Locks
	// latest is the latest date that was in the future when a name got it, in the whole tree.
	latest int64
}

func newSnap() *snap { return &snap{nodes: map[string]*node{}, locks: new(tree.Locks)} }

// A trie has names and the collections above them, each once. One text of a statement finds any number of names by it.
type trie struct {
	names    []string // the root first
	ups      []int32  // the index of the collection of each name but the root
	segments [][]byte
	index    map[string]int32
}

func newTrie(names []string) *trie {
	t := &trie{names: []string{""}, ups: []int32{}, segments: [][]byte{}, index: map[string]int32{"": 0}}
	for _, name := range names {
		for _, p := range tree.Prefixes(name)[1:] {
			if _, known := t.index[p]; known {
				continue
			}
			dir, base := tree.Split(p)
			t.ups, t.segments = append(t.ups, t.index[dir]), append(t.segments, []byte(base))
			t.index[p] = int32(len(t.names))
			t.names = append(t.names, p)
		}
	}
	return t
}

// viewSQL walks the trie in $1 and $2. $3 is the index of the file whose content is wanted, and $4 says whether
// properties are. It finds the names at which something is. goneSQL finds the others besides.
const viewSQL = `with recursive
t(i, up, seg) as materialized (
  select i, up, seg from unnest($1::int[], $2::bytea[]) with ordinality as u(up, seg, i)),
w as (
  select 0::bigint as i, n.* from ifmatch.node n where n.parent = 0 and n.name = ''
  union all
  select t.i, n.* from w join t on t.up = w.i join ifmatch.node n on n.parent = w.id and n.name = t.seg and w.kind = 'd')
select n.i, ` + nodeColumns + `, case when $4 then n.props end,
  (select c.data from ifmatch.content c where n.i = $3 and n.place = 'i' and c.blob = n.blob),
  clock_timestamp(), pg_snapshot_xmin(pg_current_snapshot())::text from w n`

const goneSQL = viewSQL + `
union all
select t.i, null, null, null, null, null, g.earlier, null, g.below, g.ahead_first, g.ahead_last, null, null, null, null, null,
  null, null, null, null, null, null
from w join t on t.up = w.i join ifmatch.gone g on g.parent = w.id and g.name = t.seg where w.kind = 'd'`

// queue adds the statements of a look to a batch, and returns the functions that read their answers.
func (s *Store) queue(b *pgx.Batch, w wish, into *snap) []func(pgx.Rows) error {
	t := newTrie(w.names)
	content := int64(-1)
	if w.data {
		content = int64(t.index[w.content])
	}
	sql := viewSQL
	if w.gone {
		sql = goneSQL
	}
	b.Queue(sql, t.ups, t.segments, content, w.props)
	readers := []func(pgx.Rows) error{func(rows pgx.Rows) error { return s.readNodes(rows, t, into) }}
	if w.locks {
		roots, lows, highs := lockRanges(t, w)
		b.Queue(locksSQL, roots, lows, highs, s.clock())
		readers = append(readers, func(rows pgx.Rows) error { return readLocks(rows, into.locks) })
	}
	return readers
}

// readNodes reads the answer of viewSQL.
func (s *Store) readNodes(rows pgx.Rows, t *trie, into *snap) error {
	for rows.Next() {
		i, n, now, xmin, err := readNode(rows)
		if err != nil {
			return err
		}
		if n.there {
			into.now, into.xmin = now, xmin
		}
		if known := into.nodes[t.names[i]]; known == nil || !known.there {
			into.nodes[t.names[i]] = n
		}
	}
	if clock := s.clock(); clock != nil {
		into.now = *clock
	} else if !into.now.IsZero() {
		s.saw(into.now.UnixNano())
	}
	into.complete(t.names)
	return nil
}

// readNode reads a row of viewSQL. now and xmin are only of a row of a resource that is there.
func readNode(rows pgx.Rows) (i int64, n *node, now time.Time, xmin string, err error) {
	if !isBinary(rows) {
		var row nodeRow
		var data []byte
		var at *time.Time
		var before *string
		if err := row.scan(rows, []any{&i}, &data, &at, &before); err != nil {
			return 0, nil, now, "", err
		}
		n = row.node()
		if n.data = data; n.there {
			now, xmin = *at, *before
		}
		return i, n, now, xmin, nil
	}
	n, raw := new(node), rows.RawValues()
	n.decode(raw[1:])
	if n.data = bytes.Clone(raw[19]); n.there {
		now, xmin = time.UnixMicro(number(raw[20])+year2000), string(raw[21])
	}
	return number(raw[0]), n, now, xmin, nil
}

// complete adds the names at which nothing is, and the dates that come from above. A name without a row may have had
// one that was forgotten, see table gone.
func (sn *snap) complete(names []string) {
	root := sn.nodes[""]
	if root == nil {
		return // the statement has failed
	}
	forgotten := root.Earlier
	sn.latest = root.Ahead.Last
	root.Sent = tree.NoneSent // the root's row has that of the whole tree
	for _, name := range names {
		n := sn.nodes[name]
		if n == nil {
			n = &node{dates: noDates()}
			n.Earlier, n.below = forgotten, forgotten
			sn.nodes[name] = n
		}
		if name == "" {
			continue
		}
		dir, _ := tree.Split(name)
		above := sn.nodes[dir]
		if above.isDir() {
			n.parent = above.id
		}
		n.under(above, sn.latest)
	}
}

// under sets the dates that a name has by the collection above. latest is the latest date of all names that was in the
// future.
func (n *node) under(above *node, latest int64) {
	n.floor.Earlier = max(above.floor.Earlier, above.below)
	if n.floor.Earlier != tree.Never && latest > n.floor.Earlier {
		n.floor.Ahead = tree.Span{First: n.floor.Earlier, Last: latest}
	}
}

// look looks at the tree, outside of a write.
func (s *Store) look(ctx context.Context, w wish) (*snap, error) {
	for attempt := 0; ; attempt++ {
		sn, b := newSnap(), &pgx.Batch{}
		readers := s.queue(b, w, sn)
		err := s.read(ctx, b, readers...)
		if err == nil || !s.reconnects(ctx, attempt, err) {
			return sn, err
		}
	}
}

// reconnects reports whether a first attempt has failed at a connection to a server that is gone. Another attempt then gets
// a new connection.
func (s *Store) reconnects(ctx context.Context, attempt int, err error) bool {
	if attempt > 0 || !isAway(err) || errors.Is(err, context.DeadlineExceeded) || ctx.Err() != nil {
		return false
	}
	s.pool.Reset()
	return true
}

// belowRange returns the range of the names below a name, which begins with the first of them and ends before the
// second result.
func belowRange(name string) (low, high []byte) {
	if name == "" {
		return []byte{1}, bytes.Repeat([]byte{0xff}, tree.MaxName+1)
	}
	return []byte(name + "/"), []byte(name + "0")
}

// formOf returns the composed form of a segment, or nil if it is ASCII, or no text.
func formOf(segment string) []byte {
	if !utf8.ValidString(segment) {
		return nil
	}
	for i := range len(segment) {
		if segment[i] >= 0x80 {
			return norm.NFC.Append(nil, []byte(segment)...)
		}
	}
	return nil
}
