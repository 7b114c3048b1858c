// Package memtree is a [tree.Store] in memory, for tests: maps and a mutex. It keeps every promise of the contract except
// durability, and nothing in it has a limit.
//
// A Check may look only at names that its [tree.Condition] has. For all other names it gets an error. So a test over this
// store shows that a store can fetch all names at once, see [Options.Fetch].
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

	"r-seed-1f3a754f.example/ifmatch/spelling"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

// Options configure a store. The zero value works.
type Options struct {
	// Now is the clock (nil: time.Now).
	Now func() time.Time
	// Fetch, if not nil, is called with all names that an operation may look at, before it looks. A remote store would
	// fetch them at this point. It may wait.
	Fetch func(names []string)
}

// A Store is a tree in memory.
type Store struct {
	opts Options

	mu      sync.Mutex // held by all methods that are not exported
	root    *node
	locks   []tree.Lock
	shown   map[string][]shown // by name
	history []entry            // the oldest first
	token   int                // of the newest lock
	feed    feed
}

var _ tree.Store = (*Store)(nil)

// A node is a file or a collection.
type node struct {
	members    map[string]*node // nil: a file
	content    []byte           // never changed
	tag        tree.ETag
	created    time.Time
	modified   time.Time // in whole seconds
	came       time.Time // to its name
	executable bool
	properties []webdav.Property
}

// New returns an empty store.
func New(opts Options) *Store {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	now := opts.Now()
	root := &node{members: map[string]*node{}, created: now, modified: seconds(now), came: now}
	return &Store{opts: opts, root: root, shown: map[string][]shown{}, feed: newFeed()}
}

func seconds(t time.Time) time.Time { return time.Unix(t.Unix(), 0) }

// copied returns a deep copy of a node.
func (n *node) copied() *node {
	c := *n
	c.properties, c.members = slices.Clone(n.properties), maps.Clone(n.members)
	for base, m := range c.members {
		c.members[base] = m.copied()
	}
	return &c
}

// find returns the node at a name, or nil.
func (s *Store) find(name string) *node {
	n := s.root
	if name == "" {
		return n
	}
	for segment := range strings.SplitSeq(name, "/") {
		if n = n.members[segment]; n == nil {
			return nil
		}
	}
	return n
}

// set puts a node at a name in an existing collection. A nil node removes the name.
func (s *Store) set(name string, n *node) {
	dir, base := tree.Split(name)
	if members := s.find(dir).members; n == nil {
		delete(members, base)
	} else {
		members[base] = n
	}
}

// hasParent fails unless the collection of a name exists.
func (s *Store) hasParent(name string) error {
	dir, _ := tree.Split(name)
	if parent := s.find(dir); parent == nil || parent.members == nil {
		return fmt.Errorf("%q: %w", name, tree.ErrNoParent)
	}
	return nil
}

// state returns the state of a name.
func (s *Store) state(name string, want tree.Want) tree.State {
	n := s.find(name)
	if n == nil {
		return tree.State{Name: name}
	}
	state := n.state(name)
	if n.members == nil {
		if !n.modified.After(s.opts.Now()) {
			state.LastModified = n.modified
		}
		state.Dates = s.dates(name, n)
		if want&tree.WantSums != 0 {
			state.Sums = sumsOf(n.content)
		}
	}
	if want&tree.WantProperties != 0 {
		state.Properties = slices.Clone(n.properties)
	}
	if want&tree.WantLocks != 0 {
		state.Locks = slices.DeleteFunc(s.held(), func(l tree.Lock) bool { return !l.Covers(name) })
	}
	return state
}

// state returns the part of a state that does not depend on the place of the node.
func (n *node) state(name string) tree.State {
	return tree.State{
		Name: name, Exists: true, Collection: n.members != nil, Tag: n.tag, Size: int64(len(n.content)),
		Created: n.created, Executable: n.executable, Modified: n.modified,
	}
}

// A view is the [tree.View] of a Check. It permits the names of the condition.
type view struct {
	s       *Store
	allowed map[string]bool
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
	if spelling.HasReserved(name) {
		return tree.State{}, reserved(name)
	}
	state := v.s.state(name, 0)
	v.s.show(state, state.LastModified)
	return state, nil
}

// Locks implements [tree.View].
func (v view) Locks(name string) ([]tree.Lock, error) {
	elsewhere := func(l tree.Lock) bool { return !l.Covers(name) && !tree.Below(l.Root, name) }
	return slices.DeleteFunc(v.s.held(), elsewhere), v.may(name)
}

