package fs

import (
	"context"
	"errors"
	"fmt"
	iofs "io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"r-seed-1f3a754f.example/ifmatch/fs/history"
	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
	"r-seed-1f3a754f.example/ifmatch/fs/volumes"
)

// Recover cleans up after processes that served the directory and are gone. It removes the uploads that these processes
// never committed. It also moves back each file or collection that such a process had moved aside for a commit that was
// never made. If it cannot move one back, it keeps that file or collection in the history and reports this. Recover
// changes nothing that belongs to a living process.
//
// Recover may be called at any time except under [FS.Lock], which it takes for an instant each time. Only one call may
// run at a time. The caller calls Recover again and again, since another process may have died.
func (s *FS) Recover(ctx context.Context) error {
	var errs []error
	for _, v := range s.answering() {
		errs = append(errs, v.recover(ctx))
	}
	return errors.Join(errs...)
}

// recoverPatience is how long a recovery waits until it can have the lock of a mounted file system at all.
const recoverPatience = time.Second

func (v *volume) recover(ctx context.Context) error {
	if v != v.root {
		// A commit of another process may hang there, and a start must not wait for it.
		if err := v.CommitLock.Take(ctx, recoverPatience); err != nil {
			return fmt.Errorf("the file system at %q is cleared up later: %w", v.Top, err)
		}
		v.CommitLock.Release()
	}
	errs := []error{v.recoverMoves(ctx)} // moves come first, since requests may be answered after that
	dead, err := v.deadSessions(ctx)
	errs = append(errs, err)
	news := slices.ContainsFunc(dead, func(id string) bool { return !slices.Contains(v.knownDead, id) })
	if news || !v.lookedAfter.Load() {
		// Recover the history first: the sessions of the dead processes show that there may be staged versions in it.
		var failed error
		if news {
			failed = v.history.Recover(ctx)
		}
		err := errors.Join(failed, v.recoverTaken(ctx))
		if v.lookedAfter.Store(err == nil); err == nil {
			v.knownDead = dead
		}
		errs = append(errs, err)
	}
	for _, session := range dead {
		errs = append(errs, v.endSession(ctx, path.Join(v.StatePath(volumes.StagePart), session)))
	}
	return errors.Join(errs...)
}

