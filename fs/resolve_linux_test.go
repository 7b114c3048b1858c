package fs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"r-seed-1f3a754f.example/ifmatch/fs/room"
	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
	"r-seed-1f3a754f.example/ifmatch/fs/volumes"
)

// openWithoutOpenat2 opens a directory as on systems that have os.Root alone.
func openWithoutOpenat2(t *testing.T, dir string, opts Options) *FS {
	t.Helper()
	calls, err := vfs.OpenRoot(dir, opts.Before)
	if err != nil {
		t.Fatal(err)
	}
	s, err := open(calls, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// forBothWalks runs a test with openat2, and with os.Root alone as on other systems.
func forBothWalks(t *testing.T, test func(*testing.T, func(*testing.T, string, Options) *FS)) {
	t.Run("openat2", func(t *testing.T) { test(t, openTest) })
	t.Run("os.Root", func(t *testing.T) {
		test(t, func(t *testing.T, dir string, opts Options) *FS {
			return openWithoutOpenat2(t, dir, opts)
		})
	})
}

func mknodNull(name string) error { return unix.Mknod(name, unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))) }

// A local program makes a link to the state directory of a directory, between the look at it and the call.
func TestSwapped(t *testing.T) {
	dir := t.TempDir()
	lay(t, dir, "d/", "d/format=old", "f=1")
	swapped := false
	s := openTest(t, dir, Options{Before: func(c vfs.Call) error {
		if swapped && c.Op != "lstat" {
			_ = os.Rename(filepath.Join(dir, "d"), filepath.Join(dir, "aside"))
			_ = os.Symlink(volumes.OwnDir, filepath.Join(dir, "d"))
		}
		return nil
	}})
	st := stageFile(t, s, "new")
	defer st.Discard()
	before, err := os.ReadDir(filepath.Join(dir, volumes.OwnDir))
	if err != nil {
		t.Fatal(err)
	}
	state, err := os.Stat(filepath.Join(dir, volumes.OwnDir+"/"+formatPart))
	if err != nil {
		t.Fatal(err)
	}
	f, regular := see(t, s, "f"), vfs.Info{Kind: vfs.Regular}
	swapped = true
	for _, test := range []struct {
		name string
		do   func() error
	}{
		{"Open", func() error { _, _, err := s.Open("d/format"); return err }},
		{"OpenDir", func() error { _, err := s.OpenDir("d", volumes.DirOptions{Follow: true}); return err }},
		{"Attributes", func() error { _, err := s.Attributes("d/format"); return err }},
		{"Commit", func() error { return s.Commit(st, "d/format", regular, How{}) }},
		{"Commit new", func() error { return s.Commit(st, "d/new", vfs.Info{}, How{}) }},
		{"Move to", func() error { return moveTest(s, "f", f, "d/format", regular, How{}) }},
		{"Move from", func() error { return moveTest(s, "d/format", regular, "g", vfs.Info{}, How{}) }},
		{"Mkdir", func() error { return s.At("d/new").Mkdir(time.Time{}) }},
		{"Remove", func() error { return s.Remove(s.At("d/format"), regular, How{}) }},
		{"SetAttributes", func() error { return s.At("d/format").SetAttributes([]byte("x")) }},
		{"SetModified", func() error {
			_,
				err := s.At("d/format").SetModified(vfs.Info{}, time.Unix(1, 0), 0)
			return err
		}},
		{"Readlink", func() error { _, err := s.Readlink("d/format"); return err }},
		{"create", func() error { _, err := s.calls.Create("d/new"); return err }},
		{"symlink", func() error { return s.calls.Symlink("x", "d/new") }},
		{"remove", func() error { return s.calls.Remove("d/format") }},
	} {
		_ = os.Remove(filepath.Join(dir, "d"))
		_ = os.Rename(filepath.Join(dir, "aside"), filepath.Join(dir, "d"))
		if err := test.do(); !errors.Is(err, vfs.ErrLink) {
			t.Errorf("%s: got error %v", test.name, err)
		}
	}
	after, err := os.ReadDir(filepath.Join(dir, volumes.OwnDir))
	if err != nil || fmt.Sprint(after) != fmt.Sprint(before) {
		t.Errorf("the state directory had %v, has %v, error %v", before, after, err)
	}
	if now, err := os.Stat(filepath.Join(dir, volumes.OwnDir+"/"+formatPart)); err != nil ||
		now.ModTime() != state.ModTime() {
		t.Errorf("its file has changed: %v, error %v", now, err)
	}
	has(t, dir, volumes.OwnDir+"/"+formatPart, "1\n")
}

