package undo

import (
	"maps"
	"slices"

	"r-seed-1f3a754f.example/ifmatch/tree"
)

// walk plans a name and all names below it. It reports whether the name is free after the steps, if nothing was there
// then.
func (p *planner) walk(at string, n *node, want ref, here place) (free bool, err error) {
	if err := p.ctx.Err(); err != nil {
		return false, err
	}
	forced := p.forced
	p.forced = false
	if n != nil && n.left != "" {
		p.plan.leave(at, n.left)
		return false, nil
	}
	stays := want.kind == live && here.ok && want.name == here.name
	if want.kind != absent && !stays && p.isBlocked(here, false) {
		switch {
		case !forced:
			p.waiting = append(p.waiting, waiting{at, n, want, here, false})
			return false, nil
		case want.kind != live:
			p.plan.leave(at, somethingElse)
			return false, nil
		}
	}
	info, err := p.look(at, here)
	if err != nil {
		return false, err
	}
	switch want.kind {
	case live:
		if stays {
			return !info.Exists(), p.stays(at, n, want, info, here)
		}
		return false, p.moveBack(at, n, want, info, here, forced)
	case absent:
		return p.removeAt(at, n, info, here)
	case implied:
		return false, p.impliedAt(at, n, info, here)
	case kept:
		return false, p.bring(at, n, want, info, here, forced)
	}
	p.plan.leave(at, want.name)
	return false, nil
}

// each walks the members of a name: those that the model has, those on the disk, and others. Of a name at which nothing
// was, those on the disk are all that can be removed.
func (p *planner) each(at string, n *node, want ref, here place, others []Kept) (free bool, err error) {
	names := map[string]bool{}
	if here.ok {
		members, err := p.disk.Members(p.ctx, here.name)
		if err != nil {
			return false, err
		}
		for _, m := range members {
			names[m.Name] = true
		}
	}
	if n != nil && want.kind != absent {
		for base := range n.kids {
			names[base] = true
		}
	}
	for _, m := range others {
		names[m.Name] = true
	}
	free = true
	for _, base := range slices.Sorted(maps.Keys(names)) {
		kid := n.kid(base)
		r := want.member(base)
		if kid != nil && kid.set {
			r = kid.ref
		}
		one, err := p.walk(join(at, base), kid, r, here.member(base))
		if err != nil {
			return false, err
		}
		free = free && one
	}
	return free, nil
}

// stays plans a name that stands for the resource that is there.
func (p *planner) stays(at string, n *node, want ref, info Info, here place) error {
	switch {
	case info.Kind == Collection:
		if info.Born > p.known.At.UnixNano() && (n == nil || !n.explained) && at != "" {
			p.plan.leave(at, unknownAge)
		}
		_, err := p.each(at, n, want, here, nil)
		return err
	case info.Exists() && info.Changed > p.known.At.UnixNano() && (n == nil || !n.explained):
		p.plan.leave(at, unknownAge)
	}
	return nil
}

// moveBack plans a name whose resource is elsewhere now.
func (p *planner) moveBack(at string, n *node, want ref, over Info, here place, forced bool) error {
	source, err := p.disk.Lstat(p.ctx, want.name)
	if err != nil {
		return err
	}
	if !source.Exists() {
		p.plan.leave(at, goneOnDisk)
		return nil
	}
	if over.Kind == Collection {
		free, err := p.clear(at, n, want, over, here, forced)
		if err != nil || !free {
			return err
		}
		over = Info{}
	}
	if over.Exists() && !p.replay.proven(here.name, over) {
		p.plan.leave(at, unknownAge)
		return nil
	}
	now, archived, below := p.now(want.name)
	if archived == 0 && (tree.Within(now, at) || tree.Within(at, now)) {
		p.plan.leave(at, "it is at "+now+" now, and one name contains the other")
		return nil
	}
	s := Step{Op: MoveBack, Name: at, From: now, Seen: source, Over: over, Archived: archived, Below: below}
	if p.isBlocked(here, false) {
		if s.Over, err = p.disk.Lstat(p.ctx, here.name); err != nil {
			return err
		}
		p.archived[here.name] = len(p.steps) + 1
	}
	p.emit(s)
	p.moved[want.name] = at
	if source.Kind == Collection {
		_, err = p.each(at, n, want, place{want.name, true}, nil)
	}
	return err
}

// clear plans the removal of a collection from a place that something else is to get. If the place is not free after
// that, the name waits, or is left as it is.
func (p *planner) clear(at string, n *node, want ref, info Info, here place, forced bool) (free bool, err error) {
	if p.isBlocked(here, true) && !forced {
		p.waiting = append(p.waiting, waiting{at, n, want, here, true})
		return false, nil
	}
	free, err = p.removeNow(at, info, here)
	if err == nil && !free {
		p.plan.leave(at, somethingElse)
	}
	return free, err
}

// removeNow is removeAt before all later steps.
func (p *planner) removeNow(at string, info Info, here place) (free bool, err error) {
	last := p.removals
	p.removals = nil
	free, err = p.removeAt(at, nil, info, here)
	p.steps, p.removals = append(p.steps, p.removals...), last
	return free, err
}

