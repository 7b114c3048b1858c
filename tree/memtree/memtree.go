// Package memtree is a [tree.Store] in memory, for tests: maps and a mutex. It keeps every promise of the contract but that of
// a restart, and nothing in it has a bound.
//
// A Check may look at nothing that its [tree.Condition] does not name: it gets an error for any other name. So a test over this
// store shows that a store may fetch all names at once, see [Options.Fetch].
package memtree

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/webdav"

	"ifmatch/tree"
)

// Options configure a store; the zero value works.
type Options struct {
	// Now is the clock (nil: time.Now).
	Now func() time.Time
	// Fetch, if not nil, is called with the names that an operation looks at, all at once, before it looks: where a store on
	// another machine would ask for them. It may wait.
	Fetch func(names []string)
}

// A Store is a tree in memory.
type Store struct {
	opts Options

	mu    sync.Mutex
	root  *node
	locks []tree.Lock
	shown map[string][]shown // by name
	kept  []version          // the oldest first
	token int                // of the newest lock
}

var _ tree.Store = (*Store)(nil)

// A node is a file or a collection.
type node struct {
	members    map[string]*node // nil: a file
	content    []byte           // never changed
	tag        tree.ETag
	created    time.Time
	modified   time.Time
	came       int64 // when it came to its name, in seconds since 1970
	executable bool
	properties []webdav.Property
}

// New returns an empty store.
func New(opts Options) *Store {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	s := &Store{opts: opts, shown: map[string][]shown{}}
	s.root = s.collection(time.Time{})
	return s
}

// collection returns a new collection. mu need not be held.
func (s *Store) collection(modified time.Time) *node {
	now := s.opts.Now()
	if modified.IsZero() {
		modified = now
	}
	return &node{members: map[string]*node{}, created: now, modified: seconds(modified), came: now.Unix()}
}

func seconds(t time.Time) time.Time { return time.Unix(t.Unix(), 0) }

// copied returns a copy of a node with all that is in it.
func (n *node) copied() *node {
	c := *n
	c.properties = slices.Clone(n.properties)
	if n.members != nil {
		c.members = map[string]*node{}
		for name, m := range n.members {
			c.members[name] = m.copied()
		}
	}
	return &c
}

// find returns what is at a name, nil for nothing, and when it came there: with its latest ancestor. mu must be held.
func (s *Store) find(name string) (n *node, came int64) {
	n = s.root
	came = n.came
	for segment := range strings.SplitSeq(name, "/") {
		if name == "" {
			break
		}
		if n = n.members[segment]; n == nil {
			return nil, 0
		}
		came = max(came, n.came)
	}
	return n, came
}

// set puts a node at a name, or removes what is there. mu must be held, and the collection must exist.
func (s *Store) set(name string, n *node) {
	dir, base := tree.Split(name)
	parent, _ := s.find(dir)
	if n == nil {
		delete(parent.members, base)
	} else {
		parent.members[base] = n
	}
}

// hasParent fails unless the collection of a name exists. mu must be held.
func (s *Store) hasParent(name string) error {
	dir, _ := tree.Split(name)
	if parent, _ := s.find(dir); parent == nil || parent.members == nil {
		return fmt.Errorf("%q: %w", name, tree.ErrNoParent)
	}
	return nil
}

// state describes what is at a name. mu must be held.
func (s *Store) state(name string, want tree.Want) tree.State {
	n, came := s.find(name)
	if n == nil {
		return tree.State{Name: name}
	}
	state := tree.State{
		Name: name, Exists: true, Collection: n.members != nil, Tag: n.tag, Size: int64(len(n.content)), Created: n.created,
		Executable: n.executable, Modified: n.modified,
	}
	if n.members == nil {
		if !n.modified.After(s.opts.Now()) {
			state.LastModified = n.modified
		}
		state.Dates = s.dates(name, n, came)
		if want&tree.WantSums != 0 {
			state.Sums = sumsOf(n.content)
		}
	}
	if want&tree.WantProperties != 0 {
		state.Properties = slices.Clone(n.properties)
	}
	if want&tree.WantLocks != 0 {
		state.Locks = s.covering(name)
	}
	return state
}

// A view is what a Check sees. mu must be held while it is used.
type view struct {
	s       *Store
	allowed map[string]bool
}

