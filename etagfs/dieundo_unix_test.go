//go:build unix

package etagfs_test

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ifmatch/fs"
	"ifmatch/tree"
)

// An accident is what a server has done in a collection d since a time.
type accident struct {
	name string
	do   func(s tree.Store) error
}

func accidentsToUndo() []accident {
	move := func(s tree.Store, from, to string) error {
		_, _, err := s.Move(ctx, from, to, tree.CopyOptions{}, tree.Condition{})
		return err
	}
	return []accident{
		{"overwritten", func(s tree.Store) error {
			return errors.Join(put(s, "d/f", "new", tree.Condition{}), put(s, "d/g", "new too", tree.Condition{}))
		}},
		{"removed", func(s tree.Store) error {
			return errors.Join(s.Remove(ctx, "d/f", tree.Condition{}), s.Remove(ctx, "d/e", tree.Condition{}))
		}},
		{"created", func(s tree.Store) error {
			return errors.Join(put(s, "d/x", "new", tree.Condition{}), lay("d/y/", "d/y/z=new")(s))
		}},
		{"moved", func(s tree.Store) error { return errors.Join(move(s, "d/f", "d/x"), move(s, "d/e", "d/y")) }},
		{"moved over", func(s tree.Store) error { return move(s, "d/f", "d/g") }},
	}
}

// undoKinds are restores of d as of the time that the file "at" tells.
func undoKinds() []kind {
	return []kind{{
		name:  "restore-at",
		setup: func(tree.Store) error { return nil }, // the tree is there
		do: func(s tree.Store) error {
			noted, state, err := s.Open(ctx, "at", tree.ReadOptions{}, tree.Condition{})
			if err != nil {
				return err
			}
			defer noted.Close()
			var text bytes.Buffer
			if _, err := noted.WriteRange(ctx, &text, 0, state.Size); err != nil {
				return err
			}
			at, err := time.Parse(time.RFC3339Nano, text.String())
			if err != nil {
				return err
			}
			result, err := s.(tree.Undoer).RestoreAt(ctx, "d", at, tree.RestoreAtOptions{})
			if err == nil && result.Left != nil {
				err = fmt.Errorf("it leaves %+v", result.Left)
			}
			return err
		},
	}}
}

// TestDieInARestoreAsOfATime kills a process at every system call of a restore as of a time. Another one makes the tree
// what it was then: it takes nothing that the first one has done for a change by a program on the disk.
func TestDieInARestoreAsOfATime(t *testing.T) {
	restore := undoKinds()[0]
	for _, a := range accidentsToUndo() {
		for _, beside := range []string{"nothing", "a server that watches", "a server that starts", "an index that was lost"} {
			t.Run(a.name+"/"+beside, func(t *testing.T) {
				t.Parallel()
				// A server tells of the changes, too. One that starts does not know which it has told of.
				watched, starts := beside == "a server that watches", beside == "a server that starts"
				for n := 1; ; n++ {
					dir := quickDir(t)
					s := openQuietly(t, dir, fs.Options{})
					if err := lay("d/", "d/f=old", "d/g=old too", "d/e/", "d/e/h=old")(s); err != nil {
						t.Fatal(err)
					}
					before := contentsOf(t, filepath.Join(dir, "d"))
					at := tick(t)
					err := errors.Join(put(s, "at", at.Format(time.RFC3339Nano), tree.Condition{}), a.do(s))
					if err == nil && !watched {
						err = s.Close()
					}
					if err != nil {
						t.Fatal(err)
					}
					if beside == "an index that was lost" { // so the ETag of what gives way is not known
						if err := os.RemoveAll(filepath.Join(dir, ".ifmatch", "index")); err != nil {
							t.Fatal(err)
						}
					}
					names := contentsOf(t, dir)
					died, call := dieIn(t, dir, restore, n, 0)
					if starts {
						s = openQuietly(t, dir, fs.Options{})
					}
					if watched || starts {
						maps.Copy(names, contentsOf(t, dir))
						for name := range names {
							s.Changed(name)
						}
						s.Now(ctx)
						if err := s.Close(); err != nil {
							t.Error(err)
						}
					}
					again := openQuietly(t, dir, fs.Options{})
					if err := restore.do(again); err != nil {
						t.Errorf("death at %d, %s: the restore after it: %v", n, call, err)
					}
					if left := different(contentsOf(t, filepath.Join(dir, "d")), before); left != nil {
						t.Errorf("death at %d, %s: different from before:\n%s", n, call, strings.Join(left, "\n"))
					}
					if err := again.Close(); err != nil {
						t.Error(err)
					}
					os.RemoveAll(dir)
					if !died {
						return
					}
				}
			})
		}
	}
}
