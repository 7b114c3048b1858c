package memtree

import (
	"context"
	"crypto/rand"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"strings"

	"r-seed-1f3a754f.example/ifmatch/tree"
)

var (
	_ tree.Feed     = (*Store)(nil)
	_ tree.FeedView = view{}
)

// A feed is all changes of a store, the oldest first. A cursor is the id of the feed and how many changes are before
// it.
type feed struct {
	id      string
	changes []tree.Change
	more    chan struct{} // closed by the next change
}

func newFeed() feed { return feed{id: rand.Text(), more: make(chan struct{})} }

func (f *feed) cursor(n int) tree.Cursor { return tree.Cursor(fmt.Sprintf("%s.%d", f.id, n)) }

// position returns how many changes are before a cursor.
func (f *feed) position(c tree.Cursor) (int, error) {
	if c == "" {
		return 0, nil
	}
	id, number, _ := strings.Cut(string(c), ".")
	n, err := strconv.Atoi(number)
	if id != f.id || err != nil || n < 0 || n > len(f.changes) {
		return 0, fmt.Errorf("no such cursor: %w", tree.ErrNotExist)
	}
	return n, nil
}

// tell adds a change of a name from one node to another. Nil: nothing is there.
func (s *Store) tell(ctx context.Context, cause, name, from string, was, is *node) {
	c := tree.Change{
		Name: name, From: from, State: tree.State{Name: name}, Created: was == nil, Cause: cause,
		Principal: tree.PrincipalOf(ctx), Time: s.opts.Now(), Cursor: s.feed.cursor(len(s.feed.changes) + 1),
	}
	if was != nil {
		c.Old, c.OldFile, c.OldCollection = was.tag, was.members == nil, was.members != nil
	}
	if is != nil {
		c.State = tree.State{Name: name, Exists: true, Collection: is.members != nil, Tag: is.tag}
	}
	s.feed.changes = append(s.feed.changes, c)
	close(s.feed.more)
	s.feed.more = make(chan struct{})
}

// Now implements [tree.Feed].
func (s *Store) Now(context.Context) (tree.Cursor, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.feed.cursor(len(s.feed.changes)), nil
}

// Changes implements [tree.Feed].
func (s *Store) Changes(ctx context.Context, since, until tree.Cursor) iter.Seq2[tree.Change, error] {
	return func(yield func(tree.Change, error) bool) {
		s.mu.Lock()
		n, err := s.feed.position(since)
		end := -1
		if err == nil && until != "" {
			end, err = s.feed.position(until)
		}
		s.mu.Unlock()
		for err == nil {
			s.mu.Lock()
			rest, more := s.feed.changes[n:], s.feed.more
			s.mu.Unlock()
			for _, c := range rest {
				if end >= 0 && n >= end {
					return
				}
				if n++; !yield(c, nil) {
					return
				}
			}
			if end >= 0 && n >= end {
				return
			}
			if len(rest) > 0 {
				continue
			}
			select {
			case <-more:
			case <-ctx.Done():
				err = ctx.Err()
			}
		}
		yield(tree.Change{}, err)
	}
}

// Latest implements [tree.Feed].
func (s *Store) Latest(_ context.Context, name string) (tree.Change, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	maker := tree.Maker{Name: name}
	for _, c := range slices.Backward(s.feed.changes) {
		if maker.Take(c) {
			break
		}
	}
	if !maker.Known {
		return tree.Change{}, tree.ErrNotExist
	}
	return maker.Found, nil
}

// Since implements [tree.FeedView].
func (v view) Since(name string, since tree.Cursor, hidden func(string) bool) (bool, error) {
	n, err := v.s.feed.position(since)
	if err != nil {
		return false, err
	}
	for _, c := range v.s.feed.changes[n:] {
		ok := true
		if hidden != nil {
			c, ok = c.Without(hidden)
		}
		if ok && c.Concerns(name, nil) {
			return true, nil
		}
	}
	return false, v.may(name)
}
