package undo

import (
	"maps"
	"slices"
	"strings"

	"r-seed-1f3a754f.example/ifmatch/tree"
)

// A Census has the names that existed at a time, as far as the changes of the journal before that time tell. So a
// restore sees a name that is gone without any change that tells of it: a program has removed it while no server was
// there to see that.
type Census struct {
	root counted
	last tree.Change // of ours
}

// A counted is a name of a Census.
type counted struct {
	there bool
	kids  map[string]*counted
}

// Add takes in a change. The oldest comes first.
func (c *Census) Add(change tree.Change) {
	if change.Cause != tree.CauseDisk || change.Name == c.last.Name { // the watcher has looked at it
		c.last = change
	}
	n := &counted{}
	switch {
	case change.Again: // any of its members may be gone
		n = c.take(change.Name)
		n.kids = nil
	case change.From != "":
		n = c.take(change.From)
	case change.State.Exists && change.State.Collection && !change.Deep():
		n = c.take(change.Name)
	}
	if n.there = change.State.Exists; !n.there {
		c.take(change.Name)
		return
	}
	c.put(change.Name, n)
}

// take removes a name with all below it, and returns it.
func (c *Census) take(name string) *counted {
	n := &c.root
	if name == "" {
		whole := *n
		c.root = counted{}
		return &whole
	}
	for base := range strings.SplitSeq(parent(name), "/") {
		if base == "" {
			break
		}
		if n = n.kids[base]; n == nil {
			return &counted{}
		}
	}
	base := name[strings.LastIndexByte(name, '/')+1:]
	taken := n.kids[base]
	if delete(n.kids, base); taken == nil {
		taken = &counted{}
	}
	return taken
}

func (c *Census) put(name string, n *counted) {
	if name == "" {
		c.root = *n
		return
	}
	at := &c.root
	dir, base := parent(name), name[strings.LastIndexByte(name, '/')+1:]
	for above := range strings.SplitSeq(dir, "/") {
		if above == "" {
			break
		}
		at = at.kid(above)
	}
	*at.kid(base) = *n
}

func (n *counted) kid(base string) *counted {
	if n.kids == nil {
		n.kids = map[string]*counted{}
	}
	if n.kids[base] == nil {
		n.kids[base] = &counted{}
	}
	return n.kids[base]
}

// doubtLast takes the last change for no evidence if it may not have been made: the process may have died between the
// entry of a change in the journal and the change. After a MOVE that was made, nothing is at its source.
func (p *planner) doubtLast() error {
	c, last := &p.known.Before, p.known.Before.last
	switch last.Cause {
	case "", tree.CauseDisk, "PROPPATCH":
		return nil
	}
	if last.From != "" {
		_, source := p.model.at(last.From)
		if there, err := p.replay.is(source); err != nil || !there {
			return err
		}
		c.take(last.From)
	}
	c.take(last.Name)
	return nil
}

// findGone leaves the names that were there then, that are not there now, and of which no change tells.
func (p *planner) findGone(name string) error {
	if err := p.doubtLast(); err != nil {
		return err
	}
	at := &p.known.Before.root
	n, told := p.model.root, false
	for base := range strings.SplitSeq(name, "/") {
		if base == "" || at == nil {
			break
		}
		at, n = at.kids[base], n.kid(base)
		told = told || n != nil && n.left != ""
	}
	if at == nil || told {
		return nil
	}
	return p.findGoneAt(name, at)
}

func (p *planner) findGoneAt(name string, at *counted) error {
	if err := p.ctx.Err(); err != nil {
		return err
	}
	n, to := p.model.at(name)
	if n != nil && n.left != "" || to.kind == unknown {
		return nil
	}
	if at.there && name != "" {
		if is, err := p.replay.is(to); err != nil {
			return err
		} else if !is {
			p.plan.leave(name, goneUnseen)
			return nil
		}
	}
	for _, base := range slices.Sorted(maps.Keys(at.kids)) {
		if err := p.findGoneAt(join(name, base), at.kids[base]); err != nil {
			return err
		}
	}
	return nil
}
