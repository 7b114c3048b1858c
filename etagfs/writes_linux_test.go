package etagfs_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"r-seed-1f3a754f.example/ifmatch/etagfs"
	"r-seed-1f3a754f.example/ifmatch/fs"
	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
	"r-seed-1f3a754f.example/ifmatch/tree"
	"r-seed-1f3a754f.example/ifmatch/tree/treetest"
)

// A write is a way to change a small file in a collection.
type write struct {
	name string
	do   func(s tree.Store) error
	// before are the system calls before the lock is taken, and under are those under it. "close" is not asked about,
	// nor is the end of a lock.
	before, under string
}

func writes() []write {
	return []write{
		{"PUT new", func(s tree.Store) error { return put(s, "d/new", "new", tree.Condition{}) },
			"lstat space create write openDir lstat lstat getAttr open lease",
			"tryFlock find openDir lstat lstat lstat chtimes lstat renameNew lstat leased"},
		{"PUT over", func(s tree.Store) error { return put(s, "d/f", "over", tree.Condition{}) },
			"lstat space create write openDir lstat open listAttrs fstat open lease",
			"tryFlock find openDir lstat chtimes lstat find write renameNew exchange lstat lstat leased"},
		{"PUT over, If-Match", func(s tree.Store) error {
			return put(s, "d/f", "guarded", treetest.IfTag("d/f", treetest.TagOf("over")))
		},
			"lstat space create write openDir lstat open listAttrs fstat open lease",
			"tryFlock find openDir lstat chtimes lstat lease fstat " +
				"find write renameNew exchange lstat leased lstat leased"},
		{"PUT of the bytes that are there",
			func(s tree.Store) error { return put(s, "d/f", "guarded", tree.Condition{}) },
			"lstat space create write openDir lstat",
			"tryFlock find openDir lstat removeAll"},
		{"DELETE", func(s tree.Store) error { return s.Remove(ctx, "d/f", tree.Condition{}) },
			"",
			"tryFlock find openDir lstat lstat find write renameNew"},
		{"MKCOL", func(s tree.Store) error {
			_, err := s.Mkdir(ctx, "d/c", tree.MkdirOptions{}, tree.Condition{})
			return err
		},
			"",
			"tryFlock find openDir lstat lstat mkdir lstat"},
	}
}

