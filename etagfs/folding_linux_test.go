package etagfs_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"r-seed-1f3a754f.example/ifmatch/etagfs"
	"r-seed-1f3a754f.example/ifmatch/fs"
	"r-seed-1f3a754f.example/ifmatch/internal/folding"
	"r-seed-1f3a754f.example/ifmatch/tree"
	"r-seed-1f3a754f.example/ifmatch/tree/treetest"
)

var spellings = map[string][]treetest.Spelling{
	"casefold of ext4, APFS": {inAnyCase, inAnyForm, unseen},
	"FAT":                    {inAnyCase, withDots, shortened},
	"exFAT, by a program":    {inAnyCase},
	"NTFS, by a program":     {inAnyCase},
	"a mirror, by a program": {inAnyCase},
	"one with a cache":       {inAnyCase},
	"normal forms only":      {inAnyForm},

	"normal forms only, with a cache": {inAnyForm},
}

// TestFolding: a disk that takes several names for one keeps all promises, for names that are one to nobody else.
func TestFolding(t *testing.T) {
	for _, rules := range folding.All {
		t.Run(rules.Name, func(t *testing.T) {
			mount := t.TempDir()
			folding.Mount(t, mount, rules)
			b := treetest.Backend{
				Open: func(t *testing.T, now func() time.Time) (tree.Store, func() tree.Store) {
					dir, err := os.MkdirTemp(mount, "")
					if err != nil {
						t.Fatal(err)
					}
					openDir := func() (*etagfs.Store, func()) {
						below, err := fs.Open(dir, fs.Options{Durability: fs.None})
						return open(t, etagfs.Options{Now: now, Journal: true}, below, err)
					}
					s, closeNow := openDir()
					return s, func() tree.Store {
						closeNow()
						s, closeNow = openDir()
						return s
					}
				},
				ForgetsDates: "the index of such a disk is kept in memory",
				NoHistory:    "it is opened without one",
				Spellings:    spellings[rules.Name],
			}
			if rules.Plain {
				b.NoProperties = "the disk has no extended attributes"
			}
			if rules.Stored != nil {
				b.Trims = "the disk has names without what they end in"
			}
			if rules.Name == "casefold of ext4, APFS" {
				treetest.Run(t, b)
			} else {
				treetest.RunNames(t, b)
			}
		})
	}
}

// A lock binds in all spellings that the disk takes for one, however many of them are asked about at once.
func TestLockBindsInManySpellings(t *testing.T) {
	mount := t.TempDir()
	folding.Mount(t, mount, folding.All[0])
	below, err := fs.Open(mount, fs.Options{Durability: fs.None})
	s, closeNow := open(t, etagfs.Options{}, below, err)
	defer closeNow()
	spelled := func(n int) string {
		name := []byte("abcdefghijkl")
		for i := range name {
			if n>>i&1 == 1 {
				name[i] -= 'a' - 'A'
			}
		}
		return string(name)
	}
	if _, _, err := s.Lock(ctx, tree.LockRequest{Root: spelled(0), Timeout: time.Hour}, tree.Condition{}); err != nil {
		t.Fatal(err)
	}
	err = s.Try(ctx, treetest.If(func(v tree.View) error {
		for n := range 1100 { // more than are looked at
			if locks, err := v.Locks(spelled(n)); err != nil || len(locks) != 1 {
				t.Errorf("%q has the locks %+v, error %v", spelled(n), locks, err)
			}
		}
		return nil
	}))
	if err != nil {
		t.Error(err)
	}
}

// On a disk with short names, a listing tells of the lock of a file by whichever name that was taken, and locks of
// others that look short are in nobody's way.
func TestShortNamesBesideManyLocks(t *testing.T) {
	rules, err := folding.Named("FAT")
	if err != nil {
		t.Fatal(err)
	}
	mount := t.TempDir()
	folding.Mount(t, mount, rules)
	below, err := fs.Open(mount, fs.Options{Durability: fs.None})
	s, closeNow := open(t, etagfs.Options{}, below, err)
	defer closeNow()
	for _, name := range []string{"a long name.text", "another long name", "l.txt", "SHORT~1"} {
		if err := os.WriteFile(filepath.Join(mount, name), nil, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	roots := []string{"ALONGN~1.TEX", "SHORT~1"}
	for i := range 100 {
		roots = append(roots, fmt.Sprintf("L~%d", i))
	}
	for _, root := range roots {
		if _, _, err := s.Lock(ctx, tree.LockRequest{Root: root, Timeout: time.Hour}, tree.Condition{}); err != nil {
			t.Fatalf("%s: %v", root, err)
		}
	}
	for state, err := range s.List(ctx, "", tree.ListOptions{Want: tree.WantLocks, Depth: 1}, tree.Condition{}) {
		want := 1
		if state.Name == "" || state.Name == "another long name" || state.Name == "l.txt" {
			want = 0
		}
		if err != nil || len(state.Locks) != want {
			t.Errorf("%q has the locks %+v, want %d, error %v", state.Name, state.Locks, want, err)
		}
	}
	for _, tt := range []struct {
		name string
		want bool
	}{{"a long name.text", false}, {"l.txt", true}, {"l new", true}, {"ANOTHE~1", true}, {"another long name", false}} {
		_, _, err := s.Lock(ctx, tree.LockRequest{Root: tt.name, Timeout: time.Hour}, tree.Condition{})
		if (err == nil) != tt.want {
			t.Errorf("Lock(%q): %v", tt.name, err)
		}
	}
}
