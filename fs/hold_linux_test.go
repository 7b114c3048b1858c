package fs

import (
	"errors"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
	"r-seed-1f3a754f.example/ifmatch/fs/volumes"
)

// heldBy returns which volumes another process cannot commit on, by name ("" is the root).
func heldBy(t *testing.T, other *FS) (tops []string) {
	t.Helper()
	for _, v := range other.volumes() {
		switch err := v.CommitLock.Take(t.Context(), 0); {
		case err == nil:
			v.CommitLock.Release()
		case errors.Is(err, vfs.ErrBusy):
			tops = append(tops, v.relativeTop())
		default:
			t.Fatal(err)
		}
	}
	return tops
}

func (v *volume) relativeTop() string {
	if v.Top == "." {
		return ""
	}
	return v.Top
}

// TestHoldIsOfTheVolumesOfItsScope: a commit takes the locks of the volumes that it is about, and of no other.
func TestHoldIsOfTheVolumesOfItsScope(t *testing.T) {
	dir := t.TempDir()
	lay(t, dir, "m/", "d/")
	mountTest(t, filepath.Join(dir, "m"), "")
	lay(t, dir, "d/n/")
	mountTest(t, filepath.Join(dir, "d/n"), "")
	s, other := openTest(t, dir, Options{Durability: None}), openTest(t, dir, Options{Durability: None})
	for _, one := range []*FS{s, other} {
		for _, name := range []string{"m/x", "d/n/x"} {
			if err := one.Learn(name); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, tt := range []struct {
		name   string
		scope  volumes.Scope
		want   []string
		lacks  []string // names at which it may not look
		shared bool     // it has the lock of the shared state
	}{
		{"a name at the root", volumes.Scope{Changed: []string{"f"}}, []string{""}, []string{"m", "m/f", "d/n/x/y"}, true},
		{"a name on a volume", volumes.Scope{Changed: []string{"m/f"}}, []string{"m"}, []string{"f", "d", "d/n"}, false},
		{"the top of a volume", volumes.Scope{Changed: []string{"m"}}, []string{"", "m"}, []string{"d/n"}, true},
		{"a look at the top", volumes.Scope{Seen: []string{"m"}}, []string{"m"}, []string{"", "f"}, false},
		{"names on two volumes", volumes.Scope{Changed: []string{"m/f"}, Seen: []string{"d/n/g"}}, []string{"m", "d/n"},
			[]string{"d"}, false},
		{"a condition on another volume", volumes.Scope{Changed: []string{"f"}, Seen: []string{"m/g"}}, []string{"", "m"},
			[]string{"d/n/g"}, true},
		{"all below a collection", volumes.Scope{Below: []string{"d"}}, []string{"", "d/n"}, []string{"m/f"}, true},
		{"all below the root", volumes.Scope{Below: []string{""}}, []string{"", "m", "d/n"}, nil, true},
		{"a name that some disk takes for another", volumes.Scope{Changed: []string{"M/f"}}, []string{"", "m"},
			[]string{"d/n/f"}, true},
		{"the shared state", volumes.Scope{Seen: []string{"m/f"}, Shared: true}, []string{"", "m"}, nil, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h, err := s.Hold(t.Context(), tt.scope, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer h.Release()
			if got := heldBy(t, other); !slices.Equal(sorted(got), sorted(tt.want)) {
				t.Errorf("it holds %q, want %q", got, tt.want)
			}
			for _, name := range slices.Concat(tt.scope.Changed, tt.scope.Seen, tt.scope.Below) {
				if err := h.Check(name); err != nil {
					t.Errorf("at %q: %v", name, err)
				}
			}
			for _, name := range tt.lacks {
				if lacks := new(volumes.NotHeldError); !errors.As(h.Check(name), &lacks) || lacks.Name != name {
					t.Errorf("it may look at %q", name)
				}
			}
			if err := h.CheckShared(); tt.shared != (err == nil) {
				t.Errorf("the shared state: %v", err)
			}
			err = h.WithShared(t.Context(), func(through bool) error {
				if !slices.Contains(heldBy(t, other), "") || through && !tt.shared {
					t.Errorf("the lock of the shared state is not held, or held through: %v", through)
				}
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
}

func sorted(names []string) []string { return slices.Sorted(slices.Values(names)) }

// TestPlacesOfOneFileSystemHaveOneLock: a directory of a file system is mounted at a second place. A commit at the one
// keeps out a commit at the other, of a process that knows no other place than that.
func TestPlacesOfOneFileSystemHaveOneLock(t *testing.T) {
	dir := t.TempDir()
	lay(t, dir, "m/", "twin/", "d/", "e/")
	mountTest(t, filepath.Join(dir, "m"), "")
	lay(t, dir, "m/d/")
	for _, bind := range [][2]string{{"m/d", "twin"}, {"d", "e"}} {
		at := filepath.Join(dir, bind[1])
		if err := unix.Mount(filepath.Join(dir, bind[0]), at, "", unix.MS_BIND, ""); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { unix.Unmount(at, unix.MNT_DETACH) })
	}
	for _, names := range [][2]string{{"m/d/x", "twin/x"}, {"d/x", "e/x"}} {
		s, other := openTest(t, dir, Options{Durability: None}), openTest(t, dir, Options{Durability: None})
		if err := errors.Join(s.Learn(names[0]), other.Learn(names[1])); err != nil {
			t.Fatal(err)
		}
		h, err := s.Hold(t.Context(), volumes.Scope{Changed: names[:1]}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if v := other.MayHold(names[1])[0]; !errors.Is(v.CommitLock.Take(t.Context(), 0), vfs.ErrBusy) {
			t.Errorf("%s and %s have two locks", names[0], names[1])
		}
		h.Release()
	}
}

// TestLookAtAFileSystemThatWasJustMounted: a commit holds the lock of the root, and finds that a name is on a file
// system that no name tells of yet.
func TestLookAtAFileSystemThatWasJustMounted(t *testing.T) {
	dir := t.TempDir()
	lay(t, dir, "m/", "f=1")
	s := openTest(t, dir, Options{Durability: None})
	mountTest(t, filepath.Join(dir, "m"), "")
	lay(t, dir, "m/f=2", "m/d/")
	h, err := s.Hold(t.Context(), volumes.Scope{Changed: []string{"m/f"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{"f": true, "": true, "m": false, "m/f": false, "m/d": false} {
		_, err := h.Snapshot().Lstat(name)
		_, through := h.Snapshot().Stat(name)
		lacks := new(volumes.NotHeldError)
		if want != (err == nil) || want != (through == nil) || !want && !errors.As(errors.Join(err, through), &lacks) {
			t.Errorf("%q: %v, %v; want that it is held: %v", name, err, through, want)
		}
	}
	h.Release()
	if err := s.Learn("m/f"); err != nil {
		t.Fatal(err)
	}
	if h, err = s.Hold(t.Context(), volumes.Scope{Changed: []string{"m/f"}}, nil); err != nil {
		t.Fatal(err)
	}
	defer h.Release()
	for name, want := range map[string]bool{"f": false, "m": true, "m/f": true, "m/d": true} {
		if _, err := h.Snapshot().Lstat(name); want != (err == nil) {
			t.Errorf("when it is known, %q: %v", name, err)
		}
	}
}
