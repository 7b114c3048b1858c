package fs

import (
	"context"
	"errors"
	"fmt"
	"io"
	iofs "io/fs"
	"path"
	"strings"

	"r-seed-1f3a754f.example/ifmatch/fs/history"
	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
	"r-seed-1f3a754f.example/ifmatch/fs/volumes"
)

// finishedSuffix ends the name of a note whose move another holder of the lock has finished. The renames of the move
// are synced before the note is dropped.
const finishedSuffix = ".finished"

// maxMark bounds how many bytes of the lock file are read.
const maxMark = 1 << 14

// FinishMarked implements [volumes.Layer]: it finishes the move whose mark the last holder of the lock has left in the
// lock file. That process has died, or could neither finish nor undo the move. The caller has just got the lock. An
// error says that too many files are open, so that no look is possible. FinishMarked reports any other failure, and
// recovery tries again.
func (s layer) FinishMarked(l *volumes.CommitLock) error {
	mark := make([]byte, maxMark)
	n, err := l.File.ReadAt(mark, 0)
	if err = vfs.Ignoring(err, io.EOF); err != nil {
		return err
	}
	for _, at := range []string{string(mark[:n]), l.Unfinished} {
		if at == "" || s.isOfAnother(l, at) {
			continue
		}
		v, err := s.volumeOfNote(at)
		if err == nil && v.CommitLock != l {
			continue
		}
		var told error
		if err == nil {
			told, err = v.finishMove(at)
		}
		if volumes.IsExhausted(err) {
			return err
		}
		if err == nil {
			err = vfs.Ignoring(v.calls.Rename(at, at+finishedSuffix), iofs.ErrNotExist)
		}
		if err = errors.Join(told, err); err != nil {
			s.report(err)
		}
	}
	l.Unfinished = ""
	f, err := s.calls.Append(l.Name)
	if err != nil {
		return nil // the next holder of the lock finds that the move is finished
	}
	defer f.Close()
	_ = f.Truncate(0)
	return nil
}

// isOfAnother reports whether the note of a mark is certainly one of a file system that has another lock, which a
// server has marked before the numbers of the devices changed. Recovery finds such a note. No call is made on another
// file system than the root's under the root's lock.
func (s *FS) isOfAnother(l *volumes.CommitLock, at string) bool {
	return l == s.RootLock && iofs.ValidPath(at) && path.Dir(at) != s.root.StatePath(movingPart) &&
		strings.HasSuffix(path.Dir(at), "/"+volumes.OwnDir+"/"+movingPart)
}

// volumeOfNote returns the volume that has the note of a move. Another process may have made a move on a file system on
// which this process has not been yet. If that file system does not answer, volumeOfNote fails soon, and recovery finds
// the note when it does.
func (s *FS) volumeOfNote(at string) (*volume, error) {
	for _, v := range s.volumes() {
		if path.Dir(at) == v.StatePath(movingPart) {
			return v, nil
		}
	}
	top, isNote := strings.CutSuffix(path.Dir(at), "/"+volumes.OwnDir+"/"+movingPart)
	if !isNote || !iofs.ValidPath(at) {
		return nil, fmt.Errorf("the lock file has a mark that is no note of a move: %q", at)
	}
	if !s.Answer([]string{top})[top] {
		return nil, fmt.Errorf("a move on the file system at %q was not finished, which does not answer", top)
	}
	return s.volumeFor(top)
}

// finishNow finishes a move of this process, and reports whether nothing is left to be done.
func (v *volume) finishNow(ctx context.Context, at string) bool {
	unlock, err := v.Lock(ctx)
	if err != nil {
		return false
	}
	defer unlock()
	return v.tryFinish(at) == nil
}

// tryFinish is [volume.finishMove] for a move of this process.
func (v *volume) tryFinish(at string) error {
	told, err := v.finishMove(at)
	if told != nil {
		v.report(told)
	}
	return err
}

