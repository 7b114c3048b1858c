package shares

import (
	"context"
	"io"
	"time"

	"r-seed-1f3a754f.example/ifmatch/tree"
)

// write runs a write of a share under a condition.
func write[T any](
	ctx context.Context, s *Store, sh *share, cond tree.Condition, operation func(tree.Condition) (T, bool, error),
) (result T, created bool, err error) {
	err = s.decide(ctx, sh, cond, func(cond tree.Condition) (err error) {
		result, created, err = operation(cond)
		return err
	})
	return result, created, err
}

// Put implements [tree.Store]. If the condition also names resources of other shares, these are asked anew after the
// body has been read.
func (s *Store) Put(
	ctx context.Context, name string, body io.Reader, opts tree.PutOptions, cond tree.Condition,
) (tree.State, bool, error) {
	p, err := s.inside(name, tree.ErrIsCollection)
	if err != nil {
		return tree.State{}, false, err
	}
	m := s.memo(cond)
	if err := m.beforeBody(ctx, p.share); err != nil {
		return tree.State{}, false, err
	}
	state, created, err := p.share.Store.Put(ctx, p.inner, body, m.afterBody(ctx, opts), m.condition(p.share, nil))
	return p.share.state(state), created, p.share.told(asBusy(err))
}

// beforeBody asks other shares all that the condition asks now, because a body can be read only once. Whether the
// condition is true is decided later.
func (m *memo) beforeBody(ctx context.Context, sh *share) error {
	if err := m.askAhead(ctx, sh); err != nil || len(m.answers) == 0 {
		return err
	}
	asked := false
	err := m.run(ctx, sh, func(cond tree.Condition) error {
		err := sh.Store.Try(ctx, cond)
		asked = asked || len(m.missing) == 0
		return err
	})
	if !asked && err != nil {
		return err // another share cannot be asked
	}
	return nil
}

// afterBody returns options with which other shares are asked anew when the body has been read.
func (m *memo) afterBody(ctx context.Context, opts tree.PutOptions) tree.PutOptions {
	if len(m.answers) == 0 {
		return opts
	}
	verify := opts.Verify
	opts.Verify = func(sums tree.Sums) error {
		if verify != nil {
			if err := verify(sums); err != nil {
				return err
			}
		}
		return m.again(ctx)
	}
	return opts
}

// Mkdir implements [tree.Store].
func (s *Store) Mkdir(
	ctx context.Context, name string, opts tree.MkdirOptions, cond tree.Condition,
) (tree.State, error) {
	p, err := s.inside(name, tree.ErrExist)
	if err != nil {
		return tree.State{}, err
	}
	state, _, err := write(ctx, s, p.share, cond, func(cond tree.Condition) (tree.State, bool, error) {
		state, err := p.share.Store.Mkdir(ctx, p.inner, opts, cond)
		return state, true, err
	})
	return p.share.state(state), err
}

// Remove implements [tree.Store].
func (s *Store) Remove(ctx context.Context, name string, cond tree.Condition) error {
	p, err := s.resource(name, errFixed)
	if err == nil && p.isRoot() {
		err = errFixed
	}
	if err != nil {
		return err
	}
	return s.decide(ctx, p.share, cond, func(cond tree.Condition) error {
		return p.share.Store.Remove(ctx, p.inner, cond)
	})
}

// Move implements [tree.Store]. To another share it is a copy, and then an exact removal: see the comment of the
// package.
func (s *Store) Move(
	ctx context.Context, from, to string, opts tree.CopyOptions, cond tree.Condition,
) (tree.State, bool, error) {
	source, dest, err := s.ends(from, to)
	if err != nil {
		return tree.State{}, false, err
	}
	if source.share != dest.share {
		if source.isRoot() {
			return tree.State{}, false, errFixed
		}
		return s.transfer(ctx, source, dest, opts, cond, true)
	}
	state, created, err := write(ctx, s, dest.share, cond, func(cond tree.Condition) (tree.State, bool, error) {
		return dest.share.Store.Move(ctx, source.inner, dest.inner, opts, cond)
	})
	return dest.share.state(state), created, err
}

// Copy implements [tree.Store].
func (s *Store) Copy(
	ctx context.Context, from, to string, opts tree.CopyOptions, cond tree.Condition,
) (tree.State, bool, error) {
	source, dest, err := s.ends(from, to)
	if err != nil {
		return tree.State{}, false, err
	}
	if source.share != dest.share {
		return s.transfer(ctx, source, dest, opts, cond, false)
	}
	state, created, err := write(ctx, s, dest.share, cond, func(cond tree.Condition) (tree.State, bool, error) {
		return dest.share.Store.Copy(ctx, source.inner, dest.inner, opts, cond)
	})
	return dest.share.state(state), created, err
}

// ends returns the places of both ends of a COPY or MOVE. The root of a share is no destination. In one share, its
// store says that.
func (s *Store) ends(from, to string) (source, dest place, err error) {
	if source, err = s.resource(from, errFixed); err != nil {
		return source, dest, err
	}
	if dest, err = s.creatable(to, errFixed); err == nil && dest.isRoot() && dest.share != source.share {
		err = errFixed
	}
	return source, dest, err
}

// Lock implements [tree.Store].
func (s *Store) Lock(
	ctx context.Context, req tree.LockRequest, cond tree.Condition,
) (tree.Lock, bool, error) {
	p, err := s.creatable(req.Root, errFixed)
	if err != nil {
		return tree.Lock{}, false, err
	}
	req.Root = p.inner
	lock, created, err := write(ctx, s, p.share, cond, func(cond tree.Condition) (tree.Lock, bool, error) {
		return p.share.Store.Lock(ctx, req, cond)
	})
	lock.Root = p.share.outer(lock.Root)
	return lock, created, err
}

// lockless returns the error for the locks of a name that belongs to no share: the condition is asked all the same.
func (s *Store) lockless(ctx context.Context, cond tree.Condition) error {
	if err := s.Try(ctx, cond); err != nil {
		return err
	}
	return tree.ErrNoLock
}

// Refresh implements [tree.Store].
func (s *Store) Refresh(
	ctx context.Context, name string, tokens []string, timeout time.Duration, cond tree.Condition,
) (tree.Lock, error) {
	p := s.place(name)
	if p.share == nil || isReserved(p.inner) {
		return tree.Lock{}, s.lockless(ctx, cond)
	}
	lock, _, err := write(ctx, s, p.share, cond, func(cond tree.Condition) (tree.Lock, bool, error) {
		lock, err := p.share.Store.Refresh(ctx, p.inner, tokens, timeout, cond)
		return lock, false, err
	})
	lock.Root = p.share.outer(lock.Root)
	return lock, err
}

// Unlock implements [tree.Store].
func (s *Store) Unlock(ctx context.Context, name, token string, cond tree.Condition) error {
	p := s.place(name)
	if p.share == nil || isReserved(p.inner) {
		return s.lockless(ctx, cond)
	}
	return s.decide(ctx, p.share, cond, func(cond tree.Condition) error {
		return p.share.Store.Unlock(ctx, p.inner, token, cond)
	})
}

// PatchProperties implements [tree.Store].
func (s *Store) PatchProperties(ctx context.Context, name string, patch tree.Patch, cond tree.Condition) error {
	p, err := s.resource(name, errFixed)
	if err != nil {
		return err
	}
	defer s.patches.begin(p)()
	return s.decide(ctx, p.share, cond, func(cond tree.Condition) error {
		return p.share.Store.PatchProperties(ctx, p.inner, patch, cond)
	})
}
