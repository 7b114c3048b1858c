package etagfs

import (
	"iter"
	"path"
	"slices"
	"strings"
	"time"

	"ifmatch/etagfs/failure"
	"ifmatch/fs"
	"ifmatch/tree"
)

// A lockSet is a set of locks. It finds a lock by its token, and by its root. Without going through all locks, it looks
// up the locks on a name, on the collections above the name and on the names below it. It also looks up the locks on
// names that a disk may take for the same name. The zero value is empty.
type lockSet struct {
	byToken map[string]*setLock
	byKey   map[string][]*setLock // by the key of their root
	keys    []string              // the keys of byKey in order, so that those below a name are together
	// short holds the locks whose root may contain a short name. Its keys are the key of the collection that the first
	// such segment is in, and the stem of that segment.
	short   map[string]map[string][]*setLock
	holders map[string]holding
	bytes   int       // the length of all lines that set these locks
	soonest time.Time // no lock expires before this time
	steps   int       // how many locks were looked at because of short names
}

type setLock struct {
	tree.Lock
	key   string // see foldedKey
	depth int    // the number of segments of its root
	bytes int    // the length of the line that sets it
}

// A holding says how many locks one client has, and how many bytes their lines take.
type holding struct{ locks, bytes int }

// foldedKey returns a key that is the same for all spellings that some disk takes for one name, except for short names.
// The key consists of [fs.Fold] of each segment, followed by a byte that no name contains. The key of a name below a
// collection begins with the key of that collection.
func foldedKey(name string) string {
	if name == "" {
		return ""
	}
	key := make([]byte, 0, len(name)+1)
	for segment := range strings.SplitSeq(name, "/") {
		key = append(append(key, fs.Fold(segment)...), 0)
	}
	return string(key)
}

// keyBelow returns the key of a member of a collection, given the key of the collection.
func keyBelow(key, base string) string { return key + fs.Fold(base) + "\x00" }

// keyAbove returns the key of the collection that a name is in, given the key of the name.
func keyAbove(key string) string { return key[:strings.LastIndexByte(key[:len(key)-1], 0)+1] }

// firstKeys returns the key of the first n segments of a name, given the key of the name.
func firstKeys(key string, n int) string {
	end := 0
	for ; n > 0; n-- {
		end += strings.IndexByte(key[end:], 0) + 1
	}
	return key[:end]
}

// A place is a name in the form in which its locks are looked up.
type place struct {
	name, key string
	depth     int // the number of its segments
	// short is the number of segments before the first segment that may be the short name of another resource. It is -1
	// if there is no such segment.
	short int
	// in holds the number of segments of each collection above the name that may have short names, and in which the
	// root of a lock may have a short name.
	in []int
}

// A candidate is a lock that is about a name if the disk takes two spellings for one name.
type candidate struct {
	tree.Lock
	// ours is the beginning of the name, and theirs is the beginning of the root of the lock. Both have as many
	// segments as the shorter of the two names.
	ours, theirs string
}

// stem returns the letter or digit that a segment and its short name begin with. It returns "" if the short name may
// begin with another character: systems leave out or replace the characters that they do not accept.
func stem(segment string) string {
	segment = strings.TrimLeft(segment, ". ")
	if segment == "" {
		return ""
	}
	switch c := segment[0]; {
	case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		return strings.ToLower(segment[:1])
	}
	return ""
}

// segmentAt returns the segment of a name that comes after n others.
func segmentAt(name string, n int) string { return path.Base(firstSegments(name, n+1)) }

