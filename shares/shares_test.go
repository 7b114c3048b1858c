package shares_test

import (
	"testing"
	"time"

	"r-seed-1f3a754f.example/ifmatch/etagfs"
	"r-seed-1f3a754f.example/ifmatch/fs"
	"r-seed-1f3a754f.example/ifmatch/shares"
	"r-seed-1f3a754f.example/ifmatch/tree"
	"r-seed-1f3a754f.example/ifmatch/tree/memtree"
	"r-seed-1f3a754f.example/ifmatch/tree/treetest"
)

// two returns a store of two shares.
func two(t testing.TB, a, b shares.Share) *shares.Store {
	t.Helper()
	s, err := shares.New([]shares.Share{a, b}, shares.Options{Report: func(err error) { t.Errorf("reported: %v", err) }})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestShareInMemory runs the conformance suite in a share whose path has two segments.
func TestShareInMemory(t *testing.T) {
	treetest.Run(t, treetest.Backend{
		Open: func(t *testing.T, now func() time.Time) (tree.Store, func() tree.Store) {
			openEmpty := func() tree.Store {
				open := func() tree.Store { return memtree.New(memtree.Options{Now: now}) }
				s := two(t, shares.Share{Path: "team/docs", Store: open()}, shares.Share{Path: "team/pics", Store: open()})
				b := below{s, "team/docs"}
				return struct {
					tree.Store
					tree.Feed
				}{b, b} // memtree spells nothing
			}
			return openEmpty(), openEmpty
		},
		Forgets:   "it lives as long as its process",
		AnyLength: "a map has no limit for the length of a name",
	})
}

// openDir opens a directory as a store.
func openDir(t testing.TB, dir, index string, now func() time.Time) *etagfs.Store {
	t.Helper()
	files, err := fs.Open(dir, fs.Options{Durability: fs.None, History: true})
	if err != nil {
		t.Fatal(err)
	}
	s, err := etagfs.New(files, etagfs.Options{IndexDir: index, Now: now, Journal: true,
		Report: func(err error) { t.Errorf("reported: %v", err) }})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestShareInDirectory runs the conformance suite in a share that is a directory, beside another one.
func TestShareInDirectory(t *testing.T) {
	files, err := fs.Open(t.TempDir(), fs.Options{})
	if err != nil {
		t.Fatal(err)
	}
	able := files.Abilities()
	files.Close()
	b := treetest.Backend{
		Open: func(t *testing.T, now func() time.Time) (tree.Store, func() tree.Store) {
			dirs := [4]string{t.TempDir(), t.TempDir(), t.TempDir(), t.TempDir()}
			var open *shares.Store
			closeNow := func() {
				if open != nil {
					if err := open.Close(); err != nil {
						t.Errorf("Close: %v", err)
					}
				}
				open = nil
			}
			openNow := func() tree.Store {
				closeNow()
				open = two(t, shares.Share{Path: "a", Store: openDir(t, dirs[0], dirs[1], now)},
					shares.Share{Path: "b", Store: openDir(t, dirs[2], dirs[3], now)})
				return below{open, "a"}
			}
			t.Cleanup(closeNow)
			return openNow(), openNow
		},
	}
	if !able.Attributes {
		b.NoProperties = "the file system of the temporary directory has no extended attributes"
	}
	treetest.Run(t, b)
}
