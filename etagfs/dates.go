package etagfs

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math"
	"sync"
	"time"

	"ifmatch/fs"
	"ifmatch/tree"
)

// dates remembers of each name with which modification dates its content was shown, so that a date that a client brings
// back can be told from the same date of other content (see [tree.DateRange]). It is what a date cannot say of
// itself: it has whole seconds, and anybody can set it.
//
// It works by what is seen, not by what is done: whoever shows a State has it noted first, and when a look finds
// other content than was noted last, whatever was shown with that counts as earlier. So it does not matter how the
// content came there: by PUT, COPY or MOVE, with a collection above it, or behind our back. A name that is gone stays
// noted.
type dates struct {
	now    func() time.Time
	report func(error)
	kept   keeper

	mu     sync.Mutex
	failed int64 // when a note could not be read or kept last, in seconds since 1970
	unkept span  // the dates that had not come, of notes that could not be kept
}

// A note is what is remembered of one name. Dates are seconds since 1970.
//
// Those that had not come when they were shown are apart from the others. A date can lie far ahead, and if it were the
// latest that was shown, no date would prove anything of the name until then.
type note struct {
	name      uint64 // a hash of it
	look, tag uint64 // of the content that was seen last: hashes of its fingerprint and its tag; 0 where not known
	shown     int64  // the latest date with which that was shown
	told      int64  // the date with which that was shown last before it had come
	earlier   int64  // the latest date with which any other content of the name was shown
	ahead     span   // those with which any other was shown before they had come, or that one with another told
	since     int64  // the second in which the content came to the name, or a later one
}

// never is a date before all others.
const never = math.MinInt64

// A span is the time from one date to another.
type span struct{ from, to int64 }

// noTime is the span without a date in it.
var noTime = span{math.MaxInt64, never}

func (s span) has(date int64) bool { return s.from <= date && date <= s.to }

// join returns what is in either, and between.
func (s span) join(other span) span { return span{min(s.from, other.from), max(s.to, other.to)} }

// with returns a span with one more date in it, unless that is never.
func (s span) with(date int64) span {
	if date == never {
		return s
	}
	return s.join(span{date, date})
}

// content is what tells one content of a name from another.
type content struct {
	look, tag         uint64 // as in a note
	modified, changed int64  // by the disk, in seconds
}

// stampSlack is how far the time stamps of a file system can be behind the clock: they are of its last tick.
const stampSlack = 20 * time.Millisecond

func contentOf(info fs.Info, tag tree.ETag) content {
	c := content{modified: info.ModTime().Unix(), changed: never}
	if tag != "" {
		k := knownBy(tag)
		c.tag = max(binary.LittleEndian.Uint64(k.sha256[:]), 1)
	}
	if info.Inode != 0 {
		// Not the device, whose number may be another after the next boot.
		var b []byte
		for _, n := range []int64{int64(info.Inode), info.Born, info.Size, info.Modified, info.Changed} {
			b = binary.LittleEndian.AppendUint64(b, uint64(n))
		}
		c.look = hash64(b)
	}
	if info.Changed != 0 {
		c.changed = time.Unix(0, info.Changed).Add(stampSlack).Unix()
	}
	return c
}

// hash64 is never 0.
func hash64(b []byte) uint64 {
	sum := sha256.Sum256(b)
	return max(binary.LittleEndian.Uint64(sum[:]), 1)
}

// is reports whether the note is about this content. A file that is touched keeps its tag, and one whose tag nobody has
// asked for its fingerprint.
func (n *note) is(c content) bool {
	if n.tag != 0 && c.tag != 0 {
		return n.tag == c.tag
	}
	return n.look != 0 && n.look == c.look
}

// see notes that the name has this content now.
func (n *note) see(c content, now int64) {
	if n.is(c) {
		n.look = c.look
		if c.tag != 0 {
			n.tag = c.tag
		}
		return
	}
	n.earlier, n.shown = max(n.earlier, n.shown), never
	n.ahead, n.told = n.ahead.with(n.told), never
	n.look, n.tag = c.look, c.tag
	if c.changed > n.since {
		n.since = c.changed
	} else {
		// It came without a time stamp of its own, such as with a collection above it.
		n.since = max(n.since, now)
	}
}

