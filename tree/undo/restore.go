package undo

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"r-seed-1f3a754f.example/ifmatch/tree"
)

// undoTries is how often a plan is made, if clients change the tree meanwhile.
const undoTries = 3

// A Store takes the steps of a plan, each as a change of its own.
type Store interface {
	Disk
	// Now returns a position in the feed, and the time.
	Now(ctx context.Context) (tree.Cursor, time.Time, error)
	// Known returns all that is known since a time.
	Known(ctx context.Context, at time.Time) (Known, error)
	// ChangedSince reports whether a name, or one below it, has changed since a position.
	ChangedSince(ctx context.Context, name string, since tree.Cursor) (bool, error)

	Try(ctx context.Context, cond tree.Condition) error
	Mkdir(ctx context.Context, name string, opts tree.MkdirOptions, cond tree.Condition) (tree.State, error)
	// Remove removes a resource. A collection must be empty: [ErrNotEmpty].
	Remove(ctx context.Context, name string, cond tree.Condition) error
	Move(ctx context.Context, from, to string, opts tree.CopyOptions, cond tree.Condition) (tree.State, bool, error)
	// Bring restores a version at its path, if shallow without its members.
	Bring(ctx context.Context, k Kept, shallow bool, opts tree.RestoreOptions, cond tree.Condition) error
	// IsSeen reports whether the resource at a name is, inside a commit, the one that was seen before. Of a collection
	// only the identity counts.
	IsSeen(v tree.View, name string, seen Info) (bool, error)
	// Archived returns the version that a MOVE to a name has just replaced.
	Archived(ctx context.Context, name string, over Info) (k Kept, ok bool, err error)
}

// ErrNotEmpty says that a collection has members.
var ErrNotEmpty = errors.New("it has members that stay")

// RestoreAt is that of [tree.Undoer]: it makes a plan, and takes its steps.
func RestoreAt(
	ctx context.Context, store Store, name string, at time.Time, opts tree.RestoreAtOptions,
) (result tree.Restored, err error) {
	for range undoTries {
		begin, now, err := store.Now(ctx)
		if err != nil {
			return result, err
		}
		known, err := store.Known(ctx, at)
		if err != nil {
			return result, err
		}
		plan, err := Make(ctx, store, name, known)
		if err != nil {
			return result, err
		}
		u := &undoing{Store: store, opts: opts, plan: plan, archived: map[int]Kept{}}
		u.result = tree.Restored{Existed: plan.Existed, Began: now, Since: known.Begun}
		if opts.DryRun {
			for _, step := range plan.Steps {
				u.count(step)
			}
			return u.all(), nil
		}
		if changed, err := store.ChangedSince(ctx, name, begin); err != nil {
			return result, err
		} else if changed {
			continue
		}
		if opts.Condition == nil {
			if err := store.Try(ctx, tree.Unlocked(name)); err != nil {
				return result, err
			}
		}
		err = u.run(ctx)
		return u.all(), err
	}
	return result, tree.ErrBusy
}

// An undoing takes the steps of a plan.
type undoing struct {
	Store
	opts     tree.RestoreAtOptions
	plan     *Plan
	result   tree.Restored // but for what is left
	archived map[int]Kept  // versions that steps have replaced and others need, by the number of the step
}

// run takes the steps. A step that is not possible is reported, and the others are taken.
func (u *undoing) run(ctx context.Context) error {
	for i, step := range u.plan.Steps {
		if err := ctx.Err(); err != nil {
			return err
		}
		err := u.take(ctx, i+1, step)
		if err == nil || errors.Is(err, tree.ErrUnsure) {
			u.count(step)
		}
		if err != nil {
			u.plan.leave(step.Name, err.Error())
		}
	}
	return nil
}

// all returns the result.
func (u *undoing) all() tree.Restored {
	u.result.Left, u.result.More = u.plan.Left, u.plan.More
	return u.result
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
	from, names := step.From, []string{step.Name}
	if from != "" {
		names = append(names, from)
	}
	asked := tree.Unlocked(names...)
	if u.opts.Condition != nil {
		asked = u.opts.Condition(step.Name, from)
	}
	cond := asked
	cond.Exact, cond.Names = true, slices.Concat(names, asked.Names)
	cond.Check = func(v tree.View) error {
		seen := map[string]Info{step.Name: step.Seen}
		if step.Op == MoveBack {
			seen = map[string]Info{step.Name: step.Over, from: step.Seen}
		}
		for name, want := range seen {
			if name == "" {
				continue
			}
			switch is, err := u.IsSeen(v, name, want); {
			case err != nil:
				return err
			case !is:
				return errors.New("it has changed meanwhile")
			}
		}
		return asked.Ask(v)
	}
	return cond
}

// take takes one step. number is its number, from 1 on.
func (u *undoing) take(ctx context.Context, number int, step Step) (err error) {
	cond := u.condition(step)
	switch step.Op {
	case BringBack, Replace:
		return u.bring(ctx, step, step.Kept, false, cond)
	case MakeDir:
		if step.Kept.ID != "" {
			return u.bring(ctx, step, step.Kept, true, cond)
		}
		_, err = u.Mkdir(ctx, step.Name, tree.MkdirOptions{}, cond)
		return err
	case MoveBack:
		return u.moveBack(ctx, number, step, cond)
	}
	return u.Remove(ctx, step.Name, cond)
}

func (u *undoing) bring(ctx context.Context, step Step, k Kept, shallow bool, cond tree.Condition) error {
	k.Path = step.Name
	opts := tree.RestoreOptions{NoOverwrite: step.Op != Replace && !step.Over.Exists()}
	return u.Bring(ctx, k, shallow, opts, cond)
}

// moveBack gives a resource its former name back. Where an earlier step has replaced it, it comes from the history.
func (u *undoing) moveBack(ctx context.Context, number int, step Step, cond tree.Condition) error {
	if step.Archived == 0 {
		_, _, err := u.Move(ctx, step.From, step.Name, tree.CopyOptions{NoOverwrite: !step.Over.Exists()}, cond)
		if err != nil || !step.Over.Exists() {
			return err
		}
		k, ok, err := u.Archived(ctx, step.Name, step.Over)
		if ok {
			u.archived[number] = k
		}
		return err
	}
	k, ok := u.archived[step.Archived]
	for base := range segments(step.Below) {
		if !ok {
			break
		}
		members, err := u.Inside(ctx, k)
		if err != nil {
			return err
		}
		i := slices.IndexFunc(members, func(m Kept) bool { return m.Name == base })
		if ok = i >= 0; ok {
			k = members[i]
		}
	}
	if !ok {
		return fmt.Errorf("what was to get this name back is not kept: %w", tree.ErrNotExist)
	}
	return u.bring(ctx, step, k, false, cond)
}
