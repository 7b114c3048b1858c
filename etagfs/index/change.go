package index

import (
	"strings"
	"time"
)

// Around describes the collections on the way to a name.
type Around struct {
	// Sure: all of these collections were looked at, and none of them is a link.
	Sure bool
	// Parent is when the collection of the name was changed last, in nanoseconds since 1970. Moved is the latest time
	// of change of all collections in which the name, or a collection on the way, can have been moved without a trace
	// in itself. These are all collections but the root, and also the root if an exchange leaves no trace.
	Parent, Moved int64
}

const (
	// stampSlack is how far apart the time stamps of a file that a commit names and of its collection can be, in
	// nanoseconds. If the commit takes longer, its evidence does not count.
	stampSlack = int64(200 * time.Microsecond)
	// quiet is how long a name must have been left alone until the dates of the versions before are over, in
	// nanoseconds.
	quiet = int64(2 * time.Second)
)

// recorded makes a note of the evidence in a record, if that evidence still counts.
//
// If a collection on the way was moved, or exchanged, its time of change is later than that of the version. A mount on
// such a collection leaves no later time of change. So such evidence ends with the first file that is shown on another
// mount than the root.
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

// base returns the note on a name at which a version was seen. ok is false if no such note can be made.
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

// A Change is a change of the version at a name, while a commit makes it.
type Change struct {
	d     *Dates
	name  string
	m     moment
	n     note
	begun note // the note in memory when the change began, see Change.end
	how   Showing
}

// Begin begins a change of a name, inside a commit. over is the version that is there now. nil: there is none. how says
// how the date of the new version is shown. staged may be called. It returns when the staged file that is about to come
// there was changed, in nanoseconds since 1970. It returns 0 if no file was staged.
func (d *Dates) Begin(
	name string, over *Version, how Showing, around func() Around, staged func() int64,
) *Change {
	m := d.moment()
	begun, _ := d.notes.Get(d.key(name))
	n, ok := d.base(name, over, m, around)
	if !ok {
		// Another process has shown a version with this name only while the name had that version.
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
		n.show(c, Showing(!m.alone), m.now) // another process can have shown it, even if this one did not
	}
	return &Change{d, name, m, n, begun, how}
}

// isQuiet reports whether nothing has happened at a name for a while, before a file was staged. The clock of the file
// system gives both times.
func isQuiet(over *Version, a Around, staged int64) bool {
	before := staged - quiet
	return before > 0 && a.Sure && a.Parent < before && a.Moved < before && (over == nil || over.Of.Changed < before)
}

// Next returns the modification time for a new version. It is the first second, beginning with from, that tells the
// version from earlier ones. If there is none until now, it is the next second.
func (c *Change) Next(from time.Time) time.Time {
	date := c.n.next(from.Unix(), c.m.now, c.m.ahead)
	if date > from.Unix() {
		return time.Unix(date, 0)
	}
	return from
}

// Done ends a change that has put a version at the name, and returns the evidence for the record of the version.
func (c *Change) Done(v Version) Evidence {
	content := c.d.content(v)
	c.n.see(content, c.m.high, c.m.ahead)
	// If an exchange leaves the time of change as it is, as on XFS, that time does not say when the version came to the
	// name.
	c.n.since = max(c.n.since, c.m.high)
	return c.end(content)
}

// Same ends a change that has left the content unchanged, and returns the evidence for the record of the version.
func (c *Change) Same(v Version) Evidence {
	content := c.d.content(v)
	c.n.same(content, c.m.ahead)
	return c.end(content)
}

func (c *Change) end(content content) Evidence {
	c.n.show(content, c.how, c.m.now)
	if c.m.broken {
		c.d.notes.Delete(c.d.key(c.name))
		return Evidence{nameID(c.name), forever}
	}
	c.d.notes.Update(c.d.key(c.name), func(now note, ok bool) (note, bool) {
		if !ok {
			c.n.Earlier = max(c.n.Earlier, c.d.risen(c.m.floor)) // the note may have been dropped from the cache since
		} else if now != c.begun {
			c.n.join(now, content) // readers do not wait, and have shown a version since
		}
		c.begun = c.n
		return c.n, true
	})
	return c.n.evidence(c.name, content, c.m.high)
}
