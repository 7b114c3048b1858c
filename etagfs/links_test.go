//go:build unix

package etagfs_test

import (
	"errors"
	"os"
	"syscall"
	"testing"

	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
	"r-seed-1f3a754f.example/ifmatch/fs/volumes"
	"r-seed-1f3a754f.example/ifmatch/tree"
	"r-seed-1f3a754f.example/ifmatch/tree/treetest"
)

func TestLinks(t *testing.T) {
	v := serve(t, "f=content", "d/", "d/g=inner")
	v.must(os.Symlink("f", v.path("to-f")), os.Symlink("d", v.path("to-d")), os.Symlink("no", v.path("broken")),
		os.Symlink("/etc/passwd", v.path("out")))
	v.wantTag("to-f", "content")
	v.wantTag("to-d/g", "inner")
	linked := map[string]bool{"f": false, "d": false, "to-f": true, "to-d": true}
	for _, round := range []string{"unknown tags", "known tags"} {
		for state, err := range treetest.Members(ctx, v, "", tree.WantTag) {
			want, ok := linked[state.Name]
			if err != nil || !ok || state.Link != want {
				t.Errorf("%s: got %+v, error %v", round, state, err)
			}
		}
		for name, want := range linked {
			if state, err := v.Stat(ctx, name, tree.ReadOptions{Want: tree.WantTag}); err != nil || state.Link != want {
				t.Errorf("%s: got %+v, error %v", round, state, err)
			}
		}
		v.Distrust()
	}
	for _, name := range []string{"to-f", "to-d/g", "to-d/new", "broken", "out"} {
		_, errMkdir := v.Mkdir(ctx, name, tree.MkdirOptions{}, tree.Condition{})
		for what, err := range map[string]error{
			"Put":             put(v, name, "x", tree.Condition{}),
			"Mkdir":           errMkdir,
			"Copy onto":       copyTo("f", name)(v),
			"Lock":            lock(name)(v),
			"PatchProperties": v.PatchProperties(ctx, name, patch("p", "v"), tree.Condition{}),
		} {
			if !errors.Is(err, vfs.ErrLink) {
				t.Errorf("%s of %q: got error %v", what, name, err)
			}
		}
	}
	if err := copyTo("to-f", "new")(v); !errors.Is(err, vfs.ErrLink) {
		t.Errorf("Copy of a link: got error %v", err)
	}
	v.must(v.Try(ctx, treetest.If(func(view tree.View) error {
		for _, name := range []string{"broken", "out"} {
			// There is something to be removed, and it has no tag.
			if state, err := view.State(name); err != nil || !state.Exists || !state.Link || !state.Dead ||
				state.Tag != "" {
				t.Errorf("State(%q) = %+v, error %v", name, state, err)
			}
		}
		return nil
	})))
	v.must(move("to-f", "moved")(v), v.Remove(ctx, "to-d", tree.Condition{}), v.Remove(ctx, "out", tree.Condition{}))
	if target, err := os.Readlink(v.path("moved")); target != "f" {
		t.Errorf("the moved link leads to %q, error %v", target, err)
	}
	v.must(copyTo("f", "d/h")(v), os.Symlink("/etc/passwd", v.path("d/out")), copyTo("d", "e")(v))
	if target, err := os.Readlink(v.path("e/out")); target != "/etc/passwd" {
		t.Errorf("the copied link leads to %q, error %v", target, err)
	}
	if _, _, err := v.Open(ctx, "e/out", tree.ReadOptions{Want: tree.WantTag}, tree.Condition{}); !errors.Is(err,
		volumes.ErrEscapes) {
		t.Errorf("through it: got error %v", err)
	}
	v.wantTag("f", "content")
	v.wantTag("d/g", "inner")
}

// A look at a name tells that a link is on the way to it, whether anything is there or not.
func TestStateTellsOfALinkOnTheWay(t *testing.T) {
	v := serve(t, "f=1", "d/", "d/e/", "d/e/f=2")
	v.must(os.Symlink("f", v.path("to-f")), os.Symlink("d", v.path("to-d")), os.Symlink("../e", v.path("d/e/to-e")),
		os.Symlink("no", v.path("broken")), os.Symlink("/etc", v.path("out")), os.Symlink("loop", v.path("loop")))
	v.must(v.Try(ctx, treetest.If(func(view tree.View) error {
		for name, want := range map[string]bool{
			"": false, "f": false, "to-f": false, "to-d": false, "broken": false, "out": false, "d/e/f": false,
			"d/no": false, "no/no/no": false,
			"to-d/e": true, "to-d/e/f": true, "to-d/no": true, "to-d/no/no": true, "d/e/to-e/f": true, "to-f/no": true,
			"broken/no": true, "out/passwd": true, "out/no": true, "loop/no": true,
		} {
			if state, err := view.State(name); state.Through != want {
				t.Errorf("State(%q) = %+v, error %v; want Through %v", name, state, err, want)
			}
		}
		return nil
	})))
}

func TestHardLinks(t *testing.T) {
	v := serve(t, "f=content")
	v.must(os.Link(v.path("f"), v.path("g")))
	v.must(move("f", "g")(v))
	if _, err := v.Stat(ctx, "f", tree.ReadOptions{}); !errors.Is(err, tree.ErrNotExist) {
		t.Errorf("what was moved is still there: error %v", err)
	}
	v.wantTag("g", "content")
	v.must(os.Link(v.path("g"), v.path("h")), put(v, "g", "new", tree.Condition{}))
	v.wantTag("g", "new")
	v.wantTag("h", "content")
}

func TestReservedAndSpecial(t *testing.T) {
	v := serve(t, "f=content", "d/")
	v.must(syscall.Mkfifo(v.path("pipe"), 0o666))
	for name, want := range map[string]error{
		".ifmatch": tree.ErrReserved, ".ifmatch/format": tree.ErrReserved, ".IFMATCH/new": tree.ErrReserved,
		"d/.ifmatch": tree.ErrReserved, "pipe": tree.ErrNotServed,
	} {
		_, errStat := v.Stat(ctx, name, tree.ReadOptions{Want: tree.WantTag})
		_, _, errOpen := v.Open(ctx, name, tree.ReadOptions{Want: tree.WantTag}, tree.Condition{})
		_, errMkdir := v.Mkdir(ctx, name, tree.MkdirOptions{}, tree.Condition{})
		for what, err := range map[string]error{
			"Stat": errStat, "Open": errOpen, "Put": put(v, name, "x", tree.Condition{}),
			"Remove":    v.Remove(ctx, name, tree.Condition{}),
			"Move from": move(name, "x")(v), "Move to": move("f", name)(v), "Copy from": copyTo(name, "x")(v),
			"Copy to": copyTo("f", name)(v), "Lock": lock(name)(v),
			"PatchProperties": v.PatchProperties(ctx, name, patch("p", "v"), tree.Condition{}),
		} {
			if !errors.Is(err, want) {
				t.Errorf("%s %q: got error %v, want %v", what, name, err, want)
			}
		}
		if !errors.Is(errMkdir, want) && !errors.Is(errMkdir, tree.ErrExist) {
			t.Errorf("Mkdir %q: got error %v", name, errMkdir)
		}
	}
	for state, err := range treetest.Members(ctx, v, "", tree.WantTag) {
		if err != nil || state.Name != "f" && state.Name != "d" {
			t.Errorf("listed: %+v, error %v", state, err)
		}
	}
}
