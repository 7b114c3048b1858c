package volumes

import (
	"context"
	"errors"
	"fmt"
	iofs "io/fs"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"

	"r-seed-1f3a754f.example/ifmatch/fs/hold"
	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
)

// OpenHeld opens a file that stays open, to be locked, and makes the file if there is none. It does not open the file for
// writing, since a file that is open for writing prevents a remount of the disk as read-only.
func (s *Tree) OpenHeld(name string) (*vfs.File, error) {
	f, err := s.calls.Create(name)
	if err == nil {
		s.GiveToOwner(f, name)
		err = f.Close()
	}
	if err = vfs.Ignoring(err, iofs.ErrExist); err != nil {
		return nil, err
	}
	return s.calls.Open(name)
}

// A CommitLock is the lock of commits on one file system: a mutex, and then the flock(2) of a file. The file is in the
// state directory of the root, whatever file system the lock is of. So no call for a lock waits for a file system that
// does not answer, and no open file keeps one from being unmounted.
//
// The lock file of the root's file system has the name of lockName. Those of others have the number of their device as
// name, so that all places where one file system is mounted have one lock.
type CommitLock struct {
	s       *Tree
	Name    string // of the lock file
	device  uint64
	writers *semaphore.Weighted // the turns of writers, see [Tree.Turn]

	alone []hold.Lock   // the lock alone, with a turn
	taken chan struct{} // full while this process has the file locked, or waits for it

	// These belong to the holder of taken.
	File *vfs.File // nil: it was not opened yet
	time int64     // the modification time of the lock file at the last look. 0: unknown
	// unfinished names the note of a move of this process that the next holder of the lock finishes.
	Unfinished string

	Opened atomic.Pointer[vfs.Info] // a look at the lock file when it was opened
}

// volumeLocksDir is the directory of the lock files of all file systems but that of the root.
const volumeLocksDir = OwnDir + "/volumes"

func (s *Tree) newLock(device uint64, name string) *CommitLock {
	l := &CommitLock{
		s: s, Name: name, device: device, writers: semaphore.NewWeighted(allWriters), taken: make(chan struct{}, 1),
	}
	l.alone = []hold.Lock{sharedLock{l}}
	return l
}

// lockFor returns the lock of a file system.
func (s *Tree) lockFor(device uint64) *CommitLock {
	if s.RootLock == nil || device == s.RootLock.device {
		return s.RootLock
	}
	s.locks.mu.Lock()
	defer s.locks.mu.Unlock()
	l := s.locks.of[device]
	if l == nil {
		l = s.newLock(device, fmt.Sprintf("%s/%x", volumeLocksDir, device))
		s.locks.of[device] = l
	}
	return l
}

// locks are the locks of all file systems but that of the root, by the number of the device.
type locks struct {
	mu sync.Mutex
	of map[uint64]*CommitLock
}

// forgetLocks closes the lock files of file systems on which no volume is known. A caller that still waits for such a
// lock opens the file again.
func (s *Tree) forgetLocks() {
	known := s.Volumes()
	s.locks.mu.Lock()
	defer s.locks.mu.Unlock()
	for device, l := range s.locks.of {
		if slices.ContainsFunc(known, func(v *Volume) bool { return v.CommitLock == l }) {
			continue
		}
		select {
		case l.taken <- struct{}{}:
			delete(s.locks.of, device)
			l.close()
			<-l.taken
		default:
		}
	}
}

// close closes the lock file. The caller holds taken, or no method is running.
func (l *CommitLock) close() (err error) {
	err = l.File.Close()
	l.File = nil
	return err
}

// Order implements [hold.Lock]. The root's lock is the last one, since it also guards the state that all volumes share:
// the holder of any other lock may take it for a moment.
func (l *CommitLock) Order() uint64 {
	if l == l.s.RootLock {
		return math.MaxUint64
	}
	return l.device
}

// Release implements [hold.Lock].
func (l *CommitLock) Release() {
	l.File.Funlock()
	<-l.taken
}

