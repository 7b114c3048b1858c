// Package memtree is a [tree.Store] in memory, for tests: maps and a mutex. It keeps every promise of the contract except
// durability, and nothing in it has a limit.
//
// A Check may look only at names that its [tree.Condition] has. For all other names it gets an error. So a test over this
// store shows that a store can fetch all names at once, see [Options.Fetch].
package memtree

import (
	"context"
	"crypto"
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
	entries []entry            // of the log, the oldest first
	more    chan struct{}      // closed by the next entry
}

var _ tree.Store = (*Store)(nil)

// A node is a file or a collection.
type node struct {
	tree.State // as far as it depends on nothing else
	properties []webdav.Property
	content    string
	members    map[string]*node
}

// New returns an empty store.
func New(opts Options) *Store {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	s := &Store{opts: opts, shown: map[string][]shown{}, more: make(chan struct{})}
	s.root = s.collection()
	s.log(context.Background(), "", "", "", nil, s.root)
	return s
}

// collection returns a new collection.
func (s *Store) collection() *node {
	now := s.opts.Now()
	state := tree.State{Exists: true, Collection: true, Created: now, Modified: time.Unix(now.Unix(), 0)}
	return &node{State: state, members: map[string]*node{}}
}

// copied returns a deep copy of a node.
func (n *node) copied() *node {
	c := *n
	c.members = maps.Clone(n.members)
	for base, m := range c.members {
		c.members[base] = m.copied()
	}
	return &c
}

// find returns the node at a name below a node, or nil.
func (n *node) find(name string) *node {
	for name != "" && n != nil {
		var base string
		base, name, _ = strings.Cut(name, "/")
		n = n.members[base]
	}
	return n
}

// bases returns the last segments of the names of all members, in order.
func (n *node) bases() []string {
	if n == nil {
		return nil
	}
	return slices.Sorted(maps.Keys(n.members))
}

// state returns the state of a node as far as it does not depend on others.
func (n *node) state(name string) tree.State {
	state := n.State
	state.Name = name
	return state
}

func (s *Store) find(name string) *node { return s.root.find(name) }

// set puts a node at a name in an existing collection. A nil node removes the name.
func (s *Store) set(name string, n *node) {
	dir, base := tree.Split(name)
	if members := s.find(dir).members; n == nil {
		delete(members, base)
	} else {
		members[base] = n
	}
}

// unless returns the first of some errors that is true of a name.
func (s *Store) unless(name string, errs ...error) func() error {
	return func() error {
		dir, _ := tree.Split(name)
		n, parent := s.find(name), s.find(dir)
		is := map[error]bool{
			tree.ErrNotExist: n == nil, tree.ErrExist: n != nil, tree.ErrIsCollection: n != nil && n.Collection,
			tree.ErrNoParent: parent == nil || !parent.Collection,
		}
		if i := slices.IndexFunc(errs, func(err error) bool { return is[err] }); i >= 0 {
			return fmt.Errorf("%q: %w", name, errs[i])
		}
		return nil
	}
}

// shown is a date that was sent for a version.
type shown struct {
	tag   tree.ETag
	date  int64 // in seconds since 1970
	ahead bool  // the date was in the future then
}

// others returns the dates that were sent for other versions of a name.
func (s *Store) others(name string, tag tree.ETag) tree.Sent {
	sent := tree.NoneSent
	for _, one := range s.shown[name] {
		if one.tag != tag {
			sent = sent.With(one.date, one.ahead)
		}
	}
	return sent
}

// show notes that the date of a state is sent.
func (s *Store) show(state tree.State) {
	one := shown{state.Tag, state.Modified.Unix(), state.Modified.After(s.opts.Now())}
	if state.Tag != "" && !slices.Contains(s.shown[state.Name], one) {
		s.shown[state.Name] = append(s.shown[state.Name], one)
	}
}

// state returns the state of a name, and notes that its Last-Modified is sent. A file came to its name, or the collection above it
// did, with the latest change that brought it.
func (s *Store) state(name string, want tree.Want) tree.State {
	n := s.find(name)
	if n == nil {
		return tree.State{Name: name}
	}
	state := n.state(name)
	if want&tree.WantProperties != 0 {
		state.Properties = slices.Clone(n.properties)
	}
	if want&tree.WantLocks != 0 {
		state.Locks = s.held().Covering(name)
	}
	if n.Collection {
		return state
	}
	if want&tree.WantSums != 0 {
		sums := tree.NewHasher(crypto.SHA1, crypto.MD5)
		io.WriteString(sums, n.content)
		state.Sums = sums.Sums()
	}
	if !n.Modified.After(s.opts.Now()) {
		state.LastModified = n.Modified
		s.show(state)
	}
	came, _ := s.latest(name)
	state.Dates = s.others(name, n.Tag).Range(n.Modified.Unix(), came.Time.Unix())
	return state
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
	return free(name)
}

