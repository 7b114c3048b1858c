package memtree

import (
	"bytes"
	"context"
	"crypto"
	"fmt"
	"io"
	"slices"
	"time"

	"golang.org/x/net/webdav"

	"r-seed-1f3a754f.example/ifmatch/tree"
)

// maxProperties bounds the properties of a resource, and the owner of a lock, in bytes.
const maxProperties = 64 << 10

func sumsOf(content []byte, others ...crypto.Hash) tree.Sums {
	sums := tree.Sums{}
	for _, h := range append(others, crypto.SHA256, crypto.SHA1, crypto.MD5) {
		w := h.New()
		w.Write(content)
		sums[h] = w.Sum(nil)
	}
	return sums
}

// receive reads a body.
func receive(ctx context.Context, body io.Reader, opts tree.PutOptions) ([]byte, error) {
	data, err := io.ReadAll(body)
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case err != nil:
		return nil, &tree.BodyError{Err: err}
	case opts.Length >= 0 && int64(len(data)) != opts.Length:
		return nil, &tree.BodyError{Err: fmt.Errorf("it has %d bytes, and %d were announced", len(data), opts.Length)}
	}
	if opts.Verify != nil {
		sums, wanted := sumsOf(data, opts.Hashes...), tree.Sums{}
		for _, h := range append(opts.Hashes, crypto.SHA256) {
			wanted[h] = sums[h]
		}
		err = opts.Verify(wanted)
	}
	return data, err
}

// file returns a new file for a name.
func (s *Store) file(name string, data []byte) *node {
	tag := sumsOf(data).Tag()
	return &node{content: data, tag: tag, created: s.opts.Now(), modified: s.next(name, tag)}
}

// replace puts a node at a name, and what was there into the history. A node that was moved had the name from.
func (s *Store) replace(ctx context.Context, name, from string, n *node, cause string) {
	over := s.find(name)
	s.tell(ctx, cause, name, from, over, n)
	if over != nil {
		s.keep(ctx, name, over, cause)
		s.endLocks(name, false)
	}
	n.came = s.opts.Now()
	s.set(name, n)
	for i := range s.locks {
		if s.locks[i].Root == name {
			s.locks[i].Collection = n.members != nil
		}
	}
}

// written returns the state after a write, with the modification time that the client wants (zero: no change).
func (s *Store) written(name string, modified time.Time) tree.State {
	if !modified.IsZero() {
		s.find(name).modified = seconds(modified)
	}
	state := s.state(name, 0)
	if modified.IsZero() {
		s.show(state, state.LastModified)
	} else {
		s.show(state, state.Modified)
	}
	return state
}

// Put implements [tree.Store].
func (s *Store) Put(
	ctx context.Context, name string, body io.Reader, opts tree.PutOptions, cond tree.Condition,
) (state tree.State, created bool, err error) {
	data, err := receive(ctx, body, opts)
	if err != nil {
		return tree.State{}, false, err
	}
	err = s.do(cond, func() error {
		if over := s.find(name); over != nil && over.members != nil {
			return tree.ErrIsCollection
		}
		return s.hasParent(name)
	}, func() {
		over, n := s.find(name), s.file(name, data)
		if created = over == nil; !created {
			n.properties, n.executable = over.properties, over.executable
		}
		if opts.Describe != nil {
			n.properties = described(n.properties, opts.Describe(n.tag))
		}
		if created || over.tag != n.tag || !slices.EqualFunc(over.properties, n.properties, isSameProperty) {
			s.replace(ctx, name, "", n, "PUT")
		} else if !opts.Modified.IsZero() {
			s.tell(ctx, "PUT", name, "", over, over)
		}
		state = s.written(name, opts.Modified)
	}, name)
	return state, created, err
}

// Mkdir implements [tree.Store].
func (s *Store) Mkdir(
	ctx context.Context, name string, opts tree.MkdirOptions, cond tree.Condition,
) (state tree.State, err error) {
	err = s.do(cond, func() error {
		if s.find(name) != nil {
			return tree.ErrExist
		}
		return s.hasParent(name)
	}, func() {
		now := s.opts.Now()
		s.replace(ctx, name, "", &node{members: map[string]*node{}, created: now, modified: seconds(now)}, "MKCOL")
		state = s.written(name, opts.Modified)
	}, name)
	return state, err
}

