package fs

import (
	"errors"
	iofs "io/fs"
	"os"
	"syscall"

	"r-seed-1f3a754f.example/ifmatch/fs/history"
	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
	"r-seed-1f3a754f.example/ifmatch/fs/volumes"
)

// Move renames the file or collection at from to the name to, and replaces the file or collection that has that name.
// The caller has just looked at both names. Move must be called under [FS.Lock]. It fails as [Staged.Commit] does, and
// with ErrNotNoted if how.Note describes other files.
//
//	nothing there:  lease(from), RenameNew(from, to), compare, and rename it back if need be
//	one name:       see respell
//	else:           leases, exchange(from, to), compare both, RenameNew(from, entry), and compare that
//
// Between two system calls each version has a name that users see, or is in the history.
func (s *FS) Move(from string, source vfs.Info, to string, over vfs.Info, how How) error {
	v, err := s.volumeHolding(from, source)
	if err != nil {
		return err
	}
	change := v.move
	if over.Exists() && s.SameName(from, source, to, over) {
		change = v.respell
	} else if over.Exists() {
		if other, err := s.volumeHolding(to, over); err != nil {
			return err
		} else if other != v {
			return &os.LinkError{Op: "rename", Old: from, New: to, Err: syscall.EXDEV}
		}
	}
	if err := change(from, source, to, over, how); err != nil {
		return err
	}
	if source.Kind == vfs.Directory {
		s.MoveVolumes(from, to)
	}
	return nil
}

func (v *volume) move(from string, source vfs.Info, to string, over vfs.Info, how How) error {
	switch {
	case !over.Exists():
		return v.moveNew(from, source, to, how)
	case v.canExchange(source, over) && !how.Note.isOf(v, from, source, to, over):
		return ErrNotNoted
	case v.canExchange(source, over):
		return how.Note.moveOver(source, over, how)
	}
	if err := v.checkNoMounts(from, source); err != nil {
		return err
	}
	var a *aside
	if how.Note != nil {
		a = how.Note.aside
	}
	return v.replace(v.At(from), v.At(to), source, over, how, a)
}

func (v *volume) moveNew(from string, source vfs.Info, to string, how How) error {
	h, err := v.guard(v.At(from), source, how)
	if err != nil {
		return err
	}
	defer h.release()
	defer v.Committing()()
	if err := v.RenameNew(from, to); err != nil {
		return asChanged(err)
	}
	if err := h.check(v.At(to)); err != nil {
		return errors.Join(err, v.undoMove(to, from,
			history.Note{Path: from, Cause: how.Cause, By: how.By, Seen: source}))
	}
	return nil
}

// respell gives a file or collection another spelling of its name, see [FS.SameName]. If the system takes both
// spellings for one file, as Linux does, a rename may do nothing at all and report no failure. Then respell first
// renames the file into the history, where it is an entry for a short time, and then gives it the new spelling:
//
//	lease(from), rename(from, to), look for the name in its directory
//	not there:      RenameNew(from, entry), RenameNew(entry, to)
func (v *volume) respell(from string, source vfs.Info, to string, over vfs.Info, how How) error {
	h, err := v.guard(v.At(from), source, how)
	if err != nil {
		return err
	}
	defer h.release()
	m, noted := how.Note, v.canExchange(source, over)
	if noted && !m.isOf(v, from, source, to, over) {
		return ErrNotNoted
	}
	defer v.Committing()()
	err = v.Rename(from, to)
	if errors.Is(err, iofs.ErrNotExist) {
		return asChanged(err)
	}
	if err == nil && v.IsListed(to) {
		if err := h.check(v.At(to)); err != nil {
			return errors.Join(err, v.Rename(to, from))
		}
		return nil
	}
	entry := v.history.NewEntry(source.Size)
	if noted {
		entry = m.entry
		if err := m.mark(); err != nil {
			return err
		}
		defer m.unmark()
	}
	n := history.Note{Path: from, Cause: how.Cause, By: how.By, Seen: source}
	if err := v.history.ArchiveAs(entry, from, n); err != nil {
		return asChanged(err)
	}
	if err := h.check(v.At(entry)); err != nil {
		return errors.Join(err, v.undoMove(entry, from, n))
	}
	if err := v.RenameNew(entry, to); err != nil {
		return errors.Join(err, v.undoMove(entry, from, n))
	}
	return nil
}

// moveOver exchanges the two names of the note, and then renames the replaced version into the history.
func (m *MoveNote) moveOver(source, over vfs.Info, how How) error {
	if !m.watched {
		defer m.Unwatch()
	}
	hf, err := m.guard(&m.source, m.from, source, how)
	if err != nil {
		return err
	}
	ht, err := m.guard(&m.over, m.to, over, how)
	if err != nil {
		return err
	}
	v := m.volume
	defer v.Committing()()
	defer m.unmark()
	if err := m.mark(); err != nil {
		return err
	}
	n := m.note()
	n.Tag = how.Tag
	if m.hour != nil {
		if err := v.history.WriteNote(m.hour, m.entry, n); err != nil {
			return err
		}
	}
	return m.exchange(hf, ht, n)
}

