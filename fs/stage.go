package fs

import (
	"context"
	"errors"
	"io"
	iofs "io/fs"
	"path"
	"time"

	"r-seed-1f3a754f.example/ifmatch/fs/metadata"
	"r-seed-1f3a754f.example/ifmatch/fs/room"
	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
	"r-seed-1f3a754f.example/ifmatch/fs/volumes"
)

// The staging directory has one directory for each process that serves the tree, a session. In it:
//
//	alive   a file. At the root its maker keeps it locked as long as the maker lives, see volume
//	n…      a new version that has no name yet: a file, or a tree
//	d…/     an aside, if names cannot be exchanged: "path" is the displacement, and "old" is the version that was
//	        moved there. After the version was replaced for good, it is "gone"
//
// If the maker of a session is dead, another process puts a version that was moved aside back, or moves it to the
// history. See Recover.
const (
	displacedName = "d"
	displacedPath = "path"
	displacedOld  = "old"
	displacedGone = "gone"
)

// A Staged is a version that has no name yet: a file, or a tree of them. It is not visible until it is committed.
type Staged struct {
	volume *volume
	at     volumes.Place // the place in the session
	kind   vfs.Kind      // Regular, Directory or Link
	file   *vfs.File     // open for writing (nil: a directory, or all content is written)
	traits metadata.Setter
	seen   vfs.Info  // the last look at it, see Seen
	leased *vfs.File // open for reading, with a lease
	done   bool
	aside  *aside // see NoteReplaced

	room   *room.Room // shared with the whole staged tree
	member bool       // it is a member of a staged directory
}

// Meta is the metadata of a version: its properties besides the content.
type Meta struct {
	Modified time.Time // as near as the disk can keep it (zero: it is not set)
	metadata.Traits
}

// Stage makes an empty staged file for a version that is to have the name. If the disk is full, the history gives way.
// Stage must not be called under [FS.Lock]. The commit fails with EXDEV if another file system is mounted there by
// then.
func (s *FS) Stage(name string) (*Staged, error) {
	return s.StageFor(context.Background(), room.Need{Name: name})
}

// StageFor is [FS.Stage] for a caller that knows something about the content that it will write. It keeps room for that
// content, and fails at once if there cannot be any. The context holds for all later calls on the staged version.
func (s *FS) StageFor(ctx context.Context, need room.Need) (*Staged, error) {
	return s.stageFor(ctx, need, vfs.Regular, "")
}

// StageDir makes an empty staged directory, as [FS.StageFor] makes a file.
func (s *FS) StageDir(ctx context.Context, need room.Need) (*Staged, error) {
	return s.stageFor(ctx, need, vfs.Directory, "")
}

// StageLink stages a symbolic link.
func (s *FS) StageLink(target, name string) (*Staged, error) {
	return s.stageFor(context.Background(), room.Need{Name: name}, vfs.Link, target)
}

func (s *FS) stageFor(ctx context.Context, need room.Need, kind vfs.Kind, target string) (st *Staged, err error) {
	dir := path.Dir(volumes.Local(need.Name))
	var r *room.Room
	begin := func(v *volume) (err error) {
		if !r.IsOn(v.Volume) {
			r.Release()
			if r, err = s.rooms.Promise(ctx, v.Volume, need); err != nil {
				return err
			}
		}
		st, err = v.stage(kind, target)
		return err
	}
	err = s.rooms.Retry(ctx, need, func() error {
		v, err := s.volumeFor(dir)
		if err != nil {
			return err
		}
		err = begin(v)
		if errors.Is(err, iofs.ErrNotExist) && v != s.root {
			// A local program has moved the volume, or has removed our session on it.
			s.DropVolume(v.Volume)
			if v, err = s.volumeFor(dir); err == nil {
				err = begin(v)
			}
		}
		return err
	})
	if err != nil {
		r.Release()
		return nil, err
	}
	st.room = r
	r.Waits()
	st.volume.history.Ready()
	return st, nil
}

