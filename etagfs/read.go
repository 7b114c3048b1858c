package etagfs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"syscall"

	"ifmatch/fs"
	"ifmatch/tree"
)

// Stat implements [tree.Store].
func (s *Store) Stat(ctx context.Context, name string, want tree.Want) (tree.State, error) {
	info, err := s.look(name)
	if err != nil {
		return tree.State{}, translate(err)
	}
	state, err := s.describe(ctx, name, info, want)
	return state, translate(err)
}

func (s *Store) look(name string) (fs.Info, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.fs.Stat(name)
}

// describe makes of a look what a client sees of it.
func (s *Store) describe(ctx context.Context, name string, info fs.Info, want tree.Want) (tree.State, error) {
	state, err := s.describeContent(ctx, name, info, want)
	if err != nil {
		return tree.State{}, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if want&tree.WantProperties != 0 {
		if state.Properties, err = s.properties(name); err != nil {
			return tree.State{}, err
		}
	}
	if want&tree.WantLocks != 0 {
		state.Locks, err = s.locks.that(func(l tree.Lock) bool { return l.Covers(name) })
	}
	return state, err
}

func (s *Store) describeContent(ctx context.Context, name string, info fs.Info, want tree.Want) (tree.State, error) {
	if info.Kind != fs.Regular {
		return s.stateOfEarlier(name, info, ""), nil
	}
	tag, ok := s.index.get(info.Fingerprint) // wanted or not: dates are told apart by it
	if !ok && want&tree.WantTag != 0 {
		found, sum, err := s.hash(ctx, name, readRounds)
		switch {
		case err == nil:
			info, tag = found, sum
		case !errors.Is(err, tree.ErrBusy): // what keeps changing is told without a tag
			return tree.State{}, err
		}
	}
	state := s.stateOfEarlier(name, info, tag)
	var err error
	if want&tree.WantSums != 0 {
		state.Sums, err = s.sumsOf(ctx, name, info, tag)
	}
	return state, err
}

// membersAtOnce bounds how long a listing keeps commits waiting. A collection that has no more is seen as of one instant.
const membersAtOnce = 64

// openDir opens a collection and looks at its first members, at the same instant: one that is replaced or removed before
// they are read would seem to be empty.
func (s *Store) openDir(name string, opts fs.DirOptions) (*fs.Dir, []fs.Member, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	d, err := s.fs.OpenDir(name, opts)
	if errors.Is(err, syscall.ENOTDIR) {
		err = fmt.Errorf("listing %q: %w", name, tree.ErrNotCollection)
	}
	if err != nil {
		return nil, nil, err
	}
	members, err := d.Next(membersAtOnce)
	return d, members, err
}

func (s *Store) nextMembers(d *fs.Dir) ([]fs.Member, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return d.Next(membersAtOnce)
}

// List implements [tree.Store].
func (s *Store) List(ctx context.Context, dir string, want tree.Want) iter.Seq2[tree.State, error] {
	return func(yield func(tree.State, error) bool) {
		d, members, end := s.openDir(dir, fs.DirOptions{Follow: true, Attributes: want&tree.WantProperties != 0})
		if d == nil {
			yield(tree.State{}, translate(end))
			return
		}
		defer d.Close()
		for ; ; members, end = s.nextMembers(d) {
			locks, err := s.locksIn(dir, want)
			if err != nil {
				yield(tree.State{}, translate(err))
				return
			}
			for _, m := range members {
				state, err := s.describeMember(ctx, tree.Join(dir, m.Name), m, want, locks)
				if errors.Is(err, tree.ErrNotExist) {
					continue // removed since the directory was read
				}
				if !yield(state, err) {
					return
				}
			}
			if end == io.EOF {
				return
			}
			if end != nil {
				yield(tree.State{}, translate(end))
				return
			}
		}
	}
}

// locksIn returns the locks that may cover members of a collection, asked once for all of them.
func (s *Store) locksIn(dir string, want tree.Want) ([]tree.Lock, error) {
	if want&tree.WantLocks == 0 {
		return nil, nil
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.locks.that(func(l tree.Lock) bool { return l.Covers(dir) || tree.Below(l.Root, dir) })
}

// describeMember makes of a member what a client sees of it. The name is told with an error, too.
func (s *Store) describeMember(ctx context.Context, name string, m fs.Member, want tree.Want, locks []tree.Lock) (tree.State, error) {
	state, err := tree.State{}, m.Err
	if err == nil {
		state, err = s.describeContent(ctx, name, m.Info, want)
	}
	if err == nil {
		state.Properties, err = decodeProperties(name, m.Attributes)
	}
	for _, l := range locks {
		if l.Covers(name) {
			state.Locks = append(state.Locks, l)
		}
	}
	state.Name = name
	return state, translate(err)
}

// Open implements [tree.Store].
func (s *Store) Open(ctx context.Context, name string) (tree.Content, tree.State, error) {
	f, info, err := s.open(name)
	if err == nil && f == nil {
		err = tree.ErrIsCollection
	}
	if err != nil {
		return nil, tree.State{}, translate(err)
	}
	info, tag, err := s.hashFile(ctx, f, info, readRounds)
	if err != nil && !errors.Is(err, tree.ErrBusy) { // what keeps changing is sent without a tag
		f.Close()
		return nil, tree.State{}, translate(err)
	}
	return f, s.stateOfEarlier(name, info, tag), nil
}
