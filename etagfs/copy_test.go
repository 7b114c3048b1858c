package etagfs_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"r-seed-1f3a754f.example/ifmatch/fs"
	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
	"r-seed-1f3a754f.example/ifmatch/tree"
	"r-seed-1f3a754f.example/ifmatch/tree/treetest"
)

// many returns a layout of a collection s with more files than are synced one by one.
func many() []string {
	layout := []string{"s/", "s/b/"}
	for i := range 20 {
		layout = append(layout, fmt.Sprintf("s/%d=%d", i, i), fmt.Sprintf("s/b/%d=%d", i, i))
	}
	return layout
}

// A tree of many files is synced at once, and where that cannot be had, file by file; before it gets its name.
func TestCopyManySyncs(t *testing.T) {
	for _, test := range []struct {
		name    string
		syncAll error
		synced  int // at the least, one by one
	}{
		{"at once", nil, 16},
		{"one by one", errors.ErrUnsupported, 40},
	} {
		t.Run(test.name, func(t *testing.T) {
			var seam seam
			s := openQuietly(t, quickDir(t), fs.Options{Before: seam.before})
			defer s.Close()
			if err := lay(many()...)(s); err != nil {
				t.Fatal(err)
			}
			synced, all, named := map[string]bool{}, 0, false
			seam.arm(func(_ int, c vfs.Call) error {
				switch {
				case c.Op == "sync":
					synced[c.Name] = true
				case c.Op == "syncAll":
					all++
					return test.syncAll
				case c.To == "t":
					named = true
					if all != 1 || len(synced) < test.synced || len(synced) > 40 {
						t.Errorf("it gets its name after %d files were synced, and all was %d times", len(synced), all)
					}
				}
				return nil
			})
			err := copyTo("s", "t")(s)
			seam.arm(nil)
			if err != nil || !named {
				t.Errorf("error %v, named %v", err, named)
			}
		})
	}
}

// Whatever ends a copy in the middle, there is no half of it.
func TestCopyGivenUp(t *testing.T) {
	var seam seam
	dir := quickDir(t)
	s := openQuietly(t, dir, fs.Options{Before: seam.before})
	defer s.Close()
	if err := lay(append(many(), "t/", "t/old=stays")...)(s); err != nil {
		t.Fatal(err)
	}
	before := snapshot(t, s)
	for _, op := range []string{"create", "mkdir", "readAt", "write"} {
		giveUp, cancel := context.WithCancel(ctx)
		seen := 0
		seam.arm(func(_ int, c vfs.Call) error {
			if c.Op == op {
				if seen++; seen == 1 {
					cancel()
				}
			}
			return nil
		})
		_, _, err := s.Copy(giveUp, "s", "t", tree.CopyOptions{}, tree.Condition{})
		seam.arm(nil)
		cancel()
		switch after := snapshot(t, s); {
		case seen == 0:
			t.Errorf("there was no %s", op)
		case !errors.Is(err, context.Canceled):
			t.Errorf("given up at the first %s: error %v", op, err)
		case after != before:
			t.Errorf("given up at the first %s:\n%s\nwas\n%s", op, after, before)
		}
		if left := staged(t, dir); left != nil {
			t.Errorf("given up at the first %s, it leaves %q", op, left)
		}
	}
}

// staged returns the files in the staging directories of the processes that run.
func staged(t *testing.T, dir string) (left []string) {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, ".ifmatch", "stage", "*", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range found {
		if filepath.Base(name) != "alive" {
			left = append(left, name)
		}
	}
	return left
}