// open opens the lock file, and makes it if there is none. The new lock file takes the place of the one that is open.
// The root's lock file is opened together with the state directory.
func (l *CommitLock) open() error {
	f, err := l.openHeld()
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err == nil && l == l.s.RootLock {
		err = l.s.openStateDir()
	}
	if err != nil {
		f.Close()
		return err
	}
	l.File.Close()
	l.File = f
	l.Opened.Store(&info)
	return nil
}

// openHeld is [Tree.OpenHeld] for the lock file.
func (l *CommitLock) openHeld() (*vfs.File, error) {
	f, err := l.s.OpenHeld(l.Name)
	if errors.Is(err, iofs.ErrNotExist) && l != l.s.RootLock {
		if err = l.s.MakeDir(volumeLocksDir); err == nil {
			f, err = l.s.OpenHeld(l.Name)
		}
	}
	return f, err
}

// OpenToMark opens the lock file to write the name of a note into it. The lock need not have been taken before.
func (l *CommitLock) OpenToMark() (*vfs.File, error) {
	f, err := l.s.calls.Append(l.Name)
	if !errors.Is(err, iofs.ErrNotExist) {
		return f, err
	}
	held, err := l.openHeld()
	if err != nil {
		return nil, err
	}
	held.Close()
	return l.s.calls.Append(l.Name)
}

// openStateDir opens the state directory. Its caller holds the root's lock, or is the only one.
func (s *Tree) openStateDir() error {
	dir, err := s.calls.OpenDir(OwnDir)
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.stateDirs = append(s.stateDirs, dir) // other goroutines may still use the previous directory
	s.mu.Unlock()
	s.claim = claim{}
	s.state.Store(dir)
	return nil
}

// isNamed reports whether the open lock file has the name of the lock, and whether the file with that name has any
// content.
func (l *CommitLock) isNamed() (named, marked bool, err error) {
	lock := l.Opened.Load()
	if lock.Inode == 0 { // the system does not number files
		now, err := l.File.Stat()
		return true, now.Size > 0, err
	}
	now, err := l.s.calls.Find(l.Name)
	l.time = now.Modified
	return now.SameFile(*lock), now.Size > 0, err
}

// inState returns the place of a file in the state directory.
func (s *Tree) inState(name string) Place {
	p := s.At(OwnDir + "/" + name)
	if dir := s.state.Load(); dir != nil {
		p.In, p.Base = dir, name
	}
	return p
}

// These are the longest time that a commit waits for other lock holders, and the pause between two attempts.
const (
	lockPatience = 10 * time.Second
	lockPause    = time.Millisecond
)

// Lock takes the lock of commits on the root's file system, which also guards the state that all volumes share: the
// journal, the WebDAV locks and the other files of [Tree.WriteState] and [Tree.AppendState]. The lock excludes the
// other callers of this tree. It also excludes all other processes that serve the directory, if the file system below
// supports locks. Lock waits ten seconds at most, and then fails with ErrBusy. If the last holder has left a move half
// done, Lock finishes that move first. See [MoveNote].
//
// A commit takes the locks of all volumes that it is about ([Tree.Hold]). A caller of Lock must make no call on another
// file system than the root's until it has called unlock.
func (s *Tree) Lock(ctx context.Context) (unlock func(), err error) { return s.RootLock.lock(ctx) }

// Lock takes the lock of commits on the file system of the volume, and otherwise is [Tree.Lock].
func (v *Volume) Lock(ctx context.Context) (unlock func(), err error) { return v.CommitLock.lock(ctx) }

func (l *CommitLock) lock(ctx context.Context) (unlock func(), err error) {
	if err := l.Take(ctx, lockPatience); err != nil {
		return nil, err
	}
	return l.Release, nil
}

// ErrHeldUp says that a commit of this process does not come to its end. It is an ErrBusy.
var ErrHeldUp = fmt.Errorf("a commit of this process has not ended (%w)", vfs.ErrBusy)