// deadSessions returns the sessions whose makers are gone.
func (v *volume) deadSessions(ctx context.Context) (dead []string, err error) {
	sessions, err := v.Entries(v.StatePath(volumes.StagePart))
	if v != v.root && errors.Is(err, iofs.ErrNotExist) {
		return nil, nil // the volume is not there any more, or was never used
	}
	if err != nil || !slices.ContainsFunc(sessions, func(id string) bool { return id != v.ID }) {
		return nil, err
	}
	if !v.root.Able().Flock && v.lookedAfter.Load() {
		// Without locks, no call tells whether the makers live. Only at the start does this process assume that it is
		// alone.
		return nil, nil
	}
	// Under the lock, no process is in the middle of beginning its session, see openState.
	unlock, err := v.Lock(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	var errs []error
	for _, id := range sessions {
		lives, err := v.isAlive(id)
		errs = append(errs, err)
		if err == nil && !lives {
			dead = append(dead, id)
		}
	}
	return dead, errors.Join(errs...)
}

// isAlive reports whether the process that made a session lives. It must be called under [FS.Lock].
func (s *FS) isAlive(id string) (bool, error) {
	if id == s.ID {
		return true, nil
	}
	alive, err := s.calls.Open(path.Join(s.root.StatePath(volumes.StagePart), id, volumes.AliveName))
	if errors.Is(err, iofs.ErrNotExist) {
		// The maker died before it had made its alive file, or another recovery died after it had removed that file.
		return false, nil
	} else if err != nil {
		return false, err
	}
	err = alive.TryFlock()
	// An open file can prevent the removal of its directory. No session begins in between, see openState.
	if closed := alive.Close(); closed != nil {
		return false, closed
	}
	return errors.Is(err, vfs.ErrBusy), vfs.Ignoring(vfs.Ignoring(err, vfs.ErrBusy), errors.ErrUnsupported)
}

// recoverTaken moves to the history the files and collections that a dead process had taken in order to remove them, if
// there was no room for a history note of them.
func (v *volume) recoverTaken(ctx context.Context) error {
	isTaken := func(member string) bool { _, taken := v.trash.Maker(member); return taken }
	members, err := v.trash.Members()
	if err != nil || !slices.ContainsFunc(members, isTaken) {
		return vfs.Ignoring(err, iofs.ErrNotExist)
	}
	unlock, err := v.Lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	var errs []error
	for _, member := range members {
		maker, taken := v.trash.Maker(member)
		if !taken || len(maker) < len(v.ID) {
			continue
		}
		lives, err := v.isAlive(maker)
		if err == nil && !lives {
			at := v.trash.At(member)
			var info vfs.Info
			if info, err = v.calls.Lstat(at); err == nil {
				err = v.history.KeepOrphan(at, history.Note{Cause: history.CauseRecovered, Seen: info})
			}
		}
		errs = append(errs, vfs.Ignoring(err, iofs.ErrNotExist))
	}
	return errors.Join(errs...)
}

// endSession removes a session of a dead process. It moves back the files and collections that the process had moved
// aside, or moves them to the history. The rest of the session was never committed. As long as this fails for a part of
// the session, the whole session stays.
func (v *volume) endSession(ctx context.Context, session string) error {
	unlock, err := v.Lock(ctx)
	if err != nil {
		return err
	}
	told, err := v.finishDisplaced(session)
	unlock()
	if err == nil {
		err = v.calls.RemoveAll(session)
	}
	return errors.Join(told, err)
}

// finishDisplaced moves back all files and collections that a session has moved aside. told reports the recoveries, and
// err reports the failures.
func (v *volume) finishDisplaced(session string) (told, err error) {
	members, err := v.Entries(session)
	if v != v.root && errors.Is(err, iofs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	for _, member := range members {
		if strings.HasPrefix(member, displacedName) {
			dir := session + "/" + member
			news, failed := v.recoverDisplaced(dir)
			if failed != nil {
				failed = fmt.Errorf("what has given way is left in %s: %w", dir+"/"+displacedOld, failed)
			}
			told, err = errors.Join(told, news), errors.Join(err, failed)
		}
	}
	return told, err
}

// recoverDisplaced moves back the file or collection that was moved aside, if the commit for which it was moved was
// never made. Otherwise the file or collection goes to the history. The location of the new version shows whether the
// commit was made. The name alone does not show it, since a local program may have taken or freed the name.
func (v *volume) recoverDisplaced(dir string) (told, err error) {
	old := dir + "/" + displacedOld
	info, err := v.calls.Lstat(old)
	if errors.Is(err, iofs.ErrNotExist) {
		return nil, nil // the old version had not given way yet, or has given way for good
	} else if err != nil {
		return nil, err
	}
	data, err := v.ReadFile(dir + "/" + displacedPath)
	if err != nil && !errors.Is(err, iofs.ErrNotExist) {
		return nil, err
	}
	d, damaged := decodeDisplacement(data)
	d.name, d.by = v.Absolute(d.name), v.Absolute(d.by)
	if damaged == nil {
		waiting, err := v.isWaiting(d)
		if err != nil {
			return nil, err
		}
		if waiting {
			if err = v.RenameNew(old, d.name); !errors.Is(err, iofs.ErrExist) && !volumes.IsDisplaced(err) {
				return nil, err
			}
			told = fmt.Errorf("what gave way at %q to a commit that never came is in the history, "+
				"and cannot have its name back: %w", d.name, err)
		}
	} else {
		d.name = ""
		told = errors.New("what gave way at a name that is not known any more is in the history: " +
			"the note of it is damaged")
	}
	return told, v.history.KeepOrphan(old, history.Note{Path: d.name, Cause: history.CauseRecovered, Seen: info})
}

// isWaiting reports whether the new version of a displacement is still in the place where it was staged.
func (v *volume) isWaiting(d displacement) (bool, error) {
	info, err := v.calls.Lstat(d.by)
	if errors.Is(err, iofs.ErrNotExist) || volumes.IsNotDir(err) {
		return false, nil
	}
	return err == nil && info.Inode == d.inode && info.Born == d.born, err
}
