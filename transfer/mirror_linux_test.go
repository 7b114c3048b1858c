package transfer

import (
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"

	"r-seed-1f3a754f.example/ifmatch/tree"
	"r-seed-1f3a754f.example/ifmatch/tree/memtree"
)

// asNobody has the thread of a test, and no other one, reach files as a user without privileges.
func asNobody(t *testing.T, dir string) {
	t.Helper()
	if os.Geteuid() != 0 {
		return
	}
	const nobody = 65534
	for at := dir; at != filepath.Clean(os.TempDir()) && at != "/"; at = filepath.Dir(at) {
		if err := os.Chown(at, nobody, -1); err != nil {
			t.Fatal(err)
		}
	}
	runtime.LockOSThread() // for good: the thread ends with the test
	if err := syscall.Setfsuid(nobody); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Setfsuid(0) })
}

// TestMirrorLeavesWhatIsClosedToIt: it takes over all other names, and goes on.
func TestMirrorLeavesWhatIsClosedToIt(t *testing.T) {
	for _, test := range []struct {
		name  string
		make  func(path string) error
		at    string
		other int // files that are the same in the end
	}{
		{"a file at the name of a file", func(path string) error { return os.WriteFile(path, nil, 0) }, "a/f", 2},
		{"a file at the name of a collection", func(path string) error { return os.WriteFile(path, nil, 0) }, "a", 1},
		{"a directory at the name of a file", func(path string) error { return os.Mkdir(path, 0) }, "a/f", 2},
		{"a directory at the name of a collection", func(path string) error { return os.Mkdir(path, 0) }, "a", 1},
		{"a collection to which nothing can be written", func(path string) error { return os.Mkdir(path, 0o555) }, "a", 1},
		{"a directory at another name", func(path string) error { return os.Mkdir(path, 0) }, "other", 3},
		{"a directory in a collection", func(path string) error { return os.Mkdir(path, 0) }, "a/other", 3},
	} {
		t.Run(test.name, func(t *testing.T) {
			store, dir := memtree.New(memtree.Options{}), t.TempDir()
			asNobody(t, dir)
			if _, err := store.Mkdir(t.Context(), "a", tree.MkdirOptions{}, tree.Condition{}); err != nil {
				t.Fatal(err)
			}
			run(t, dir, store)
			path := filepath.Join(dir, test.at)
			if strings.Contains(test.at, "/") {
				if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
					t.Fatal(err)
				}
			} else if err := os.RemoveAll(path); err != nil {
				t.Fatal(err)
			}
			if err := test.make(path); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = os.Chmod(path, 0o700) })
			for _, name := range []string{"a/f", "a/g", "z"} {
				put(t, store, name, name)
			}
			done, lines := run(t, dir, store)
			named := func(line string) bool { return strings.HasPrefix(line, test.at) }
			if done.Compared != int64(test.other) || done.Left == 0 || !slices.ContainsFunc(lines, named) {
				t.Errorf("%d files are the same, want %d; %d names are left, and it tells %q", done.Compared, test.other, done.Left,
					lines)
			}
		})
	}
}
