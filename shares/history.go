package shares

import (
	"context"
	"fmt"
	"iter"
	"strings"

	"r-seed-1f3a754f.example/ifmatch/tree"
)

// Versions implements [tree.Store].
func (s *Store) Versions(
	ctx context.Context, name string, opts tree.VersionOptions,
) iter.Seq2[tree.Version, error] {
	return func(yield func(tree.Version, error) bool) {
		if opts.Inside != "" {
			sh, id, err := s.versionID(opts.Inside)
			if err != nil {
				yield(tree.Version{}, err)
				return
			}
			opts.Inside = id
			for v, err := range sh.Store.Versions(ctx, s.place(name).inner, opts) {
				if !yield(sh.version(v), sh.told(err)) {
					return
				}
			}
			return
		}
		p, err := s.resource(name, nil)
		switch {
		case p.above != nil:
			s.merge(ctx, p.above, opts, yield)
		case p.share != nil && err == nil:
			for v, err := range p.share.versions(ctx, p.inner, opts) {
				if !yield(v, err) {
					return
				}
			}
		}
	}
}

// versions yields the versions of a name in a share, without those of copies that were being made.
func (sh *share) versions(
	ctx context.Context, inner string, opts tree.VersionOptions,
) iter.Seq2[tree.Version, error] {
	return func(yield func(tree.Version, error) bool) {
		for v, err := range sh.Store.Versions(ctx, inner, opts) {
			if err == nil && isReserved(v.Name) {
				continue
			}
			if !yield(sh.version(v), sh.told(err)) {
				return
			}
		}
	}
}

// merge yields the versions of all shares below a collection, the oldest first.
func (s *Store) merge(
	ctx context.Context, n *node, opts tree.VersionOptions, yield func(tree.Version, error) bool,
) {
	type source struct {
		next func() (tree.Version, error, bool)
		now  tree.Version
	}
	var sources []*source
	for sh := range n.shares() {
		next, stop := iter.Pull2(sh.versions(ctx, "", opts))
		defer stop()
		sources = append(sources, &source{next: next})
	}
	advance := func(i int) error {
		v, err, ok := sources[i].next()
		if !ok {
			sources = append(sources[:i], sources[i+1:]...)
			return nil
		}
		sources[i].now = v
		return err
	}
	for i := len(sources) - 1; i >= 0; i-- {
		if err := advance(i); err != nil {
			yield(tree.Version{}, err)
			return
		}
	}
	for len(sources) > 0 {
		oldest := 0
		for i := range sources {
			if sources[i].now.Gone.Before(sources[oldest].now.Gone) {
				oldest = i
			}
		}
		if !yield(sources[oldest].now, nil) {
			return
		}
		if err := advance(oldest); err != nil {
			yield(tree.Version{}, err)
			return
		}
	}
}

// idSeparator stands between the path of a share and the ID that a version has in it. No path contains it.
const idSeparator = "//"

// version returns a version of the share with the name and the ID that it has here.
func (sh *share) version(v tree.Version) tree.Version {
	if v.ID == "" {
		return tree.Version{}
	}
	name := v.Name
	v.State = sh.state(v.State)
	if name == "" {
		v.Name = "" // it is not known
	}
	v.ID = sh.Path + idSeparator + v.ID
	return v
}

// versionID returns the share of the ID of a version, and the ID that it has there.
func (s *Store) versionID(id string) (*share, string, error) {
	path, inner, found := strings.Cut(id, idSeparator)
	if p := s.place(path); found && p.isRoot() {
		return p.share, inner, nil
	}
	return nil, "", fmt.Errorf("version %q: %w", id, tree.ErrNotExist)
}

// OpenVersion implements [tree.Store].
func (s *Store) OpenVersion(ctx context.Context, id string) (tree.Content, tree.Version, error) {
	sh, inner, err := s.versionID(id)
	if err != nil {
		return nil, tree.Version{}, err
	}
	content, v, err := sh.Store.OpenVersion(ctx, inner)
	return content, sh.version(v), sh.told(err)
}

// Restore implements [tree.Store]. A version is restored in its own share.
func (s *Store) Restore(
	ctx context.Context, id, to string, opts tree.RestoreOptions, cond tree.Condition,
) (tree.State, bool, error) {
	sh, inner, err := s.versionID(id)
	if err != nil {
		return tree.State{}, false, err
	}
	p, err := s.creatable(to, errFixed)
	if err == nil && p.isRoot() {
		err = errFixed
	}
	if err == nil && p.share != sh {
		err = errOtherShare
	}
	if err != nil {
		return tree.State{}, false, err
	}
	state, created, err := write(ctx, s, sh, cond, func(cond tree.Condition) (tree.State, bool, error) {
		return sh.Store.Restore(ctx, inner, p.inner, opts, cond)
	})
	return sh.state(state), created, err
}
