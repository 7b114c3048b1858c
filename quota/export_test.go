package quota

import (
	"fmt"

	"r-seed-1f3a754f.example/ifmatch/tree"
)

// Dump describes the ledger.
func (s *Store) Dump() string {
	c := s.counter()
	c.mu.Lock()
	defer c.mu.Unlock()
	text := fmt.Sprintf("marks %v\n", c.dirty.order)
	var dump func(n *node, name string)
	dump = func(n *node, name string) {
		text += fmt.Sprintf("%q total %d files %d reserved %d unknowns %d pending %d listing %v\n",
			name, n.total, n.files, n.reserved, n.unknowns, len(n.pending), n.listing != nil)
		for base, child := range n.children {
			dump(child, name+"/"+base)
		}
	}
	dump(c.root, "")
	return text
}

// Counted reports whether all changes up to a cursor count.
func (s *Store) Counted(at tree.Cursor) bool {
	c := s.counter()
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.followed == at && !c.listed.set && len(c.dirty.order) == 0
}
