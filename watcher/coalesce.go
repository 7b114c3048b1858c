package watcher

import (
	"container/list"
	"strings"
	"time"
)

// A coalescer turns bursts into single events. It does no I/O and reads no clock.
//
// For each name at most one Removed and one Changed wait, in this order. A Removed deletes the waiting events of its
// name and of all names below it, so the removal of a tree is one event. An Overflow deletes all waiting events, and no
// others are added until it is handed on. An event below a name that waits with a Removed is handed on after that
// Removed.
//
// The names form a tree, so that the cost of deleting events depends only on their number. Two queues, ordered by the
// last and by the first event of a name, have the events that are due at their front.
type coalescer struct {
	quiet, most time.Duration
	root        *waiting
	byLast      list.List
	byFirst     list.List
}

// waiting is a name with waiting events, or a name above such a name.
type waiting struct {
	parent                     *waiting
	base                       string
	below                      map[string]*waiting
	overflow, removed, changed bool
	first, last                time.Time
	inLast, inFirst            *list.Element // nil: no event waits at the name itself
}

func newCoalescer(quiet, most time.Duration) *coalescer {
	return &coalescer{quiet: quiet, most: most, root: new(waiting)}
}

// add notes an event that came at the time now.
func (c *coalescer) add(ev Event, now time.Time) {
	if ev.Op == Overflow {
		c.swallow(c.root)
		c.root.overflow, c.root.removed, c.root.changed = true, false, false
		c.touch(c.root, now)
		return
	}
	if c.root.overflow {
		return
	}
	p := c.at(ev.Name)
	switch ev.Op {
	case Removed:
		c.swallow(p)
		p.removed, p.changed = true, false
	case Changed:
		p.changed = true
	}
	c.touch(p, now)
}

// due returns when the next event has to be handed on.
func (c *coalescer) due() (time.Time, bool) {
	if c.byLast.Len() == 0 {
		return time.Time{}, false
	}
	quiet := c.byLast.Front().Value.(*waiting).last.Add(c.quiet)
	most := c.byFirst.Front().Value.(*waiting).first.Add(c.most)
	if most.Before(quiet) {
		return most, true
	}
	return quiet, true
}

// take removes and returns the events that are due at the time now.
func (c *coalescer) take(now time.Time) []Event {
	var batch []Event
	for c.byLast.Len() > 0 {
		p := c.byLast.Front().Value.(*waiting)
		if p.last.Add(c.quiet).After(now) {
			p = c.byFirst.Front().Value.(*waiting)
			if p.first.Add(c.most).After(now) {
				break
			}
		}
		batch = c.hand(p, batch)
	}
	return batch
}

// hand appends the events of p to a batch. A removal above p goes first: it is older, or it would have deleted them.
func (c *coalescer) hand(p *waiting, batch []Event) []Event {
	for q := p.parent; q != nil; q = q.parent {
		if q.removed {
			batch = c.hand(q, batch)
			break
		}
	}
	name := p.name()
	if p.overflow {
		batch = append(batch, Event{name, Overflow})
	}
	if p.removed {
		batch = append(batch, Event{name, Removed})
	}
	if p.changed {
		batch = append(batch, Event{name, Changed})
	}
	p.overflow, p.removed, p.changed = false, false, false
	c.dequeue(p)
	p.prune()
	return batch
}

// at returns the place of name. It makes the place if there is none.
func (c *coalescer) at(name string) *waiting {
	p := c.root
	for name != "" {
		var base string
		base, name, _ = strings.Cut(name, "/")
		q := p.below[base]
		if q == nil {
			if p.below == nil {
				p.below = make(map[string]*waiting)
			}
			q = &waiting{parent: p, base: base}
			p.below[base] = q
		}
		p = q
	}
	return p
}

func (c *coalescer) touch(p *waiting, now time.Time) {
	p.last = now
	if p.inLast != nil {
		c.byLast.MoveToBack(p.inLast)
		return
	}
	p.first = now
	p.inLast, p.inFirst = c.byLast.PushBack(p), c.byFirst.PushBack(p)
}

func (c *coalescer) dequeue(p *waiting) {
	if p.inLast != nil {
		c.byLast.Remove(p.inLast)
		c.byFirst.Remove(p.inFirst)
		p.inLast, p.inFirst = nil, nil
	}
}

// swallow deletes the events below p.
func (c *coalescer) swallow(p *waiting) {
	for _, q := range p.below {
		c.dequeue(q)
		c.swallow(q)
	}
	p.below = nil
}

// prune takes p, and the places above it, out of the tree if they hold no events.
func (p *waiting) prune() {
	for p.parent != nil && p.inLast == nil && len(p.below) == 0 {
		delete(p.parent.below, p.base)
		p = p.parent
	}
}

func (p *waiting) name() string {
	if p.parent == nil {
		return ""
	}
	return join(p.parent.name(), p.base)
}
