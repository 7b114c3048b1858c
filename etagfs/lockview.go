package etagfs

import (
	"slices"
	"time"

	"r-seed-1f3a754f.example/ifmatch/etagfs/failure"
	"r-seed-1f3a754f.example/ifmatch/etagfs/locktable"
	"r-seed-1f3a754f.example/ifmatch/etagfs/snapshots"
	"r-seed-1f3a754f.example/ifmatch/fs"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

// This file finds the locks of a name as a view sees them. A lock belongs to the resource that it is on, however the
// client spelled the name when it took the lock. If the disk takes two spellings for one name, the view reports the
// lock with the spelling that the caller asked for. The view asks the disk only about locks that some disk may take for
// locks on that name, see [Key], and only about few of them.

// maxAlike bounds how many pairs of spellings a view compares by the members of their collection. It also bounds for
// how many collections a view asks whether they have short names. There are more only if a client has locked that many
// similar names.
const maxAlike = 64

// maxLooked bounds how many pairs of spellings a view looks at. These looks tell nearly all pairs apart.
const maxLooked = 1024

// maxShort bounds how many segments of one name a view checks that may be short names.
const maxShort = 8

// An inDoubt says how a view treats a lock if it may not ask the disk about the lock any more.
type inDoubt bool

const (
	itCounts inDoubt = true  // one lock too many in the way is better than one too few
	itIsLeft inDoubt = false // one lock too few reported, or ended, is better than one too many
)

// Locks implements [tree.View].
func (v *view) Locks(name string) ([]tree.Lock, error) { return v.locksAbout(name, true) }

// Covering implements [tree.TokenView].
func (v *view) Covering(name string) ([]tree.Lock, error) { return v.locksAbout(name, false) }

// locksAbout returns the locks that cover a name, and, if below is set, the locks below it.
func (v *view) locksAbout(name string, below bool) ([]tree.Lock, error) {
	if below {
		if err := v.isHeldBelow(name); err != nil {
			return nil, err
		}
	}
	var found []locktable.Candidate
	err := v.lookUp(name, func(set *locktable.Set, p locktable.Place, now time.Time) {
		found = set.AppendCovering(nil, p, now)
		if below {
			found = set.AppendBelow(found, p, now)
		}
	})
	return v.those(found, itCounts), err
}

// Holds implements [tree.TokenView].
func (v *view) Holds(name, token string) (bool, error) {
	lock, err := v.holding(name, token)
	return lock.Token != "", err
}

// holding returns the lock with a token if the lock covers a name, and the zero value otherwise.
func (v *view) holding(name, token string) (lock tree.Lock, err error) {
	var found []locktable.Candidate
	err = v.lookUp(name, func(set *locktable.Set, p locktable.Place, now time.Time) {
		if c, ok := set.Holding(token, p, now); ok {
			found = append(found, c)
		}
	})
	for _, lock = range v.those(found, itIsLeft) {
		return lock, err
	}
	return tree.Lock{}, err
}

// lookUp calls find with the locks, if there are any, as they were when this view first looked at them. Only that first
// look is a look at the file, because an If header can ask often.
func (v *view) lookUp(name string, find func(*locktable.Set, locktable.Place, time.Time)) error {
	if err := v.isHeld(name); err != nil {
		return err
	}
	look := v.s.locks.Look
	if v.locksSeen {
		look = v.s.locks.LookAgain
	}
	none := true
	err := look(func(set *locktable.Set, _ time.Time) { none = len(set.ByToken) == 0 })
	if v.locksSeen = err == nil; none {
		return failure.Of(err)
	}
	p := v.place(name) // place looks at the disk, so the table is not locked meanwhile
	err = v.s.locks.LookAgain(func(set *locktable.Set, now time.Time) { find(set, p, now) })
	if err == nil && !v.isNow() {
		err = snapshots.ErrMoved
	}
	return err
}

// those returns the locks of the candidates that are about the name, with their roots spelled like the name.
func (v *view) those(found []locktable.Candidate, doubtful inDoubt) []tree.Lock {
	var locks []tree.Lock
	for _, c := range found {
		if c.Ours != c.Theirs {
			if one, known := v.isOne(c.Ours, c.Theirs); !one && (known || doubtful == itIsLeft) {
				continue
			}
			c.Root = c.Ours + c.Root[len(c.Theirs):]
		}
		locks = append(locks, c.Lock)
	}
	return locks
}

// isOne reports whether the disk takes two similar spellings for one name. If there is no file at one of them, the disk
// does not: a file that exists is there in all its spellings. known is false if the view may not ask the disk any more.
func (v *view) isOne(ours, theirs string) (one, known bool) {
	both := [2]string{ours, theirs}
	if one, known = v.alike[both]; known {
		return one, known
	}
	here, err := v.lstat(ours)
	if err != nil {
		return false, true
	}
	cases := [2]string{ours, differInCase(ours, theirs)}
	if cases[1] != "" && v.cased[cases] {
		return false, true
	}
	if len(v.alike) >= maxLooked {
		return false, false
	}
	if v.alike == nil {
		v.alike, v.cased = map[[2]string]bool{}, map[[2]string]bool{}
	}
	there, err := v.lstat(theirs)
	if err == nil && fs.MayBeOne(here, there) {
		if v.compared >= maxAlike {
			return false, false
		}
		v.compared++
		one = v.SameName(ours, theirs)
	}
	v.alike[both] = one
	if cases[1] != "" && !one {
		v.cased[cases] = true
	}
	return one, true
}

// differInCase returns which segments of two names differ, if the names differ only in the case of ASCII letters.
// Otherwise it returns "". A disk that tells two such names apart is case-sensitive in the collection of one of these
// segments. So it also tells all other names apart that differ in the same segments.
func differInCase(a, b string) string {
	if len(a) != len(b) {
		return ""
	}
	lower := func(c byte) byte {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		return c
	}
	var which []byte
	segment := byte('=')
	for i := range len(a) {
		switch {
		case a[i] == '/' && b[i] == '/':
			which, segment = append(which, segment), '='
		case lower(a[i]) != lower(b[i]):
			return ""
		case a[i] != b[i]:
			segment = 'x'
		}
	}
	return string(append(which, segment))
}

// mayShorten reports whether the members of a collection may have short names.
func (v *view) mayShorten(dir string) bool {
	may, known := v.shortens[dir]
	switch {
	case known:
		return may
	case len(v.shortens) >= maxAlike:
		return true
	}
	if v.shortens == nil {
		v.shortens = map[string]bool{}
	}
	info, err := v.lstat(dir)
	may = err == nil && info.Kind == fs.Directory && v.s.fs.MayShorten(dir)
	v.shortens[dir] = may
	return may
}

// place returns the place of a name.
func (v *view) place(name string) locktable.Place {
	p, known := v.places[name]
	if known {
		return p
	}
	p = locktable.Place{Name: name, Key: locktable.Key(name), Depth: locktable.SegmentsOf(name), Short: -1}
	n := 0
	for at := range locktable.ShortSegments(name) {
		if n++; n > maxShort || v.mayBeShort(name, at) {
			p.Short = at
			break
		}
	}
	v.s.locks.LookAgain(func(set *locktable.Set, _ time.Time) { p.In = set.ShortAbove(p) })
	p.In = slices.DeleteFunc(p.In, func(at int) bool { return !v.mayBeShort(name, at) })
	if v.places == nil {
		v.places = map[string]locktable.Place{}
	}
	v.places[name] = p
	return p
}

// mayBeShort reports whether the segment of a name after the first at segments may be the short name of another member
// of its collection, or another name may be the short name of that segment. This is so if the segment exists, and the
// disk has short names in that collection.
func (v *view) mayBeShort(name string, at int) bool {
	if !v.mayShorten(locktable.FirstSegments(name, at)) {
		return false
	}
	_, err := v.lstat(locktable.FirstSegments(name, at+1))
	return err == nil
}

// admits returns the reason if a lock cannot be taken beside the present locks, and nil otherwise.
func (v *view) admits(lock tree.Lock) error {
	locks, err := v.locksAbout(lock.Root, lock.Infinite)
	if err != nil {
		return err
	}
	shared := 0
	for _, other := range locks {
		if other.Conflicts(lock) {
			return &tree.LockedError{Name: lock.Root, Lock: other}
		}
		if other.Covers(lock.Root) || lock.Covers(other.Root) {
			shared++
		}
	}
	if shared >= maxShared {
		return failure.Full("there are %d shared locks on it, above it or below it, which is as many as there can be", shared)
	}
	return v.s.locks.HasRoom(lock)
}

// asOneStep makes readers see the end of the locks and the change of their name as one step.
func (s *Store) asOneStep(name string, locks locktable.Fate) (end func()) {
	if locks.None() {
		return func() {}
	}
	return s.fs.OneStep(name)
}

// fateOf determines the fate of the locks on a name, of the locks below it, and of the locks on gone and below it. gone
// is the name of the resource that the commit moves to the name, or "" if there is none.
func (v *view) fateOf(name, gone string) (locktable.Fate, error) {
	f := locktable.Fate{Ended: map[string]bool{}, Stay: map[string]bool{}}
	if err := v.isHeldBelow(name); err != nil {
		return f, err
	}
	if gone != "" {
		if err := v.isHeldBelow(gone); err != nil {
			return f, err
		}
	}
	type finder func(*locktable.Set, []locktable.Candidate, locktable.Place, time.Time) []locktable.Candidate
	note := func(name string, find finder, in map[string]bool) error {
		var found []locktable.Candidate
		err := v.lookUp(name, func(set *locktable.Set, p locktable.Place, now time.Time) { found = find(set, nil, p, now) })
		for _, l := range v.those(found, itIsLeft) {
			in[l.Token] = true
		}
		return err
	}
	err := note(name, (*locktable.Set).AppendBelow, f.Ended)
	if err == nil && gone != "" {
		err = note(gone, (*locktable.Set).AppendAt, f.Ended)
	}
	if err == nil && gone != "" {
		err = note(gone, (*locktable.Set).AppendBelow, f.Ended)
	}
	if err == nil {
		err = note(name, (*locktable.Set).AppendAt, f.Stay)
	}
	for token := range f.Ended {
		delete(f.Stay, token)
	}
	return f, err
}
