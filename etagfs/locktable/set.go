package locktable

import (
	"iter"
	"path"
	"slices"
	"strings"
	"time"

	"r-seed-1f3a754f.example/ifmatch/etagfs/failure"
	"r-seed-1f3a754f.example/ifmatch/fs/volumes"
	"r-seed-1f3a754f.example/ifmatch/spelling"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

// Locks are bounded, so that no client can fill memory with locks, nor take all locks that there can be.
const (
	maxLocks = 4096    // in the table
	MaxOwner = 8 << 10 // the largest [tree.Lock.Owner] of a lock, in bytes
	maxTable = 4 << 20 // the lines of all locks, in bytes
)

// A Set is a set of locks. It finds a lock by its token, and by its root. Without going through all locks, it looks
// up the locks on a name, on the collections above the name and on the names below it. It also looks up the locks on
// names that a disk may take for the same name. The zero value is empty.
type Set struct {
	ByToken map[string]*Entry   // read-only for other packages, as Short
	byKey   map[string][]*Entry // by the key of their root
	keys    []string            // the keys of byKey in order, so that those below a name are together
	// Short holds the locks whose root may contain a short name. Its keys are the key of the collection that the first
	// such segment is in, and the stem of that segment.
	Short   map[string]map[string][]*Entry
	holders map[string]holding
	bytes   int       // the length of all lines that set these locks
	soonest time.Time // no lock expires before this time
	steps   int       // how many locks were looked at because of short names
}

// An Entry is a lock of a [Set].
type Entry struct {
	tree.Lock
	Key   string // of its root, see [Key]
	depth int    // the number of segments of its root
	bytes int    // the length of the line that sets it
}

// A holding says how many locks one client has, and how many bytes their lines take.
type holding struct{ locks, bytes int }

// Key returns a key that is the same for all spellings that some disk takes for one name, except for short names. The
// key consists of [spelling.Fold] of each segment, followed by a byte that no name contains. The key of a name below a
// collection begins with the key of that collection.
func Key(name string) string {
	if name == "" {
		return ""
	}
	key := make([]byte, 0, len(name)+1)
	for segment := range strings.SplitSeq(name, "/") {
		key = append(append(key, spelling.Fold(segment)...), 0)
	}
	return string(key)
}

// KeyBelow returns the key of a member of a collection, given the key of the collection.
func KeyBelow(key, base string) string { return key + spelling.Fold(base) + "\x00" }

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

// A Place is a name in the form in which its locks are looked up.
type Place struct {
	Name, Key string
	Depth     int // the number of its segments
	// Short is the number of segments before the first segment that may be the short name of another resource. It is -1
	// if there is no such segment.
	Short int
	// In holds the number of segments of each collection above the name that may have short names, and in which the
	// root of a lock may have a short name.
	In []int
}

// A Candidate is a lock that is about a name if the disk takes two spellings for one name.
type Candidate struct {
	tree.Lock
	// Ours is the beginning of the name, and theirs is the beginning of the root of the lock. Both have as many
	// segments as the shorter of the two names.
	Ours, Theirs string
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
func segmentAt(name string, n int) string { return path.Base(tree.FirstSegments(name, n+1)) }

// put adds a lock, or replaces the lock with the same token.
func (s *Set) put(l tree.Lock, bytes int) {
	if s.ByToken == nil {
		s.ByToken, s.holders = map[string]*Entry{}, map[string]holding{}
		s.byKey, s.Short = map[string][]*Entry{}, map[string]map[string][]*Entry{}
	}
	s.remove(l.Token)
	one := &Entry{l, Key(l.Root), SegmentsOf(l.Root), bytes}
	s.ByToken[l.Token] = one
	s.byKey[one.Key] = append(s.byKey[one.Key], one)
	if len(s.byKey[one.Key]) == 1 {
		at, _ := slices.BinarySearch(s.keys, one.Key)
		s.keys = slices.Insert(s.keys, at, one.Key)
	}
	for n := range ShortSegments(l.Root) {
		in, by := firstKeys(one.Key, n), stem(segmentAt(one.Root, n))
		if s.Short[in] == nil {
			s.Short[in] = map[string][]*Entry{}
		}
		s.Short[in][by] = append(s.Short[in][by], one)
		break
	}
	h := s.holders[l.Holder]
	s.holders[l.Holder] = holding{h.locks + 1, h.bytes + bytes}
	s.bytes += bytes
	if len(s.ByToken) == 1 || l.Expires.Before(s.soonest) {
		s.soonest = l.Expires
	}
}

// remove removes the lock with a token, if there is one.
func (s *Set) remove(token string) {
	one := s.ByToken[token]
	if one == nil {
		return
	}
	delete(s.ByToken, token)
	if without(s.byKey, one.Key, one) {
		if at, found := slices.BinarySearch(s.keys, one.Key); found {
			s.keys = slices.Delete(s.keys, at, at+1)
		}
	}
	for n := range ShortSegments(one.Root) {
		in := firstKeys(one.Key, n)
		if without(s.Short[in], stem(segmentAt(one.Root, n)), one) && len(s.Short[in]) == 0 {
			delete(s.Short, in)
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
func without(from map[string][]*Entry, key string, one *Entry) bool {
	from[key] = slices.DeleteFunc(from[key], func(other *Entry) bool { return other == one })
	if len(from[key]) > 0 {
		return false
	}
	delete(from, key)
	return true
}

// purge removes the locks that have expired.
func (s *Set) purge(now time.Time) {
	var soonest time.Time
	for token, one := range s.ByToken {
		if !one.Expires.After(now) {
			s.remove(token)
		} else if soonest.IsZero() || one.Expires.Before(soonest) {
			soonest = one.Expires
		}
	}
	s.soonest = soonest
}

// Live returns the lock with a token. It returns nil if there is no such lock, or if the lock has expired.
func (s *Set) Live(token string, now time.Time) *Entry {
	if one := s.ByToken[token]; one != nil && one.Expires.After(now) {
		return one
	}
	return nil
}

// These report whether the root of a lock is in a certain position, as seen from a name.

func isAt(p Place, one *Entry) bool    { return one.depth == p.Depth }
func isBelow(p Place, one *Entry) bool { return one.depth > p.Depth }
func covers(p Place, one *Entry) bool {
	return one.depth == p.Depth || one.Infinite && one.depth < p.Depth
}

// AppendCovering appends the locks that may cover a name: those on the name, and those with infinite depth on the
// collections above it. The nearest come first.
func (s *Set) AppendCovering(found []Candidate, p Place, now time.Time) []Candidate {
	if len(s.ByToken) == 0 {
		return found
	}
	for name, key := p.Name, p.Key; ; name, key = above(name), keyAbove(key) {
		for _, one := range s.byKey[key] {
			if one.Expires.After(now) && covers(p, one) {
				found = append(found, Candidate{Lock: one.Lock, Ours: name, Theirs: one.Root})
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

// AppendAt appends the locks that may be on the name itself.
func (s *Set) AppendAt(found []Candidate, p Place, now time.Time) []Candidate {
	return s.appendShort(s.AppendSpelled(found, p, now), p, now, isAt)
}

// AppendSpelled is [Set.AppendAt] without the locks that only short names can find.
func (s *Set) AppendSpelled(found []Candidate, p Place, now time.Time) []Candidate {
	for _, one := range s.byKey[p.Key] {
		if one.Expires.After(now) {
			found = append(found, Candidate{Lock: one.Lock, Ours: p.Name, Theirs: one.Root})
		}
	}
	return found
}

// AppendBelow appends the locks that may be below a name.
func (s *Set) AppendBelow(found []Candidate, p Place, now time.Time) []Candidate {
	for one := range s.startingWith(p.Key) {
		if one.Expires.After(now) && isBelow(p, one) {
			found = append(found, Candidate{Lock: one.Lock, Ours: p.Name, Theirs: tree.FirstSegments(one.Root, p.Depth)})
		}
	}
	return s.appendShort(found, p, now, isBelow)
}

// startingWith yields the locks whose key begins with the given key.
func (s *Set) startingWith(key string) iter.Seq[*Entry] {
	return func(yield func(*Entry) bool) {
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
func (s *Set) appendShort(found []Candidate, p Place, now time.Time, is func(Place, *Entry) bool) []Candidate {
	add := func(one *Entry) {
		s.steps++
		if !one.Expires.After(now) || !is(p, one) {
			return
		}
		if n := min(p.Depth, one.depth); isAlike(p, one, n) {
			found = append(found,
				Candidate{Lock: one.Lock, Ours: tree.FirstSegments(p.Name, n), Theirs: tree.FirstSegments(one.Root, n)})
		}
	}
	if p.Short >= 0 {
		for one := range s.startingWith(firstKeys(p.Key, p.Short)) {
			add(one)
		}
	}
	for _, in := range p.In {
		for one := range s.shortIn(firstKeys(p.Key, in), stem(segmentAt(p.Name, in))) {
			add(one)
		}
	}
	return found
}

// shortIn yields the locks whose root may contain the short name of a member of a collection, if the stem of that short
// name is the given one. The stem "" matches every other stem.
func (s *Set) shortIn(key, of string) iter.Seq[*Entry] {
	return func(yield func(*Entry) bool) {
		for by, locks := range s.Short[key] {
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

// ShortAbove returns the number of segments of each collection above a name in which the root of a lock may have a
// short name for the next segment of the name. It leaves out the collection with p.short segments and those below it,
// since appendShort goes through all locks there.
func (s *Set) ShortAbove(p Place) (in []int) {
	if len(s.Short) == 0 {
		return nil
	}
	end := p.Depth
	if p.Short >= 0 {
		end = p.Short
	}
	for key := firstKeys(p.Key, end); end > 0; {
		key, end = keyAbove(key), end-1
		if len(s.Short[key]) > 0 {
			in = append(in, end)
		}
	}
	return in
}

// AppendRoots appends the locks on those members of a collection whose name may be the short name of another member. If
// all is set, it appends the locks on all members.
func (s *Set) AppendRoots(found []*Entry, in Place, all bool, now time.Time) []*Entry {
	from := s.shortIn(in.Key, "")
	if all {
		from = s.startingWith(in.Key)
	}
	for one := range from {
		if s.steps++; one.depth == in.Depth+1 && one.Expires.After(now) {
			found = append(found, one)
		}
	}
	return found
}

// isAlike reports whether the first n segments of a name and of the root of a lock may be one name by a short name,
// although their keys differ.
func isAlike(p Place, one *Entry, n int) bool {
	ours, theirs, ourKey, theirKey := p.Name, one.Root, p.Key, one.Key
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
		if !volumes.IsShortened(a) && !volumes.IsShortened(b) {
			return false
		}
		differ = true
	}
	return differ
}

// Holding returns the lock with a token, and reports whether the lock may cover a name.
func (s *Set) Holding(token string, p Place, now time.Time) (c Candidate, ok bool) {
	one := s.Live(token, now)
	if one == nil || !covers(p, one) {
		return c, false
	}
	c = Candidate{Lock: one.Lock, Ours: tree.FirstSegments(p.Name, one.depth), Theirs: one.Root}
	return c, firstKeys(p.Key, one.depth) == one.Key || isAlike(p, one, one.depth)
}

// hasRoom returns an error if a client has no room for one more lock: it may have as much as is left for others.
func (s *Set) hasRoom(holder string, bytes int) error {
	has := s.holders[holder]
	left, leftBytes := maxLocks-len(s.ByToken), maxTable-s.bytes
	switch {
	case left <= 0 || bytes > leftBytes:
		return failure.Full("there are %d locks, which is as many as there can be", len(s.ByToken))
	case holder != "" && (has.locks >= left || has.bytes+bytes > leftBytes):
		return failure.Full("this client has %d locks, and the rest is for others", has.locks)
	}
	return nil
}