// A showing is how a modification time is shown.
type showing bool

const (
	asValidator showing = false // as Last-Modified, which is left out as long as it has not come
	asIs        showing = true  // as a property, or because who is told has asked for it
)

// shownFor returns how the time of what a client has written is shown, if that has asked for one (not zero).
func shownFor(asked time.Time) showing { return showing(!asked.IsZero()) }

// show notes that the name has this content now, and that it is shown with its own date.
func (n *note) show(c content, how showing, now int64) {
	n.see(c, now)
	switch {
	case c.modified <= now:
		n.shown = max(n.shown, c.modified)
	case how == asIs && n.told != c.modified:
		n.ahead, n.told = n.ahead.with(n.told), c.modified
	}
}

// next returns the first date, from the given one on, that tells new content from what was shown before, or can have been,
// in place of what is there; but none later than the next second, even where that does not tell.
func (n *note) next(over *content, from, now int64) int64 {
	last := max(n.earlier, n.shown)
	if over != nil && over.modified <= now {
		last = max(last, over.modified)
	}
	for date := from; date <= now; date++ {
		if date > last && date != n.told && !n.ahead.has(date) {
			return date
		}
	}
	return now + 1
}

func openDates(x *index, now func() time.Time, report func(error)) *dates {
	return &dates{now: now, report: report, kept: openNotes(x), failed: never, unkept: noTime}
}

// show fills in the dates of a state, and notes that they are shown. It says false, and notes nothing, where it is
// unclear whether that is what the name has now: unless sure, content that has come to the name before what was seen there
// last may be the one from before.
func (d *dates) show(state *tree.State, info fs.Info, how showing, sure bool) bool {
	c, clear := contentOf(info, state.Tag), true
	d.fill(state, info, how, func(n *note, now int64) bool {
		if clear = sure || n.is(c) || c.changed > n.since; !clear {
			return false
		}
		n.show(c, how, now)
		return true
	})
	return clear
}

// decide fills in the dates of a state that will not be shown, and notes nothing.
func (d *dates) decide(state *tree.State, info fs.Info) {
	d.fill(state, info, asValidator, func(n *note, now int64) bool {
		n.see(contentOf(info, state.Tag), now)
		return false
	})
}

// outdated fills in the dates of a state that is not what the name has now, and notes that they are shown, as show does.
func (d *dates) outdated(state *tree.State, info fs.Info, how showing) {
	d.fill(state, info, how, func(n *note, now int64) bool {
		if date := info.ModTime().Unix(); date <= now {
			n.earlier = max(n.earlier, date)
		} else if how == asIs {
			n.ahead = n.ahead.with(date)
		}
		return true
	})
}

func (d *dates) fill(state *tree.State, info fs.Info, how showing, change func(n *note, now int64) bool) {
	now, date := d.now().Unix(), info.ModTime().Unix()
	ahead := int64(never)
	if date <= now {
		state.LastModified = modified(info)
	} else if how == asIs {
		ahead = date
	}
	seen := d.change(state.Name, now, ahead, func(n *note) bool { return change(n, now) })
	seen.earlier = max(seen.earlier, d.kept.lost(date))
	if seen.ahead.has(date) {
		seen.earlier = max(seen.earlier, date)
	}
	dates := tree.DateRange{LastModified: modified(info), Earlier: second(seen.earlier), Since: second(seen.since), Unsure: state.Tag == ""}
	if seen.ahead != noTime {
		dates.Ahead = []tree.Span{{First: seen.ahead.from, Last: seen.ahead.to}}
	}
	state.Dates = dates
}

// next returns the modification time for new content of a name, in place of over. It is never more than a second ahead of
// the clock.
func (d *dates) next(name string, over fs.Info) time.Time {
	now := d.now()
	return d.first(name, over, now, now)
}

// placeholder returns the modification time for what a LOCK makes, which is not meant to be seen: a second ago, so that the
// PUT that follows at once has this one for itself.
func (d *dates) placeholder(name string) time.Time {
	now := d.now()
	return d.first(name, fs.Info{}, now.Add(-time.Second), now)
}

