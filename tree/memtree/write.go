package memtree

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"iter"
	"maps"
	"slices"
	"time"

	"r-seed-1f3a754f.example/ifmatch/tree"
)

// dated returns a new version with its dates. wanted is the modification time for which a client asks (zero: for none).
func (s *Store) dated(n tree.State, wanted time.Time) tree.State {
	n.Created = s.opts.Now()
	n.Modified = time.Unix(s.others(n).Next(n.Created.Unix()), 0)
	return s.redated(n, wanted)
}

// redated returns a version with the modification time for which a client asks (zero: for none).
func (s *Store) redated(n tree.State, wanted time.Time) tree.State {
	if !wanted.IsZero() {
		n.Modified = time.Unix(wanted.Unix(), 0)
		s.send(n)
	}
	return n
}

// amend changes the state at a name. It is still the same version.
func (s *Store) amend(ctx context.Context, cause string, n tree.State) {
	s.log(ctx, cause, n.Name, "", n, nil)
	s.tree[n.Name] = n
}

// replace puts states in the place of all that is at a name and below it, which goes into the history. Without states,
// it removes the name. They had the name from, unless that is "". The locks on all that is gone end.
func (s *Store) replace(ctx context.Context, cause, name, from string, come snapshot) {
	s.log(ctx, cause, name, from, come[name], s.tree.below(name, name))
	gone := func(at string) bool { return tree.Within(at, name) || from != "" && tree.Within(at, from) }
	maps.DeleteFunc(s.tree, func(at string, _ tree.State) bool { return gone(at) })
	maps.Copy(s.tree, come)
	s.locks = slices.DeleteFunc(s.locks, func(l tree.Lock) bool {
		return gone(l.Root) && (l.Root != name || !come[name].Exists)
	})
}

func (s *Store) Put(
	ctx context.Context, name string, body io.Reader, opts tree.PutOptions, cond tree.Condition,
) (tree.State, bool, error) {
	data, err := io.ReadAll(tree.ReadBody(ctx, body, opts.Length))
	sums := tree.SumsOf(data, opts.Hashes...)
	if err == nil && opts.Verify != nil {
		err = opts.Verify(sums)
	}
	if err != nil {
		return tree.State{}, false, err
	}
	return s.do(cond, s.unless(name, tree.ErrIsCollection, tree.ErrNoParent), func() error {
		over := s.tree[name]
		n := tree.State{Name: name, Exists: true, Tag: sums.Tag(), Size: int64(len(data)),
			Properties: opts.Described(over.Properties, sums.Tag()), Executable: over.Executable}
		switch s.contents[n.Tag] = data; {
		case over.Tag != n.Tag || !tree.SameProperties(over.Properties, n.Properties):
			s.replace(ctx, "PUT", name, "", snapshot{name: s.dated(n, opts.Modified)})
		case !opts.Modified.IsZero():
			s.amend(ctx, "PUT", s.redated(over, opts.Modified))
		}
		return nil
	}, name)
}

func (s *Store) Mkdir(
	ctx context.Context, name string, opts tree.MkdirOptions, cond tree.Condition,
) (tree.State, error) {
	state, _, err := s.do(cond, s.unless(name, tree.ErrExist, tree.ErrNoParent), func() error {
		n := tree.State{Name: name, Exists: true, Collection: true}
		s.replace(ctx, "MKCOL", name, "", snapshot{name: s.dated(n, opts.Modified)})
		return nil
	}, name)
	return state, err
}

func (s *Store) Remove(ctx context.Context, name string, cond tree.Condition) error {
	_, _, err := s.do(cond, s.unless(name, tree.ErrPermission, tree.ErrNotExist), func() error {
		s.replace(ctx, "DELETE", name, "", nil)
		return nil
	}, name)
	return err
}

// bring gives a name a resource that source finds elsewhere: for a MOVE, a COPY or a restore.
func (s *Store) bring(
	ctx context.Context, cause, from, to string, opts tree.CopyOptions, cond tree.Condition,
	source func() (snapshot, error),
) (tree.State, bool, error) {
	var come snapshot
	return s.do(cond, func() (err error) {
		if come, err = source(); err == nil && opts.NoOverwrite {
			err = s.unless(to, tree.ErrExist)()
		}
		return cmp.Or(err, s.unless(to, tree.ErrNoParent)())
	}, func() error {
		if opts.Shallow {
			come = snapshot{to: come[to]}
		}
		if cause != "MOVE" {
			from = ""
			for name, n := range come {
				come[name] = s.dated(n, time.Time{})
			}
		}
		come[to] = s.redated(come[to], opts.Modified)
		s.replace(ctx, cause, to, from, come)
		return nil
	}, from, to)
}

// ends returns the source of a MOVE or COPY.
func (s *Store) ends(from, to string) func() (snapshot, error) {
	return func() (snapshot, error) {
		return s.tree.below(from, to), cmp.Or(s.unless(from, tree.ErrNotExist)(), tree.CheckEnds(from, to))
	}
}

func (s *Store) Move(
	ctx context.Context, from, to string, opts tree.CopyOptions, cond tree.Condition,
) (tree.State, bool, error) {
	return s.bring(ctx, "MOVE", from, to, opts, cond, s.ends(from, to))
}

