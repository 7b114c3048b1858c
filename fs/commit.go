package fs

import (
	"errors"
	"fmt"
	iofs "io/fs"
	"syscall"

	"r-seed-1f3a754f.example/ifmatch/fs/history"
	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
	"r-seed-1f3a754f.example/ifmatch/fs/volumes"
)

// How qualifies a commit.
type How struct {
	// Exact: the commit may replace or remove only the version that the caller has seen, and only while no program has
	// it open for writing. Otherwise it may replace or remove any version of the same kind.
	Exact bool
	// Doubtful: the versions that a program had open for writing when the caller read them. If a lease shows that no
	// program writes to such a version any more, an exact commit over it fails with ErrMoved, so that the caller can
	// read it again.
	Doubtful map[vfs.Fingerprint]bool
	// Opened, if not nil, is the file that may be replaced, open for reading, for an exact commit. The commit may close
	// it.
	Opened *vfs.File
	// Unkept: the removed version goes to the trash and not to the history, since the history has no room for it.
	Unkept bool
	Cause  string // for the history: the method, or another word
	By     string // for the history: the user that asked for the commit
	Tag    string // for the history: the ETag of the version that the caller has seen, if known
	// Settled, if not nil, is called where names cannot be exchanged: when the new version has its name for good, and
	// the replaced version has not yet gone to the history. Readers need not wait for that.
	Settled func()
	// Note is the note of a move. A move that replaces a version by an exchange must have one.
	Note *MoveNote
}

// note returns the note of a version that a commit replaces or removes.
func (how How) note(name string, seen vfs.Info) history.Note {
	return history.Note{Path: name, Cause: how.Cause, By: how.By, Tag: how.Tag, Seen: seen}
}

// A MountedError says that a collection cannot be moved or replaced, since a file system is mounted at its name or
// below it.
type MountedError struct{ At string }

func (e *MountedError) Error() string { return fmt.Sprintf("a file system is mounted at %q", e.At) }

// The errors after which the caller of a commit looks again. Nothing has changed then. ErrWriter and ErrExist are such
// errors too.
var (
	// ErrStands says that the new version has the name although the commit failed, since the exchange could not be
	// undone. The version that it replaced is in the history.
	ErrStands = errors.New("the new version could not be taken back")

	// errStagedLost says that the staged version is gone, so that the commit cannot be tried again. Between the
	// exchange and its undo, a local program has replaced the staged version or has written to it.
	errStagedLost = fmt.Errorf("a local program has taken the place of the new version (%w)", vfs.ErrBusy)
)

// Commit gives a staged version its name, in place of the file or collection that the caller has just seen there. It
// must be called under [FS.Lock]. It fails with ErrExist if a file or collection has appeared at a free name. It fails
// with ErrMoved if the version at the name is not the one that the caller has seen, and with ErrWriter if a program has
// it open for writing. When Commit fails, the old version has its name.
//
//	free name:      RenameNew(stage, name)
//	else:           lease(name), compare it with the caller's look, into the history: RenameNew(stage, entry),
//	                exchange(entry, name), compare the replaced version, exchange back if it differs
//
// The replaced version stays in the history. If names cannot be exchanged, Commit replaces a file by one rename and a
// collection by two, and does not compare the replaced version. It fails with ErrNotNoted then unless
// [Staged.NoteReplaced] has noted the two renames.
func (st *Staged) Commit(p volumes.Place, over vfs.Info, how How) error {
	if st.done {
		return errStagedLost
	}
	st.endWriting()
	v := st.volume
	var err error
	if !over.Exists() {
		end := p.Changing()
		err = st.at.In.RenameNewTo(st.at.Base, p.In, p.Base)
		end()
	} else if v.Able().Exchange {
		err = v.commitOver(st, p, over, how)
	} else if ours, failed := st.Seen(); failed != nil {
		err = failed
	} else {
		err = v.replace(st.at, p, ours, over, how, st.aside)
	}
	// A later try of the undo acts on the place at which it finds the new version. So the new version stays there.
	if err == nil || errors.Is(err, ErrAway) || errors.Is(err, errStagedLost) || errors.Is(err, ErrStands) {
		st.done = true
	}
	if err == nil && st.traits.Later != 0 {
		_ = p.SetMode(st.traits.Later) // the commit is done: at worst the owner of the file may write to it
	}
	return err
}

func (v *volume) commitOver(st *Staged, p volumes.Place, over vfs.Info, how How) error {
	h, err := v.guard(p, over, how)
	if err != nil {
		return err
	}
	defer h.release()
	ours, err := st.Seen()
	if err != nil {
		return err
	}
	defer v.Committing()()
	n := how.note(p.Name, over)
	entry, err := v.history.ArchiveStaged(st.at, ours.Inode, n)
	if err != nil {
		return err
	}
	defer entry.Close()
	if seen, err := v.swap(entry, p, ours, h, n); err != nil {
		return errors.Join(err, v.unstage(st.at, entry, ours, seen, n))
	}
	v.history.Finish(entry.Name)
	return nil
}

