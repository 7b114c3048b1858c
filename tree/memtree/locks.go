package memtree

import (
	"context"
	"fmt"
	"slices"
	"time"

	"r-seed-1f3a754f.example/ifmatch/tree"
)

// held returns a copy of the locks that have not expired.
func (s *Store) held() []tree.Lock {
	now := s.opts.Now()
	return slices.DeleteFunc(slices.Clone(s.locks), func(l tree.Lock) bool { return !l.Expires.After(now) })
}

// endLocks ends the locks on all names below a name and, if itself is true, on that name.
func (s *Store) endLocks(name string, itself bool) {
	s.locks = slices.DeleteFunc(s.held(), func(l tree.Lock) bool {
		return tree.Below(l.Root, name) || itself && l.Root == name
	})
}

// Lock implements [tree.Store].
func (s *Store) Lock(
	ctx context.Context, req tree.LockRequest, cond tree.Condition,
) (lock tree.Lock, created bool, err error) {
	if len(req.Owner) > maxProperties {
		return tree.Lock{}, false, tree.ErrNoSpace
	}
	var conflict error
	err = s.do(cond, func() error { return s.hasParent(req.Root) }, func() {
		n := s.find(req.Root)
		s.locks, s.token = s.held(), s.token+1
		lock = tree.Lock{
			Token: fmt.Sprintf("urn:memtree:%d", s.token), Root: req.Root, Infinite: req.Infinite, Shared: req.Shared,
			Owner: req.Owner, Holder: tree.ClientOf(ctx), Principal: tree.PrincipalOf(ctx),
			Expires: s.opts.Now().Add(req.Timeout), Collection: n != nil && n.members != nil,
		}
		if i := slices.IndexFunc(s.locks, lock.Conflicts); i >= 0 {
			conflict = &tree.LockedError{Name: req.Root, Lock: s.locks[i]}
			return
		}
		if created = n == nil; created {
			s.replace(ctx, req.Root, "", s.file(req.Root, nil), "LOCK")
		}
		s.locks = append(s.locks, lock)
	}, req.Root)
	if err == nil {
		err = conflict
	}
	return lock, created, err
}

// holding calls change with the index of the lock that covers a name and has one of the tokens, if cond is true.
func (s *Store) holding(cond tree.Condition, name string, tokens []string, change func(i int)) error {
	i := -1
	err := s.do(cond, always, func() {
		s.locks = s.held()
		i = slices.IndexFunc(s.locks, func(l tree.Lock) bool { return slices.Contains(tokens, l.Token) && l.Covers(name) })
		if i >= 0 {
			change(i)
		}
	}, name)
	if err == nil && i < 0 {
		err = tree.ErrNoLock
	}
	return err
}

// Refresh implements [tree.Store].
func (s *Store) Refresh(
	_ context.Context, name string, tokens []string, timeout time.Duration, cond tree.Condition,
) (lock tree.Lock, err error) {
	err = s.holding(cond, name, tokens, func(i int) {
		s.locks[i].Expires = s.opts.Now().Add(timeout)
		lock = s.locks[i]
	})
	return lock, err
}

// Unlock implements [tree.Store].
func (s *Store) Unlock(_ context.Context, name, token string, cond tree.Condition) error {
	return s.holding(cond, name, []string{token}, func(i int) { s.locks = slices.Delete(s.locks, i, i+1) })
}
