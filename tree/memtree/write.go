package memtree

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"io"
	"slices"
	"time"

	"golang.org/x/net/webdav"

	"r-seed-1f3a754f.example/ifmatch/tree"
)

// file returns a new file for a name.
func (s *Store) file(name, data string) *node {
	sum := tree.NewHasher()
	io.WriteString(sum, data)
	n := &node{content: data}
	n.State = tree.State{Exists: true, Tag: sum.Sums().Tag(), Size: int64(len(data)), Created: s.opts.Now()}
	n.Modified = time.Unix(s.others(name, n.Tag).Next(s.opts.Now().Unix()), 0)
	return n
}

// replace puts a node at a name, with the modification time that the client wants (zero: no change), and what was there into
// the history. A node that was moved had the name from.
func (s *Store) replace(ctx context.Context, cause, name, from string, n *node, modified time.Time) tree.State {
	over := s.find(name)
	s.log(ctx, cause, name, from, over, n)
	if over != n {
		s.endLocks(name, false)
		s.set(name, n)
	}
	if !modified.IsZero() {
		n.Modified = time.Unix(modified.Unix(), 0)
		s.show(s.state(name, 0))
	}
	return s.state(name, 0)
}

// Put implements [tree.Store].
func (s *Store) Put(
	ctx context.Context, name string, body io.Reader, opts tree.PutOptions, cond tree.Condition,
) (state tree.State, created bool, err error) {
	sums := tree.NewHasher(opts.Hashes...)
	data, err := io.ReadAll(io.TeeReader(tree.ReadBody(ctx, body, opts.Length), sums))
	if err == nil && opts.Verify != nil {
		err = opts.Verify(sums.Sums())
	}
	if err != nil {
		return tree.State{}, false, err
	}
	err = s.do(cond, s.unless(name, tree.ErrIsCollection, tree.ErrNoParent), func() error {
		over, n := s.find(name), s.file(name, string(data))
		if created = over == nil; !created {
			n.properties, n.Executable = over.properties, over.Executable
		}
		if opts.Describe != nil {
			if all := tree.Patched(n.properties, opts.Describe(n.Tag)); tree.FitProperties(all) {
				n.properties = all
			}
		}
		if !created && over.Tag == n.Tag && slices.EqualFunc(over.properties, n.properties, isSameProperty) {
			if n = over; opts.Modified.IsZero() {
				state = s.state(name, 0)
				return nil
			}
		}
		state = s.replace(ctx, "PUT", name, "", n, opts.Modified)
		return nil
	}, name)
	return state, created, err
}

func isSameProperty(a, b webdav.Property) bool {
	return a.XMLName == b.XMLName && a.Lang == b.Lang && bytes.Equal(a.InnerXML, b.InnerXML)
}

// Mkdir implements [tree.Store].
func (s *Store) Mkdir(
	ctx context.Context, name string, opts tree.MkdirOptions, cond tree.Condition,
) (state tree.State, err error) {
	err = s.do(cond, s.unless(name, tree.ErrExist, tree.ErrNoParent), func() error {
		state = s.replace(ctx, "MKCOL", name, "", s.collection(), opts.Modified)
		return nil
	}, name)
	return state, err
}

// Remove implements [tree.Store].
func (s *Store) Remove(ctx context.Context, name string, cond tree.Condition) error {
	if name == "" {
		return tree.ErrPermission
	}
	return s.do(cond, s.unless(name, tree.ErrNotExist), func() error {
		s.log(ctx, "DELETE", name, "", s.find(name), nil)
		s.set(name, nil)
		s.endLocks(name, true)
		return nil
	}, name)
}

// bring gives a name a resource that source finds elsewhere: for a MOVE, a COPY or a restore.
func (s *Store) bring(ctx context.Context, cause, from, to string, opts tree.CopyOptions, cond tree.Condition,
	source func() (*node, error),
) (state tree.State, created bool, err error) {
	var n *node
	err = s.do(cond, func() (err error) {
		if n, err = source(); err == nil && opts.NoOverwrite {
			err = s.unless(to, tree.ErrExist)()
		}
		return cmp.Or(err, s.unless(to, tree.ErrNoParent)())
	}, func() error {
		created = s.find(to) == nil
		if cause == "MOVE" {
			s.set(from, nil)
			s.endLocks(from, true)
		} else {
			from, n = "", n.copied()
			if n.Created = s.opts.Now(); !n.Collection {
				n.Modified = s.file(to, n.content).Modified
			} else if opts.Shallow {
				clear(n.members)
			}
		}
		state = s.replace(ctx, cause, to, from, n, opts.Modified)
		return nil
	}, from, to)
	return state, created, err
}

