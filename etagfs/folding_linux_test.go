package etagfs_test

import (
	"os"
	"testing"
	"time"

	"ifmatch/etagfs"
	"ifmatch/fs"
	"ifmatch/fs/folding"
	"ifmatch/tree"
	"ifmatch/tree/treetest"
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
						return open(t, etagfs.Options{Now: now}, below, err)
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
