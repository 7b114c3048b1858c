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

	"ifmatch/etagfs"
	"ifmatch/fs"
	"ifmatch/tree"
	"ifmatch/tree/treetest"
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
			"tryFlock find openDir lstat chtimes lstat openDir appendTo write renameNew exchange lstat lstat leased"},
		{"PUT over, If-Match", func(s tree.Store) error {
			return put(s, "d/f", "guarded", treetest.IfTag("d/f", treetest.TagOf("over")))
		},
			"lstat space create write openDir lstat open listAttrs fstat open lease",
			"tryFlock find openDir lstat chtimes lstat lease fstat " +
				"openDir appendTo write renameNew exchange lstat leased lstat leased"},
		{"PUT of the bytes that are there", func(s tree.Store) error { return put(s, "d/f", "guarded", tree.Condition{}) },
			"lstat space create write openDir lstat",
			"tryFlock find openDir lstat removeAll"},
		{"DELETE", func(s tree.Store) error { return s.Remove(ctx, "d/f", tree.Condition{}) },
			"",
			"tryFlock find openDir lstat lstat openDir appendTo write renameNew"},
		{"MKCOL", func(s tree.Store) error {
			_, err := s.Mkdir(ctx, "d/c", tree.MkdirOptions{}, tree.Condition{})
			return err
		},
			"",
			"tryFlock find openDir lstat mkdir lstat"},
	}
}

// TestWriteTrace compares the system calls of each way to write, once the directory of the hour in the history is
// there. The collection is resolved once under the lock, and each name is looked at once before the change.
func TestWriteTrace(t *testing.T) {
	seam, later := seam{}, time.Now().Add(time.Minute) // no file is written in the second of a commit
	now := func() time.Time { return later }
	below, err := fs.Open(t.TempDir(), fs.Options{Before: seam.before, History: true, Durability: fs.None, Now: now})
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
	if err := errors.Join(lay("d/", "d/f=content", "d/g=1")(s), s.Remove(ctx, "d/g", tree.Condition{})); err != nil {
		t.Fatal(err)
	}
	for _, w := range writes() {
		t.Run(w.name, func(t *testing.T) {
			var calls []string
			seam.arm(func(_ int, c fs.Call) error { calls = append(calls, c.Op); return nil })
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
		name, begun, set := fmt.Sprint("f", i), time.Now().Unix(), false
		seam.arm(func(_ int, c fs.Call) error { set = set || c.Op == "chtimes"; return nil })
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
			t.Errorf("written in the second %d, it has the date %v, which was set: %v; error %v", begun, state.Modified, set, err)
		}
		return
	}
	t.Error("no file was written within one second")
}

// A parentMove is what a local program does to the collection d of a name that is being written.
type parentMove struct {
	name string
	do   func(dir string) error
	at   string // where what was in the collection is then; "" where it is gone
}

func parentMoves() []parentMove {
	in := filepath.Join
	away := func(dir string) error { return os.Rename(in(dir, "d"), in(dir, "elsewhere", "e")) }
	return []parentMove{
		{"is moved", away, "elsewhere/e"},
		{"is moved, and another one takes its name", func(dir string) error {
			return errors.Join(away(dir), os.Mkdir(in(dir, "d"), 0o777))
		}, "elsewhere/e"},
		{"is moved, and a file takes its name", func(dir string) error {
			return errors.Join(away(dir), os.WriteFile(in(dir, "d"), nil, 0o666))
		}, "elsewhere/e"},
		{"is moved, and a link takes its name", func(dir string) error {
			return errors.Join(away(dir), os.Symlink("elsewhere", in(dir, "d")))
		}, "elsewhere/e"},
	}
}

// TestMoveOfTheCollectionAtEachCall: a local program moves the collection of a name at each system call of a write in
// turn. What is written, and what it replaces, is in the collection that was moved, or nothing has changed; or it is at
// the name, as another collection is there now. No version is lost, and none is anywhere else.
func TestMoveOfTheCollectionAtEachCall(t *testing.T) {
	for _, w := range []struct {
		name string
		do   func(s *etagfs.Store) error
		want string // the content of the file where it was written; "" for none
		made bool   // it was not there before
	}{
		{"PUT new", func(s *etagfs.Store) error { return put(s, "d/f", "new", treetest.IfAbsent("d/f")) }, "new", true},
		{"PUT over", func(s *etagfs.Store) error { return put(s, "d/f", "over", tree.Condition{}) }, "over", false},
		{"PUT over, If-Match", func(s *etagfs.Store) error {
			return put(s, "d/f", "guarded", treetest.IfTag("d/f", treetest.TagOf("old")))
		}, "guarded", false},
		{"DELETE", func(s *etagfs.Store) error { return s.Remove(ctx, "d/f", tree.Condition{}) }, "", false},
		{"COPY over", func(s *etagfs.Store) error { return copyTo("source", "d/f")(s) }, "source", false},
	} {
		for _, move := range parentMoves() {
			t.Run(w.name+", and the collection "+move.name, func(t *testing.T) {
				for n := 1; ; n++ {
					dir, seam := quickDir(t), seam{}
					s := openQuietly(t, dir, fs.Options{Before: seam.before, Durability: fs.None})
					lines := []string{"d/", "elsewhere/", "source=source", "d/f=old"}
					if w.made {
						lines = lines[:3]
					}
					if err := lay(lines...)(s); err != nil {
						t.Fatal(err)
					}
					var call fs.Call
					seam.arm(func(at int, c fs.Call) error {
						if at != n {
							return nil
						}
						call = c
						return move.do(dir)
					})
					err := w.do(s)
					seam.arm(nil)
					if call.Op == "" {
						s.Close()
						os.RemoveAll(dir)
						if n < 5 {
							t.Fatalf("there were %d calls", n-1)
						}
						break
					}
					checkMoved(t, fmt.Sprintf("at call %d, %s, the answer is %v", n, call, err), dir, move.at, w.want, w.made, err)
					if err := s.Close(); err != nil {
						t.Error(err)
					}
					if left := litter(t, dir); left != nil {
						t.Errorf("at call %d, %s, it leaves %q", n, call, left)
					}
					os.RemoveAll(dir)
				}
			})
		}
	}
}

// checkMoved checks what a write has done beside a move of its collection.
func checkMoved(t *testing.T, when, dir, at, want string, made bool, failed error) {
	t.Helper()
	content := func(name string) string {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			return ""
		}
		return string(data)
	}
	moved, here := content(at+"/f"), content("d/f")
	old := "old"
	if made {
		old = ""
	}
	var entries []string
	for _, name := range []string{"d/f", at + "/f"} {
		entries = append(entries, history(t, dir, name)...)
	}
	kept := slices.Contains(entries, "old")
	switch {
	case failed == nil && moved == want && here == "": // it was done in the collection that was moved
	case failed == nil && moved == old && here == want: // or in the one that has the name now
	case failed != nil && moved == old && here == "":
	default:
		t.Errorf("%s: what was moved has %q, and the name %q, want %q or %q", when, moved, here, want, old)
	}
	if !made && moved != "old" && !kept {
		t.Errorf("%s: the old version is lost: the history has %q", when, entries)
	}
}