// asNobody runs a test as somebody whom modes bind, in a directory of theirs.
func asNobody(t *testing.T, test func(dir string)) {
	t.Helper()
	dir := t.TempDir()
	if os.Geteuid() != 0 {
		test(dir)
		return
	}
	const nobody = 65534
	if err := errors.Join(os.Chmod(filepath.Dir(dir), 0o755), os.Chown(dir, nobody, nobody)); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // for good: the thread ends with the goroutine, and nobody else becomes nobody
		if err := unix.Setfsuid(nobody); err != nil {
			t.Error(err)
			return
		}
		test(dir)
	}()
	<-done
}

func TestDirectoriesNotToBeWritten(t *testing.T) {
	asNobody(t, func(dir string) {
		must := func(err error) {
			if err != nil {
				t.Errorf("%v", err)
			}
		}
		s, err := Open(dir, Options{})
		if err != nil {
			t.Error(err)
			return
		}
		look := func(name string) vfs.Info {
			info, err := s.Lstat(name)
			must(err)
			return info
		}
		// What a user may not write to, but owns: a tree, staged and committed, staged and given up, removed.
		stage := func() *Staged {
			top, err := s.StageDir(t.Context(), room.Need{Name: "d"})
			must(err)
			below, err := top.Mkdir("below")
			must(err)
			f, err := top.Member("below/f")
			must(err)
			must(f.Annotate(Meta{Traits: traits(0o400)}))
			must(f.Close())
			must(below.Annotate(Meta{Traits: traits(0o500)}))
			must(top.Annotate(Meta{Traits: traits(0o500)}))
			must(top.Sync())
			return top
		}
		top := stage()
		must(s.Commit(top, "d", vfs.Info{}, How{}))
		if info, err := s.Lstat("d"); err != nil || info.Mode != 0o500 {
			t.Errorf("got %v, error %v", info.Mode, err)
		}
		stage().Discard()
		if found, err := s.Entries(s.root.Session); err != nil || len(found) != 1 {
			t.Errorf("there is left %q, error %v", found, err)
		}
		must(s.calls.Mkdir("e", 0o777))
		top = stage()
		must(s.Commit(top, "e", look("e"), How{}))
		must(moveTest(s, "e", look("e"), "f", vfs.Info{}, How{})) // in one directory
		must(s.At("g").Mkdir(time.Time{}))
		must(s.calls.Rename(stage().at.Name, "g/h"))
		must(s.Remove(s.At("g"), look("g"), How{}))
		must(s.EmptyTrash(context.Background()))
		if found, err := s.Entries(s.root.StatePath(volumes.TrashPart)); err != nil || len(found) != 0 {
			t.Errorf("there is left %q, error %v", found, err)
		}
		stage() // for Close
		must(s.Close())
		if n := sessions(t, dir); n != 0 {
			t.Errorf("%d sessions are left", n)
		}
	})
}

