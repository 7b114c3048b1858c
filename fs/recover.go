package fs

import (
	"context"
	"errors"
	"fmt"
	iofs "io/fs"
	"path"
	"slices"
	"strings"
)

// Recover clears up after processes that served the directory and are gone: it removes the uploads they never
// committed, and puts back what had given way to a commit that never came, or else keeps it in the history and says so. It
// touches nothing of a process that lives. It may be called at any time but under [FS.Lock], which it takes for an instant
// each, by one at a time, and again and again: it has something to do when another process is gone since.
func (s *FS) Recover(ctx context.Context) error {
	var errs []error
	for _, v := range s.volumes() {
		errs = append(errs, v.recover(ctx))
	}
	return errors.Join(errs...)
}

func (v *volume) recover(ctx context.Context) error {
	dead, err := v.deadSessions(ctx)
	errs := []error{err}
	news := slices.ContainsFunc(dead, func(id string) bool { return !v.knownDead[id] })
	if news || !v.lookedAfter.Load() {
		// First what is in the history: the sessions of its makers say that there may be something.
		told, err := v.recoverHistory(ctx, news)
		err = errors.Join(err, v.recoverTaken(ctx))
		if v.lookedAfter.Store(err == nil); err == nil {
			v.knownDead = map[string]bool{}
			for _, id := range dead {
				v.knownDead[id] = true
			}
		}
		errs = append(errs, told, err)
	}
	for _, session := range dead {
		errs = append(errs, v.endSession(ctx, path.Join(v.statePath(stagePart), session)))
	}
	return errors.Join(errs...)
}

// deadSessions returns the sessions whose makers are gone.
func (v *volume) deadSessions(ctx context.Context) (dead []string, err error) {
	sessions, err := v.entries(v.statePath(stagePart))
	if v != v.root && errors.Is(err, iofs.ErrNotExist) {
		return nil, nil // it is not there any more, or was never used
	}
	if err != nil || !slices.ContainsFunc(sessions, func(id string) bool { return id != v.id }) {
		return nil, err
	}
	if !v.root.able().Flock && v.lookedAfter.Load() {
		return nil, nil // nothing tells whether they live: at the start it is believed that we are alone
	}
	unlock, err := v.Lock(ctx) // nobody is between the first call and the last of one that begins, see openState
	if err != nil {
		return nil, err
	}
	defer unlock()
	var errs []error
	for _, id := range sessions {
		if id == v.id {
			continue
		}
		lives, err := v.isAlive(id)
		errs = append(errs, err)
		if err == nil && !lives {
			dead = append(dead, id)
		}
	}
	return dead, errors.Join(errs...)
}

// isAlive reports whether the process lives that made a session. It must be called under [FS.Lock].
func (s *FS) isAlive(id string) (bool, error) {
	if id == s.id {
		return true, nil
	}
	alive, err := s.calls.Open(path.Join(s.root.statePath(stagePart), id, aliveName))
	if errors.Is(err, iofs.ErrNotExist) {
		// Its maker died before it had said that it lives, or another recovery died after it had removed that.
		return false, nil
	} else if err != nil {
		return false, err
	}
	err = alive.TryFlock()
	if closed := alive.Close(); closed != nil { // what is open can keep its directory; nobody comes between, see openState
		return false, closed
	}
	if errors.Is(err, errors.ErrUnsupported) {
		err = nil
	}
	return errors.Is(err, ErrBusy), ignoring(err, ErrBusy)
}

// recoverTaken sees to what a dead process had taken, to remove it, where there was no room to note what it was.
func (v *volume) recoverTaken(ctx context.Context) error {
	members, err := v.entries(v.statePath(trashPart))
	if err != nil || !slices.ContainsFunc(members, isTaken) {
		return ignoring(err, iofs.ErrNotExist)
	}
	unlock, err := v.Lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	var errs []error
	for _, member := range members {
		maker, _ := strings.CutPrefix(member, takenPrefix)
		if !isTaken(member) || len(maker) < len(v.id) {
			continue
		}
		lives, err := v.isAlive(maker[:len(v.id)])
		if err == nil && !lives {
			at := v.statePath(trashPart) + "/" + member
			var info Info
			if info, err = v.calls.Lstat(at); err == nil {
				err = v.archiveOrphan(at, note{cause: causeRecovered, seen: info})
			}
		}
		errs = append(errs, ignoring(err, iofs.ErrNotExist))
	}
	return errors.Join(errs...)
}

// ignoring returns an error, unless it is one that says nothing here.
func ignoring(err, expected error) error {
	if errors.Is(err, expected) {
		return nil
	}
	return err
}

// clear ends a session: what gave way is put back or is in the history, and the rest was never committed. As long as
// something in it could not be seen to, all of it stays.
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

// settle sees to all that gave way in a session. What is to be told of that, though it went well, comes apart from what
// did not.
func (v *volume) finishDisplaced(session string) (told, err error) {
	members, err := v.entries(session)
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

// recoverDisplaced puts back what had given way, if the commit it gave way to never came; otherwise that goes to the
// history. What proves it is where the new version is now: that the name is free, or taken, may be somebody else's doing.
func (v *volume) recoverDisplaced(dir string) (told, err error) {
	old := dir + "/" + displacedOld
	info, err := v.calls.Lstat(old)
	if errors.Is(err, iofs.ErrNotExist) {
		return nil, nil // it had not given way yet, or for good
	} else if err != nil {
		return nil, err
	}
	data, err := v.readFile(dir + "/" + displacedPath)
	if err != nil && !errors.Is(err, iofs.ErrNotExist) {
		return nil, err
	}
	d, damaged := decodeDisplacement(data)
	d.name, d.by = v.absolute(d.name), v.absolute(d.by)
	if damaged == nil {
		waiting, err := v.isWaiting(d)
		if err != nil {
			return nil, err
		}
		if waiting {
			if err = v.renameNew(old, d.name); !errors.Is(err, iofs.ErrExist) && !isDisplaced(err) {
				return nil, err
			}
			told = fmt.Errorf("what gave way at %q to a commit that never came is in the history, and cannot have its name back: %w",
				d.name, err)
		}
	} else {
		d.name = ""
		told = errors.New("what gave way at a name that is not known any more is in the history: the note of it is damaged")
	}
	return told, v.archiveOrphan(old, note{path: d.name, cause: causeRecovered, seen: info})
}

// isWaiting reports whether the version that something gave way to is still where it came from.
func (v *volume) isWaiting(d displacement) (bool, error) {
	info, err := v.calls.Lstat(d.by)
	if errors.Is(err, iofs.ErrNotExist) || isNotDir(err) {
		return false, nil
	}
	return err == nil && info.Inode == d.inode && info.Born == d.born, err
}
