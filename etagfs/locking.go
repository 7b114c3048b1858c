package etagfs

import (
	"context"
	"errors"
	iofs "io/fs"
	"sync"
	"time"

	"github.com/google/uuid"

	"ifmatch/fs"
	"ifmatch/tree"
)

// Locks are bounded, so that no client can fill memory with them, nor take all there can be: their number, each owner,
// the file that they are kept in, in bytes, and how many shared ones there are of which one covers what another is on: so
// many cover a name at the most, and are told of it.
const (
	maxLocks  = 4096
	maxOwner  = 8 << 10
	maxTable  = 4 << 20
	maxShared = 16
)

// Lock implements [tree.Store]. Where it makes an empty file, that is there before its lock is: after a crash in between
// it stays, and nobody has locked it.
func (s *Store) Lock(ctx context.Context, req tree.LockRequest, cond tree.Condition) (tree.Lock, bool, error) {
	if s.fs.ReadOnly() {
		return tree.Lock{}, false, tree.ErrReadOnly
	}
	if len(req.Owner) > maxOwner {
		return tree.Lock{}, false, tree.ErrNoSpace
	}
	lock := tree.Lock{
		Token: "urn:uuid:" + uuid.NewString(), Root: req.Root, Infinite: req.Infinite, Shared: req.Shared, Owner: req.Owner,
		Holder: tree.ClientOf(ctx), Principal: tree.PrincipalOf(ctx), Expires: s.now().Add(req.Timeout).Round(0),
	}
	created := false
	err := s.insist(func(turn sync.Locker) error {
		empty, err := s.stageEmpty(ctx, lock, cond)
		if err != nil {
			return err
		}
		if empty != nil {
			defer s.discard(empty)
		}
		lock, created, err = s.lockStaged(ctx, turn, lock, empty, cond)
		return err
	})
	if err == nil {
		err = unsure(s.locks.sync())
	}
	return lock, created, err
}

// lockStaged locks what is there, or the empty file that was staged for a name with nothing. It comes back with errStale
// where that is missing.
func (s *Store) lockStaged(ctx context.Context, turn sync.Locker, lock tree.Lock, empty *fs.Staged, cond tree.Condition) (tree.Lock, bool, error) {
	created := false
	err := s.commitIn(ctx, turn, func(v *view) error {
		info, err := v.lockable(lock.Root)
		if err != nil {
			return err
		}
		if err := v.ask(cond); err != nil {
			return err
		}
		if err := v.admits(lock); err != nil {
			return err
		}
		lock.Collection = info.Kind == fs.Directory
		if created = !info.Exists(); created {
			if err := v.hold(lock.Root); err != nil {
				return err
			}
			defer s.fs.OneStep(lock.Root)() // there is no instant at which it is there and not locked
			if err := s.createEmpty(lock.Root, empty); err != nil {
				return err
			}
			empty = nil // once
		}
		err = s.locks.take(lock)
		if err != nil && created {
			// Without the lock, the file is not what the client asked for.
			made, failed := s.fs.Lstat(lock.Root)
			if failed == nil {
				failed = s.fs.Remove(lock.Root, made, fs.How{Exact: true, Cause: "LOCK"})
			}
			err = errors.Join(err, unsure(failed)) // it is there, and nobody has its lock
			s.displaced()
		}
		return err
	})
	return lock, created, err
}

// lockable looks at what is to be locked; the root of the tree is.
func (v *view) lockable(name string) (fs.Info, error) {
	if name == "" {
		return v.lstat("")
	}
	info, err := v.target(name)
	if err == nil && info.Kind == fs.Link {
		err = fs.ErrLink
	}
	return info, err
}

// stageEmpty stages an empty file for a name with nothing, so that nothing waits for the disk inside the commit; nil where
// something is there. What will be refused is refused before.
func (s *Store) stageEmpty(ctx context.Context, lock tree.Lock, cond tree.Condition) (*fs.Staged, error) {
	name := lock.Root
	if _, err := s.fs.Lstat(name); !errors.Is(err, iofs.ErrNotExist) {
		return nil, nil // whatever it is, the commit will say
	}
	err := s.try(ctx, func(v *view) error {
		if _, err := v.lockable(name); err != nil {
			return translate(err)
		}
		if err := v.ask(cond); err != nil {
			return err
		}
		return v.admits(lock)
	})
	if err != nil {
		return nil, err
	}
	inherited, _, err := s.inheritance(name)
	if err != nil {
		return nil, translate(err)
	}
	staged, err := s.fs.Stage(name)
	if err != nil {
		return nil, stagingFailed(err)
	}
	err = staged.Annotate(fs.Meta{Traits: inherited})
	if err == nil {
		err = staged.Sync()
	}
	if err != nil {
		s.discard(staged)
		return nil, translate(err)
	}
	return staged, nil
}

// createEmpty gives an empty file its name.
func (s *Store) createEmpty(name string, empty *fs.Staged) error {
	if empty == nil {
		return errStale
	}
	// A second ago, so that the PUT that follows at once has this one for itself: it is not meant to be seen.
	date := s.change(name, fs.Info{}, empty).Next(s.now().Add(-time.Second))
	if err := empty.SetModified(date); err != nil {
		return err
	}
	return s.nameStaged(empty, name, fs.Info{}, fs.How{})
}

// Refresh implements [tree.Store].
func (s *Store) Refresh(ctx context.Context, name string, tokens []string, timeout time.Duration, cond tree.Condition) (lock tree.Lock, err error) {
	err = s.changeLocks(ctx, cond, func(v *view) error {
		for _, token := range tokens {
			held, err := v.holding(name, token)
			if err != nil {
				return err
			}
			if held.Token != "" {
				lock, err = s.locks.refresh(token, s.now().Add(timeout).Round(0))
				lock.Root = held.Root
				return err
			}
		}
		return tree.ErrNoLock
	})
	return lock, err
}

// Unlock implements [tree.Store].
func (s *Store) Unlock(ctx context.Context, name, token string, cond tree.Condition) error {
	return s.changeLocks(ctx, cond, func(v *view) error {
		held, err := v.holding(name, token)
		if err == nil && held.Token == "" {
			err = tree.ErrNoLock
		}
		if err != nil {
			return err
		}
		return s.locks.unlock(token)
	})
}

func (s *Store) changeLocks(ctx context.Context, cond tree.Condition, change func(v *view) error) error {
	err := s.commit(ctx, func(v *view) error {
		if err := v.ask(cond); err != nil {
			return err
		}
		return change(v)
	})
	if err == nil {
		err = unsure(s.locks.sync())
	}
	return err
}
