package shares

import (
	"context"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"r-seed-1f3a754f.example/ifmatch/tree"
)

// A node is a collection above the shares, or the place of a share.
type node struct {
	name    string
	share   *share           // nil: a collection above shares
	members map[string]*node // by segment
}

// member returns the member of a collection, and makes it if it is not there.
func (n *node) member(segment string) *node {
	m := n.members[segment]
	if m == nil {
		m = &node{name: tree.Join(n.name, segment)}
		if n.members == nil {
			n.members = map[string]*node{}
		}
		n.members[segment] = m
	}
	return m
}

// sorted yields the members in the order of their segments.
func (n *node) sorted() iter.Seq[*node] {
	return func(yield func(*node) bool) {
		for _, segment := range slices.Sorted(maps.Keys(n.members)) {
			if !yield(n.members[segment]) {
				return
			}
		}
	}
}

// shares yields the shares below a collection.
func (n *node) shares() iter.Seq[*share] {
	return func(yield func(*share) bool) { n.each(yield) }
}

func (n *node) each(yield func(*share) bool) bool {
	if n.share != nil {
		return yield(n.share)
	}
	for m := range n.sorted() {
		if !m.each(yield) {
			return false
		}
	}
	return true
}

// A place is the meaning of a name: a resource of a share, a collection above the shares, or nothing.
type place struct {
	share *share
	inner string // the name in the share
	above *node  // the collection above the shares
	// free says that the name is none of these, and its parent is a collection above the shares.
	free bool
}

// place returns the place of a name.
func (s *Store) place(name string) place {
	n := s.root
	for rest := name; rest != ""; {
		segment, more, _ := strings.Cut(rest, "/")
		m := n.members[segment]
		switch {
		case m == nil:
			return place{free: more == ""}
		case m.share != nil:
			return place{share: m.share, inner: more}
		}
		n, rest = m, more
	}
	return place{above: n}
}

// isRoot reports whether a place is the root of a share.
func (p place) isRoot() bool { return p.share != nil && p.inner == "" }

// outer returns the name of a resource of the share.
func (sh *share) outer(inner string) string {
	if inner == "" {
		return sh.Path
	}
	return sh.Path + "/" + inner
}

// state returns a State of the share with the name that it has here.
func (sh *share) state(state tree.State) tree.State {
	state.Name = sh.outer(state.Name)
	state.Resolved = sh.resolved(state.Resolved)
	state.Locks = sh.locks(state.Locks)
	return state
}

// resolved returns the name of a resource of the share that a link leads to, if there is one.
func (sh *share) resolved(inner *string) *string {
	if inner == nil {
		return nil
	}
	name := sh.outer(*inner)
	return &name
}

// follow returns a [tree.Follow] for the store of the share. No link leads to the copies that are being made.
func (sh *share) follow(follow tree.Follow) tree.Follow {
	return func(target string, err error) error {
		known := err == nil || target != ""
		if known && isReserved(target) {
			return tree.ErrNotExist
		}
		if follow == nil {
			return err
		}
		if known {
			target = sh.outer(target)
		}
		return follow(target, err)
	}
}

func (sh *share) locks(locks []tree.Lock) []tree.Lock {
	if len(locks) == 0 {
		return locks
	}
	locks = slices.Clone(locks)
	for i := range locks {
		locks[i].Root = sh.outer(locks[i].Root)
	}
	return locks
}

// collection returns the State of a collection above the shares.
func (s *Store) collection(n *node) tree.State {
	return tree.State{
		Name: n.name, Exists: true, Collection: true, Fixed: true, Created: s.started, Modified: s.started,
	}
}

// stagingPrefix begins the names at the root of a share under which copies from other shares are made. They are
// reserved: clients see nothing there.
const stagingPrefix = ".ifmatch-copy-"

// isReserved reports whether a name in a share is, or is in, a copy that is being made, also in a spelling that a file
// system takes for the same: without case, characters that are not shown, and the differences between forms of letters.
// The short names of FAT and NTFS are those of .ifmatch, which the store itself reserves.
func isReserved(inner string) bool {
	if inner == "" || inner[0] < utf8.RuneSelf && inner[0] != '.' {
		return false
	}
	segment, _, _ := strings.Cut(inner, "/")
	segment = strings.Map(func(r rune) rune {
		if unicode.Is(unicode.Cf, r) {
			return -1
		}
		return r
	}, segment)
	return strings.HasPrefix(folded(segment), stagingPrefix)
}

func reserved(name string) error { return fmt.Errorf("%q: %w", name, tree.ErrReserved) }

// resource returns the place of a name for a call of the store of its share. Without a share, the error is
// [tree.ErrNotExist] or, for a collection above the shares, isAbove.
func (s *Store) resource(name string, isAbove error) (place, error) {
	p := s.place(name)
	switch {
	case p.above != nil:
		return p, isAbove
	case p.share == nil:
		return p, fmt.Errorf("%q: %w", name, tree.ErrNotExist)
	case isReserved(p.inner):
		return p, reserved(name)
	}
	return p, nil
}

// creatable is [Store.resource] for a name that may be new.
func (s *Store) creatable(name string, isAbove error) (place, error) {
	p, err := s.resource(name, isAbove)
	if p.share == nil && p.above == nil {
		err = fmt.Errorf("%q: %w", name, tree.ErrNoParent)
		if p.free {
			err = errFixed
		}
	}
	return p, err
}

// inside is [Store.creatable] for a name that is not the root of a share either.
func (s *Store) inside(name string, taken error) (place, error) {
	p, err := s.creatable(name, taken)
	if err == nil && p.isRoot() {
		err = taken
	}
	return p, err
}

// Spelled implements [tree.Speller]. The segments of the path of a share are compared in their composed form: macOS
// sends them decomposed.
func (s *Store) Spelled(ctx context.Context, name string) (string, error) {
	n := s.root
	for rest := name; rest != ""; {
		segment, more, _ := strings.Cut(rest, "/")
		m := n.members[segment]
		if m == nil {
			m = n.spelled(segment)
		}
		if m == nil {
			return tree.Join(n.name, rest), nil
		}
		if n, rest = m, more; n.share == nil {
			continue
		}
		speller, ok := n.share.Store.(tree.Speller)
		if !ok {
			return n.share.outer(rest), nil
		}
		inner, err := speller.Spelled(ctx, rest)
		return n.share.outer(inner), n.share.told(err)
	}
	return n.name, nil
}

// spelled returns the only member with a segment of the same composed form, or nil.
func (n *node) spelled(segment string) (found *node) {
	composed := norm.NFC.String(segment)
	for is, m := range n.members {
		if norm.NFC.String(is) != composed {
			continue
		}
		if found != nil {
			return nil
		}
		found = m
	}
	return found
}
