package etagfs

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"r-seed-1f3a754f.example/ifmatch/etagfs/copier"
	"r-seed-1f3a754f.example/ifmatch/etagfs/failure"
	"r-seed-1f3a754f.example/ifmatch/etagfs/feed"
	"r-seed-1f3a754f.example/ifmatch/etagfs/locktable"
	"r-seed-1f3a754f.example/ifmatch/fs"
	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
	"r-seed-1f3a754f.example/ifmatch/fs/volumes"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

// A transaction is one attempt to make a change. Meanwhile no other commit changes names on the volumes that it is
// about, neither in this process nor in another process that serves the same directory. The transaction resolves the
// directory of each name that it changes once. All its later operations on the name take place in that directory. It
// looks at each name once. Its methods are the operations that are only allowed during a transaction.
type transaction struct {
	*view
	ctx      context.Context
	unsynced *fs.Unsynced
	feed     *feed.Commit
	begun    bool     // it may have changed something
	locks    bool     // it has changed WebDAV locks
	after    []func() // called when the locks are released
}

// A preparation prepares the data that a transaction needs, such as a staged file, outside of the lock. It is called
// again if the transaction fails with errStale. If alone is true, all other writers of this process wait for it.
type preparation func(alone bool) error

// A refusal is the error of a preparation whose condition was refused. The caller of the store gets the error of the
// condition unchanged.
type refusal struct{ error }

