package pgstore

import (
	"context"
	"crypto"

	"github.com/google/uuid"

	"r-seed-1f3a754f.example/ifmatch/tree"
)

// Mkdir implements [tree.Store].
func (s *Store) Mkdir(
	ctx context.Context, name string, opts tree.MkdirOptions, cond tree.Condition,
) (state tree.State, err error) {
	step := func(t *transaction) error {
		over, err := t.target(name)
		switch {
		case err != nil:
			return err
		case over.there:
			return about(name, tree.ErrExist)
		}
		if err := t.ask(); err != nil {
			return err
		}
		n := &node{parent: over.parent, there: true, kind: kindDir, created: t.view.now, dates: t.come(name, over)}
		n.modified = t.now
		if !opts.Modified.IsZero() {
			n.modified = opts.Modified.Unix() // no date identifies a collection
		}
		t.insert(name, n)
		t.arrived(name, true)
		t.tell("MKCOL", name, "", over, n)
		state = n.state(name, t.view.now)
		return nil
	}
	return state, s.update(ctx, write{names: []string{name}, cond: cond, step: step})
}

// Remove implements [tree.Store].
func (s *Store) Remove(ctx context.Context, name string, cond tree.Condition) error {
	return s.remove(ctx, name, false, cond)
}

// remove is Remove. A collection that has to be empty and is not has the write fail with a division by zero.
func (s *Store) remove(ctx context.Context, name string, empty bool, cond tree.Condition) error {
	if name == "" {
		return about(name, tree.ErrPermission)
	}
	step := func(t *transaction) error {
		n := t.nodes[name]
		if !n.there {
			return about(name, tree.ErrNotExist)
		}
		if err := t.ask(); err != nil {
			return err
		}
		if empty && n.isDir() {
			t.do("select 1 / (not exists (select from ifmatch.node where parent = $1))::int", n.id)
		}
		t.leave(name, n)
		t.archive(name, n, "DELETE", false)
		t.endLocks(name, true)
		t.tell("DELETE", name, "", n, nil)
		return nil
	}
	return s.update(ctx, write{names: []string{name}, cond: cond, step: step})
}

// PatchProperties implements [tree.Store].
func (s *Store) PatchProperties(ctx context.Context, name string, patch tree.Patch, cond tree.Condition) error {
	step := func(t *transaction) error {
		n := t.nodes[name]
		switch {
		case !n.there:
			return about(name, tree.ErrNotExist)
		case n.isDir() && patch.Executable != nil:
			return about(name, tree.ErrIsCollection)
		}
		if err := t.ask(); err != nil {
			return err
		}
		all, err := decodeProperties(n.props)
		if err != nil {
			return err
		}
		props, err := encodeProperties(tree.Patched(all, patch.Properties))
		if err != nil {
			return about(name, err)
		}
		executable := n.executable
		if patch.Executable != nil {
			executable = *patch.Executable
		}
		t.do("update ifmatch.node set props = $3, executable = $4 where parent = $1 and name = $2",
			n.parent, baseOf(name), props, executable)
		if !patch.Modified.IsZero() {
			after := *n
			t.redate(name, &after, func() { after.set(patch.Modified, t.now) })
		}
		t.tell("PROPPATCH", name, "", n, n)
		return nil
	}
	return s.update(ctx, write{names: []string{name}, cond: cond, props: true, step: step})
}

// ends returns the nodes at the ends of a MOVE or COPY, if it makes sense and its condition is true.
func (t *transaction) ends(from, to string, opts tree.CopyOptions) (source, over *node, err error) {
	source = t.nodes[from]
	if !source.there {
		return nil, nil, about(from, tree.ErrNotExist)
	}
	if err := tree.CheckEnds(from, to); err != nil {
		return nil, nil, about(to, err)
	}
	over, err = t.target(to)
	if err == nil && over.there && opts.NoOverwrite {
		err = about(to, tree.ErrExist)
	}
	if err == nil {
		err = t.ask()
	}
	return source, over, err
}