// removeAt plans the removal of a resource that was made since then. It reports whether the name is free after that.
func (p *planner) removeAt(at string, n *node, info Info, here place) (free bool, err error) {
	if !info.Exists() {
		return true, nil
	}
	proven := p.replay.proven(here.name, info)
	switch {
	case info.Kind == Collection:
		if free, err = p.each(at, n, ref{}, here, nil); err != nil {
			return false, err
		}
	case proven:
		p.removals = append(p.removals, Step{Op: Remove, Name: at, Seen: info, Files: 1})
		return true, nil
	}
	if !proven {
		p.plan.leave(at, unknownAge)
		return false, nil
	}
	if free {
		p.removals = append(p.removals, Step{Op: RemoveDir, Name: at, Seen: info, Dirs: 1})
	}
	return free, nil
}

// impliedAt plans a collection of which only members are known.
func (p *planner) impliedAt(at string, n *node, info Info, here place) error {
	switch {
	case !info.Exists():
		p.emit(Step{Op: MakeDir, Name: at, Dirs: 1})
		here.ok = false
	case info.Kind != Collection:
		p.plan.leave(at, inTheWay)
		return nil
	}
	_, err := p.each(at, n, ref{kind: implied}, here, nil)
	return err
}

// bring plans a name at which a version of the history was.
func (p *planner) bring(at string, n *node, want ref, info Info, here place, forced bool) error {
	k, ok, err := p.replay.version(want)
	if err != nil {
		return err
	}
	if !ok { // the collection of then had no such member
		_, err := p.removeAt(at, n, info, here)
		return err
	}
	if doubt := p.doubt(k, want, n); doubt != "" {
		p.plan.leave(at, doubt)
		return nil
	}
	if k.Kind == Other {
		return nil
	}
	switch {
	case !info.Exists(), (info.Kind == Collection) == (k.Kind == Collection):
	case info.Kind == Collection:
		free, err := p.clear(at, n, want, info, here, forced)
		if err != nil || !free {
			return err
		}
		here, info = place{}, Info{}
	default:
		if free, err := p.removeNow(at, info, here); err != nil || !free {
			return err
		}
		here, info = place{}, Info{}
	}
	if k.Kind == Collection {
		return p.bringDir(at, n, want, k, info, here)
	}
	return p.bringFile(at, k, info, here)
}

// dateStep is by how much a version can be dated ahead, in nanoseconds: to the next second.
const dateStep = int64(1e9)

// doubt returns why a version may not have been at its name then, or "".
func (p *planner) doubt(k Kept, want ref, n *node) string {
	then, gone := p.known.At.UnixNano(), k.Gone.UnixNano()
	if n != nil && n.explained || k.Kind == Collection {
		return ""
	}
	changed := k.Changed
	if want.name == "" {
		changed = k.Modified // the removal has set the time of change
		if changed <= then+dateStep && changed%dateStep == 0 {
			changed = then // the server dates a version up to a second ahead, so that no two have the same date
		}
	}
	switch {
	case k.Late:
		return lateWritten
	case want.name == "" && k.Born > then:
		return unknownThen
	case changed > then && changed <= gone:
		return changedThen
	}
	return ""
}

func (p *planner) bringFile(at string, k Kept, info Info, here place) error {
	if !info.Exists() {
		p.emit(Step{Op: BringBack, Name: at, Kept: k, Files: 1})
		return nil
	}
	if info.Kind == k.Kind && k.Kind == File && info.Size == k.Size {
		was, err := p.disk.TagKept(p.ctx, k)
		if err != nil {
			return err
		}
		is, err := p.disk.Tag(p.ctx, here.name, info)
		if err != nil || was == is {
			return err
		}
	}
	if !p.replay.proven(here.name, info) {
		p.plan.leave(at, unknownAge)
		return nil
	}
	p.emit(Step{Op: Replace, Name: at, Kept: k, Seen: info, Files: 1})
	return nil
}

func (p *planner) bringDir(at string, n *node, want ref, k Kept, info Info, here place) error {
	members, err := p.replay.members(k)
	if err != nil {
		return err
	}
	if info.Exists() {
		_, err := p.each(at, n, want, here, members)
		return err
	}
	if n.membersAsTheyWere() {
		s := Step{Op: BringBack, Name: at, Kept: k, Dirs: 1}
		whole, err := p.count(at, n, want, k, &s)
		if err != nil {
			return err
		}
		if whole {
			p.emit(s)
			return nil
		}
	}
	p.emit(Step{Op: MakeDir, Name: at, Kept: k, Dirs: 1})
	_, err = p.each(at, n, want, place{}, members)
	return err
}

// count counts the members of a version. whole reports whether all of them were there then.
func (p *planner) count(at string, n *node, want ref, k Kept, s *Step) (whole bool, err error) {
	members, err := p.replay.members(k)
	if err != nil {
		return false, err
	}
	for _, m := range members {
		kid := n.kid(m.Name)
		if p.doubt(m, want.member(m.Name), kid) != "" {
			return false, nil
		}
		if m.Kind != Collection {
			s.Files++
			continue
		}
		s.Dirs++
		if whole, err := p.count(join(at, m.Name), kid, want.member(m.Name), m, s); err != nil || !whole {
			return whole, err
		}
	}
	return true, nil
}
