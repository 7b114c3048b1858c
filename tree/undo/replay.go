package undo

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"r-seed-1f3a754f.example/ifmatch/tree"
)

// The reasons for which names are left as they are.
const (
	byProgram     = "a program has changed it on the disk"
	goneOnDisk    = "a program has removed it on the disk"
	goneUnseen    = "it is gone, and it is not known what has removed it"
	inTheWay      = "a program has put something there"
	unknownAge    = "it is not known what has made or changed it since then"
	notKept       = "the version of then is not kept any more"
	lateWritten   = "a program went on writing to the version of then"
	unknownThen   = "it is not known which version was there then"
	somethingElse = "something else is there, which stays"
	changedThen   = "a program had changed it on the disk before it gave way"
)

// A proof says that a resource which is there now was made by a change.
type proof struct {
	deep int64 // nanoseconds since 1970: members that have not changed since then have come with it
}

// A replay undoes changes in a model.
type replay struct {
	ctx    context.Context
	disk   Disk
	model  *model
	at     time.Time
	line   *timeline
	proofs map[string]proof  // by present name
	inside map[string][]Kept // the members of versions, by ID
}

func (r *replay) run(known Known) error {
	all := events(known)
	r.line = newTimeline(all)
	for i, e := range slices.Backward(all) {
		if err := r.ctx.Err(); err != nil {
			return err
		}
		if err := r.undo(i, e); err != nil {
			return err
		}
	}
	return nil
}

func (r *replay) undo(i int, e event) error {
	switch {
	case e.past, e.Again: // of the latter, the times of change tell which files have changed
		return nil
	case !e.isOurs():
		return r.onDisk(i, e)
	case e.Cause == "PROPPATCH":
		r.model.root.make(e.Name).explained = true
		return nil
	case e.blind:
		return r.gaveWay(e)
	case e.From != "":
		return r.move(e)
	case !e.State.Exists:
		return r.removal(e)
	}
	return r.write(e)
}

// look looks at the resource on the disk that a name of the model stands for. If it stands for another one, nothing is
// found.
func (r *replay) look(to ref) (Info, error) {
	if to.kind != live {
		return Info{}, nil
	}
	return r.disk.Lstat(r.ctx, to.name)
}

// is reports whether something is at a name of the model.
func (r *replay) is(to ref) (bool, error) {
	info, err := r.info(to)
	return to.kind == implied || info.Exists(), err
}

// info returns the resource that a name of the model stands for, on the disk or in the history.
func (r *replay) info(of ref) (Info, error) {
	if of.kind != kept {
		return r.look(of)
	}
	k, there, err := r.version(of)
	if err != nil || !there {
		return Info{}, err
	}
	return k.Info, nil
}

// tag returns the ETag of a file that a name of the model stands for, on the disk or in the history.
func (r *replay) tag(of ref, info Info) (tree.ETag, error) {
	if of.kind != kept {
		return r.disk.Tag(r.ctx, of.name, info)
	}
	k, _, err := r.version(of)
	if err != nil {
		return "", err
	}
	return r.disk.TagKept(r.ctx, k)
}

// version returns the version that a name of the model stands for.
func (r *replay) version(want ref) (k Kept, ok bool, err error) {
	k = *want.kept
	for base := range segments(want.name) {
		members, err := r.members(k)
		if err != nil {
			return k, false, err
		}
		i, found := slices.BinarySearchFunc(members, base, func(m Kept, base string) int {
			return strings.Compare(m.Name, base)
		})
		if !found {
			return k, false, nil
		}
		k = members[i]
	}
	return k, true, nil
}

// members returns the members of a version, sorted by name.
func (r *replay) members(k Kept) ([]Kept, error) {
	if k.Kind != Collection {
		return nil, nil
	}
	if members, ok := r.inside[k.ID]; ok {
		return members, nil
	}
	members, err := r.disk.Inside(r.ctx, k)
	if err == nil {
		r.inside[k.ID] = members
	}
	return members, err
}

// onDisk takes in a change that the watcher has seen.
func (r *replay) onDisk(i int, e event) error {
	n, to := r.model.at(e.Name)
	if n != nil && n.left != "" || e.State.Exists && e.State.Collection {
		return nil
	}
	echo, err := r.isEcho(i, e, n, to)
	if err != nil || echo {
		return err
	}
	n = r.model.root.make(e.Name)
	if n.left = byProgram; !e.State.Exists {
		n.left = goneOnDisk
	}
	return nil
}

// isEcho reports whether the watcher has seen a change that another process of ours has made. n may be nil.
func (r *replay) isEcho(i int, e event, n *node, to ref) (bool, error) {
	info, err := r.look(to)
	if err != nil {
		return false, err
	}
	ours, ok, err := r.latest(e.Name, i, to, info)
	if err != nil {
		return false, err
	}
	above, gone := r.line.above(e.Name, i)
	removed := ok && (!ours.State.Exists || ours.From == e.Name)
	if to.kind == kept {
		k, there, err := r.version(to)
		switch {
		case err != nil:
			return false, err
		case !there:
		case ok && !removed && ours.State.Tag != "" && k.Kind == File:
			tag, err := r.tag(to, k.Info)
			return tag == ours.State.Tag, err
		default:
			then := above.UnixNano()
			return !above.IsZero() && !gone && k.Born <= then && k.Modified <= then, nil
		}
	}
	switch {
	case !info.Exists() && (removed || gone || r.line.removedLately(e.Name, i)):
		return true, nil
	case !info.Exists():
		return r.wasExchanged(i, e)
	case info.Changed <= r.at.UnixNano(), !above.IsZero() && !gone && info.Changed <= above.UnixNano():
		return true, nil
	case n != nil && n.explained && !gone && !ours.Time.After(above) && cameWith(above, e, info):
		return true, nil
	case !ok || removed:
		return false, nil
	}
	return r.matches(to.name, info, ours.Change)
}

