package fs

import (
	"context"
	"errors"
	"fmt"
	iofs "io/fs"
	"math/rand/v2"
	"os"
	"time"

	"ifmatch/fs/vfs"
)

// openHeld opens a file that stays open, to be locked, and makes the file if there is none. openHeld does not open the
// file for writing, since a file that is open for writing prevents a remount of the disk as read-only.
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

// A heldState describes the state directory and the lock file as they were when the lock file was opened.
type heldState struct {
	dir  *vfs.Dir // the state directory
	lock Info     // a look at the lock file
}

// openLock opens the lock file and its directory, and makes the lock file if there is none. The new lock file takes the
// place of the one that is open.
func (s *FS) openLock() error {
	f, err := s.openHeld(lockName)
	if err != nil {
		return err
	}
	var held heldState
	if held.dir, err = s.calls.OpenDir(stateDir); err == nil {
		s.stateDirs = append(s.stateDirs, held.dir) // other goroutines may still use the previous directory
		held.lock, err = f.Stat()
	}
	if err != nil {
		f.Close()
		return err
	}
	if s.lockFile != nil {
		s.lockFile.Close()
	}
	s.lockFile = f
	s.claim = claim{}
	s.state.Store(&held)
	return nil
}

// isNamed reports whether the open lock file has the name of the lock, and whether the file with that name has any
// content.
func (s *FS) isNamed() (named, marked bool, err error) {
	lock := s.state.Load().lock
	if lock.Inode == 0 { // the system does not number files
		now, err := s.lockFile.Stat()
		return true, now.Size > 0, err
	}
	now, err := s.calls.Find(lockName)
	s.lockTime = now.Modified
	return now.SameFile(lock), now.Size > 0, err
}

// inState returns the place of a file in the state directory.
func (s *FS) inState(name string) Place {
	p := s.at(stateDir + "/" + name)
	if held := s.state.Load(); held != nil {
		p.dir, p.base = held.dir, name
	}
	return p
}

// These are the longest time that a commit waits for other lock holders, and the pause between two attempts.
const (
	lockPatience = 10 * time.Second
	lockPause    = time.Millisecond
)

// Lock takes the one lock under which names change. The lock excludes the other callers of this FS. It also excludes
// all other processes that serve the directory, if the file system below supports locks. Lock waits ten seconds at
// most, and then fails with ErrBusy. If the last holder has left a move half done, Lock finishes that move first. See
// [MoveNote].
func (s *FS) Lock(ctx context.Context) (unlock func(), err error) {
	return s.lockWithin(ctx, lockPatience)
}

func (s *FS) lockWithin(ctx context.Context, patience time.Duration) (unlock func(), err error) {
	deadline := time.NewTimer(patience)
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
				err = fmt.Errorf("%w: %s has had it for %v", err, s.holder(), patience.Round(time.Second))
			}
		}
		<-s.locking
		return nil, err
	}
}

// holder describes the other process that has the lock.
func (s *FS) holder() string {
	return s.lockFile.Holder()
}

// tryLock locks the file that has the name of the lock now. If the open lock file was removed or replaced since this
// process opened it, its lock does not keep out a process that comes later. marked reports whether the lock file has
// any content.
func (s *FS) tryLock() (unlock func(), marked bool, err error) {
	err = s.lockFile.TryFlock()
	if errors.Is(err, errors.ErrUnsupported) {
		return func() { <-s.locking }, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	s.lockTime = 0
	named, marked, err := s.isNamed()
	if err == nil && !named {
		if err = s.openLock(); err == nil {
			return nil, false, ErrBusy // try again
		} else if errors.Is(err, iofs.ErrNotExist) {
			err = &iofs.PathError{Op: "lock", Path: lockName, Err: ErrLost}
		}
	}
	if err != nil {
		s.lockFile.Funlock()
		return nil, false, err
	}
	return func() { s.lockFile.Funlock(); <-s.locking }, marked, nil
}

// A claim is the modification time that this FS has given the lock file. Each look for a lock sees that time, so it
// tells at no cost whether another process has claimed the lock since.
type claim struct {
	time int64 // in nanoseconds since 1970. 0: there is no claim
	sure bool  // what another process does to that time is seen at once
}

// IsClaimed reports whether no other process has called Claim since this FS did so, as far as that is certain. It must
// be called under [FS.Lock]. It makes no system call.
func (s *FS) IsClaimed() bool { return s.claim.sure && s.claim.time == s.lockTime }

// Claim tells other processes that this one is about to write what they share under the lock, so that they look at it
// before they write it themselves. It must be called under [FS.Lock]. Without file locks, it does nothing.
func (s *FS) Claim() error {
	if s.lockTime == 0 || s.claim.time == s.lockTime {
		return nil
	}
	s.claim = claim{}
	// Within the years that each file system can keep, and finer than the times that a clock with coarse steps gives.
	at := time.Unix(1<<30+rand.Int64N(1<<29), (1+rand.Int64N(999_999))*1000)
	if err := s.calls.Chtimes(lockName, at); err != nil {
		return err
	}
	now, err := s.calls.Find(lockName)
	if err != nil {
		return err
	}
	s.lockTime = now.Modified
	s.claim = claim{now.Modified, now.Modified == at.UnixNano() && s.lockFile.Volume().Leases && !s.root.abilities.Shared}
	return nil
}

// Lost reports whether the state of this server is no longer where the server made it. Another process has then removed
// or replaced the state, and nothing can be committed until the file system is opened anew.
func (s *FS) Lost() bool {
	if s.alive == nil {
		return false
	}
	name, alive := s.root.session+"/"+aliveName, s.root.staged
	if alive.Inode == 0 {
		_, err := s.calls.Lstat(name)
		return errors.Is(err, iofs.ErrNotExist) || isNotDir(err)
	}
	now, err := s.calls.Find(name)
	return err == nil && !now.SameFile(alive)
}

// StateReplaced reports whether the lock file that was there at the start was replaced. It must be called under
// [FS.Lock].
func (s *FS) StateReplaced() bool { return len(s.stateDirs) > 1 }

// HolderOf describes the process that has an open file locked, such as "process 7 (ifmatch)", as far as the system
// supplies this.
func HolderOf(f *os.File) string { return vfs.HolderOf(f) }
