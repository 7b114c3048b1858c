package shares

import (
	"context"
	"slices"
	"time"

	"r-seed-1f3a754f.example/ifmatch/tree"
)

// RestoreAt implements [tree.Undoer]. A collection above shares is restored share by share. What a MOVE has taken to
// another share is a removed resource in one of them, and a new one in the other.
func (s *Store) RestoreAt(
	ctx context.Context, name string, at time.Time, opts tree.RestoreAtOptions,
) (result tree.Restored, err error) {
	p, err := s.resource(name, nil)
	switch {
	case err != nil:
		return result, err
	case p.above == nil:
		return s.restoreShare(ctx, p.share, p.inner, at, opts)
	}
	for sh := range p.above.shares() {
		if _, ok := sh.Store.(tree.Undoer); !ok {
			return result, tree.ErrUnsupported
		}
	}
	if opts.Condition == nil { // no share is touched if one has a lock
		if err := s.Try(ctx, tree.Unlocked(name)); err != nil {
			return result, err
		}
	}
	first := true
	for sh := range p.above.shares() {
		one, err := s.restoreShare(ctx, sh, "", at, opts)
		if first {
			result, first = one, false
		} else {
			result = joined(result, one)
		}
		if err != nil {
			return result, err
		}
	}
	result.Existed = true // the collection itself is always there
	return result, nil
}

// joined returns the result of two calls, of which a was the first.
func joined(a, b tree.Restored) tree.Restored {
	a.Returned, a.Replaced, a.Removed = a.Returned+b.Returned, a.Replaced+b.Replaced, a.Removed+b.Removed
	a.Moved, a.ReturnedDirs, a.RemovedDirs = a.Moved+b.Moved, a.ReturnedDirs+b.ReturnedDirs, a.RemovedDirs+b.RemovedDirs
	switch {
	case a.Since.IsZero() || b.Since.IsZero():
		a.Since = time.Time{} // of one of them no changes are known
	case b.Since.After(a.Since):
		a.Since = b.Since
	}
	all := append(a.Left, b.Left...)
	a.Left = all[:min(len(all), maxLeft)]
	a.More += b.More + len(all) - len(a.Left)
	return a
}

// maxLeft bounds the names that a result of several shares has.
const maxLeft = 10_000

// refusing returns a condition that is never true.
func refusing(err error) tree.Condition {
	return tree.Condition{Check: func(tree.View) error { return err }}
}

// restoreShare restores a name in a share. Copies that are being made in the share stay as they are.
func (s *Store) restoreShare(
	ctx context.Context, sh *share, inner string, at time.Time, opts tree.RestoreAtOptions,
) (tree.Restored, error) {
	undoer, ok := sh.Store.(tree.Undoer)
	if !ok {
		return tree.Restored{}, tree.ErrUnsupported
	}
	asked := opts.Condition
	opts.Condition = func(name, from string) tree.Condition {
		if isReserved(name) || isReserved(from) {
			return refusing(reserved(sh.outer(name)))
		}
		name = sh.outer(name)
		names := []string{name}
		if from != "" {
			from = sh.outer(from)
			names = append(names, from)
		}
		cond := tree.Unlocked(names...)
		if asked != nil {
			cond = asked(name, from)
		}
		m := s.memo(cond)
		if err := m.beforeBody(ctx, sh); err != nil {
			return refusing(err)
		}
		return m.condition(sh, nil)
	}
	if asked == nil {
		if err := s.Try(ctx, tree.Unlocked(sh.outer(inner))); err != nil {
			return tree.Restored{}, err
		}
	}
	result, err := undoer.RestoreAt(ctx, inner, at, opts)
	result.Left = slices.DeleteFunc(result.Left, func(left tree.LeftAlone) bool { return isReserved(left.Name) })
	for i := range result.Left {
		result.Left[i].Name = sh.outer(result.Left[i].Name)
	}
	return result, sh.told(err)
}
