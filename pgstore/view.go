package pgstore

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/jackc/pgx/v5"

	"r-seed-1f3a754f.example/ifmatch/tree"
)

// A view is the [tree.View] of a Check: a look at the names that the operation and its condition have named.
type view struct {
	*snap
	ctx   context.Context
	store *Store
	// named are the names whose locks are known with those below them.
	named map[string]bool
	// since decides about cursors.
	since *cursorCheck
	// changes are the names that are locked exclusively by a write, or nil outside of one.
	changes []string
	// blind says that no locks were looked for, and asked that the Check wants to know of some: its answer is worth nothing.
	blind, asked bool
}

var _ tree.FeedView = (*view)(nil)

func (v *view) unnamed(name string) error {
	return fmt.Errorf("a condition looks at %q, and does not name it", name)
}

// State implements [tree.View].
func (v *view) State(name string) (tree.State, error) {
	n := v.nodes[name]
	if n == nil {
		return tree.State{}, v.unnamed(name)
	}
	return n.state(name, v.now), checkReserved(name)
}

// Locks implements [tree.View].
func (v *view) Locks(name string) ([]tree.Lock, error) {
	if v.asked = true; !v.named[name] {
		return nil, v.unnamed(name)
	}
	return v.locks.About(name), nil
}

// Covering implements [tree.View].
func (v *view) Covering(name string) ([]tree.Lock, error) {
	if v.asked = true; v.nodes[name] == nil {
		return nil, v.unnamed(name)
	}
	return v.locks.Covering(name), nil
}

// Holds implements [tree.View].
func (v *view) Holds(name, token string) (bool, error) {
	if v.asked = true; v.nodes[name] == nil {
		return false, v.unnamed(name)
	}
	return v.locks.Holds(name, token), nil
}

// Committing implements the method for which [tree.Committing] looks.
func (v *view) Committing() bool { return v.changes != nil }

// Spelled implements the method for which [tree.Spelled] looks. Two spellings are two names here.
func (v *view) Spelled(name string) string { return name }

// SameName implements the method for which [tree.SameName] looks.
func (v *view) SameName(a, b string) bool { return a == b }

// ask asks a Check. All tags are known here.
func (v *view) ask(cond tree.Condition) error {
	err := cond.AskKnown(v)
	if err == nil || errors.As(err, new(*exclusiveError)) || errors.Is(err, errBehind) {
		return err
	}
	return refusal{err}
}

// viewOf returns the view of a look, outside of a write.
func (s *Store) viewOf(ctx context.Context, sn *snap, names []string) *view {
	v := &view{snap: sn, ctx: ctx, store: s, named: map[string]bool{}, since: newCursorCheck(s)}
	for _, name := range names {
		v.named[name] = true
	}
	return v
}

// unwrapped returns the error of a Check as it is.
func unwrapped(err error) error {
	if refused := (refusal{}); errors.As(err, &refused) {
		return refused.err
	}
	return err
}

// Try implements [tree.Store].
func (s *Store) Try(ctx context.Context, cond tree.Condition) error {
	if cond.Check == nil || s.leaves(cond) {
		return nil
	}
	sn, err := s.look(ctx, wish{names: cond.Names, locks: true, below: true})
	if err != nil {
		return err
	}
	return unwrapped(s.viewOf(ctx, sn, cond.Names).ask(cond))
}

// wishOf returns the look for names and for those of a condition.
func wishOf(cond tree.Condition, names ...string) wish {
	return wish{names: slices.Concat(names, cond.Names), locks: cond.Check != nil, below: cond.Check != nil}
}

// An exclusiveError says that a Check asks for the changes below a name, which other writes can make as long as the
// name is not locked exclusively.
type exclusiveError struct{ name string }

func (e *exclusiveError) Error() string {
	return fmt.Sprintf("the changes below %q are asked for", e.name)
}

// errBehind says that changes are to be read before the locks are taken.
var errBehind = errors.New("there are changes that were not read yet")

// A cursorCheck decides whether names have changed since cursors, for one operation. It reads old changes without any
// lock, and under the locks only those that have come since then.
type cursorCheck struct {
	store   *Store
	conn    *pgx.Conn // of the transaction that has the locks
	answers map[question]*answer
}

type question struct {
	name  string
	since tree.Cursor
}

type answer struct {
	read    position // all changes up to here were read
	known   bool     // whether that is so
	changed bool
	hidden  func(name string) bool
	err     error
}

func newCursorCheck(s *Store) *cursorCheck {
	return &cursorCheck{store: s, answers: map[question]*answer{}}
}

// Since implements [tree.FeedView].
func (v *view) Since(name string, since tree.Cursor, hidden func(name string) bool) (bool, error) {
	if v.nodes[name] == nil {
		return false, v.unnamed(name)
	}
	q := question{name, since}
	a := v.since.answers[q]
	if a == nil {
		a = &answer{hidden: hidden}
		v.since.answers[q] = a
	}
	switch {
	case v.changes == nil:
		v.since.read(v.ctx, q, a)
	case !v.isExclusive(name):
		return false, &exclusiveError{name}
	case !a.known:
		return false, errBehind
	case a.err == nil && !a.changed:
		return v.since.readLocked(v.ctx, q, a)
	}
	return a.changed, a.err
}

// isExclusive reports whether no other write can change a name, or a name below it.
func (v *view) isExclusive(name string) bool {
	return slices.ContainsFunc(v.changes, func(locked string) bool { return tree.Within(name, locked) })
}

// catchUp reads the changes that the Check has asked for.
func (c *cursorCheck) catchUp(ctx context.Context) error {
	for q, a := range c.answers {
		c.read(ctx, q, a)
		if a.err != nil && !errors.Is(a.err, tree.ErrNotExist) {
			return a.err
		}
	}
	return nil
}

// read reads all changes after those that were read already.
func (c *cursorCheck) read(ctx context.Context, q question, a *answer) {
	if !a.known {
		a.read, a.err = c.store.locate(ctx, q.since)
		a.known = a.err == nil || errors.Is(a.err, tree.ErrNotExist)
	}
	for a.err == nil && !a.changed {
		var oldest uint64
		a.err = translate(c.store.readRow(ctx, "select pg_snapshot_xmin(pg_current_snapshot())", nil, &oldest))
		if a.err != nil {
			return
		}
		var all []tree.Change
		all, a.read, a.err = c.store.changesAfter(ctx, c.store.pool, a.read, c.conn != nil)
		a.consider(q, all)
		if len(all) < changePage {
			if end := (position{oldest - 1, math.MaxInt64}); c.conn != nil && a.read.before(end) {
				a.read = end // nothing that ends later has a lower number
			}
			return
		}
	}
}

// readLocked reads the changes that have come since read, under the locks.
func (c *cursorCheck) readLocked(ctx context.Context, q question, a *answer) (bool, error) {
	all, _, err := c.store.changesAfter(ctx, c.conn, a.read, false)
	if err != nil {
		return false, err
	}
	if a.consider(q, all); !a.changed && len(all) == changePage {
		return false, errBehind
	}
	return a.changed, nil
}

func (a *answer) consider(q question, all []tree.Change) {
	a.changed = tree.Concern(all, q.name, a.hidden, nil)
}
