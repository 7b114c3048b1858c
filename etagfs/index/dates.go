package index

import (
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"

	"r-seed-1f3a754f.example/ifmatch/tree"
)

// Dates tell which dates prove a version (see [tree.DateRange]). A date proves a version if no other version of the
// name can have been shown with it. A date alone cannot prove that, because it has whole seconds, and any program can
// set it.
//
// This process keeps a note of the versions and dates that it shows, in memory, by name. So it tells a version from the
// one before, no matter how the new version came to the name: by a write, with a collection above it, through a link,
// or by a local program. The number of notes is bounded. If notes are lost, as at the start, a date takes their place:
// any version can have been shown with dates up to this one.
//
// A commit puts [Evidence] into the record of the new version: the latest date with which another version of that name
// can have been shown. The evidence counts for as long as the version is there, even after a restart and in other
// processes. It ends when a collection on the way to the name can have been moved.
//
// As long as another process shows dates too, only such evidence counts. The shared state says whether another process
// does, and this process reads it before each decision. A client that sends a date got that date before it sent the
// request. So it does not matter which dates another process begins to show at the same time. The clock may be set at
// any time. The highest time that it has shown is computed from the monotonic clock, which is the same for all
// processes.
type Dates struct {
	x      *Index
	now    func() time.Time
	report func(error)
	seed   maphash.Seed
	notes  *cache[uint64, note]
	high   atomic.Int64 // the highest second that the clock has shown before, as far as this process knows
	broken atomic.Bool  // this process cannot tell other processes which dates it shows: no date proves anything
	start  time.Time    // when the process was started, about
	ticked int64        // the monotonic clock at start, in nanoseconds
	// The facts of this process that other processes must know before it shows a date that depends on them. lead, mounted
	// and back are as in a sharedState, and ahead is below. A fact changes while mu is held, and after facts was raised. So
	// a goroutine that sees the new fact also sees that said is less than facts: the fact is not in the shared file yet.
	lead, back atomic.Int64
	mounted    atomic.Bool
	behind     atomic.Bool  // the clock was set back, back says so, and the clock is still behind
	facts      atomic.Int64 // how often a fact has changed
	said       atomic.Int64 // the shared file at announced has the facts until this number
	// announced is the directory in whose shared file this process has noted that it shows dates.
	announced  atomic.Pointer[home]
	announcing sync.Mutex

	mu      sync.Mutex  // never held during a system call
	at      *home       // the directory whose shared file gave the following fields
	showing uint64      // showing in the shared state, as long as no other process shows dates
	company bool        // another process shows dates, or may show them
	floor   int64       // dates up to this one can have been shown for a name without a note
	ahead   []tree.Span // dates that lay in the future when this process showed them
}

const maxNotes = 1 << 16 // of about 100 bytes each

// NewDates begins to keep dates beside an index. fresh says that no process has shown any dates of the tree before.
func NewDates(x *Index, fresh bool, now func() time.Time, report func(error)) *Dates {
	d := &Dates{x: x, now: now, report: report, seed: maphash.MakeSeed(), floor: never}
	d.start, d.ticked = time.Now(), monotonic()
	d.notes = newCache[uint64](maxNotes, d.drop)
	d.high.Store(never)
	d.lead.Store(never)
	d.back.Store(never)
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

// unpublished is how many seconds the clock can have gone beyond the highest published time, in a run that was not
// stopped in order.
const unpublished = int64(3 * Interval / time.Second)

// forget drops all notes. Any date until now, and until a second from now, can have been shown.
func (d *Dates) forget() {
	d.clock()
	d.notes.Clear()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.floor = max(d.floor, d.highest()+1)
}

// drop is called with a note that the cache drops.
func (d *Dates) drop(n note) {
	last := n.last(d.highest())
	d.mu.Lock()
	defer d.mu.Unlock()
	d.floor = max(d.floor, last)
}

// risen returns the date up to which any date can have been shown for a name without a note, if that date has risen
// above was. Otherwise it returns never.
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

// Show notes that a version is shown with its date. It returns false, and notes nothing, if it is unclear whether the
// name has that version now. That is unclear if the version was changed before the version that was seen there last,
// unless isNow says that the name has it.
//
// isNow is called while no commit can note which version it has put at the name. So if isNow returns true for a
// version, that version is noted before the version that replaces it. nil stands for false.
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
			return true // the record already has all facts of the note
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

// Outdated notes that a version which the name no longer has is shown with its date.
func (d *Dates) Outdated(name string, v Version, how Showing) {
	m := d.moment()
	d.notes.Update(d.key(name), func(n note, ok bool) (note, bool) {
		if !ok {
			n = newNote(m.floor)
		}
		if v.Modified <= m.now {
			n.Earlier = max(n.Earlier, v.Modified)
		} else if how == AsIs {
			n.Ahead = n.Ahead.With(v.Modified)
		}
		return n, true
	})
}

// Range returns the dates that prove a version that was seen at a name. It notes nothing. around may be called, once.
func (d *Dates) Range(name string, v Version, around func() Around) tree.DateRange {
	m := d.moment()
	n, ok := d.base(name, &v, m, around)
	if !ok || m.broken {
		return tree.DateRange{}
	}
	c := d.content(v)
	n.see(c, m.high, m.ahead)
	return n.dates(v, m.ahead)
}
