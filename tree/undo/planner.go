package undo

import (
	"slices"

	"r-seed-1f3a754f.example/ifmatch/tree"
)

// A planner compares the model with the disk. The steps come in this order: resources are brought or moved back, the
// collections before their members. A step that needs a name which is to become free by a move comes after that move.
// Last, new resources are removed, the members before their collections.
type planner struct {
	*replay
	known Known
	plan  *Plan

	steps, removals []Step
	waiting         []waiting
	forced          bool // the name that is walked does not wait

	sources  map[string]string // the present names of resources that are moved back, with their former names
	moved    map[string]string // the same, for those that have been moved by the steps so far
	archived map[string]int    // present names that a MoveBack replaces, and that step, from 1 on
}

// make makes the plan for a name.
func (p *planner) make(name string) error {
	var out []string // present names of resources that have come from elsewhere
	p.model.each(func(was string, n *node) {
		if n.ref.kind != live || n.ref.name == was || n.left != "" {
			return
		}
		now := n.ref.name
		switch {
		case tree.Within(was, name):
			p.sources[now] = was
		case tree.Within(now, name):
			p.sources[now] = was
			out = append(out, now)
		}
	})
	slices.Sort(out)
	for _, now := range out {
		if err := p.moveOut(now); err != nil {
			return err
		}
	}
	n, want := p.model.at(name)
	existed, err := p.replay.is(want)
	if err != nil {
		return err
	}
	if p.plan.Existed = existed; existed {
		if ok, err := p.makeParents(name); err != nil || !ok {
			return err
		}
	}
	if _, err := p.walk(name, n, want, place{name, true}); err != nil {
		return err
	}
	if err := p.walkWaiting(); err != nil {
		return err
	}
	if err := p.findGone(name); err != nil {
		return err
	}
	p.plan.Steps = slices.Concat(p.steps, p.removals)
	return nil
}

// A waiting is a walk that waits until the resources in its place have been moved away.
type waiting struct {
	at    string
	n     *node
	want  ref
	here  place
	whole bool // those below the place too
}

// isBlocked reports whether resources in a place are still to be moved away. whole: those below the place too.
func (p *planner) isBlocked(here place, whole bool) bool {
	if !here.ok {
		return false
	}
	if !whole {
		return p.isPending(here.name)
	}
	for source := range p.sources {
		if tree.Within(source, here.name) && p.isPending(source) {
			return true
		}
	}
	return false
}

// isPending reports whether the resource with a present name is still to be moved away.
func (p *planner) isPending(now string) bool {
	_, moves := p.sources[now]
	_, moved := p.moved[now]
	_, archived := p.archived[now]
	return moves && !moved && !archived
}

// walkWaiting takes the walks that wait. If each waits for another, as where two names were exchanged, the first one
// does not wait any longer.
func (p *planner) walkWaiting() error {
	for len(p.waiting) > 0 {
		all := p.waiting
		p.waiting = nil
		walked := false
		for i, w := range all {
			p.forced = !walked && i == len(all)-1
			if !p.forced && p.isBlocked(w.here, w.whole) {
				p.waiting = append(p.waiting, w)
				continue
			}
			walked = true
			if _, err := p.walk(w.at, w.n, w.want, w.here); err != nil {
				return err
			}
		}
	}
	return nil
}

func (p *planner) emit(s Step) { p.steps = append(p.steps, s) }

// now returns the present name of a resource after the steps so far. archived is the step that has replaced it, or 0.
func (p *planner) now(name string) (now string, archived int, below string) {
	for above, rest := name, ""; ; {
		if to, ok := p.moved[above]; ok {
			return join(to, rest), 0, ""
		}
		if step, ok := p.archived[above]; ok {
			return "", step, rest
		}
		if above == "" {
			return name, 0, ""
		}
		dir, base := tree.Split(above)
		above, rest = dir, join(base, rest)
	}
}

// moveOut moves a resource back that has come from outside.
func (p *planner) moveOut(now string) error {
	was := p.sources[now]
	info, err := p.disk.Lstat(p.ctx, now)
	if err != nil || !info.Exists() {
		return err
	}
	there, err := p.disk.Lstat(p.ctx, was)
	if err != nil {
		return err
	}
	dir, err := p.disk.Lstat(p.ctx, parent(was))
	if err != nil {
		return err
	}
	switch {
	case there.Exists():
		p.plan.leave(now, "it came from "+was+", where something else is now")
	case dir.Kind != Collection:
		p.plan.leave(now, "it came from "+was+", of which the directory is gone")
	default:
		p.emit(Step{Op: MoveBack, Name: was, From: now, Seen: info})
		p.moved[now] = was
	}
	return nil
}

// makeParents makes the collections above a name. ok is false if that is not possible.
func (p *planner) makeParents(name string) (ok bool, err error) {
	for _, above := range tree.Prefixes(parent(name))[1:] {
		info, err := p.disk.Lstat(p.ctx, above)
		if err != nil {
			return false, err
		}
		switch {
		case info.Kind == Collection:
			if _, moves := p.sources[above]; !moves {
				continue
			}
			p.plan.leave(name, "the directory "+above+" is to be restored first, as it was moved")
			return false, nil
		case info.Exists():
			p.plan.leave(name, above+" is no directory now: restore that first")
			return false, nil
		}
		s := Step{Op: MakeDir, Name: above, Dirs: 1}
		if _, want := p.model.at(above); want.kind == kept {
			k, found, err := p.replay.version(want)
			if err != nil {
				return false, err
			}
			if found && k.Kind == Collection {
				s.Kept = k
			}
		}
		p.emit(s)
	}
	return true, nil
}

// A place is the present name of the resource at a name, after the moves of the plan.
type place struct {
	name string
	ok   bool // there is one
}

func (h place) member(base string) place { return place{join(h.name, base), h.ok} }

// look looks at a place. A resource that the plan moves away does not count.
func (p *planner) look(at string, here place) (Info, error) {
	if !here.ok {
		return Info{}, nil
	}
	if was, moves := p.sources[here.name]; moves && was != at {
		return Info{}, nil
	}
	return p.disk.Lstat(p.ctx, here.name)
}