// The kernel copies a large file unseen: the copy has the tag of what it holds, whatever happens to the source
// meanwhile, and whether or not the tag of that was known.
func TestCopyLarge(t *testing.T) {
	large := func(c string) string { return strings.Repeat(c, 100_000) }
	for _, known := range []bool{true, false} {
		for _, op := range []string{"", "clone", "copyRange", "listAttrs"} {
			for _, layout := range [][]string{{"s=" + large("a")}, {"s/", "s/f=" + large("a")}} {
				var seam seam
				dir := quickDir(t)
				s := openQuietly(t, dir, fs.Options{Before: seam.before})
				if err := lay(layout...)(s); err != nil {
					t.Fatal(err)
				}
				name, _, _ := strings.Cut(layout[len(layout)-1], "=")
				if !known {
					s.Distrust()
				}
				want := large("a")
				changed := false
				seam.arm(func(_ int, c vfs.Call) error {
					if c.Op == op && !changed {
						changed = true
						want = large("b")
						return os.WriteFile(filepath.Join(dir, name), []byte(want), 0o666) // in place
					}
					return nil
				})
				_, _, err := s.Copy(ctx, "s", "t", tree.CopyOptions{}, tree.Condition{})
				seam.arm(nil)
				copied := "t" + strings.TrimPrefix(name, "s")
				state, failed := s.Stat(ctx, copied, tree.ReadOptions{Want: tree.WantTag})
				if err != nil || failed != nil || state.Tag != treetest.TagOf(want) || changed != (op != "") {
					t.Errorf("known %v, changed at %q: %+v, errors %v and %v", known, op, state, err, failed)
				}
				if got, err := os.ReadFile(filepath.Join(dir, copied)); err != nil || string(got) != want {
					t.Errorf("known %v, changed at %q: got %d bytes, error %v", known, op, len(got), err)
				}
				s.Close()
			}
		}
	}
}

// A copy that fails at a member says at which: where it came from, or where it was to go.
func TestCopyFailsAtAMember(t *testing.T) {
	for _, test := range []struct {
		op, name string // of the call that fails; of a staged name the end
		fault    error
		member   string // "" where it is the disk that fails, and no member
		want     error
	}{
		{"open", "s/b/c", syscall.EACCES, "s/b/c", tree.ErrPermission},
		{"open", "s/b", syscall.EACCES, "s/b/", tree.ErrPermission},
		{"open", "s", syscall.EACCES, "", tree.ErrPermission},
		{"readAt", "s/b/c", syscall.EIO, "s/b/c", tree.ErrFailed},
		{"listAttrs", "s/b/c", syscall.EIO, "s/b/c", tree.ErrFailed},
		{"lstat", "s/b/c", syscall.EIO, "s/b/c", tree.ErrFailed},
		{"readlink", "s/b/l", syscall.EACCES, "s/b/l", tree.ErrPermission},
		{"create", "/b/c", syscall.ENAMETOOLONG, "t/b/c", tree.ErrNameTooLong},
		{"create", "/b/c", syscall.EILSEQ, "t/b/c", tree.ErrBadName},
		{"mkdir", "/b", syscall.EILSEQ, "t/b/", tree.ErrBadName},
		{"symlink", "/b/l", errors.ErrUnsupported, "t/b/l", tree.ErrUnsupported},
		{"write", "/b/c", syscall.EFBIG, "t/b/c", tree.ErrTooLarge},
		{"write", "/b/c", syscall.ENOSPC, "", tree.ErrNoSpace},
		{"create", "/b/c", syscall.EDQUOT, "", tree.ErrNoSpace},
		{"open", "s/b/c", syscall.EMFILE, "", tree.ErrUnavailable},
		{"create", "/b/c", syscall.EROFS, "", tree.ErrReadOnly},
	} {
		t.Run(test.op+" "+test.name+" "+test.fault.Error(), func(t *testing.T) {
			var seam seam
			dir := quickDir(t)
			s := openQuietly(t, dir, fs.Options{Before: seam.before})
			defer s.Close()
			if err := lay("s/", "s/b/", "s/b/c=2", "t/", "t/old=stays")(s); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink("c", filepath.Join(dir, "s/b/l")); err != nil {
				t.Fatal(err)
			}
			before := snapshot(t, s)
			staged := strings.HasPrefix(test.name, "/")
			seam.arm(func(_ int, c vfs.Call) error {
				if c.Op == test.op &&
					(c.Name == test.name || staged && strings.HasSuffix(c.Name, test.name) &&
						strings.Contains(c.Name, "/stage/")) {
					return test.fault
				}
				return nil
			})
			err := copyTo("s", "t")(s)
			seam.arm(nil)
			member := new(tree.MemberError)
			got := ""
			if errors.As(err, &member) {
				got = member.Name
				if member.Collection {
					got += "/"
				}
			}
			if got != test.member || !errors.Is(err, test.want) {
				t.Errorf("it fails at %q with %v, want %q and %v", got, err, test.member, test.want)
			}
			if now := snapshot(t, s); now != before {
				t.Errorf("it has changed something: before\n%s, after\n%s", before, now)
			}
		})
	}
}
