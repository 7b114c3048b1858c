package quota

import (
	"slices"
	"time"

	"r-seed-1f3a754f.example/ifmatch/tree"
)

// maxMarks bounds how many collections wait to be listed. If there are more, the whole tree is.
const maxMarks = 4096

// dirt is the collections that are to be listed, because something may have changed there.
type dirt struct {
	marks map[string]bool // with all below them
	order []string
	wake  chan struct{} // has a value if there is something
}

func newDirt() *dirt { return &dirt{marks: map[string]bool{}, wake: make(chan struct{}, 1)} }

// mark has a collection listed. deep: with all below it.
func (d *dirt) mark(name string, deep bool) {
	if was, ok := d.marks[name]; ok {
		d.marks[name] = was || deep
		return
	}
	if len(d.marks) >= maxMarks {
		clear(d.marks)
		d.order, name, deep = d.order[:0], "", true
	}
	d.marks[name] = deep
	d.order = append(d.order, name)
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// next takes the collection that has waited longest.
func (d *dirt) next() (name string, deep, ok bool) {
	if len(d.order) == 0 {
		return "", false, false
	}
	name = d.order[0]
	d.order = d.order[1:]
	deep = d.marks[name]
	delete(d.marks, name)
	return name, deep, true
}

// A mark is a collection that is listed, or will be.
type mark struct {
	name string
	deep bool // with all below it
	set  bool
}

// moved returns the mark that a MOVE of a collection makes necessary: the listing of m would not find the moved
// collection, or not all of it. The zero value: none.
func (m mark) moved(from, to string) mark {
	switch {
	case tree.Within(m.name, from):
		return mark{to + m.name[len(from):], m.deep, true}
	case m.deep && tree.Below(from, m.name):
		return mark{to, true, true}
	}
	return mark{}
}

// remark has a collection listed under its new name if its listing is under way or due under the former one. The mutex
// is held. There are at most maxMarks marks.
func (l *ledger) remark(from, to string) {
	var more []mark
	if l.listed.set {
		more = append(more, l.listed.moved(from, to))
	}
	for name, deep := range l.dirty.marks {
		if !deep || !tree.Within(to, name) { // else it is found there
			more = append(more, mark{name, deep, true}.moved(from, to))
		}
	}
	for _, m := range more {
		if m.set {
			l.dirty.mark(m.name, m.deep)
		}
	}
}

// Bounds of [ownChanges].
const (
	maxOwn  = 4096
	ownTime = 30 * time.Second
)

// ownChanges are the latest operations that have ended before the feed has told of them. Without it, each of them would
// have its collection listed.
type ownChanges []ownChange

type ownChange struct {
	name string
	from string // of a collection that was moved
	at   time.Time
}

// add notes an operation. from is the former name of a collection that was moved, or empty.
func (o *ownChanges) add(name, from string, at time.Time) {
	all := *o
	for len(all) > 0 && (len(all) >= maxOwn || at.Sub(all[0].at) > ownTime) {
		all = all[1:]
	}
	*o = append(all, ownChange{name, from, at})
}

// since returns where a name leads now, of which the feed tells: operations may have moved it that the feed has not
// come to.
func (o ownChanges) since(name string) string {
	for _, c := range o {
		if c.from != "" && tree.Within(name, c.from) {
			name = c.name + name[len(c.from):]
		}
	}
	return name
}

// is reports whether a change that the feed tells is one of those, and forgets it then.
func (o *ownChanges) is(name string) bool {
	i := slices.IndexFunc(*o, func(c ownChange) bool { return c.name == name })
	if i >= 0 {
		*o = slices.Delete(*o, i, i+1)
	}
	return i >= 0
}

// aged are the bytes in the history that count for limits with History.
type aged struct {
	kept  map[string]int64 // by the name of the limit
	known bool             // it was read once
	since map[string]int64 // of operations since the history is being read (nil: it is not)
}

// add counts bytes that an operation has given to the history.
func (h *aged) add(name string, bytes int64) {
	h.kept[name] = max(h.kept[name]+bytes, 0)
	if h.since != nil {
		h.since[name] = max(h.since[name]+bytes, 0)
	}
}

// begin is called before the history is read.
func (h *aged) begin() { h.since = map[string]int64{} }

// took sets the sums that were read. The bytes that operations have given meanwhile may be in them. They count once
// more until the next time.
func (h *aged) took(read map[string]int64) {
	for name, bytes := range h.since {
		read[name] += bytes
	}
	h.kept, h.since, h.known = read, nil, true
}
