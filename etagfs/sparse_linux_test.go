package etagfs_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"r-seed-1f3a754f.example/ifmatch/etagfs"
	"r-seed-1f3a754f.example/ifmatch/fs"
	"r-seed-1f3a754f.example/ifmatch/tree"
	"r-seed-1f3a754f.example/ifmatch/tree/treetest"
)

// taken returns how many bytes of the disk a file takes.
func taken(t *testing.T, name string) int64 {
	t.Helper()
	info, err := os.Stat(name)
	if err != nil {
		t.Fatal(err)
	}
	return info.Sys().(*syscall.Stat_t).Blocks * 512
}

// Holes stay holes: what a file takes of the disk, its copy takes, however that is made. The tag is of all its bytes.
func TestHolesStayHoles(t *testing.T) {
	const size = 8 << 20
	part := bytes.Repeat([]byte("data"), 4<<10)
	ways := map[string]func(t *testing.T, s *etagfs.Store, below *fs.FS, dir string) string{
		"COPY": func(t *testing.T, s *etagfs.Store, _ *fs.FS, _ string) string {
			return done(t, copyTo("s", "t")(s), "t")
		},
		"COPY of a collection": func(t *testing.T, s *etagfs.Store, _ *fs.FS, _ string) string {
			return done(t, errors.Join(lay("c/")(s), move("s", "c/s")(s), copyTo("c", "t")(s)), "t/s")
		},
		"MOVE to another disk": func(t *testing.T, s *etagfs.Store, _ *fs.FS, dir string) string {
			mountAt(t, filepath.Join(dir, "m"))
			return done(t, move("s", "m/s")(s), "m/s")
		},
	}
	restored := func(name, path string, before func(tree.Store) error) func(t *testing.T, s *etagfs.Store, below *fs.FS,
		dir string) string {
		return func(t *testing.T, s *etagfs.Store, below *fs.FS, _ string) string {
			if err := errors.Join(before(s), s.Remove(ctx, name, tree.Condition{})); err != nil {
				t.Fatal(err)
			}
			kept, err := below.History(name)
			if err != nil || len(kept) != 1 {
				t.Fatalf("the history has %v, error %v", kept, err)
			}
			_, _, err = s.Restore(ctx, kept[0].ID(), name, tree.RestoreOptions{}, tree.Condition{})
			return done(t, err, path)
		}
	}
	ways["restore"] = restored("s", "s", func(tree.Store) error { return nil })
	ways["restore of a collection"] = restored("c", "c/s",
		func(s tree.Store) error { return errors.Join(lay("c/")(s), move("s", "c/s")(s)) })

	contents := map[string][]int64{ // where there is data
		"nothing but a hole":      nil,
		"data at the beginning":   {0},
		"data in the middle":      {3 << 20},
		"data at the end":         {size - int64(len(part))},
		"data between many holes": {1 << 20, 2 << 20, 4 << 20, 5 << 20, size - int64(len(part))},
	}
	for way, do := range ways {
		for what, at := range contents {
			for _, lacks := range []string{"", "clone", "clone copyRange", "data"} {
				t.Run(way+", "+what+", lacks "+lacks, func(t *testing.T) {
					dir := t.TempDir()
					var seam seam
					for _, op := range bytes.Fields([]byte(lacks)) {
						seam.lacks = append(seam.lacks, string(op))
					}
					below, err := fs.Open(dir, fs.Options{Before: seam.before, History: true})
					if err != nil {
						t.Fatal(err)
					}
					s, err := etagfs.New(below, etagfs.Options{})
					if err != nil {
						t.Fatal(err)
					}
					defer s.Close()
					content := make([]byte, size)
					f, err := os.Create(filepath.Join(dir, "s"))
					if err == nil {
						err = f.Truncate(size)
					}
					for _, offset := range at {
						copy(content[offset:], part)
						_, failed := f.WriteAt(part, offset)
						err = errors.Join(err, failed)
					}
					if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
						t.Fatal(err)
					}
					most := taken(t, filepath.Join(dir, "s")) + 64<<10
					if most > size/2 {
						t.Skipf("NOT RUN: this file system has no holes")
					}
					name := do(t, s, below, dir)
					got, err := os.ReadFile(filepath.Join(dir, name))
					if err != nil || !bytes.Equal(got, content) {
						t.Errorf("it has %d other bytes, error %v", len(got), err)
					}
					if takes := taken(t, filepath.Join(dir, name)); takes > most && lacks != "data" {
						t.Errorf("it takes %d bytes of the disk, want %d at the most", takes, most)
					}
					if state, err := s.Stat(ctx, name, tree.ReadOptions{Want: tree.WantTag}); err != nil ||
						state.Tag != treetest.TagOf(string(content)) {
						t.Errorf("the tag is %s, error %v", state.Tag, err)
					}
				})
			}
		}
	}
}

// done returns the name of what was made.
func done(t *testing.T, err error, name string) string {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	return name
}
