package etagfs

import (
	"context"
	"io"
	"iter"
	"maps"
	"slices"

	"ifmatch/fs"
)

const (
	// namesAtOnce is how many members a collection has at the most whose names are read as of one instant. Those of a
	// larger one are read so many at a time, as a local program reads them: one that is renamed meanwhile can be
	// missed, or be seen by both names.
	namesAtOnce = 1024
	// membersAtOnce is how many members are looked at as of one instant, together with the names if these are all.
	membersAtOnce = 64
	// maxRereads bounds how often the names of one collection are read again because members were renamed.
	maxRereads = 64
)

// A memberReader reads a collection beside commits that change names in it. Each member that is there all the time is
// read exactly once, whatever its names are meanwhile. Where one is gone, the names are read again: what has come is
// read too, and what went is left out.
type memberReader struct {
	s    *Store
	name string
	opts fs.DirOptions
	// also, if not nil, is called with each batch in the snapshot in which that was looked at.
	also func(at *fs.Snapshot, batch []fs.Member) error

	d       *fs.Dir
	pending []string // names that are still to be looked at
	end     error    // of the directory; nil: there are more names to read
	rereads int
	lost    bool // a member that was read was gone when it was used
	away    bool // the collection was not at its name any more when a member was gone

	// Of a collection whose names were all read at once:
	small bool
	known []string // all names that were seen
	gone  []string // those of them that had no member when they were looked at last
	read  []readMember
	// came are names that have come since the first were read. Such a member is left out if it is one of renamed, which
	// were read by a name that they have no more.
	came    map[string]bool
	renamed map[memberID]bool
	missed  bool // the names were read again too often: a member may be missing
}

// A readMember is one that was read: by which name, and which resource that was.
type readMember struct {
	name string
	id   memberID
}

// A memberID tells a resource from others, whatever its name is.
type memberID struct {
	fileKey
	size, modified int64 // where the file system numbers nothing
}

func memberIDOf(i fs.Info) memberID {
	if i.Inode == 0 {
		return memberID{size: i.Size, modified: i.Modified}
	}
	return memberID{fileKey: keyOf(i)}
}

func (s *Store) readMembers(name string, opts fs.DirOptions) *memberReader {
	return &memberReader{s: s, name: name, opts: opts}
}

// batches yields the members, some at a time, in no order; at least once, and an error at the end.
func (r *memberReader) batches(ctx context.Context) iter.Seq2[[]fs.Member, error] {
	return func(yield func([]fs.Member, error) bool) {
		defer r.close()
		for first := true; first || r.isMore(); first = false {
			members, err := r.next(ctx, first)
			if err == nil && !yield(members, nil) {
				return
			}
			if err == nil && len(r.pending) == 0 && r.end != io.EOF {
				err = r.end
			}
			if err != nil {
				yield(nil, err)
				return
			}
		}
	}
}

func (r *memberReader) isMore() bool {
	return len(r.pending) > 0 || r.end == nil || r.lost && r.rereads < maxRereads
}

func (r *memberReader) close() {
	if r.d != nil {
		r.d.Close()
		r.d = nil
	}
}

// next returns the next members. The first ones are looked at as of the instant in which the names were read: a
// collection that is replaced or removed before its members are read would seem to be empty.
func (r *memberReader) next(ctx context.Context, first bool) (members []fs.Member, err error) {
	if len(r.pending) == 0 && r.end == nil && !first {
		r.pending, r.end = r.names(r.s.fs.Snapshot(), r.d, namesAtOnce)
	}
	var after memberReader
	err = r.s.read(ctx, func(at *fs.Snapshot) (err error) {
		if first {
			after.close() // of a try before
		}
		after = *r
		if first {
			err = after.open(at)
		}
		if err == nil {
			members, err = after.batch(at)
		}
		return err
	})
	if first || err == nil {
		*r = after
	}
	return members, err
}

