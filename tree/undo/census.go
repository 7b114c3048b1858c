package undo

import (
	"maps"
	"slices"

	"r-seed-1f3a754f.example/ifmatch/tree"
)

// A Census has the names that existed at a time, as far as the changes of the journal before that time tell. So a
// restore sees a name that is gone without any change that tells of it: a program has removed it while no server was
// there to see that.
type Census struct {
	root node        // of which set says that the name existed
	last tree.Change // of ours
}

// Add takes in a change. The oldest comes first.
func (c *Census) Add(change tree.Change) {
	if change.Cause != tree.CauseDisk || change.Name == c.last.Name { // the watcher has looked at it
		c.last = change
	}
	n := &node{}
	switch {
	case change.Again: // any of its members may be gone
		n = c.root.take(change.Name)
		n.kids = nil
	case change.From != "":
		n = c.root.take(change.From)
	case change.State.Exists && change.State.Collection && !change.Deep():
		n = c.root.take(change.Name)
	}
	if n.set = change.State.Exists; !n.set {
		c.root.take(change.Name)
		return
	}
	*c.root.make(change.Name) = *n
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
		c.root.take(last.From)
	}
	c.root.take(last.Name)
	return nil
}

// findGone leaves the names that were there then, that are not there now, and of which no change tells.
func (p *planner) findGone(name string) error {
	if err := p.doubtLast(); err != nil {
		return err
	}
	at := &p.known.Before.root
	n, told := p.model.root, false
	for base := range segments(name) {
		at, n = at.kid(base), n.kid(base)
		told = told || n != nil && n.left != ""
	}
	if at == nil || told {
		return nil
	}
	return p.findGoneAt(name, at)
}

func (p *planner) findGoneAt(name string, at *node) error {
	if err := p.ctx.Err(); err != nil {
		return err
	}
	n, to := p.model.at(name)
	if n != nil && n.left != "" || to.kind == unknown {
		return nil
	}
	if at.set && name != "" {
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
