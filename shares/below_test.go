package shares_test

import (
	"context"
	"errors"
	"io"
	"iter"
	"strings"
	"time"

	"r-seed-1f3a754f.example/ifmatch/tree"
)

// A below is the part of a store below a collection, as a store: the conformance suite has names of its own. It is the
// opposite of a share.
type below struct {
	tree.Store
	at string
}

func (b below) in(name string) string {
	if name == "" {
		return b.at
	}
	return b.at + "/" + name
}

func (b below) out(name string) string {
	return strings.TrimPrefix(strings.TrimPrefix(name, b.at), "/")
}

func (b below) state(s tree.State, err error) (tree.State, error) {
	s.Name = b.out(s.Name)
	if s.Resolved != nil {
		resolved := b.out(*s.Resolved)
		s.Resolved = &resolved
	}
	s.Locks = b.locks(s.Locks)
	return s, b.err(err)
}

func (b below) locks(locks []tree.Lock) []tree.Lock {
	for i := range locks {
		locks[i].Root = b.out(locks[i].Root)
	}
	return locks
}

func (b below) err(err error) error {
	var member *tree.MemberError
	var locked *tree.LockedError
	switch {
	case errors.As(err, &member):
		return &tree.MemberError{Name: b.out(member.Name), Collection: member.Collection, Err: member.Err}
	case errors.As(err, &locked):
		lock := locked.Lock
		lock.Root = b.out(lock.Root)
		return &tree.LockedError{Name: b.out(locked.Name), Lock: lock}
	}
	return err
}

func (b below) cond(cond tree.Condition) tree.Condition {
	names := make([]string, 0, len(cond.Names))
	for _, name := range cond.Names {
		names = append(names, b.in(name))
	}
	cond.Names, cond.Follow = names, b.follow(cond.Follow)
	if check := cond.Check; check != nil {
		cond.Check = func(v tree.View) error { return check(viewBelow{b, v}) }
	}
	return cond
}

func (b below) follow(follow tree.Follow) tree.Follow {
	if follow == nil {
		return nil
	}
	return func(target string, err error) error {
		if err == nil || target != "" {
			target = b.out(target)
		}
		return follow(target, err)
	}
}

type viewBelow struct {
	below
	v tree.View
}

func (v viewBelow) State(name string) (tree.State, error) { return v.state(v.v.State(v.in(name))) }

func (v viewBelow) Locks(name string) ([]tree.Lock, error) {
	locks, err := v.v.Locks(v.in(name))
	return v.locks(locks), err
}

func (v viewBelow) Covering(name string) ([]tree.Lock, error) {
	locks, err := v.v.Covering(v.in(name))
	return v.locks(locks), err
}

func (v viewBelow) Holds(name, token string) (bool, error) { return v.v.Holds(v.in(name), token) }
func (v viewBelow) Spelled(name string) string             { return v.out(tree.Spelled(v.v, v.in(name))) }
func (v viewBelow) SameName(a, b string) bool              { return tree.SameName(v.v, v.in(a), v.in(b)) }

func (b below) Stat(ctx context.Context, name string, opts tree.ReadOptions) (tree.State, error) {
	opts.Follow = b.follow(opts.Follow)
	return b.state(b.Store.Stat(ctx, b.in(name), opts))
}

func (b below) List(
	ctx context.Context, dir string, opts tree.ListOptions, cond tree.Condition,
) iter.Seq2[tree.State, error] {
	if show := opts.Show; show != nil {
		opts.Show = func(name string, resolved *string, collection bool) bool {
			if resolved != nil {
				target := b.out(*resolved)
				resolved = &target
			}
			return show(b.out(name), resolved, collection)
		}
	}
	opts.Follow = b.follow(opts.Follow)
	return func(yield func(tree.State, error) bool) {
		for state, err := range b.Store.List(ctx, b.in(dir), opts, b.cond(cond)) {
			if err == nil || state.Name != "" {
				state, err = b.state(state, err)
			}
			if !yield(state, err) {
				return
			}
		}
	}
}

func (b below) Open(
	ctx context.Context, name string, opts tree.ReadOptions, cond tree.Condition,
) (tree.Content, tree.State, error) {
	opts.Follow = b.follow(opts.Follow)
	content, state, err := b.Store.Open(ctx, b.in(name), opts, b.cond(cond))
	state, err = b.state(state, err)
	return content, state, err
}

func (b below) Try(ctx context.Context, cond tree.Condition) error {
	return b.err(b.Store.Try(ctx, b.cond(cond)))
}

func (b below) Put(
	ctx context.Context, name string, body io.Reader, opts tree.PutOptions, cond tree.Condition,
) (tree.State, bool, error) {
	s, created, err := b.Store.Put(ctx, b.in(name), body, opts, b.cond(cond))
	s, err = b.state(s, err)
	return s, created, err
}

