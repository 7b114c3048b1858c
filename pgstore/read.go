package pgstore

import (
	"context"
	"strings"

	"r-seed-1f3a754f.example/ifmatch/tree"
)

// Stat implements [tree.Store].
func (s *Store) Stat(ctx context.Context, name string, opts tree.ReadOptions) (tree.State, error) {
	if err := checkReserved(name); err != nil {
		return tree.State{}, err
	}
	sn, err := s.look(ctx, wish{
		names: []string{name}, locks: opts.Want&tree.WantLocks != 0, props: opts.Want&tree.WantProperties != 0,
	})
	if err != nil {
		return tree.State{}, err
	}
	n := sn.nodes[name]
	if !n.there {
		return tree.State{}, about(name, tree.ErrNotExist)
	}
	state, err := s.describe(n, name, sn, opts.Want)
	if err == nil && opts.Want&tree.WantSums != 0 && n.isFile() {
		patient, cancel := tree.Patience(ctx, opts.TagDeadline)
		defer cancel()
		state.Sums, err = s.sumsOf(patient, n)
		if err != nil && patient.Err() != nil && ctx.Err() == nil {
			err = nil // they could not be computed in time, and are left out
		}
	}
	return state, err
}

// readRow reads the one row of a query, and waits for it as long as for any answer.
func (s *Store) readRow(ctx context.Context, sql string, args []any, into ...any) error {
	ctx, cancel := s.patient(ctx)
	defer cancel()
	return s.pool.QueryRow(ctx, sql, args...).Scan(into...)
}

// describe returns the state of a node with the values that are wanted, but the sums.
func (s *Store) describe(n *node, name string, sn *snap, want tree.Want) (state tree.State, err error) {
	state = n.state(name, sn.now)
	if want&tree.WantProperties != 0 {
		state.Properties, err = decodeProperties(n.props)
	}
	if want&tree.WantLocks != 0 {
		state.Locks = sn.locks.Covering(name)
	}
	return state, err
}

// Open implements [tree.Store]. A content that lies in the database comes with the look.
func (s *Store) Open(
	ctx context.Context, name string, opts tree.ReadOptions, cond tree.Condition,
) (tree.Content, tree.State, error) {
	if err := checkReserved(name); err != nil {
		return nil, tree.State{}, err
	}
	sn, err := s.lookAt(ctx, name, opts, cond)
	if err != nil {
		return nil, tree.State{}, err
	}
	n := sn.nodes[name]
	state, err := s.describe(n, name, sn, opts.Want)
	if err != nil {
		return nil, tree.State{}, err
	}
	if opts.Want&tree.WantSums != 0 {
		patient, cancel := tree.Patience(ctx, opts.TagDeadline)
		defer cancel()
		if sums, err := s.sumsOf(patient, n); err == nil {
			state.Sums = sums
		} else if ctx.Err() != nil || patient.Err() == nil {
			return nil, tree.State{}, err
		}
	}
	if opts.NoContent {
		return tree.Bytes(nil), state, nil
	}
	c, err := s.open(ctx, name, n)
	return c, state, err
}

// lookAt looks at a file, and asks the condition of a read. The conditions of most reads ask for no locks, so that these are
// looked for only where one has done so. The look is one statement then, which needs no transaction.
func (s *Store) lookAt(ctx context.Context, name string, opts tree.ReadOptions, cond tree.Condition) (*snap, error) {
	w := wishOf(cond, name)
	w.locks, w.below = opts.Want&tree.WantLocks != 0, opts.Want&tree.WantLocks != 0
	w.props = opts.Want&tree.WantProperties != 0
	w.content, w.data = name, !opts.NoContent
	for {
		sn, err := s.look(ctx, w)
		if err != nil {
			return nil, err
		}
		switch n := sn.nodes[name]; {
		case !n.there:
			return nil, about(name, tree.ErrNotExist)
		case n.isDir():
			return nil, about(name, tree.ErrIsCollection)
		}
		v := s.viewOf(ctx, sn, w.names)
		v.blind = !w.locks
		err = v.ask(cond)
		if !v.blind || !v.asked {
			return sn, unwrapped(err)
		}
		w.locks, w.below = true, true
	}
}

var (
	_ tree.Speller = (*Store)(nil)
	_ tree.Quotas  = (*Store)(nil)
)

// spelledSQL finds the members of a collection that have a name, or its composed form.
const spelledSQL = `select id, name, kind::text from ifmatch.node where parent = $1 and name = $2
union
select id, name, kind::text from ifmatch.node where parent = $1 and form = $3`

// Spelled implements [tree.Speller]. A segment of ASCII has one form, and a name of such segments is not looked up.
// Others are looked up one after another, so that the index of forms is all that is read.
func (s *Store) Spelled(ctx context.Context, name string) (string, error) {
	if formOf(name) == nil {
		return name, nil
	}
	parent, spelled, segments := rootID, "", strings.Split(name, "/")
	for i, segment := range segments {
		id, found, isDir, err := s.spelledIn(ctx, parent, segment)
		if err != nil {
			return "", translate(err)
		}
		if spelled = tree.Join(spelled, found); id == 0 || !isDir {
			return strings.Join(append([]string{spelled}, segments[i+1:]...), "/"), nil
		}
		parent = id
	}
	return spelled, nil
}

// rootID is the id of the root.
const rootID = int64(1)

// spelledIn returns the member of a collection that a segment stands for: the one of that name, or the only one of that
// form. An id of 0 says that there is none.
func (s *Store) spelledIn(
	ctx context.Context, parent int64, segment string,
) (id int64, name string, isDir bool, err error) {
	ctx, cancel := s.patient(ctx)
	defer cancel()
	rows, err := s.pool.Query(ctx, spelledSQL, parent, []byte(segment), formOf(segment))
	if err != nil {
		return 0, "", false, err
	}
	defer rows.Close()
	alike, name := 0, segment
	for rows.Next() {
		var one int64
		var other []byte
		var kind string
		if err := rows.Scan(&one, &other, &kind); err != nil {
			return 0, "", false, err
		}
		if string(other) == segment {
			return one, segment, kind == kindDir, nil
		}
		alike++
		id, name, isDir = one, string(other), kind == kindDir
	}
	if alike != 1 {
		return 0, segment, false, rows.Err()
	}
	return id, name, isDir, rows.Err()
}

// Quota implements [tree.Quotas]. The room that a database and its place for objects have is not known to their
// clients.
func (s *Store) Quota(context.Context, string) (used, available int64, err error) {
	return 0, 0, tree.ErrUnsupported
}
