package undo

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"r-seed-1f3a754f.example/ifmatch/etagfs/failure"
	"r-seed-1f3a754f.example/ifmatch/etagfs/feed"
	"r-seed-1f3a754f.example/ifmatch/etagfs/hashing"
	"r-seed-1f3a754f.example/ifmatch/etagfs/index"
	"r-seed-1f3a754f.example/ifmatch/etagfs/snapshots"
	"r-seed-1f3a754f.example/ifmatch/fs"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

// undoTries is how often a plan is made, if clients change the tree meanwhile.
const undoTries = 3

// A Store takes the steps of a plan, each as a change of its own.
type Store interface {
	Try(ctx context.Context, cond tree.Condition) error
	Mkdir(ctx context.Context, name string, opts tree.MkdirOptions, cond tree.Condition) (tree.State, error)
	Remove(ctx context.Context, name string, cond tree.Condition) error
	Move(ctx context.Context, from, to string, opts tree.CopyOptions, cond tree.Condition) (tree.State, bool, error)
	// Bring restores a version at its path, if shallow without its members.
	Bring(ctx context.Context, k fs.Kept, shallow bool, opts tree.RestoreOptions, cond tree.Condition) error
	// TagKept returns the tag of a version that is a file, and hashes it if necessary.
	TagKept(ctx context.Context, k fs.Kept) (tree.ETag, error)
}

// Options say what is restored. All fields but Feed are needed.
type Options struct {
	FS     *fs.FS
	Feed   *feed.Feed
	Reader *snapshots.Reader
	Index  *index.Index
	Hasher *hashing.Hasher
	Now    func() time.Time
	Store  Store
}

// RestoreAt is that of [tree.Undoer]: it makes a plan, and takes its steps.
func RestoreAt(
	ctx context.Context, o Options, name string, at time.Time, opts tree.RestoreAtOptions,
) (result tree.Restored, err error) {
	if o.Feed == nil {
		return result, feed.ErrNone
	}
	for range undoTries {
		begin, err := o.Feed.Now(ctx)
		if err != nil {
			return result, err
		}
		known, err := o.knownSince(at)
		if err != nil {
			return result, failure.Of(err)
		}
		plan, err := Make(ctx, present{o}, name, known)
		if err != nil {
			return result, failure.Of(err)
		}
		u := &undoing{Options: o, opts: opts, archived: map[int]fs.Kept{}}
		u.result = tree.Restored{Existed: plan.Existed, Began: o.Now(), Since: known.Begun, More: plan.More}
		for _, left := range plan.Left {
			u.result.Left = append(u.result.Left, tree.LeftAlone(left))
		}
		if opts.DryRun {
			for _, step := range plan.Steps {
				u.count(step)
			}
			return u.result, nil
		}
		if changed, err := o.Feed.ChangedSince(ctx, name, begin); err != nil {
			return result, err
		} else if changed {
			continue
		}
		if err := u.checkLocks(ctx, name); err != nil {
			return result, err
		}
		err = u.run(ctx, plan.Steps)
		return u.result, err
	}
	return result, tree.ErrBusy
}

// knownSince returns the changes since a time, and those shortly before it.
func (o Options) knownSince(at time.Time) (known Known, err error) {
	known.At = at
	if known.Begun, err = o.Feed.Begun(); err != nil {
		return known, err
	}
	for since := tree.Cursor(""); ; {
		changes, err := o.Feed.Read(since)
		if errors.Is(err, tree.ErrNotExist) {
			known.Begun, known.Changes, known.Before = time.Time{}, nil, Census{} // it was begun anew meanwhile
			break
		}
		if err != nil {
			return known, err
		}
		if len(changes) == 0 {
			break
		}
		for _, c := range changes {
			if since = c.Cursor; c.Time.After(at.Add(-EchoTime)) {
				known.Changes = append(known.Changes, c)
			}
			if !c.Time.After(at) {
				known.Before.Add(c)
			}
		}
	}
	all, err := o.FS.History("")
	for _, k := range all {
		if k.Gone.After(at) {
			known.Kept = append(known.Kept, k)
		}
	}
	return known, err
}

// An undoing takes the steps of a plan.
type undoing struct {
	Options
	opts     tree.RestoreAtOptions
	result   tree.Restored
	archived map[int]fs.Kept // what steps have replaced and others need, by the number of the step
}

// errOtherThanSeen says that a name has changed since the plan was made.
var errOtherThanSeen = errors.New("it has changed meanwhile")

// checkLocks fails with a LockedError if a lock covers the name or one below it.
func (u *undoing) checkLocks(ctx context.Context, name string) error {
	if u.opts.Condition != nil {
		return nil
	}
	return u.Store.Try(ctx,
		tree.Condition{Names: []string{name}, Check: func(v tree.View) error { return unlocked(v, name) }})
}

func unlocked(v tree.View, name string) error {
	locks, err := v.Locks(name)
	if err == nil && len(locks) > 0 {
		err = &tree.LockedError{Name: name, Lock: locks[0]}
	}
	return err
}