// State implements [tree.View].
func (v view) State(name string) (tree.State, error) { return v.s.state(name, 0), v.may(name) }

// Locks implements [tree.View].
func (v view) Locks(name string) ([]tree.Lock, error) { return v.s.held().About(name), v.may(name) }

// Covering implements [tree.View].
func (v view) Covering(name string) ([]tree.Lock, error) {
	return v.s.held().Covering(name), v.may(name)
}

// Holds implements [tree.View].
func (v view) Holds(name, token string) (bool, error) {
	_, err := v.s.held().Held(name, token)
	return err == nil, v.may(name)
}

// free refuses names that no client may use.
func free(names ...string) error {
	if i := slices.IndexFunc(names, spelling.HasReserved); i >= 0 {
		return fmt.Errorf("%q: %w", names[i], tree.ErrReserved)
	}
	return nil
}

// do runs an operation on some names under the mutex. shape says whether it makes sense, cond whether it may happen, and
// change makes it happen, or fails and changes nothing.
func (s *Store) do(cond tree.Condition, shape, change func() error, names ...string) error {
	if err := free(names...); err != nil {
		return err
	}
	allowed := map[string]bool{"": true}
	for _, name := range slices.Concat(names, cond.Names) {
		for _, above := range tree.Prefixes(name) {
			allowed[above] = true
		}
	}
	if s.opts.Fetch != nil {
		s.opts.Fetch(slices.Sorted(maps.Keys(allowed)))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	err := shape()
	if err == nil {
		err = cond.AskKnown(view{s, allowed})
	}
	if err == nil {
		err = change()
	}
	if err == nil && cond.Made != nil {
		cond.Made()
	}
	return err
}

// read is do of an operation that changes nothing.
func (s *Store) read(cond tree.Condition, shape, look func() error, names ...string) error {
	cond.Made = nil
	return s.do(cond, shape, look, names...)
}

// yields yields what get returns.
func yields[T any](ctx context.Context, get func() ([]T, error)) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		all, err := get()
		for _, one := range all {
			if err = ctx.Err(); err != nil {
				break
			}
			if !yield(one, nil) {
				return
			}
		}
		if err != nil {
			yield(*new(T), err)
		}
	}
}

// Try implements [tree.Store].
func (s *Store) Try(_ context.Context, cond tree.Condition) error {
	return s.read(cond, s.unless(""), s.unless(""))
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
	return yields(ctx, func() (all []tree.State, err error) {
		err = s.read(cond, s.unless(dir, tree.ErrNotExist), func() error {
			all = s.list(nil, dir, opts.Depth, opts)
			return nil
		}, dir)
		if opts.Limit > 0 && len(all)-1 > opts.Limit {
			return nil, tree.ErrTooMany
		}
		return all, err
	})
}

// list appends the states of a resource and of the members below it.
func (s *Store) list(all []tree.State, name string, depth int, opts tree.ListOptions) []tree.State {
	dir, state := s.find(name), s.state(name, opts.Want)
	s.show(state)
	all = append(all, state)
	for _, base := range dir.bases() {
		member := tree.Join(name, base)
		if depth != 0 && (opts.Show == nil || opts.Show(member, nil, dir.members[base].Collection)) {
			all = s.list(all, member, depth-1, opts)
		}
	}
	return all
}

// Open implements [tree.Store].
func (s *Store) Open(
	_ context.Context, name string, opts tree.ReadOptions, cond tree.Condition,
) (c tree.Content, state tree.State, err error) {
	err = s.read(cond, s.unless(name, tree.ErrNotExist, tree.ErrIsCollection), func() error {
		state, c = s.state(name, opts.Want), content{strings.NewReader(s.find(name).content)}
		return nil
	}, name)
	return c, state, err
}

type content struct{ *strings.Reader }

func (c content) WriteRange(_ context.Context, w io.Writer, offset, n int64) (int64, error) {
	return io.Copy(w, io.NewSectionReader(c.Reader, offset, n))
}

func (content) Close() error { return nil }
