package memtree

import (
	"context"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"r-seed-1f3a754f.example/ifmatch/tree"
)

// An entry is a version in the history: a node that was replaced or removed. The node never changes again.
type entry struct {
	name, cause string
	node        *node
	gone        time.Time
	by          tree.Principal
}

// keep adds a node to the history.
func (s *Store) keep(ctx context.Context, name string, n *node, cause string) {
	s.history = append(s.history, entry{name, cause, n, s.opts.Now(), tree.PrincipalOf(ctx)})
}

// version returns an entry as a version with an ID.
func (e entry) version(id string) tree.Version {
	return tree.Version{State: e.node.state(e.name), ID: id, Gone: e.gone, Cause: e.cause, Principal: e.by}
}

// member returns the entry of a member below a collection, as if it had been replaced alone.
func (e entry) member(rest string) (entry, bool) {
	for segment := range strings.SplitSeq(rest, "/") {
		e.name = tree.Join(e.name, segment)
		if e.node = e.node.members[segment]; e.node == nil {
			return e, false
		}
	}
	return e, true
}

// byID returns an entry. The ID is its index or, for a member, the index of its collection, a slash and the rest of the
// name.
func (s *Store) byID(id string) (e entry, err error) {
	number, rest, isMember := strings.Cut(id, "/")
	i, err := strconv.Atoi(number)
	ok := err == nil && i >= 0 && i < len(s.history)
	if ok {
		e = s.history[i]
	}
	if ok && isMember {
		e, ok = e.member(rest)
	}
	if !ok {
		return entry{}, fmt.Errorf("version %q: %w", id, tree.ErrNotExist)
	}
	return e, nil
}

// Versions implements [tree.Store].
func (s *Store) Versions(_ context.Context, name string, opts tree.VersionOptions) iter.Seq2[tree.Version, error] {
	return func(yield func(tree.Version, error) bool) {
		all, err := s.versions(name, opts)
		if err != nil {
			yield(tree.Version{}, err)
		}
		for _, v := range all {
			if !yield(v, nil) {
				return
			}
		}
	}
}

func (s *Store) versions(name string, opts tree.VersionOptions) (all []tree.Version, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if opts.Inside != "" {
		dir, err := s.byID(opts.Inside)
		if err != nil {
			return nil, err
		}
		for _, base := range slices.Sorted(maps.Keys(dir.node.members)) {
			m, _ := dir.member(base)
			all = append(all, m.version(opts.Inside+"/"+base))
		}
		return all, nil
	}
	for i, e := range s.history {
		id := strconv.Itoa(i)
		if rest, below := strings.CutPrefix(name, e.name+"/"); below {
			if m, ok := e.member(rest); ok {
				all = append(all, m.version(id+"/"+rest))
			}
		} else if e.name == name || tree.Below(e.name, name) {
			all = append(all, e.version(id))
		}
	}
	return all, nil
}

// OpenVersion implements [tree.Store].
func (s *Store) OpenVersion(_ context.Context, id string) (tree.Content, tree.Version, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e, err := s.byID(id)
	if err == nil && e.node.members != nil {
		err = tree.ErrIsCollection
	}
	if err != nil {
		return nil, tree.Version{}, err
	}
	return content{strings.NewReader(string(e.node.content))}, e.version(id), nil
}

// Restore implements [tree.Store].
func (s *Store) Restore(
	ctx context.Context, id, to string, opts tree.RestoreOptions, cond tree.Condition,
) (tree.State, bool, error) {
	var e entry
	return s.transfer(ctx, transfer{"restore", func(over *node) (err error) {
		if e, err = s.byID(id); err == nil && over != nil && isSame(over, e.node) {
			err = tree.ErrSame
		}
		return err
	}, func() *node { return s.copyTo(to, e.node) }, opts.NoOverwrite, time.Time{}}, cond, to)
}

// isSame compares files, and collections with all their members.
func isSame(a, b *node) bool {
	if a.tag != b.tag || (a.members == nil) != (b.members == nil) {
		return false
	}
	return maps.EqualFunc(a.members, b.members, isSame)
}
