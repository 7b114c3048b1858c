package etagfs

import (
	"context"
	"errors"
	"fmt"

	"ifmatch/fs"
	"ifmatch/tree"
)

// A transaction is one try to change something, while nothing else changes names: not in this process, and not in
// another one that serves the same directory. It resolves the directory of each name that it changes once, and all that
// it does with the name after that it does in that directory. It looks at each name once. What may only happen then is
// a method of it.
type transaction struct {
	*view
	ctx      context.Context
	unsynced *fs.Unsynced
	locks    bool // it has changed WebDAV locks
}

// A preparation makes outside of the lock what a transaction needs. It is called again where the transaction fails with
// errStale. With alone, all other writers of this process wait for it.
type preparation func(alone bool) error

// A refusal is the error of a preparation that a condition has refused: the caller gets that as it is.
type refusal struct{ error }

// errStale says that what was prepared for a transaction is not made of what is there any more.
var errStale = errors.New("what it was prepared from has changed")

const (
	// sharedTurns is how often something is prepared while others may come between.
	sharedTurns = 5
	// aloneTurns is how often after that, while the other writers of this process wait.
	aloneTurns = 2
)

// update changes something. The step looks, asks its condition, and then changes one thing; or it fails, and has
// changed nothing. It runs again with the tags that its condition needs, where a local program has come between, or has
// a file open for an instant, and where room could be made.
//
// Where it fails with errStale, all of it is prepared again. After some turns that it shares with others it has one to
// itself, for which the other writers of this process wait: else those who change a name faster than anything can be
// prepared would have it fail for ever. What still comes between is of a program on the disk, or of another server:
// then it is ErrBusy.
//
// What update returns is what the caller of the store gets.
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

// staleIsBusy says of a member, or of all, that it keeps changing.
func staleIsBusy(err error) error {
	if member := new(tree.MemberError); errors.As(err, &member) {
		return &tree.MemberError{Name: member.Name, Collection: member.Collection, Err: tree.ErrBusy}
	}
	return tree.ErrBusy
}

// tryUpdate is one turn of an update.
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
	err := s.withTags(ctx, func(v *view) error {
		done = &transaction{view: v, ctx: ctx, unsynced: s.fs.Unsynced()}
		err := done.run(alone, step)
		if err != nil {
			done.unsynced.Close()
		}
		return err
	})
	if err != nil {
		return err
	}
	err = unsure(done.unsynced.Sync())
	if err == nil && done.locks {
		err = unsure(s.locks.sync())
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
	if err = step(t); err != nil && t.refused != nil {
		return t.refused // as it is
	}
	if errors.Is(err, fs.ErrAway) {
		s.queue.putBack()
	}
	return translate(err)
}

// names has the names in the directories of names put on the disk when the transaction is through, which is about to
// change them.
func (t *transaction) names(names ...string) error {
	for _, name := range names {
		if err := t.unsynced.Names(t.at(name)); err != nil {
			return err
		}
	}
	return nil
}

// file has what the transaction has changed in a file or directory put on the disk when it is through.
func (t *transaction) file(name string) error { return unsure(t.unsynced.File(t.at(name))) }

// isIn fails with errStale where the directory of a name is not the one that was found before.
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

// isInPlace reports whether the directory of a name has its own name still.
func (t *transaction) isInPlace(name string) bool {
	parent, _ := tree.Split(name)
	was, err := t.lstat(parent)
	if err != nil {
		return false
	}
	now, err := t.s.fs.Lstat(parent)
	return err == nil && now.Inode == was.Inode
}

// endLocks does with the locks what becomes of them where something else is at their name now: a collection, or none.
func (t *transaction) endLocks(f fate, collection bool) error {
	t.locks = true
	return unsure(t.s.locks.replaced(f, collection))
}