// wasExchanged reports whether a MOVE gave the name, for an instant, to a member of the collection that the MOVE has
// replaced.
func (r *replay) wasExchanged(i int, e event) (was bool, err error) {
	r.line.wasExchanged(e.Name, i, func(k *Kept, below string) bool {
		_, was, err = r.version(ref{kind: kept, name: below, kept: k})
		return err == nil && !was
	})
	return was, err
}

// thenKept returns the node of the version that gave way to an event.
func thenKept(e event) *node {
	switch {
	case e.kept == nil:
		return &node{ref: ref{kind: unknown, name: notKept}}
	case e.kept.Late:
		return &node{ref: ref{kind: unknown, name: lateWritten}}
	}
	return &node{ref: ref{kind: kept, kept: e.kept}}
}

// gaveWay undoes a change of which only the history knows.
func (r *replay) gaveWay(e event) error {
	_, to := r.model.at(e.Name)
	info, err := r.look(to)
	if err != nil {
		return err
	}
	n := thenKept(e)
	switch {
	case !info.Exists():
	case !e.State.Exists, info.Changed > e.Time.Add(2*time.Second).UnixNano():
		n.left = unknownAge
	case info.Kind == Collection && e.kept.Kind == Collection:
	default:
		r.proofs[to.name] = proof{}
	}
	r.model.attach(e.Name, n)
	return nil
}

// removal undoes a DELETE, or the end of a MOVE to another file system.
func (r *replay) removal(e event) error {
	_, to := r.model.at(e.Name)
	info, err := r.look(to)
	if err != nil {
		return err
	}
	if never, err := r.wasNeverMade(e, e.Name, to, info); err != nil || never {
		return err
	}
	n := thenKept(e)
	if info.Exists() && (info.Kind != Collection || e.kept == nil || e.kept.Kind != Collection) {
		n.left = inTheWay
	}
	r.model.attach(e.Name, n)
	return nil
}

// move undoes a MOVE by a rename.
func (r *replay) move(e event) error {
	_, to := r.model.at(e.Name)
	_, from := r.model.at(e.From)
	before, err := r.is(from)
	if err != nil {
		return err
	}
	if never, err := r.wasNeverMoved(e); err != nil || never {
		return err // the process has died before the rename
	}
	n := r.model.detach(e.Name)
	n.explained = true
	if to.kind == live && !e.State.Collection && n.left == "" {
		info, err := r.look(to)
		if err != nil {
			return err
		}
		ours, err := r.matches(to.name, info, e.Change)
		if err != nil {
			return err
		}
		if !ours && info.Exists() {
			n.left = byProgram
		}
	}
	if before && n.left == "" {
		n.left = inTheWay
	}
	r.model.attach(e.From, n)
	if !e.Created {
		r.model.attach(e.Name, thenKept(e))
	}
	return nil
}

// write undoes a change that has made, or has replaced, the resource at a name.
func (r *replay) write(e event) error {
	old, to := r.model.at(e.Name)
	info, err := r.look(to)
	if err != nil {
		return err
	}
	var left string
	switch ours := false; {
	case to.kind != live:
		if never, err := r.wasNeverMade(e, e.Name, to, info); err != nil || never {
			return err
		}
	case !info.Exists():
		if left = goneOnDisk; e.Created {
			left = "" // it is as it was
		}
	default:
		if ours, err = r.matches(to.name, info, e.Change); err != nil {
			return err
		}
		if never, err := r.wasNeverMade(e, e.Name, to, info); err != nil || never {
			return err
		}
		if ours {
			r.prove(to.name, e)
		} else if left = byProgram; old != nil && old.left != "" {
			left = old.left
		}
	}
	n := &node{}
	switch {
	case e.Created:
	case e.kept == nil && e.isSame():
		n = r.model.root.make(e.Name) // the content has stayed
		n.explained, n.left = true, cmp.Or(n.left, left)
		return nil
	default:
		n = thenKept(e)
	}
	n.left = left
	r.model.attach(e.Name, n)
	return nil
}

// prove notes that the resource at a present name was made by a change.
func (r *replay) prove(name string, e event) {
	var p proof
	if e.State.Collection && e.Cause != "MKCOL" {
		p.deep = e.Time.UnixNano()
	}
	r.proofs[name] = p
}

// proven reports whether the resource at a present name was made by a change.
func (r *replay) proven(name string, info Info) bool {
	if _, ok := r.proofs[name]; ok {
		return true
	}
	came := info.Changed
	if info.Kind == Collection && info.Born != 0 {
		came = info.Born // its time of change moves with its members, which have proofs of their own
	}
	for above := name; above != ""; {
		above = parent(above)
		if p := r.proofs[above]; p.deep != 0 && came <= p.deep {
			return true
		}
	}
	return false
}
