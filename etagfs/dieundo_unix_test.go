//go:build unix

package etagfs_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"r-seed-1f3a754f.example/ifmatch/etagfs"
	"r-seed-1f3a754f.example/ifmatch/fs"
	"r-seed-1f3a754f.example/ifmatch/tree"
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
		{"exchanged", func(s tree.Store) error {
			return errors.Join(move(s, "d/f", "d/x"), move(s, "d/g", "d/f"), move(s, "d/x", "d/g"))
		}},
		{"folders exchanged", func(s tree.Store) error {
			return errors.Join(lay("d/y/", "d/y/z=new")(s), move(s, "d/e", "d/x"), move(s, "d/y", "d/e"),
				move(s, "d/x", "d/y"))
		}},
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
			return restoreD(s, at)
		},
	}}
}

// restoreD restores d as of a time. It fails if anything is left as it is.
func restoreD(s tree.Store, at time.Time) error {
	result, err := s.(tree.Undoer).RestoreAt(ctx, "d", at, tree.RestoreAtOptions{})
	if err == nil && result.Left != nil {
		err = fmt.Errorf("it leaves %+v", result.Left)
	}
	return err
}

// TestDieInARestoreAsOfATime kills a process at every system call of a restore as of a time. Another one makes the tree
// what it was then: it takes nothing that the first one has done for a change by a program on the disk. It is taken
// back, and done once more, also across what the first one has written to the journal and has not done.
func TestDieInARestoreAsOfATime(t *testing.T) {
	for _, a := range accidentsToUndo() {
		for _, beside := range []string{"nothing", "a server that watches", "a server that starts",
			"an index that was lost"} {
			t.Run(a.name+"/"+beside, func(t *testing.T) {
				t.Parallel()
				for n := 1; dieInARestoreAt(t, a, beside, n); n++ {
				}
			})
		}
	}
}

func dieInARestoreAt(t *testing.T, a accident, beside string, n int) (died bool) {
	t.Helper()
	// A server tells of the changes, too. One that starts does not know which it has told of.
	watched, starts := beside == "a server that watches", beside == "a server that starts"
	dir := quickDir(t)
	defer os.RemoveAll(dir)
	s := openQuietly(t, dir, fs.Options{})
	names := map[string]string{}
	tells := func() {
		maps.Copy(names, contentsOf(t, dir))
		for name := range names {
			s.Changed(name)
			s.Removed(name)
		}
		if watched || starts {
			s.Watched(func(context.Context) error { return nil }) // so that Now waits for what is told
			s.Now(ctx)
		}
	}
	if err := lay("d/", "d/f=old", "d/g=old too", "d/e/", "d/e/h=old")(s); err != nil {
		t.Fatal(err)
	}
	tells()
	before := contentsOf(t, filepath.Join(dir, "d"))
	at := tick(t)
	if err := errors.Join(put(s, "at", at.Format(time.RFC3339Nano), tree.Condition{}), a.do(s)); err != nil {
		t.Fatal(err)
	}
	tells()
	after := contentsOf(t, filepath.Join(dir, "d"))
	if !watched {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if beside == "an index that was lost" { // so the ETag of what gives way is not known
		if err := os.RemoveAll(filepath.Join(dir, ".ifmatch", "index")); err != nil {
			t.Fatal(err)
		}
	}
	middle := tick(t)
	restore := undoKinds()[0]
	died, call := dieIn(t, dir, restore, n, 0)
	if starts {
		s = openQuietly(t, dir, fs.Options{})
	}
	if watched || starts {
		tells()
	}
	for i, as := range []struct {
		at   time.Time
		want map[string]string
	}{{at, before}, {middle, after}, {at, before}} {
		if err := restoreAlone(dir, as.at); err != nil {
			t.Errorf("death at %d, %s: restore %d after it: %v", n, call, i, err)
		}
		if left := different(contentsOf(t, filepath.Join(dir, "d")), as.want); left != nil {
			t.Errorf("death at %d, %s: different after restore %d:\n%s", n, call, i, strings.Join(left, "\n"))
		}
		if watched || starts {
			tells()
		}
	}
	if watched || starts {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	return died
}

// restoreAlone restores d as of a time, as a process of its own does.
func restoreAlone(dir string, at time.Time) error {
	below, err := fs.Open(dir, fs.Options{History: true})
	if err != nil {
		return err
	}
	s, err := etagfs.New(below, etagfs.Options{Journal: true})
	if err != nil {
		return err
	}
	return errors.Join(restoreD(s, at), s.Close())
}
