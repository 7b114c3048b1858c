package etagfs_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"r-seed-1f3a754f.example/ifmatch/etagfs"
	"r-seed-1f3a754f.example/ifmatch/fs"
	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
	"r-seed-1f3a754f.example/ifmatch/tree"
	"r-seed-1f3a754f.example/ifmatch/tree/treetest"
)

// isOn reports whether a directory is on a file system of this kind.
func isOn(dir string, magic int64) bool {
	var st unix.Statfs_t
	err := unix.Statfs(dir, &st)
	return err == nil && int64(st.Type) == magic
}

func onBtrfs(dir string) bool { return isOn(dir, unix.BTRFS_SUPER_MAGIC) }

// mountAt mounts a small file system on a new directory, which root can; on Btrfs it makes a subvolume of it.
func mountAt(t testing.TB, dir string) {
	t.Helper()
	if onBtrfs(filepath.Dir(dir)) {
		if out, err := exec.Command("btrfs", "subvolume", "create", dir).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return
	}
	if os.Geteuid() != 0 {
		t.Skip("NOT RUN: root can mount a small file system, and others cannot")
	}
	err := os.Mkdir(dir, 0o777)
	if err == nil {
		err = unix.Mount("tmpfs", dir, "tmpfs", 0, "size=16m")
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unmount(t, dir) })
}

// bindAt mounts a directory on a new one, which root can.
func bindAt(t testing.TB, source, dir string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("NOT RUN: root can mount a directory on another, and others cannot")
	}
	err := os.Mkdir(dir, 0o777)
	if err == nil {
		err = unix.Mount(source, dir, "", unix.MS_BIND, "")
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unmount(t, dir) })
}

func unmount(t testing.TB, dir string) {
	err := unix.Unmount(dir, 0) // nothing keeps it
	// But what another test is just starting has all our files open, until it is executed.
	for deadline := time.Now().Add(time.Minute); err == unix.EBUSY &&
		time.Now().Before(deadline); err = unix.Unmount(dir, 0) {
		runtime.Gosched()
	}
	if err != nil {
		t.Errorf("unmounting %s: %v", dir, err)
	}
}

// TestOverlay: on an overlay whose layers are on several file systems, a file has another device number than its
// directory.
func TestOverlay(t *testing.T) {
	below, top, merged := t.TempDir(), filepath.Join(t.TempDir(), "top"), t.TempDir()
	mountAt(t, top)
	upper, work := filepath.Join(top, "upper"), filepath.Join(top, "work")
	err := errors.Join(os.Mkdir(upper, 0o777), os.Mkdir(work, 0o777))
	if err == nil {
		err = unix.Mount("overlay", merged, "overlay", 0, "lowerdir="+below+",upperdir="+upper+",workdir="+work)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unmount(t, merged) })
	testDirectory(t, func(t *testing.T) string {
		dir, err := os.MkdirTemp(merged, "")
		if err != nil {
			t.Fatal(err)
		}
		return dir
	})
}

