package locktable

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"r-seed-1f3a754f.example/ifmatch/fs"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

// A looker looks at a directory in which no names are one.
type looker struct{ *fs.FS }

func (looker) SameName(string, string) bool { return false }
func (looker) IsHeld(string) error          { return nil }
func (looker) IsHeldBelow(string) error     { return nil }
func (looker) IsNow() bool                  { return true }

// However many spellings are asked about, a lock that the disk was not asked about counts.
func TestLocksCountWhereTheDiskIsNotAsked(t *testing.T) {
	dir := t.TempDir()
	below, err := fs.Open(dir, fs.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer below.Close()
	spelled := func(n int) string { return "a" + strings.Repeat("\u00ad", n) } // which some disk takes for one
	for i := range 3 {
		if err := os.WriteFile(filepath.Join(dir, spelled(i)), nil, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	table := New(below, time.Now, func(err error) { t.Error(err) })
	if err := table.Take(tree.Lock{Token: "urn:1", Root: spelled(0), Expires: time.Now().Add(time.Hour)}); err != nil {
		t.Fatal(err)
	}
	v := table.View(looker{below})
	v.alike, v.cased = map[[2]string]bool{}, map[[2]string]bool{}
	if locks, err := v.Locks(spelled(1)); err != nil || len(locks) != 0 {
		t.Errorf("where the disk is asked: got %+v, error %v", locks, err)
	}
	v = table.View(looker{below})
	v.alike, v.cased = map[[2]string]bool{}, map[[2]string]bool{}
	for i := range MaxLooked {
		v.alike[[2]string{fmt.Sprint(i)}] = false
	}
	if locks, err := v.Locks(spelled(1)); err != nil || len(locks) != 1 {
		t.Errorf("got %+v, error %v", locks, err)
	}
}

func TestDifferInCase(t *testing.T) {
	for _, tt := range []struct{ a, b, want string }{
		{"a", "A", "x"}, {"d/a/f", "D/a/F", "x=x"}, {"a", "b", ""}, {"a", "a\u00ad", ""}, {"\u00e9a", "\u00e9A", "x"},
		{"\u00e9", "\u00c9", ""},
		{"a/b", "a_b", ""}, {"[", "{", ""},
	} {
		if got := differInCase(tt.a, tt.b); got != tt.want {
			t.Errorf("%q, %q: got %q, want %q", tt.a, tt.b, got, tt.want)
		}
	}
}
