package etagfs

import (
	"context"
	"errors"
	"fmt"

	"ifmatch/fs"
	"ifmatch/tree"
)

// A transaction is one attempt to make a change. Meanwhile no other commit changes names, neither in this process nor
// in another process that serves the same directory. The transaction resolves the directory of each name that it
// changes once. All its later operations on the name take place in that directory. It looks at each name once. Its
// methods are the operations that are only allowed during a transaction.
type transaction struct {
	*view
	ctx      context.Context
	unsynced *fs.Unsynced
	locks    bool       // it has changed WebDAV locks
	over     foundThing // what the change that it has told of last has found at its name
}

// A preparation prepares the data that a transaction needs, such as a staged file, outside of the lock. It is called
// again if the transaction fails with errStale. If alone is true, all other writers of this process wait for it.
type preparation func(alone bool) error

// A refusal is the error of a preparation whose condition was refused. The caller of the store gets the error of the
// condition unchanged.
type refusal struct{ error }

// errStale says that the data that was prepared for a transaction no longer matches the disk.
var errStale = errors.New("what it was prepared from has changed")

const (
	// sharedTurns is how many turns an update takes while other writers may make changes between its preparation and
	// its transaction.
	sharedTurns = 5
	// aloneTurns is how many turns an update takes after that, while the other writers of this process wait.
	aloneTurns = 2
)

// update makes a change. The step looks at the names, asks its condition, and then changes one thing. If the step
// fails, it has changed nothing. update runs the step again if its condition needs tags that were not known, if a local
// program has made a change in between, if a local program has a file open for an instant, or if room could be made on
// a full disk.
//
// If the step fails with errStale, update prepares everything again. After some turns that it shares with other
// writers, it takes turns for which the other writers of this process wait. Otherwise writers that change a name faster
// than a change can be prepared would make the update fail for ever. If even such a turn fails with errStale, a local
// program or another server has made changes in between. update then returns ErrBusy.
//
// The caller of the store gets the error of update.
func (s *Store) update(ctx context.Context, prepare preparation, step func(t *transaction) error) error {
	if s.fs.ReadOnly() {
		return tree.ErrReadOnly
	}
	for turn := 1; ; turn++ {
		alone := turn > sharedTurns
		if turn == sharedTurns+1 {
			s.turn.Lock()
			defer s.turn.Unlock()
		}
		err := s.tryUpdate(ctx, alone, prepare, step)
		switch {
		case !errors.Is(err, errStale) || errors.Is(err, tree.ErrUnsure):
			return err
		case prepare == nil || turn == sharedTurns+aloneTurns:
			return staleIsBusy(err)
		}
	}
}

// staleIsBusy returns the ErrBusy of an update that failed with errStale in each turn. If err names a member, the
// result names it too.
func staleIsBusy(err error) error {
	if member := new(tree.MemberError); errors.As(err, &member) {
		return &tree.MemberError{Name: member.Name, Collection: member.Collection, Err: tree.ErrBusy}
	}
	return tree.ErrBusy
}

// tryUpdate takes one turn of an update.
func (s *Store) tryUpdate(ctx context.Context, alone bool, prepare preparation, step func(*transaction) error) error {
	if prepare != nil {
		err := prepare(alone)
		if refused := new(refusal); errors.As(err, &refused) {
			return refused.error
		}
		if err != nil {
			return translate(err)
		}
	}
	var done *transaction
	err := s.withTags(ctx, alone, func(v *view) error {
		done = &transaction{view: v, ctx: ctx, unsynced: s.fs.Unsynced()}
		err := done.run(alone, step)
		if errors.Is(err, tree.ErrUnsure) {
			err = errors.Join(err, done.sync()) // the change may be there, and then it is not to be lost again
		}
		if err != nil {
			done.unsynced.Close()
		}
		return err
	})
	if err != nil {
		return err
	}
	return done.sync()
}

// sync puts the changes on the disk. It is called after the commit, outside the lock.
func (t *transaction) sync() error {
	err := unsure(t.unsynced.Sync())
	if err == nil && t.locks {
		err = unsure(t.s.locks.sync())
	}
	return err
}

// run runs the step under the lock.
func (t *transaction) run(alone bool, step func(*transaction) error) error {
	s := t.s
	if !alone {
		s.turn.RLock()
		defer s.turn.RUnlock()
	}
	unlock, err := s.fs.Lock(t.ctx)
	if errors.Is(err, fs.ErrBusy) {
		err = fmt.Errorf("%w: %w", errDirHeld, err)
	}
	if err != nil {
		return translate(err)
	}
	defer unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.absent != nil {
		if err := s.absent(); err != nil {
			return err
		}
	}
	t.updates = true
	err = step(t)
	if t.onMade != nil && (err == nil || errors.Is(err, tree.ErrUnsure)) {
		t.onMade() // before the change is shown
	}
	s.settle(err)
	if err != nil && t.refused != nil {
		return t.refused // unchanged
	}
	if errors.Is(err, fs.ErrAway) {
		s.queue.putBack()
	}
	return translate(err)
}

// Committing is that of [tree.Committing].
func (v *view) Committing() bool { return v.updates }

// names registers the directories of names that the transaction is about to change. These directories are synced to the
// disk after the transaction.
func (t *transaction) names(names ...string) error {
	for _, name := range names {
		if err := t.unsynced.Names(t.at(name)); err != nil {
			return err
		}
	}
	return nil
}

// file registers a file or directory that the transaction has changed. It is synced to the disk after the transaction.
func (t *transaction) file(name string) error { return unsure(t.unsynced.File(t.at(name))) }

// isIn fails with errStale unless the directory of a name is dir, the directory that was found before.
func (t *transaction) isIn(name string, dir fs.Info) error {
	parent, _ := tree.Split(name)
	if parent == "" {
		return nil
	}
	if now, err := t.lstat(parent); err != nil || now.Inode != dir.Inode || now.Inode != 0 && !now.SameFile(dir) {
		return errStale
	}
	return nil
}

// isInPlace reports whether the directory of a name still has its own name.
func (t *transaction) isInPlace(name string) bool {
	parent, _ := tree.Split(name)
	was, err := t.lstat(parent)
	if err != nil {
		return false
	}
	now, err := t.s.fs.Lstat(parent)
	return err == nil && now.Inode == was.Inode
}

// endLocks applies a fate to the WebDAV locks after a commit has replaced or removed the file or collection at their
// name. collection reports whether a collection is at the name now.
func (t *transaction) endLocks(f fate, collection bool) error {
	t.locks = true
	return unsure(t.s.locks.replaced(f, collection))
}