// stage makes an empty version in the session. target is that of a link.
func (v *volume) stage(kind vfs.Kind, target string) (*Staged, error) {
	at := v.At(v.Unique(v.Session, volumes.NewPrefix))
	at.Base = path.Base(at.Name)
	if at.In = v.SessionDir; at.In == nil {
		session, err := v.calls.OpenDir(v.Session)
		if err != nil {
			return nil, err
		}
		at.In, at.Held = session, true
	}
	st := &Staged{volume: v, at: at, kind: kind}
	st.traits.IsTop = kind == vfs.Directory
	if err := st.make(target); err != nil {
		at.Close()
		return nil, err
	}
	return st, nil
}

func (st *Staged) make(target string) (err error) {
	switch st.kind {
	case vfs.Directory:
		return st.at.In.Mkdir(st.at.Base, 0o777)
	case vfs.Link:
		return st.at.In.Symlink(target, st.at.Base)
	}
	st.traits.IsFile = true
	st.file, err = st.at.In.Create(st.at.Base)
	return err
}

// Member stages a file inside a staged directory. The file becomes visible with the directory.
func (st *Staged) Member(name string) (*Staged, error) { return st.stageIn(name, vfs.Regular, "") }

// Mkdir stages a directory inside a staged directory.
func (st *Staged) Mkdir(name string) (*Staged, error) { return st.stageIn(name, vfs.Directory, "") }

// Symlink stages a symbolic link inside a staged directory.
func (st *Staged) Symlink(target, name string) error {
	_, err := st.stageIn(name, vfs.Link, target)
	return err
}

func (st *Staged) stageIn(name string, kind vfs.Kind, target string) (*Staged, error) {
	m := &Staged{volume: st.volume, at: st.at.Below(name), kind: kind, room: st.room, member: true}
	if err := st.room.Retry(func() error { return m.make(target) }); err != nil {
		return nil, err
	}
	return m, nil
}

// Write appends to the content of a staged file. If the disk is full, the history gives way, see [room.Need]. Write
// must not be called under [FS.Lock].
func (st *Staged) Write(p []byte) (written int, err error) {
	defer st.room.Waits()
	if err := st.room.Reserve(len(p)); err != nil {
		return 0, err
	}
	for {
		n, err := st.file.Write(p[written:])
		written += n
		st.room.Wrote(int64(n))
		if !volumes.IsFull(err) {
			return written, err
		}
		if err := st.room.FreeSpace(err, false); err != nil {
			return written, err
		}
	}
}

// rangeSize is how many bytes one call copies at most, so that a cancelled context is noticed soon.
const rangeSize = 16 << 20

// Clone copies a file of this size to an empty staged file. Either the two files share their blocks, or the kernel
// copies the bytes. Clone returns the number of bytes. A number below size means that the source has become shorter.
// errors.ErrUnsupported says that neither is possible, and that the staged file is still empty.
//
// Clone does not read the content. So the caller must look at the source before and after the call, to know which
// version of the source was copied.
func (st *Staged) Clone(ctx context.Context, from *vfs.File, size int64) (n int64, err error) {
	if err := st.file.CloneFrom(from); !errors.Is(err, errors.ErrUnsupported) {
		return size, err
	}
	for n < size {
		begin, end := st.volume.NextData(from, n, size)
		if begin == size {
			return size, st.Skip(size)
		}
		for n = begin; n < end; {
			if err := ctx.Err(); err != nil {
				return n, err
			}
			most := min(end-n, rangeSize)
			if err := st.room.Reserve(int(most)); err != nil {
				return n, err
			}
			m, err := st.file.CopyFrom(from, n, int(most))
			n += int64(m)
			st.room.Wrote(int64(m))
			if volumes.IsFull(err) {
				err = st.room.FreeSpace(err, false)
			} else if err == nil && m == 0 {
				return n, nil
			}
			if err != nil {
				return n, err
			}
		}
	}
	return n, nil
}

// Skip leaves a hole up to an offset, which lies behind all written content. The next write begins there.
func (st *Staged) Skip(to int64) error {
	return st.room.Retry(func() error { return st.file.Extend(to) })
}

// NextData returns the next range of an open file of a given size that is no hole, from an offset on. If there is none,
// it returns an empty range at the end of the file. A file that is too small to have a hole counts as data, and so does
// a file on a file system that does not report holes.
func (s *FS) NextData(f *vfs.File, offset, size int64) (from, to int64) {
	if size <= volumes.Block {
		return offset, size
	}
	from, to, err := f.NextData(offset)
	switch {
	case errors.Is(err, io.EOF):
		return size, size
	case err != nil || from < offset || to <= from:
		return offset, size
	}
	return min(from, size), min(to, size)
}

