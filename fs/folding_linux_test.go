package fs

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
	"r-seed-1f3a754f.example/ifmatch/fs/volumes"
	"r-seed-1f3a754f.example/ifmatch/internal/folding"
)

// foldingTest mounts a file system on dir/usb, with names of its own.
func foldingTest(t *testing.T, rules folding.Rules) (dir string) {
	t.Helper()
	dir = t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "usb"), 0o777); err != nil {
		t.Fatal(err)
	}
	folding.Mount(t, filepath.Join(dir, "usb"), rules)
	return dir
}

func formsOnly(rules folding.Rules) bool { return strings.HasPrefix(rules.Name, "normal forms only") }

// Whichever call fails that spells a name anew, what has the name is there, under the one or the other, and the next
// try finds nothing in its way.
func TestRespellFails(t *testing.T) {
	for _, rules := range folding.All {
		t.Run(rules.Name, func(t *testing.T) {
			other := strings.ToUpper
			if formsOnly(rules) {
				other = func(s string) string { return strings.ReplaceAll(s, "\u00fc", "u\u0308") }
			}
			for fail := 1; ; fail++ {
				dir := foldingTest(t, rules)
				n, armed := 0, false
				s := openTest(t, dir, Options{History: true, Before: func(vfs.Call) error {
					if armed {
						if n++; n == fail {
							return syscall.EIO
						}
					}
					return nil
				}})
				createTest(t, s, "usb/d\u00fc", "1")
				from, to := "usb/d\u00fc", "usb/"+other("d\u00fc")
				source, over := see(t, s, from), see(t, s, to)
				armed = true
				err := moveTest(s, from, source, to, over, How{Exact: true, Cause: "MOVE"})
				armed = false
				has(t, dir, from, "1")
				has(t, dir, to, "1")
				if entries, _ := os.ReadDir(filepath.Join(dir, "usb")); len(entries) != 2 {
					t.Errorf("failing at %d: there is %v", fail, entries)
				}
				if n < fail {
					if err != nil {
						t.Error(err)
					}
					if !s.IsListed(to) {
						t.Errorf("it is not called %q", to)
					}
					break
				}
				if err := moveTest(s, from, see(t, s, from), to, see(t, s, to), How{Exact: true}); err != nil {
					t.Errorf("failing at %d: and then %v", fail, err)
				}
				has(t, dir, to, "1")
				s.Close()
			}
		})
	}
}

// A process that dies while it spells a name anew leaves it to the next to give it back.
func TestRespellDies(t *testing.T) {
	rules, err := folding.Named("casefold of ext4, APFS")
	if err != nil {
		t.Fatal(err)
	}
	for dies, done := 1, false; !done; dies++ {
		dir := foldingTest(t, rules)
		n, armed := 0, false
		s := openTest(t, dir, Options{Before: func(vfs.Call) error {
			if armed {
				if n++; n >= dies {
					return syscall.EIO
				}
			}
			return nil
		}})
		createTest(t, s, "usb/readme", "1")
		source := see(t, s, "usb/readme")
		armed = true
		done = moveTest(s, "usb/readme", source, "usb/README", source, How{Exact: true, Cause: "MOVE"}) == nil &&
			n < dies
		abandon(s)
		next := openTest(t, dir, Options{})
		if err := recoverTest(t, next); err != nil {
			t.Errorf("dying at %d: %v", dies, err)
		}
		has(t, dir, "usb/ReadMe", "1")
		next.Close()
	}
}