// Move implements [tree.Store]. A collection is moved by one row, however many members it has.
func (s *Store) Move(
	ctx context.Context, from, to string, opts tree.CopyOptions, cond tree.Condition,
) (state tree.State, created bool, err error) {
	step := func(t *transaction) error {
		source, over, err := t.ends(from, to, opts)
		if err != nil {
			return err
		}
		created = !over.there
		if over.there {
			t.archive(to, over, "MOVE", false)
		}
		n := *source
		n.parent, n.dates = over.parent, t.come(to, over)
		n.modified = source.modified // a MOVE keeps the date of the source, and all other dates are of the name
		t.dated(&n.dates, opts.Modified)
		first, last := columns(n.Ahead)
		t.do(`update ifmatch.node set parent = $3, name = $4, form = $5, modified = $6, since = $7, earlier = $8, shown = null,
 below = $9, ahead_first = $10, ahead_last = $11, own_first = null, own_last = null where parent = $1 and name = $2`,
			source.parent, baseOf(from), over.parent, baseOf(to), formOf(string(baseOf(to))), n.modified, orNull(n.since),
			orNull(n.Earlier), orNull(n.below), first, last)
		t.leave(from, source)
		t.endLocks(from, true)
		t.arrived(to, source.kind == kindDir)
		t.tell("MOVE", to, from, over, &n)
		state = n.state(to, t.view.now)
		return nil
	}
	err = s.update(ctx, write{names: []string{from, to}, cond: cond, step: step})
	return state, created && err == nil, err
}

// nextID is the next id of a node. The subquery has the catalog asked for its sequence once, and not for each row.
const nextID = "nextval((select pg_get_serial_sequence('ifmatch.node', 'id')::regclass))"

// copyMembersSQL copies all that is below the node $1 to the node at ($2, $3). Dates begin anew. Each "offset 0" keeps
// PostgreSQL from reading the whole table where it takes the tree to be larger than it is: it looks by the index.
const copyMembersSQL = `with recursive s(old, new, above, name, form, modified, props) as (
  select $1::bigint, (select id from ifmatch.node where parent = $2 and name = $3), null::bigint, null::bytea, null::bytea,
    null::bigint, null::bytea
  union all
  select n.id, ` + nextID + `, s.new, n.name, n.form, n.modified, n.props
  from s cross join lateral (select * from ifmatch.node where parent = s.old and kind = 'd' offset 0) n)
insert into ifmatch.node (parent, id, name, form, kind, modified, size, since, created, blob, place, sha256, executable, props)
select above, new, name, form, 'd'::"char", modified, 0, $4::bigint, $5::timestamptz, null, null, null, false, props
from s where above is not null
union all
select s.new, ` + nextID + `, n.name, n.form, n.kind, $4, n.size, $4, $5, n.blob, n.place, n.sha256, n.executable, n.props
from s cross join lateral (select * from ifmatch.node where parent = s.old and kind = 'f' offset 0) n`

// copyTo makes a copy of a node at a name, with its members unless it is shallow. It returns the node of the copy.
func (t *transaction) copyTo(to string, source, over *node, opts tree.CopyOptions, cause string) *node {
	if over.there {
		t.archive(to, over, cause, false)
	}
	n := *source
	n.parent, n.created, n.dates = over.parent, t.view.now, t.come(to, over)
	if source.kind == kindDir {
		n.modified = t.now
	}
	t.dated(&n.dates, opts.Modified)
	t.insert(to, &n)
	if source.kind == kindDir && !opts.Shallow {
		t.long = true
		t.do(copyMembersSQL, source.id, over.parent, baseOf(to), t.now, t.view.now)
	}
	t.arrived(to, source.kind == kindDir)
	t.tell(cause, to, "", over, &n)
	return &n
}

// Copy implements [tree.Store]. No content is copied, because blobs never change.
func (s *Store) Copy(
	ctx context.Context, from, to string, opts tree.CopyOptions, cond tree.Condition,
) (state tree.State, created bool, err error) {
	step := func(t *transaction) error {
		source, over, err := t.ends(from, to, opts)
		if err != nil {
			return err
		}
		created = !over.there
		state = t.copyTo(to, source, over, opts, "COPY").state(to, t.view.now)
		return nil
	}
	err = s.update(ctx, write{names: []string{to}, sources: []string{from}, cond: cond, props: true, step: step})
	return state, created && err == nil, err
}

// emptyFile returns the node of an empty file.
func (t *transaction) emptyFile(name string, over *node) *node {
	n := &node{parent: over.parent, created: t.view.now, dates: t.come(name, over)}
	t.place(n, &staged{id: uuid.Must(uuid.NewV7()), sum: tree.SumsOf(nil)[crypto.SHA256], data: []byte{}})
	return n
}
