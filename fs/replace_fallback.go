package fs

import (
	"errors"
	"fmt"
	iofs "io/fs"
	"strconv"
	"strings"

	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
	"r-seed-1f3a754f.example/ifmatch/fs/volumes"
)

// replace renames one name over another on a file system where names cannot be exchanged. At no instant does the second
// name stand for a part of a version. by is the look at the new version. If a collection is one of the two versions,
// there must be an aside for them.
func (v *volume) replace(from, to volumes.Place, by, over vfs.Info, how How, a *aside) error {
	h, err := v.guard(to, over, how)
	if err != nil {
		return err
	}
	defer h.release()
	n := how.note(to.Name, over)
	if over.Kind != vfs.Directory && by.Kind != vfs.Directory {
		if v.opts.History {
			v.history.Link(to, n)
		}
		defer to.Changing()()
		return from.In.RenameTo(from.Base, to.In, to.Base)
	}
	if a == nil || a.displacement != (displacement{to.Name, from.Name, by.Inode, by.Born}) {
		return ErrNotNoted
	}
	end := v.Committing()
	defer end()
	err = v.Rename(a.name, a.old())
	if a.taken = true; err == nil {
		err = from.RenameNew(to)
	}
	if err != nil {
		// On a network file system a rename may have happened although it fails.
		return errors.Join(err, a.giveBack())
	}
	if how.Settled != nil {
		how.Settled()
	}
	end()
	// The old version has given way for good. Without the name "old" in the displacement there is no version to put
	// back. If neither call succeeds, recovery finds that the new version has its name.
	entry, err := v.history.Archive(a.old(), n)
	if err != nil {
		_ = v.Rename(a.old(), a.dir+"/"+displacedGone)
		return nil
	}
	a.taken = false
	v.history.Finish(entry)
	return nil
}

// An aside is a directory of the session to which a version is moved that gives way, where names cannot be exchanged,
// so that this process or the next one can move it back. Its note is on the disk before the lock is taken.
type aside struct {
	displacement
	volume *volume
	dir    string
	taken  bool // the version that gave way may be there
}

// newAside makes an aside for the version at a name, which gives way to the version that was seen at another name.
func (v *volume) newAside(name, by string, seen vfs.Info) (*aside, error) {
	a := &aside{displacement{name, by, seen.Inode, seen.Born}, v, v.Unique(v.Session, displacedName), false}
	err := v.calls.Mkdir(a.dir, 0o777)
	if err == nil {
		note := a.displacement
		note.name, note.by = v.Relative(name), v.Relative(by)
		err = v.WriteFile(a.dir+"/"+displacedPath, note.encode())
	}
	if err == nil {
		err = errors.Join(v.SyncNames(a.dir), v.SyncNames(v.Session))
	}
	if err != nil {
		a.drop()
		return nil, err
	}
	return a, nil
}

// NoteReplaced prepares the commit of a version where names cannot be exchanged: if it is a collection, or replaces one,
// the note of the two renames is on the disk when NoteReplaced returns, as far as the durability asks for it. It must
// not be called under [FS.Lock].
func (st *Staged) NoteReplaced(name string) error {
	v, name := st.volume, volumes.Local(name)
	if v.Able().Exchange {
		return nil
	}
	over, err := v.calls.Lstat(name)
	if err != nil || st.kind != vfs.Directory && over.Kind != vfs.Directory {
		return nil // the commit looks again
	}
	ours, err := st.Seen()
	if err != nil {
		return err
	}
	st.aside.drop()
	return st.room.Retry(func() (err error) {
		st.aside, err = v.newAside(name, st.at.Name, ours)
		return err
	})
}

func (a *aside) old() string { return a.dir + "/" + displacedOld }

// giveBack moves back the version that was moved aside, if there is one.
func (a *aside) giveBack() error {
	v := a.volume
	_, err := v.calls.Lstat(a.old())
	if err == nil {
		err = v.RenameNew(a.old(), a.name)
	} else {
		err = vfs.Ignoring(err, iofs.ErrNotExist)
	}
	if err == nil {
		a.taken = false
		return nil
	}
	return v.deferUndo(a.dir, a.name, vfs.Info{}, func() error {
		_, err := v.recoverDisplaced(a.dir)
		if err == nil {
			v.removeDisplacement(a.dir)
			if v.IsInState(a.by) {
				v.trash.DeleteLater(a.by)
			}
		}
		return err
	}, &iofs.PathError{Op: "restore", Path: a.name, Err: err})
}

// drop removes an aside that has no version.
func (a *aside) drop() {
	if a != nil && !a.taken {
		a.volume.removeDisplacement(a.dir)
	}
}

// removeDisplacement removes the note of a version that was moved aside.
func (s *FS) removeDisplacement(dir string) {
	_ = s.calls.Remove(dir + "/" + displacedPath) // if this fails, the note is removed with the session
	_ = s.calls.Remove(dir)
}

// A displacement says which name a version had that gave way, and which version it gave way to: the staged name of the
// new version, and its inode and birth time, which identify it under any name. The device is not part of the note,
// since it may have another number after the next boot.
type displacement struct {
	name, by string
	inode    uint64
	born     int64
}

// encode ends each field with a NUL, so that an incomplete note is not taken for a complete one.
func (d displacement) encode() []byte {
	return fmt.Appendf(nil, "%s\x00%s\x00%d\x00%d\x00", d.name, d.by, d.inode, d.born)
}

func decodeDisplacement(data []byte) (d displacement, err error) {
	fields := strings.Split(string(data), "\x00")
	if len(fields) != 5 || fields[0] == "" || fields[1] == "" || fields[4] != "" {
		return d, errors.New("it is damaged")
	}
	d.name, d.by = fields[0], fields[1]
	if d.inode, err = strconv.ParseUint(fields[2], 10, 64); err == nil {
		d.born, err = strconv.ParseInt(fields[3], 10, 64)
	}
	return d, err
}
