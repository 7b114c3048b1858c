package fs

import (
	"errors"
	"fmt"
	iofs "io/fs"
	"os"
	"syscall"
)

// Move gives what from names another name, in place of what is there; the caller has just seen both. It must be called
// under [FS.Lock], and fails as [Place.Commit] does.
//
//	nothing there:  lease(from), renameNew(from, to), compare what is there now, and rename it back if need be
//	one name:       see respell
//	else:           leases, renameNew(from, entry), and on as in a commit
func (s *FS) Move(from string, source Info, to string, over Info, how How) error {
	v, err := s.volumeHolding(from, source)
	if err != nil {
		return err
	}
	respelled := over.Exists() && s.SameName(from, source, to, over)
	if over.Exists() && !respelled {
		if other, err := s.volumeHolding(to, over); err != nil {
			return err
		} else if other != v {
			return &os.LinkError{Op: "rename", Old: from, New: to, Err: syscall.EXDEV}
		}
	}
	if respelled {
		err = v.respell(from, source, to, how)
	} else {
		err = v.move(from, source, to, over, how)
	}
	if err != nil {
		return err
	}
	if source.Kind == Directory {
		s.moveVolumes(from, to)
	}
	return nil
}

func (v *volume) move(from string, source Info, to string, over Info, how How) error {
	switch {
	case !over.Exists():
		return v.moveNew(from, source, to, how)
	case v.able().Exchange:
		return v.moveOver(from, source, to, over, how)
	}
	if err := v.checkNoMounts(from, source); err != nil {
		return err
	}
	return v.replace(from, to, source.Kind == Directory, over, how)
}

func (v *volume) moveNew(from string, source Info, to string, how How) error {
	h, err := v.guard(from, source, how)
	if err != nil {
		return err
	}
	defer h.release()
	defer v.committing()()
	if err := v.renameNew(from, to); err != nil {
		return asChanged(err)
	}
	if err := h.check(v, to); err != nil {
		return errors.Join(err, v.undoMove(to, from, note{path: from, cause: how.Cause, by: how.By, seen: source}))
	}
	return nil
}

// respell gives what has a name another spelling of that; see [FS.SameName]. Where both are one file to a system, as
// they are to Linux, it may do nothing at all and report no failure. Then the name is given up first:
//
//	lease(from), rename(from, to), look for the name in its directory
//	not there:      renameNew(from, entry), renameNew(entry, to)
func (v *volume) respell(from string, source Info, to string, how How) error {
	h, err := v.guard(from, source, how)
	if err != nil {
		return err
	}
	defer h.release()
	defer v.committing()()
	err = v.rename(from, to)
	if errors.Is(err, iofs.ErrNotExist) {
		return asChanged(err)
	}
	if err == nil && v.isListed(to) {
		if err := h.check(v, to); err != nil {
			return errors.Join(err, v.rename(to, from))
		}
		return nil
	}
	n := note{path: to, from: from, cause: how.Cause, by: how.By, seen: source}
	entry, err := v.archive(from, fmt.Sprintf("%s%d-", movedPrefix, source.Inode), n)
	if err != nil {
		return asChanged(err)
	}
	back := note{path: from, cause: how.Cause, by: how.By, seen: source}
	if err := h.check(v, entry); err != nil {
		return errors.Join(err, v.undoMove(entry, from, back))
	}
	if err := v.renameNew(entry, to); err != nil {
		return errors.Join(err, v.undoMove(entry, from, back))
	}
	return nil
}

func (v *volume) moveOver(from string, source Info, to string, over Info, how How) error {
	hf, err := v.guard(from, source, how)
	if err != nil {
		return err
	}
	defer hf.release()
	ht, err := v.guard(to, over, how)
	if err != nil {
		return err
	}
	defer ht.release()
	defer v.committing()()
	n := note{path: to, from: from, cause: how.Cause, by: how.By, tag: how.Tag, seen: over}
	entry, err := v.archive(from, fmt.Sprintf("%s%d-", movedPrefix, source.Inode), n)
	if err != nil {
		return asChanged(err)
	}
	back := note{path: from, cause: how.Cause, by: how.By, seen: source}
	if err := hf.check(v, entry); err != nil {
		return errors.Join(err, v.undoMove(entry, from, back))
	}
	if _, err := v.swap(v.at(entry), v.at(to), source, ht, n); err != nil {
		left, failed := v.calls.Lstat(entry)
		switch {
		case failed != nil:
			failed = v.deferUndo(pendingUndo{at: entry, name: from, note: back, was: source}, failed)
		case left.SameFile(source):
			if errors.Is(err, iofs.ErrNotExist) && Alike(from, to) && v.renameNew(entry, to) == nil {
				return nil // it was another spelling of the source after all
			}
			failed = v.undoMove(entry, from, back)
		}
		return errors.Join(err, failed)
	}
	v.finishArchive(entry)
	return nil
}

// rename and renameNew are [Place.rename] and [Place.renameNew] by names.
func (s *FS) rename(from, to string) error    { return s.at(from).rename(s.at(to)) }
func (s *FS) renameNew(from, to string) error { return s.at(from).renameNew(s.at(to)) }

// writable repeats a rename with write permission on the directories that it moves, if the system asks for it.
func (s *FS) writable(rename func() error, places ...Place) error {
	err := rename()
	if !errors.Is(err, iofs.ErrPermission) {
		return err
	}
	granted := false
	for _, p := range places {
		if revoke, ok := p.grantWrite(); ok {
			defer revoke()
			granted = true
		}
	}
	if granted {
		err = rename()
	}
	return err
}

// grantWrite gives the owner of a directory permission to write to it, unless it has that. revoke sets the mode that
// the directory had, whatever its name is by then.
func (p Place) grantWrite() (revoke func(), ok bool) {
	if info, err := p.Lstat(); err != nil || info.Kind != Directory || info.Mode&ownerWrite != 0 {
		return nil, false
	}
	dir, err := p.open()
	if err != nil {
		return nil, false
	}
	info, err := dir.Stat()
	if err == nil {
		err = dir.Chmod(info.Mode | ownerWrite)
	}
	if err != nil {
		dir.Close()
		return nil, false
	}
	return func() {
		_ = dir.Chmod(info.Mode) // it has its name: at worst its owner may write to it
		dir.Close()
	}, true
}
