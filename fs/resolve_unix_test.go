//go:build unix

package fs

import (
	"errors"
	iofs "io/fs"
	"maps"
	"strings"
	"testing"

	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
	"r-seed-1f3a754f.example/ifmatch/fs/volumes"
)

// A name through a link takes few looks, however deep it is.
func TestWalkTakesFewLooks(t *testing.T) {
	dir := t.TempDir()
	deep := strings.Repeat("d/", 500)
	lay(t, dir, deep, deep+"end => ../end", "l => d")
	looks := 0
	s := openTest(t, dir, Options{Before: func(c vfs.Call) error {
		if c.Op == "lstat" {
			looks++
		}
		return nil
	}})
	for name, want := range map[string]int{
		deep + "f":                     1, // nothing is followed
		"l/" + deep[len("d/"):]:        14,
		"l/" + deep[len("d/"):] + "no": 14,
		deep + "end/f":                 14,
	} {
		looks = 0
		_, err := s.Stat(strings.TrimSuffix(name, "/"))
		if looks > want || err != nil && !errors.Is(err, iofs.ErrNotExist) {
			t.Errorf("%.20s… takes %d looks, error %v; want %d at the most", name, looks, err, want)
		}
	}
}

// Each segment that may be a short name of the state directory costs a look at the disk. A name with more such segments
// than a real name has is reserved without a look.
func TestManyShortNamesAreReserved(t *testing.T) {
	const maxShort = 8
	dir := t.TempDir()
	lay(t, dir, strings.Repeat("if~1/", maxShort))
	looks := 0
	s := openTest(t, dir, Options{Before: func(vfs.Call) error { looks++; return nil }})
	if _, err := s.Lstat(strings.TrimSuffix(strings.Repeat("if~1/", maxShort), "/")); err != nil {
		t.Error(err)
	}
	looks = 0
	for _, name := range []string{strings.Repeat("if~1/", maxShort+1), strings.Repeat("IFMATC~1/", 1000),
		strings.Repeat("a/if~/", 500)} {
		if _, err := s.Lstat(strings.TrimSuffix(name, "/")); !errors.Is(err, volumes.ErrReserved) {
			t.Errorf("Lstat(%.20s…): error %v", name, err)
		}
	}
	if looks > 3*2*maxShort {
		t.Errorf("it takes %d looks", looks)
	}
}

// Each look that a link has led elsewhere asks first, with the name without links or with the error. A look at a name
// without links does not ask.
func TestLooksThroughLinksAsk(t *testing.T) {
	dir := t.TempDir()
	lay(t, dir, "d/", "d/f", "d/g => f", "file => d/f", "dir => d", "chain => dir", "nowhere => none", "out => ..",
		"loop => loop")
	s := openTest(t, dir, Options{})
	refused := errors.New("refused")
	for _, tt := range []struct {
		name, at string
		led, ok  bool
	}{
		{name: "d/f"}, {name: "d"}, {name: "none"},
		{"file", "d/f", true, true}, {"dir", "d", true, true}, {"chain", "d", true, true},
		{"dir/f", "d/f", true, true}, {"chain/g", "d/f", true, true}, {"d/g", "d/f", true, true},
		{name: "dir/none", at: "d/none", led: true}, {name: "nowhere", led: true}, {name: "nowhere/f", led: true},
		{name: "out", led: true}, {name: "loop", led: true}, {name: "dir/.ifmatch"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			asked := 0
			n := s.Snapshot()
			n.Follow = func(at string, err error) error {
				if asked++; (err == nil) != tt.ok || tt.ok && at != tt.at {
					t.Errorf("it asks about %q, %v", at, err)
				}
				return refused
			}
			if err := n.Begin(t.Context()); err != nil {
				t.Fatal(err)
			}
			_, looked := n.Stat(tt.name)
			f, _, opened := n.OpenIf(tt.name, nil)
			_, listed := n.OpenDir(tt.name, volumes.DirOptions{})
			if f != nil {
				f.Close()
			}
			if !tt.led {
				if asked != 0 {
					t.Errorf("it has asked %d times", asked)
				}
				return
			}
			if asked != 3 || looked != refused || opened != refused || listed != refused {
				t.Errorf("it has asked %d times: %v, %v, %v", asked, looked, opened, listed)
			}
		})
	}
}

// The members of a collection to which a link has led have the names at which they are.
func TestMembersThroughLinksHaveTheirNames(t *testing.T) {
	dir := t.TempDir()
	lay(t, dir, "d/", "d/f", "d/g => ../e/h", "e/", "e/h", "dir => d")
	s := openTest(t, dir, Options{})
	for name, want := range map[string]map[string]string{
		"d": {"f": "", "g": "e/h"}, "dir": {"f": "d/f", "g": "e/h"},
	} {
		d, err := s.OpenDir(name, volumes.DirOptions{Follow: true})
		if err != nil {
			t.Fatal(err)
		}
		members, err := d.Next(10)
		d.Close()
		got := map[string]string{}
		for _, m := range members {
			got[m.Name] = m.At
		}
		if !maps.Equal(got, want) {
			t.Errorf("%s: %v, %v, want %v", name, got, err, want)
		}
	}
}