// Take implements [hold.Lock].
func (l *CommitLock) Take(ctx context.Context, patience time.Duration) error {
	late := time.Now().Add(patience)
	select {
	case l.taken <- struct{}{}: // a lock that is free is to be had without any patience
	default:
		select {
		case l.taken <- struct{}{}:
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(patience):
			return &iofs.PathError{Op: "lock", Path: l.Name, Err: ErrHeldUp}
		}
	}
	for {
		marked, err := l.try()
		if err == nil && (marked || l.Unfinished != "") {
			if err := l.s.above.FinishMarked(l); err != nil {
				l.Release()
				return err
			}
		}
		if err == nil {
			return nil
		}
		if errors.Is(err, vfs.ErrBusy) {
			select {
			case <-time.After(lockPause):
				continue
			case <-ctx.Done():
				err = ctx.Err()
			case <-time.After(time.Until(late)):
				err = fmt.Errorf("%w: %s has had it for %v", err, l.File.Holder(), patience.Round(time.Second))
			}
		}
		<-l.taken
		return err
	}
}

// try locks the file that has the name of the lock now. If the open lock file was removed or replaced since this
// process opened it, its lock does not keep out a process that comes later. marked reports whether the lock file has
// any content.
func (l *CommitLock) try() (marked bool, err error) {
	if l.File == nil {
		if err := l.open(); err != nil {
			return false, lostIfGone(err, l.Name)
		}
	}
	err = l.File.TryFlock()
	if errors.Is(err, errors.ErrUnsupported) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	l.time = 0
	named, marked, err := l.isNamed()
	if err == nil && !named {
		if err = l.open(); err == nil {
			return false, vfs.ErrBusy // try again
		}
		err = lostIfGone(err, l.Name)
	}
	if err != nil {
		l.File.Funlock()
		return false, err
	}
	return marked, nil
}

// lostIfGone turns the error for a lock file that cannot be made into ErrLost, if the state directory is gone.
func lostIfGone(err error, name string) error {
	if errors.Is(err, iofs.ErrNotExist) {
		return &iofs.PathError{Op: "lock", Path: name, Err: ErrLost}
	}
	return err
}

// A claim is the modification time that this tree has given the lock file. Each look for a lock sees that time, so it
// tells at no cost whether another process has claimed the lock since.
type claim struct {
	time int64 // in nanoseconds since 1970. 0: there is no claim
	sure bool  // what another process does to that time is seen at once
}

// IsClaimed reports whether no other process has called Claim since this tree did so, as far as that is certain. It
// must be called under [Tree.Lock]. It makes no system call.
func (s *Tree) IsClaimed() bool { return s.claim.sure && s.claim.time == s.RootLock.time }

// Claim tells other processes that this one is about to write what they share under the lock, so that they look at it
// before they write it themselves. It must be called under [Tree.Lock]. Without file locks, it does nothing.
func (s *Tree) Claim() error {
	if s.RootLock.time == 0 || s.claim.time == s.RootLock.time {
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
	s.RootLock.time = now.Modified
	s.claim = claim{now.Modified, now.Modified == at.UnixNano() && s.RootLock.File.Volume().Leases &&
		!s.root.abilities.Shared}
	return nil
}

// Lost reports whether the state of this server is no longer where the server made it. Another process has then removed
// or replaced the state, and nothing can be committed until the file system is opened anew.
func (s *Tree) Lost() bool {
	if s.Alive == nil {
		return false
	}
	name, alive := s.root.Session+"/"+AliveName, s.root.Made
	if alive.Inode == 0 {
		_, err := s.calls.Lstat(name)
		return errors.Is(err, iofs.ErrNotExist) || IsNotDir(err)
	}
	now, err := s.calls.Find(name)
	return err == nil && !now.SameFile(alive)
}

// StateReplaced reports whether the lock file that was there at the start was replaced, as the last look for the root's
// lock has found.
func (s *Tree) StateReplaced() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.stateDirs) > 1
}