func (r *memberReader) open(at *fs.Snapshot) (err error) {
	if r.d, err = openDir(at, r.name, r.opts); err != nil {
		return err
	}
	r.pending, r.end = r.names(at, r.d, namesAtOnce+1)
	r.small, r.known = r.end == io.EOF, r.pending
	if len(r.pending) == 0 && r.end != io.EOF {
		return r.end
	}
	return nil
}

// names reads the next names, so many at the most. io.EOF comes with the last ones.
func (r *memberReader) names(at *fs.Snapshot, d *fs.Dir, most int) ([]string, error) {
	names, err := at.Names(d, most)
	if err == nil && len(names) < most {
		err = io.EOF
	}
	return names, err
}

// batch looks at the next members. Its receiver is a copy, which takes the place of the reader if the snapshot is
// valid.
func (r *memberReader) batch(at *fs.Snapshot) (members []fs.Member, err error) {
	names := r.pending[:min(membersAtOnce, len(r.pending))]
	r.pending = r.pending[len(names):]
	members = make([]fs.Member, 0, len(names))
	again := r.lost
	r.lost = false
	for _, name := range names {
		m, ok, gone := at.Look(r.d, name)
		if gone {
			r.gone, again = append(r.gone, name), true
		}
		if ok {
			members = r.add(members, m)
		}
	}
	switch {
	case !again || !r.small:
	case r.rereads == maxRereads:
		r.missed = true
	default:
		r.rereads++
		members = r.readAgain(at, members)
	}
	if r.also != nil {
		err = r.also(at, members)
	}
	return members, err
}

// add adds a member, unless it was read by a name that it has no more.
func (r *memberReader) add(to []fs.Member, m fs.Member) []fs.Member {
	id := memberIDOf(m.Info)
	if r.came[m.Name] && r.renamed[id] {
		return to
	}
	if r.small {
		r.read = append(r.read, readMember{m.Name, id})
	}
	return append(to, m)
}

// readAgain reads the names again. It looks at some of those that have come at once, so that they cannot be gone by
// then.
func (r *memberReader) readAgain(at *fs.Snapshot, members []fs.Member) []fs.Member {
	d, err := openDir(at, r.name, r.opts)
	if err != nil {
		r.away = true
		return members
	}
	defer d.Close()
	names, err := r.names(at, d, namesAtOnce+1)
	if r.away = !d.SameAs(r.d); r.away || err != io.EOF {
		return members
	}
	now := setOf(names)
	known, gone := setOf(r.known), setOf(r.gone)
	var pending, left []string
	for _, name := range r.pending {
		if now[name] {
			pending = append(pending, name)
		} else {
			left = append(left, name)
		}
	}
	for _, name := range r.gone {
		if !now[name] {
			left = append(left, name)
		}
	}
	var added []string
	came := setOf(slices.Collect(maps.Keys(r.came)))
	for _, name := range names {
		if gone[name] || !known[name] {
			added, came[name] = append(added, name), true
		}
		if !known[name] {
			r.known = append(r.known, name)
		}
	}
	r.gone, r.came, r.renamed = left, came, map[memberID]bool{}
	for _, m := range r.read {
		if !now[m.name] {
			r.renamed[m.id] = true
		}
	}
	some := min(membersAtOnce/2, len(added))
	r.pending = append(pending, added[some:]...)
	for _, name := range added[:some] {
		if m, ok, _ := at.Look(r.d, name); ok {
			members = r.add(members, m)
		}
	}
	return members
}

func setOf(names []string) map[string]bool {
	set := make(map[string]bool, len(names))
	for _, name := range names {
		set[name] = true
	}
	return set
}

// isGone says that a member was gone when it was to be used after it was read. It is looked for under another name
// then.
func (r *memberReader) isGone(name string) {
	if r.small {
		r.read = slices.DeleteFunc(r.read, func(m readMember) bool { return m.name == name })
		r.gone, r.lost = append(r.gone, name), true
	}
}