// unstage moves the staged version of a failed commit from the history back to the staging directory. If programs could
// see the version under its name, and a local program has written to it there, it becomes a history entry instead.
func (v *volume) unstage(staged, entry volumes.Place, ours vfs.Info, seen bool, n history.Note) error {
	left, err := entry.Lstat()
	if err == nil && !left.SameFile(ours) {
		return nil // the entry is the version that a local program, or the new version, has replaced
	}
	n = history.Note{Path: n.Path, Cause: n.Cause, By: n.By, Seen: left}
	touched := false
	if err == nil && seen {
		touched, err = v.isTouched(entry, ours)
	}
	switch {
	case err == nil && !touched:
		if err = entry.RenameNew(staged); err == nil {
			return nil
		}
	case err == nil:
		err = v.history.KeepOrphan(entry.Name, n)
	}
	if err != nil && seen {
		err = v.deferUndo(entry.Name, n.Path, ours, func() error { return v.history.KeepOrphan(entry.Name, n) }, err)
	} else if err != nil {
		v.trash.DeleteLater(entry.Name) // no program can have written to it
	}
	return errors.Join(errStagedLost, err)
}

// isTouched reports whether a program has written, or may still write, to a version that had no name before the
// exchange.
func (v *volume) isTouched(entry volumes.Place, before vfs.Info) (bool, error) {
	f, err := entry.OpenAny()
	switch {
	case errors.Is(err, syscall.EAGAIN):
		return true, nil // opening it would wait for a program that writes
	case errors.Is(err, iofs.ErrPermission):
		return false, nil // other programs may not open it either
	case err != nil:
		return false, err
	}
	defer f.Close()
	if v.Able().Leases && errors.Is(f.Lease(), vfs.ErrWriter) {
		return true, nil
	}
	now, err := f.Stat()
	return now.Size != before.Size || now.Modified != before.Modified, err
}

// asChanged turns the failure to rename a name that existed a moment ago into ErrMoved.
func asChanged(err error) error {
	if errors.Is(err, iofs.ErrNotExist) {
		return fmt.Errorf("%w: %w", volumes.ErrMoved, err)
	}
	return err
}

// swap exchanges the staged version, which is in the history, with name, and looks at the replaced version. If the
// guard has not seen that version, swap undoes the exchange and returns an error. Then the staged version is in the
// history again, unless the error is errStagedLost or ErrStands. seen reports whether the staged version has had the
// name, or may have had it.
func (v *volume) swap(entry, p volumes.Place, ours vfs.Info, h *leaseGuard, n history.Note) (seen bool, err error) {
	if failed := entry.Exchange(p); failed != nil {
		// Over a network the exchange may have happened although the call fails.
		now, err := entry.Lstat()
		if err != nil || now.SameFile(ours) {
			return err != nil && !volumes.IsExhausted(failed), asChanged(failed)
		}
	}
	out, err := entry.Lstat()
	if err == nil {
		err = h.compare(out)
	}
	if err != nil {
		failed := undoExchange(entry, p, ours)
		if errors.Is(failed, ErrStands) && !v.opts.History {
			v.history.Correct(entry, n) // the replaced version is kept although there is no history
		}
		return true, errors.Join(err, failed)
	}
	out = keepModified(entry, out, n.Seen)
	if ours.Kind == vfs.Directory {
		if now, err := p.Lstat(); err == nil {
			keepModified(p, now, ours)
		}
	}
	if out.Inode != n.Seen.Inode || out.Size != n.Seen.Size || out.Modified != n.Seen.Modified {
		n.Seen, n.Tag = out, ""
		v.history.Correct(entry, n)
	}
	return true, nil
}

// keepModified gives a directory that was exchanged its modification time back, since an exchange on XFS changes it. It
// returns the look at the directory. A failure is no error: the directory has its name.
func keepModified(p volumes.Place, now, had vfs.Info) vfs.Info {
	if now.Kind == vfs.Directory && now.SameFile(had) && now.Modified != had.Modified &&
		p.In.Chtimes(p.Base, had.ModTime()) == nil {
		now.Modified, now.Second = had.Modified, had.Second
	}
	return now
}

// maxUndos bounds how often local programs may replace a version between an exchange and its undo.
const maxUndos = 16

// undoExchange exchanges the names again. If the version that comes out of name is not the staged one, a local program
// has replaced the staged version in between. Then the program's version goes back to the name, in exchange for the
// version that undoExchange put there last. At the end the history has the staged version. Otherwise the history has
// the version that a local program has replaced, and errStagedLost says that the staged version is gone.
func undoExchange(entry, p volumes.Place, ours vfs.Info) error {
	expected := ours
	for range maxUndos {
		other, _ := entry.Lstat() // of no file if that fails
		err := entry.Exchange(p)
		if errors.Is(err, iofs.ErrNotExist) {
			return errStagedLost // a local program has removed it
		}
		if err != nil {
			return fmt.Errorf("%w: %w", ErrStands, err)
		}
		got, err := entry.Lstat()
		if err != nil {
			return nil // the exchange has happened, and its result is not known
		}
		if got.SameFile(expected) {
			if expected.SameFile(ours) {
				return nil
			}
			return errStagedLost
		}
		expected = other
	}
	return errStagedLost
}
