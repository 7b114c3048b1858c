package index

import (
	"errors"
	"fmt"
	"hash/maphash"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"ifmatch/tree"
)

// Dates tell which dates prove a version (see [tree.DateRange]): that no other version of the name can have been shown with
// them. A date cannot say that of itself: it has whole seconds, and anybody can set it.
//
// What this process shows is noted in memory, by name. So a version is told from the one before, however it came to the name:
// by a write, with a collection above it, through a link, or behind our back. The notes are bounded. What is forgotten, as at
// the start, leaves a date, up to which anything can have been shown.
//
// What a commit puts at a name, and what gave way to it, goes into the record of the new version as [Evidence]: the latest date
// with which another version of that name can have been shown. It stands for as long as the version is there, after a restart
// and in other processes, if no collection on the way to the name can have been moved since.
//
// As long as another process shows dates too, only such evidence counts. The board says whether one does, and is asked before
// each decision. What a date is asked for was shown before the request came; so it does not matter what another process
// begins to show at the same time. The clock may be set at any time: what it has shown at most is told by the monotonic clock,
// which all processes have in common.
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
	lead   atomic.Int64 // as in a notice
	told   atomic.Int64 // the lead that the board where announced is has at least
	mounts atomic.Bool  // the board where announced is says that files on other mounts are shown
	behind atomic.Bool  // that board says that the clock was set back, and it is still behind
	unsaid atomic.Int32 // what the board could not be told: see below
	// announced is where the board is that says that this process shows dates.
	announced  atomic.Pointer[home]
	announcing sync.Mutex

	mu      sync.Mutex  // never held across a system call
	at      *home       // where the board is on which the rest was read
	showing uint64      // what the board says as long as no other process shows dates
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
	d := &Dates{x: x, now: now, report: report, seed: maphash.MakeSeed(), floor: never, start: time.Now(), ticked: monotonic()}
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

// unpublished is how far the clock can have been, in seconds, beyond the highest time that a run has published that was not
// stopped.
const unpublished = int64(3 * Interval / time.Second)

// clock returns the second that it is.
func (d *Dates) clock() int64 {
	now := d.now().Unix()
	raise(&d.lead, now-d.monotonic())
	return now
}

// monotonic returns the second that it is by the monotonic clock of the machine.
func (d *Dates) monotonic() int64 {
	return (d.ticked + int64(time.Since(d.start))) / int64(time.Second)
}

// highest returns the highest second that the clock can have shown in any process.
func (d *Dates) highest() int64 { return max(d.high.Load(), d.lead.Load()+d.monotonic()) }

