package etagfs_test

import (
	"runtime"
	"testing"
	"time"

	"github.com/spf13/afero"

	"r-seed-1f3a754f.example/ifmatch/etagfs"
	"r-seed-1f3a754f.example/ifmatch/fs"
	"r-seed-1f3a754f.example/ifmatch/tree"
	"r-seed-1f3a754f.example/ifmatch/tree/treetest"
)

// open makes a store of a file system; it is closed when the test ends, or by closeNow.
func open(t *testing.T, opts etagfs.Options, below *fs.FS, err error) (s *etagfs.Store, closeNow func()) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	if opts.Report == nil {
		opts.Report = func(err error) { t.Errorf("reported: %v", err) }
	}
	s, err = etagfs.New(below, opts)
	if err != nil {
		t.Fatal(err)
	}
	closed := false
	closeNow = func() {
		if !closed {
			closed = true
			if err := s.Close(); err != nil {
				t.Errorf("Close: %v", err)
			}
		}
	}
	t.Cleanup(closeNow)
	return s, closeNow
}

func TestDirectory(t *testing.T) { testDirectory(t, (*testing.T).TempDir) }

// testDirectory runs the conformance suite in directories that newDir makes.
func testDirectory(t *testing.T, newDir func(*testing.T) string) {
	probe, err := fs.Open(newDir(t), fs.Options{})
	if err != nil {
		t.Fatal(err)
	}
	abilities := probe.Abilities()
	probe.Close()
	t.Log(abilities)
	b := treetest.Backend{
		Open: func(t *testing.T, now func() time.Time) (tree.Store, func() tree.Store) {
			dir, index := newDir(t), quickDir(t)
			openDir := func() (*etagfs.Store, func()) {
				// What is synced, and when, is in TestTrace; here it would take most of the time.
				below, err := fs.Open(dir, fs.Options{Durability: fs.None, History: true})
				return open(t, etagfs.Options{IndexDir: index, Now: now, Journal: true}, below, err)
			}
			s, closeNow := openDir()
			return s, func() tree.Store {
				closeNow()
				s, closeNow = openDir()
				return s
			}
		},
	}
	if !abilities.Attributes {
		b.NoProperties = "the file system of the temporary directory has no extended attributes"
	}
	if runtime.GOOS != "linux" {
		b.ForgetsDates = "the index is kept in memory here"
		b.ForgetsFeed = "this system does not tell one boot from the next"
	}
	treetest.Run(t, b)
}

func TestMemory(t *testing.T) {
	treetest.Run(t, treetest.Backend{
		Open: func(t *testing.T, now func() time.Time) (tree.Store, func() tree.Store) {
			openMemory := func() (*etagfs.Store, func()) {
				below, err := fs.OpenAfero(afero.NewMemMapFs(), fs.Options{})
				return open(t, etagfs.Options{Now: now, Journal: true}, below, err)
			}
			s, closeNow := openMemory()
			return s, func() tree.Store {
				closeNow()
				s, closeNow = openMemory()
				return s
			}
		},
		Forgets:   "a MemMapFs lives as long as its process",
		AnyLength: "a MemMapFs has no limit for the length of a name",
		NoHistory: "a MemMapFs keeps none",
	})
}
