package vfs_test

import (
	"errors"
	iofs "io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/spf13/afero"

	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
	"r-seed-1f3a754f.example/ifmatch/fs/vfs/aferosystem"
)

// forEachSystem runs a test with each implementation. A hook makes a line of each call.
func forEachSystem(t *testing.T, test func(t *testing.T, s *vfs.FS, trace func() string)) {
	for name, open := range map[string]func(*testing.T, vfs.Hook) (*vfs.FS, error){
		"the best that there is": func(t *testing.T, hook vfs.Hook) (*vfs.FS, error) {
			return vfs.Open(t.TempDir(), hook)
		},
		"os.Root": func(t *testing.T, hook vfs.Hook) (*vfs.FS, error) {
			return vfs.OpenRoot(t.TempDir(), hook)
		},
		"afero": func(t *testing.T, hook vfs.Hook) (*vfs.FS, error) {
			return vfs.New(aferosystem.New(afero.NewMemMapFs(), "aside"), hook), nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			var calls []string
			s, err := open(t, func(c vfs.Call) error { calls = append(calls, c.String()); return nil })
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			test(t, s, func() string { all := strings.Join(calls, "\n"); calls = nil; return all })
		})
	}
}

func write(t *testing.T, d *vfs.Dir, name, content string) {
	t.Helper()
	f, err := d.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Write([]byte(content)); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, d *vfs.Dir, name string) string {
	t.Helper()
	f, err := d.Open(name)
	if err != nil {
		return err.Error()
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	content := make([]byte, info.Size)
	if _, err := f.ReadAt(content, 0); err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// Names are resolved in a directory that was resolved before, and calls are traced by their names from the root.
func TestDir(t *testing.T) {
	forEachSystem(t, func(t *testing.T, s *vfs.FS, trace func() string) {
		for _, dir := range []string{"a", "a/b", "c"} {
			if err := s.Mkdir(dir, 0o777); err != nil {
				t.Fatal(err)
			}
		}
		b, err := s.OpenDir("a/b")
		if err != nil {
			t.Fatal(err)
		}
		defer b.Close()
		c, err := s.OpenDir("c")
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		trace()
		write(t, b, "f", "1")
		write(t, c, "g", "2")
		if err := b.RenameNewTo("f", c, "g"); !errors.Is(err, iofs.ErrExist) {
			t.Errorf("over a file: error %v", err)
		}
		if err := b.RenameNewTo("f", c, "h"); err != nil {
			t.Error(err)
		}
		want := "create a/b/f\nwrite a/b/f\ncreate c/g\nwrite c/g\nrenameNew a/b/f -> c/g\nrenameNew a/b/f -> c/h"
		if got := trace(); got != want {
			t.Errorf("traced\n%s\nwant\n%s", got, want)
		}
		if err := c.ExchangeWith("g", c, "h"); err != nil && !errors.Is(err, errors.ErrUnsupported) {
			t.Error(err)
		} else if err == nil && (read(t, c, "g") != "1" || read(t, &s.Dir, "c/h") != "2") {
			t.Errorf("exchanged: %q and %q", read(t, c, "g"), read(t, c, "h"))
		}
		if info, err := c.Lstat("h"); err != nil || info.Name != "h" || info.Kind != vfs.Regular || info.Size != 1 {
			t.Errorf("h is %+v, error %v", info, err)
		}
		if _, err := b.Lstat("f"); !errors.Is(err, iofs.ErrNotExist) {
			t.Errorf("f is there: %v", err)
		}
		if err := errors.Join(c.Remove("h"), c.RenameTo("g", b, "f")); err != nil {
			t.Error(err)
		}
		if _, err := s.OpenDir("a/b/f"); !errors.Is(err, syscall.ENOTDIR) {
			t.Errorf("a file is opened as a directory: %v", err)
		}
	})
}

// A directory that was resolved is the same after a rename where a descriptor stands for it, and what has its name then
// is another one.
func TestDirIsNoName(t *testing.T) {
	dir := t.TempDir()
	s, err := vfs.Open(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if vfs.IsPortable(s.System()) {
		t.Skip("NOT RUN: directories are names on this system")
	}
	if err := s.Mkdir("d", 0o777); err != nil {
		t.Fatal(err)
	}
	d, err := s.OpenDir("d")
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if err := errors.Join(s.Rename("d", "e"), s.Mkdir("d", 0o777)); err != nil {
		t.Fatal(err)
	}
	write(t, d, "f", "1")
	if got := read(t, &s.Dir, "e/f"); got != "1" {
		t.Errorf("the renamed directory has %q", got)
	}
	if _, err := s.Lstat("d/f"); !errors.Is(err, iofs.ErrNotExist) {
		t.Errorf("the new directory has the file: %v", err)
	}
	// Nor does a name lead out of it.
	for _, name := range []string{"..", "../e/f", "."} {
		if err := d.Remove(name); err == nil {
			t.Errorf("removed %s", name)
		}
		if f, err := d.Create(name); err == nil {
			f.Close()
			t.Errorf("created %s", name)
		}
	}
	if _, err := d.Lstat("../e/f"); err == nil {
		t.Error("looked at what is outside")
	}
}

// A link on the way is an error of each implementation, and a link at the end is looked at itself.
func TestLinkOnTheWay(t *testing.T) {
	for name, open := range map[string]func(string, vfs.Hook) (*vfs.FS, error){
		"the best that there is": vfs.Open, "os.Root": vfs.OpenRoot,
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s, err := open(dir, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			if err := os.MkdirAll(filepath.Join(dir, "d", "e"), 0o777); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink("d", filepath.Join(dir, "l")); err != nil {
				t.Skipf("NOT RUN: no links: %v", err)
			}
			if info, err := s.Lstat("l"); err != nil || info.Kind != vfs.Link {
				t.Errorf("the link is %+v, error %v", info, err)
			}
			for _, name := range []string{"l/e", "l/e/f"} {
				if _, err := s.Lstat(name); !errors.Is(err, vfs.ErrLink) {
					t.Errorf("%s: error %v", name, err)
				}
			}
			for _, name := range []string{"l", "l/e"} {
				if _, err := s.OpenDir(name); !errors.Is(err, vfs.ErrLink) && !errors.Is(err, syscall.ENOTDIR) {
					t.Errorf("directory %s: error %v", name, err)
				}
			}
		})
	}
}

// An error of the hook fails the call, which does not happen.
func TestHookFailsACall(t *testing.T) {
	full := vfs.Hook(func(c vfs.Call) error {
		if c.Op == "mkdir" || c.Op == "write" {
			return syscall.ENOSPC
		}
		return nil
	})
	s, err := vfs.Open(t.TempDir(), full)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Mkdir("d", 0o777); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("mkdir: error %v", err)
	}
	if _, err := s.Lstat("d"); !errors.Is(err, iofs.ErrNotExist) {
		t.Errorf("it is there: %v", err)
	}
	f, err := s.Create("f")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var failed *iofs.PathError
	if _, err := f.Write([]byte("1")); !errors.As(err, &failed) || failed.Op != "write" || failed.Path != "f" {
		t.Errorf("write: error %v", err)
	}
	if info, err := f.Stat(); err != nil || info.Size != 0 {
		t.Errorf("it was written: %+v, error %v", info, err)
	}
}
