package fs

import (
	"errors"
	iofs "io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/text/unicode/norm"

	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
	"r-seed-1f3a754f.example/ifmatch/fs/volumes"
	"r-seed-1f3a754f.example/ifmatch/internal/folding"
)

// counted counts what is renewed.
type counted struct {
	vfs.System
	renewed *atomic.Int64
}

func (c counted) Renew(at vfs.At, dir, name string) {
	c.renewed.Add(1)
	c.System.Renew(at, dir, name)
}

// replaceTest gives a name another content.
func replaceTest(t *testing.T, s *FS, name, content string) {
	t.Helper()
	st, err := s.Stage(name)
	if err != nil {
		t.Fatal(err)
	}
	defer st.Discard()
	if _, err := st.Write([]byte(content)); err != nil {
		t.Fatal(err)
	}
	if err := s.Commit(st, name, see(t, s, name), How{Exact: true}); err != nil {
		t.Fatal(err)
	}
}

// What a process has done by one spelling of a name, every process sees by the others at once, whatever the kernel
// remembers.
func TestNamesAreRenewed(t *testing.T) {
	for _, rules := range folding.All {
		if !rules.Cached {
			continue
		}
		for _, system := range []struct {
			name string
			open func(string, vfs.Hook) (*vfs.FS, error)
		}{{"by descriptors", vfs.Open}, {"by paths", vfs.OpenRoot}} {
			for _, at := range []string{"", "usb/"} {
				t.Run(rules.Name+" "+system.name+" "+at, func(t *testing.T) {
					dir := t.TempDir()
					if at != "" {
						lay(t, dir, at)
					}
					folding.Mount(t, filepath.Join(dir, at), rules)
					process := func() *FS {
						calls, err := system.open(dir, nil)
						if err != nil {
							t.Fatal(err)
						}
						s, err := open(calls, Options{History: true})
						if err != nil {
							t.Fatal(err)
						}
						t.Cleanup(func() { s.Close() })
						return s
					}
					testRenewal(t, process, at)
				})
			}
		}
	}
}

