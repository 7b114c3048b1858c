package index

import (
	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

// A Version is one version of a file, with the properties that [Dates] need. Seconds are since 1970.
type Version struct {
	Of       vfs.Fingerprint
	Tag      tree.ETag // "": not known
	Modified int64     // the second of its modification time
	Changed  int64     // the second of its time of change, plus the coarseness of that time. 0: not known
	// Traced: an exchange of the name with another one changes the file's time of change.
	Traced bool
	// Mounted: the file is on another mount than the root.
	Mounted bool
	// Vague: the time of change is so coarse, or so young, that a later version can have the same fingerprint.
	Vague bool
}

// A Showing is the way in which a modification time is shown.
type Showing bool

const (
	// AsValidator: as Last-Modified, which the answer leaves out as long as the time lies in the future.
	AsValidator Showing = false
	// AsIs: as a property, or because the client that gets the answer has asked for that time.
	AsIs Showing = true
)

// A note has the dates of one name. Dates are seconds since 1970.
//
// Dates that lay in the future when they were shown are kept apart from the others. A date can lie far in the future.
// If it were kept as the latest shown date, no date would prove a version of the name until then.
type note struct {
	seen      bool   // a version was seen at the name
	look, tag uint64 // hashes of the fingerprint and the tag of the version that was seen last. 0: not known
	modified  int64  // the date of that version
	shown     int64  // the latest date with which that version was shown
	told      int64  // the future date with which that version was shown last
	// The dates with which any other version can have been shown, and the future ones of this version before told.
	tree.Sent
	since  int64 // the second in which that version came to the name, or a later second
	forgot bool  // other versions can also have been shown with the future dates in the shared state
}

// A content is the set of properties that tell a version from another version of the name.
type content struct {
	look, tag         uint64
	modified, changed int64
}

// newNote returns a note on a name of which only this is known: no date after earlier was shown, except for dates in
// ahead.
func newNote(earlier int64) note {
	forgot := earlier != never
	return note{shown: never, told: never, since: earlier, forgot: forgot, Sent: tree.Sent{Earlier: earlier, Ahead: tree.NoTime}}
}

// is reports whether the note is about this content. A file that is touched keeps its tag. A file whose tag is not
// known keeps its fingerprint.
func (n *note) is(c content) bool {
	if n.tag != 0 && c.tag != 0 {
		return n.tag == c.tag
	}
	return n.look != 0 && n.look == c.look
}

// see notes that the name has this content now. high is the highest time that the clock has shown. ahead are the dates
// of the shared state.
func (n *note) see(c content, high int64, ahead []tree.Span) {
	if n.is(c) {
		n.same(c, ahead)
		return
	}
	if n.seen {
		n.Earlier, n.shown = max(n.Earlier, n.shown), never
		if n.told != never {
			n.Ahead, n.told = n.Ahead.With(n.told), never
		}
		n.since = max(n.since, high) // the time of change does not say when the version came to the name
	}
	n.seen, n.look, n.tag = true, c.look, c.tag
	n.since = max(n.since, c.changed)
	n.date(c.modified, ahead)
}

// same notes that the name still has the same content.
func (n *note) same(c content, ahead []tree.Span) {
	n.look = c.look
	if c.tag != 0 {
		n.tag = c.tag
	}
	if c.modified != n.modified {
		n.date(c.modified, ahead)
	}
}

// date notes a new date of the version.
func (n *note) date(modified int64, ahead []tree.Span) {
	n.modified = modified
	if n.forgot && tree.AnyHas(ahead, modified) {
		n.Ahead = n.Ahead.With(modified)
	}
}

// show notes that the version is shown with its own date.
func (n *note) show(c content, how Showing, now int64) {
	switch {
	case c.modified <= now:
		n.shown = max(n.shown, c.modified)
	case how == AsIs && n.told != c.modified:
		if n.told != never {
			n.Ahead = n.Ahead.With(n.told)
		}
		n.told = c.modified
	}
}

// has reports whether the note already says that this content is shown.
func (n *note) has(c content, how Showing, now int64) bool {
	if !n.is(c) || n.modified != c.modified {
		return false
	}
	after := *n
	after.same(c, nil)
	after.show(c, how, now)
	return after == *n
}

// join adds the facts of another note on the same name, which was made meanwhile. The name has this content now.
func (n *note) join(other note, c content) {
	n.Sent, n.since, n.forgot = n.Join(other.Sent), max(n.since, other.since), n.forgot || other.forgot
	if other.is(c) && other.modified == c.modified {
		n.shown = max(n.shown, other.shown)
	} else {
		n.Earlier = max(n.Earlier, other.shown)
	}
	switch {
	case other.told == never || other.told == n.told:
	case n.told == never && other.is(c):
		n.told = other.told
	default:
		n.Ahead = n.Ahead.With(other.told)
	}
}

// next returns the first date, beginning with from, that was not shown for an earlier version and so tells a new
// version from those. It returns no date later than the next second, even if that date does not tell them apart.
func (n *note) next(from, now int64, ahead []tree.Span) int64 {
	for date := from; date <= now; date++ {
		wasAhead := date == n.told || n.Ahead.Has(date) || n.forgot && tree.AnyHas(ahead, date)
		if date > n.Earlier && date > n.shown && !wasAhead {
			return date
		}
	}
	return now + 1
}

// evidence returns the evidence for the record of the version, after a change by this process.
func (n *note) evidence(name string, c content, high int64) Evidence {
	earlier := max(n.Bound(c.modified), soon(n.Ahead, high))
	if n.shown != c.modified { // a date that the version had before its present one
		earlier = max(earlier, n.shown)
	}
	return Evidence{nameID(name), earlier}
}

// soon returns the last second of a span that the clock has reached, or would reach next, by the highest time that it
// has shown. It returns never if there is none. The shared state has the later seconds.
func soon(s tree.Span, high int64) int64 {
	if s.First > high+1 {
		return never
	}
	return min(s.Last, high+1)
}

// last returns the latest date that can have been shown for the name and is not in the shared state.
func (n *note) last(high int64) int64 {
	return max(n.Earlier, n.shown, soon(n.Ahead, high), soon(tree.Span{First: n.told, Last: n.told}, high))
}

// dates returns which dates prove the version.
func (n *note) dates(v Version, ahead []tree.Span) tree.DateRange {
	others := n.Sent
	if v.Vague && v.Tag == "" {
		others.Earlier = max(others.Earlier, v.Changed) // it may be another version with the same time of change
	}
	dates := others.Range(v.Modified, n.since)
	dates.Unsure = v.Tag == ""
	if n.forgot {
		dates.Ahead = append(dates.Ahead, ahead...)
	}
	return dates
}
