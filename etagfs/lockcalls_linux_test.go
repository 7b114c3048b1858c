package etagfs_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"r-seed-1f3a754f.example/ifmatch/etagfs/locktable"
	"r-seed-1f3a754f.example/ifmatch/fs"
	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

// TestCommitsHoldLocksForFewCalls counts, in each kind of commit, the system calls from the first lock of a file system
// to the last one, without those for the locks themselves. Those for the journal are counted by themselves. None waits
// for the disk.
func TestCommitsHoldLocksForFewCalls(t *testing.T) {
	const mostOfJournal = 4
	for _, k := range append(kinds(), nestedKinds()...) {
		most := 20
		switch {
		case strings.HasSuffix(k.name, "put-over-if"):
			most = 16
		case k.name == "lock", k.name == "refresh", k.name == "unlock":
			most = 8
		}
		t.Run(k.name, func(t *testing.T) {
			calls := callsUnderLocks(t, k)
			waitForNoDisk(t, calls)
			journal := 0
			calls = slices.DeleteFunc(calls, func(c vfs.Call) bool {
				if strings.HasPrefix(c.Name, ".ifmatch/journal/") {
					journal++
					return true
				}
				return c.Op == "tryFlock" || c.Op == "find" && isLockFile(c.Name)
			})
			if len(calls) == 0 || len(calls) > most || journal > mostOfJournal {
				t.Errorf("it holds a lock for %d calls, and %d of the journal, want %d and %d at the most:\n%v",
					len(calls), journal, most, mostOfJournal, calls)
			}
		})
	}
}

func waitForNoDisk(t *testing.T, calls []vfs.Call) {
	t.Helper()
	for _, c := range calls {
		if strings.HasPrefix(c.Op, "sync") {
			t.Errorf("with a lock it waits for the disk: %v", c)
		}
	}
}

// TestLocksAreWrittenAnewWithoutALock ends so many WebDAV locks that their file is written anew.
func TestLocksAreWrittenAnewWithoutALock(t *testing.T) {
	seam, dir := seam{}, t.TempDir()
	s := openQuietly(t, dir, fs.Options{Before: seam.before, Durability: fs.Full})
	defer s.Close()
	anew := 0
	seam.arm(func(_ int, c vfs.Call) error {
		if strings.HasPrefix(c.Op, "sync") && anyLocked(t, dir) {
			t.Errorf("with a lock it waits for the disk: %v", c)
		}
		if c.Op == "rename" && c.To == ".ifmatch/locks" {
			anew++
		}
		return nil
	})
	defer seam.arm(nil)
	req := tree.LockRequest{Owner: strings.Repeat("o", 2000), Timeout: time.Hour}
	for i := range 100 {
		lock, _, err := s.Lock(t.Context(), req, tree.Condition{})
		if err == nil {
			err = s.Unlock(t.Context(), "", lock.Token, tree.Condition{})
		}
		if err != nil {
			t.Fatalf("lock %d: %v", i, err)
		}
	}
	if info, err := os.Stat(filepath.Join(dir, ".ifmatch/locks")); err != nil || anew == 0 ||
		info.Size() > locktable.RewriteAt+5000 {
		t.Errorf("it is written anew %d times: %v, error %v", anew, info, err)
	}
}

// isLockFile reports whether a name is that of the lock of a file system.
func isLockFile(name string) bool {
	return name == ".ifmatch/lock" || strings.HasPrefix(name, ".ifmatch/volumes/")
}

// callsUnderLocks makes a commit, and returns the calls of the longest time for which a file system was locked.
func callsUnderLocks(t *testing.T, k kind) (longest []vfs.Call) {
	t.Helper()
	seam, dir := seam{lacks: k.lacks}, dirOf(t, k)
	s := openQuietly(t, dir, fs.Options{Before: seam.before, Durability: fs.Full})
	defer s.Close()
	if err := k.setup(s); err != nil {
		t.Fatal(err)
	}
	var calls []vfs.Call
	seam.arm(func(_ int, c vfs.Call) error {
		if !anyLocked(t, dir) {
			calls = nil
			return nil
		}
		if calls = append(calls, c); len(calls) > len(longest) {
			longest = calls
		}
		return nil
	})
	err := k.do(s)
	seam.arm(nil)
	if err != nil {
		t.Fatal(err)
	}
	return longest
}

// anyLocked reports whether a commit has the lock of a file system.
func anyLocked(t *testing.T, dir string) bool {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, ".ifmatch/volumes/*"))
	if err != nil {
		t.Fatal(err)
	}
	return slices.ContainsFunc(append(names, filepath.Join(dir, ".ifmatch/lock")), func(name string) bool {
		file, err := os.OpenFile(name, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		err = unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err != nil && !errors.Is(err, unix.EWOULDBLOCK) {
			t.Fatal(err)
		}
		return err != nil
	})
}
