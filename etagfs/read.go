package etagfs

import (
	"context"
	"errors"
	"fmt"
	"io"
	iofs "io/fs"
	"iter"
	"syscall"

	"golang.org/x/sync/errgroup"

	"ifmatch/fs"
	"ifmatch/limit"
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
	if want&tree.WantProperties != 0 {
		stored, err := s.attributes(name)
		if err == nil {
			state.Properties, err = s.decodeProperties(name, stored) // not under mu: there may be many
		}
		if err != nil && !errors.Is(err, iofs.ErrPermission) { // there is all the rest to tell
			return tree.State{}, err
		}
	}
	if want&tree.WantLocks != 0 {
		s.mu.RLock()
		defer s.mu.RUnlock()
		state.Locks, err = s.newView().Covering(name)
	}
	return state, err
}

// attributes returns what is kept with a name.
func (s *Store) attributes(name string) ([]byte, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.fs.Attributes(name)
}

func (s *Store) describeContent(ctx context.Context, name string, info fs.Info, want tree.Want) (tree.State, error) {
	tag, enough := s.knownContent(info, want)
	if !enough {
		var err error
		if info, tag, err = s.findTag(ctx, name, info); err != nil {
			return tree.State{}, err
		}
	}
	state := s.stateOfEarlier(name, info, tag, asIs)
	var err error
	if want&tree.WantSums != 0 {
		patience, cancel := tree.TagContext(ctx)
		defer cancel()
		state.Sums, err = s.sumsOf(patience, name, info, tag)
		err = s.goWithout(ctx, task{name: name, sums: true}, err)
	}
	return state, err
}

// knownContent returns the tag of a version, and whether that is all there is to find out.
func (s *Store) knownContent(info fs.Info, want tree.Want) (tag tree.ETag, enough bool) {
	if info.Kind != fs.Regular {
		return "", true
	}
	tag, ok := s.index.get(info.Fingerprint) // wanted or not: dates are told apart by it
	return tag, ok || want&tree.WantTag == 0 // what else is to be computed is computed of a known tag
}

// findTag hashes a file for an answer that can do without. What keeps changing is told without a tag, and so is what takes
// longer than the answer may wait; the latter is then hashed before all that nobody has asked for.
func (s *Store) findTag(ctx context.Context, name string, info fs.Info) (fs.Info, tree.ETag, error) {
	patience, cancel := tree.TagContext(ctx)
	defer cancel()
	found, tag, err := s.hash(patience, name, forAnswer)
	if err != nil {
		return info, "", s.goWithout(ctx, task{name: name}, err)
	}
	return found, tag, nil
}