// TestMoveAcrossOfWhatChanges changes the source of a move between two file systems while it is copied, or when the
// copy is committed. What is moved is what is there, or else it is not removed.
func TestMoveAcrossOfWhatChanges(t *testing.T) {
	// By a rename, since there is a lease; and each version has another size: the clock may not move between two.
	write := func(name string) func(string, int) error {
		return func(dir string, n int) error { return saveAt(dir, name, strings.Repeat("+", n)) }
	}
	remove := func(name string) func(string, int) error {
		return func(dir string, _ int) error {
			err := os.Remove(filepath.Join(dir, name))
			if os.IsNotExist(err) {
				return nil
			}
			return err
		}
	}
	isStaged := func(c vfs.Call) bool {
		return strings.HasPrefix(c.Op, "sync") && strings.Contains(c.Name, "m/.ifmatch/stage")
	}
	isCommitted := func(c vfs.Call) bool {
		return c.Op == "renameNew" && c.To == "m/t" &&
			strings.Contains(c.Name, "stage")
	}
	isTaken := func(c vfs.Call) bool {
		return c.Op == "renameNew" && c.Name == "s" && strings.Contains(c.To, "history")
	}
	isTakenFile := func(c vfs.Call) bool {
		return c.Op == "renameNew" && c.Name == "f" &&
			strings.Contains(c.To, "history")
	}
	for _, test := range []struct {
		name   string
		layout []string
		from   string
		when   func(c vfs.Call) bool
		change func(dir string, n int) error
		always bool
		busy   bool
		want   []string // "name=content" of files that are there, or "name" of what is not
	}{
		{"a file, while it is copied", []string{"f=one"}, "f", isStaged, write("f"), false, false,
			[]string{"m/t=+", "f"}},
		{"a file, whenever it is copied", []string{"f=one"}, "f", isStaged, write("f"), true, true,
			[]string{"f=...", "m/t"}},
		{"a file, at the commit", []string{"f=one"}, "f", isCommitted, write("f"), false, true,
			[]string{"f=+", "m/t=one"}},
		{"a file, at the removal", []string{"f=one"}, "f", isTakenFile, write("f"), false, true,
			[]string{"f=+", "m/t=one"}},
		{"a file is removed at the commit", []string{"f=one"}, "f", isCommitted, remove("f"), false, false,
			[]string{"f", "m/t=one"}},
		{"a member, while it is copied", []string{"s/", "s/f=one"}, "s", isStaged, write("s/f"), false, false,
			[]string{"m/t/f=+", "s"}},
		{"a member, whenever it is copied", []string{"s/", "s/f=one"}, "s", isStaged, write("s/f"), true, true,
			[]string{"s/f=...", "m/t"}},
		{"a new member, while it is copied", []string{"s/", "s/f=1"}, "s", isStaged, write("s/g"), false, false,
			[]string{"m/t/f=1", "m/t/g=+", "s"}},
		{"a member less, while it is copied", []string{"s/", "s/f=1", "s/g=2"}, "s", isStaged, remove("s/g"), false,
			false, []string{"m/t/f=1", "m/t/g", "s"}},
		{"a member, at the commit", []string{"s/", "s/f=one"}, "s", isCommitted, write("s/f"), false, true,
			[]string{"s/f=+", "m/t/f=one"}},
		{"a member, at the removal", []string{"s/", "s/f=one"}, "s", isTaken, write("s/f"), false, true,
			[]string{"s/f=+", "m/t/f=one"}},
		{"a new member, at the removal", []string{"s/", "s/f=1"}, "s", isTaken, write("s/g"), false, true,
			[]string{"s/f=1", "s/g=+", "m/t/f=1", "m/t/g"}},
		{"a member less, at the removal", []string{"s/", "s/f=1", "s/g=2"}, "s", isTaken, remove("s/g"), false, true,
			[]string{"s/f=1", "s/g", "m/t/g=2"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			var seam seam
			dir := dirOf(t, kind{mounts: []string{"m"}})
			s := openQuietly(t, dir, fs.Options{Before: seam.before})
			defer s.Close()
			if err := lay(test.layout...)(s); err != nil {
				t.Fatal(err)
			}
			changed := 0
			seam.arm(func(_ int, c vfs.Call) error {
				if test.when(c) && (test.always || changed == 0) {
					changed++
					return test.change(dir, changed)
				}
				return nil
			})
			err := move(test.from, "m/t")(s)
			seam.arm(nil)
			if test.busy != errors.Is(err, tree.ErrBusy) || !test.busy && err != nil ||
				errors.Is(err, tree.ErrUnsure) || changed == 0 {
				t.Errorf("error %v; changed %d times", err, changed)
			}
			for _, line := range test.want {
				name, content, is := strings.Cut(line, "=")
				if content == "..." {
					content = strings.Repeat("+", changed)
				}
				got, err := os.ReadFile(filepath.Join(dir, name))
				if string(got) != content || is == os.IsNotExist(err) {
					t.Errorf("%s is %q, %v, and not %q", name, got, err, content)
				}
			}
		})
	}
}

