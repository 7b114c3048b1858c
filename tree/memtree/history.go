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

	"ifmatch/tree"
)

// A version is what has given way at a name.
type version struct {
	name, cause string
	node        *node // never changed
	gone        time.Time
	by          tree.Principal
}

// keep adds what gives way to the history. mu must be held.
func (s *Store) keep(ctx context.Context, name string, n *node, cause string) {
	s.kept = append(s.kept, version{name, cause, n, s.opts.Now(), tree.PrincipalOf(ctx)})
}

// member returns the version of what was below a version. Its ID is that of the whole, and the rest of its name.
func (v version) member(rest string) (version, bool) {
	for segment := range strings.SplitSeq(rest, "/") {
		v.name = tree.Join(v.name, segment)
		if v.node = v.node.members[segment]; v.node == nil {
			return v, false
		}
	}
	return v, true
}

// versionOf makes of what was kept what a client sees of it.
func versionOf(id string, v version) tree.Version {
	return tree.Version{
		State: tree.State{
			Name: v.name, Exists: true, Collection: v.node.members != nil, Tag: v.node.tag, Size: int64(len(v.node.content)),
			Created: v.node.created, Modified: v.node.modified,
		},
		ID: id, Gone: v.gone, Cause: v.cause, Principal: v.by,
	}
}

// byID returns a version. mu must be held.
func (s *Store) byID(id string) (version, error) {
	number, rest, isMember := strings.Cut(id, "/")
	i, err := strconv.Atoi(number)
	if err != nil || i < 0 || i >= len(s.kept) {
		return version{}, fmt.Errorf("version %q: %w", id, tree.ErrNotExist)
	}
	v, ok := s.kept[i], true
	if isMember {
		v, ok = v.member(rest)
	}
	if !ok {
		return version{}, fmt.Errorf("version %q: %w", id, tree.ErrNotExist)
	}
	return v, nil
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
			all = append(all, versionOf(opts.Inside+"/"+base, m))
		}
		return all, nil
	}
	for i, v := range s.kept {
		id := strconv.Itoa(i)
		if rest, below := strings.CutPrefix(name, v.name+"/"); below {
			if m, ok := v.member(rest); ok {
				all = append(all, versionOf(id+"/"+rest, m))
			}
		} else if v.name == name || tree.Below(v.name, name) {
			all = append(all, versionOf(id, v))
		}
	}
	return all, nil
}

// OpenVersion implements [tree.Store].
func (s *Store) OpenVersion(_ context.Context, id string) (tree.Content, tree.Version, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v, err := s.byID(id)
	if err == nil && v.node.members != nil {
		err = tree.ErrIsCollection
	}
	if err != nil {
		return nil, tree.Version{}, err
	}
	return content{strings.NewReader(string(v.node.content))}, versionOf(id, v), nil
}

// Restore implements [tree.Store].
func (s *Store) Restore(
	ctx context.Context, id, to string, opts tree.RestoreOptions, cond tree.Condition,
) (tree.State, bool, error) {
	look := s.look(cond, to)
	s.mu.Lock()
	defer s.mu.Unlock()
	v, err := s.byID(id)
	if err != nil {
		return tree.State{}, false, err
	}
	over, _ := s.find(to)
	switch {
	case over == nil:
		err = s.hasParent(to)
	case isSame(over, v.node):
		err = tree.ErrSame
	case opts.NoOverwrite:
		err = tree.ErrExist
	}
	if err == nil {
		err = look.ask(cond)
	}
	if err != nil {
		return tree.State{}, false, err
	}
	n := v.node.copied()
	if n.members == nil {
		n.modified = s.next(to, n.tag)
	}
	s.replace(ctx, to, over, n, "restore")
	return s.written(to, time.Time{}), over == nil, nil
}

// isSame compares files and collections with all that is in them.
func isSame(a, b *node) bool {
	if a.tag != b.tag || (a.members == nil) != (b.members == nil) {
		return false
	}
	return maps.EqualFunc(a.members, b.members, isSame)
}