// goWithout takes back an error that only says that what was wanted could not be found in time, or not at all by us: what may
// not be read can be told of.
func (s *Store) goWithout(ctx context.Context, wanted task, err error) error {
	if errors.Is(err, tree.ErrBusy) || errors.Is(err, iofs.ErrPermission) || errors.As(err, new(*limit.Error)) {
		return nil
	}
	switch {
	case ctx.Err() != nil:
		return err
	case errors.Is(err, context.DeadlineExceeded):
		s.queue.ask(wanted)
		return nil
	case errors.Is(err, context.Canceled):
		return nil // see tree.HashContext: nobody may be waiting any more
	}
	return err
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
		kinds := want&tree.OnlyKinds != 0
		d, members, end := s.openDir(dir, fs.DirOptions{Follow: !kinds, KindsOnly: kinds, Attributes: want&tree.WantProperties != 0})
		if d == nil {
			yield(tree.State{}, translate(end))
			return
		}
		defer d.Close()
		var short shortRoots
		for ; ; members, end = s.nextMembers(d) {
			if kinds {
				if !yieldKinds(dir, members, yield) {
					return
				}
				members = nil
			}
			locks, err := s.locksIn(dir, members, want, &short)
			if err != nil {
				yield(tree.State{}, translate(err))
				return
			}
			for state, err := range s.describeMembers(ctx, dir, members, want, locks) {
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

// yieldKinds tells of members no more than [tree.OnlyKinds] asks for.
func yieldKinds(dir string, members []fs.Member, yield func(tree.State, error) bool) bool {
	for _, m := range members {
		state := tree.State{Name: tree.Join(dir, m.Name), Exists: true, Collection: m.Kind == fs.Directory, Link: m.Kind == fs.Link}
		if !yield(state, translate(m.Err)) {
			return false
		}
	}
	return true
}

// locksIn returns the locks that cover each of some members of a collection, asked once for all of them; none where there
// are none.
func (s *Store) locksIn(dir string, members []fs.Member, want tree.Want, short *shortRoots) (covering [][]tree.Lock, err error) {
	if want&tree.WantLocks == 0 || len(members) == 0 {
		return nil, nil
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.newView().locksOfMembers(dir, members, short)
}

// hashedAtOnce bounds how many members of one listing are hashed at the same time: as many as keep a disk busy.
const hashedAtOnce = 8

// A finding is what is being found out about the content of a member.
type finding struct {
	name  string
	info  fs.Info
	state tree.State
	err   error
	done  chan struct{} // closed when state and err are set; nil where they are
}

// describeMembers makes of members what a client sees of them, in their order. Those whose tags are not known are hashed
// side by side, and each is told as soon as it and those before it are known.
func (s *Store) describeMembers(ctx context.Context, dir string, members []fs.Member, want tree.Want, locks [][]tree.Lock) iter.Seq2[tree.State, error] {
	return func(yield func(tree.State, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		var hashing errgroup.Group
		defer hashing.Wait()
		defer cancel()
		found := make([]finding, len(members))
		var missing []*finding
		for i, m := range members {
			one := &found[i]
			*one = finding{name: tree.Join(dir, m.Name), info: m.Info, err: m.Err}
			if m.Err != nil {
				continue
			}
			if tag, enough := s.knownContent(m.Info, want); enough && want&tree.WantSums == 0 {
				one.state = s.stateOfEarlier(one.name, m.Info, tag, asIs)
			} else {
				one.done = make(chan struct{})
				missing = append(missing, one)
			}
		}
		if len(missing) > 0 {
			hashing.SetLimit(hashedAtOnce + 1) // and the one that starts them
			hashing.Go(func() error {
				for _, one := range missing {
					hashing.Go(func() error {
						one.state, one.err = s.describeContent(ctx, one.name, one.info, want)
						close(one.done)
						return nil
					})
				}
				return nil
			})
		}
		for i, m := range members {
			if found[i].done != nil {
				<-found[i].done
			}
			state, err := found[i].describe(s, m)
			if locks != nil {
				state.Locks = locks[i]
			}
			if !yield(state, err) {
				return
			}
		}
	}
}

// describe makes of a member what a client sees of it. The name is told with an error, too.
func (f *finding) describe(s *Store, m fs.Member) (tree.State, error) {
	state, err := f.state, f.err
	if err == nil {
		state.Properties, err = s.decodeProperties(f.name, m.Attributes)
	}
	state.Name = f.name
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
	tag, stamped := s.index.get(info.Fingerprint)
	if !stamped {
		patience, cancel := tree.TagContext(ctx)
		defer cancel()
		info, tag, err = s.hashFile(patience, f, info, forAnswer)
		if err = s.goWithout(ctx, task{name: name}, err); err != nil {
			f.Close()
			return nil, tree.State{}, translate(err)
		}
		remembered, ok := s.index.get(info.Fingerprint)
		stamped = ok && remembered == tag
	}
	state := s.stateOfEarlier(name, info, tag, asValidator)
	if data, err := s.fs.AttributesOf(f); err == nil {
		state.Properties, _ = s.decodeProperties(name, data) // what cannot be read of them is no reason to withhold the content
	}
	return &opened{s: s, file: f, info: info, tag: tag, stamped: stamped, letGo: s.reading.begin(info)}, state, nil
}
