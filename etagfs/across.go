package etagfs

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"r-seed-1f3a754f.example/ifmatch/etagfs/copier"
	"r-seed-1f3a754f.example/ifmatch/etagfs/failure"
	"r-seed-1f3a754f.example/ifmatch/etagfs/locktable"
	"r-seed-1f3a754f.example/ifmatch/fs"
	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
	"r-seed-1f3a754f.example/ifmatch/fs/volumes"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

// errSourceLeft says that the source of a move to another file system has been changed after it was copied.
var errSourceLeft = failure.Busy("it is on another disk, so that it was copied, and the copy is there; but it was " +
	"changed meanwhile, or is in use, so that it is still there too; try again, or remove one of the two")

// A crossing is a move to another file system.
type crossing struct {
	s        *Store
	c        *copier.Copy
	from, to string
	opts     tree.CopyOptions
	cond     tree.Condition

	state   tree.State
	created bool

	mayLeave bool // the source can be removed, as far as is known

	locks []tree.Lock    // those that covered the source, or were below it, when the copy was committed
	taken *fs.Taken      // the source, after it was renamed out of the tree
	ended locktable.Fate // of the locks of the source, when the source is removed for good
}

// moveAcross moves a resource to another file system, to which no rename is possible. The copy is committed like any
// other copy. When the copy is on disk, the source is removed, if it is still the version that was copied. Otherwise
// both are there, and errSourceLeft says so. After a crash in between, both are there, too.
func (s *Store) moveAcross(ctx context.Context, from, to string, opts tree.CopyOptions, cond tree.Condition) (
	tree.State, bool, error) {
	opts.Shallow = false
	r := &crossing{s: s, c: s.newCopy(), from: from, to: to, opts: opts, cond: cond}
	r.c.Whole, r.c.Ask = true, func() error {
		var source vfs.Info
		err := s.try(ctx, func(v *view) (err error) {
			if source, _, err = r.ends(v); err != nil {
				return failure.Of(err)
			}
			return v.ask(cond)
		})
		if err == nil && !r.mayLeave { // else a copy would be made of what must stay
			err = failure.Of(s.fs.MayLeave(from, source))
			r.mayLeave = err == nil
		}
		return err
	}
	defer r.c.Discard()
	err := s.update(ctx, volumes.Scope{Changed: []string{to}, Seen: cond.Names, Below: []string{from, to}},
		func(alone bool) error { return r.prepare(ctx, alone) }, r.commit)
	if err == nil {
		// A move that has begun is ended, whether or not the client waits.
		err = r.remove(context.WithoutCancel(ctx))
	}
	return r.state, r.created, err
}

func (r *crossing) ends(v *view) (source, over vfs.Info, err error) {
	if source, over, err = v.ends(r.from, r.to); err == nil && over.Exists() && r.opts.NoOverwrite {
		err = tree.ErrExist
	}
	return source, over, err
}

// prepare stages the copy. A member that has changed while others were copied is copied again. All members are compared
// once more before the source is removed.
func (r *crossing) prepare(ctx context.Context, alone bool) error {
	if err := r.s.prepareCopy(ctx, r.c, alone, r.from, r.to, r.opts); err != nil {
		return err
	}
	return r.c.IsAll(r.s.fs.Unkept(r.from, r.c.Source))
}

// commit gives the copy its name.
func (r *crossing) commit(t *transaction) error {
	source, over, err := r.ends(t.view)
	if err != nil {
		return err
	}
	if err := t.ask(r.cond); err != nil {
		return err
	}
	if !r.isCopied(source) {
		return errStale
	}
	if err := t.isCopyOf(r.c, r.from, source); err != nil {
		return err
	}
	if r.locks, err = t.Locks(r.from); err != nil {
		return err
	}
	quiet, end := t.quietly(r.from, source)
	t.after = append(t.after, end) // the disk of the source may hang
	r.created = !over.Exists()
	n := copied(r.c, "MOVE")
	n.quiet = quiet
	r.state, err = t.replace(r.to, over, n)
	return err
}

// isCopied reports whether a look has found the version that was copied. Of a collection it reports only whether it is
// the same collection.
func (r *crossing) isCopied(now vfs.Info) bool {
	if now.Kind == vfs.Directory && r.c.Source.Kind == vfs.Directory {
		return now.SameFile(r.c.Source)
	}
	return now.Kind == r.c.Source.Kind && now.Fingerprint == r.c.Source.Fingerprint
}

