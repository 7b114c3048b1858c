package fs

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"r-seed-1f3a754f.example/ifmatch/fs/history"
	"r-seed-1f3a754f.example/ifmatch/fs/room"
	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
	"r-seed-1f3a754f.example/ifmatch/fs/volumes"
)

// mountTest mounts a small file system on a new directory, or with a source that.
func mountTest(t *testing.T, dir, source string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("NOT RUN: root can mount a small file system, and others cannot")
	}
	err := os.MkdirAll(dir, 0o777)
	if err == nil && source == "" {
		err = unix.Mount("tmpfs", dir, "tmpfs", 0, "size=1m")
	} else if err == nil {
		err = unix.Mount(source, dir, "", unix.MS_BIND, "")
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
}

// createTest makes a file.
func createTest(t *testing.T, s *FS, name, content string) {
	t.Helper()
	st, err := s.StageFor(t.Context(), room.Need{Name: name, Length: int64(len(content))})
	if err == nil {
		defer st.Discard()
		_, err = st.Write([]byte(content))
	}
	if err == nil {
		err = s.Commit(st, name, vfs.Info{}, How{})
	}
	if err != nil {
		t.Fatal(err)
	}
}

// Each file system has what is staged and kept there; a bind mount of the same one too, into which no rename leads.
func TestPlaces(t *testing.T) {
	for _, bind := range []bool{false, true} {
		t.Run(fmt.Sprintf("bind %v", bind), func(t *testing.T) {
			dir, source := t.TempDir(), ""
			if bind {
				source = t.TempDir()
			}
			mountTest(t, filepath.Join(dir, "d", "m"), source)
			s := openTest(t, dir, Options{History: true})
			createTest(t, s, "d/m/f", "1")
			createTest(t, s, "d/f", "of the root")
			if a := s.AbilitiesOf(see(t, s, "d/m/f")); !a.Leases || !a.Exchange {
				t.Errorf("of a file there: %+v", a)
			}
			removeTest(t, s, "d/m/f")
			removeTest(t, s, "d/f")
			keeps(t, s, "d/m/f", "1")
			keeps(t, s, "d/f", "of the root")
			for place, want := range map[string]string{"": "of the root", "d/m": "1"} {
				entries, err := filepath.Glob(filepath.Join(dir, place, volumes.OwnDir, volumes.HistoryPart, "*", "r*"))
				if err != nil || len(entries) != 1 {
					t.Fatalf("in the history of %q: %q, %v", place, entries, err)
				}
				if got, _ := os.ReadFile(entries[0]); string(got) != want {
					t.Errorf("in the history of %q: %q", place, got)
				}
			}
			createTest(t, s, "d/m/f", "2")
			if err := s.Move("d/m/f", see(t, s, "d/m/f"), "f", vfs.Info{}, How{}); !errors.Is(err, syscall.EXDEV) {
				t.Errorf("a move to another: %v", err)
			}
			var mounted *MountedError
			if err := s.Remove(s.At("d"), see(t, s, "d"), How{}); !errors.As(err, &mounted) || mounted.At != "d/m" {
				t.Errorf("what has a mount in it is removed: %v", err)
			}
			for _, name := range []string{"d/m/.ifmatch", "d/m/.IFMATCH/format"} {
				if _, err := s.Stat(name); !errors.Is(err, volumes.ErrReserved) {
					t.Errorf("%s: %v", name, err)
				}
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			if left, _ := filepath.Glob(filepath.Join(dir, "d/m", volumes.OwnDir, volumes.StagePart,
				"*")); len(left) > 0 {
				t.Errorf("closed, and there is %q", left)
			}
			if err := unix.Unmount(filepath.Join(dir, "d/m"), 0); err != nil {
				t.Errorf("something is open: %v", err)
			}
		})
	}
}

// What a dead process has left on a file system of its own is seen to by the next one, wherever that is mounted then.
func TestRecoverPlace(t *testing.T) {
	dir, source := t.TempDir(), t.TempDir()
	mountTest(t, filepath.Join(dir, "m"), source)
	gone := openTest(t, dir, Options{History: true})
	createTest(t, gone, "m/replaced", "1")
	removeTest(t, gone, "m/replaced")
	createTest(t, gone, "m/taken", "2")
	dead, err := gone.Stage("m/f")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := gone.Take("m/taken", see(t, gone, "m/taken"), How{Cause: "MOVE"}); err != nil {
		t.Fatal(err)
	}
	lives := openTest(t, dir, Options{History: true})
	staged, err := lives.Stage("m/g")
	if err != nil {
		t.Fatal(err)
	}
	abandon(gone)
	dead.endWriting()
	dead.at.Close()
	if err := unix.Unmount(filepath.Join(dir, "m"), 0); err == nil {
		t.Error("a staged file is open, and it can be unmounted")
	}
	staged.endWriting()
	staged.at.Close()
	if err := unix.Unmount(filepath.Join(dir, "m"), 0); err != nil {
		t.Fatal(err)
	}
	mountTest(t, filepath.Join(dir, "elsewhere"), source)

	if !lives.Discover() {
		t.Error("it is not found")
	}
	if err := recoverTest(t, lives); err != nil {
		t.Error(err)
	}
	keeps(t, lives, "elsewhere/taken", "2")
	keeps(t, lives, "elsewhere/replaced", "1")
	left, err := os.ReadDir(filepath.Join(source, volumes.OwnDir, volumes.StagePart))
	if err != nil || len(left) != 1 || left[0].Name() != lives.ID {
		t.Errorf("in the staging directory: %v, %v", left, err)
	}
	if err := unix.Unmount(filepath.Join(dir, "elsewhere"), 0); err != nil {
		t.Fatal(err)
	}
	lives.Discover()
	if got := lives.volumes(); len(got) != 1 {
		t.Errorf("it is not forgotten: %d", len(got))
	}
	// What it was mounted on is of the root.
	createTest(t, lives, "m/f", "3")
	if _, err := os.Stat(filepath.Join(dir, "m", volumes.OwnDir)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a state directory: %v", err)
	}
}

// Somebody has removed the state directory of a file system.
func TestPlaceWithoutState(t *testing.T) {
	dir := t.TempDir()
	mountTest(t, filepath.Join(dir, "m"), "")
	s := openTest(t, dir, Options{History: true})
	for _, name := range []string{"m/f", "m/g"} {
		createTest(t, s, name, "1")
		if err := os.RemoveAll(filepath.Join(dir, "m", volumes.OwnDir)); err != nil {
			t.Fatal(err)
		}
	}
	s.Discover()
	removeTest(t, s, "m/f")
	keeps(t, s, "m/f", "1")
}

// A file system that is full has its own history give way, and what is on it can be removed though there is none.
func TestFullPlace(t *testing.T) {
	dir := t.TempDir()
	mountTest(t, filepath.Join(dir, "m"), "")
	s := openTest(t, dir, Options{History: true})
	createTest(t, s, "m/first", "so that it is known")
	// Each version is in a directory of its own.
	if err := s.Expire(t.Context(), history.Retention{Keep: time.Hour, Most: 1 << 20}); err != nil {
		t.Fatal(err)
	}
	large := strings.Repeat("0123456789abcdef", 24<<10) // three eighths of it
	createTest(t, s, "f", "1")
	removeTest(t, s, "f")
	for range 4 {
		createTest(t, s, "m/f", large)
		removeTest(t, s, "m/f")
	}
	keeps(t, s, "f", "1")
	createTest(t, s, "m/f", large)
	if _, err := s.StageFor(t.Context(), room.Need{Name: "m/g", Length: int64(len(large))}); !volumes.IsFull(err) {
		t.Errorf("there is room only if the newest version of another one goes: %v", err)
	}
	st, err := s.Stage("m/h")
	if err != nil {
		t.Fatal(err)
	}
	defer st.Discard()
	if _, err := st.Write([]byte(large)); !volumes.IsFull(err) {
		t.Errorf("it is full: %v", err)
	}
	keeps(t, s, "f", "1")
	keeps(t, s, "m/f", large)
	space, err := s.Space("m/f")
	if root, failed := s.Space(""); err != nil || failed != nil || space.Size != 1<<20 || root.Size <= space.Size {
		t.Errorf("the space there is %+v, %v, and of the root %+v, %v", space, err, root, failed)
	}

	// It was full before anything was staged.
	mountTest(t, filepath.Join(dir, "full"), "")
	lay(t, dir, "full/f=1")
	fill, err := os.Create(filepath.Join(dir, "full/fill"))
	if err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = fill.WriteString(large[:4096])
	}
	fill.Close()
	if _, err := s.Stage("full/g"); !volumes.IsFull(err) {
		t.Errorf("staged in what is full: %v", err)
	}
	if err := s.Remove(s.At("full/f"), see(t, s, "full/f"), How{Exact: true, Unkept: true}); err != nil {
		t.Errorf("nothing can be removed: %v", err)
	}
}

