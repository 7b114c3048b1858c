package fs

import (
	"context"
	"errors"
	"fmt"
	iofs "io/fs"
	"os"
	"time"

	"ifmatch/fs/vfs"
)

// openHeld opens a file that stays open, to be locked, and makes it where there is none. Not for writing: that would
// keep the disk from being made read-only.
func (s *FS) openHeld(name string) (*File, error) {
	f, err := s.calls.Create(name)
	if err == nil {
		s.giveToOwner(f, name)
		err = f.Close()
	}
	if err != nil && !errors.Is(err, iofs.ErrExist) {
		return nil, err
	}
	return s.calls.Open(name)
}

// openLock opens the lock file in place of the one that is open, and makes it where there is none.
func (s *FS) openLock() error {
	f, err := s.openHeld(lockName)
	if err != nil {
		return err
	}
	if s.lockFile != nil {
		s.lockFile.Close()
	}
	s.lockFile = f
	return nil
}

// How long a commit waits for others.
const (
	lockPatience = 10 * time.Second
	lockPause    = time.Millisecond
)

// Lock takes the one lock under which names change: among the callers of this FS, and among all processes that serve
// the directory where the file system below can lock. It waits ten seconds at most, then fails with ErrBusy. A move
// that the last holder has left half done is finished first; see [MoveNote].
func (s *FS) Lock(ctx context.Context) (unlock func(), err error) {
	deadline := time.NewTimer(lockPatience)
	defer deadline.Stop()
	select {
	case s.locking <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-deadline.C:
		return nil, &iofs.PathError{Op: "lock", Path: lockName, Err: ErrBusy}
	}
	for {
		unlock, marked, err := s.tryLock()
		if err == nil && (marked || s.unfinished != "") {
			if err := s.finishMarked(); err != nil {
				unlock()
				return nil, err
			}
		}
		if err == nil {
			return unlock, nil
		}
		if errors.Is(err, ErrBusy) {
			select {
			case <-time.After(lockPause):
				continue
			case <-ctx.Done():
				err = ctx.Err()
			case <-deadline.C:
				err = fmt.Errorf("%w: %s has had it for %v", err, s.holder(), lockPatience)
			}
		}
		<-s.locking
		return nil, err
	}
}

// holder says which other process has the lock.
func (s *FS) holder() string {
	return s.lockFile.Holder()
}

// tryLock locks the file that has the name of the lock now: one that was removed or replaced since we opened it keeps
// out nobody who comes later. marked reports whether there is anything in it.
func (s *FS) tryLock() (unlock func(), marked bool, err error) {
	err = s.lockFile.TryFlock()
	if errors.Is(err, errors.ErrUnsupported) {
		return func() { <-s.locking }, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	ours, err := s.lockFile.Stat()
	if err == nil && ours.Inode != 0 {
		var named Info
		named, err = s.calls.Lstat(lockName)
		if err == nil && !named.SameFile(ours) || errors.Is(err, iofs.ErrNotExist) {
			if err = s.openLock(); err == nil {
				err = ErrBusy // try again
			} else if errors.Is(err, iofs.ErrNotExist) {
				err = &iofs.PathError{Op: "lock", Path: lockName, Err: ErrLost}
			}
		}
	}
	if err != nil {
		s.lockFile.Funlock()
		return nil, false, err
	}
	return func() { s.lockFile.Funlock(); <-s.locking }, ours.Size > 0, nil
}

// Lost reports whether the server's own state is not where it was made: somebody has removed or replaced it, and
// nothing can be committed until the file system is opened anew.
func (s *FS) Lost() bool {
	if s.alive == nil {
		return false
	}
	now, err := s.calls.Lstat(s.root.session + "/" + aliveName)
	return errors.Is(err, iofs.ErrNotExist) || isNotDir(err) || err == nil && now.Inode != s.root.staged.Inode
}

// HolderOf says which process has an open file locked, such as "process 7 (ifmatch)", as far as the system tells.
func HolderOf(f *os.File) string { return vfs.HolderOf(f) }
