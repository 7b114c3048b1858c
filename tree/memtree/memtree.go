// Package memtree is a [tree.Store] in memory, for tests: maps and a mutex. It keeps every promise of the contract
// except durability, and nothing in it has a limit.
//
// A Check may look only at names that its [tree.Condition] has. For all other names it gets an error. So a test over
// this store shows that a store can fetch all names at once, see [Options.Fetch].
package memtree

import (
	"cmp"
	"context"
	"crypto"
	"crypto/rand"
	"fmt"
	"iter"
	"maps"
	"slices"
	"sync"
	"time"

	"r-seed-1f3a754f.example/ifmatch/spelling"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

// Options configure a store. The zero value works.
type Options struct {
	Now func() time.Time // the clock (nil: time.Now)
	// Fetch, if not nil, is called with the names of an operation and of its condition, before it looks at these and
	// at the collections above them. A remote store would fetch them at this point. It may wait.
	Fetch func(names []string)
}

// A Store is a tree in memory. Its methods without a comment are those of [tree.Store] and of [tree.Feed].
type Store struct {
	opts Options

	mu       sync.Mutex // held by all methods that are not exported
	tree     snapshot
	contents map[tree.ETag][]byte
	locks    []tree.Lock
	sent     map[string][]sent // by name
	entries  []entry           // of the log, the oldest first
	more     chan struct{}     // closed by the next entry
}

// A snapshot has the states of some names, with their properties: of all, or of those that gave way to a change.
type snapshot map[string]tree.State

// New returns an empty store.
func New(opts Options) *Store {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	s := &Store{opts: opts, contents: map[tree.ETag][]byte{}, sent: map[string][]sent{}, more: make(chan struct{})}
	s.tree = snapshot{"": s.dated(tree.State{Exists: true, Collection: true}, time.Time{})}
	s.log(context.Background(), "", "", "", tree.State{}, nil)
	return s
}

// below returns the states at a name and below it, as they are at another name.
func (t snapshot) below(name, to string) snapshot {
	moved := snapshot{}
	for at, state := range t {
		if tree.Within(at, name) {
			state.Name = to + at[len(name):]
			moved[state.Name] = state
		}
	}
	return moved
}

// unless returns the first of some errors that is true of a name. No client may use a reserved name.
func (s *Store) unless(name string, errs ...error) func() error {
	return func() error {
		dir, _ := tree.Split(name)
		is := map[error]bool{
			tree.ErrNotExist: !s.tree[name].Exists, tree.ErrExist: s.tree[name].Exists,
			tree.ErrIsCollection: s.tree[name].Collection, tree.ErrNoParent: !s.tree[dir].Collection,
			tree.ErrPermission: name == "", tree.ErrReserved: spelling.HasReserved(name),
		}
		for _, err := range append([]error{tree.ErrReserved}, errs...) {
			if is[err] {
				return fmt.Errorf("%q: %w", name, err)
			}
		}
		return nil
	}
}

// sent are dates that were sent for a version.
type sent struct {
	tag tree.ETag
	tree.Sent
}

// send notes that the date of a file is sent.
func (s *Store) send(n tree.State) {
	one := sent{n.Tag, tree.NoneSent.With(n.Modified.Unix(), n.Modified.After(s.opts.Now()))}
	if n.Tag != "" && !slices.Contains(s.sent[n.Name], one) {
		s.sent[n.Name] = append(s.sent[n.Name], one)
	}
}

// others returns the dates that were sent for other versions of a name.
func (s *Store) others(n tree.State) tree.Sent {
	all := tree.NoneSent
	for _, one := range s.sent[n.Name] {
		if one.tag != n.Tag {
			all = all.Join(one.Sent)
		}
	}
	return all
}

// state returns the state of a name, and notes that its Last-Modified is sent. A file came to its name, or the
// collection above it did, with the latest change that brought it.
func (s *Store) state(name string, want tree.Want) tree.State {
	state := s.tree[name]
	state.Name = name
	if want&tree.WantProperties == 0 {
		state.Properties = nil
	}
	if want&tree.WantLocks != 0 {
		state.Locks = s.held().Covering(name)
	}
	if state.Tag == "" {
		return state
	}
	if want&tree.WantSums != 0 {
		state.Sums = tree.SumsOf(s.contents[state.Tag], crypto.SHA1, crypto.MD5)
	}
	if !state.Modified.After(s.opts.Now()) {
		state.LastModified = state.Modified
		s.send(state)
	}
	came, _ := s.latest(name)
	state.Dates = s.others(state).Range(state.Modified.Unix(), came.Time.Unix())
	return state
}

// A view is the [tree.View] of a Check. It permits the names of the operation and of the condition.
type view struct {
	s     *Store
	names []string
}

func (v view) may(name string) error {
	if !slices.ContainsFunc(v.names, func(named string) bool { return tree.Within(named, name) }) {
		return fmt.Errorf("a condition looks at %q, and does not name it", name)
	}
	return v.s.unless(name)()
}

func (v view) State(name string) (tree.State, error)  { return v.s.state(name, 0), v.may(name) }
func (v view) Locks(name string) ([]tree.Lock, error) { return v.s.held().About(name), v.may(name) }

func (v view) Covering(name string) ([]tree.Lock, error) {
	return v.s.held().Covering(name), v.may(name)
}

func (v view) Holds(name, token string) (bool, error) {
	return v.s.held().Holds(name, token), v.may(name)
}

func (v view) Since(name string, since tree.Cursor, hidden func(string) bool) (bool, error) {
	changes, err := v.s.after(since)
	return tree.Concern(changes, name, hidden, nil), cmp.Or(err, v.may(name))
}

// do runs an operation on some names under the mutex. shape says whether it makes sense, cond whether it may happen,
// and change makes it happen, or fails and changes nothing. do returns the state of the last name after that, and
// whether nothing was there before.
func (s *Store) do(cond tree.Condition, shape, change func() error, names ...string) (tree.State, bool, error) {
	v := view{s, slices.Concat(names, cond.Names)}
	if s.opts.Fetch != nil {
		s.opts.Fetch(v.names)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	name := names[len(names)-1]
	created := !s.tree[name].Exists
	for _, step := range []func() error{shape, func() error { return cond.AskKnown(v) }, change} {
		if err := step(); err != nil {
			return tree.State{}, false, err
		}
	}
	if cond.Made != nil {
		cond.Made()
	}
	return s.state(name, 0), created, nil
}

// read is [Store.do] of an operation that changes nothing.
func (s *Store) read(cond tree.Condition, shape, look func() error, name string) error {
	cond.Made = nil
	_, _, err := s.do(cond, shape, look, name)
	return err
}

// yields yields the values that get returns.
func yields[T any](ctx context.Context, get func() ([]T, error)) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		all, err := get()
		for i := 0; i < len(all) && err == nil; i++ {
			if !yield(all[i], nil) {
				return
			}
			err = ctx.Err()
		}
		if err != nil {
			yield(*new(T), err)
		}
	}
}