// Short names of FAT are no way into a state directory, at whatever depth.
func TestShortName(t *testing.T) {
	dir := t.TempDir()
	lay(t, dir, "d/", "d/.ifmatch/", "d/.ifmatch/secret=1", "d/IFMATC~2=of a user")
	s := openTest(t, dir, Options{})
	if _, err := s.Stat("d/IFMATC~2"); err != nil {
		t.Errorf("it is only called so: %v", err)
	}
	if err := os.Remove(filepath.Join(dir, "d/IFMATC~2")); err != nil {
		t.Fatal(err)
	}
	mountTest(t, filepath.Join(dir, "d/IFMATC~2"), filepath.Join(dir, "d/.ifmatch")) // one directory with two names
	for _, name := range []string{"d/IFMATC~2", "d/ifmatc~2/secret", "d/IFMATC~2/secret"} {
		if _, err := s.Stat(name); !errors.Is(err, volumes.ErrReserved) && !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Where not even a state directory can be made, a removal says that the disk is full.
func TestFullPlaceWithoutState(t *testing.T) {
	dir := t.TempDir()
	mountTest(t, filepath.Join(dir, "m"), "")
	lay(t, dir, "m/f=1")
	s := openTest(t, dir, Options{History: true, Before: func(c vfs.Call) error {
		if c.Op == "mkdir" && strings.HasPrefix(c.Name, "m/") {
			return &os.PathError{Op: c.Op, Path: c.Name, Err: syscall.ENOSPC}
		}
		return nil
	}})
	for _, unkept := range []bool{false, true} {
		if err := s.Remove(s.At("m/f"), see(t, s, "m/f"), How{Exact: true, Unkept: unkept}); !volumes.IsFull(err) {
			t.Errorf("unkept %v: got error %v", unkept, err)
		}
	}
	has(t, dir, "m/f", "1")
}

// Without openat2 nobody tells of mounts: a file system is known by its device, what was not tried is not relied upon,
// and it is its own history that gives way.
func TestPlaceWithoutOpenat2(t *testing.T) {
	dir := t.TempDir()
	mountTest(t, filepath.Join(dir, "m"), "")
	lay(t, dir, "m/theirs=1")
	s := openWithoutOpenat2(t, dir, Options{History: true})
	if able := s.AbilitiesOf(see(t, s, "m/theirs")); able != (volumes.Abilities{}) {
		t.Errorf("it was not tried, and is relied upon: %s", able)
	}
	createTest(t, s, "f", "1")
	removeTest(t, s, "f")
	st, err := s.Stage("m/f")
	if err != nil {
		t.Fatal(err)
	}
	defer st.Discard()
	for err == nil {
		_, err = st.Write(make([]byte, 64<<10))
	}
	if !volumes.IsFull(err) {
		t.Errorf("got error %v", err)
	}
	keeps(t, s, "f", "1")
}

// A server died in a commit on a file system to which no other one has written yet.
func TestRecoverStagedInPlace(t *testing.T) {
	dir := t.TempDir()
	mountTest(t, filepath.Join(dir, "m"), "")
	gone := openTest(t, dir, Options{History: true})
	createTest(t, gone, "m/f", "1")
	st, err := gone.Stage("m/f")
	if err != nil {
		t.Fatal(err)
	}
	st.endWriting()
	ours, err := st.Info()
	if err != nil {
		t.Fatal(err)
	}
	entry, err := st.volume.history.ArchiveStaged(st.at, ours.Inode, history.Note{Path: "m/f"})
	if err != nil {
		t.Fatal(err)
	}
	abandon(gone)
	if err := recoverTest(t, openTest(t, dir, Options{History: true})); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(filepath.Join(dir, entry.Name)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("what was staged is left: %v", err)
	}
}

// One file system is mounted instead of another one, and the kernel gives it the same numbers.
func TestPlaceWithTheNumbersOfAnother(t *testing.T) {
	dir := t.TempDir()
	at := filepath.Join(dir, "m")
	mountTest(t, at, "")
	s := openTest(t, dir, Options{})
	createTest(t, s, "m/f", "1")
	if err := unix.Unmount(at, 0); err != nil {
		t.Fatal(err)
	}
	mountTest(t, at, "")
	lay(t, dir, "m/.ifmatch/stage/", "m/.ifmatch/format=1\n", "m/f=2")
	s.volumes()[1].Device = volumes.DeviceOf(see(t, s, "m"))
	s.Discover()
	if able := s.AbilitiesOf(see(t, s, "m/f")); able != (volumes.Abilities{}) {
		t.Errorf("it was not tried, and is relied upon: %s", able)
	}
}