// ReadAt reads the content of a staged file.
func (st *Staged) ReadAt(p []byte, offset int64) (int, error) { return st.file.ReadAt(p, offset) }

// Annotate sets the metadata of a version. It may be called again until the version is committed.
func (st *Staged) Annotate(meta Meta) error {
	st.seen = vfs.Info{}
	f := st.file
	if f == nil {
		dir, err := st.at.OpenAny()
		if err != nil {
			return err
		}
		defer dir.Close()
		f = dir
	}
	st.traits.Made, st.traits.Values = st.volume.Made, st.volume.properties
	if err := st.traits.Set(f, meta.Traits); err != nil {
		return err
	}
	if meta.Modified.IsZero() {
		return nil
	}
	err := st.SetModified(meta.Modified)
	if volumes.IsNoTime(err) {
		err = nil // the disk keeps no such time, and the version keeps the time that it has
	}
	return err
}

// SetModified sets the modification time of a version. The version may have been synced already, since the time is not
// content.
func (st *Staged) SetModified(t time.Time) error {
	st.seen = vfs.Info{}
	return st.at.In.Chtimes(st.at.Base, t)
}

// endWriting closes a staged file. The kernel grants no lease on a file that is open for writing.
func (st *Staged) endWriting() { _ = st.Close() }

// Abilities returns the abilities of the file system on which the version is staged.
func (st *Staged) Abilities() volumes.Abilities { return st.volume.Able() }

// Seen looks at a complete staged version. It looks once after each change of the metadata, and then returns that look
// again.
func (st *Staged) Seen() (_ vfs.Info, err error) {
	if !st.seen.Exists() {
		st.endWriting()
		st.seen, err = st.Info()
	}
	return st.seen, err
}

// Info looks at a staged version.
func (st *Staged) Info() (vfs.Info, error) { return st.at.Lstat() }

// Lease takes a lease on a file that is about to be committed, unless the file has one. No content can be written to
// the file after that. The lease stays with the file, also under another name, until [Staged.Release]. Lease fails as
// [vfs.File.Lease] does.
func (st *Staged) Lease() (*vfs.File, error) {
	if st.leased != nil {
		return st.leased, nil
	}
	st.endWriting()
	f, err := st.at.OpenAny()
	if err != nil {
		return nil, err
	}
	if err := f.Lease(); err != nil {
		f.Close()
		return nil, err
	}
	st.leased = f
	return f, nil
}

// Release gives up the lease, if there is one. Programs that wait for its end may write to the file then.
func (st *Staged) Release() {
	st.leased.Close()
	st.leased = nil
}

// Fits reports whether the staged version is on the same file system as a name, so that a rename can give it the name.
// It checks nothing else.
func (st *Staged) Fits(name string) bool {
	v, err := st.volume.volumeFor(path.Dir(volumes.Local(name)))
	return err == nil && v == st.volume
}

// Close closes a complete member of a staged tree.
func (st *Staged) Close() error {
	err := st.file.Close()
	st.file = nil
	return err
}

// Discard removes a staged version. After a commit it only releases the space that was promised to the version. If the
// removal fails, the version is still on the disk. [FS.EmptyTrash] and [FS.MakeRoom] try again. If they fail too, the
// version is removed with the session. A member is removed with the staged tree that it belongs to.
func (st *Staged) Discard() error {
	st.endWriting()
	st.Release()
	st.aside.drop()
	defer st.at.Close()
	if !st.member {
		st.room.Release()
	}
	if st.done {
		return nil
	}
	st.done = true
	err := st.volume.calls.RemoveAll(st.at.Name)
	if err != nil && !st.member {
		st.volume.trash.DeleteLater(st.at.Name)
	}
	return err
}

// MakeRoom is [FS.MakeRoom] for the commit of a staged file or collection.
func (st *Staged) MakeRoom(ctx context.Context, full error) (freed bool) {
	return st.room.MakeRoom(ctx, full)
}