// look returns the view of an operation on these names. mu must not be held.
func (s *Store) look(cond tree.Condition, own ...string) view {
	allowed := map[string]bool{"": true}
	for _, name := range slices.Concat(own, cond.Names) {
		for ; !allowed[name]; name, _ = tree.Split(name) {
			allowed[name] = true
		}
	}
	if s.opts.Fetch != nil {
		s.opts.Fetch(slices.Sorted(maps.Keys(allowed)))
	}
	return view{s, allowed}
}

func (v view) may(name string) error {
	if !v.allowed[name] {
		return fmt.Errorf("a condition looks at %q, and does not name it", name)
	}
	return nil
}

// State implements [tree.View].
func (v view) State(name string) (tree.State, error) {
	if err := v.may(name); err != nil {
		return tree.State{}, err
	}
	state := v.s.state(name, 0)
	v.s.show(state, state.LastModified)
	return state, nil
}

// Locks implements [tree.View].
func (v view) Locks(name string) ([]tree.Lock, error) {
	return slices.DeleteFunc(v.s.live(), func(l tree.Lock) bool { return !l.Covers(name) && !tree.Below(l.Root, name) }), v.may(name)
}

// ask asks a condition. All tags are known here: a Check that wants to know more will never be content.
func (v view) ask(cond tree.Condition) error {
	err := cond.Ask(v)
	if errors.Is(err, tree.ErrTagUnknown) {
		err = fmt.Errorf("it asks for a tag that there is not: %w", tree.ErrBusy)
	}
	return err
}

// Stat implements [tree.Store].
func (s *Store) Stat(ctx context.Context, name string, opts tree.ReadOptions) (tree.State, error) {
	for state, err := range s.List(ctx, name, tree.ListOptions{Want: opts.Want}, tree.Condition{}) {
		return state, err
	}
	panic("unreachable")
}

// List implements [tree.Store].
func (s *Store) List(
	ctx context.Context, dir string, opts tree.ListOptions, cond tree.Condition,
) iter.Seq2[tree.State, error] {
	return func(yield func(tree.State, error) bool) {
		all, err := s.list(dir, opts, cond)
		if err != nil {
			yield(tree.State{}, err)
			return
		}
		for _, state := range all {
			if err := ctx.Err(); err != nil {
				yield(tree.State{}, err)
				return
			}
			if !yield(state, nil) {
				return
			}
		}
	}
}

func (s *Store) list(dir string, opts tree.ListOptions, cond tree.Condition) (all []tree.State, err error) {
	v := s.look(cond, dir)
	s.mu.Lock()
	defer s.mu.Unlock()
	if n, _ := s.find(dir); n == nil {
		return nil, fmt.Errorf("%q: %w", dir, tree.ErrNotExist)
	}
	if err := v.ask(cond); err != nil {
		return nil, err
	}
	var add func(name string, depth int)
	add = func(name string, depth int) {
		state := s.state(name, opts.Want)
		s.show(state, state.Modified)
		all = append(all, state)
		if n, _ := s.find(name); depth != 0 {
			for _, base := range slices.Sorted(maps.Keys(n.members)) {
				member := tree.Join(name, base)
				below, _ := s.find(member)
				if opts.Show == nil || opts.Show(member, below.members != nil) {
					add(member, depth-1)
				}
			}
		}
	}
	add(dir, opts.Depth)
	if opts.Limit > 0 && len(all)-1 > opts.Limit {
		return nil, tree.ErrTooMany
	}
	return all, nil
}

// Open implements [tree.Store].
func (s *Store) Open(
	_ context.Context, name string, opts tree.ReadOptions, cond tree.Condition,
) (tree.Content, tree.State, error) {
	v := s.look(cond, name)
	s.mu.Lock()
	defer s.mu.Unlock()
	n, _ := s.find(name)
	err := v.ask(cond)
	switch {
	case n == nil:
		err = tree.ErrNotExist
	case n.members != nil:
		err = tree.ErrIsCollection
	}
	if err != nil {
		return nil, tree.State{}, err
	}
	state := s.state(name, opts.Want)
	s.show(state, state.LastModified)
	return content{strings.NewReader(string(n.content))}, state, nil
}

type content struct{ *strings.Reader }

func (c content) WriteRange(_ context.Context, w io.Writer, offset, n int64) (int64, error) {
	return io.Copy(w, io.NewSectionReader(c.Reader, offset, n))
}

func (content) Close() error { return nil }

// Try implements [tree.Store].
func (s *Store) Try(_ context.Context, cond tree.Condition) error {
	v := s.look(cond)
	s.mu.Lock()
	defer s.mu.Unlock()
	return v.ask(cond)
}