func (s *Store) Try(_ context.Context, cond tree.Condition) error {
	return s.read(cond, s.unless(""), s.unless(""), "")
}

func (s *Store) Stat(ctx context.Context, name string, opts tree.ReadOptions) (state tree.State, err error) {
	for state, err = range s.List(ctx, name, tree.ListOptions{Want: opts.Want}, tree.Condition{}) {
	}
	return state, err
}

func (s *Store) List(
	ctx context.Context, dir string, opts tree.ListOptions, cond tree.Condition,
) iter.Seq2[tree.State, error] {
	return yields(ctx, func() (all []tree.State, err error) {
		hidden := map[string]bool{}
		err = s.read(cond, s.unless(dir, tree.ErrNotExist), func() error {
			for _, name := range slices.Sorted(maps.Keys(s.tree.below(dir, dir))) { // collections before their members
				above, _ := tree.Split(name)
				depth := len(tree.Prefixes(name)) - len(tree.Prefixes(dir))
				hidden[name] = depth > 0 && (hidden[above] || opts.Depth >= 0 && depth > opts.Depth ||
					opts.Show != nil && !opts.Show(name, nil, s.tree[name].Collection))
				if !hidden[name] {
					all = append(all, s.state(name, opts.Want))
					s.send(all[len(all)-1])
				}
			}
			if opts.Limit > 0 && len(all)-1 > opts.Limit {
				return tree.ErrTooMany
			}
			return nil
		}, dir)
		return all, err
	})
}

func (s *Store) Open(
	_ context.Context, name string, opts tree.ReadOptions, cond tree.Condition,
) (content tree.Content, state tree.State, err error) {
	err = s.read(cond, s.unless(name, tree.ErrNotExist, tree.ErrIsCollection), func() error {
		state = s.state(name, opts.Want)
		content = tree.Bytes(s.contents[state.Tag])
		return nil
	}, name)
	return content, state, err
}

// An entry of the log is a change, with all that gave way to it: the feed and the history. The first entry is before
// all changes.
type entry struct {
	tree.Change
	before snapshot
}

// log adds a change of a name to a state (the zero value: nothing is there). before are the states that give way.
func (s *Store) log(ctx context.Context, cause, name, from string, is tree.State, before snapshot) {
	was := s.tree[name]
	s.entries = append(s.entries, entry{tree.Change{
		Name: name, From: from, Cause: cause, Principal: tree.PrincipalOf(ctx), Time: s.opts.Now(),
		State: tree.State{Name: name, Exists: is.Exists, Collection: is.Collection, Tag: is.Tag}, Created: !was.Exists,
		Old: was.Tag, OldFile: was.Tag != "", OldCollection: was.Collection, Cursor: tree.Cursor(rand.Text()),
	}, before})
	close(s.more)
	s.more = make(chan struct{})
}

// after returns the changes after a cursor.
func (s *Store) after(since tree.Cursor) (changes []tree.Change, err error) {
	i := slices.IndexFunc(s.entries, func(e entry) bool { return since == "" || since == e.Cursor })
	if i < 0 {
		return nil, fmt.Errorf("no such cursor: %w", tree.ErrNotExist)
	}
	for _, e := range s.entries[i+1:] {
		changes = append(changes, e.Change)
	}
	return changes, nil
}

func (s *Store) Now(context.Context) (tree.Cursor, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.entries[len(s.entries)-1].Cursor, nil
}

func (s *Store) Changes(ctx context.Context, since, until tree.Cursor) iter.Seq2[tree.Change, error] {
	var more chan struct{}
	return tree.FollowChanges(since, until, func(since tree.Cursor) ([]tree.Change, bool, error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		more = s.more
		changes, err := s.after(since)
		return changes, false, err
	}, func() error {
		select {
		case <-more:
		case <-ctx.Done():
		}
		return ctx.Err()
	})
}

func (s *Store) Latest(_ context.Context, name string) (tree.Change, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.latest(name)
}

func (s *Store) latest(name string) (tree.Change, error) {
	for _, e := range slices.Backward(s.entries[1:]) {
		if e.Brought(name) {
			return e.Change, nil
		}
	}
	return s.entries[0].Change, tree.ErrNotExist
}