// recoverMoves finishes the moves of processes that are gone, or drops their notes. It must not be called under
// [FS.Lock].
func (v *volume) recoverMoves(ctx context.Context) error {
	notes, err := v.Entries(v.StatePath(movingPart))
	if errors.Is(err, iofs.ErrNotExist) || err == nil && len(notes) == 0 {
		return nil
	}
	if err == nil {
		// The lock finishes the move that has left its mark, and its note gets another name.
		var unlock func()
		if unlock, err = v.Lock(ctx); err == nil {
			unlock()
			notes, err = v.Entries(v.StatePath(movingPart))
		}
	}
	errs := []error{err}
	for _, base := range notes {
		at := v.StatePath(movingPart) + "/" + base
		if v.maker(at) == v.ID || !v.root.Able().Flock && v.lookedAfter.Load() {
			// Without locks, no call tells whether a process lives. Only at the start does this process assume that it
			// is alone.
			continue
		}
		errs = append(errs, ctx.Err(), v.recoverMove(ctx, at))
		if ctx.Err() != nil {
			break
		}
	}
	return errors.Join(errs...)
}

// dropNote drops a note of this process.
func (v *volume) dropNote(at string) error {
	err := v.calls.Remove(at)
	if errors.Is(err, iofs.ErrNotExist) {
		err = vfs.Ignoring(v.calls.Remove(at+finishedSuffix), iofs.ErrNotExist)
	}
	return err
}

// dropNotes drops the notes of this process, which has no move left to finish.
func (v *volume) dropNotes() {
	notes, err := v.Entries(v.StatePath(movingPart))
	if err != nil {
		return
	}
	for _, base := range notes {
		if at := v.StatePath(movingPart) + "/" + base; v.maker(at) == v.ID {
			_ = v.calls.Remove(at) // the next start drops the notes that stay
		}
	}
}

// recoverMove finishes one move, and drops its note when the renames of the move are on disk.
func (v *volume) recoverMove(ctx context.Context, at string) error {
	unlock, err := v.Lock(ctx)
	if err != nil {
		return err
	}
	lives, err := v.isAlive(v.maker(at))
	var told error
	if err == nil && !lives && !strings.HasSuffix(at, finishedSuffix) {
		told, err = v.finishMove(at)
	}
	unlock()
	if err != nil || lives {
		return err
	}
	if m, err := v.readMove(at); err == nil && m != nil {
		unsynced := v.Unsynced()
		for _, name := range []string{m.from, m.to} {
			if err := unsynced.Names(v.At(name)); err != nil && !volumes.IsDisplaced(err) {
				unsynced.Close()
				return errors.Join(told, err)
			}
		}
		if err := unsynced.Sync(); err != nil {
			return errors.Join(told, err)
		}
	}
	return errors.Join(told, vfs.Ignoring(v.calls.Remove(at), iofs.ErrNotExist))
}

// readMove reads a note. It returns nil if the note is not there any more, or damaged.
func (v *volume) readMove(at string) (*MoveNote, error) {
	data, err := v.ReadFile(at)
	if err = vfs.Ignoring(err, iofs.ErrNotExist); err != nil {
		return nil, err
	}
	return v.decodeMove(data), nil
}

