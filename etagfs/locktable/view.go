package locktable

import (
	"cmp"
	"slices"
	"time"

	"r-seed-1f3a754f.example/ifmatch/etagfs/failure"
	"r-seed-1f3a754f.example/ifmatch/etagfs/snapshots"
	"r-seed-1f3a754f.example/ifmatch/fs"
	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
	"r-seed-1f3a754f.example/ifmatch/fs/volumes"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

// A Looker looks at names for a [View]: inside a commit, or as of one instant.
type Looker interface {
	Lstat(name string) (vfs.Info, error)
	// SameName reports whether the disk takes two names for one.
	SameName(a, b string) bool
	// IsHeld and IsHeldBelow fail in a commit that does not hold the volume of a name, or one below it.
	IsHeld(name string) error
	IsHeldBelow(name string) error
	// IsNow reports whether it is certain that no other commit has changed a name since the first look.
	IsNow() bool
}

// A View finds the locks of names as a [Looker] sees these. A lock belongs to the resource that it is on, however the
// client spelled the name when it took the lock. If the disk takes two spellings for one name, the view reports the
// lock with the spelling that the caller asked for. The view asks the disk only about locks that some disk may take for
// locks on that name, see [Key], and only about few of them.
type View struct {
	table *Table
	fs    *fs.FS
	look  Looker

	seen bool // the view has looked at the file of locks
	// The next fields hold results about names, and the names are their keys.
	places   map[string]Place
	alike    map[[2]string]bool
	cased    map[[2]string]bool // a name, and the segments where the name of another file differs from it in case
	compared int                // how many pairs of names isOne had to compare by more than looks
	shortens map[string]bool
}

// View returns a view of the locks.
func (t *Table) View(look Looker) View { return View{table: t, fs: t.fs, look: look} }

// MaxAlike bounds how many pairs of spellings a view compares by the members of their collection. It also bounds for
// how many collections a view asks whether they have short names. There are more only if a client has locked that many
// similar names.
const MaxAlike = 64

// MaxLooked bounds how many pairs of spellings a view looks at. These looks tell nearly all pairs apart.
const MaxLooked = 1024

// MaxShared bounds the shared locks of which one covers the resource that another is on. At most MaxShared locks cover
// a name, and an answer lists all of them.
const MaxShared = 16

// maxShort bounds how many segments of one name a view checks that may be short names.
const maxShort = 8

// An inDoubt says how a view treats a lock if it may not ask the disk about the lock any more.
type inDoubt bool

const (
	itCounts inDoubt = true  // one lock too many in the way is better than one too few
	itIsLeft inDoubt = false // one lock too few reported, or ended, is better than one too many
)

// Locks implements [tree.View].
func (v *View) Locks(name string) ([]tree.Lock, error) { return v.about(name, true) }

// Covering implements [tree.View].
func (v *View) Covering(name string) ([]tree.Lock, error) { return v.about(name, false) }

// about returns the locks that cover a name, and, if below is set, the locks below it.
func (v *View) about(name string, below bool) ([]tree.Lock, error) {
	if below {
		if err := v.look.IsHeldBelow(name); err != nil {
			return nil, err
		}
	}
	var found []Candidate
	err := v.lookUp(name, func(set *Set, p Place, now time.Time) {
		found = set.AppendCovering(nil, p, now)
		if below {
			found = set.AppendBelow(found, p, now)
		}
	})
	return v.those(found, itCounts), err
}

// Holds implements [tree.View].
func (v *View) Holds(name, token string) (bool, error) {
	lock, err := v.Holding(name, token)
	return lock.Token != "", err
}

// Holding returns the lock with a token if the lock covers a name, and the zero value otherwise.
func (v *View) Holding(name, token string) (lock tree.Lock, err error) {
	var found []Candidate
	err = v.lookUp(name, func(set *Set, p Place, now time.Time) {
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
func (v *View) lookUp(name string, find func(*Set, Place, time.Time)) error {
	if err := v.look.IsHeld(name); err != nil {
		return err
	}
	none := true
	isNone := func(set *Set, _ time.Time) { none = len(set.ByToken) == 0 }
	if v.seen {
		v.table.LookAgain(isNone)
	} else if err := v.table.Look(isNone); err != nil {
		return failure.Of(err)
	}
	if v.seen = true; none {
		return nil
	}
	p := v.place(name) // place looks at the disk, so the table is not locked meanwhile
	v.table.LookAgain(func(set *Set, now time.Time) { find(set, p, now) })
	if !v.look.IsNow() {
		return snapshots.ErrMoved
	}
	return nil
}

// those returns the locks of the candidates that are about the name, with their roots spelled like the name.
func (v *View) those(found []Candidate, doubtful inDoubt) []tree.Lock {
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
func (v *View) isOne(ours, theirs string) (one, known bool) {
	both := [2]string{ours, theirs}
	if one, known = v.alike[both]; known {
		return one, known
	}
	here, err := v.look.Lstat(ours)
	if err != nil {
		return false, true
	}
	cases := [2]string{ours, differInCase(ours, theirs)}
	if cases[1] != "" && v.cased[cases] {
		return false, true
	}
	if len(v.alike) >= MaxLooked {
		return false, false
	}
	if v.alike == nil {
		v.alike, v.cased = map[[2]string]bool{}, map[[2]string]bool{}
	}
	there, err := v.look.Lstat(theirs)
	if err == nil && volumes.MayBeOne(here, there) {
		if v.compared >= MaxAlike {
			return false, false
		}
		v.compared++
		one = v.look.SameName(ours, theirs)
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
func (v *View) mayShorten(dir string) bool {
	may, known := v.shortens[dir]
	switch {
	case known:
		return may
	case len(v.shortens) >= MaxAlike:
		return true
	}
	if v.shortens == nil {
		v.shortens = map[string]bool{}
	}
	info, err := v.look.Lstat(dir)
	may = err == nil && info.Kind == vfs.Directory && v.fs.MayShorten(dir)
	v.shortens[dir] = may
	return may
}

// place returns the place of a name.
func (v *View) place(name string) Place {
	p, known := v.places[name]
	if known {
		return p
	}
	p = Place{Name: name, Key: Key(name), Depth: SegmentsOf(name), Short: -1}
	n := 0
	for at := range ShortSegments(name) {
		if n++; n > maxShort || v.mayBeShort(name, at) {
			p.Short = at
			break
		}
	}
	v.table.LookAgain(func(set *Set, _ time.Time) { p.In = set.ShortAbove(p) })
	p.In = slices.DeleteFunc(p.In, func(at int) bool { return !v.mayBeShort(name, at) })
	if v.places == nil {
		v.places = map[string]Place{}
	}
	v.places[name] = p
	return p
}

// mayBeShort reports whether the segment of a name after the first at segments may be the short name of another member
// of its collection, or another name may be the short name of that segment. This is so if the segment exists, and the
// disk has short names in that collection.
func (v *View) mayBeShort(name string, at int) bool {
	if !v.mayShorten(tree.FirstSegments(name, at)) {
		return false
	}
	_, err := v.look.Lstat(tree.FirstSegments(name, at+1))
	return err == nil
}

// Admits returns the reason if a lock cannot be taken beside the present locks, and nil otherwise.
func (v *View) Admits(lock tree.Lock) error {
	locks, err := v.about(lock.Root, lock.Infinite)
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
	if shared >= MaxShared {
		return failure.Full("there are %d shared locks on it, above it or below it, which is as many as there can be",
			shared)
	}
	return v.table.HasRoom(lock)
}

// FateOf determines the fate of the locks on a name, of the locks below it, and of the locks on gone and below it. gone
// is the name of the resource that the commit moves to the name, or "" if there is none.
func (v *View) FateOf(name, gone string) (Fate, error) {
	f := Fate{Ended: map[string]bool{}, Stay: map[string]bool{}}
	if err := v.look.IsHeldBelow(name); err != nil {
		return f, err
	}
	if gone != "" {
		if err := v.look.IsHeldBelow(gone); err != nil {
			return f, err
		}
	}
	note := func(name string, in map[string]bool, find func(*Set, []Candidate, Place, time.Time) []Candidate) error {
		var found []Candidate
		err := v.lookUp(name, func(set *Set, p Place, now time.Time) { found = find(set, nil, p, now) })
		for _, l := range v.those(found, itIsLeft) {
			in[l.Token] = true
		}
		return err
	}
	err := note(name, f.Ended, (*Set).AppendBelow)
	if gone != "" {
		err = cmp.Or(err, note(gone, f.Ended, (*Set).AppendAt), note(gone, f.Ended, (*Set).AppendBelow))
	}
	err = cmp.Or(err, note(name, f.Stay, (*Set).AppendAt))
	for token := range f.Ended {
		delete(f.Stay, token)
	}
	return f, err
}

// A Fate says which locks end and which stay if a commit puts another resource, or none, at a name. It is determined
// before the commit, because after it the disk no longer tells which names were one.
type Fate struct {
	Ended map[string]bool // the tokens of the locks that end
	Stay  map[string]bool // the tokens of the locks on the name, which then cover the new resource
}

// None reports whether no lock ends or stays.
func (f Fate) None() bool { return len(f.Ended)+len(f.Stay) == 0 }

// All returns the fate if the commit leaves no resource at the name: all locks end.
func (f Fate) All() Fate {
	for token := range f.Stay {
		f.Ended[token] = true
	}
	clear(f.Stay)
	return f
}