// guard is [volume.guard] for a file that is already open. If the lease is older than the caller's look, guard does not
// look at the file again.
func (m *MoveNote) guard(end *moveEnd, name string, seen vfs.Info, how How) (*leaseGuard, error) {
	v, h := m.volume, &leaseGuard{seen: seen, exact: how.Exact}
	if err := v.checkNoMounts(name, seen); err != nil || seen.Kind != vfs.Regular {
		return h, err
	}
	before := m.watched
	if !before {
		end.watch(v)
	}
	h.lease = end.lease
	switch {
	case !how.Exact:
		return h, nil
	case end.busy && end.file == nil:
		return h, ErrNotNoted // opening the file failed, and may succeed now
	case end.busy:
		return h, vfs.ErrWriter
	case end.file == nil || end.lease == nil:
		return h, h.checkAll(v.calls.Lstat(name))
	case how.Doubtful[seen.Fingerprint]:
		return h, volumes.ErrMoved
	case before:
		return h, nil
	}
	return h, h.checkAll(end.file.Stat())
}

// exchange does the first rename of a move, and looks at both names.
func (m *MoveNote) exchange(source, over *leaseGuard, n history.Note) error {
	v := m.volume
	if failed := v.Exchange(m.from, m.to); failed != nil {
		// Over a network, an exchange may have happened although the call fails.
		now, err := v.calls.Lstat(m.from)
		switch {
		case err != nil && !errors.Is(err, iofs.ErrNotExist) && !volumes.IsExhausted(failed):
			return m.leave(errors.Join(failed, err))
		case err != nil || !now.SameFile(over.seen):
			return asChanged(failed)
		}
	}
	out, err := v.calls.Lstat(m.from)
	if errors.Is(err, iofs.ErrNotExist) {
		// A local program has removed the name, or has moved the file on, after the exchange.
		m.lost = true
		return nil
	}
	in, failed := v.calls.Lstat(m.to)
	if err = errors.Join(err, failed); err == nil {
		err = errors.Join(source.compareFile(in), over.compareFile(out))
	}
	if err != nil {
		return m.undo(err)
	}
	// An exact comparison has just asked the lease.
	quiet := source.exact && source.lease != nil || m.source.isQuiet()
	out = keepModified(v.At(m.from), out, over.seen)
	in = keepModified(v.At(m.to), in, source.seen)
	if err := m.archive(out, n); err != nil {
		return err
	}
	if !v.Able().ExchangeTimes && in.Kind == vfs.Regular {
		in = v.stamp(m.to, in)
	}
	m.arrived, m.quiet = in, quiet
	return nil
}

// compareFile is compare, but it requires the very same file even if any version would satisfy the commit, since the
// note describes that file.
func (h *leaseGuard) compareFile(now vfs.Info) error {
	if !now.SameFile(h.seen) {
		return volumes.ErrMoved
	}
	return h.compare(now)
}

// stamp sets the time of change of a file to now, for a file system on which an exchange does not do so. stamp makes a
// second name for the file and removes it, which sets the time.
func (v *volume) stamp(name string, seen vfs.Info) vfs.Info {
	other := v.Unique(v.Session, volumes.NewPrefix)
	if v.calls.LinkTo(name, &v.calls.Dir, other) != nil {
		return seen
	}
	if v.calls.Remove(other) != nil {
		v.trash.DeleteLater(other)
	}
	if now, err := v.calls.Lstat(name); err == nil && now.SameFile(seen) {
		return now
	}
	return seen
}

// archive does the second rename of a move, and looks at the entry.
func (m *MoveNote) archive(out vfs.Info, n history.Note) error {
	v, entry := m.volume, m.entry
	err := v.RenameNew(m.from, entry)
	if errors.Is(err, iofs.ErrNotExist) {
		if _, gone := v.calls.Lstat(m.from); errors.Is(gone, iofs.ErrNotExist) {
			m.lost = true // a local program has removed or moved it, as after the exchange
			return nil
		}
		entry, err = v.history.Archive(m.from, n) // the directory of the hour has just expired
	}
	if err != nil {
		return m.undo(err)
	}
	now, err := v.calls.Lstat(entry)
	switch {
	case err != nil:
		// The move is complete. It is only unknown whether the entry is the replaced version.
		_ = m.leave(err)
		return nil
	case !now.SameFile(out):
		// A local program has given the old name to another file in between, and archive gives the name back to that
		// file.
		m.lost = true
		err = v.undoMove(entry, m.from, history.Note{Path: m.from, Cause: history.CauseRecovered, Seen: now})
		return vfs.Ignoring(err, ErrShelved)
	}
	if m.mayBeOne() {
		if _, err := v.calls.Lstat(m.to); errors.Is(err, iofs.ErrNotExist) {
			return v.RenameNew(entry, m.to) // both names were spellings of one name
		}
	}
	v.history.Finish(entry)
	return nil
}

// undo exchanges the names again after a look that has found another file or has failed. If a local program has removed
// one of the names meanwhile, undo renames the remaining file.
func (m *MoveNote) undo(reason error) error {
	v := m.volume
	err := v.Exchange(m.from, m.to)
	if errors.Is(err, iofs.ErrNotExist) {
		m.lost = true
		err = v.RenameNew(m.to, m.from)
		if errors.Is(err, iofs.ErrNotExist) {
			err = v.RenameNew(m.from, m.to)
		}
		return errors.Join(reason, vfs.Ignoring(vfs.Ignoring(err, iofs.ErrNotExist), iofs.ErrExist))
	}
	if err != nil {
		return m.leave(errors.Join(reason, err))
	}
	now, err := v.calls.Lstat(m.to)
	if err != nil || !now.SameFile(m.over.seen) {
		m.lost = true
		return reason
	}
	keepModified(v.At(m.to), now, m.over.seen)
	if now, err := v.calls.Lstat(m.from); err == nil {
		keepModified(v.At(m.from), now, m.source.seen)
	}
	return reason
}
