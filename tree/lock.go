package tree

import (
	"context"
	"slices"
	"time"
)

// A Lock is a write lock (RFC 4918 §6 and §7). Locks exist only for the clients that ask for them: no write needs one,
// and a store takes none of its own.
type Lock struct {
	Token string // a URI, RFC 4918 §6.5
	Root  string // the name that was locked
	// Collection says that Root is a collection. The store fills it in.
	Collection bool
	Infinite   bool // Depth infinity: covers everything below Root too
	Shared     bool
	Owner      string    // the inner XML of DAV:owner, as the client sent it, with its namespaces declared inside
	Holder     string    // the client that took it, see [WithClient]: the locks of one client are limited
	Principal  Principal `json:",omitempty"` // the user for whom it was taken, see [WithPrincipal]
	Expires    time.Time // when the lock ends by itself, by the clock of the store
}

// A LockRequest asks for a lock. The store fills in the token, the holder and the principal.
type LockRequest struct {
	Root     string // the name to lock
	Infinite bool   // as in [Lock]
	Shared   bool
	Owner    string
	Timeout  time.Duration // after which the lock ends by itself
}

// Covers reports whether a write to name needs the token of this lock. A lock with Depth 0 on a collection also
// protects which members the collection has (RFC 4918 §7.4). To check that, ask whether the lock covers the
// collection.
func (l Lock) Covers(name string) bool {
	return l.Root == name || l.Infinite && Below(name, l.Root)
}

// Conflicts reports whether two locks exclude each other (RFC 4918 §6.2): one of them is exclusive, and both cover
// some name.
func (l Lock) Conflicts(other Lock) bool {
	return (!l.Shared || !other.Shared) && (l.Covers(other.Root) || other.Covers(l.Root))
}

// Lock returns the lock that is asked for, as a store grants it at a time to the client and the user of a context. It has
// no Collection yet.
func (r LockRequest) Lock(ctx context.Context, token string, now time.Time) Lock {
	return Lock{
		Token: token, Root: r.Root, Infinite: r.Infinite, Shared: r.Shared, Owner: r.Owner,
		Holder: ClientOf(ctx), Principal: PrincipalOf(ctx), Expires: now.Add(r.Timeout),
	}
}

// Locks are some locks of a store. They are found by their root, so that each look takes as long for many as for few, but
// for one at all that is below a name.
type Locks struct {
	All    []Lock
	byRoot map[string][]Lock
}

// Add adds a lock.
func (s *Locks) Add(l Lock) {
	if s.byRoot == nil {
		s.byRoot = map[string][]Lock{}
	}
	s.All, s.byRoot[l.Root] = append(s.All, l), append(s.byRoot[l.Root], l)
}

// Covering returns the locks that cover a name.
func (s *Locks) Covering(name string) (found []Lock) {
	if len(s.All) == 0 {
		return nil
	}
	for _, root := range Prefixes(name) {
		for _, l := range s.byRoot[root] {
			if l.Covers(name) {
				found = append(found, l)
			}
		}
	}
	return found
}

// About returns the locks that cover a name, and those below it.
func (s *Locks) About(name string) (found []Lock) {
	found = s.Covering(name)
	for _, l := range s.All {
		if Below(l.Root, name) {
			found = append(found, l)
		}
	}
	return found
}

// Held returns the lock that covers a name and has one of the tokens, or [ErrNoLock].
func (s *Locks) Held(name string, tokens ...string) (Lock, error) {
	for _, l := range s.Covering(name) {
		if slices.Contains(tokens, l.Token) {
			return l, nil
		}
	}
	return Lock{}, ErrNoLock
}

// Holds reports whether a lock with a token covers a name.
func (s *Locks) Holds(name, token string) bool {
	_, err := s.Held(name, token)
	return err == nil
}

// Admit returns a [LockedError] if a lock conflicts with another one.
func (s *Locks) Admit(l Lock) error {
	for _, other := range s.About(l.Root) {
		if other.Conflicts(l) {
			return &LockedError{Name: l.Root, Lock: other}
		}
	}
	return nil
}

// Unlocked returns the condition that no lock covers one of some names, or a name below it: a [LockedError].
func Unlocked(names ...string) Condition {
	return Condition{Names: names, Check: func(v View) error {
		for _, name := range names {
			locks, err := v.Locks(name)
			if err == nil && len(locks) > 0 {
				err = &LockedError{Name: name, Lock: locks[0]}
			}
			if err != nil {
				return err
			}
		}
		return nil
	}}
}
