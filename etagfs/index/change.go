package index

import (
	"strings"
	"time"
)

// Around is what is known of the collections on the way to a name.
type Around struct {
	// Sure: all of them were looked at, and none is a link.
	Sure bool
	// Parent is when the collection that has the name was changed last, in nanoseconds since 1970. Moved is when the
	// last of those was changed in which the name, or one of the collections, can have been moved without a trace in
	// itself: all but the root; and the root too where an exchange leaves no trace.
	Parent, Moved int64
}

const (
	// stampSlack is how far apart the time stamps can be of a file that a commit names and of its collection, in
	// nanoseconds. Where it takes longer, the evidence does not stand.
	stampSlack = int64(200 * time.Microsecond)
	// quiet is how long a name must have been left alone for the dates of what was there before to be over, in
	// nanoseconds.
	quiet = int64(2 * time.Second)
)

// recorded makes a note of the evidence in a record, if that still stands.
//
// A collection that was moved, or exchanged, has a time of change that is later than that of the version. What is
// mounted on one has not; so such evidence ends with the first file that is shown on another mount.
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

// A Change is one of what is at a name, while a commit makes it.
type Change struct {
	d     *Dates
	name  string
	m     moment
	n     note
	begun note // as it was in memory; see Change.end
}

// Begin begins a change of a name, inside a commit. over is what is there, nil for nothing. staged, which may be
// called, is when the file was changed that is about to come there, in nanoseconds since 1970; 0 where that was not
// now.
func (d *Dates) Begin(name string, over *Version, around func() Around, staged func() int64) *Change {
	m := d.moment()
	begun, _ := d.notes.Get(d.key(name))
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
	return &Change{d, name, m, n, begun}
}

// isQuiet reports whether nothing has happened at a name for a while, before something was staged. Both are told by
// the clock of the disk.
func isQuiet(over *Version, a Around, staged int64) bool {
	before := staged - quiet
	return before > 0 && a.Sure && a.Parent < before && a.Moved < before && (over == nil || over.Of.Changed < before)
}

// Next returns the modification time for a new version: from a time on, the first second that tells it from others,
// or the next one, where that is impossible.
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
	// The time of change does not say so where an exchange does not move it, as on XFS.
	c.n.since = max(c.n.since, c.m.high)
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
	c.d.notes.Update(c.d.key(c.name), func(now note, ok bool) (note, bool) {
		if !ok {
			c.n.earlier = max(c.n.earlier, c.d.risen(c.m.floor)) // it may have made room since
		} else if now != c.begun {
			c.n.join(now, content) // readers do not wait, and have shown something since
		}
		c.begun = c.n
		return c.n, true
	})
	return c.n.evidence(c.name, content, c.m.high)
}
