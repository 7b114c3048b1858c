//go:build unix

package etagfs_test

import (
	"errors"
	"path/filepath"
	"sync/atomic"
	"testing"

	"r-seed-1f3a754f.example/ifmatch/etagfs"
	"r-seed-1f3a754f.example/ifmatch/fs"
	"r-seed-1f3a754f.example/ifmatch/fs/history"
	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
	"r-seed-1f3a754f.example/ifmatch/tree"
	"r-seed-1f3a754f.example/ifmatch/tree/treetest"
)

// A served is a store over a directory, of which a test looks at both sides.
type served struct {
	*etagfs.Store
	t     *testing.T
	dir   string
	clock *treetest.Clock
	seam  seam
	reads atomic.Int32 // how often a file was read, to be hashed or copied

	gave     atomic.Int32 // how often the history gave way
	noLeases bool
	mapping  []byte // a local program's, of a file
}

func serve(t *testing.T, layout ...string) *served {
	t.Helper()
	return serveIn(&served{t: t, dir: t.TempDir(), clock: treetest.NewClock()}, layout...)
}

// serveWithoutLeases serves what seems to be a file system that has none.
func serveWithoutLeases(t *testing.T, layout ...string) *served {
	t.Helper()
	return serveIn(&served{t: t, dir: t.TempDir(), clock: treetest.NewClock(), noLeases: true}, layout...)
}

func serveIn(v *served, layout ...string) *served {
	t := v.t
	t.Helper()
	report := func(err error) {
		if gave := new(history.GaveWay); errors.As(err, &gave) {
			v.gave.Add(1)
		} else {
			t.Errorf("reported: %v", err)
		}
	}
	v.Store, _ = open(t, etagfs.Options{Now: v.clock.Now, Report: report, InFlight: 1 << 20}, v.below(), nil)
	if err := lay(layout...)(v); err != nil {
		t.Fatal(err)
	}
	v.seam.arm(v.countReads)
	return v
}

func (v *served) below() *fs.FS {
	v.t.Helper()
	before := func(c vfs.Call) error {
		if v.noLeases && c.Op == "lease" {
			return errors.ErrUnsupported
		}
		return v.seam.before(c)
	}
	below, err := fs.Open(v.dir, fs.Options{Before: before, Durability: fs.None, History: true})
	if err != nil {
		v.t.Fatal(err)
	}
	return below
}

func (v *served) countReads(_ int, c vfs.Call) error {
	if c.Op == "readAt" && !isState(c) {
		v.reads.Add(1)
	}
	return nil
}

func isState(c vfs.Call) bool { return len(c.Name) > 8 && c.Name[:8] == ".ifmatch" }

func (v *served) path(name string) string { return filepath.Join(v.dir, name) }

// must is for what a local program does.
func (v *served) must(errs ...error) {
	v.t.Helper()
	if err := errors.Join(errs...); err != nil {
		v.t.Fatal(err)
	}
}

func (v *served) wantTag(name, content string) {
	v.t.Helper()
	state, err := v.Stat(ctx, name, tree.ReadOptions{Want: tree.WantTag})
	if err != nil || state.Tag != treetest.TagOf(content) {
		v.t.Errorf("Stat(%q) = %+v, error %v, want the tag of %q", name, state, err, content)
	}
}

// wantReads asserts how many files are read in what is done.
func (v *served) wantReads(what string, want int32, do func()) {
	v.t.Helper()
	v.reads.Store(0)
	do()
	if got := v.reads.Load(); (got == 0) != (want == 0) {
		v.t.Errorf("%s: files were read %d times, want %d", what, got, want)
	}
}