// TestWriteTrace compares the system calls of each way to write, soon after another write: the directory of the hour in
// the history is there, and is still open with its notes. The collection is resolved once under the lock, and each name is looked at once before the change.
func TestWriteTrace(t *testing.T) {
	seam, later := seam{}, time.Now().Add(time.Minute) // no file is written in the second of a commit
	now := func() time.Time { return later }
	below, err := fs.Open(t.TempDir(),
		fs.Options{Before: seam.before, History: true, Durability: fs.None, Now: now, Linger: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	s, err := etagfs.New(below, etagfs.Options{Now: now})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if !s.Abilities().Exchange || !s.Abilities().Leases {
		t.Skip("NOT RUN: names cannot be exchanged here, or there are no leases")
	}
	if err := errors.Join(lay("d/", "d/f=content", "d/g=1", "d/h=1")(s), s.Remove(ctx, "d/g", tree.Condition{}),
		s.Remove(ctx, "d/h", tree.Condition{})); err != nil {
		t.Fatal(err)
	}
	for _, w := range writes() {
		t.Run(w.name, func(t *testing.T) {
			var calls []string
			seam.arm(func(_ int, c vfs.Call) error { calls = append(calls, c.Op); return nil })
			err := w.do(s)
			seam.arm(nil)
			if err != nil {
				t.Fatal(err)
			}
			locked := slices.Index(calls, "tryFlock")
			if locked < 0 {
				t.Fatalf("it takes no lock: %q", calls)
			}
			before, under := strings.Join(calls[:locked], " "), strings.Join(calls[locked:], " ")
			if before != w.before || under != w.under {
				t.Errorf("the calls are\n%s\n%s\nwant\n%s\n%s", before, under, w.before, w.under)
			}
		})
	}
}

// TestNewFileHasTheTimeOfItsWriting: its date is not set where no other version can have been shown with it.
func TestNewFileHasTheTimeOfItsWriting(t *testing.T) {
	seam := seam{}
	s := openQuietly(t, t.TempDir(), fs.Options{Before: seam.before, Durability: fs.None})
	defer s.Close()
	for i := range 1000 {
		// The clock of the stamps of files is some milliseconds behind.
		var stamp unix.Timespec
		if err := unix.ClockGettime(unix.CLOCK_REALTIME_COARSE, &stamp); err != nil {
			t.Fatal(err)
		}
		name, begun, set := fmt.Sprint("f", i), int64(stamp.Sec), false
		seam.arm(func(_ int, c vfs.Call) error { set = set || c.Op == "chtimes"; return nil })
		err := put(s, name, "content", tree.Condition{})
		seam.arm(nil)
		if err != nil {
			t.Fatal(err)
		}
		if begun != time.Now().Unix() {
			continue // it may have been written in one second, and committed in the next
		}
		state, err := s.Stat(ctx, name, tree.ReadOptions{})
		if err != nil || set || state.Modified.Unix() != begun {
			t.Errorf("written in the second %d, it has the date %v, which was set: %v; error %v", begun, state.Modified,
				set, err)
		}
		return
	}
	t.Error("no file was written within one second")
}

// A parentMove is what a local program does to the collection d of a name that is being written: it moves it to
// elsewhere/e, and puts something else in its place.
type parentMove struct {
	name string
	do   func(dir string) error
}

// The modes of the file d/f, and of another one that comes in its place.
const oldMode, otherMode = 0o600, 0o644

func parentMoves() []parentMove {
	in := filepath.Join
	away := func(dir string) error { return os.Rename(in(dir, "d"), in(dir, "elsewhere", "e")) }
	return []parentMove{
		{"is moved", away},
		{"is moved, and another one takes its name", func(dir string) error {
			return errors.Join(away(dir), os.Mkdir(in(dir, "d"), 0o777))
		}},
		{"is moved, and another one with such a file takes its name", func(dir string) error {
			return errors.Join(away(dir), os.Mkdir(in(dir, "d"), 0o777),
				os.WriteFile(in(dir, "d/f"), []byte("other"), otherMode))
		}},
		{"is moved, and a file takes its name", func(dir string) error {
			return errors.Join(away(dir), os.WriteFile(in(dir, "d"), nil, 0o666))
		}},
		{"is moved, and a link takes its name", func(dir string) error {
			return errors.Join(away(dir), os.Symlink("elsewhere", in(dir, "d")))
		}},
	}
}

// A movedWrite is a write of d/f.
type movedWrite struct {
	name    string
	do      func(s *etagfs.Store) error
	old     string // the content before it, "" for none
	want    string // and after it
	guarded bool   // it must leave another version than the old one alone
}

func movedWrites() []movedWrite {
	ifOld := treetest.IfTag("d/f", treetest.TagOf("old"))
	return []movedWrite{
		{"PUT new", func(s *etagfs.Store) error { return put(s, "d/f", "new", treetest.IfAbsent("d/f")) }, "", "new",
			true},
		{"PUT over", func(s *etagfs.Store) error { return put(s, "d/f", "over", tree.Condition{}) }, "old", "over",
			false},
		{"PUT over, If-Match", func(s *etagfs.Store) error { return put(s, "d/f", "guarded", ifOld) }, "old", "guarded",
			true},
		{"DELETE", func(s *etagfs.Store) error { return s.Remove(ctx, "d/f", tree.Condition{}) }, "old", "", false},
		{"DELETE, If-Match", func(s *etagfs.Store) error { return s.Remove(ctx, "d/f", ifOld) }, "old", "", true},
		{"COPY over", func(s *etagfs.Store) error { return copyTo("source", "d/f")(s) }, "old", "source", false},
	}
}

// TestMoveOfTheCollectionAtEachCall: a local program moves the collection of a name at each system call of a write in
// turn. The write is done in the collection that was moved, or in another one that has its name by then, with all that
// a file has from what was there; or nothing has changed. No version is lost, and none is anywhere else.
func TestMoveOfTheCollectionAtEachCall(t *testing.T) {
	for _, w := range movedWrites() {
		for _, move := range parentMoves() {
			t.Run(w.name+", and the collection "+move.name, func(t *testing.T) {
				n := 1
				for w.doBeside(t, move, n) {
					n++
				}
				if n < 6 {
					t.Errorf("there were %d calls", n-1)
				}
			})
		}
	}
}

// doBeside does the write beside a move at its n-th call. It returns false if the move has fewer calls.
func (w movedWrite) doBeside(t *testing.T, move parentMove, n int) bool {
	t.Helper()
	dir, seam := quickDir(t), seam{}
	defer os.RemoveAll(dir)
	s := openQuietly(t, dir, fs.Options{Before: seam.before, Durability: fs.None})
	err := lay("d/", "elsewhere/", "source=source")(s)
	if err == nil && w.old != "" {
		err = errors.Join(lay("d/f=old")(s), os.Chmod(filepath.Join(dir, "d/f"), oldMode))
	}
	if err != nil {
		t.Fatal(err)
	}
	var call vfs.Call
	seam.arm(func(at int, c vfs.Call) error {
		if at != n {
			return nil
		}
		call = c
		return move.do(dir)
	})
	err = w.do(s)
	seam.arm(nil)
	if closed := s.Close(); closed != nil {
		t.Error(closed)
	}
	if call.Op == "" {
		return false
	}
	when := fmt.Sprintf("at call %d, %s, the answer is %v", n, call, err)
	w.check(t, when, dir, err)
	if left := litter(t, dir); left != nil {
		t.Errorf("%s: it leaves %q", when, left)
	}
	return true
}

// check checks what a write has done beside a move of its collection.
func (w movedWrite) check(t *testing.T, when, dir string, failed error) {
	t.Helper()
	look := func(name string) (string, os.FileMode) {
		name = filepath.Join(dir, name)
		data, err := os.ReadFile(name)
		if err != nil {
			return "", 0
		}
		info, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		return string(data), info.Mode().Perm()
	}
	moved, movedMode := look("elsewhere/e/f")
	here, hereMode := look("d/f")
	entries := append(versionsOf(t, dir, "d/f"), versionsOf(t, dir, "elsewhere/e/f")...)
	other := slices.Contains(entries, "other")
	inherits := strings.HasPrefix(w.name, "PUT over")
	switch {
	case failed == nil && moved == w.want && (here == "" || here == "other"): // done in the collection that was moved
		if inherits && movedMode != oldMode {
			t.Errorf("%s: it has the mode %v, want that of what it replaces", when, movedMode)
		}
	case failed == nil && moved == w.old && here == w.want && !(other && w.guarded): // or in the other one
		if inherits && other && hereMode != otherMode || inherits && !other && hereMode == oldMode {
			t.Errorf("%s: it has the mode %v, which is not that of what it replaces", when, hereMode)
		}
	case failed != nil && moved == w.old && (here == "" || here == "other"):
	default:
		t.Errorf("%s: the collection that was moved has %q, and the name %q; want %q in place of %q",
			when, moved, here, w.want, w.old)
	}
	if w.old != "" && moved != w.old && !slices.Contains(entries, w.old) {
		t.Errorf("%s: the old version is lost: the history has %q", when, entries)
	}
}
