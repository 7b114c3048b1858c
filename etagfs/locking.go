package etagfs

import (
	"context"
	"errors"
	"slices"
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

// Lock implements [tree.Store].
func (s *Store) Lock(ctx context.Context, lock tree.Lock, check tree.Check) (tree.Lock, bool, error) {
	if len(lock.Owner) > maxOwner {
		return tree.Lock{}, false, tree.ErrNoSpace
	}
	lock.Token = "urn:uuid:" + uuid.NewString()
	created := false
	err := s.commit(ctx, func(v *view) error {
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
			if other.Conflicts(lock) {
				return &tree.LockedError{Name: lock.Root, Lock: other}
			}
		}
		if len(locks) >= maxLocks {
			return tree.ErrNoSpace
		}
		lock.Collection = info.Kind == fs.Directory
		if created = !info.Exists(); created {
			if err := s.createEmpty(lock.Root); err != nil {
				return err
			}
		}
		err = s.locks.replace(append(locks, lock))
		if err != nil && created {
			// Without the lock, the file is not what the client asked for.
			made, failed := s.fs.Lstat(lock.Root)
			if failed == nil {
				failed = s.fs.Remove(lock.Root, made, fs.How{Exact: true, Cause: "LOCK"})
			}
			err = errors.Join(err, failed)
			s.displaced()
		}
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

// createEmpty makes an empty file where nothing is. It is called inside a commit: there is no content to wait for.
func (s *Store) createEmpty(name string) error {
	staged, err := s.fs.Stage()
	if err != nil {
		return stagingFailed(err)
	}
	defer staged.Discard()
	traits, _, err := s.inheritance(name)
	if err == nil {
		err = staged.Annotate(fs.Meta{Traits: traits})
	}
	if err != nil {
		return err
	}
	if err := staged.Sync(); err != nil {
		return err
	}
	if err := staged.SetModified(s.dates.placeholder(name)); err != nil {
		return err
	}
	return appeared(s.fs.Commit(staged, name, fs.Info{}, fs.How{}), fs.Nothing)
}

// Refresh implements [tree.Store].
func (s *Store) Refresh(ctx context.Context, name string, tokens []string, expires time.Time, check tree.Check) (lock tree.Lock, err error) {
	err = s.changeLocks(ctx, check, func(locks []tree.Lock) ([]tree.Lock, error) {
		i := slices.IndexFunc(locks, func(l tree.Lock) bool { return l.Covers(name) && slices.Contains(tokens, l.Token) })
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
	return s.changeLocks(ctx, check, func(locks []tree.Lock) ([]tree.Lock, error) {
		i := slices.IndexFunc(locks, func(l tree.Lock) bool { return l.Covers(name) && l.Token == token })
		if i < 0 {
			return nil, tree.ErrNoLock
		}
		return slices.Delete(locks, i, i+1), nil
	})
}

func (s *Store) changeLocks(ctx context.Context, check tree.Check, change func([]tree.Lock) ([]tree.Lock, error)) error {
	err := s.commit(ctx, func(v *view) error {
		if err := v.ask(check); err != nil {
			return err
		}
		locks, err := s.locks.all()
		if err != nil {
			return err
		}
		if locks, err = change(locks); err != nil {
			return err
		}
		return s.locks.replace(locks)
	})
	if err == nil {
		err = unsure(s.fs.SyncState())
	}
	return err
}

// endLocks ends the locks of what is gone, inside the commit that took it away.
func (s *Store) endLocks(match func(tree.Lock) bool) error { return unsure(s.locks.end(match)) }