// run takes the steps. A step that is not possible is reported, and the others are taken.
func (u *undoing) run(ctx context.Context, steps []Step) error {
	for i, step := range steps {
		if err := ctx.Err(); err != nil {
			return err
		}
		err := u.take(ctx, i+1, step)
		if err == nil || errors.Is(err, tree.ErrUnsure) {
			u.count(step)
		}
		if err != nil {
			u.result.Left = append(u.result.Left, tree.LeftAlone{Name: step.Name, Reason: err.Error()})
		}
	}
	return nil
}

func (u *undoing) count(step Step) {
	r := &u.result
	switch step.Op {
	case BringBack, MakeDir:
		r.Returned, r.ReturnedDirs = r.Returned+step.Files, r.ReturnedDirs+step.Dirs
	case Replace:
		r.Replaced++
	case MoveBack:
		r.Moved++
	case Remove:
		r.Removed++
	case RemoveDir:
		r.RemovedDirs++
	}
}

// condition returns the condition of a step: its names are as they were when the plan was made.
func (u *undoing) condition(step Step) tree.Condition {
	from := step.From
	cond := tree.Condition{Names: []string{step.Name}}
	if from != "" {
		cond.Names = append(cond.Names, from)
	}
	asked := tree.Condition{Check: func(v tree.View) error {
		for _, name := range cond.Names {
			if err := unlocked(v, name); err != nil {
				return err
			}
		}
		return nil
	}}
	if u.opts.Condition != nil {
		asked = u.opts.Condition(step.Name, from)
		cond.Names = append(cond.Names, asked.Names...)
		cond.Follow, cond.Made = asked.Follow, asked.Made
	}
	cond.Exact = true
	cond.Check = func(v tree.View) error {
		look := v.(interface {
			Lstat(name string) (fs.Info, error)
		}) // as the commit has found it
		seen := map[string]fs.Info{step.Name: step.Seen}
		if step.Op == MoveBack {
			seen = map[string]fs.Info{step.Name: step.Over, from: step.Seen}
		}
		for name, want := range seen {
			now, err := look.Lstat(name)
			if err != nil && !errors.Is(failure.Of(err), tree.ErrNotExist) {
				return err
			}
			if name != "" && !isSeen(now, want) {
				return errOtherThanSeen
			}
		}
		if step.Op == RemoveDir {
			empty, err := u.FS.IsEmpty(step.Name)
			if err == nil && !empty {
				err = errors.New("it has members that stay")
			}
			if err != nil {
				return err
			}
		}
		return asked.Ask(v)
	}
	return cond
}

// isSeen reports whether a look has found what was seen before. Of a collection only the identity counts.
func isSeen(now, want fs.Info) bool {
	if !now.Exists() || !want.Exists() || now.Kind == fs.Directory {
		return now.Kind == want.Kind && (!now.Exists() || now.SameFile(want))
	}
	return now.Kind == want.Kind && now.Fingerprint == want.Fingerprint
}

// take takes one step. number is its number, from 1 on.
func (u *undoing) take(ctx context.Context, number int, step Step) (err error) {
	cond := u.condition(step)
	switch step.Op {
	case BringBack, Replace:
		return u.bring(ctx, step, step.Kept, false, cond)
	case MakeDir:
		if step.Kept.ID() != "" {
			return u.bring(ctx, step, step.Kept, true, cond)
		}
		_, err = u.Store.Mkdir(ctx, step.Name, tree.MkdirOptions{}, cond)
		return err
	case MoveBack:
		return u.moveBack(ctx, number, step, cond)
	}
	return u.Store.Remove(ctx, step.Name, cond)
}

func (u *undoing) bring(ctx context.Context, step Step, k fs.Kept, shallow bool, cond tree.Condition) error {
	k.Path = step.Name
	opts := tree.RestoreOptions{NoOverwrite: step.Op != Replace && !step.Over.Exists()}
	return u.Store.Bring(ctx, k, shallow, opts, cond)
}

// moveBack gives a resource its former name back. Where an earlier step has replaced it, it comes from the history.
func (u *undoing) moveBack(ctx context.Context, number int, step Step, cond tree.Condition) error {
	if step.Archived == 0 {
		_, _, err := u.Store.Move(ctx, step.From, step.Name, tree.CopyOptions{NoOverwrite: !step.Over.Exists()}, cond)
		if err == nil && step.Over.Exists() {
			return u.findArchived(number, step)
		}
		return err
	}
	k, ok := u.archived[step.Archived]
	for base := range strings.SplitSeq(step.Below, "/") {
		if base == "" || !ok {
			break
		}
		members, err := u.FS.Inside(k)
		if err != nil {
			return failure.Of(err)
		}
		ok = false
		for _, m := range members {
			if m.Name == base {
				k, ok = m, true
			}
		}
	}
	if !ok {
		return fmt.Errorf("what was to get this name back is not kept: %w", tree.ErrNotExist)
	}
	return u.bring(ctx, step, k, false, cond)
}

// findArchived finds the version that a step has replaced.
func (u *undoing) findArchived(number int, step Step) error {
	all, err := u.FS.History(step.Name)
	if err != nil {
		return failure.Of(err)
	}
	for _, k := range all {
		if k.Path == step.Name && k.Inode == step.Over.Inode && k.Born == step.Over.Born {
			u.archived[number] = k
		}
	}
	return nil
}
