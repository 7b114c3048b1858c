package etagfs

import (
	"context"
	"errors"
	iofs "io/fs"
	"slices"
	"time"

	"github.com/google/uuid"

	"r-seed-1f3a754f.example/ifmatch/etagfs/failure"
	"r-seed-1f3a754f.example/ifmatch/etagfs/index"
	"r-seed-1f3a754f.example/ifmatch/etagfs/locktable"
	"r-seed-1f3a754f.example/ifmatch/fs"
	"r-seed-1f3a754f.example/ifmatch/fs/metadata"
	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
	"r-seed-1f3a754f.example/ifmatch/fs/volumes"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

// Lock implements [tree.Store]. If it makes an empty file, the file is there before its lock. After a crash in between,
// the file stays, and has no lock.
func (s *Store) Lock(ctx context.Context, req tree.LockRequest, cond tree.Condition) (tree.Lock, bool, error) {
	if s.fs.ReadOnly() {
		return tree.Lock{}, false, tree.ErrReadOnly
	}
	if len(req.Owner) > locktable.MaxOwner {
		return tree.Lock{}, false, tree.ErrNoSpace
	}
	lock := req.Lock(ctx, "urn:uuid:"+uuid.NewString(), s.now().Round(0))
	created := false
	// empty is for a name without a resource. It is staged before, so that the transaction does not wait for the disk.
	var empty *emptyFile
	discard := func() {
		if empty != nil {
			s.discard(empty.staged)
			empty = nil
		}
	}
	defer discard()
	err := s.update(ctx, scopeOf(cond, true, req.Root), func(bool) (err error) {
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
		if err := t.Admits(lock); err != nil {
			return err
		}
		lock.Collection = info.Kind == vfs.Directory
		if created = !info.Exists(); created {
			defer s.fs.OneStep(lock.Root)() // there is no instant at which the file is there without its lock
			if err := t.createEmpty(lock.Root, empty); err != nil {
				return err
			}
			discard() // a staged file can be committed once
		}
		return t.takeLock(lock, created)
	})
	return lock, created, err
}

// takeLock takes a lock. If that fails, it removes the file that was made for the lock.
func (t *transaction) takeLock(lock tree.Lock, created bool) error {
	if !created {
		if err := t.begin(lock.Root); err != nil {
			return err
		}
	}
	err := t.changeLocks(func() error { return t.s.locks.Take(lock) })
	if err == nil || !created {
		return err
	}
	p := t.at(lock.Root)
	made, failed := p.Lstat()
	if failed == nil {
		failed = t.s.fs.Remove(p, made, fs.How{Exact: true, Cause: "LOCK"})
	}
	t.s.displaced()
	return errors.Join(err, failure.Unsure(failed)) // the file is there, without a lock
}

// lockable looks at the resource to be locked. The root of the tree can be locked, too.
func (v *view) lockable(name string) (vfs.Info, error) {
	if name == "" {
		return v.Lstat("")
	}
	info, err := v.target(name)
	if err == nil && info.Kind == vfs.Link {
		err = vfs.ErrLink
	}
	return info, err
}

// stageEmpty stages an empty file for a name without a resource, so that the commit does not wait for the disk. It
// returns nil if there is a resource. If the commit would refuse the lock, stageEmpty refuses it before.
func (s *Store) stageEmpty(ctx context.Context, lock tree.Lock, cond tree.Condition) (*emptyFile, error) {
	name := lock.Root
	if _, err := s.fs.Lstat(name); !errors.Is(err, iofs.ErrNotExist) {
		return nil, nil // if there is an error, the commit reports it
	}
	err := s.try(ctx, func(v *view) error {
		if _, err := v.lockable(name); err != nil {
			return failure.Of(err)
		}
		if err := v.ask(cond); err != nil {
			return err
		}
		return v.Admits(lock)
	})
	if err != nil {
		return nil, &refusal{err}
	}
	p, err := s.fs.Resolve(name)
	if err != nil {
		return nil, nil // as above
	}
	defer p.Close()
	inherited, dir, err := metadata.OfNew(p)
	if err != nil {
		return nil, err
	}
	staged, err := s.fs.Stage(name)
	if err != nil {
		return nil, failure.OfStaging(err)
	}
	err = staged.Annotate(fs.Meta{Traits: inherited})
	if err == nil {
		err = staged.Sync()
	}
	if err != nil {
		s.discard(staged)
		return nil, failure.Of(err)
	}
	return &emptyFile{staged, dir}, nil
}

// An emptyFile is an empty file that was staged for a new name, and the collection whose traits it has inherited.
type emptyFile struct {
	staged *fs.Staged
	dir    vfs.Info
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
	// The date is a second ago, so that the PUT that follows at once has the current second for itself. The empty file
	// is not meant to be seen.
	date := t.s.change(name, vfs.Info{}, index.AsIs, empty.staged).Next(t.s.now().Add(-time.Second))
	if err := empty.staged.SetModified(date); err != nil {
		return err
	}
	if err := t.tell(telling{cause: "LOCK", name: name, kind: vfs.Regular}); err != nil {
		return err
	}
	return t.give(empty.staged, name, vfs.Info{}, fs.How{})
}

// Refresh implements [tree.Store].
func (s *Store) Refresh(
	ctx context.Context, name string, tokens []string, timeout time.Duration, cond tree.Condition,
) (lock tree.Lock, err error) {
	err = s.changeLocks(ctx, name, cond, func(t *transaction) error {
		for _, token := range tokens {
			held, err := t.Holding(name, token)
			if err != nil {
				return err
			}
			if held.Token == "" {
				continue
			}
			if err := t.begin(name); err != nil {
				return err
			}
			err = t.changeLocks(func() (err error) {
				lock, err = s.locks.Refresh(token, s.now().Add(timeout).Round(0))
				return err
			})
			lock.Root = held.Root
			return err
		}
		return tree.ErrNoLock
	})
	return lock, err
}

// Unlock implements [tree.Store].
func (s *Store) Unlock(ctx context.Context, name, token string, cond tree.Condition) error {
	return s.changeLocks(ctx, name, cond, func(t *transaction) error {
		held, err := t.Holding(name, token)
		if err == nil && held.Token == "" {
			err = tree.ErrNoLock
		}
		if err != nil {
			return err
		}
		// Commits on all names that the lock covers have decided by it.
		if held.Infinite {
			err = t.IsHeldBelow(held.Root)
		} else {
			err = t.IsHeld(held.Root)
		}
		if err == nil {
			err = t.begin(held.Root)
		}
		if err != nil {
			return err
		}
		return t.changeLocks(func() error { return s.locks.Unlock(token) })
	})
}

func (s *Store) changeLocks(
	ctx context.Context, name string, cond tree.Condition, change func(t *transaction) error,
) error {
	scope := volumes.Scope{Seen: append(slices.Clip(cond.Names), name)}
	return s.update(ctx, scope, nil, func(t *transaction) error {
		if err := t.ask(cond); err != nil {
			return err
		}
		return change(t)
	})
}

// asOneStep makes readers see the end of the locks and the change of their name as one step.
func (s *Store) asOneStep(name string, locks locktable.Fate) (end func()) {
	if locks.None() {
		return func() {}
	}
	return s.fs.OneStep(name)
}
