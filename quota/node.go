package quota

import "strings"

// A node is a collection with bytes in it, or one that is about to have some: the sum of the files in it, and the nodes
// of its collections. A collection without bytes needs none. All fields belong to the mutex of the ledger.
type node struct {
	name     string
	parent   *node // nil for the root, and for a node that is not in the tree
	children map[string]*node

	files    int64  // bytes of the files that are members of it
	total    int64  // bytes of all files below it
	grown    int64  // how many bytes have been added below it, ever
	changes  uint64 // how often bytes below it have changed
	placed   uint64 // when it came to where it is, by the clock of the ledger
	touched  uint64 // when an operation was last decided in it or below
	copies   int    // that are being made of it
	reserved int64  // bytes that operations hold here: to come, or freed and not sure yet

	unknown  bool // it was never listed
	unknowns int  // how many nodes are unknown in it, itself included

	pending []*change // of operations that were decided and have not ended, about its members
	listing *listing  // it is being listed
}

// A listing remembers the changes that operations have made of the members of a collection while it is being listed.
type listing struct {
	begun uint64 // by the clock of the ledger
	log   []*change
	moved bool // it, or a collection above it, was moved: the one that is being listed may be another one
}

// A change is that of a member of a collection by an operation.
type change struct {
	in            *node
	name          string // the last segment
	before, after int64  // bytes of the file that counts for the name, or 0
	made          bool   // it is counted. Of a MOVE that has to copy, the source is removed later
}

// child returns the node of a member, and makes it if there is none. A collection that comes below one whose members
// are all known is known to have no bytes.
func (n *node) child(name string) *node {
	c := n.children[name]
	if c == nil {
		c = &node{name: name, unknown: n.unknown}
		if c.unknown {
			c.unknowns = 1
		}
		n.attach(c)
	}
	return c
}

// find returns the node of a name below n, or nil.
func (n *node) find(name string) *node {
	for name != "" && n != nil {
		var segment string
		segment, name, _ = strings.Cut(name, "/")
		n = n.children[segment]
	}
	return n
}

// ensure is find, and makes the nodes that there are not.
func (n *node) ensure(name string) *node {
	for name != "" {
		var segment string
		segment, name, _ = strings.Cut(name, "/")
		n = n.child(segment)
	}
	return n
}

// path returns the name of a node. ok is false if it is not in the tree of root.
func (n *node) path(root *node) (name string, ok bool) {
	for ; n.parent != nil; n = n.parent {
		if name == "" {
			name = n.name
		} else {
			name = n.name + "/" + name
		}
	}
	return name, n == root
}

// attach puts a node that is in no tree below n. There must be no such member.
func (n *node) attach(c *node) {
	if n.children == nil {
		n.children = map[string]*node{}
	}
	n.children[c.name] = c
	c.parent = n
	n.account(c.total, c.unknowns)
}

// detach takes a node, with all below it, out of its tree.
func (c *node) detach() {
	n := c.parent
	delete(n.children, c.name)
	c.parent = nil
	n.account(-c.total, -c.unknowns)
}

// account adds to the sums of a node and of all above it.
func (n *node) account(bytes int64, unknowns int) {
	for ; n != nil; n = n.parent {
		n.total += bytes
		n.unknowns += unknowns
		n.grown += max(bytes, 0)
		if bytes != 0 {
			n.changes++
		}
	}
}

// add changes the bytes of the files in a collection. They are less than 0 for a moment if a file goes that was not
// counted yet: changes must add up in any order in which they are taken back.
func (n *node) add(bytes int64) {
	n.files += bytes
	n.account(bytes, 0)
}

// learn sets whether a node is unknown.
func (n *node) learn(unknown bool) {
	if n.unknown == unknown {
		return
	}
	n.unknown = unknown
	if unknown {
		n.account(0, 1)
	} else {
		n.account(0, -1)
	}
}

// isKnown reports whether all bytes of a name are known.
func (n *node) isKnown(name string) bool {
	for {
		if n.unknown {
			return false
		}
		if name == "" {
			return n.unknowns == 0
		}
		var segment string
		segment, name, _ = strings.Cut(name, "/")
		if n = n.children[segment]; n == nil {
			return true
		}
	}
}

// prune removes a node that says nothing any more, and those above it that say nothing without it. One that is
// being listed, or whose collection is, stays: the end of the listing must see that something was there.
func (n *node) prune() {
	for n != nil && n.parent != nil && n.saysNothing() && n.listing == nil && n.parent.listing == nil {
		above := n.parent
		n.detach()
		n = above
	}
}

// saysNothing reports whether a node is as one that is not there.
func (n *node) saysNothing() bool {
	return n.total == 0 && n.files == 0 && n.reserved == 0 && !n.unknown &&
		len(n.children) == 0 && len(n.pending) == 0 && n.copies == 0
}

// chain appends a node and all above it.
func (n *node) chain(nodes []*node) []*node {
	for ; n != nil; n = n.parent {
		nodes = append(nodes, n)
	}
	return nodes
}

// moves says that a node, with all below it, is moved or may be: listings that are under way do not count. It looks at
// listings rather than at nodes, of which there may be many.
func (l *ledger) moves(c *node) {
	for n := range l.listings {
		for at := n; at != nil; at = at.parent {
			if at == c {
				n.listing.moved = true
				break
			}
		}
	}
}