// TestMoveIntoItselfThroughAMount: a collection cannot be moved into itself by another name either.
func TestMoveIntoItselfThroughAMount(t *testing.T) {
	for _, mounted := range []string{"d", "d/e", "d/e/g"} {
		t.Run(mounted, func(t *testing.T) {
			dir := t.TempDir()
			if err := errors.Join(os.MkdirAll(filepath.Join(dir, "d/e/g"), 0o777),
				os.WriteFile(filepath.Join(dir, "d/f"), []byte("1"), 0o666)); err != nil {
				t.Fatal(err)
			}
			bindAt(t, filepath.Join(dir, mounted), filepath.Join(dir, "m"))
			s := openQuietly(t, dir, fs.Options{History: true})
			defer s.Close()
			if err := move("d", "m/d")(s); !errors.Is(err, tree.ErrNested) {
				t.Errorf("got error %v", err)
			}
			if _, err := os.Lstat(filepath.Join(dir, "m/d")); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("a copy is there: %v", err)
			}
			if got, err := os.ReadFile(filepath.Join(dir, "d/f")); string(got) != "1" {
				t.Errorf("the source has %q, error %v", got, err)
			}
		})
	}
}

// TestMoveAcrossOfWhatIsLocked takes a lock of the source after the copy is committed: the source stays.
func TestMoveAcrossOfWhatIsLocked(t *testing.T) {
	var seam seam
	dir := dirOf(t, kind{mounts: []string{"m"}})
	s := openQuietly(t, dir, fs.Options{Before: seam.before})
	defer s.Close()
	if err := lay("f=1", "m/x=0")(s); err != nil {
		t.Fatal(err)
	}
	committed, locked := false, make(chan error, 1)
	seam.arm(func(_ int, c vfs.Call) error {
		committed = committed || c.Op == "renameNew" && c.To == "m/f"
		if committed && c.Op == "syncDir" { // outside the lock of the directory
			committed = false
			go func() { locked <- lock("f")(s) }()
			seam.mu.Unlock()
			err := <-locked
			seam.mu.Lock()
			locked <- err
		}
		return nil
	})
	err := move("f", "m/f")(s)
	seam.arm(nil)
	if !errors.Is(err, tree.ErrBusy) || errors.Is(err, tree.ErrUnsure) {
		t.Errorf("got error %v", err)
	}
	if err := <-locked; err != nil {
		t.Errorf("LOCK: %v", err)
	}
	for _, name := range []string{"f", "m/f"} {
		if got, err := os.ReadFile(filepath.Join(dir, name)); string(got) != "1" {
			t.Errorf("%s is %q, %v", name, got, err)
		}
	}
}

// TestMoveAcrossOfWhatHasNoRoomInTheHistory moves a collection from a full disk: what a local program does to a member
// after the copy was committed is not deleted.
func TestMoveAcrossOfWhatHasNoRoomInTheHistory(t *testing.T) {
	for _, changes := range []bool{false, true} {
		var seam seam
		dir := dirOf(t, kind{mounts: []string{"m"}})
		s := openQuietly(t, dir, fs.Options{History: true, Before: seam.before})
		defer s.Close()
		if err := lay("s/", "s/f=one")(s); err != nil {
			t.Fatal(err)
		}
		changed := false
		seam.arm(func(_ int, c vfs.Call) error {
			switch {
			case c.Op == "appendTo" && strings.HasPrefix(c.Name, ".ifmatch/history/"):
				return &os.PathError{Op: c.Op, Path: c.Name, Err: unix.ENOSPC}
			case changes && c.Op == "renameNew" && c.Name == "s" && strings.Contains(c.To, "/trash/"):
				changed = true
				return saveAt(dir, "s/f", "theirs")
			}
			return nil
		})
		err := move("s", "m/t")(s)
		seam.arm(nil)
		if changes != errors.Is(err, tree.ErrBusy) || !changes && err != nil || changed != changes {
			t.Errorf("changed: %v, error %v", changed, err)
		}
		if got, err := os.ReadFile(filepath.Join(dir, "m/t/f")); string(got) != "one" {
			t.Errorf("what was moved is %q, %v", got, err)
		}
		got, err := os.ReadFile(filepath.Join(dir, "s/f"))
		if want := map[bool]string{true: "theirs"}[changes]; string(got) != want || !changes && !os.IsNotExist(err) {
			t.Errorf("where it was is %q, %v", got, err)
		}
	}
}

