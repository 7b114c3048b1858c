package etagfs

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"ifmatch/tree"
)

// A lockSet is locks, found by their token, and by where they are: whatever their number, those of a name and of what it
// is in are looked up, and so are those below it. The zero value is empty.
type lockSet struct {
	byToken map[string]*setLock
	byRoot  map[string][]*setLock
	roots   []string // with a slash at the end, in order: those below a name are together
	holders map[string]holding
	bytes   int       // of all lines that set them
	soonest time.Time // none expires before that
}

type setLock struct {
	tree.Lock
	bytes int // of the line that sets it
}

// A holding is what one client has.
type holding struct{ locks, bytes int }

// put adds a lock, or replaces the one with its token.
func (s *lockSet) put(l tree.Lock, bytes int) {
	if s.byToken == nil {
		s.byToken, s.byRoot, s.holders = map[string]*setLock{}, map[string][]*setLock{}, map[string]holding{}
	}
	s.remove(l.Token)
	one := &setLock{l, bytes}
	s.byToken[l.Token] = one
	s.byRoot[l.Root] = append(s.byRoot[l.Root], one)
	if len(s.byRoot[l.Root]) == 1 {
		at, _ := slices.BinarySearch(s.roots, l.Root+"/")
		s.roots = slices.Insert(s.roots, at, l.Root+"/")
	}
	h := s.holders[l.Holder]
	s.holders[l.Holder] = holding{h.locks + 1, h.bytes + bytes}
	s.bytes += bytes
	if len(s.byToken) == 1 || l.Expires.Before(s.soonest) {
		s.soonest = l.Expires
	}
}

// remove removes the lock with a token, if there is one.
func (s *lockSet) remove(token string) {
	one := s.byToken[token]
	if one == nil {
		return
	}
	delete(s.byToken, token)
	rest := slices.DeleteFunc(s.byRoot[one.Root], func(other *setLock) bool { return other == one })
	s.byRoot[one.Root] = rest
	if len(rest) == 0 {
		delete(s.byRoot, one.Root)
		if at, found := slices.BinarySearch(s.roots, one.Root+"/"); found {
			s.roots = slices.Delete(s.roots, at, at+1)
		}
	}
	h := s.holders[one.Holder]
	if h = (holding{h.locks - 1, h.bytes - one.bytes}); h.locks == 0 {
		delete(s.holders, one.Holder)
	} else {
		s.holders[one.Holder] = h
	}
	s.bytes -= one.bytes
}

// purge removes what has expired.
func (s *lockSet) purge(now time.Time) {
	var soonest time.Time
	for token, one := range s.byToken {
		if !one.Expires.After(now) {
			s.remove(token)
		} else if soonest.IsZero() || one.Expires.Before(soonest) {
			soonest = one.Expires
		}
	}
	s.soonest = soonest
}

// live returns the lock with a token; nil if there is none, or it has expired.
func (s *lockSet) live(token string, now time.Time) *setLock {
	if one := s.byToken[token]; one != nil && one.Expires.After(now) {
		return one
	}
	return nil
}

// appendAt appends the locks that are rooted at a name.
func (s *lockSet) appendAt(locks []tree.Lock, name string, now time.Time) []tree.Lock {
	for _, one := range s.byRoot[name] {
		if one.Expires.After(now) {
			locks = append(locks, one.Lock)
		}
	}
	return locks
}

// appendCovering appends the locks that cover a name: the nearest first.
func (s *lockSet) appendCovering(locks []tree.Lock, name string, now time.Time) []tree.Lock {
	if len(s.byToken) == 0 {
		return locks
	}
	locks = s.appendAt(locks, name, now)
	for name != "" {
		name, _ = tree.Split(name)
		for _, one := range s.byRoot[name] {
			if one.Infinite && one.Expires.After(now) {
				locks = append(locks, one.Lock)
			}
		}
	}
	return locks
}

// appendBelow appends the locks that are rooted below a name.
func (s *lockSet) appendBelow(locks []tree.Lock, name string, now time.Time) []tree.Lock {
	above := name + "/"
	from, _ := slices.BinarySearch(s.roots, above)
	if name == "" {
		above, from = "", 0
	}
	for _, root := range s.roots[from:] {
		if !strings.HasPrefix(root, above) {
			break
		}
		if root = root[:len(root)-1]; root != name {
			locks = s.appendAt(locks, root, now)
		}
	}
	return locks
}

// appendRootedIn appends the locks of a name and of what is below it.
func (s *lockSet) appendRootedIn(locks []tree.Lock, name string, now time.Time) []tree.Lock {
	return s.appendBelow(s.appendAt(locks, name, now), name, now)
}

// hasRoom returns nil if there is room for one more lock of a client. As many as are there are left for others, see
// [limit.Pool].
func (s *lockSet) hasRoom(holder string, bytes int) error {
	has := s.holders[holder]
	left, leftBytes := maxLocks-len(s.byToken), maxTable-s.bytes
	switch {
	case left <= 0 || bytes > leftBytes:
		return &tree.BoundError{Reason: fmt.Sprintf("there are %d locks, which is as many as there can be", len(s.byToken))}
	case holder != "" && (has.locks >= left || has.bytes+bytes > leftBytes):
		return &tree.BoundError{Reason: fmt.Sprintf("this client has %d locks, and the rest is for others", has.locks)}
	}
	return nil
}
