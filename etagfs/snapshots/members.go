package snapshots

import (
	"context"
	"io"
	iofs "io/fs"
	"iter"
	"maps"
	"slices"

	"r-seed-1f3a754f.example/ifmatch/etagfs/failure"
	"r-seed-1f3a754f.example/ifmatch/etagfs/hashing"
	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
	"r-seed-1f3a754f.example/ifmatch/fs/volumes"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

const (
	// NamesAtOnce is the number of members up to which the names of a collection are all read as of one instant. The
	// names of a larger collection are read in parts of this size, as a local program reads them. A member that is
	// renamed meanwhile can be missed, or be seen by both names.
	NamesAtOnce = 1024
	// AtOnce is the number of members that are looked at as of one instant. If a collection has no more, its
	// names are read as of that instant too.
	AtOnce = 64
	// MaxRereads bounds how often the names of one collection are read again because members were renamed.
	MaxRereads = 64
)

// Members reads a collection while commits change names in it. It reads each member that is there all the time
// exactly once, even if the member is renamed meanwhile. If a member is gone, it reads the names again: it then also
// reads the new members, and leaves out the members that have gone.
type Members struct {
	// Also, if not nil, is called with each batch, in the snapshot in which the batch was looked at.
	Also func(at *volumes.Snapshot, batch []volumes.Member) error
	// Follow is asked about each link on the way to the collection (nil: all are followed).
	Follow tree.Follow
	// ID, if it has an inode, is the collection that is read. If another one has its name, there is nothing to read.
	ID MemberID

	reader *Reader
	name   string
	opts   volumes.DirOptions

	d       *volumes.Dir
	pending []string // the names that are still to be looked at
	end     error    // why the directory has no more names to read, or nil if it has more
	rereads int
	lost    bool // a member that was read was gone when it was used
	away    bool // the collection was not at its name any more when a member was gone

	// For a collection whose names were all read at once:
	small bool
	known []string // all names that were seen
	gone  []string // the names among them that had no member at the last look
	read  []readMember
	// came holds the names that have appeared since the names were first read. A member with such a name is left out if
	// renamed has it, because the member was already read by a name that it no longer has.
	came    map[string]bool
	renamed map[MemberID]bool
	missed  bool // the names were read again too often, so a member may be missing
}

// A readMember records a member that was read: its name then, and the resource that it was.
type readMember struct {
	name string
	id   MemberID
}

// A MemberID identifies a resource independently of its name.
type MemberID struct {
	hashing.FileKey
	size, modified int64 // used if the file system has no inode numbers
}

func IDOf(i vfs.Info) MemberID {
	if i.Inode == 0 {
		return MemberID{size: i.Size, modified: i.Modified}
	}
	return MemberID{FileKey: hashing.KeyOf(i)}
}

// IsOf reports whether a look saw the resource. If the file system does not number its files, IsOf returns true.
func (m MemberID) IsOf(i vfs.Info) bool {
	return m.Inode == 0 || m.Inode == i.Inode && m.Device == i.Device && m.Born == i.Born
}

// Members returns a reader of the members of a collection. The caller may set Also, Follow and ID before it asks for the
// batches.
func (r *Reader) Members(name string, opts volumes.DirOptions) *Members {
	return &Members{reader: r, name: name, opts: opts}
}

// Batches yields the members in batches, in no order. It yields at least one batch, and an error at the end.
func (r *Members) Batches(ctx context.Context) iter.Seq2[[]volumes.Member, error] {
	return func(yield func([]volumes.Member, error) bool) {
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

func (r *Members) isMore() bool {
	return len(r.pending) > 0 || r.end == nil || r.lost && r.rereads < MaxRereads
}

func (r *Members) close() {
	if r.d != nil {
		r.d.Close()
		r.d = nil
	}
}

// next returns the next members. The first ones are looked at as of the instant at which the names were read. Otherwise
// a collection that is replaced or removed before its members are read would seem to be empty.
func (r *Members) next(ctx context.Context, first bool) (members []volumes.Member, err error) {
	if len(r.pending) == 0 && r.end == nil && !first {
		r.pending, r.end = r.names(r.reader.FS.Snapshot(), r.d, NamesAtOnce)
	}
	var after Members
	err = r.reader.Read(ctx, func(at *volumes.Snapshot) (err error) {
		if first {
			after.close() // the directory of an earlier try
		}
		after = *r
		at.Follow = failure.OfFollow(r.Follow)
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

func (r *Members) open(at *volumes.Snapshot) (err error) {
	if r.d, err = OpenDir(at, r.name, r.opts); err != nil {
		return err
	}
	if !r.ID.IsOf(r.d.Info()) {
		return &iofs.PathError{Op: "listing", Path: r.name, Err: iofs.ErrNotExist}
	}
	r.pending, r.end = r.names(at, r.d, NamesAtOnce+1)
	r.small, r.known = r.end == io.EOF, r.pending
	if len(r.pending) == 0 && r.end != io.EOF {
		return r.end
	}
	return nil
}

// names reads the next names, at most as many as most says. It returns io.EOF with the last names.
func (r *Members) names(at *volumes.Snapshot, d *volumes.Dir, most int) ([]string, error) {
	names, err := at.Names(d, most)
	if err == nil && len(names) < most {
		err = io.EOF
	}
	return names, err
}

// batch looks at the next members. Its receiver is a copy of the reader, which replaces the reader if the snapshot is
// valid.
func (r *Members) batch(at *volumes.Snapshot) (members []volumes.Member, err error) {
	names := r.pending[:min(AtOnce, len(r.pending))]
	r.pending = r.pending[len(names):]
	members = make([]volumes.Member, 0, len(names))
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
	case r.rereads == MaxRereads:
		r.missed = true
	default:
		r.rereads++
		members = r.readAgain(at, members)
	}
	if r.Also != nil {
		err = r.Also(at, members)
	}
	return members, err
}

// add adds a member, unless the member was already read by a name that it no longer has.
func (r *Members) add(to []volumes.Member, m volumes.Member) []volumes.Member {
	id := IDOf(m.Info)
	if r.came[m.Name] && r.renamed[id] {
		return to
	}
	if r.small {
		r.read = append(r.read, readMember{m.Name, id})
	}
	return append(to, m)
}

// readAgain reads the names again. It looks at some of the new members at once, because they could be gone later.
func (r *Members) readAgain(at *volumes.Snapshot, members []volumes.Member) []volumes.Member {
	d, err := OpenDir(at, r.name, r.opts)
	if err != nil {
		r.away = true
		return members
	}
	defer d.Close()
	names, err := r.names(at, d, NamesAtOnce+1)
	if r.away = !d.SameAs(r.d); r.away || err != io.EOF {
		return members
	}
	now := setOf(names)
	known, gone := setOf(r.known), setOf(r.gone)
	left := slices.DeleteFunc(slices.Concat(r.pending, r.gone), func(name string) bool { return now[name] })
	pending := slices.DeleteFunc(slices.Clone(r.pending), func(name string) bool { return !now[name] })
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
	r.gone, r.came, r.renamed = left, came, map[MemberID]bool{}
	for _, m := range r.read {
		if !now[m.name] {
			r.renamed[m.id] = true
		}
	}
	some := min(AtOnce/2, len(added))
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

// MarkGone records that a member was gone when it was used after it was read. The reader then looks for it under
// another name.
func (r *Members) MarkGone(name string) {
	if r.small {
		r.read = slices.DeleteFunc(r.read, func(m readMember) bool { return m.name == name })
		r.gone, r.lost = append(r.gone, name), true
	}
}

// IsAway reports whether the collection was not at its name any more when a member was gone.
func (r *Members) IsAway() bool { return r.away }

// IsIncomplete reports whether a member may be missing, because members were renamed faster than they were read.
func (r *Members) IsIncomplete() bool { return r.missed || r.lost }

// Has reports whether the member of a name is what a look saw, wherever the collection itself has gone.
func (r *Members) Has(name string, seen vfs.Info) bool {
	m, ok, _ := r.reader.FS.Snapshot().Look(r.d, name)
	return ok && m.Err == nil && IDOf(m.Info).IsOf(seen)
}

// Volume returns the volume of a collection that is being read.
func (r *Members) Volume() vfs.Volume { return r.d.Volume() }

// Renamed looks for a member that was renamed in its collection since the collection was read. It returns "" if the
// member is not there any more. An error says that the collection cannot be read, or that another one has its name.
func (r *Reader) Renamed(ctx context.Context, dir string, in, id MemberID) (name string, err error) {
	if id.Inode == 0 {
		return "", nil
	}
	read := r.Members(dir, volumes.DirOptions{})
	read.ID = in
	for members, err := range read.Batches(ctx) {
		if err != nil || !read.small {
			return "", err
		}
		for _, m := range members {
			if m.Err == nil && IDOf(m.Info) == id {
				return m.Name, nil
			}
		}
	}
	return "", nil
}

// Glance yields the names and kinds of the members of a collection, some at a time, and an error at the end. Commits
// may come between.
func (r *Reader) Glance(ctx context.Context, dir string, follow tree.Follow) iter.Seq2[[]volumes.Member, error] {
	return func(yield func([]volumes.Member, error) bool) {
		var d *volumes.Dir
		var members []volumes.Member
		var end error
		closed := func() {
			if d != nil {
				d.Close()
				d = nil
			}
		}
		defer closed()
		err := r.Read(ctx, func(at *volumes.Snapshot) (err error) {
			closed() // from the try before
			at.Follow = failure.OfFollow(follow)
			if d, err = OpenDir(at, dir, volumes.DirOptions{KindsOnly: true}); err == nil {
				members, end = d.Next(AtOnce)
			}
			return err
		})
		if err != nil {
			yield(nil, err)
			return
		}
		for end == nil {
			if !yield(members, nil) {
				return
			}
			members, end = d.Next(AtOnce)
		}
		if end == io.EOF {
			end = nil
		}
		yield(members, end)
	}
}
