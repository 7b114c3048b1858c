package etagfs

import (
	"cmp"
	"context"
	"errors"
	"iter"
	"slices"
	"sync"
	"sync/atomic"

	"r-seed-1f3a754f.example/ifmatch/etagfs/failure"
	"r-seed-1f3a754f.example/ifmatch/etagfs/index"
	"r-seed-1f3a754f.example/ifmatch/etagfs/locktable"
	"r-seed-1f3a754f.example/ifmatch/etagfs/snapshots"
	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
	"r-seed-1f3a754f.example/ifmatch/fs/volumes"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

// List implements [tree.Store].
func (s *Store) List(
	ctx context.Context, dir string, opts tree.ListOptions, cond tree.Condition,
) iter.Seq2[tree.State, error] {
	return func(yield func(tree.State, error) bool) {
		info, err := s.lookIf(ctx, dir, opts.Follow, cond)
		var self tree.State
		if err == nil {
			self, err = s.describe(ctx, dir, info, opts.Reading())
		}
		if err == nil && self.Collection && opts.Depth != 0 && opts.Limit > 0 {
			err = s.count(ctx, dir, opts)
		}
		if err != nil {
			yield(tree.State{}, failure.Of(err))
			return
		}
		if !self.Collection || opts.Depth == 0 {
			yield(self, nil)
			return
		}
		l := listing{s: s, ctx: ctx, opts: opts, yield: yield}
		l.list(self)
	}
}

// count fails with ErrTooMany if there are more members below a collection than its listing may yield. A collection
// that cannot be listed has no members here, as in the listing.
func (s *Store) count(ctx context.Context, dir string, opts tree.ListOptions) error {
	left := opts.Limit
	var rest toList
	for {
		var below []listed
		for members, err := range s.reader.Glance(ctx, dir, opts.Follow) {
			members = shown(dir, members, opts)
			if left -= len(members); left < 0 {
				return tree.ErrTooMany
			}
			for _, m := range members {
				if m.Kind == vfs.Directory && m.Err == nil {
					below = append(below, listed{name: m.Name})
				}
			}
			if err != nil {
				break
			}
		}
		if err := ctx.Err(); err != nil || opts.Depth > 0 {
			return err
		}
		rest = append(rest, level{place: &place{dir: dir}, members: below})
		next, in, ok := rest.next()
		if !ok {
			return nil
		}
		dir = tree.Join(in.dir, next.name)
	}
}

// toList has the collections that are still to be listed. A collection is listed after the collection in which it was
// found, and before its own members. So one collection of a deep tree is open at a time, however slowly a client reads.
type toList []level

// A level is a collection, with the collections in it of which some are still to be listed.
type level struct {
	*place
	members []listed
	next    int // the index of the next one
}

// A place is where a collection of a listing is.
type place struct {
	dir string // its name in the listing
	at  string // its latest known name: it may have been renamed since its own collection was read
	id  snapshots.MemberID
	in  *place // nil for the first one
}

// listed is a member that is to be listed itself.
type listed struct {
	name string
	id   snapshots.MemberID
}

// next removes and returns the next member to list, and the collection that it is in.
func (l *toList) next() (one listed, in level, ok bool) {
	for len(*l) > 0 {
		last := &(*l)[len(*l)-1]
		if last.next < len(last.members) {
			last.next++
			return last.members[last.next-1], *last, true
		}
		*l = (*l)[:len(*l)-1]
	}
	return listed{}, level{}, false
}

// A listing is a [Store.List] of a collection that is in progress.
type listing struct {
	s     *Store
	ctx   context.Context
	opts  tree.ListOptions
	yield func(tree.State, error) bool

	searches int // how many, for collections that were renamed
	// found is used again for each batch of members, when the batch before it was yielded.
	found []finding
}

// list yields a collection and all resources below it that are to be yielded.
func (l *listing) list(self tree.State) {
	below, more, err := l.collection(self, self.Name, snapshots.MemberID{}, true)
	here := &place{dir: self.Name, at: self.Name}
	var rest toList
	for {
		if err != nil {
			l.yield(tree.State{}, failure.Of(err))
			return
		}
		if !more {
			return
		}
		rest = append(rest, level{place: here, members: below})
		one, in, ok := rest.next()
		if !ok {
			return
		}
		if err = l.ctx.Err(); err != nil {
			continue
		}
		here = &place{tree.Join(in.dir, one.name), tree.Join(in.at, one.name), one.id, in.place}
		if below, more, err = l.belowOf(in, one, here); err == errGone {
			err = nil
		}
	}
}

// belowOf yields a collection that was left out when its own collection was read. It has the name that it had then,
// wherever it is by now: others of the collection can have its name, and it can have theirs. If it was removed, belowOf
// yields the new collection that has come in its place.
func (l *listing) belowOf(in level, one listed, here *place) (below []listed, more bool, err error) {
	for ; ; l.searches++ {
		below, more, err = l.member(here)
		if err != errGone || here.id != one.id || l.searches == snapshots.MaxRereads {
			return below, more, err
		}
		dir := l.find(in.place)
		base, failed := l.s.reader.Renamed(l.ctx, dir, in.id, one.id)
		switch here.at = tree.Join(dir, cmp.Or(base, one.name)); {
		case base != "" || errors.Is(failure.Of(failed), tree.ErrNotExist): // the collection has gone on meanwhile
			continue
		case failed != nil:
			return nil, true, errGone
		}
		info, failed := l.s.fs.Lstat(here.at)
		if failed != nil || info.Kind != vfs.Directory ||
			slices.ContainsFunc(in.members, func(m listed) bool { return m.id.IsOf(info) }) {
			return nil, true, errGone
		}
		here.id = snapshots.IDOf(info)
	}
}

// find returns the name of a collection that may have been renamed since it was read, with those that it is in.
func (l *listing) find(p *place) string {
	if info, err := l.s.fs.Lstat(p.at); p.in == nil || err == nil && p.id.IsOf(info) {
		return p.at
	}
	dir := l.find(p.in)
	if base, _ := l.s.reader.Renamed(l.ctx, dir, p.in.id, p.id); base != "" {
		p.at = tree.Join(dir, base)
	}
	return p.at
}

// errGone says that a member is not there any more.
var errGone = errors.New("it was removed since its collection was read")

// member yields a collection that was left out when its own collection was read, if it is the one that the place says.
func (l *listing) member(here *place) (below []listed, more bool, err error) {
	self, err := l.s.Stat(l.ctx, here.at, l.opts.Reading())
	self.Name = here.dir
	switch {
	case errors.Is(err, tree.ErrNotExist):
		return nil, true, errGone
	case err != nil:
		return nil, l.yield(tree.State{Name: here.dir, Collection: true}, err), nil
	case self.Collection && !self.Link:
		return l.collection(self, here.at, here.id, false)
	case here.id.Inode != 0:
		return nil, true, errGone
	}
	return nil, l.yield(self, nil), nil // the file system does not number its files, and cannot tell them apart
}

// collection yields a collection and its members. Their names are read at dir, where the collection is now. If the listing
// goes below the members, collection leaves out the collections among them, and returns their names. An error ends the
// listing. more is false if the caller has ended the listing.
func (l *listing) collection(self tree.State, dir string, id snapshots.MemberID, first bool) (
	below []listed, more bool, err error,
) {
	begun := false
	var short locktable.ShortRoots
	var members []volumes.Member
	var locks [][]tree.Lock
	r := l.s.reader.Members(dir, volumes.DirOptions{Follow: true, Attributes: l.opts.Want&tree.WantProperties != 0})
	r.Follow, r.ID = l.opts.Follow, id
	r.Also = func(at *volumes.Snapshot, batch []volumes.Member) (err error) {
		if members = batch; l.opts.Show != nil {
			members = shown(dir, slices.Clone(batch), l.opts)
		}
		if locks = nil; l.opts.Want&tree.WantLocks != 0 && len(members) > 0 { // they are asked for at once
			locks, err = l.s.viewAt(at).OfMembers(dir, members, &short)
		}
		return err
	}
	for _, err := range r.Batches(l.ctx) {
		switch {
		case err != nil && !begun && !first:
			// Check for the error before the collection is yielded: a collection that cannot be listed is yielded with
			// its error.
			if errors.Is(failure.Of(err), tree.ErrNotExist) {
				return nil, true, errGone
			}
			return nil, l.yield(tree.State{Name: self.Name, Collection: true}, failure.Of(err)), nil
		case err != nil:
			return nil, false, err
		case !begun && !l.yield(self, nil):
			return nil, false, nil
		}
		begun = true
		i := -1 // the index of the member
		for state, err := range l.describeMembers(dir, members, locks) {
			i++
			switch {
			case errors.Is(err, tree.ErrNotExist):
				r.MarkGone(members[i].Name)
				continue
			case err == nil && l.opts.Depth < 0 && state.Collection && !state.Link:
				below = append(below, listed{members[i].Name, snapshots.IDOf(members[i].Info)})
				continue
			}
			if dir != self.Name {
				state.Name = tree.Join(self.Name, members[i].Name)
			}
			if !l.yield(state, err) {
				return nil, false, nil
			}
		}
	}
	return below, true, nil
}

// hashedAtOnce bounds how many members of one listing are hashed at the same time. This number keeps a disk busy.
const hashedAtOnce = 8

// A finding is a member, and the facts that are being found out about its content.
type finding struct {
	name  string
	info  vfs.Info
	tag   tree.ETag // if it is known
	state tree.State
	err   error
	done  chan struct{} // closed when state and err are set, or nil if they are set already
}

// describeMembers yields the states of members, as a client sees them, in the order of the members. Members whose tags
// are not known are hashed in parallel. Each member is yielded as soon as its own state and the states before it are
// known.
func (l *listing) describeMembers(
	dir string, members []volumes.Member, locks [][]tree.Lock,
) iter.Seq2[tree.State, error] {
	return func(yield func(tree.State, error) bool) {
		s, opts := l.s, l.opts.Reading()
		found := slices.Grow(l.found[:0], len(members))[:len(members)]
		l.found = found
		var missing []*finding
		for i, m := range members {
			one := &found[i]
			*one = finding{name: tree.Join(dir, m.Name), info: m.Info, err: m.Err}
			if m.Err != nil {
				continue
			}
			if tag, enough := s.knownContent(m.Info, opts.Want); enough && opts.Want&tree.WantSums == 0 {
				one.state = s.stateOfEarlier(l.ctx, one.name, m.Info, tag, index.AsIs)
			} else {
				one.tag, one.done = tag, make(chan struct{})
				missing = append(missing, one)
			}
		}
		if len(missing) > 0 {
			defer l.findOut(missing)() // nothing uses the findings after that
		}
		for i, m := range members {
			if found[i].done != nil {
				<-found[i].done
			}
			state, err := found[i].describe(s, m)
			if locks != nil {
				state.Locks = locks[i]
			}
			if !yield(state, err) {
				return
			}
		}
	}
}

// findOut begins to find out the states of members whose contents are not known. end ends that, and waits for the end.
func (l *listing) findOut(missing []*finding) (end func()) {
	ctx, cancel := context.WithCancel(l.ctx)
	opts := l.opts.Reading()
	var hashing sync.WaitGroup
	var next atomic.Int64
	for range min(hashedAtOnce, len(missing)) {
		hashing.Go(func() {
			for i := next.Add(1) - 1; i < int64(len(missing)); i = next.Add(1) - 1 {
				one := missing[i]
				one.state, one.err = l.s.describeTagged(ctx, one.name, one.info, one.tag, opts)
				close(one.done)
			}
		})
	}
	return func() {
		cancel()
		hashing.Wait()
	}
}

// describe returns the state of a member, as a client sees it. The state has its name even if there is an error.
func (f *finding) describe(s *Store, m volumes.Member) (tree.State, error) {
	state, err := f.state, f.err
	if err == nil {
		state.Properties, err = s.decodeProperties(f.name, m.Attributes)
	}
	state.Name = f.name
	return state, failure.Of(err)
}

// shown returns those of the given members of a collection that are to be listed.
func shown(dir string, members []volumes.Member, opts tree.ListOptions) []volumes.Member {
	if opts.Show == nil {
		return members
	}
	return slices.DeleteFunc(members, func(m volumes.Member) bool {
		return !opts.Show(tree.Join(dir, m.Name), resolvedName(&m.Info), m.Err != nil || m.Kind != vfs.Regular)
	})
}