// ends returns the source of a MOVE or COPY.
func (s *Store) ends(from, to string) func() (*node, error) {
	return func() (*node, error) {
		return s.find(from), cmp.Or(s.unless(from, tree.ErrNotExist)(), tree.CheckEnds(from, to))
	}
}

// Move implements [tree.Store].
func (s *Store) Move(
	ctx context.Context, from, to string, opts tree.CopyOptions, cond tree.Condition,
) (tree.State, bool, error) {
	return s.bring(ctx, "MOVE", from, to, opts, cond, s.ends(from, to))
}

// Copy implements [tree.Store].
func (s *Store) Copy(
	ctx context.Context, from, to string, opts tree.CopyOptions, cond tree.Condition,
) (tree.State, bool, error) {
	return s.bring(ctx, "COPY", from, to, opts, cond, s.ends(from, to))
}

// PatchProperties implements [tree.Store].
func (s *Store) PatchProperties(ctx context.Context, name string, patch tree.Patch, cond tree.Condition) error {
	wrong := []error{tree.ErrNotExist}
	if patch.Executable != nil {
		wrong = append(wrong, tree.ErrIsCollection)
	}
	return s.do(cond, s.unless(name, wrong...), func() error {
		n := s.find(name)
		properties := tree.Patched(n.properties, patch.Properties)
		if !tree.FitProperties(properties) {
			return tree.ErrNoSpace
		}
		if n.properties = properties; patch.Executable != nil {
			n.Executable = *patch.Executable
		}
		s.replace(ctx, "PROPPATCH", name, "", n, patch.Modified)
		return nil
	}, name)
}

// held returns the locks that have not expired.
func (s *Store) held() *tree.Locks {
	held, now := new(tree.Locks), s.opts.Now()
	for _, l := range s.locks {
		if n := s.find(l.Root); l.Expires.After(now) {
			l.Collection = n != nil && n.Collection
			held.Add(l)
		}
	}
	return held
}

// endLocks ends the locks on all names below a name and, if itself is true, on that name.
func (s *Store) endLocks(name string, itself bool) {
	s.locks = slices.DeleteFunc(s.locks, func(l tree.Lock) bool {
		return tree.Below(l.Root, name) || itself && l.Root == name
	})
}

// Lock implements [tree.Store].
func (s *Store) Lock(
	ctx context.Context, req tree.LockRequest, cond tree.Condition,
) (lock tree.Lock, created bool, err error) {
	err = s.do(cond, s.unless(req.Root, tree.ErrNoParent), func() error {
		lock = req.Lock(ctx, "urn:memtree:"+rand.Text(), s.opts.Now())
		if err := s.held().Admit(lock); err != nil || len(req.Owner) > tree.MaxProperties {
			return cmp.Or(err, tree.ErrNoSpace)
		}
		if created = s.find(lock.Root) == nil; created {
			s.replace(ctx, "LOCK", lock.Root, "", s.file(lock.Root, ""), time.Time{})
		}
		s.locks = append(s.locks, lock)
		lock, err = s.held().Held(lock.Root, lock.Token)
		return err
	}, req.Root)
	return lock, created, err
}

// holding calls change with the lock that covers a name and has one of the tokens, if cond is true.
func (s *Store) holding(cond tree.Condition, name string, tokens []string, change func(l *tree.Lock)) error {
	return s.do(cond, s.unless(name), func() error {
		held, err := s.held().Held(name, tokens...)
		for i := range s.locks {
			if s.locks[i].Token == held.Token {
				change(&s.locks[i])
			}
		}
		return err
	}, name)
}

// Refresh implements [tree.Store].
func (s *Store) Refresh(
	_ context.Context, name string, tokens []string, timeout time.Duration, cond tree.Condition,
) (lock tree.Lock, err error) {
	err = s.holding(cond, name, tokens, func(l *tree.Lock) {
		l.Expires = s.opts.Now().Add(timeout)
		lock = *l
	})
	return lock, err
}

// Unlock implements [tree.Store].
func (s *Store) Unlock(_ context.Context, name, token string, cond tree.Condition) error {
	return s.holding(cond, name, []string{token}, func(l *tree.Lock) { *l = tree.Lock{} })
}