func (b below) Mkdir(
	ctx context.Context, name string, opts tree.MkdirOptions, cond tree.Condition,
) (tree.State, error) {
	return b.state(b.Store.Mkdir(ctx, b.in(name), opts, b.cond(cond)))
}

func (b below) Remove(ctx context.Context, name string, cond tree.Condition) error {
	return b.err(b.Store.Remove(ctx, b.in(name), b.cond(cond)))
}

func (b below) Move(
	ctx context.Context, from, to string, opts tree.CopyOptions, cond tree.Condition,
) (tree.State, bool, error) {
	s, created, err := b.Store.Move(ctx, b.in(from), b.in(to), opts, b.cond(cond))
	s, err = b.state(s, err)
	return s, created, err
}

func (b below) Copy(
	ctx context.Context, from, to string, opts tree.CopyOptions, cond tree.Condition,
) (tree.State, bool, error) {
	s, created, err := b.Store.Copy(ctx, b.in(from), b.in(to), opts, b.cond(cond))
	s, err = b.state(s, err)
	return s, created, err
}

func (b below) Lock(ctx context.Context, req tree.LockRequest, cond tree.Condition) (tree.Lock, bool, error) {
	req.Root = b.in(req.Root)
	l, created, err := b.Store.Lock(ctx, req, b.cond(cond))
	l.Root = b.out(l.Root)
	return l, created, b.err(err)
}

func (b below) Refresh(
	ctx context.Context, name string, tokens []string, timeout time.Duration, cond tree.Condition,
) (tree.Lock, error) {
	l, err := b.Store.Refresh(ctx, b.in(name), tokens, timeout, b.cond(cond))
	l.Root = b.out(l.Root)
	return l, b.err(err)
}

func (b below) Unlock(ctx context.Context, name, token string, cond tree.Condition) error {
	return b.err(b.Store.Unlock(ctx, b.in(name), token, b.cond(cond)))
}

func (b below) PatchProperties(ctx context.Context, name string, patch tree.Patch, cond tree.Condition) error {
	return b.err(b.Store.PatchProperties(ctx, b.in(name), patch, b.cond(cond)))
}

func (b below) Spelled(ctx context.Context, name string) (string, error) {
	spelled, err := b.Store.(tree.Speller).Spelled(ctx, b.in(name))
	return b.out(spelled), b.err(err)
}

func (b below) Versions(ctx context.Context, name string, opts tree.VersionOptions) iter.Seq2[tree.Version, error] {
	return func(yield func(tree.Version, error) bool) {
		for v, err := range b.Store.Versions(ctx, b.in(name), opts) {
			v.State, err = b.state(v.State, err)
			if !yield(v, err) {
				return
			}
		}
	}
}

func (b below) OpenVersion(ctx context.Context, id string) (tree.Content, tree.Version, error) {
	content, v, err := b.Store.OpenVersion(ctx, id)
	v.State, err = b.state(v.State, err)
	return content, v, err
}

func (b below) Restore(
	ctx context.Context, id, to string, opts tree.RestoreOptions, cond tree.Condition,
) (tree.State, bool, error) {
	s, created, err := b.Store.Restore(ctx, id, b.in(to), opts, b.cond(cond))
	s, err = b.state(s, err)
	return s, created, err
}

func (b below) Now(ctx context.Context) (tree.Cursor, error) { return b.Store.(tree.Feed).Now(ctx) }

func (b below) Latest(ctx context.Context, name string) (tree.Change, error) {
	c, err := b.Store.(tree.Feed).Latest(ctx, b.in(name))
	if err == nil && c.Name != b.at && !tree.Below(c.Name, b.at) {
		err = tree.ErrNotExist
	}
	if err != nil {
		return tree.Change{}, err
	}
	c.Name, c.State.Name = b.out(c.Name), b.out(c.State.Name)
	if c.From != "" {
		c.From = b.out(c.From)
	}
	return c, nil
}

func (b below) Changes(ctx context.Context, since, until tree.Cursor) iter.Seq2[tree.Change, error] {
	return func(yield func(tree.Change, error) bool) {
		for c, err := range b.Store.(tree.Feed).Changes(ctx, since, until) {
			if err == nil && c.Name != b.at && !tree.Below(c.Name, b.at) {
				continue
			}
			if c.Again && c.Name == b.at {
				yield(tree.Change{}, tree.ErrNotExist)
				return
			}
			c.Name, c.State.Name = b.out(c.Name), b.out(c.State.Name)
			if c.From != "" {
				c.From = b.out(c.From)
			}
			if !yield(c, err) {
				return
			}
		}
	}
}

func (v viewBelow) Since(name string, since tree.Cursor, hidden func(string) bool) (bool, error) {
	return v.v.(tree.FeedView).Since(v.in(name), since, hidden)
}