// finishMove finishes the move of a note, if both names still have the files that they got by the move. It must be
// called under [FS.Lock]. If the first rename of a move has not happened, finishMove does not do it, since no
// precondition was evaluated for it. told names the files of a move that cannot be finished because a local program has
// changed the names.
func (v *volume) finishMove(at string) (told, err error) {
	m, err := v.readMove(at)
	if err != nil || m == nil {
		return nil, err
	}
	defer v.Committing()()
	in, failedIn := v.find(m.to)
	out, failedOut := v.find(m.from)
	kept, failed := v.find(m.entry)
	if err := errors.Join(failedIn, failedOut, failed); err != nil {
		return nil, err
	}
	switch {
	case isNoted(out, m.source.seen): // the move was not begun, or was undone
		return nil, nil
	case m.source.seen.Inode == m.over.seen.Inode, !in.Exists() && m.mayBeOne():
		return m.finishRespelling(kept)
	case isNoted(kept, m.over.seen): // the move is complete
		return nil, nil
	case kept.Exists() && !isNoted(in, m.source.seen):
		// A local program has been at both names since, or the files have got other inode numbers, as a restored backup
		// has. The entry stays in the history.
		return fmt.Errorf("a move of %q to %q was under way when a server died, and other files are at these names "+
			"now: the version that gave way may be in the history of %q", m.from, m.to, m.to), nil
	case kept.Exists():
		// A local program has given the old name to another file before the second rename, and that rename has moved
		// that file.
		err := v.undoTo(m.entry, m.from, history.Note{Path: m.from, Cause: history.CauseRecovered, Seen: kept})
		return nil, vfs.Ignoring(err, ErrShelved)
	case isNoted(in, m.source.seen) && isNoted(out, m.over.seen):
		return nil, m.archiveLate()
	case isNoted(out, m.over.seen), isNoted(in, m.source.seen) && out.Exists():
		return fmt.Errorf("a move of %q to %q was under way when a server died, and a local program has been there "+
			"since: look at both; the version that gave way may still be %q", m.from, m.to, m.from), nil
	}
	return nil, nil
}

// mayBeOne reports whether both names may have been spellings of one name, on a system that gives each spelling an
// inode number of its own.
func (m *MoveNote) mayBeOne() bool {
	return volumes.Alike(m.from, m.to) && volumes.MayBeOne(m.source.seen, m.over.seen)
}

// find looks at a name. It returns Nothing if the name or its directory does not exist.
func (v *volume) find(name string) (vfs.Info, error) {
	info, err := v.calls.Lstat(name)
	if errors.Is(err, iofs.ErrNotExist) || volumes.IsDisplaced(err) {
		return vfs.Info{}, nil
	}
	return info, err
}

// isNoted reports whether a look has found the file or collection that the note describes. If the disk keeps no time of
// birth, the size and the modification time of a file tell it from a new file with its inode number.
func isNoted(now, noted vfs.Info) bool {
	switch {
	case !now.Exists() || now.Kind != noted.Kind || now.Inode != noted.Inode:
		return false
	case noted.Born == 0 && noted.Kind == vfs.Regular:
		return now.Size == noted.Size && now.Modified == noted.Modified
	}
	return now.Born == noted.Born
}

// archiveLate does the second rename of a move whose first rename has happened.
func (m *MoveNote) archiveLate() error {
	v, n := m.volume, m.note()
	n.Always = true
	entry := m.entry // the move has made its directory and its note before the exchange
	err := v.RenameNew(m.from, entry)
	if errors.Is(err, iofs.ErrNotExist) {
		entry, err = v.history.Archive(m.from, n)
	}
	if err != nil {
		return vfs.Ignoring(err, iofs.ErrNotExist)
	}
	now, err := v.calls.Lstat(entry)
	if err == nil && !isNoted(now, m.over.seen) {
		n := history.Note{Path: m.from, Cause: history.CauseRecovered, Seen: now}
		return vfs.Ignoring(v.undoTo(entry, m.from, n), ErrShelved)
	}
	v.history.FinishLate(entry)
	return err
}

// finishRespelling gives a name to the entry that has given up another spelling of that name. If the name is taken, the
// entry stays in the history.
func (m *MoveNote) finishRespelling(kept vfs.Info) (told, err error) {
	v := m.volume
	if !isNoted(kept, m.source.seen) && !isNoted(kept, m.over.seen) {
		return nil, nil
	}
	err = v.RenameNew(m.entry, m.to)
	if errors.Is(err, iofs.ErrExist) || volumes.IsDisplaced(err) {
		err = v.history.KeepOrphan(m.entry, history.Note{Path: m.from, Cause: history.CauseRecovered, Seen: kept})
		return fmt.Errorf("%q was about to be spelled %q when a server died, and is in the history: the name is taken",
			m.from, m.to), err
	}
	return nil, err
}
