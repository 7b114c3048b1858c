package pgstore

import (
	"bytes"
	"context"
	"errors"
	"io"

	"r-seed-1f3a754f.example/ifmatch/pgstore/turns"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

// Put implements [tree.Store].
func (s *Store) Put(
	ctx context.Context, name string, body io.Reader, opts tree.PutOptions, cond tree.Condition,
) (state tree.State, created bool, err error) {
	if err := checkNames([]string{name}); err != nil {
		return tree.State{}, false, s.refusalOr(ctx, cond, err)
	}
	defer s.puts.Count(name)()
	content, err := s.stage(ctx, body, opts)
	if err != nil {
		return tree.State{}, false, s.refusalOr(ctx, cond, err)
	}
	state, created, used, err := s.publish(ctx, name, content, opts, cond)
	if !used && !errors.Is(err, errUnknown) {
		s.abandon(ctx, content)
	}
	return state, created, err
}

// leaves reports whether a Try may be left to the Put that follows. Where other clients write the same name, many
// conditions are false. They are better refused by a look, which waits for no lock.
func (s *Store) leaves(cond tree.Condition) bool {
	return cond.Late != nil && s.opts.Inline >= tree.MaxLate && !s.puts.Any(cond.Names) && cond.Late()
}

// refusalOr returns the error of a condition, if its Try may have been left to the Put, or else that of the body.
func (s *Store) refusalOr(ctx context.Context, cond tree.Condition, err error) error {
	if cond.Late == nil || s.opts.Inline < tree.MaxLate || !cond.Late() {
		return err
	}
	cond.Late = nil
	asked := s.Try(ctx, cond)
	if asked == nil || ctx.Err() != nil || errors.Is(asked, tree.ErrUnavailable) || errors.Is(asked, tree.ErrBusy) {
		return err
	}
	return asked
}

// turn waits for the turn of a Put among those of its name. A condition that names a version is asked again when that
// was replaced meanwhile. That takes a look, and no lock.
func (s *Store) turn(ctx context.Context, name string, cond tree.Condition) (leave func(replaced bool), err error) {
	var again func() error
	if cond.Late = nil; cond.Exact {
		limited, cancel := s.patient(ctx) // many may wait to ask
		defer cancel()
		again = func() error {
			select {
			case s.asking <- struct{}{}:
				defer func() { <-s.asking }()
				return translate(s.Try(limited, cond))
			case <-limited.Done():
				return translate(limited.Err())
			}
		}
	}
	leave, err = s.puts.Wait(ctx, name, patience, again)
	if err == turns.ErrLate {
		err = &tree.StorageError{Kind: tree.ErrBusy, RetryAfter: retryAfterBusyWrite, Err: err,
			Hint: "another write holds the name for long; try again"}
	}
	return leave, err
}

// publish gives a content a name, or another spelling of that name. used says that it is that of a version now.
func (s *Store) publish(
	ctx context.Context, name string, content *staged, opts tree.PutOptions, cond tree.Condition,
) (state tree.State, created, used bool, err error) {
	late := cond.Late
	for {
		state, created, used, err = s.putStaged(ctx, name, content, opts, cond)
		respelled := new(tree.RespelledError)
		if opts.Respelled == nil || !errors.As(err, &respelled) {
			return state, created, used, err
		}
		if cond, err = opts.Respelled(respelled.Name); err != nil {
			return tree.State{}, false, false, err
		}
		cond.Late = late
		name, opts.Respelled = respelled.Name, nil
	}
}

// putStaged is [Store.publish] of one spelling.
func (s *Store) putStaged(
	ctx context.Context, name string, content *staged, opts tree.PutOptions, cond tree.Condition,
) (state tree.State, created, used bool, err error) {
	if err := s.keepClaim(ctx, content); err != nil {
		return tree.State{}, false, false, err
	}
	leave, err := s.turn(ctx, name, cond)
	if err != nil {
		return tree.State{}, false, false, err
	}
	defer func() { leave(used) }()
	step := func(t *transaction) error {
		over, err := t.target(name)
		if err == nil && over.isDir() {
			err = about(name, tree.ErrIsCollection)
		}
		if err == nil || cond.Late != nil { // the Check knows what of that the client may learn
			if refused := t.ask(); refused != nil {
				return refused
			}
		}
		if err != nil {
			return err
		}
		props, err := content.described(over.props, opts)
		if err != nil {
			return err
		}
		created, used = !over.there, true
		if !created && bytes.Equal(over.sum, content.sum) && bytes.Equal(over.props, props) {
			used = false
			state = t.sameContent(name, *over, opts)
			return nil
		}
		n := *over
		n.dates, n.props = t.come(name, over), props
		t.dated(&n.dates, opts.Modified)
		t.place(&n, content)
		if created {
			n.created = t.view.now
			t.insert(name, &n)
		} else {
			t.archive(name, over, "PUT", true)
			t.replace(name, &n)
			if opts.Describe != nil {
				t.do("update ifmatch.node set props = $3 where parent = $1 and name = $2", n.parent, baseOf(name), props)
			}
		}
		t.tell("PUT", name, "", over, &n)
		state = n.state(name, t.view.now)
		return nil
	}
	err = s.update(ctx, write{names: []string{name}, cond: cond, props: opts.Describe != nil, step: step})
	if code(err) == codeDivision {
		err = errGivenUp
	}
	return state, created && err == nil, used && err == nil, err
}

// described returns the properties of a file with a change that is about its content.
func (c *staged) described(props []byte, opts tree.PutOptions) ([]byte, error) {
	if opts.Describe == nil {
		return props, nil
	}
	all, err := decodeProperties(props)
	if err != nil {
		return nil, err
	}
	return encodeProperties(opts.Described(all, tree.TagOf([32]byte(c.sum))))
}

// sameContent makes no version. It may set the date of the one that is there.
func (t *transaction) sameContent(name string, n node, opts tree.PutOptions) tree.State {
	if !opts.Modified.IsZero() {
		t.redate(name, &n, func() { n.set(opts.Modified, t.now) })
		t.tell("PUT", name, "", &n, &n)
	}
	return n.state(name, t.view.now)
}

// redate changes the dates of the node at a name.
func (t *transaction) redate(name string, n *node, change func()) {
	change()
	t.raise(n.modified)
	first, last := columns(n.own.Ahead)
	t.do("update ifmatch.node set modified = $3, shown = $4, own_first = $5, own_last = $6 where parent = $1 and name = $2",
		n.parent, baseOf(name), n.modified, orNull(n.own.Earlier), first, last)
}

// replace gives the row of a file another content. No column with an index changes, so that PostgreSQL need not touch
// the index.
func (t *transaction) replace(name string, n *node) {
	first, last := columns(n.Ahead)
	t.do(`update ifmatch.node set size = $3, modified = $4, since = $5, earlier = $6, shown = null, ahead_first = $7,
 ahead_last = $8, own_first = null, own_last = null, blob = $9, place = $10, sha256 = $11 where parent = $1 and name = $2`,
		n.parent, baseOf(name), n.size, n.modified, orNull(n.since), orNull(n.Earlier), first, last, *n.blob, n.place, n.sum)
}
