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
// name stand for a part of a version.
func (v *volume) replace(from, to volumes.Place, directory bool, over vfs.Info, how How) error {
	h, err := v.guard(to, over, how)
	if err != nil {
		return err
	}
	defer h.release()
	n := how.note(to.Name, over)
	if over.Kind != vfs.Directory && !directory {
		if v.opts.History {
			v.history.Link(to, n)
		}
		defer to.Changing()()
		return from.In.RenameTo(from.Base, to.In, to.Base)
	}
	end := v.Committing()
	defer end()
	gone, err := v.moveAside(to.Name, from.Name)
	if err != nil {
		return err
	}
	if err := from.RenameNew(to); err != nil {
		return errors.Join(err, v.restore(gone, to.Name, from.Name))
	}
	if how.Settled != nil {
		how.Settled()
	}
	end()
	// The old version has given way for good. Without the name "old" in the displacement there is no version to put
	// back. If neither call succeeds, recovery finds that the new version has its name.
	old := gone + "/" + displacedOld
	entry, err := v.history.Archive(old, n)
	if err != nil {
		_ = v.Rename(old, gone+"/"+displacedGone)
		return nil
	}
	v.history.Finish(entry)
	v.removeDisplacement(gone)
	return nil
}

// moveAside moves the version at name out of the way of the staged version at by, so that this process or the next one
// can move it back.
func (v *volume) moveAside(name, by string) (dir string, err error) {
	info, err := v.calls.Lstat(by)
	if err != nil {
		return "", err
	}
	dir = v.Unique(v.Session, displacedName)
	if err := v.calls.Mkdir(dir, 0o777); err != nil {
		return "", err
	}
	d := displacement{v.Relative(name), v.Relative(by), info.Inode, info.Born}
	err = v.WriteFile(dir+"/"+displacedPath, d.encode())
	if err == nil && v.opts.Durability == Full {
		err = errors.Join(v.SyncDir(dir), v.SyncDir(v.Session))
	}
	if err == nil {
		err = v.Rename(name, dir+"/"+displacedOld)
	}
	if err != nil {
		// On a network file system a rename may have happened although it fails.
		return "", errors.Join(err, v.restore(dir, name, by))
	}
	return dir, nil
}

// restore moves back the version that was moved aside, if there is one, and removes the note of it.
func (v *volume) restore(dir, name, by string) error {
	old := dir + "/" + displacedOld
	info, err := v.calls.Lstat(old)
	if err == nil {
		err = v.RenameNew(old, name)
	} else if errors.Is(err, iofs.ErrNotExist) {
		err = nil
	}
	if err != nil {
		a := pendingUndo{at: old, name: name, was: info, displaced: dir, by: by}
		return v.deferUndo(a, &iofs.PathError{Op: "restore", Path: name, Err: err})
	}
	v.removeDisplacement(dir)
	return nil
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
