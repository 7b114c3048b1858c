package index

import (
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"

	"ifmatch/tree"
)

// Dates tell which dates prove a version (see [tree.DateRange]): that no other version of the name can have been
// shown with them. A date cannot say that of itself: it has whole seconds, and anybody can set it.
//
// What this process shows is noted in memory, by name. So a version is told from the one before, however it came to
// the name: by a write, with a collection above it, through a link, or behind our back. The notes are bounded. What
// is forgotten, as at the start, leaves a date, up to which anything can have been shown.
//
// What a commit puts at a name, and what gave way to it, goes into the record of the new version as [Evidence]: the
// latest date with which another version of that name can have been shown. It stands for as long as the version is
// there, after a restart and in other processes, if no collection on the way to the name can have been moved since.
//
// As long as another process shows dates too, only such evidence counts. The shared state says whether one does, and
// is asked before each decision. What a date is asked for was shown before the request came; so it does not matter
// what another process begins to show at the same time. The clock may be set at any time: what it has shown at most
// is told by the monotonic clock, which all processes have in common.
type Dates struct {
	x      *Index
	now    func() time.Time
	report func(error)
	seed   maphash.Seed
	notes  *cache[uint64, note]
	high   atomic.Int64 // the highest second that the clock has shown before, as far as it is known
	broken atomic.Bool  // other processes cannot be told what is shown: no date proves anything
	start  time.Time    // of the process, about
	ticked int64        // the monotonic clock then, in nanoseconds
	lead   atomic.Int64 // as in a sharedState
	told   atomic.Int64 // the lead that the shared file at announced has at least
	mounts atomic.Bool  // the shared file at announced says that files on other mounts are shown
	behind atomic.Bool  // the shared state says that the clock was set back, and it is still behind
	unsaid atomic.Int32 // what the shared state could not be told: see below
	// announced is the directory in whose shared file this process has said that it shows dates.
	announced  atomic.Pointer[home]
	announcing sync.Mutex

	mu      sync.Mutex  // never held across a system call
	at      *home       // the directory whose shared file gave the following
	showing uint64      // what the shared state says as long as no other process shows dates
	company bool        // another process does, or may
	floor   int64       // up to which date anything can have been shown of a name without a note
	ahead   []tree.Span // dates that had not come when this process showed them
}

const (
	unsaidMounted int32 = 1 << iota
	unsaidBehind
)

const maxNotes = 1 << 16 // of about 100 bytes each

// NewDates begins to keep dates beside an index. fresh says that nobody has shown anything of the tree before.
func NewDates(x *Index, fresh bool, now func() time.Time, report func(error)) *Dates {
	d := &Dates{x: x, now: now, report: report, seed: maphash.MakeSeed(), floor: never}
	d.start, d.ticked = time.Now(), monotonic()
	d.notes = newCache[uint64](maxNotes, d.drop)
	d.high.Store(never)
	d.lead.Store(never)
	d.clock()
	h := x.home.Load()
	d.join(h)
	if !fresh {
		d.forget()
	}
	if h != nil && h.epochs.unclean {
		d.floor = max(d.floor, d.high.Load()+unpublished)
	}
	return d
}

// unpublished is how far the clock can have been, in seconds, beyond the highest time that a run has published that
// was not stopped.
const unpublished = int64(3 * Interval / time.Second)

// forget drops all notes: until now, and a second ahead, anything can have been shown.
func (d *Dates) forget() {
	d.clock()
	d.notes.Clear()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.floor = max(d.floor, d.highest()+1)
}

// drop is called with a note that makes room.
func (d *Dates) drop(n note) {
	last := n.last(d.highest())
	d.mu.Lock()
	defer d.mu.Unlock()
	d.floor = max(d.floor, last)
}

// risen returns the date up to which anything can have been shown of a name without a note, if that is later than it was;
// never otherwise.
func (d *Dates) risen(was int64) int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.floor > was {
		return d.floor
	}
	return never
}

func (d *Dates) key(name string) uint64 { return maphash.String(d.seed, name) }

func (d *Dates) content(v Version) content {
	c := content{modified: v.Modified, changed: never}
	if v.Of.Inode != 0 {
		c.look = max(1, maphash.Comparable(d.seed, v.Of))
	}
	if v.Tag != "" {
		c.tag = max(1, maphash.String(d.seed, string(v.Tag)))
	}
	if v.Changed != 0 {
		c.changed = v.Changed
	}
	return c
}

// Show notes that a version is shown with its date. It says false, and notes nothing, where it is unclear whether
// that is what the name has now: unless isNow says so, a version that was changed before the one that was seen there
// last may be the one before.
//
// isNow is asked while no commit can note what it has put at the name. So a version that it says true of is noted
// before the one that replaces it. nil says false.
func (d *Dates) Show(name string, v Version, how Showing, isNow func() bool, around func() Around) (clear bool) {
	now, c, key := d.clock(), d.content(v), d.key(name)
	d.announce(v.Mounted, now)
	if how == AsIs {
		defer d.tell(v.Modified, now)
	}
	known, noted := d.notes.Get(key)
	if noted && known.has(c, how, now) {
		return true
	}
	m := d.moment()
	begin := newNote(m.floor)
	if !noted {
		if recorded, ok := d.recorded(name, v, m, around); ok && v.Modified <= m.floor {
			return true // its record says all there is to note
		} else if ok {
			begin = recorded
		}
	}
	d.notes.Update(key, func(n note, ok bool) (note, bool) {
		if !ok {
			n = begin
		}
		sure := isNow != nil && isNow()
		if clear = sure || !n.seen || n.is(c) || c.changed > n.since; clear {
			n.see(c, m.high, m.ahead)
			n.show(c, how, now)
		}
		return n, clear
	})
	return clear
}

// Outdated notes that a version is shown with its date that is not what the name has now.
func (d *Dates) Outdated(name string, v Version, how Showing) {
	m := d.moment()
	d.notes.Update(d.key(name), func(n note, ok bool) (note, bool) {
		if !ok {
			n = newNote(m.floor)
		}
		if v.Modified <= m.now {
			n.earlier = max(n.earlier, v.Modified)
		} else if how == AsIs {
			n.ahead = n.ahead.With(v.Modified)
		}
		return n, true
	})
}

// Range returns which dates prove a version that was seen at a name. It notes nothing. around may be called, once.
func (d *Dates) Range(name string, v Version, around func() Around) tree.DateRange {
	m := d.moment()
	n, ok := d.base(name, &v, m, around)
	if !ok || m.broken {
		return tree.DateRange{}
	}
	c := d.content(v)
	n.see(c, m.high, m.ahead)
	return n.dates(c, v, m.ahead)
}