// remove removes the source, if it is still the version that was copied. A collection is renamed into the history,
// which no client reaches, and is compared after that, without the lock. If it has changed, it gets its name back.
func (r *crossing) remove(ctx context.Context) error {
	s := r.s
	defer func() {
		if r.taken != nil {
			r.taken.Release()
		}
	}()
	s.fs.ReadyHistory(r.from)
	scope := scopeOf(tree.Condition{}, true, r.from)
	err := s.update(ctx, scope, nil, func(t *transaction) error { return r.take(t, true) })
	if volumes.IsFull(err) && r.taken == nil {
		// If the disk is full, a removal without a history entry frees space.
		err = s.update(ctx, scope, nil, func(t *transaction) error { return r.take(t, false) })
		if err == nil && r.taken != nil {
			s.report(fmt.Errorf("%q was moved and is not in the history, for which the disk is too full", r.from))
			defer s.chores.emptyTrash()
		}
	}
	if r.taken != nil && r.c.Source.Kind == vfs.Directory {
		if r.c.IsAll(r.taken.Kept()) == nil {
			return failure.Unsure(errors.Join(err, s.update(ctx, scope, nil, r.finish)))
		}
		return r.putBack(ctx)
	}
	if errors.Is(err, tree.ErrBusy) && !errors.Is(err, tree.ErrUnsure) {
		return errSourceLeft
	}
	return failure.Unsure(err)
}

// take renames the source out of the tree. If the source is gone, take succeeds. A file is removed for good at once.
func (r *crossing) take(t *transaction, keep bool) error {
	found, err := t.existing(r.from)
	if errors.Is(failure.Of(err), tree.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	locks, err := t.Locks(r.from)
	if err != nil {
		return err
	}
	sameLock := func(a, b tree.Lock) bool { return a.Token == b.Token }
	if !r.isCopied(found) || !slices.EqualFunc(locks, r.locks, sameLock) {
		return errSourceLeft
	}
	if r.ended, err = t.FateOf(r.from, ""); err != nil {
		return err
	}
	r.ended = r.ended.All()
	if err := t.names(r.from); err != nil {
		return err
	}
	how := t.how("MOVE", r.from, found)
	// The source that is removed must be the version that was copied, even if the condition of the client takes any
	// version.
	how.Exact, how.Unkept = true, !keep
	defer t.givingWay(r.from, found)()
	if found.Kind != vfs.Directory {
		defer r.s.asOneStep(r.from, r.ended)()
	}
	if err := t.tell(telling{cause: "MOVE", name: r.from, over: found, old: tree.ETag(how.Tag)}); err != nil {
		return err
	}
	if r.taken, err = r.s.fs.Take(r.from, found, how); err != nil {
		return err
	}
	t.feed.Made(r.from, vfs.Info{}, false)
	if found.Kind != vfs.Directory {
		return r.finish(t)
	}
	return nil
}

// finish leaves the source that was taken to the history, and ends its locks.
func (r *crossing) finish(t *transaction) error {
	if err := t.begin(r.from); err != nil {
		return err
	}
	r.taken.GiveUp()
	r.s.displaced()
	return t.endLocks(r.ended, false)
}

// putBack gives the source its name back, and fails with errSourceLeft. If it cannot take the lock, the queue tries
// again later.
func (r *crossing) putBack(ctx context.Context) error {
	tried := false
	err := r.s.update(ctx, scopeOf(tree.Condition{}, true, r.from), nil, func(t *transaction) error {
		if _, err := t.target(r.from); err == nil {
			_ = t.names(r.from) // if this fails, the source is in the history after a power failure
		}
		tried = true
		if err := t.tell(telling{cause: "MOVE", name: r.from, kind: r.c.Source.Kind}); err != nil {
			return err
		}
		if err := r.taken.GiveBack(); err != nil {
			return err
		}
		if now, err := r.s.fs.Lstat(r.from); err != nil || !now.SameFile(r.c.Source) {
			return fs.ErrShelved // another client has taken the name
		}
		return nil
	})
	if err == nil {
		return errSourceLeft
	}
	if !tried {
		err = r.taken.GiveBackLater(err)
		r.s.chores.putBack()
	}
	return failure.Unsure(err)
}
