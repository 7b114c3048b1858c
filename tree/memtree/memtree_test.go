package memtree_test

import (
	"testing"
	"time"

	"r-seed-1f3a754f.example/ifmatch/tree"
	"r-seed-1f3a754f.example/ifmatch/tree/memtree"
	"r-seed-1f3a754f.example/ifmatch/tree/treetest"
)

func TestStore(t *testing.T) {
	treetest.Run(t, treetest.Backend{
		Open: func(_ *testing.T, now func() time.Time) (tree.Store, func() tree.Store) {
			openEmpty := func() tree.Store { return memtree.New(memtree.Options{Now: now}) }
			return openEmpty(), openEmpty
		},
		Forgets:   "it lives as long as its process",
		AnyLength: "a map has no limit for the length of a name",
	})
}