// join reads the board of an index that was just opened.
func (d *Dates) join(h *home) {
	d.mu.Lock()
	d.at, d.company = h, false
	d.mu.Unlock()
	if h == nil {
		return
	}
	n, ok := h.board.read()
	_, show := h.epochs.others()
	if ok {
		raise(&d.high, n.high)
		raise(&d.lead, n.lead)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.showing, d.company = n.showing, show || !ok
}

func raise(v *atomic.Int64, to int64) {
	for {
		is := v.Load()
		if to <= is || v.CompareAndSwap(is, to) {
			return
		}
	}
}

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

// A moment is what decides dates at one time.
type moment struct {
	now, high, floor int64
	alone            bool        // no other process has shown a date since floor
	mounted          bool        // as in a notice
	back             int64       // as in a notice
	broken           bool        // no date proves anything
	ahead            []tree.Span // dates that had not come when they were shown, by any process, of any name
}

func (d *Dates) moment() moment {
	m := moment{now: d.clock()}
	h := d.x.home.Load()
	n, ok := notice{back: never}, true
	if h != nil {
		if n, ok = h.board.read(); ok {
			raise(&d.high, n.high)
			raise(&d.lead, n.lead)
		}
	}
	m.high, m.mounted, m.back, m.broken = d.highest(), n.mounted, n.back, !ok || n.broken || d.broken.Load()
	d.mu.Lock()
	defer d.mu.Unlock()
	m.floor, m.ahead = d.floor, n.ahead
	if h == nil {
		m.alone, m.ahead = true, d.ahead
	} else {
		m.alone = ok && h == d.at && !d.company && n.showing == d.showing
	}
	return m
}

// Tick looks whether other processes still show dates. It is to be called after each [Index.Tick], and not at the same time.
func (d *Dates) Tick() {
	h := d.x.home.Load()
	d.mu.Lock()
	moved := h != d.at
	d.mu.Unlock()
	if moved {
		d.join(h)
		d.forget()
		return
	}
	if h == nil {
		return
	}
	d.mend(h)
	n, ok := h.board.read()
	if m := d.moment(); !m.alone && ok {
		if _, show := h.epochs.others(); !show {
			d.mu.Lock()
			d.showing, d.company = n.showing, false
			d.mu.Unlock()
			d.forget()
		}
	}
	d.publish(h, n.high)
}

// publish has the board say what the clock has shown.
func (d *Dates) publish(h *home, published int64) {
	high := d.highest()
	if d.announced.Load() != h || high <= published {
		return
	}
	err := h.board.change(func(n *notice) bool {
		changed := high > n.high
		n.high = max(high, n.high)
		return changed
	})
	if err != nil {
		d.x.trouble("board", fmt.Errorf("noting in the index what time it is: %w", err))
	}
}

// announce tells other processes that this one shows dates, and by which clock, before it shows one.
func (d *Dates) announce(mounted bool, now int64) {
	h := d.x.home.Load()
	if h == nil {
		return
	}
	var err error
	if d.announced.Load() != h {
		err = d.announceAt(h)
	}
	high := d.highest()
	behind := now < high-1
	if !behind && d.behind.Load() {
		d.behind.Store(false)
	}
	if lead := d.lead.Load(); err == nil && (lead > d.told.Load() || mounted && !d.mounts.Load() || behind && !d.behind.Load()) {
		err = h.board.change(func(n *notice) bool {
			before := *n
			n.lead, n.mounted = max(lead, n.lead), n.mounted || mounted
			if behind {
				n.back = max(n.back, high)
			}
			return n.lead != before.lead || n.mounted != before.mounted || n.back != before.back
		})
		if err == nil {
			raise(&d.told, lead)
			d.mounts.CompareAndSwap(false, mounted)
			d.behind.Store(behind)
		} else {
			if mounted {
				d.unsaid.Or(unsaidMounted)
			}
			if behind {
				d.unsaid.Or(unsaidBehind)
			}
		}
	}
	if err != nil {
		d.breakDown(h, err)
	}
}

// announceAt says on a board that this process shows dates. It needs no lock: the file of its run says so first, and any other
// process that says so later sees that, or is seen.
func (d *Dates) announceAt(h *home) error {
	d.announcing.Lock()
	defer d.announcing.Unlock()
	if d.announced.Load() == h {
		return nil
	}
	err := h.epochs.set(false, func(e *epochs) bool { e.shows = true; return true })
	if err != nil {
		return err
	}
	before, ok := h.board.read()
	showing := rand.Uint64()
	if err := h.board.word(showingAt, showing); err != nil {
		return err
	}
	_, show := h.epochs.others()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.company = d.company || show || !ok || before.showing != d.showing || h != d.at
	d.at, d.showing = h, showing
	d.told.Store(never)
	d.mounts.Store(false)
	d.behind.Store(false)
	d.announced.Store(h)
	return nil
}

// breakDown says on the board, without its lock, that no date proves anything any more.
func (d *Dates) breakDown(h *home, err error) {
	if d.broken.Swap(true) {
		return
	}
	if failed := h.board.setBroken(h.epochs.run, true); failed != nil {
		err = errors.Join(err, failed)
	}
	d.report(fmt.Errorf("telling other servers which dates are shown, which is tried again; until then no date proves anything: %w", err))
}

// mend says on the board what could not be said, and takes the mark away that [Dates.breakDown] has left.
func (d *Dates) mend(h *home) {
	if !d.broken.Load() {
		return
	}
	if d.announced.Load() != h && d.announceAt(h) != nil {
		return
	}
	lead := d.lead.Load()
	d.mu.Lock()
	ahead := d.ahead
	d.mu.Unlock()
	high, unsaid := d.highest(), d.unsaid.Load()
	err := h.board.change(func(n *notice) bool {
		n.lead = max(lead, n.lead)
		n.mounted = n.mounted || unsaid&unsaidMounted != 0
		if unsaid&unsaidBehind != 0 {
			n.back = max(n.back, high)
		}
		for _, s := range ahead {
			n.ahead = addTo(n.ahead, s)
		}
		return true
	})
	if err == nil && h.board.setBroken(h.epochs.run, false) == nil {
		d.broken.Store(false)
		d.forget()
	}
}

// tell notes that a date is shown that has not come. That of the next second is not worth it: it is before whatever date
// stands for what is forgotten.
func (d *Dates) tell(date, now int64) {
	if date <= now+1 {
		return
	}
	h := d.x.home.Load()
	d.mu.Lock()
	known := isIn(d.ahead, date) && h == d.at
	d.ahead = addTo(d.ahead, tree.Span{First: date, Last: date})
	d.mu.Unlock()
	if known || h == nil {
		return
	}
	err := h.board.change(func(n *notice) bool {
		if isIn(n.ahead, date) {
			return false
		}
		n.ahead = addTo(n.ahead, tree.Span{First: date, Last: date})
		return true
	})
	if err != nil {
		d.breakDown(h, err)
	}
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

// Show notes that a version is shown with its date. It says false, and notes nothing, where it is unclear whether that is what
// the name has now: unless sure, a version that was changed before the one that was seen there last may be the one before.
func (d *Dates) Show(name string, v Version, how Showing, sure bool, around func() Around) (clear bool) {
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

// Around is what is known of the collections on the way to a name.
type Around struct {
	// Sure: all of them were looked at, and none is a link.
	Sure bool
	// Parent is when the collection that has the name was changed last, in nanoseconds since 1970. Moved is when the last of those
	// was changed in which the name, or one of the collections, can have been moved without a trace in itself: all but the root; and
	// the root too where an exchange leaves no trace.
	Parent, Moved int64
}

const (
	// stampSlack is how far apart the time stamps can be of a file that a commit names and of its collection, in nanoseconds. Where it
	// takes longer, the evidence does not stand.
	stampSlack = int64(200 * time.Microsecond)
	// quiet is how long a name must have been left alone for the dates of what was there before to be over, in nanoseconds.
	quiet = int64(2 * time.Second)
)

// recorded makes a note of the evidence in a record, if that still stands.
//
// A collection that was moved, or exchanged, has a time of change that is later than that of the version. What is mounted on
// one has not; so such evidence ends with the first file that is shown on another mount.
func (d *Dates) recorded(name string, v Version, m moment, around func() Around) (note, bool) {
	r, ok := d.x.Lookup(v.Of)
	if !ok || m.mounted || r.Dates.earlier == forever || r.Dates.name == 0 || r.Dates.name != nameID(name) {
		return note{}, false
	}
	if strings.Contains(name, "/") || !v.Traced {
		a := around()
		if !a.Sure || a.Moved > v.Of.Changed+stampSlack || v.Of.Changed/int64(time.Second) <= m.back {
			return note{}, false
		}
	}
	n, c := newNote(r.Dates.earlier), d.content(v)
	n.forgot, n.seen, n.look, n.tag, n.modified = true, true, c.look, c.tag, c.modified
	n.show(c, AsIs, m.now)
	n.since = max(m.floor, c.changed)
	if !m.alone {
		n.since = forever
	}
	return n, true
}

// base returns what is known of a name at which a version was seen. ok is false where that is nothing.
func (d *Dates) base(name string, v *Version, m moment, around func() Around) (n note, ok bool) {
	if m.alone {
		if n, ok := d.notes.Get(d.key(name)); ok {
			return n, true
		}
	}
	if v != nil {
		if n, ok := d.recorded(name, *v, m, around); ok {
			return n, true
		}
	}
	if !m.alone {
		return note{}, false
	}
	return newNote(m.floor), true
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

// A Change is one of what is at a name, while a commit makes it.
type Change struct {
	d    *Dates
	name string
	m    moment
	n    note
}

// Begin begins a change of a name, inside a commit. over is what is there, nil for nothing. staged, which may be called, is when the
// file was changed that is about to come there, in nanoseconds since 1970; 0 where that was not now.
func (d *Dates) Begin(name string, over *Version, around func() Around, staged func() int64) *Change {
	m := d.moment()
	n, ok := d.base(name, over, m, around)
	if !ok {
		// What another process has shown here it has shown while it was here.
		n = newNote(m.high + 1)
		if isQuiet(over, around(), staged()) {
			n = newNote(m.high - 1)
			if m.high > m.now {
				n = newNote(m.high) // the clock was set back
			}
		}
	}
	if over != nil {
		c := d.content(*over)
		n.see(c, m.high, m.ahead)
		n.show(c, Showing(!m.alone), m.now) // it may not have been, but by another process it can
	}
	return &Change{d, name, m, n}
}

// isQuiet reports whether nothing has happened at a name for a while, before something was staged. Both are told by the clock of
// the disk.
func isQuiet(over *Version, a Around, staged int64) bool {
	before := staged - quiet
	return before > 0 && a.Sure && a.Parent < before && a.Moved < before && (over == nil || over.Of.Changed < before)
}

// Next returns the modification time for a new version: from a time on, the first second that tells it from others, or the next
// one, where that is impossible.
func (c *Change) Next(from time.Time) time.Time {
	date := c.n.next(from.Unix(), c.m.now, c.m.ahead)
	if date > from.Unix() {
		return time.Unix(date, 0)
	}
	return from
}

// Done ends a change by which a version has come to the name, and returns what its record is to say.
func (c *Change) Done(v Version, how Showing) Evidence {
	content := c.d.content(v)
	c.n.see(content, c.m.high, c.m.ahead)
	c.n.since = max(c.n.since, c.m.high) // its time of change does not say so where an exchange does not move that, as on XFS
	return c.end(v, content, how)
}

// Same ends a change that has left the content what it was, and returns what its record is to say.
func (c *Change) Same(v Version, how Showing) Evidence {
	content := c.d.content(v)
	c.n.same(content, c.m.ahead)
	return c.end(v, content, how)
}

func (c *Change) end(v Version, content content, how Showing) Evidence {
	c.n.show(content, how, c.m.now)
	if c.m.broken {
		c.d.notes.Delete(c.d.key(c.name))
		return Evidence{nameID(c.name), forever}
	}
	c.d.notes.Put(c.d.key(c.name), c.n)
	return c.n.evidence(c.name, content, c.m.high)
}

// Close says for later processes what time it is.
func (d *Dates) Close() error {
	h := d.x.home.Load()
	if h == nil {
		return nil
	}
	n, ok := h.board.read()
	if !ok {
		return errors.New("the board of the index cannot be read")
	}
	d.publish(h, n.high)
	return nil
}
