package fs

import (
	"errors"
	"fmt"
	"syscall"
)

// A Taken is a file or collection that was renamed out of the way while a copy of it is committed on another file
// system. It is in the history of its own volume, and [FS.Recover] moves it back to its name if its maker dies. With
// [How].Unkept it is in the trash, under a name that is not deleted; when the process dies it goes to the history, if
// there is room by then.
type Taken struct {
	volume *volume
	hold   *leaseGuard
	entry  string
	note   note
	unkept bool
}

// Take takes a name away, which the caller has just seen. It must be called under [FS.Lock], and fails as [Place.Commit]
// does. Call GiveBack or GiveUp before the lock is released.
func (s *FS) Take(name string, seen Info, how How) (*Taken, error) {
	v, err := s.volumeHolding(name, seen)
	if err != nil {
		return nil, err
	}
	h, err := v.guard(name, seen, how)
	if err != nil {
		return nil, err
	}
	defer v.committing()()
	n := note{path: name, cause: how.Cause, by: how.By, tag: how.Tag, seen: seen}
	t := &Taken{volume: v, hold: h, note: n, unkept: how.Unkept}
	if t.unkept {
		t.entry = v.unique(v.statePath(trashPart), takenPrefix)
		err = v.renameNew(name, t.entry)
	} else {
		onItsWay := t.note
		onItsWay.from = name
		t.entry, err = v.archive(name, fmt.Sprintf("%s%d-", movedPrefix, seen.Inode), onItsWay)
	}
	if err != nil {
		h.release()
		return nil, asChanged(err)
	}
	if err := h.check(v, t.entry); err != nil {
		return nil, errors.Join(err, t.GiveBack())
	}
	return t, nil
}

// GiveBack moves it back to its name. If the name is taken now, it stays in the history.
func (t *Taken) GiveBack() error {
	defer t.hold.release()
	return t.volume.undoMove(t.entry, t.note.path, t.note)
}

// GiveUp leaves it in the history or the trash, as if it had been removed.
func (t *Taken) GiveUp() error {
	defer t.hold.release()
	if t.unkept {
		if t.volume.renameNew(t.entry, t.volume.unique(t.volume.statePath(trashPart), "")) != nil {
			t.volume.undeleted.add(t.entry)
		}
		return nil
	}
	entry, err := t.volume.archive(t.entry, removedPrefix, t.note)
	if err != nil {
		return t.volume.deferUndo(pendingUndo{at: t.entry, note: t.note, was: t.note.seen}, err)
	}
	t.volume.finishArchive(entry)
	return nil
}

// Kept returns it as a version of the history, so that its members can be read.
func (t *Taken) Kept() Kept { return Kept{Path: t.note.path, Info: t.note.seen, at: t.entry} }

// Unkept returns what was seen at a name in the form of a version of the history.
func (s *FS) Unkept(name string, seen Info) Kept {
	return Kept{Path: name, Info: seen, at: local(name)}
}

// Remove is [Place.Remove] by a name.
func (s *FS) Remove(name string, seen Info, how How) error { return s.at(name).Remove(seen, how) }

// Remove takes a name away, which the caller has just seen, by one rename into the history. It must be called under
// [FS.Lock], and fails as [Place.Commit] does.
func (p Place) Remove(seen Info, how How) error {
	s, name := p.s, p.name
	if how.Unkept {
		t, err := s.Take(name, seen, how)
		if err != nil {
			return err
		}
		return t.GiveUp()
	}
	v, err := s.volumeHolding(name, seen)
	if err != nil {
		return err
	}
	h, err := v.guardAt(p, seen, how)
	if err != nil {
		return err
	}
	defer h.release()
	defer v.committing()()
	n := note{path: name, cause: how.Cause, by: how.By, tag: how.Tag, seen: seen}
	entry, err := v.archiveFrom(p, removedPrefix, n)
	if errors.Is(err, syscall.EXDEV) && seen.Kind == Directory && p.remove() == nil {
		return nil // an overlay renames no directory of a lower layer, and removes it if it is empty
	}
	if err != nil {
		return asChanged(err)
	}
	defer entry.Close()
	if err := h.checkAt(entry); err != nil {
		return errors.Join(err, v.undoMove(entry.name, name, n))
	}
	v.finishArchive(entry.name)
	return nil
}