// Remove implements [tree.Store].
func (s *Store) Remove(ctx context.Context, name string, cond tree.Condition) error {
	if name == "" {
		return tree.ErrPermission
	}
	var n *node
	return s.do(cond, s.exists(name, &n), func() {
		s.keep(ctx, name, n, "DELETE")
		s.tell(ctx, "DELETE", name, "", n, nil)
		s.set(name, nil)
		s.endLocks(name, true)
	}, name)
}

// A transfer gives a name a node that exists elsewhere: a MOVE, a COPY or a restore.
type transfer struct {
	cause       string
	source      func(over *node) error // fails unless the source exists, and can replace a node
	take        func() *node           // returns the node for the name
	noOverwrite bool
	modified    time.Time
}

// transfer runs a transfer to the last of some names.
func (s *Store) transfer(
	ctx context.Context, t transfer, cond tree.Condition, names ...string,
) (state tree.State, created bool, err error) {
	to := names[len(names)-1]
	err = s.do(cond, func() error {
		over := s.find(to)
		if err := t.source(over); err != nil {
			return err
		}
		if t.noOverwrite && over != nil {
			return tree.ErrExist
		}
		return s.hasParent(to)
	}, func() {
		created = s.find(to) == nil
		from := ""
		if t.cause == "MOVE" {
			from = names[0]
		}
		s.replace(ctx, to, from, t.take(), t.cause)
		state = s.written(to, t.modified)
	}, names...)
	return state, created, err
}

// source returns the source of a MOVE or COPY. It sets n.
func (s *Store) source(from, to string, n **node) func(over *node) error {
	return func(*node) error {
		switch err := s.exists(from, n)(); {
		case err != nil:
			return err
		case from == to:
			return tree.ErrSame
		case tree.Below(from, to) || tree.Below(to, from):
			return tree.ErrNested
		}
		return nil
	}
}

// Move implements [tree.Store].
func (s *Store) Move(
	ctx context.Context, from, to string, opts tree.CopyOptions, cond tree.Condition,
) (tree.State, bool, error) {
	var n *node
	return s.transfer(ctx, transfer{"MOVE", s.source(from, to, &n), func() *node {
		s.set(from, nil)
		s.endLocks(from, true)
		return n
	}, opts.NoOverwrite, opts.Modified}, cond, from, to)
}

// Copy implements [tree.Store].
func (s *Store) Copy(
	ctx context.Context, from, to string, opts tree.CopyOptions, cond tree.Condition,
) (tree.State, bool, error) {
	var n *node
	return s.transfer(ctx, transfer{"COPY", s.source(from, to, &n), func() *node {
		c := s.copyTo(to, n)
		if opts.Shallow {
			clear(c.members)
		}
		c.created = s.opts.Now()
		return c
	}, opts.NoOverwrite, opts.Modified}, cond, from, to)
}

// copyTo returns a copy of a node for a name.
func (s *Store) copyTo(name string, n *node) *node {
	c := n.copied()
	if c.members == nil {
		c.modified = s.next(name, c.tag)
	}
	return c
}

// PatchProperties implements [tree.Store].
func (s *Store) PatchProperties(ctx context.Context, name string, patch tree.Patch, cond tree.Condition) (err error) {
	var n *node
	var tooMuch error
	err = s.do(cond, func() error {
		err := s.exists(name, &n)()
		if err == nil && n.members != nil && patch.Executable != nil {
			err = tree.ErrIsCollection
		}
		return err
	}, func() {
		properties := tree.Patched(n.properties, patch.Properties)
		if !haveRoom(properties) {
			tooMuch = tree.ErrNoSpace
			return
		}
		s.tell(ctx, "PROPPATCH", name, "", n, n)
		n.properties = properties
		if patch.Executable != nil {
			n.executable = *patch.Executable
		}
		s.written(name, patch.Modified)
	}, name)
	if err == nil {
		err = tooMuch
	}
	return err
}

func haveRoom(properties []webdav.Property) bool {
	names, values := 0, 0
	for _, p := range properties {
		names, values = names+len(p.XMLName.Space)+len(p.XMLName.Local), values+len(p.InnerXML)
	}
	return max(names, values) <= maxProperties
}

// described returns the properties of a file that is put with a change of them.
func described(properties []webdav.Property, patches []webdav.Proppatch) []webdav.Property {
	if all := tree.Patched(properties, patches); haveRoom(all) {
		return all
	}
	return properties
}

func isSameProperty(a, b webdav.Property) bool {
	return a.XMLName == b.XMLName && a.Lang == b.Lang && bytes.Equal(a.InnerXML, b.InnerXML)
}
