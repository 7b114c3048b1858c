package etagfs_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
	"r-seed-1f3a754f.example/ifmatch/tree"
	"r-seed-1f3a754f.example/ifmatch/tree/treetest"
)

// A file whose tag is known is not hashed again because commits rename it, whatever comes between.

// TestMoveKeepsTheTagWhereItsDestinationHasGone: another client removes the destination after the note of the move was
// written, so that the move replaces nothing.
func TestMoveKeepsTheTagWhereItsDestinationHasGone(t *testing.T) {
	p := openPaused(t, quickDir(t))
	if !p.Abilities().FineTimes || !p.Abilities().Leases {
		t.Skip("NOT RUN: no tag is remembered at once here")
	}
	if err := lay("f=1", "g=2")(p.Store); err != nil {
		t.Fatal(err)
	}
	var hashed []vfs.Call
	removed := false
	p.come(func(c vfs.Call) {
		if c.Op == "syncDir" && c.Name == ".ifmatch/moving" && !removed {
			removed = true
			if err := p.Remove(ctx, "g", tree.Condition{}); err != nil {
				t.Error(err)
			}
		}
		if c.Op == "readAt" {
			hashed = append(hashed, c)
		}
	})
	state, created, err := p.Move(ctx, "f", "g", tree.CopyOptions{}, tree.Condition{})
	if err != nil || !created || !removed || state.Tag != treetest.TagOf("1") {
		t.Errorf("Move returned %+v, %v, %v; want the tag of what was moved, to a new name", state, created, err)
	}
	state, err = p.Stat(ctx, "g", tree.ReadOptions{Want: tree.WantTag})
	p.come(nil)
	if err != nil || state.Tag != treetest.TagOf("1") {
		t.Errorf("Stat returned %+v, %v", state, err)
	}
	if len(hashed) > 0 {
		t.Errorf("it is hashed again: %v", hashed)
	}
}

// TestFileThatIsRenamedAllTheTimeIsReadWithItsTag: each rename changes the time of change, and not the content. A lease
// tells the two apart, so one hash is enough.
func TestFileThatIsRenamedAllTheTimeIsReadWithItsTag(t *testing.T) {
	p := openPaused(t, quickDir(t))
	if !p.Abilities().FineTimes || !p.Abilities().LeasesSeeMaps {
		t.Skip("NOT RUN: a lease proves no content here")
	}
	if err := lay("f=1")(p.Store); err != nil {
		t.Fatal(err)
	}
	p.Distrust()
	at, other := p.path("f"), p.path("other")
	renamed := 0
	p.come(func(c vfs.Call) {
		if c.Op == "readAt" {
			renamed++
			if err := os.Rename(at, other); err != nil {
				t.Error(err)
			}
			if err := os.Rename(other, at); err != nil {
				t.Error(err)
			}
		}
	})
	content, state, err := p.Open(ctx, "f", tree.ReadOptions{Want: tree.WantTag}, tree.Condition{})
	p.come(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer content.Close()
	if state.Tag != treetest.TagOf("1") || renamed != 1 {
		t.Errorf("it was read %d times, and its state is %+v; want the tag after one time", renamed, state)
	}
	var calls []vfs.Call
	p.come(func(c vfs.Call) { calls = append(calls, c) })
	state, err = p.Stat(ctx, "f", tree.ReadOptions{Want: tree.WantTag})
	p.come(nil)
	if err != nil || state.Tag != treetest.TagOf("1") || len(calls) != 1 {
		t.Errorf("after that, Stat returned %+v, %v with the calls %v; want one look", state, err, calls)
	}
}

// TestSmallFileIsReadWithItsTagWithoutLeases: a rename cannot be told from a change there, and the file is small enough
// to be hashed some more times.
func TestSmallFileIsReadWithItsTagWithoutLeases(t *testing.T) {
	p := openPaused(t, quickDir(t), "lease")
	if err := lay("f=1")(p.Store); err != nil {
		t.Fatal(err)
	}
	p.Distrust()
	renamed := 0
	p.come(func(c vfs.Call) {
		if c.Op == "readAt" && renamed < 5 {
			renamed++
			err := errors.Join(os.Rename(p.path("f"), p.path("other")), os.Rename(p.path("other"), p.path("f")))
			if err != nil {
				t.Error(err)
			}
		}
	})
	state, err := p.Stat(ctx, "f", tree.ReadOptions{Want: tree.WantTag})
	p.come(nil)
	if err != nil || state.Tag != treetest.TagOf("1") || renamed != 5 {
		t.Errorf("it was renamed %d times, and Stat returned %+v, %v", renamed, state, err)
	}
}

// TestWriterThatComesDuringAHashIsSeen: a local program opens the file for writing, which ends the lease, and writes.
// It may even set all times back but the time of change.
func TestWriterThatComesDuringAHashIsSeen(t *testing.T) {
	p := openPaused(t, quickDir(t))
	if err := lay("f=1")(p.Store); err != nil {
		t.Fatal(err)
	}
	before, err := os.Stat(p.path("f"))
	if err != nil {
		t.Fatal(err)
	}
	p.Distrust()
	written := make(chan error, 1)
	reads := 0
	p.come(func(c vfs.Call) {
		if c.Op != "readAt" {
			return
		}
		if reads++; reads > 1 {
			return
		}
		started := make(chan bool)
		go func() {
			close(started)
			err := os.WriteFile(p.path("f"), []byte("2"), 0) // it waits until the lease is given up
			if err == nil {
				err = os.Chtimes(p.path("f"), before.ModTime(), before.ModTime())
			}
			written <- err
		}()
		<-started
	})
	_, err = p.Stat(ctx, "f", tree.ReadOptions{Want: tree.WantTag})
	p.come(nil)
	if err := <-written; err != nil {
		t.Fatal(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	state, err := p.Stat(ctx, "f", tree.ReadOptions{Want: tree.WantTag})
	if err != nil || state.Tag != treetest.TagOf("2") {
		t.Errorf("after the write, Stat returned %+v, %v", state, err)
	}
}

// path returns the name of a file for other programs.
func (p *paused) path(name string) string { return filepath.Join(p.dir, name) }
