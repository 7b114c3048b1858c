package quota

import (
	"context"
	"errors"
	"io"
	"math"
	"slices"

	"r-seed-1f3a754f.example/ifmatch/quota/limits"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

// deciding returns a condition that first asks another one, and then the ledger whether there is room for an operation.
func (c *counter) deciding(o *operation, cond tree.Condition, ready func() bool) tree.Condition {
	asked := cond
	cond.Check = func(v tree.View) error {
		if err := asked.Ask(v); err != nil {
			return err
		}
		if !tree.Committing(v) || !ready() {
			return nil
		}
		at, err := v.State(o.name)
		if err != nil {
			return err
		}
		var from tree.State
		if o.kind == move {
			if from, err = v.State(o.from); err != nil {
				return err
			}
			if at.Exists && tree.SameName(v, o.name, o.from) {
				at = tree.State{Name: o.name} // another spelling of the source
			}
		}
		return c.decide(o, at, from)
	}
	told := cond.Made
	cond.Made = func() {
		c.ledger.count(o)
		if told != nil {
			told()
		}
	}
	return cond
}

func always() bool { return true }

// Put implements [tree.Store].
func (s *Store) Put(
	ctx context.Context, name string, body io.Reader, opts tree.PutOptions, cond tree.Condition,
) (state tree.State, created bool, err error) {
	c := s.counter()
	if c == nil {
		return s.Inner.Put(ctx, name, body, opts, cond)
	}
	o := &operation{kind: put, name: name}
	counted := &countedBody{Reader: body, c: c, o: o}
	if err := c.beforeBody(ctx, counted, opts.Length, cond); err != nil {
		return tree.State{}, false, err
	}
	defer func() { c.settle(o, err, state) }()
	ready := func() bool {
		o.bytes = counted.n
		return counted.ended
	}
	opts.Respelled = c.respelled(o, opts.Respelled, ready)
	state, created, err = s.Inner.Put(ctx, name, counted, opts, c.deciding(o, cond, ready))
	if failed := new(tree.BodyError); errors.As(err, &failed) && counted.err != nil {
		err = counted.err // the body has not failed
	}
	return state, created, err
}

// respelled returns the [tree.PutOptions.Respelled] of an operation.
func (c *counter) respelled(
	o *operation, told func(name string) (tree.Condition, error), ready func() bool,
) func(name string) (tree.Condition, error) {
	if told == nil {
		return nil
	}
	return func(name string) (tree.Condition, error) {
		cond, err := told(name)
		if err == nil {
			c.rename(o, name)
		}
		return c.deciding(o, cond, ready), err
	}
}

// rename gives an operation that has not been decided another name.
func (l *ledger) rename(o *operation, name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.withdraw(o)
	o.held.drop()
	o.name = name
}

// beforeBody reserves the bytes by which the file at the name is to grow, or fails before the body is read.
func (c *counter) beforeBody(ctx context.Context, b *countedBody, length int64, cond tree.Condition) error {
	c.mu.Lock()
	all := c.limits.Of(b.o.name)
	c.mu.Unlock()
	if len(all) == 0 {
		b.free = math.MaxInt64
		return nil
	}
	if !slices.ContainsFunc(all, func(a limits.Applied) bool { return a.History }) { // else both versions count
		state, err := c.store.Stat(ctx, b.o.name, tree.ReadOptions{Follow: cond.Follow})
		if err == nil {
			b.free = site{state}.fileSize()
		}
	}
	if length < 0 || length > b.free {
		if err := c.awaitKnown(ctx, b.o.name); err != nil {
			return err
		}
	}
	r, _ := tree.ReservationOf(ctx).(*reservation)
	c.mu.Lock()
	defer c.mu.Unlock()
	if r != nil && r.c == c {
		for _, h := range r.held {
			if h.on == c.root {
				b.free += h.bytes
			}
		}
		b.o.held, r.held = r.held, nil
	}
	if length <= b.free {
		return nil
	}
	more := length - b.free
	err := c.reserve(&b.o.held, b.o.name, more)
	if err != nil {
		b.o.held.drop()
		return err
	}
	b.free += more
	return nil
}

// Remove implements [tree.Store].
func (s *Store) Remove(ctx context.Context, name string, cond tree.Condition) (err error) {
	c := s.counter()
	if c == nil {
		return s.Inner.Remove(ctx, name, cond)
	}
	o := &operation{kind: remove, name: name}
	defer func() { c.settle(o, err, tree.State{}) }()
	return s.Inner.Remove(ctx, name, c.deciding(o, cond, always))
}

// Move implements [tree.Store]. The sum of a collection is known, so nothing is listed, and the time does not depend on
// its size.
func (s *Store) Move(
	ctx context.Context, from, to string, opts tree.CopyOptions, cond tree.Condition,
) (state tree.State, created bool, err error) {
	c := s.counter()
	if c == nil {
		return s.Inner.Move(ctx, from, to, opts, cond)
	}
	if err := c.beforeMove(ctx, from, to); err != nil {
		return tree.State{}, false, err
	}
	o := &operation{kind: move, name: to, from: from}
	defer func() {
		c.settle(o, err, state)
		if s.opts.Apart(from, to) {
			c.doubt(to, from)
		}
	}()
	return s.Inner.Move(ctx, from, to, opts, c.deciding(o, cond, always))
}

// beforeMove waits for the sums that a MOVE is about, if it goes to another limit.
func (c *counter) beforeMove(ctx context.Context, from, to string) error {
	return c.await(ctx, func() bool {
		for _, a := range c.limits.Of(to) {
			if !a.Covers(from) {
				return c.allKnown(to) && c.root.isKnown(from)
			}
		}
		return true
	})
}

// doubt has the collections of two names listed again, because an operation was not decided in one commit.
func (c *counter) doubt(names ...string) {
	for _, name := range names {
		dir, _ := tree.Split(name)
		c.mark(dir, false)
		c.mark(name, true)
	}
}

// Copy implements [tree.Store]. The source is summed before the copy is made, outside of all locks.
func (s *Store) Copy(
	ctx context.Context, from, to string, opts tree.CopyOptions, cond tree.Condition,
) (state tree.State, created bool, err error) {
	c := s.counter()
	if c == nil {
		return s.Inner.Copy(ctx, from, to, opts, cond)
	}
	o := &operation{kind: bring, name: to}
	var source site
	if source.State, err = c.store.Stat(ctx, from, tree.ReadOptions{Follow: cond.Follow}); err == nil {
		err = c.beforeCopy(ctx, o, from, source, opts.Shallow, cond.Follow)
	} else {
		err = nil // the store says why
	}
	if err != nil {
		c.settle(o, err, tree.State{})
		return tree.State{}, false, err
	}
	defer func() {
		c.settle(o, err, state)
		if s.opts.Apart(from, to) {
			c.doubt(to)
		}
	}()
	return s.Inner.Copy(ctx, from, to, opts, c.copying(o, from, cond, opts.Shallow))
}

// beforeCopy sums the source of a copy, and reserves room for it.
func (c *counter) beforeCopy(
	ctx context.Context, o *operation, from string, source site, shallow bool, follow tree.Follow,
) error {
	c.mu.Lock()
	limited := len(c.limits.Of(o.name)) > 0
	c.mu.Unlock()
	need := source.fileSize()
	if source.isCollection() && !shallow {
		c.copies(o, from)
		var err error
		if o.brings, err = c.walk(ctx, from); err != nil {
			return err
		}
		o.brings.learn(false) // a member that cannot be read has the copy fail
		need = o.brings.total
	}
	if !limited || need == 0 {
		return nil
	}
	if err := c.awaitKnown(ctx, o.name); err != nil {
		return err
	}
	over, err := c.store.Stat(ctx, o.name, tree.ReadOptions{Follow: follow})
	c.mu.Lock()
	defer c.mu.Unlock()
	if err == nil && !c.limits.CountHistory() {
		need -= site{over}.fileSize()
		if n := c.root.find(o.name); n != nil && (site{over}).isCollection() {
			need -= n.total
		}
	}
	return c.reserve(&o.held, o.name, need)
}

// copying is [counter.deciding] for a COPY: the size of a file is that inside the commit.
func (c *counter) copying(o *operation, from string, cond tree.Condition, shallow bool) tree.Condition {
	asked := cond
	cond.Check = func(v tree.View) error {
		if err := asked.Ask(v); err != nil || !tree.Committing(v) {
			return err
		}
		state, err := v.State(from)
		if err != nil {
			return err
		}
		source := site{state}
		o.bytes = source.fileSize()
		if source.isCollection() != (o.brings != nil) && !shallow {
			return errChanged
		}
		return nil
	}
	return c.deciding(o, cond, always)
}

// errChanged says that a file has become a collection, or the other way round, while it was being copied.
var errChanged = &tree.StorageError{Kind: tree.ErrBusy,
	Hint: "the source has changed meanwhile; nothing has changed here; try again"}

// Restore implements [tree.Store].
func (s *Store) Restore(
	ctx context.Context, id, to string, opts tree.RestoreOptions, cond tree.Condition,
) (state tree.State, created bool, err error) {
	c := s.counter()
	if c == nil {
		return s.Inner.Restore(ctx, id, to, opts, cond)
	}
	o := &operation{kind: bring, name: to}
	if err := c.versionOf(ctx, o, id); err != nil {
		return tree.State{}, false, err
	}
	c.mu.Lock()
	limited := len(c.limits.Of(to)) > 0
	c.mu.Unlock()
	if limited {
		if err := c.awaitKnown(ctx, to); err != nil {
			return tree.State{}, false, err
		}
	}
	defer func() { c.settle(o, err, state) }()
	return s.Inner.Restore(ctx, id, to, opts, c.deciding(o, cond, always))
}

// versionOf finds out the size of a version. An error of the version itself is left to the store.
func (c *counter) versionOf(ctx context.Context, o *operation, id string) error {
	content, v, err := c.store.OpenVersion(ctx, id)
	if err == nil {
		o.bytes = v.Size
		return content.Close()
	}
	if !errors.Is(err, tree.ErrIsCollection) {
		return nil
	}
	if o.brings, err = c.versionNode(ctx, id); errors.Is(err, tree.ErrNotExist) {
		return nil
	}
	return err
}

// PatchProperties implements [tree.Store]. Dead properties do not count, but those that are set must have room beside
// the bytes that do: else a path without room could take them without end.
func (s *Store) PatchProperties(ctx context.Context, name string, patch tree.Patch, cond tree.Condition) error {
	if c := s.counter(); c != nil {
		var bytes int64
		for _, p := range patch.Properties {
			for _, one := range p.Props {
				if !p.Remove {
					bytes += int64(len(one.InnerXML))
				}
			}
		}
		if bytes > 0 {
			var held holds
			if err := c.awaitKnown(ctx, name); err != nil {
				return err
			}
			c.mu.Lock()
			err := c.reserve(&held, tree.Join(name, "."), bytes) // beside the resource
			held.drop()
			c.mu.Unlock()
			if err != nil {
				return err
			}
		}
	}
	return s.Inner.PatchProperties(ctx, name, patch, cond)
}
