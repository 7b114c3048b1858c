package etagfs_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"r-seed-1f3a754f.example/ifmatch/fs"
	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

// A 201 says that the name is on the disk: in the directory that has it, whatever that is called by the time it is
// synced.
func TestNameIsSyncedWhereItIs(t *testing.T) {
	for _, test := range []struct {
		name    string
		another bool // a directory takes the name of the one that is moved
	}{
		{"its directory is renamed", false},
		{"its directory is renamed, and another one made", true},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := quickDir(t)
			moved := filepath.Join(dir, "moved")
			var seam seam
			s := openQuietly(t, dir, fs.Options{Before: seam.before})
			defer s.Close()
			if err := os.Mkdir(filepath.Join(dir, "d"), 0o777); err != nil {
				t.Fatal(err)
			}
			named, synced := false, false
			seam.arm(func(_ int, c vfs.Call) error {
				switch {
				case c.Op == "renameNew" && c.To == "d/f":
					named = true
				case named && (c.Op == "open" && c.Name == "d" || c.Op == "syncDir"):
					if _, err := os.Stat(moved); err != nil { // a local program comes between
						if err := os.Rename(filepath.Join(dir, "d"), moved); err != nil {
							t.Error(err)
						}
						if test.another {
							if err := os.Mkdir(filepath.Join(dir, "d"), 0o777); err != nil {
								t.Error(err)
							}
						}
					}
					synced = synced || c.Op == "syncDir" && isOpen(t, moved)
				}
				return nil
			})
			err := put(s, "d/f", "1", tree.Condition{})
			seam.arm(nil)
			if _, missing := os.Stat(filepath.Join(moved, "f")); missing != nil {
				t.Fatal(missing)
			}
			if err != nil || !synced {
				t.Errorf("error %v; the directory that it is in was synced: %v", err, synced)
			}
		})
	}
}

// isOpen reports whether this process has a directory open.
func isOpen(t *testing.T, dir string) bool {
	t.Helper()
	want, err := os.Stat(dir)
	if err != nil {
		t.Error(err)
		return false
	}
	ours, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Error(err)
	}
	for _, fd := range ours {
		if found, err := os.Stat(fmt.Sprint("/proc/self/fd/", fd.Name())); err == nil && os.SameFile(found, want) {
			return true
		}
	}
	return false
}