// A collection that its owner may not write to is removed, moved and replaced like the others, and is not changed by
// that.
func TestDirectoriesNotToBeWrittenGiveWay(t *testing.T) {
	const (
		mode    = 0o555
		failing = "to/fail" // what is renamed to it, once it has come so far
	)
	for _, test := range []struct {
		name string
		do   func(s *FS, look func(string) vfs.Info) error
		at   string // where it is then; "" in the history
	}{
		{"removed", func(s *FS, look func(string) vfs.Info) error {
			return s.Remove(s.At("d"), look("d"), How{Exact: true, Cause: "DELETE"})
		}, ""},
		{"removed from a full disk", func(s *FS, look func(string) vfs.Info) error {
			return s.Remove(s.At("d"), look("d"), How{Unkept: true})
		}, "trash"},
		{"moved", func(s *FS, look func(string) vfs.Info) error {
			return moveTest(s, "d", look("d"), "to/d", vfs.Info{}, How{Exact: true})
		}, "to/d"},
		{"moved over another one", func(s *FS, look func(string) vfs.Info) error {
			return moveTest(s, "d", look("d"), "to/other", look("to/other"), How{})
		}, "to/other"},
		{"replaced by a move", func(s *FS, look func(string) vfs.Info) error {
			return moveTest(s, "to/other", look("to/other"), "d", look("d"), How{})
		}, ""},
		{"replaced by a new one", func(s *FS, look func(string) vfs.Info) error {
			st, err := s.StageDir(t.Context(), room.Need{Name: "d"})
			if err == nil {
				err = s.Commit(st, "d", look("d"), How{Exact: true})
			}
			return err
		}, ""},
		{"taken and given back", func(s *FS, look func(string) vfs.Info) error {
			taken, err := s.Take("d", look("d"), How{Exact: true})
			if err == nil {
				err = taken.GiveBack()
			}
			return err
		}, "d"},
		{"it fails", func(s *FS, look func(string) vfs.Info) error {
			if err := moveTest(s, "d", look("d"), failing, vfs.Info{}, How{}); !errors.Is(err, syscall.EIO) {
				return fmt.Errorf("got error %v", err)
			}
			return nil
		}, "d"},
	} {
		for _, exchange := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, exchange %v", test.name, exchange), func(t *testing.T) {
				asNobody(t, func(dir string) {
					granted := false
					s, err := Open(dir, Options{History: true, Before: func(c vfs.Call) error {
						granted = granted || c.Op == "chmod" && c.Name == "d"
						switch {
						case c.Op == "exchange" && !exchange:
							return errors.ErrUnsupported
						case c.To == failing && granted:
							return syscall.EIO
						}
						return nil
					}})
					if err != nil {
						t.Error(err)
						return
					}
					defer s.Close()
					for _, name := range []string{"d", "to", "to/other"} {
						err = errors.Join(err, s.At(name).Mkdir(time.Time{}))
					}
					if err = errors.Join(err, s.At("d").SetMode(mode)); err != nil {
						t.Error(err)
						return
					}
					granted = false
					before, err := s.Lstat("d")
					if err != nil {
						t.Error(err)
					}
					look := func(name string) vfs.Info {
						info, err := s.Lstat(name)
						if err != nil {
							t.Error(err)
						}
						return info
					}
					if err := test.do(s, look); err != nil {
						t.Error(err)
					}
					var after vfs.Info
					switch test.at {
					case "":
						kept, err := s.History("")
						if err != nil || len(kept) != 1 {
							t.Errorf("kept are %v, error %v", kept, err)
							return
						}
						after = kept[0].Info
					case "trash":
						names, err := s.Entries(s.root.StatePath(volumes.TrashPart))
						if err != nil || len(names) != 1 {
							t.Errorf("removed are %v, error %v", names, err)
							return
						}
						after, _ = s.calls.Lstat(s.root.StatePath(volumes.TrashPart) + "/" + names[0])
					default:
						after = look(test.at)
					}
					if !after.SameFile(before) || after.Mode != mode {
						t.Errorf("it is %+v, was %+v", after, before)
					}
				})
			})
		}
	}
}

// A program may hold a lease on a file, and has 45 seconds to give it up when somebody opens that.
func TestLeaseIsNotWaitedFor(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	theirs, err := os.Create(filepath.Join(dir, "leased"))
	if err != nil {
		t.Fatal(err)
	}
	defer theirs.Close()
	if _, err := unix.FcntlInt(theirs.Fd(), unix.F_SETLEASE, unix.F_WRLCK); err != nil {
		t.Logf("there are no leases here, so nobody can be kept waiting by one: %v", err)
		return
	}
	if f, _, err := s.Open("leased"); !errors.Is(err, unix.EAGAIN) {
		t.Errorf("got %v, %v; want EAGAIN", f, err)
	}
}

// A look takes longer the deeper a name is, and no more than that.
func TestDeepNamesAreLookedAtInTime(t *testing.T) {
	const levels, times = 150, 10
	forBothWalks(t, func(t *testing.T, open func(*testing.T, string, Options) *FS) {
		dir := t.TempDir()
		deep := func(levels int) string { return strings.TrimSuffix(strings.Repeat("d/", levels), "/") }
		lay(t, dir, deep(times*levels)+"/")
		s := open(t, dir, Options{})
		runtime.LockOSThread() // the time is that of the thread
		defer runtime.UnlockOSThread()
		look := func(name string) time.Duration {
			start := threadTime(t)
			if info, err := s.Lstat(name); err != nil || info.Kind != vfs.Directory {
				t.Fatalf("it is %+v, error %v", info, err)
			}
			return threadTime(t) - start
		}
		// Other work on the machine, and the garbage collector, only add to a look: the shortest of several has the least of them.
		near, far := time.Hour, time.Hour
		for range 10 {
			near, far = min(near, look(deep(levels))), min(far, look(deep(times*levels)))
		}
		if far > 4*times*near { // if each level took as long as it is deep, it would be times*times
			t.Errorf("a name of %d levels takes %v, and one of %d takes %v", levels, near, times*levels, far)
		}
	})
}

// threadTime returns how long the processor has worked for this thread.
func threadTime(t *testing.T) time.Duration {
	t.Helper()
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &ts); err != nil {
		t.Fatal(err)
	}
	return time.Duration(ts.Nano())
}
