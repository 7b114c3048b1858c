package memtree

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"

	"r-seed-1f3a754f.example/ifmatch/tree"
)

var (
	_ tree.Feed     = (*Store)(nil)
	_ tree.FeedView = view{}
)

// An entry of the log is a change, and the version that gave way to it, if there is one: the feed and the history. The first
// entry is before all changes.
type entry struct {
	tree.Change
	gone *node
}

// log adds a change of a name from one node to another. Nil: nothing is there.
func (s *Store) log(ctx context.Context, cause, name, from string, was, is *node) {
	e := entry{tree.Change{Name: name, From: from, State: tree.State{Name: name}, Created: was == nil, Cause: cause,
		Principal: tree.PrincipalOf(ctx), Time: s.opts.Now(), Cursor: tree.Cursor(rand.Text())}, was}
	if was != nil {
		e.Old, e.OldFile, e.OldCollection = was.Tag, !was.Collection, was.Collection
	}
	if is != nil {
		e.State = tree.State{Name: name, Exists: true, Collection: is.Collection, Tag: is.Tag}
	}
	if was == is {
		e.gone = nil
	}
	s.entries = append(s.entries, e)
	close(s.more)
	s.more = make(chan struct{})
}

// position returns how many entries there are up to a cursor, or 0 if there is no such cursor.
func (s *Store) position(c string) int {
	return 1 + slices.IndexFunc(s.entries, func(e entry) bool { return string(e.Cursor) == c })
}

// after returns the changes after a cursor.
func (s *Store) after(since tree.Cursor) (changes []tree.Change, err error) {
	n := s.position(cmp.Or(string(since), string(s.entries[0].Cursor)))
	if n == 0 {
		return nil, fmt.Errorf("no such cursor: %w", tree.ErrNotExist)
	}
	for _, e := range s.entries[n:] {
		changes = append(changes, e.Change)
	}
	return changes, nil
}

// Now implements [tree.Feed].
func (s *Store) Now(context.Context) (tree.Cursor, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.entries[len(s.entries)-1].Cursor, nil
}

// Changes implements [tree.Feed].
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

// Latest implements [tree.Feed].
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

// Since implements [tree.FeedView].
func (v view) Since(name string, since tree.Cursor, hidden func(string) bool) (bool, error) {
	changes, err := v.s.after(since)
	return tree.Concern(changes, name, hidden, nil), cmp.Or(err, v.may(name))
}

// version returns the version that gave way to a change, or the member with a name below it, as if that had given way
// alone. The node is nil if there is none.
func (e entry) version(below string) (*node, tree.Version) {
	n, id := e.gone.find(below), string(e.Cursor)
	if n == nil {
		return nil, tree.Version{}
	}
	if below != "" {
		e.Name, id = tree.Join(e.Name, below), id+"/"+below
	}
	return n, tree.Version{State: n.state(e.Name), ID: id, Gone: e.Time, Cause: e.Cause, Principal: e.Principal}
}

// version returns a version by its ID.
func (s *Store) version(id string) (*node, tree.Version, error) {
	cursor, below, _ := strings.Cut(id, "/")
	if i := s.position(cursor); i > 0 {
		if n, v := s.entries[i-1].version(below); n != nil {
			return n, v, nil
		}
	}
	return nil, tree.Version{}, fmt.Errorf("version %q: %w", id, tree.ErrNotExist)
}

// Versions implements [tree.Store].
func (s *Store) Versions(ctx context.Context, name string, opts tree.VersionOptions) iter.Seq2[tree.Version, error] {
	return yields(ctx, func() (all []tree.Version, err error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		if opts.Inside != "" {
			dir, _, err := s.version(opts.Inside)
			for _, base := range dir.bases() {
				_, v, _ := s.version(opts.Inside + "/" + base)
				all = append(all, v)
			}
			return all, err
		}
		for _, e := range s.entries {
			rest, below := strings.CutPrefix(name, e.Name+"/")
			if !below && e.Name != name && !tree.Below(e.Name, name) {
				continue
			} else if !below {
				rest = ""
			}
			if n, v := e.version(rest); n != nil {
				all = append(all, v)
			}
		}
		return all, nil
	})
}

// OpenVersion implements [tree.Store].
func (s *Store) OpenVersion(_ context.Context, id string) (tree.Content, tree.Version, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, v, err := s.version(id)
	if err == nil && v.Collection {
		err = tree.ErrIsCollection
	}
	if err != nil {
		return nil, tree.Version{}, err
	}
	return content{strings.NewReader(n.content)}, v, nil
}

// Restore implements [tree.Store].
func (s *Store) Restore(
	ctx context.Context, id, to string, opts tree.RestoreOptions, cond tree.Condition,
) (tree.State, bool, error) {
	return s.bring(ctx, "restore", "", to, tree.CopyOptions{NoOverwrite: opts.NoOverwrite}, cond, func() (*node, error) {
		n, _, err := s.version(id)
		if over := s.find(to); err == nil && over != nil && isSame(over, n) {
			err = tree.ErrSame
		}
		return n, err
	})
}

// isSame compares files, and collections with all their members.
func isSame(a, b *node) bool {
	return a.Tag == b.Tag && a.Collection == b.Collection && maps.EqualFunc(a.members, b.members, isSame)
}