// TestMountedTwice has one directory at two names: what is one file is not moved onto itself.
func TestMountedTwice(t *testing.T) {
	dir := dirOf(t, kind{mounts: []string{"m"}})
	if err := os.Mkdir(filepath.Join(dir, "twin"), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount(filepath.Join(dir, "m"), filepath.Join(dir, "twin"), "", unix.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Unmount(filepath.Join(dir, "twin"), 0) })
	s := openQuietly(t, dir, fs.Options{})
	defer s.Close()
	if err := errors.Join(lay("m/f=1", "m/d/", "m/d/g=2")(s), put(s, "twin/f", "one", tree.Condition{}),
		move("twin/f", "m/e")(s)); err != nil {
		t.Fatal(err)
	}
	for _, names := range [][2]string{{"m/e", "twin/e"}, {"twin/d", "m/d"}} {
		if err := move(names[0], names[1])(s); !errors.Is(err, tree.ErrSame) {
			t.Errorf("%s to %s: %v", names[0], names[1], err)
		}
	}
	if err := move("m/d", "twin/d/below")(s); err == nil {
		t.Error("moved into itself")
	}
	for name, want := range map[string]string{"m/e": "one", "twin/e": "one", "m/d/g": "2"} {
		if got, err := os.ReadFile(filepath.Join(dir, name)); string(got) != want {
			t.Errorf("%s is %q, %v", name, got, err)
		}
	}
	if got := versionsOf(t, dir, "m/f"); len(got) == 0 || got[0] != "1" {
		t.Errorf("the history has %q", got)
	}
}

// TestMoveAcrossKeepsTheLockOfTheDestination, as a rename does (RFC 4918 §7.6).
func TestMoveAcrossKeepsTheLockOfTheDestination(t *testing.T) {
	s := openQuietly(t, dirOf(t, kind{mounts: []string{"m"}}), fs.Options{})
	defer s.Close()
	if err := errors.Join(lay("f=1", "m/g=2")(s), lock("f")(s), lock("m/g")(s), move("f", "m/g")(s)); err != nil {
		t.Fatal(err)
	}
	err := s.Try(t.Context(), treetest.If(func(v tree.View) error {
		for name, want := range map[string]int{"f": 0, "m/g": 1} {
			if locks, err := v.Locks(name); len(locks) != want || err != nil {
				t.Errorf("%s has the locks %v, error %v", name, locks, err)
			}
		}
		return nil
	}))
	if err != nil {
		t.Fatal(err)
	}
}

// TestSearchLooksAtNothingThatIsNotKept: of a file system whose tags are not kept on disk the search opens the
// directory where it is mounted, and looks at nothing in it.
func TestSearchLooksAtNothingThatIsNotKept(t *testing.T) {
	dir := t.TempDir()
	mountAt(t, filepath.Join(dir, "m"))
	if onBtrfs(dir) {
		t.Log("what is mounted here is a subvolume, and kept")
		return
	}
	if err := errors.Join(os.Mkdir(filepath.Join(dir, "m/d"), 0o777),
		os.WriteFile(filepath.Join(dir, "m/f"), nil, 0o666)); err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var looks []string
	below, err := fs.Open(dir, fs.Options{Before: func(c vfs.Call) error {
		if strings.HasPrefix(c.Name, "m/") && !strings.HasPrefix(c.Name, "m/.ifmatch") { // which is cleared up
			mu.Lock()
			defer mu.Unlock()
			looks = append(looks, c.String())
		}
		return nil
	}})
	through := make(chan etagfs.Progress, 1)
	_, closeNow := open(t,
		etagfs.Options{IndexDir: t.TempDir(), WarmUp: 1, Progress: func(p etagfs.Progress) { through <- p }}, below,
		err)
	<-through
	closeNow()
	if len(looks) > 0 {
		t.Errorf("it did %q", looks)
	}
}
