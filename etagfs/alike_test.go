package etagfs

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/afero"

	"r-seed-1f3a754f.example/ifmatch/etagfs/locktable"
	"r-seed-1f3a754f.example/ifmatch/fs"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

// inMemory returns a store of files in memory, in which names may be short, for all that is known.
func inMemory(t *testing.T) *Store {
	t.Helper()
	below, err := fs.OpenAfero(afero.NewMemMapFs(), fs.Options{})
	if err != nil {
		t.Fatal(err)
	}
	s, err := New(below, Options{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// A listing, and a LOCK, take as many steps as there are locks and members, and not as many as there are pairs of them,
// however the locked names look. Where no name is short for another, they take none.
func TestLocksOfNamesThatMayBeShortTakeFewSteps(t *testing.T) {
	const n = 300
	for _, tt := range []struct {
		about       string
		lock        string
		member      string
		inMemory    bool
		list, taken int // steps: of one listing, and of the last LOCK
	}{
		{"on a disk without short names", "L~%d", "m%d", false, 0, 0},
		{"on a disk without short names, members that look short", "L~%d", "m~%d", false, 0, 0},
		{"on a disk with short names", "L~%d", "m%d", true, 2 * n, 0},
		{"on a disk with short names, members that look short", "L~%d", "m~%d", true, 2 * n, 0},
		{"on a disk with short names, other locks", "l%d", "m~%d", true, 2 * n, 0},
	} {
		t.Run(tt.about, func(t *testing.T) {
			var s *Store
			if tt.inMemory {
				s = inMemory(t)
			} else {
				s, _ = openStore(t, t.TempDir(), Options{})
			}
			defer s.Close()
			if !tt.inMemory && s.fs.MayShorten("") {
				t.Skip("NOT RUN: the disk of temporary files has short names")
			}
			if _, err := s.Mkdir(t.Context(), "d", tree.MkdirOptions{}, tree.Condition{}); err != nil {
				t.Fatal(err)
			}
			steps := 0
			for i := range n {
				steps = s.locks.Steps()
				if _, _, err := take(s, lockOf(fmt.Sprintf("d/"+tt.lock, i), ""), tree.Condition{}); err != nil {
					t.Fatal(err)
				}
			}
			if got := s.locks.Steps() - steps; got > tt.taken {
				t.Errorf("a LOCK beside %d takes %d steps, want %d", n, got, tt.taken)
			}
			for i := range n {
				name := fmt.Sprintf("d/"+tt.member, i)
				if _, _, err := s.Put(t.Context(), name, strings.NewReader("1"), tree.PutOptions{Length: 1},
					tree.Condition{}); err != nil {
					t.Fatal(err)
				}
			}
			steps = s.locks.Steps()
			for _, err := range s.List(t.Context(), "d", tree.ListOptions{Want: tree.WantLocks, Depth: 1},
				tree.Condition{}) {
				if err != nil {
					t.Error(err)
				}
			}
			if got := s.locks.Steps() - steps; got > tt.list {
				t.Errorf("a listing of %d members and %d locks takes %d steps, want %d", n, n, got, tt.list)
			}
		})
	}
}

// spelledInMany returns the n-th of many spellings that some disk takes for one.
var spelledInMany = map[string]func(n int) string{
	"case": func(n int) string {
		name := []byte("abcdefghijkl")
		for i := range name {
			if n>>i&1 == 1 {
				name[i] -= 'a' - 'A'
			}
		}
		return string(name)
	},
	"characters that are not seen": func(n int) string {
		var name strings.Builder
		for i := range 12 {
			name.WriteByte('a' + byte(i))
			if n>>i&1 == 1 {
				name.WriteString("\u00ad")
			}
		}
		return name.String()
	},
}

// Where names that look alike are other files, locks on them are in nobody's way, however many there are.
func TestLocksOfOtherFilesWhoseNamesLookAlike(t *testing.T) {
	const many = 2*locktable.MaxAlike + 10
	for about, spelled := range spelledInMany {
		t.Run(about, func(t *testing.T) {
			dir := t.TempDir()
			s, _ := openStore(t, dir, Options{})
			defer s.Close()
			s.Mkdir(t.Context(), "d", tree.MkdirOptions{}, tree.Condition{})
			if os.Mkdir(filepath.Join(dir, spelled(1)), 0o777) != nil {
				t.Fatal("cannot make a directory")
			}
			if _, err := os.Stat(filepath.Join(dir, spelled(2))); err == nil {
				t.Skip("NOT RUN: the disk of temporary files takes such names for one")
			}
			if err := os.WriteFile(filepath.Join(dir, "d", spelled(0)), nil, 0o666); err != nil {
				t.Fatal(err)
			}
			for i := range many {
				if _, _, err := take(s, lockOf("d/"+spelled(i+1), ""), tree.Condition{}); err != nil {
					t.Fatalf("lock %d: %v", i, err)
				}
			}
			// one is there, and the other not
			for _, name := range []string{"d/" + spelled(0), "d/" + spelled(many+1)} {
				v := s.newView()
				locks, err := v.Locks(name)
				if err != nil || len(locks) > 0 {
					t.Errorf("%q has %d locks, error %v", name, len(locks), err)
				}
				if about == "case" && len(v.looks) > 10 {
					t.Errorf("it takes %d looks", len(v.looks))
				}
				if len(v.looks) > locktable.MaxLooked+10 {
					t.Errorf("it takes %d looks", len(v.looks))
				}
			}
		})
	}
}
