package shares

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"r-seed-1f3a754f.example/ifmatch/tree"
)

// Stat implements [tree.Store].
func (s *Store) Stat(ctx context.Context, name string, opts tree.ReadOptions) (tree.State, error) {
	p, err := s.resource(name, nil)
	if err != nil {
		return tree.State{Name: name, Fixed: p.free}, err
	}
	if p.above != nil {
		return s.collection(p.above), nil
	}
	opts.Follow = p.share.follow(opts.Follow)
	state, err := p.share.Store.Stat(ctx, p.inner, opts)
	return p.share.state(state), p.share.told(err)
}

// Open implements [tree.Store].
func (s *Store) Open(
	ctx context.Context, name string, opts tree.ReadOptions, cond tree.Condition,
) (content tree.Content, state tree.State, err error) {
	p, err := s.resource(name, tree.ErrIsCollection)
	if err != nil {
		return nil, tree.State{}, err
	}
	opts.Follow = p.share.follow(opts.Follow)
	err = s.decide(ctx, p.share, cond, func(cond tree.Condition) (err error) {
		content, state, err = p.share.Store.Open(ctx, p.inner, opts, cond)
		return err
	})
	return content, p.share.state(state), err
}

// Try implements [tree.Store]. The share of the first name decides, and the others are asked the instant before.
func (s *Store) Try(ctx context.Context, cond tree.Condition) error {
	var sh *share
	if len(cond.Names) > 0 {
		sh = s.place(cond.Names[0]).share
	}
	if sh == nil {
		return s.ask(ctx, cond)
	}
	return s.decide(ctx, sh, cond, func(cond tree.Condition) error { return sh.Store.Try(ctx, cond) })
}

// Quota implements [tree.Quotas]. A collection above shares has the figures of the share below it that has the most
// room: a client that is told so may find less, and is not kept from writing where there is more.
func (s *Store) Quota(ctx context.Context, name string) (used, available int64, err error) {
	p, err := s.resource(name, nil)
	if err != nil {
		return 0, 0, err
	}
	if p.above == nil {
		return p.share.quota(ctx, p.inner)
	}
	found := false
	for sh := range p.above.shares() {
		u, a, err := sh.quota(ctx, "")
		if err == nil && (!found || a > available) {
			used, available, found = u, a, true
		}
	}
	if !found {
		err = fmt.Errorf("no share knows its room: %w", errors.ErrUnsupported)
	}
	return used, available, err
}

func (sh *share) quota(ctx context.Context, inner string) (used, available int64, err error) {
	quotas, ok := sh.Store.(tree.Quotas)
	if !ok {
		return 0, 0, errors.ErrUnsupported
	}
	used, available, err = quotas.Quota(ctx, inner)
	return used, available, sh.told(err)
}

// List implements [tree.Store]. A share whose storage is not there is listed as a collection of which nothing else is
// known, so that a client that syncs does not take it for removed. Its members are an error.
func (s *Store) List(
	ctx context.Context, dir string, opts tree.ListOptions, cond tree.Condition,
) iter.Seq2[tree.State, error] {
	return func(yield func(tree.State, error) bool) {
		p, err := s.resource(dir, nil)
		switch {
		case err != nil:
			yield(tree.State{}, err)
		case p.above != nil:
			s.listAbove(ctx, p.above, opts, cond, yield)
		default:
			s.listShare(ctx, p, opts, cond, yield)
		}
	}
}

// listShare yields a resource of a share, and the members below it.
func (s *Store) listShare(
	ctx context.Context, p place, opts tree.ListOptions, cond tree.Condition, yield func(tree.State, error) bool,
) {
	stopped := false
	err := s.decide(ctx, p.share, cond, func(cond tree.Condition) error {
		first := true
		for state, err := range p.share.Store.List(ctx, p.inner, p.share.listing(p.inner, opts), cond) {
			if first && err != nil && state.Name == "" {
				return err // also that another share has to be asked first
			}
			first = false
			if stopped = !yield(p.share.listed(state, err)); stopped {
				return nil
			}
		}
		return nil
	})
	if err != nil && !stopped {
		yield(tree.State{}, err)
	}
}

// listed returns an element of the listing of a share as a listing of this store has it. An error without a name ends
// it.
func (sh *share) listed(state tree.State, err error) (tree.State, error) {
	if err != nil && state.Name == "" {
		return tree.State{}, sh.told(err)
	}
	return sh.state(state), sh.told(err)
}

// listing returns the options for the listing of a share.
func (sh *share) listing(inner string, opts tree.ListOptions) tree.ListOptions {
	opts.Follow = sh.follow(opts.Follow)
	show := opts.Show
	hides := inner == ""
	if show == nil && !hides {
		return opts
	}
	opts.Show = func(name string, resolved *string, collection bool) bool {
		return !(hides && isReserved(name)) && (show == nil || show(sh.outer(name), sh.resolved(resolved), collection))
	}
	return opts
}

// listAbove yields a collection above shares, and the members below it.
func (s *Store) listAbove(
	ctx context.Context, n *node, opts tree.ListOptions, cond tree.Condition, yield func(tree.State, error) bool,
) {
	err := s.ask(ctx, cond)
	limit := opts.Limit
	opts.Limit = 0
	if err == nil && limit > 0 { // no store tells the number of members otherwise
		counted, count := opts, 0
		counted.Want = 0
		s.below(ctx, n, opts.Depth, counted, func(state tree.State, err error) bool {
			if state.Name != "" {
				count++
			}
			return count <= limit
		})
		if count > limit {
			err = tree.ErrTooMany
		}
	}
	if err != nil {
		yield(tree.State{}, err)
		return
	}
	if yield(s.collection(n), nil) {
		s.below(ctx, n, opts.Depth, opts, yield)
	}
}

// below yields the members of a collection above shares down to a depth (negative: all). It reports false if the
// listing has ended.
func (s *Store) below(
	ctx context.Context, n *node, depth int, opts tree.ListOptions, yield func(tree.State, error) bool,
) bool {
	if depth == 0 {
		return true
	}
	for m := range n.sorted() {
		if opts.Show != nil && !opts.Show(m.name, nil, true) {
			continue
		}
		opts.Depth = depth - 1
		more := false
		if m.share != nil {
			more = m.share.member(ctx, opts, yield)
		} else {
			more = yield(s.collection(m), nil) && s.below(ctx, m, depth-1, opts, yield)
		}
		if !more {
			return false
		}
	}
	return true
}

// member yields a share, and the members to be listed below it. It reports false if the listing has ended.
func (sh *share) member(ctx context.Context, opts tree.ListOptions, yield func(tree.State, error) bool) bool {
	first := true
	for state, err := range sh.Store.List(ctx, "", sh.listing("", opts), tree.Condition{}) {
		if err != nil && state.Name == "" {
			switch {
			case ctx.Err() != nil || !first:
				yield(tree.State{}, sh.told(err))
				return false
			case opts.Depth == 0 && errors.Is(err, tree.ErrUnavailable):
				return yield(tree.State{Name: sh.Path, Exists: true, Collection: true}, nil)
			}
			return yield(tree.State{Name: sh.Path, Collection: true}, sh.told(err))
		}
		first = false
		if !yield(sh.listed(state, err)) {
			return false
		}
	}
	return true
}
