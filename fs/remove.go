package fs

import (
	"errors"
	"syscall"

	"r-seed-1f3a754f.example/ifmatch/fs/history"
	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
	"r-seed-1f3a754f.example/ifmatch/fs/volumes"
)

// A Taken is a file or collection that was renamed out of the way, so that the server can look at it where no client
// can reach it. It is a history entry of its own volume. With [How].Unkept it is in the trash, under a name that is not
// deleted. If the process dies, the file or collection goes to the history, if there is room by then.
type Taken struct {
	volume *volume
	entry  string
	note   history.Note
	unkept bool
}

// Take takes the file or collection away that the caller has just seen at a name. It must be called under [FS.Lock],
// and fails as [Staged.Commit] does. Until GiveUp, the entry is noted as recovered: it may have to be given back, so no
// process drops it from the history. This process does not move it there either, until Release.
func (s *FS) Take(name string, seen vfs.Info, how How) (*Taken, error) {
	cause := how.Cause
	how.Cause = history.CauseRecovered
	t, err := s.take(s.At(name), seen, how)
	if err != nil {
		if t != nil {
			t.Release()
		}
		return nil, err
	}
	t.note.Cause = cause
	return t, nil
}

// take is [FS.Take] for a place. If it fails after it has taken the file or collection, it has given it back, and
// returns what it had taken.
func (s *FS) take(p volumes.Place, seen vfs.Info, how How) (*Taken, error) {
	v, err := s.volumeHolding(p.Name, seen)
	if err != nil {
		return nil, err
	}
	h, err := v.guard(p, seen, how)
	if err != nil {
		return nil, err
	}
	defer h.release()
	defer v.Committing()()
	n := how.note(p.Name, seen)
	n.Always, n.Time = n.Cause == history.CauseRecovered, s.opts.Now().UnixNano()
	var entry volumes.Place
	if how.Unkept {
		entry = v.At(v.trash.Taken())
		err = p.RenameNew(entry)
	} else {
		entry, err = v.history.ArchiveFrom(p, n)
	}
	if err != nil {
		return nil, asChanged(err)
	}
	defer entry.Close()
	v.history.Hold(entry.Name)
	t := &Taken{volume: v, entry: entry.Name, note: n, unkept: how.Unkept}
	if err := h.check(entry); err != nil {
		return t, errors.Join(err, t.GiveBack())
	}
	return t, nil
}

// GiveBack moves the file or collection back to its name. If the name is taken now, the file or collection stays in the
// history. GiveBack must be called under [FS.Lock].
func (t *Taken) GiveBack() error { return t.volume.undoMove(t.entry, t.note.Path, t.note) }

// GiveUp leaves the file or collection in the history or the trash. It must be called under [FS.Lock].
func (t *Taken) GiveUp() {
	if !t.unkept {
		t.volume.history.Correct(t.volume.At(t.entry), t.note)
	}
	t.leave()
}

func (t *Taken) leave() {
	if !t.unkept {
		t.volume.history.Finish(t.entry)
	} else if t.volume.trash.Put(t.entry) != nil {
		t.volume.trash.DeleteLater(t.entry)
	}
}

// GiveBackLater leaves it to [FS.PutBack] to move the file or collection back, for a reason. It fails with ErrAway.
func (t *Taken) GiveBackLater(reason error) error {
	v, n := t.volume, t.note
	return v.deferUndo(t.entry, n.Path, n.Seen, func() error { return v.undoTo(t.entry, n.Path, n) }, reason)
}

// Release ends the protection of the entry from expiry. It may be called again.
func (t *Taken) Release() { t.volume.history.Release(t.entry) }

// Kept returns the file or collection as a version of the history, so that its members can be read.
func (t *Taken) Kept() history.Kept { return history.OutsideHistory(t.entry, t.note.Path, t.note.Seen) }

// Unkept returns the file or collection that was seen at a name, in the form of a version of the history.
func (s *FS) Unkept(name string, seen vfs.Info) history.Kept {
	return history.OutsideHistory(volumes.Local(name), name, seen)
}

// Remove takes the file or collection away that the caller has just seen at the place, by one rename into the history.
// It must be called under [FS.Lock], and fails as [Staged.Commit] does.
func (s *FS) Remove(p volumes.Place, seen vfs.Info, how How) error {
	t, err := s.take(p, seen, how)
	if t != nil {
		defer t.Release()
	} else if errors.Is(err, syscall.EXDEV) && !how.Unkept && seen.Kind == vfs.Directory && p.RemoveEmpty() == nil {
		return nil // an overlay cannot rename a directory of a lower layer, but can remove an empty one
	}
	if err != nil {
		return err
	}
	t.leave()
	return nil
}
