package etagfs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sync/errgroup"

	"ifmatch/etagfs/index"
	"ifmatch/fs"
	"ifmatch/tree"
)

// membersAtOnce bounds how long a listing keeps commits waiting. A collection that has no more is seen as of one instant.
const membersAtOnce = 64

// openDir opens a collection and looks at its first members, at the same instant: one that is replaced or removed before
// they are read would seem to be empty.
func (s *Store) openDir(name string, opts fs.DirOptions) (*fs.Dir, []fs.Member, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	d, err := s.fs.OpenDir(name, opts)
	if errors.Is(err, syscall.ENOTDIR) {
		err = fmt.Errorf("listing %q: %w", name, errNotCollection)
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
func (s *Store) List(
	ctx context.Context, dir string, opts tree.ListOptions, cond tree.Condition,
) iter.Seq2[tree.State, error] {
	return func(yield func(tree.State, error) bool) {
		info, err := s.lookIf(ctx, dir, cond)
		var self tree.State
		if err == nil {
			self, err = s.describe(ctx, dir, info, opts.Reading())
		}
		if err == nil && self.Collection && opts.Depth != 0 && opts.Limit > 0 {
			err = s.count(ctx, dir, opts)
		}
		if err != nil {
			yield(tree.State{}, translate(err))
			return
		}
		if !self.Collection || opts.Depth == 0 {
			yield(self, nil)
			return
		}
		l := listing{s, ctx, opts, yield}
		l.list(self)
	}
}

// count fails with ErrTooMany where there is more below a collection than its listing may yield. What cannot be listed has
// no members here, as in the listing.
func (s *Store) count(ctx context.Context, dir string, opts tree.ListOptions) error {
	left := opts.Limit
	var rest toList
	for more := true; more; dir, more = rest.next() {
		var below []string
		d, members, end := s.openDir(dir, fs.DirOptions{KindsOnly: true})
		for d != nil {
			members = shown(dir, members, opts)
			if left -= len(members); left < 0 {
				break
			}
			for _, m := range members {
				if m.Kind == fs.Directory && m.Err == nil {
					below = append(below, m.Name)
				}
			}
			if end != nil {
				break
			}
			members, end = s.nextMembers(d)
		}
		if d != nil {
			d.Close()
		}
		if left < 0 {
			return tree.ErrTooMany
		}
		if err := ctx.Err(); err != nil || opts.Depth > 0 {
			return err
		}
		rest.add(dir, below)
	}
	return nil
}

// toList are collections that are to be listed when the one they were found in has been, each before what is in it: so one
// collection of a deep tree is open at a time, however slowly a client reads.
type toList []struct {
	dir   string
	names []string // of its members
}

// add adds the members of a collection.
func (l *toList) add(dir string, names []string) {
	if len(names) > 0 {
		*l = append(*l, struct {
			dir   string
			names []string
		}{dir, names})
	}
}

// next takes out the next one.
func (l *toList) next() (name string, ok bool) {
	if len(*l) == 0 {
		return "", false
	}
	last := &(*l)[len(*l)-1]
	name, last.names = tree.Join(last.dir, last.names[0]), last.names[1:]
	if len(last.names) == 0 {
		*l = (*l)[:len(*l)-1]
	}
	return name, true
}

// A listing is a [Store.List] of a collection that goes on.
type listing struct {
	s     *Store
	ctx   context.Context
	opts  tree.ListOptions
	yield func(tree.State, error) bool
}

// list yields a collection and all that is to be yielded below it.
func (l *listing) list(self tree.State) {
	below, more, err := l.collection(self, true)
	var rest toList
	for {
		if err != nil {
			l.yield(tree.State{}, translate(err))
			return
		}
		if !more {
			return
		}
		rest.add(self.Name, below)
		name, ok := rest.next()
		if !ok {
			return
		}
		if err = l.ctx.Err(); err != nil {
			continue
		}
		below = nil
		state, failed := l.s.Stat(l.ctx, name, l.opts.Reading())
		switch {
		case errors.Is(failed, tree.ErrNotExist): // it was removed since its collection was read
		case failed != nil:
			more = l.yield(tree.State{Name: name, Collection: true}, failed)
		case state.Collection && !state.Link:
			self = state
			below, more, err = l.collection(self, false)
		default:
			more = l.yield(state, nil)
		}
	}
}

// collection yields a collection and its members. Where those below them are to be yielded too, it leaves out the collections
// among them and returns their names. An error ends the listing; more is false where its caller has ended it.
func (l *listing) collection(self tree.State, first bool) (below []string, more bool, err error) {
	dir := self.Name
	d, members, end := l.s.openDir(dir, fs.DirOptions{Follow: true, Attributes: l.opts.Want&tree.WantProperties != 0})
	if d != nil {
		defer d.Close()
	}
	if end != nil && end != io.EOF && len(members) == 0 {
		// Looked at before the collection is yielded, because one that cannot be listed is told of with its error.
		if first {
			return nil, false, end
		}
		return nil, errors.Is(end, tree.ErrNotExist) || l.yield(tree.State{Name: dir, Collection: true}, translate(end)), nil
	}
	if !l.yield(self, nil) {
		return nil, false, nil
	}
	var short shortRoots
	for ; ; members, end = l.s.nextMembers(d) {
		members = shown(dir, members, l.opts)
		locks, err := l.s.locksIn(dir, members, l.opts.Want, &short)
		if err != nil {
			return nil, false, err
		}
		for state, err := range l.s.describeMembers(l.ctx, dir, members, l.opts.Reading(), locks) {
			switch {
			case errors.Is(err, tree.ErrNotExist):
				continue // it was removed since the directory was read
			case err == nil && l.opts.Depth < 0 && state.Collection && !state.Link:
				_, base := tree.Split(state.Name)
				below = append(below, strings.Clone(base)) // without the rest of the name, which may be long
				continue
			}
			if !l.yield(state, err) {
				return nil, false, nil
			}
		}
		if end == io.EOF {
			return below, true, nil
		}
		if end != nil {
			return nil, false, end
		}
	}
}

// locksIn returns the locks that cover each of some members of a collection, asked once for all of them; none where there
// are none.
func (s *Store) locksIn(
	dir string, members []fs.Member, want tree.Want, short *shortRoots,
) (covering [][]tree.Lock, err error) {
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
func (s *Store) describeMembers(
	ctx context.Context, dir string, members []fs.Member, opts tree.ReadOptions, locks [][]tree.Lock,
) iter.Seq2[tree.State, error] {
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
			if tag, enough := s.knownContent(m.Info, opts.Want); enough && opts.Want&tree.WantSums == 0 {
				one.state = s.stateOfEarlier(one.name, m.Info, tag, index.AsIs)
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
						one.state, one.err = s.describeContent(ctx, one.name, one.info, opts)
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

// shown returns those of some members of a collection that are to be listed.
func shown(dir string, members []fs.Member, opts tree.ListOptions) []fs.Member {
	if opts.Show == nil {
		return members
	}
	return slices.DeleteFunc(members, func(m fs.Member) bool {
		return !opts.Show(tree.Join(dir, m.Name), m.Err != nil || m.Kind != fs.Regular)
	})
}
