package etagfs

import (
	"context"
	"errors"
	iofs "io/fs"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"ifmatch/fs"
	"ifmatch/tree"
)

// Locks are bounded, so that no client can fill memory with them: their number, since every write looks through them, each
// owner, and the table as it is kept, in bytes.
const (
	maxLocks = 4096
	maxOwner = 8 << 10
	maxTable = 4 << 20
)

// Lock implements [tree.Store]. Where it makes an empty file, that is there before its lock is: after a crash in between
// it stays, and nobody has locked it.
func (s *Store) Lock(ctx context.Context, lock tree.Lock, check tree.Check) (tree.Lock, bool, error) {
	if s.fs.ReadOnly() {
		return tree.Lock{}, false, tree.ErrReadOnly
	}
	if len(lock.Owner) > maxOwner {
		return tree.Lock{}, false, tree.ErrNoSpace
	}
	lock.Token = "urn:uuid:" + uuid.NewString()
	created := false
	err := s.insist(func(turn sync.Locker) error {
		empty, err := s.stageEmpty(lock.Root)
		if err != nil {
			return err
		}
		if empty != nil {
			defer s.discard(empty)
		}
		lock, created, err = s.lockStaged(ctx, turn, lock, empty, check)
		return err
	})
	if err == nil && created {
		err = unsure(s.fs.SyncNames(lock.Root))
	}
	if err == nil {
		err = unsure(s.fs.SyncState())
	}
	return lock, created, err
}

// lockStaged locks what is there, or the empty file that was staged for a name with nothing. It comes back with errStale
// where that is missing.
func (s *Store) lockStaged(ctx context.Context, turn sync.Locker, lock tree.Lock, empty *fs.Staged, check tree.Check) (tree.Lock, bool, error) {
	created := false
	err := s.commitIn(ctx, turn, func(v *view) error {
		info, err := v.lockable(lock.Root)
		if err != nil {
			return err
		}
		if err := v.ask(check); err != nil {
			return err
		}
		locks, err := s.locks.all()
		if err != nil {
			return err
		}
		for _, other := range locks {
			if other = v.spelledAs(lock.Root, other); other.Conflicts(lock) {
				return &tree.LockedError{Name: lock.Root, Lock: other}
			}
		}
		if len(locks) >= maxLocks {
			return tree.ErrNoSpace
		}
		lock.Collection = info.Kind == fs.Directory
		if created = !info.Exists(); created {
			if err := s.createEmpty(lock.Root, empty); err != nil {
				return err
			}
			empty = nil // once
		}
		err = s.locks.replace(append(locks, lock))
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
// something is there.
func (s *Store) stageEmpty(name string) (*fs.Staged, error) {
	if _, err := s.fs.Lstat(name); !errors.Is(err, iofs.ErrNotExist) {
		return nil, nil // whatever it is, the commit will say
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
	if err := empty.SetModified(s.dates.placeholder(name)); err != nil {
		return err
	}
	return s.nameStaged(empty, name, fs.Info{}, fs.How{})
}

// Refresh implements [tree.Store].
func (s *Store) Refresh(ctx context.Context, name string, tokens []string, expires time.Time, check tree.Check) (lock tree.Lock, err error) {
	err = s.changeLocks(ctx, check, func(v *view, locks []tree.Lock) ([]tree.Lock, error) {
		i := slices.IndexFunc(locks, func(l tree.Lock) bool {
			return slices.Contains(tokens, l.Token) && v.spelledAs(name, l).Covers(name)
		})
		if i < 0 {
			return nil, tree.ErrNoLock
		}
		locks[i].Expires = expires
		lock = locks[i]
		return locks, nil
	})
	return lock, err
}

// Unlock implements [tree.Store].
func (s *Store) Unlock(ctx context.Context, name, token string, check tree.Check) error {
	return s.changeLocks(ctx, check, func(v *view, locks []tree.Lock) ([]tree.Lock, error) {
		i := slices.IndexFunc(locks, func(l tree.Lock) bool { return l.Token == token && v.spelledAs(name, l).Covers(name) })
		if i < 0 {
			return nil, tree.ErrNoLock
		}
		return slices.Delete(locks, i, i+1), nil
	})
}

// A lockChange returns the locks that there are to be, in place of those there are.
type lockChange func(v *view, locks []tree.Lock) ([]tree.Lock, error)

func (s *Store) changeLocks(ctx context.Context, check tree.Check, change lockChange) error {
	err := s.commit(ctx, func(v *view) error {
		if err := v.ask(check); err != nil {
			return err
		}
		locks, err := s.locks.all()
		if err != nil {
			return err
		}
		if locks, err = change(v, locks); err != nil {
			return err
		}
		return s.locks.replace(locks)
	})
	if err == nil {
		err = unsure(s.fs.SyncState())
	}
	return err
}
