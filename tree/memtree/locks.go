package memtree

import (
	"context"
	"fmt"
	"slices"
	"time"

	"ifmatch/tree"
)

// live returns the locks that have not ended. mu must be held.
func (s *Store) live() []tree.Lock {
	now := s.opts.Now()
	return slices.DeleteFunc(slices.Clone(s.locks), func(l tree.Lock) bool { return !l.Expires.After(now) })
}

// covering returns the locks that cover a name. mu must be held.
func (s *Store) covering(name string) []tree.Lock {
	return slices.DeleteFunc(s.live(), func(l tree.Lock) bool { return !l.Covers(name) })
}

// endLocks ends the locks of all below a name, and of the name itself. mu must be held.
func (s *Store) endLocks(name string, itself bool) {
	s.locks = slices.DeleteFunc(s.live(), func(l tree.Lock) bool { return tree.Below(l.Root, name) || itself && l.Root == name })
}

// Lock implements [tree.Store].
func (s *Store) Lock(ctx context.Context, req tree.LockRequest, cond tree.Condition) (tree.Lock, bool, error) {
	if len(req.Owner) > maxProperties {
		return tree.Lock{}, false, tree.ErrNoSpace
	}
	v := s.look(cond, req.Root)
	s.mu.Lock()
	defer s.mu.Unlock()
	n, _ := s.find(req.Root)
	if n == nil {
		if err := s.hasParent(req.Root); err != nil {
			return tree.Lock{}, false, err
		}
	}
	if err := v.ask(cond); err != nil {
		return tree.Lock{}, false, err
	}
	s.token++
	lock := tree.Lock{
		Token: fmt.Sprintf("urn:memtree:%d", s.token), Root: req.Root, Infinite: req.Infinite, Shared: req.Shared, Owner: req.Owner,
		Holder: tree.ClientOf(ctx), Principal: tree.PrincipalOf(ctx), Expires: s.opts.Now().Add(req.Timeout),
		Collection: n != nil && n.members != nil,
	}
	s.locks = s.live()
	for _, held := range s.locks {
		if held.Conflicts(lock) {
			return tree.Lock{}, false, &tree.LockedError{Name: req.Root, Lock: held}
		}
	}
	if n == nil {
		tag := sumsOf(nil).Tag()
		s.set(req.Root, &node{tag: tag, created: s.opts.Now(), modified: s.next(req.Root, tag), came: s.opts.Now().Unix()})
	}
	s.locks = append(s.locks, lock)
	return lock, n == nil, nil
}

// held returns the index of the lock that covers a name and has one of these tokens. mu must be held.
func (s *Store) held(name string, tokens ...string) (int, error) {
	s.locks = s.live()
	i := slices.IndexFunc(s.locks, func(l tree.Lock) bool { return slices.Contains(tokens, l.Token) && l.Covers(name) })
	if i < 0 {
		return i, tree.ErrNoLock
	}
	return i, nil
}

// Refresh implements [tree.Store].
func (s *Store) Refresh(
	_ context.Context, name string, tokens []string, timeout time.Duration, cond tree.Condition,
) (tree.Lock, error) {
	v := s.look(cond, name)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := v.ask(cond); err != nil {
		return tree.Lock{}, err
	}
	i, err := s.held(name, tokens...)
	if err != nil {
		return tree.Lock{}, err
	}
	s.locks[i].Expires = s.opts.Now().Add(timeout)
	return s.locks[i], nil
}

// Unlock implements [tree.Store].
func (s *Store) Unlock(_ context.Context, name, token string, cond tree.Condition) error {
	v := s.look(cond, name)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := v.ask(cond); err != nil {
		return err
	}
	i, err := s.held(name, token)
	if err == nil {
		s.locks = slices.Delete(s.locks, i, i+1)
	}
	return err
}