// errStale says that the data that was prepared for a transaction no longer matches the disk.
var errStale = copier.ErrStale

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
// The scope says which volumes the change is expected to be about. If the step finds that it is about others too, such
// as those to which a link leads, update runs it again under the locks of these too.
//
// If the step fails with errStale, update prepares everything again. After some turns that it shares with other
// writers, it takes turns for which the other writers of this process on these volumes wait. Otherwise writers that
// change a name faster than a change can be prepared would make the update fail for ever. If even such a turn fails
// with errStale, a local program or another server has made changes in between. update then returns ErrBusy.
//
// The caller of the store gets the error of update.
func (s *Store) update(
	ctx context.Context, scope volumes.Scope, prepare preparation, step func(t *transaction) error,
) error {
	if s.fs.ReadOnly() {
		return tree.ErrReadOnly
	}
	var alone *volumes.Turn
	defer func() { alone.Release() }()
	for turn := 1; ; turn++ {
		if turn == sharedTurns+1 {
			var err error
			if alone, err = s.fs.Turn(ctx, scope); err != nil {
				return failure.Of(failure.Lock(err))
			}
		}
		err := s.tryUpdate(ctx, &scope, alone, prepare, step)
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

// tryUpdate takes one turn of an update, which the other writers wait for if there is a turn alone.
func (s *Store) tryUpdate(
	ctx context.Context, scope *volumes.Scope, alone *volumes.Turn, prepare preparation, step func(*transaction) error,
) error {
	if prepare != nil {
		err := prepare(alone != nil)
		if refused := new(refusal); errors.As(err, &refused) {
			return refused.error
		}
		if err != nil {
			return failure.Of(err)
		}
	}
	var done *transaction
	err := s.withTags(ctx, alone != nil, func(v *view) error {
		done = &transaction{view: v, ctx: ctx, unsynced: s.fs.Unsynced()}
		done.feed = s.feed.Commit(done.shared)
		err := done.run(*scope, alone, step)
		if errors.Is(err, tree.ErrUnsure) {
			err = errors.Join(err, done.sync()) // the change may be there, and then it is not to be lost again
		}
		if err != nil {
			done.unsynced.Close()
		}
		if !done.begun && len(v.lacks) > 0 {
			return s.widen(scope, v.lacks)
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
	err := failure.Unsure(t.unsynced.Sync())
	if err == nil && t.locks {
		err = failure.Unsure(t.s.locks.Sync())
	}
	return err
}

// run runs the step under the locks of the volumes that it is about.
func (t *transaction) run(scope volumes.Scope, alone *volumes.Turn, step func(*transaction) error) error {
	s := t.s
	hold, err := s.fs.Hold(t.ctx, scope, alone)
	if err != nil {
		return failure.Of(failure.Lock(err))
	}
	defer func() {
		hold.Release()
		for _, do := range t.after {
			do()
		}
	}()
	defer s.noteHeld()()
	t.hold, t.disk, t.isNow = hold, hold.Snapshot(), hold.Stands
	if s.absent != nil {
		if err := s.absent(); err != nil {
			return err
		}
	}
	err = step(t)
	if !t.begun && !hold.Stands() {
		return errAgain // it has hung, and its locks were let go
	}
	if t.onMade != nil && (err == nil || errors.Is(err, tree.ErrUnsure)) {
		t.onMade() // before the change is shown
	}
	t.feed.Settle(err == nil || errors.Is(err, tree.ErrUnsure) || errors.Is(err, fs.ErrAway))
	if err != nil && t.refused != nil {
		return t.refused // unchanged
	}
	if errors.Is(err, fs.ErrAway) {
		s.chores.putBack()
	}
	return failure.Of(err)
}

// Committing is that of [tree.Committing].
func (v *view) Committing() bool { return v.commits }

// noteHeld calls the function of [Options.Held], if there is one.
func (s *Store) noteHeld() (end func()) {
	if s.held == nil {
		return func() {}
	}
	return s.held()
}

// begin says that the transaction is about to change names, or what belongs to them. It must be called before the first
// change. If it fails, nothing may be changed.
func (t *transaction) begin(names ...string) error {
	if len(t.lacks) > 0 {
		return errWider
	}
	if err := t.hold.Change(names...); err != nil {
		return fmt.Errorf("%w: %w", errAgain, err)
	}
	t.begun = true
	return nil
}

// shared calls do under the lock of the state that all volumes share. After the first change, it does not matter any
// more whether the client waits.
func (t *transaction) shared(do func(through bool) error) error {
	return t.hold.WithShared(t.ctx, do)
}

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
func (t *transaction) file(name string) error { return failure.Unsure(t.unsynced.File(t.at(name))) }

// isIn fails with errStale unless the directory of a name is dir, the directory that was found before.
func (t *transaction) isIn(name string, dir vfs.Info) error {
	parent, _ := tree.Split(name)
	if parent == "" {
		return nil
	}
	if now, err := t.Lstat(parent); err != nil || now.Inode != dir.Inode || now.Inode != 0 && !now.SameFile(dir) {
		return errStale
	}
	return nil
}

// isInPlace reports whether the directory of a name still has its own name.
func (t *transaction) isInPlace(name string) bool {
	parent, _ := tree.Split(name)
	was, err := t.Lstat(parent)
	if err != nil {
		return false
	}
	now, err := t.s.fs.Lstat(parent)
	return err == nil && now.Inode == was.Inode
}

// endLocks applies a fate to the WebDAV locks after a commit has replaced or removed the file or collection at their
// name. collection reports whether a collection is at the name now.
func (t *transaction) endLocks(f locktable.Fate, collection bool) error {
	if f.None() {
		return nil
	}
	return failure.Unsure(t.changeLocks(func() error { return t.s.locks.Replaced(f, collection) }))
}

// changeLocks changes the table of WebDAV locks. A lock may be changed if all volumes are held on which it covers a
// name. So the locks of a name stay as a transaction has seen them, as long as it holds the volume of the name.
func (t *transaction) changeLocks(change func() error) error {
	return t.shared(func(through bool) error {
		if !through {
			// Commits on other volumes, of this process or of another one, may have changed other locks.
			if err := t.s.locks.Look(func(*locktable.Set, time.Time) {}); err != nil {
				return err
			}
		}
		t.locks = true
		return change()
	})
}

// A commit holds the locks of the volumes that it is about, and of no other. Its scope says which these are, as far as
// names tell before. Each look in the commit then makes sure that the volume is held that it is about to look at. So
// the names that a condition follows through links, or the locks that it asks about, may make the scope wider.

// scopeOf returns the scope of a change of some names under a condition. If deep is set, the change is also about all
// names below them.
func scopeOf(cond tree.Condition, deep bool, names ...string) volumes.Scope {
	scope := volumes.Scope{Changed: names, Seen: cond.Names}
	if deep {
		scope.Below = slices.Clip(names)
	}
	return scope
}

// maxWider bounds how often a Check is asked again because the change is about more volumes than were locked. Each
// time, there is at least one more.
const maxWider = 64

// errWider says that a transaction is about more volumes than it held, and has changed nothing.
var errWider = errors.New("the change is about more volumes than were locked")

// widen adds to a scope what a transaction was found to lack, and returns errWider. It may wait for a file system that
// does not answer, and holds no lock then.
func (s *Store) widen(scope *volumes.Scope, lacks []*volumes.NotHeldError) error {
	scope.Seen, scope.Below = slices.Clip(scope.Seen), slices.Clip(scope.Below)
	for _, lack := range lacks {
		scope.Add(lack)
		if lack.Shared {
			continue
		}
		if err := s.fs.Learn(lack.Name); err != nil {
			return failure.Of(err)
		}
	}
	return errWider
}

// lack notes that a commit lacks the lock of a volume, if an error says so, and returns the error.
func (v *view) lack(err error) error {
	if lacks, ok := errors.AsType[*volumes.NotHeldError](err); ok {
		v.lacks = append(v.lacks, lacks)
	}
	return err
}

// IsHeld fails unless the volume of a name is held, if this is the view of a commit.
func (v *view) IsHeld(name string) error {
	if v.hold == nil {
		return nil
	}
	return v.lack(v.hold.Check(name))
}

// IsHeldBelow is [view.IsHeld] for a name and all names below it.
func (v *view) IsHeldBelow(name string) error {
	if v.hold == nil {
		return nil
	}
	return v.lack(v.hold.CheckBelow(name))
}

// isHeldAbove looks at the collection of a new name, and fails unless its volume is held. A file system may have been
// mounted there a moment ago.
func (v *view) isHeldAbove(name string) error {
	parent, _ := tree.Split(name)
	if parent == "" {
		return nil
	}
	_, err := v.Lstat(parent)
	return err
}