func (s *Store) Copy(
	ctx context.Context, from, to string, opts tree.CopyOptions, cond tree.Condition,
) (tree.State, bool, error) {
	return s.bring(ctx, "COPY", from, to, opts, cond, s.ends(from, to))
}

func (s *Store) PatchProperties(ctx context.Context, name string, patch tree.Patch, cond tree.Condition) error {
	_, _, err := s.do(cond, s.unless(name, tree.ErrNotExist), func() error {
		n := s.tree[name]
		switch n.Properties = tree.Patched(n.Properties, patch.Properties); {
		case patch.Executable != nil && n.Collection:
			return tree.ErrIsCollection
		case !tree.FitProperties(n.Properties):
			return tree.ErrNoSpace
		case patch.Executable != nil:
			n.Executable = *patch.Executable
		}
		s.amend(ctx, "PROPPATCH", s.redated(n, patch.Modified))
		return nil
	}, name)
	return err
}

// held returns the locks that have not expired.
func (s *Store) held() *tree.Locks {
	held, now := new(tree.Locks), s.opts.Now()
	for _, l := range s.locks {
		if l.Collection = s.tree[l.Root].Collection; l.Expires.After(now) {
			held.Add(l)
		}
	}
	return held
}

func (s *Store) Lock(
	ctx context.Context, req tree.LockRequest, cond tree.Condition,
) (lock tree.Lock, created bool, err error) {
	_, created, err = s.do(cond, s.unless(req.Root, tree.ErrNoParent), func() error {
		lock = req.Lock(ctx, "urn:memtree:"+rand.Text(), s.opts.Now())
		if err := s.held().Admit(lock); err != nil || len(req.Owner) > tree.MaxProperties {
			return cmp.Or(err, tree.ErrNoSpace)
		}
		if !s.tree[lock.Root].Exists {
			empty := tree.State{Name: lock.Root, Exists: true, Tag: tree.SumsOf(nil).Tag()}
			s.replace(ctx, "LOCK", lock.Root, "", snapshot{lock.Root: s.dated(empty, time.Time{})})
		}
		s.locks = append(s.locks, lock)
		lock, err = s.held().Held(lock.Root, lock.Token)
		return err
	}, req.Root)
	return lock, created, err
}

func (s *Store) Refresh(
	_ context.Context, name string, tokens []string, timeout time.Duration, cond tree.Condition,
) (lock tree.Lock, err error) {
	_, _, err = s.do(cond, s.unless(name), func() (err error) {
		lock, err = s.held().Held(name, tokens...)
		if i := slices.IndexFunc(s.locks, func(l tree.Lock) bool { return l.Token == lock.Token }); err == nil {
			lock.Expires = s.opts.Now().Add(timeout)
			s.locks[i] = lock
		}
		return err
	}, name)
	return lock, err
}

// Unlock has a lock expire now.
func (s *Store) Unlock(ctx context.Context, name, token string, cond tree.Condition) error {
	_, err := s.Refresh(ctx, name, []string{token}, 0, cond)
	return err
}

// version returns the version that gave way to a change at its name, or that of a member below, as if that had given
// way alone.
func (e entry) version(name string) tree.Version {
	state := e.before[name]
	state.Properties = nil
	return tree.Version{State: state, ID: e.id(name), Gone: e.Time, Cause: e.Cause, Principal: e.Principal}
}

func (e entry) id(name string) string { return string(e.Cursor) + "/" + name }

// version returns a version by its ID, and the change to which it gave way.
func (s *Store) version(id string) (tree.Version, entry, error) {
	for _, e := range s.entries {
		for name := range e.before {
			if v := e.version(name); v.ID == id {
				return v, e, nil
			}
		}
	}
	return tree.Version{}, entry{}, fmt.Errorf("version %q: %w", id, tree.ErrNotExist)
}

func (s *Store) Versions(ctx context.Context, name string, opts tree.VersionOptions) iter.Seq2[tree.Version, error] {
	return yields(ctx, func() (all []tree.Version, err error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, e := range s.entries {
			for _, at := range slices.Sorted(maps.Keys(e.before)) {
				dir, _ := tree.Split(at)
				isInside := at != e.Name && e.id(dir) == opts.Inside
				if isInside || opts.Inside == "" && (at == name || at == e.Name && tree.Below(at, name)) {
					all = append(all, e.version(at))
				}
			}
		}
		return all, nil
	})
}

func (s *Store) OpenVersion(_ context.Context, id string) (tree.Content, tree.Version, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v, _, err := s.version(id)
	if err == nil && v.Collection {
		err = tree.ErrIsCollection
	}
	return tree.Bytes(s.contents[v.Tag]), v, err
}

func (s *Store) Restore(
	ctx context.Context, id, to string, opts tree.RestoreOptions, cond tree.Condition,
) (tree.State, bool, error) {
	isSame := func(a, b tree.State) bool { return a.Tag == b.Tag && a.Collection == b.Collection }
	copying := tree.CopyOptions{NoOverwrite: opts.NoOverwrite}
	return s.bring(ctx, "restore", "", to, copying, cond, func() (snapshot, error) {
		v, e, err := s.version(id)
		come := e.before.below(v.Name, to)
		if err == nil && maps.EqualFunc(come, s.tree.below(to, to), isSame) {
			err = tree.ErrSame
		}
		return come, err
	})
}
