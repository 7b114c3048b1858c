package shares

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"strings"

	"r-seed-1f3a754f.example/ifmatch/tree"
)

// Versions implements [tree.Store].
func (s *Store) Versions(
	ctx context.Context, name string, opts tree.VersionOptions,
) iter.Seq2[tree.Version, error] {
	if opts.Inside != "" {
		sh, id, err := s.versionID(opts.Inside)
		if err != nil {
			return func(yield func(tree.Version, error) bool) { yield(tree.Version{}, err) }
		}
		opts.Inside = id
		return sh.versions(ctx, s.place(name).inner, opts)
	}
	p, err := s.resource(name, nil)
	switch {
	case p.above != nil:
		return merged(ctx, p.above, opts)
	case p.share != nil && err == nil:
		return p.share.versions(ctx, p.inner, opts)
	}
	return func(func(tree.Version, error) bool) {}
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

// A source yields the versions of a share.
type source struct {
	next  func() (tree.Version, error, bool)
	first tree.Version // that was not yielded yet
	known bool
}

// merged yields the versions of all shares below a collection, the oldest first.
func merged(ctx context.Context, n *node, opts tree.VersionOptions) iter.Seq2[tree.Version, error] {
	return func(yield func(tree.Version, error) bool) {
		var sources []*source
		for sh := range n.shares() {
			next, stop := iter.Pull2(sh.versions(ctx, "", opts))
			defer stop()
			sources = append(sources, &source{next: next})
		}
		for {
			var failed error
			sources = slices.DeleteFunc(sources, func(s *source) bool {
				if !s.known && failed == nil {
					s.first, failed, s.known = s.next()
				}
				return !s.known && failed == nil
			})
			if failed != nil {
				yield(tree.Version{}, failed)
				return
			}
			if len(sources) == 0 {
				return
			}
			oldest := slices.MinFunc(sources, func(a, b *source) int { return a.first.Gone.Compare(b.first.Gone) })
			if oldest.known = false; !yield(oldest.first, nil) {
				return
			}
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
	p, err := s.inside(to, errFixed)
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
