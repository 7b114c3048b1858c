package undo

import (
	"strings"

	"r-seed-1f3a754f.example/ifmatch/tree"
)

// A kind is that of the resource that a name of the model stands for.
type kind uint8

const (
	absent  kind = iota // nothing
	live                // the resource at a name on the disk now
	kept                // a version in the history
	implied             // a collection of which only members are known
	unknown             // something, or nothing
)

// A ref is the resource that a name of the model stands for.
type ref struct {
	kind kind
	name string // live: the present name. kept: the path below the version. unknown: the reason
	kept *Kept  // the version
}

// member returns the ref of a member of which nothing else is known.
func (r ref) member(base string) ref {
	switch r.kind {
	case live, kept:
		r.name = join(r.name, base)
	case implied:
		return ref{}
	}
	return r
}

// A node is a name of which more is known than that it is a member of its collection.
type node struct {
	set  bool // it stands for ref, and not for a member of the ref of its collection
	ref  ref
	kids map[string]*node
	left string // why it must be left alone, or ""
	// explained says that a change of the server explains the time of change of the file.
	explained bool
}

// membersAsTheyWere reports whether all names below the name stand for members of its ref.
func (n *node) membersAsTheyWere() bool {
	if n == nil {
		return true
	}
	for _, kid := range n.kids {
		if kid.set || kid.left != "" || !kid.membersAsTheyWere() {
			return false
		}
	}
	return true
}

func (n *node) kid(base string) *node {
	if n == nil {
		return nil
	}
	return n.kids[base]
}

// make returns the node of a name below n, or of n itself, and makes it if necessary.
func (n *node) make(name string) *node {
	for base := range segments(name) {
		next := n.kid(base)
		if next == nil {
			next = &node{}
			n.setKid(base, next)
		}
		n = next
	}
	return n
}

// take removes a name with all below it, and returns its node, or an empty one.
func (n *node) take(name string) *node {
	if name == "" {
		whole := *n
		*n = node{}
		return &whole
	}
	dir, base := tree.Split(name)
	for above := range segments(dir) {
		n = n.kid(above)
	}
	taken := n.kid(base)
	if taken == nil {
		return &node{}
	}
	delete(n.kids, base)
	return taken
}

func (n *node) setKid(base string, kid *node) {
	if n.kids == nil {
		n.kids = map[string]*node{}
	}
	n.kids[base] = kid
}

// A model is a tree of names. At first each name stands for the resource at that name on the disk.
type model struct{ root *node }

// at returns the ref of a name, and its node, or nil.
func (m *model) at(name string) (*node, ref) {
	n, r := m.root, m.root.ref
	for base := range segments(name) {
		if n = n.kid(base); n != nil && n.set {
			r = n.ref
		} else {
			r = r.member(base)
		}
	}
	return n, r
}

// attach makes a name stand for the ref of a node. The collections above it existed at that time.
func (m *model) attach(name string, n *node) {
	n.set = true
	if name == "" {
		m.root = n
		return
	}
	above, r := m.root, m.root.ref
	rest := name
	for {
		base, more, isAbove := strings.Cut(rest, "/")
		if r.kind == absent {
			above.set, above.ref, r = true, ref{kind: implied}, ref{kind: implied}
		}
		kid := above.kid(base)
		if !isAbove {
			if kid != nil && n.left == "" {
				n.left = kid.left
			}
			above.setKid(base, n)
			return
		}
		if kid == nil {
			kid = &node{}
			above.setKid(base, kid)
		}
		if r = r.member(base); kid.set {
			r = kid.ref
		}
		above, rest = kid, more
	}
}

// detach removes a node from its name, at which nothing is after that.
func (m *model) detach(name string) *node {
	n, r := m.at(name)
	if n == nil {
		n = &node{}
	}
	if !n.set {
		n.set, n.ref = true, r
	}
	dir, base := tree.Split(name)
	m.root.make(dir).setKid(base, &node{set: true})
	return n
}

// each calls do with the name of each node that stands for something of its own.
func (m *model) each(do func(name string, n *node)) {
	var walk func(name string, n *node)
	walk = func(name string, n *node) {
		if n.set {
			do(name, n)
		}
		for base, kid := range n.kids {
			walk(join(name, base), kid)
		}
	}
	walk("", m.root)
}