// What two names have in common decides whether they are spellings of one: not what the disk of the root does.
func TestSameName(t *testing.T) {
	for _, test := range []struct {
		rules  string // "" for the disk of the root
		layout []string
		links  [2]string // a second name, of a file
		a, b   string
		want   bool
	}{
		{rules: "", layout: []string{"usb/f=1", "usb/F=1"}, a: "usb/f", b: "usb/F", want: false},
		{rules: "", layout: []string{"usb/d/", "usb/D/"}, a: "usb/d", b: "usb/D", want: false},
		{rules: "", layout: []string{"usb/f=1"}, links: [2]string{"usb/f", "usb/F"}, a: "usb/f", b: "usb/F",
			want: false},
		{rules: "", layout: []string{"usb/d/", "usb/D/", "usb/d/f=1"}, links: [2]string{"usb/d/f", "usb/D/F"},
			a: "usb/d/f", b: "usb/D/F", want: false},
		{rules: "NTFS, by a program", layout: []string{"usb/f=1"}, a: "usb/f", b: "usb/F", want: true},
		{rules: "NTFS, by a program", layout: []string{"usb/d/", "usb/d/f=1"}, a: "usb/d/f", b: "usb/D/F", want: true},
		{rules: "NTFS, by a program", layout: []string{"usb/\ufb01=1", "usb/fi=1"}, a: "usb/\ufb01", b: "usb/fi",
			want: false},
		{rules: "casefold of ext4, APFS", layout: []string{"usb/d/", "usb/d/f=1"}, a: "usb/d/f", b: "usb/D/F",
			want: true},
		{rules: "casefold of ext4, APFS", layout: []string{"usb/f=1"}, links: [2]string{"usb/f", "usb/g"}, a: "usb/f",
			b: "usb/F", want: true},
		{rules: "casefold of ext4, APFS", layout: []string{"usb/f=1"}, links: [2]string{"usb/f", "usb/f."}, a: "usb/f",
			b: "usb/f.", want: false},
		{rules: "casefold of ext4, APFS", layout: []string{"usb/f=1"}, links: [2]string{"usb/f", "usb/f."}, a: "usb/F",
			b: "usb/f", want: true},
		{rules: "FAT", layout: []string{"usb/a long name=1", "usb/another=1"}, a: "usb/ALONGN~1", b: "usb/a long name",
			want: true},
		{rules: "FAT", layout: []string{"usb/a long name=1", "usb/another=1"}, a: "usb/ALONGN~1", b: "usb/another",
			want: false},
		{rules: "exFAT, by a program", layout: []string{"usb/f=1", "usb/g=1"}, a: "usb/f", b: "usb/g", want: false},
		{rules: "exFAT, by a program", layout: []string{"usb/f=1", "usb/d/"}, a: "usb/f", b: "usb/F", want: true},
		{rules: "exFAT, by a program", layout: []string{"usb/f=1", "usb/f.=1", "usb/f =1"}, a: "usb/f", b: "usb/F",
			want: true},
		{rules: "exFAT, by a program", layout: []string{"usb/f=1", "usb/f.=1"}, a: "usb/F", b: "usb/F.", want: false},
		{rules: "a mirror, by a program", layout: []string{"usb/f=1", "usb/d/"}, a: "usb/f", b: "usb/F", want: true},
	} {
		t.Run(fmt.Sprint(test.rules, test.a, test.b), func(t *testing.T) {
			dir := t.TempDir()
			if err := os.Mkdir(filepath.Join(dir, "usb"), 0o777); err != nil {
				t.Fatal(err)
			}
			if test.rules != "" {
				rules, err := folding.Named(test.rules)
				if err != nil {
					t.Fatal(err)
				}
				folding.Mount(t, filepath.Join(dir, "usb"), rules)
			}
			lay(t, dir, test.layout...)
			if test.links[0] != "" {
				if err := os.Link(filepath.Join(dir, test.links[0]), filepath.Join(dir, test.links[1])); err != nil {
					t.Fatal(err)
				}
			}
			s := openTest(t, dir, Options{})
			for _, names := range [][2]string{{test.a, test.b}, {test.b, test.a}} {
				if got := s.SameName(names[0], see(t, s, names[0]), names[1], see(t, s, names[1])); got != test.want {
					t.Errorf("%q and %q: %v", names[0], names[1], got)
				}
			}
		})
	}
}

// What was replaced by another spelling of a name is in the history of that.
func TestHistoryInAnySpelling(t *testing.T) {
	rules, err := folding.Named("casefold of ext4, APFS")
	if err != nil {
		t.Fatal(err)
	}
	dir := foldingTest(t, rules)
	s := openTest(t, dir, Options{History: true})
	lay(t, dir, "usb/d/", "f=1")
	createTest(t, s, "usb/d/f", "1")
	removeTest(t, s, "usb/D/F")
	createTest(t, s, "usb/d/f", "2")
	removeTest(t, s, "usb/d/f")
	removeTest(t, s, "f")
	keeps(t, s, "usb/d/f", "1", "2")
	keeps(t, s, "usb/d/F", "1", "2")
	keeps(t, s, "f", "1")
	keeps(t, s, "F")
	s.Close()
	keeps(t, openTest(t, dir, Options{ReadOnly: true}), "usb/d/f", "1", "2")
}

// The state directory of a disk below has no other name either, whether or not anything was written there.
func TestReservedBelow(t *testing.T) {
	for _, rules := range folding.All {
		t.Run(rules.Name, func(t *testing.T) {
			dir := foldingTest(t, rules)
			s := openTest(t, dir, Options{History: true})
			createTest(t, s, "usb/f", "1")
			if able := s.AbilitiesOf(see(t, s, "usb/f")); able.Aliases == formsOnly(rules) || s.Abilities().Aliases {
				t.Errorf("of the disk: %+v; of the root: %+v", able, s.Abilities())
			}
			s.Close()
			for _, opts := range []Options{{}, {ReadOnly: true}} {
				s := openTest(t, dir, opts)
				for _, name := range []string{".ifmatch", ".IFMATCH", ".ifmatch.", ".ifmatch ", ".if\u00admatch",
					"IFMATC~1", "ifmatc~1", "IFMATC~1."} {
					for _, below := range []string{"", "/format"} {
						name := "usb/" + name + below
						_, failed := os.Lstat(filepath.Join(dir, name))
						_, err := s.Stat(name)
						if failed == nil && !errors.Is(err, volumes.ErrReserved) || failed != nil &&
							!errors.Is(err, volumes.ErrReserved) && !errors.Is(err, os.ErrNotExist) {
							t.Errorf("%+v: %q: %v (the disk says %v)", opts, name, err, failed)
						}
					}
				}
				s.Close()
			}
		})
	}
}
