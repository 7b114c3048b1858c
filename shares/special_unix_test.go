//go:build unix

package shares_test

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"r-seed-1f3a754f.example/ifmatch/shares"
	"r-seed-1f3a754f.example/ifmatch/tree"
	"r-seed-1f3a754f.example/ifmatch/tree/memtree"
)

// TestMovesOfLinksAndPipes: a link is not lost, and not left out. A pipe is not served, and stays in the history.
func TestMovesOfLinksAndPipes(t *testing.T) {
	for _, test := range []struct {
		name string
		make func(dir string) error
		from string
		want error
		left []string // where the link is still there
	}{
		{"a link in it", func(dir string) error { return os.Symlink("../f", dir+"/d/l") }, "a/d", tree.ErrNotServed, []string{"d/l"}},
		{"a link to nothing in it", func(dir string) error { return os.Symlink("none", dir+"/d/l") }, "a/d", tree.ErrUnsure,
			[]string{"d/l"}},
		{"a link", func(dir string) error { return os.Symlink("f", dir+"/l") }, "a/l", tree.ErrNotServed, []string{"l"}},
		{"a file behind a link", func(dir string) error { return os.Symlink("d", dir+"/l") }, "a/l/g", tree.ErrNotServed,
			[]string{"l", "d/g"}},
		{"a pipe in it", func(dir string) error { return syscall.Mkfifo(dir+"/d/p", 0o666) }, "a/d", nil, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			a := openDir(t, dir, "", time.Now)
			s := two(t, shares.Share{Path: "a", Store: a}, shares.Share{Path: "b", Store: memtree.New(memtree.Options{})})
			t.Cleanup(func() { s.Close() })
			f := &fixture{Store: s, t: t}
			if err := mkdir(f, "a/d"); err != nil {
				t.Fatal(err)
			}
			for _, name := range []string{"a/f", "a/d/g"} {
				if _, err := f.put(name, "1"); err != nil {
					t.Fatal(err)
				}
			}
			if err := test.make(dir); err != nil {
				t.Skip("NOT RUN: ", err)
			}
			if _, _, err := s.Move(t.Context(), test.from, "b/x", tree.CopyOptions{}, tree.Condition{}); !errors.Is(err, test.want) {
				t.Errorf("got error %v, want %v", err, test.want)
			}
			for _, name := range test.left {
				if _, err := os.Lstat(filepath.Join(dir, name)); err != nil {
					t.Error(err)
				}
			}
			if _, err := os.Lstat(filepath.Join(dir, "d/g")); (err == nil) != (test.want != nil) {
				t.Errorf("the file: %v", err)
			}
		})
	}
}