func testRenewal(t *testing.T, process func() *FS, at string) {
	// Two cases, and two normal forms of the one letter: each disk takes some of them for one.
	other := norm.NFD.String
	one, two := at+"d\u00fc", at+other("d\u00fc")
	a := process()
	lay(t, a.calls.HostPath("."), at+"d\u00fc/", "f=1")
	createTest(t, a, one+"/f\u00fc", "1")
	if _, err := a.Lstat(two); err != nil {
		other = strings.ToUpper
		two = at + other("d\u00fc")
	}
	fileA, fileB := one+"/f\u00fc", two+"/"+other("f\u00fc")
	b := process()
	createTest(t, b, at+"b", "1") // it has been met there
	for _, names := range [][2]string{{fileA, fileB}, {fileB, fileA}} {
		written, read := names[0], names[1]
		for _, reader := range []*FS{a, b} {
			see(t, reader, read)
			replaceTest(t, a, written, "22")
			if was, is := see(t, a, written), see(t, reader, read); !is.SameFile(was) || is.Size != 2 {
				t.Errorf("after a commit by %q, %q is %+v, and not %+v", written, read, is, was)
			}
			if f, info, err := reader.Open(read); err != nil || info.Size != 2 {
				t.Errorf("Open(%q): %+v, %v", read, info, err)
			} else {
				f.Close()
			}
			listed, err := reader.OpenDir(filepath.Dir(read), volumes.DirOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if members, err := listed.Next(10); err != nil || len(members) != 1 || members[0].Size != 2 {
				t.Errorf("listed are %+v, %v", members, err)
			}
			listed.Close()
			replaceTest(t, reader, read, "4444")
			if got := see(t, a, written); got.Size != 4 {
				t.Errorf("after a commit by %q, %q is %+v", read, written, got)
			}
			removeTest(t, a, written)
			if info, err := reader.Lstat(read); !errors.Is(err, iofs.ErrNotExist) {
				t.Errorf("after a removal by %q, %q is %+v, %v", written, read, info, err)
			}
			createTest(t, a, written, "1")
			see(t, reader, read)
			if err := moveTest(a, written, see(t, a, written), at+"moved", vfs.Info{}, How{Exact: true}); err != nil {
				t.Fatal(err)
			}
			if info, err := reader.Lstat(read); !errors.Is(err, iofs.ErrNotExist) {
				t.Errorf("after a move of %q, %q is %+v, %v", written, read, info, err)
			}
			if err := moveTest(a, at+"moved", see(t, a, at+"moved"), written, vfs.Info{}, How{Exact: true}); err != nil {
				t.Fatal(err)
			}
			see(t, reader, read)
		}
	}
	removeTest(t, a, one)
	if info, err := b.Lstat(fileB); !errors.Is(err, iofs.ErrNotExist) {
		t.Errorf("in a directory that was removed %q is %+v, %v", fileB, info, err)
	}
}

// An open file is taken for the version that is read of it, whenever the name by which it was opened comes to stand for
// another one; and a look at it afterwards is not one at that.
func TestOpenFileIsWhatIsReadOfIt(t *testing.T) {
	for _, rules := range folding.All {
		if formsOnly(rules) {
			continue
		}
		for _, op := range []string{"open", "fstat"} {
			t.Run(rules.Name+" "+op, func(t *testing.T) {
				dir := foldingTest(t, rules)
				a := openTest(t, dir, Options{History: true})
				createTest(t, a, "usb/readme", "1")
				var b *FS
				armed := false
				b = openTest(t, dir, Options{Before: func(c vfs.Call) error {
					if armed && c.Op == op && c.Name == "usb/README" {
						armed = false
						replaceTest(t, a, "usb/readme", "22")
					}
					return nil
				}})
				armed = true
				f, info, err := b.Open("usb/README")
				if err != nil {
					t.Fatal(err)
				}
				defer f.Close()
				content := make([]byte, 10)
				n, _ := f.ReadAt(content, 0)
				if armed || int64(n) != info.Size {
					t.Errorf("%q was read, and it is %+v", content[:n], info)
				}
				again, err := f.Stat()
				if err != nil || again.Size != info.Size {
					t.Errorf("a look at it is %+v, %v", again, err)
				}
				replaceTest(t, a, "usb/readme", "333")
				again, err = f.Stat()
				if err == nil && again.Size != int64(n) || err != nil && !errors.Is(err, volumes.ErrMoved) {
					t.Errorf("%q was read, and a look at it is %+v, %v", content[:n], again, err)
				}
			})
		}
	}
}

// A process that has not written to a disk yet may have looked at what the kernel remembers. Then nothing gives way by
// that look.
func TestFirstCommitIsByANewLook(t *testing.T) {
	for _, name := range []string{"one with a cache", "normal forms only, with a cache"} {
		rules, err := folding.Named(name)
		if err != nil {
			t.Fatal(err)
		}
		one, two := "usb/f\u00fc", "usb/F\u00dc"
		if formsOnly(rules) {
			two = norm.NFD.String(one)
		}
		for _, step := range []struct {
			name string
			do   func(s *FS, seen vfs.Info) error
		}{
			{"remove", func(s *FS, seen vfs.Info) error { return s.Remove(s.At(two), seen, How{Cause: "DELETE"}) }},
			{"move", func(s *FS, seen vfs.Info) error { return moveTest(s, two, seen, "usb/other", vfs.Info{}, How{}) }},
		} {
			t.Run(name+" "+step.name, func(t *testing.T) {
				dir := foldingTest(t, rules)
				a, b := openTest(t, dir, Options{History: true}), openTest(t, dir, Options{History: true})
				createTest(t, a, one, "1")
				seen := see(t, b, two)
				replaceTest(t, a, one, "22")
				if err := step.do(b, seen); !errors.Is(err, volumes.ErrMoved) {
					t.Errorf("the error is %v", err)
				}
				has(t, dir, one, "22")
				if err := step.do(b, see(t, b, two)); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

// Where each name is one, and where nothing is remembered between two looks by different spellings, nothing is renewed;
// and no directory is ever listed to find out what a name stands for.
func TestOnlyFoldingNamesAreRenewed(t *testing.T) {
	caseSensitive := folding.Rules{Name: "case-sensitive", Fold: func(name string) string { return name }, Cached: true}
	folds, err := folding.Named("one with a cache")
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name  string
		rules *folding.Rules // nil for the disk of the root
		want  bool
	}{{"the disk of the root", nil, false}, {"case-sensitive", &caseSensitive, false}, {"folding", &folds, true}} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			lay(t, dir, "usb/")
			if test.rules != nil {
				folding.Mount(t, filepath.Join(dir, "usb"), *test.rules)
			}
			var renewed atomic.Int64
			var listed []string
			disk, err := vfs.Open(dir, nil)
			if err != nil {
				t.Fatal(err)
			}
			s, err := open(vfs.New(counted{disk.System(), &renewed}, func(c vfs.Call) error {
				if (c.Op == "names" || c.Op == "kinds") && !strings.Contains(c.Name, volumes.OwnDir) {
					listed = append(listed, c.String())
				}
				return nil
			}), Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			createTest(t, s, "usb/f", "1")
			replaceTest(t, s, "usb/f", "2")
			f, _, err := s.Open("usb/f")
			if err != nil {
				t.Fatal(err)
			}
			f.Close()
			removeTest(t, s, "usb/f")
			if got := renewed.Load() > 0; got != test.want {
				t.Errorf("%d names were renewed", renewed.Load())
			}
			if len(listed) > 0 {
				t.Errorf("it took %q", listed)
			}
			was := renewed.Load()
			lay(t, dir, "g=1")
			see(t, s, "g")
			if renewed.Load() != was {
				t.Error("a name on another disk was renewed")
			}
		})
	}
}

// forgetful is a kernel that renews nothing.
type forgetful struct{ vfs.System }

func (forgetful) Renew(vfs.At, string, string) {}

// Where the kernel does not ask again, it is told.
func TestStaleNames(t *testing.T) {
	for _, rules := range folding.All {
		for _, asks := range []bool{true, false} {
			dir := foldingTest(t, rules)
			calls, err := vfs.Open(dir, nil)
			if err != nil {
				t.Fatal(err)
			}
			if !asks {
				calls = vfs.New(forgetful{calls.System()}, nil)
			}
			s, err := open(calls, Options{})
			if err != nil {
				t.Fatal(err)
			}
			createTest(t, s, "usb/f", "1")
			able := s.AbilitiesOf(see(t, s, "usb/f"))
			want := !asks && rules.Cached && !rules.Numbered // else each spelling is looked up by what it is
			if able.Stale != want || strings.Contains(able.String(), "the kernel remembers") != want {
				t.Errorf("%s, asked again %v: %v", rules.Name, asks, able)
			}
			if left, err := os.ReadDir(filepath.Join(dir, "usb", volumes.OwnDir, volumes.StagePart,
				s.ID)); err != nil || len(left) != 1 {
				t.Errorf("%s: it has left %v, %v", rules.Name, left, err)
			}
			s.Close()
		}
	}
}

// To renew a name makes and changes nothing, whether or not it is there, and what is on the way to it.
func TestRenewalChangesNothing(t *testing.T) {
	for name, openTree := range map[string]func(string, vfs.Hook) (*vfs.FS, error){"descriptors": vfs.Open,
		"paths": vfs.OpenRoot} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			lay(t, dir, "d/", "d/f=1", "l => d", "dead => nowhere")
			calls, err := openTree(dir, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer calls.Close()
			sub, err := calls.OpenDir("d")
			if err != nil {
				t.Fatal(err)
			}
			defer sub.Close()
			before := tree(t, dir)
			for _, in := range []string{".", "d", "d/f", "l", "none"} {
				for _, name := range []string{"", ".", "..", "d", "d/f", "d/none/f", "none", "l/f", "dead", "../d",
					"d/../f", strings.Repeat("x", 300)} {
					calls.System().Renew(vfs.At{}, in, name)
				}
			}
			if after := tree(t, dir); !slices.Equal(before, after) {
				t.Errorf("there was\n%q\nand now\n%q", before, after)
			}
		})
	}
}

// tree lists what is in a directory, with links and modes.
func tree(t *testing.T, dir string) (all []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(name string, _ iofs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := os.Lstat(name)
		if err == nil {
			all = append(all, name+" "+info.Mode().String()+" "+info.ModTime().String())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}
