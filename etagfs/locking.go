package etagfs

import (
	"context"
	"errors"
	iofs "io/fs"
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
	var empty *emptyFile // for a name with nothing, so that nothing waits for the disk under the lock
	discard := func() {
		if empty != nil {
			s.discard(empty.staged)
			empty = nil
		}
	}
	defer discard()
	err := s.update(ctx, func(bool) (err error) {
		discard()
		empty, err = s.stageEmpty(ctx, lock, cond)
		return err
	}, func(t *transaction) error {
		info, err := t.lockable(lock.Root)
		if err != nil {
			return err
		}
		if err := t.ask(cond); err != nil {
			return err
		}
		if err := t.admits(lock); err != nil {
			return err
		}
		lock.Collection = info.Kind == fs.Directory
		if created = !info.Exists(); created {
			defer s.fs.OneStep(lock.Root)() // there is no instant at which it is there and not locked
			if err := t.createEmpty(lock.Root, empty); err != nil {
				return err
			}
			discard() // it can be committed once
		}
		return t.takeLock(lock, created)
	})
	return lock, created, err
}

// takeLock takes a lock. If that fails, a file that was made for it is removed again.
func (t *transaction) takeLock(lock tree.Lock, created bool) error {
	t.locks = true
	err := t.s.locks.take(lock)
	if err == nil || !created {
		return err
	}
	p := t.at(lock.Root)
	made, failed := p.Lstat()
	if failed == nil {
		failed = p.Remove(made, fs.How{Exact: true, Cause: "LOCK"})
	}
	t.s.displaced()
	return errors.Join(err, unsure(failed)) // it is there, and nobody has its lock
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
func (s *Store) stageEmpty(ctx context.Context, lock tree.Lock, cond tree.Condition) (*emptyFile, error) {
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
		return nil, &refusal{err}
	}
	p, err := s.fs.Resolve(name)
	if err != nil {
		return nil, nil // as above
	}
	defer p.Close()
	inherited, dir, err := p.NewTraits()
	if err != nil {
		return nil, err
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
	return &emptyFile{staged, dir}, nil
}

// An emptyFile is one that was staged for a new name, and the collection of which it has inherited.
type emptyFile struct {
	staged *fs.Staged
	dir    fs.Info
}

// createEmpty gives an empty file its name.
func (t *transaction) createEmpty(name string, empty *emptyFile) error {
	if empty == nil {
		return errStale
	}
	if err := t.isIn(name, empty.dir); err != nil {
		return err
	}
	if err := t.names(name); err != nil {
		return err
	}
	// A second ago, so that the PUT that follows at once has this one for itself: it is not meant to be seen.
	date := t.s.change(name, fs.Info{}, empty.staged).Next(t.s.now().Add(-time.Second))
	if err := empty.staged.SetModified(date); err != nil {
		return err
	}
	return t.give(empty.staged, name, fs.Info{}, fs.How{})
}

// Refresh implements [tree.Store].
func (s *Store) Refresh(ctx context.Context, name string, tokens []string, timeout time.Duration, cond tree.Condition) (lock tree.Lock, err error) {
	err = s.changeLocks(ctx, cond, func(t *transaction) error {
		for _, token := range tokens {
			held, err := t.holding(name, token)
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
	return s.changeLocks(ctx, cond, func(t *transaction) error {
		held, err := t.holding(name, token)
		if err == nil && held.Token == "" {
			err = tree.ErrNoLock
		}
		if err != nil {
			return err
		}
		return s.locks.unlock(token)
	})
}

func (s *Store) changeLocks(ctx context.Context, cond tree.Condition, change func(t *transaction) error) error {
	return s.update(ctx, nil, func(t *transaction) error {
		if err := t.ask(cond); err != nil {
			return err
		}
		t.locks = true
		return change(t)
	})
}