func (d *dates) first(name string, over fs.Info, from, now time.Time) time.Time {
	var old *content
	if over.Kind == fs.Regular {
		c := contentOf(over, "")
		old = &c
	}
	date := now.Unix() + 1
	seen := d.change(name, now.Unix(), never, func(n *note) bool {
		date = n.next(old, from.Unix(), now.Unix())
		return false
	})
	if date = max(date, min(seen.earlier, now.Unix())+1); date > from.Unix() { // not all is in the note
		return time.Unix(date, 0)
	}
	return from
}

// carry notes that a change of ours has left the content of a name what it was.
func (d *dates) carry(name string, before, after fs.Info) {
	was, is := contentOf(before, ""), contentOf(after, "")
	d.change(name, d.now().Unix(), never, func(n *note) bool {
		if was.look == 0 || n.look != was.look {
			return false
		}
		n.look = is.look
		return true
	})
}

// change changes a note and returns what it says then, whether that is kept or not. Where notes cannot be read or
// kept, no date proves anything any more that can have been shown by now; nor one that has not come, and is about to be.
func (d *dates) change(name string, now, ahead int64, change func(*note) bool) (seen note) {
	seen = firstNote(0, never, noTime)
	err := d.kept.change(hash64([]byte(name)), func(n *note) bool {
		before := *n
		keep := change(n)
		seen = *n
		return keep && *n != before
	})
	d.mu.Lock()
	defer d.mu.Unlock()
	if err != nil {
		if d.failed == never {
			d.report(fmt.Errorf("noting which dates were shown; those until now prove nothing any more: %w", err))
		}
		d.failed, d.unkept = max(d.failed, now), d.unkept.with(ahead)
	}
	seen.earlier, seen.ahead = max(seen.earlier, d.failed), seen.ahead.join(d.unkept)
	return seen
}

// second is the time of a date in a note.
func second(date int64) time.Time {
	if date == never {
		return time.Time{}
	}
	return time.Unix(date, 0)
}

// stateOf makes a State, to be shown, of a look; mu must have been held since that was taken.
func (s *Store) stateOf(name string, info fs.Info, tag tree.ETag, how showing) tree.State {
	state := s.bareState(name, info, tag)
	if info.Kind == fs.Regular {
		s.dates.show(&state, info, how, true)
	}
	return state
}

// stateOfEarlier is stateOf with a look that was taken some time ago, such as before a hash.
func (s *Store) stateOfEarlier(name string, info fs.Info, tag tree.ETag, how showing) tree.State {
	state := s.bareState(name, info, tag)
	if info.Kind != fs.Regular || s.dates.show(&state, info, how, false) {
		return state
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if now, err := s.fs.Stat(name); err == nil && now.Fingerprint == info.Fingerprint {
		s.dates.show(&state, info, how, true)
	} else {
		s.dates.outdated(&state, info, how)
	}
	return state
}

// stateToDecide makes a State of a file whose tag is not known. Were it noted, it would count as other content than the
// one whose tag is, and be it the same.
func (s *Store) stateToDecide(name string, info fs.Info) tree.State {
	state := s.bareState(name, info, "")
	s.dates.decide(&state, info)
	return state
}

func (s *Store) bareState(name string, info fs.Info, tag tree.ETag) tree.State {
	var resolved *string
	if info.Followed {
		at := info.At
		resolved = &at
	}
	return tree.State{
		Resolved:   resolved,
		Name:       name,
		Exists:     true,
		Collection: info.Kind == fs.Directory,
		Link:       info.Linked,
		Tag:        tag,
		Size:       info.Size,
		Modified:   modified(info),
		Created:    info.BirthTime(),
		Executable: info.Kind == fs.Regular && info.Mode&0o111 != 0,
	}
}

// modified is the modification time of a [tree.State].
func modified(info fs.Info) time.Time {
	t := time.Unix(info.ModTime().Unix(), 0)
	if t.IsZero() {
		t = t.Add(1) // the first second of the year 1, and not a time that nobody knows
	}
	return t
}
