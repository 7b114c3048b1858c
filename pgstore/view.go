package pgstore

import (
	"context"
	"errors"
	"fmt"
	"slices"

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

var (
	_ tree.TokenView = (*view)(nil)
	_ tree.FeedView  = (*view)(nil)
)

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

// Covering implements [tree.TokenView].
func (v *view) Covering(name string) ([]tree.Lock, error) {
	if v.asked = true; v.nodes[name] == nil {
		return nil, v.unnamed(name)
	}
	return v.locks.Covering(name), nil
}

// Holds implements [tree.TokenView].
func (v *view) Holds(name, token string) (bool, error) {
	if v.asked = true; v.nodes[name] == nil {
		return false, v.unnamed(name)
	}
	_, err := v.locks.Held(name, token)
	return err == nil, nil
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
	if cond.Check == nil {
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