// put adds a lock, or replaces the lock with the same token.
func (s *lockSet) put(l tree.Lock, bytes int) {
	if s.byToken == nil {
		s.byToken, s.holders = map[string]*setLock{}, map[string]holding{}
		s.byKey, s.short = map[string][]*setLock{}, map[string]map[string][]*setLock{}
	}
	s.remove(l.Token)
	one := &setLock{l, foldedKey(l.Root), segmentsOf(l.Root), bytes}
	s.byToken[l.Token] = one
	s.byKey[one.key] = append(s.byKey[one.key], one)
	if len(s.byKey[one.key]) == 1 {
		at, _ := slices.BinarySearch(s.keys, one.key)
		s.keys = slices.Insert(s.keys, at, one.key)
	}
	for n := range shortSegments(l.Root) {
		in, by := firstKeys(one.key, n), stem(segmentAt(one.Root, n))
		if s.short[in] == nil {
			s.short[in] = map[string][]*setLock{}
		}
		s.short[in][by] = append(s.short[in][by], one)
		break
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
	if without(s.byKey, one.key, one) {
		if at, found := slices.BinarySearch(s.keys, one.key); found {
			s.keys = slices.Delete(s.keys, at, at+1)
		}
	}
	for n := range shortSegments(one.Root) {
		in := firstKeys(one.key, n)
		if without(s.short[in], stem(segmentAt(one.Root, n)), one) && len(s.short[in]) == 0 {
			delete(s.short, in)
		}
		break
	}
	h := s.holders[one.Holder]
	if h = (holding{h.locks - 1, h.bytes - one.bytes}); h.locks == 0 {
		delete(s.holders, one.Holder)
	} else {
		s.holders[one.Holder] = h
	}
	s.bytes -= one.bytes
}

// without removes a lock from the locks with a key, and reports whether it was the last of them.
func without(from map[string][]*setLock, key string, one *setLock) bool {
	from[key] = slices.DeleteFunc(from[key], func(other *setLock) bool { return other == one })
	if len(from[key]) > 0 {
		return false
	}
	delete(from, key)
	return true
}

// purge removes the locks that have expired.
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

// live returns the lock with a token. It returns nil if there is no such lock, or if the lock has expired.
func (s *lockSet) live(token string, now time.Time) *setLock {
	if one := s.byToken[token]; one != nil && one.Expires.After(now) {
		return one
	}
	return nil
}

// A relation reports whether the root of a lock is in a certain position, as seen from a name.
type relation func(p place, one *setLock) bool

func isAt(p place, one *setLock) bool    { return one.depth == p.depth }
func isBelow(p place, one *setLock) bool { return one.depth > p.depth }
func covers(p place, one *setLock) bool {
	return one.depth == p.depth || one.Infinite && one.depth < p.depth
}

// appendCovering appends the locks that may cover a name: those on the name, and those with infinite depth on the
// collections above it. The nearest come first.
func (s *lockSet) appendCovering(found []candidate, p place, now time.Time) []candidate {
	if len(s.byToken) == 0 {
		return found
	}
	for name, key := p.name, p.key; ; name, key = above(name), keyAbove(key) {
		for _, one := range s.byKey[key] {
			if one.Expires.After(now) && covers(p, one) {
				found = append(found, candidate{Lock: one.Lock, ours: name, theirs: one.Root})
			}
		}
		if name == "" {
			return s.appendShort(found, p, now, covers)
		}
	}
}

func above(name string) string {
	parent, _ := tree.Split(name)
	return parent
}

// appendAt appends the locks that may be on the name itself.
func (s *lockSet) appendAt(found []candidate, p place, now time.Time) []candidate {
	return s.appendShort(s.appendSpelled(found, p, now), p, now, isAt)
}

// appendSpelled is appendAt without the locks that only short names can find.
func (s *lockSet) appendSpelled(found []candidate, p place, now time.Time) []candidate {
	for _, one := range s.byKey[p.key] {
		if one.Expires.After(now) {
			found = append(found, candidate{Lock: one.Lock, ours: p.name, theirs: one.Root})
		}
	}
	return found
}

// appendBelow appends the locks that may be below a name.
func (s *lockSet) appendBelow(found []candidate, p place, now time.Time) []candidate {
	for one := range s.startingWith(p.key) {
		if one.Expires.After(now) && isBelow(p, one) {
			found = append(found, candidate{Lock: one.Lock, ours: p.name, theirs: firstSegments(one.Root, p.depth)})
		}
	}
	return s.appendShort(found, p, now, isBelow)
}

// startingWith yields the locks whose key begins with the given key.
func (s *lockSet) startingWith(key string) iter.Seq[*setLock] {
	return func(yield func(*setLock) bool) {
		from, _ := slices.BinarySearch(s.keys, key)
		for _, one := range s.keys[from:] {
			if !strings.HasPrefix(one, key) {
				return
			}
			for _, l := range s.byKey[one] {
				if !yield(l) {
					return
				}
			}
		}
	}
}

// appendShort appends the locks that may be about a name only because the name, or the root of the lock, contains a
// short name.
func (s *lockSet) appendShort(found []candidate, p place, now time.Time, is relation) []candidate {
	add := func(one *setLock) {
		s.steps++
		if !one.Expires.After(now) || !is(p, one) {
			return
		}
		if n := min(p.depth, one.depth); isAlike(p, one, n) {
			found = append(found, candidate{Lock: one.Lock, ours: firstSegments(p.name, n), theirs: firstSegments(one.Root, n)})
		}
	}
	if p.short >= 0 {
		for one := range s.startingWith(firstKeys(p.key, p.short)) {
			add(one)
		}
	}
	for _, in := range p.in {
		for one := range s.shortIn(firstKeys(p.key, in), stem(segmentAt(p.name, in))) {
			add(one)
		}
	}
	return found
}

// shortIn yields the locks whose root may contain the short name of a member of a collection, if the stem of that short
// name is the given one. The stem "" matches every other stem.
func (s *lockSet) shortIn(key, of string) iter.Seq[*setLock] {
	return func(yield func(*setLock) bool) {
		for by, locks := range s.short[key] {
			if by != of && by != "" && of != "" {
				continue
			}
			for _, one := range locks {
				if !yield(one) {
					return
				}
			}
		}
	}
}

// shortAbove returns the number of segments of each collection above a name in which the root of a lock may have a
// short name for the next segment of the name. It leaves out the collection with p.short segments and those below it,
// since appendShort goes through all locks there.
func (s *lockSet) shortAbove(p place) (in []int) {
	if len(s.short) == 0 {
		return nil
	}
	end := p.depth
	if p.short >= 0 {
		end = p.short
	}
	for key := firstKeys(p.key, end); end > 0; {
		key, end = keyAbove(key), end-1
		if len(s.short[key]) > 0 {
			in = append(in, end)
		}
	}
	return in
}

// appendRoots appends the locks on those members of a collection whose name may be the short name of another member. If
// all is set, it appends the locks on all members.
func (s *lockSet) appendRoots(found []*setLock, in place, all bool, now time.Time) []*setLock {
	from := s.shortIn(in.key, "")
	if all {
		from = s.startingWith(in.key)
	}
	for one := range from {
		if s.steps++; one.depth == in.depth+1 && one.Expires.After(now) {
			found = append(found, one)
		}
	}
	return found
}

// isAlike reports whether the first n segments of a name and of the root of a lock may be one name by a short name,
// although their keys differ.
func isAlike(p place, one *setLock, n int) bool {
	ours, theirs, ourKey, theirKey := p.name, one.Root, p.key, one.key
	differ := false
	for ; n > 0; n-- {
		var a, b, keyA, keyB string
		a, ours, _ = strings.Cut(ours, "/")
		b, theirs, _ = strings.Cut(theirs, "/")
		keyA, ourKey, _ = strings.Cut(ourKey, "\x00")
		keyB, theirKey, _ = strings.Cut(theirKey, "\x00")
		if keyA == keyB {
			continue
		}
		if !fs.IsShortened(a) && !fs.IsShortened(b) {
			return false
		}
		differ = true
	}
	return differ
}

// holding returns the lock with a token, and reports whether the lock may cover a name.
func (s *lockSet) holding(token string, p place, now time.Time) (c candidate, ok bool) {
	one := s.live(token, now)
	if one == nil || !covers(p, one) {
		return c, false
	}
	c = candidate{Lock: one.Lock, ours: firstSegments(p.name, one.depth), theirs: one.Root}
	return c, firstKeys(p.key, one.depth) == one.key || isAlike(p, one, one.depth)
}

// hasRoom returns nil if there is room for one more lock of a client. One client may have at most as much as is left
// for others, see [limit.Pool].
func (s *lockSet) hasRoom(holder string, bytes int) error {
	has := s.holders[holder]
	left, leftBytes := maxLocks-len(s.byToken), maxTable-s.bytes
	switch {
	case left <= 0 || bytes > leftBytes:
		return failure.Full("there are %d locks, which is as many as there can be", len(s.byToken))
	case holder != "" && (has.locks >= left || has.bytes+bytes > leftBytes):
		return failure.Full("this client has %d locks, and the rest is for others", has.locks)
	}
	return nil
}