// do runs an operation on some names under the mutex. shape says whether it makes sense, cond whether it may happen, and
// change makes it happen.
func (s *Store) do(cond tree.Condition, shape func() error, change func(), names ...string) error {
	if i := slices.IndexFunc(names, spelling.HasReserved); i >= 0 {
		return reserved(names[i])
	}
	allowed := map[string]bool{"": true}
	for _, name := range slices.Concat(names, cond.Names) {
		for ; !allowed[name]; name, _ = tree.Split(name) {
			allowed[name] = true
		}
	}
	if s.opts.Fetch != nil {
		s.opts.Fetch(slices.Sorted(maps.Keys(allowed)))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := shape(); err != nil {
		return err
	}
	err := cond.Ask(view{s, allowed})
	switch {
	case errors.Is(err, tree.ErrTagUnknown): // all tags are known here
		return fmt.Errorf("it asks for a tag that does not exist: %w", tree.ErrBusy)
	case err == nil:
		change()
		if cond.Made != nil {
			cond.Made()
		}
	}
	return err
}

func reserved(name string) error { return fmt.Errorf("%q: %w", name, tree.ErrReserved) }

// reading returns the condition of a method that changes nothing.
func reading(cond tree.Condition) tree.Condition {
	cond.Made = nil
	return cond
}

// exists returns a shape: something is at the name. It sets n.
func (s *Store) exists(name string, n **node) func() error {
	return func() error {
		if *n = s.find(name); *n == nil {
			return fmt.Errorf("%q: %w", name, tree.ErrNotExist)
		}
		return nil
	}
}

func always() error { return nil }

// Try implements [tree.Store].
func (s *Store) Try(_ context.Context, cond tree.Condition) error {
	return s.do(reading(cond), always, func() {})
}

// Stat implements [tree.Store].
func (s *Store) Stat(ctx context.Context, name string, opts tree.ReadOptions) (state tree.State, err error) {
	for state, err = range s.List(ctx, name, tree.ListOptions{Want: opts.Want}, tree.Condition{}) {
	}
	return state, err
}

// List implements [tree.Store].
func (s *Store) List(
	ctx context.Context, dir string, opts tree.ListOptions, cond tree.Condition,
) iter.Seq2[tree.State, error] {
	return func(yield func(tree.State, error) bool) {
		var all []tree.State
		var n *node
		err := s.do(reading(cond), s.exists(dir, &n), func() { all = s.list(nil, dir, n, opts.Depth, opts) }, dir)
		if err == nil && opts.Limit > 0 && len(all)-1 > opts.Limit {
			err = tree.ErrTooMany
		}
		for i := 0; err == nil && i < len(all); i++ {
			if err = ctx.Err(); err == nil && !yield(all[i], nil) {
				return
			}
		}
		if err != nil {
			yield(tree.State{}, err)
		}
	}
}

// list appends the states of a node and of the members below it.
func (s *Store) list(all []tree.State, name string, n *node, depth int, opts tree.ListOptions) []tree.State {
	state := s.state(name, opts.Want)
	s.show(state, state.Modified)
	all = append(all, state)
	for _, base := range slices.Sorted(maps.Keys(n.members)) {
		name, member := tree.Join(name, base), n.members[base]
		if depth != 0 && (opts.Show == nil || opts.Show(name, nil, member.members != nil)) {
			all = s.list(all, name, member, depth-1, opts)
		}
	}
	return all
}

// Open implements [tree.Store].
func (s *Store) Open(
	_ context.Context, name string, opts tree.ReadOptions, cond tree.Condition,
) (c tree.Content, state tree.State, err error) {
	var n *node
	err = s.do(reading(cond), func() error {
		err := s.exists(name, &n)()
		if err == nil && n.members != nil {
			err = tree.ErrIsCollection
		}
		return err
	}, func() {
		state = s.state(name, opts.Want)
		s.show(state, state.LastModified)
		c = content{strings.NewReader(string(n.content))}
	}, name)
	return c, state, err
}

type content struct{ *strings.Reader }

func (c content) WriteRange(_ context.Context, w io.Writer, offset, n int64) (int64, error) {
	return io.Copy(w, io.NewSectionReader(c.Reader, offset, n))
}

func (content) Close() error { return nil }
