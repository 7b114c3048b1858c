// Package synccollection finds the members of a collection that have changed since a cursor (RFC 6578).
package synccollection

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"

	"r-seed-1f3a754f.example/ifmatch/tree"
)

var (
	// ErrList says that the client has to list the collection again: some members that have changed cannot be named.
	ErrList = errors.New("the collection must be listed again")
	// ErrLimit says that one change concerns more members than the limit.
	ErrLimit = errors.New("more members than the limit have changed at once")
)

// A Collection is the subject of a report.
type Collection struct {
	Store    tree.Store
	Feed     tree.Feed
	Name     string // of the collection
	Infinite bool   // all members below it count, and not only its own (DAV:sync-level)
	Limit    int    // the most members that Changed returns, at least 1
	// Seen reports whether the client may know of a name, be it of a collection alone.
	Seen func(name string) bool
	// Listed reports whether the client may know of a name of any kind.
	Listed func(name string) bool
	// Reading and Listing are for looks at members. Depth and Limit of Listing are set here.
	Reading tree.ReadOptions
	Listing tree.ListOptions
}

// Changes are members that have changed.
type Changes struct {
	Names   []string    // sorted: a collection comes before its members
	End     tree.Cursor // the cursor after these changes
	Partial bool        // there are more changes after it
}

// Changed returns the members that have changed after a cursor, up to another one, or up to the limit.
func (c *Collection) Changed(ctx context.Context, since, end tree.Cursor) (Changes, error) {
	f := &finder{Collection: c, ctx: ctx, names: map[string]bool{}, created: map[string]bool{}}
	found := Changes{End: end}
	last := since
	for change, err := range c.Feed.Changes(ctx, since, end) {
		if errors.Is(err, tree.ErrNotExist) {
			err = ErrList
		}
		var more []string
		if err == nil {
			more, err = f.concerned(change)
		}
		if err != nil {
			return Changes{}, err
		}
		if len(f.names)+len(more) > c.Limit {
			if last == since {
				return Changes{}, ErrLimit
			}
			found.End, found.Partial = last, true
			break
		}
		for _, name := range more {
			f.names[name] = true
		}
		last = change.Cursor
	}
	found.Names = slices.Sorted(maps.Keys(f.names))
	return found, nil
}

// A finder finds the members that changes concern.
type finder struct {
	*Collection
	ctx     context.Context
	names   map[string]bool // the members found so far
	created map[string]bool // those of them that were not there at the cursor
}

// concerned returns the members that a change concerns and that are not to be shown yet. It fails with ErrList if
// the change may have taken away members whose names are not known.
func (f *finder) concerned(c tree.Change) (more []string, err error) {
	if !c.Concerns(f.Name, strings.EqualFold) {
		return nil, nil
	}
	if !c.Concerns(f.Name, nil) {
		is, err := c.ConcernsIn(f.ctx, f.Store, f.Name)
		if err == nil && is {
			err = ErrList
		}
		return nil, err
	}
	added := map[string]bool{}
	add := func(name string) {
		if !f.names[name] && !added[name] {
			added[name] = true
			more = append(more, name)
		}
	}
	for _, name := range []string{c.From, c.Name} {
		switch {
		case name == "" && c.From == "" && c.Name != "":
		case !tree.Below(name, f.Name):
			if c.Deep() && tree.Within(f.Name, name) {
				return nil, ErrList // the collection itself has come, or members of it have, that have no known names
			}
		case !f.Infinite && strings.Contains(strings.TrimPrefix(name[len(f.Name):], "/"), "/"), !f.Seen(name):
		case c.Unsure() && !f.Listed(name):
			return nil, ErrList
		case !c.OfCollection(name) && !f.Listed(name):
		case c.Again && f.Infinite:
			return nil, ErrList
		default:
			if c.Created && name == c.Name && !f.names[name] {
				f.created[name] = true
			}
			add(name)
			below, err := f.brought(c, name)
			if err != nil {
				return nil, err
			}
			for _, name := range below {
				add(name)
			}
		}
	}
	return more, nil
}

// brought returns the members below a name that a change has brought there as a whole. It fails with ErrList if
// others may have been there, at the token, which the client has, under names that are not known.
func (f *finder) brought(c tree.Change, name string) (names []string, err error) {
	if !f.Infinite || !c.Deep() {
		return nil, nil
	}
	s, err := f.Store.Stat(f.ctx, name, f.Reading)
	isCollection := s.Collection && !s.Link
	wasCollection := name == c.From && c.State.Collection || name == c.Name && c.OverCollection()
	switch {
	case err != nil:
		return nil, nil // the client removes all that it has below the name with the name
	case (isCollection || wasCollection) && !f.isNew(name):
		return nil, ErrList
	case !isCollection:
		return nil, nil
	}
	opts := f.Listing
	opts.Depth, opts.Limit = -1, f.Limit
	for s, err := range f.Store.List(f.ctx, name, opts, tree.Condition{}) {
		switch {
		case errors.Is(err, tree.ErrTooMany):
			return nil, ErrList
		case errors.Is(err, tree.ErrNotExist):
			return names, nil
		case err != nil && s.Name == "":
			return nil, err
		case s.Name != name:
			names = append(names, s.Name)
		}
	}
	return names, nil
}

// isNew reports whether the client can have nothing at a name or below it, because the name, or a collection above it,
// was not there at the token.
func (f *finder) isNew(name string) bool {
	for ; tree.Below(name, f.Name); name, _ = tree.Split(name) {
		if f.created[name] {
			return true
		}
	}
	return false
}
