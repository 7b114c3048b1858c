package etagfs_test

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"r-seed-1f3a754f.example/ifmatch/etagfs"
	"r-seed-1f3a754f.example/ifmatch/fs"
	"r-seed-1f3a754f.example/ifmatch/fs/history"
	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
	"r-seed-1f3a754f.example/ifmatch/tree"
	"r-seed-1f3a754f.example/ifmatch/tree/treetest"
)

const mega = 1 << 20

// A smallDisk is a store on a file system of its own, which is soon full.
type smallDisk struct {
	*etagfs.Store
	t      *testing.T
	dir    string
	below  *fs.FS
	clock  *treetest.Clock
	client string // the client of uploads

	mu   sync.Mutex
	gave []*history.GaveWay
	told []string
}

// onSmallDisk serves a new file system with these options of tmpfs, and a history of all of it: each version of some
// size is in a directory of its own.
func onSmallDisk(t *testing.T, mount string, before func(vfs.Call) error) *smallDisk {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("NOT RUN: root can mount a small file system, and others cannot")
	}
	d := &smallDisk{t: t, dir: t.TempDir(), clock: treetest.NewClock()}
	if err := unix.Mount("tmpfs", d.dir, "tmpfs", 0, mount); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unmount(t, d.dir) })
	below, err := fs.Open(d.dir, fs.Options{History: true, Durability: fs.None, Now: d.clock.Now, Before: before})
	if err != nil {
		t.Fatal(err)
	}
	d.below = below
	d.Store, _ = open(t, etagfs.Options{Now: d.clock.Now, Report: func(err error) {
		d.mu.Lock()
		defer d.mu.Unlock()
		if gave := new(history.GaveWay); errors.As(err, &gave) {
			d.gave = append(d.gave, gave)
		} else {
			d.told = append(d.told, err.Error())
		}
	}}, below, nil)
	if err := below.Expire(ctx, history.Retention{Keep: 24 * time.Hour, Share: 1}); err != nil {
		t.Fatal(err)
	}
	return d
}

// letters are that many bytes, of one version.
func letters(n int64, version int) string { return strings.Repeat(string(rune('a'+version)), int(n)) }

func (d *smallDisk) put(name string, size int64, version int) {
	d.t.Helper()
	if err := put(d, name, letters(size, version), tree.Condition{}); err != nil {
		d.t.Fatal(err)
	}
}

// kept returns the versions that the history has of a file, in letters, the oldest first.
func (d *smallDisk) kept(name string) (versions string) {
	d.t.Helper()
	for _, content := range versionsOf(d.t, d.dir, name) {
		versions += content[:1]
	}
	return versions
}

func (d *smallDisk) wantKept(name, versions string) {
	d.t.Helper()
	if got := d.kept(name); got != versions {
		d.t.Errorf("the history has the versions %q of %q, want %q; told: %v %v", got, name, versions, d.gave, d.told)
	}
}

// wantGave compares to what the history gave way, and with how many versions.
func (d *smallDisk) wantGave(want ...string) {
	d.t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	var got []string
	for _, g := range d.gave {
		got = append(got, fmt.Sprint(g.To, " ", g.Versions))
		if !strings.Contains(g.Error(), fmt.Sprintf("%q", g.To)) || g.Bytes == 0 || g.Hour.IsZero() {
			d.t.Errorf("it says %v", g)
		}
	}
	if !slices.Equal(got, want) {
		d.t.Errorf("the history gave way to %q, want %q", got, want)
	}
}

func (d *smallDisk) free() int64 {
	d.t.Helper()
	var st unix.Statfs_t
	if err := unix.Statfs(d.dir, &st); err != nil {
		d.t.Fatal(err)
	}
	return int64(st.Bavail) * int64(st.Bsize)
}

// A slowly is a body that calls a function (then) when a number of its bytes (at) have been read.
type slowly struct {
	length, at int64 // the length may be none
	then       func() error
	read       int64
}

func (b *slowly) Read(p []byte) (int, error) {
	if b.then != nil && b.read >= b.at {
		then := b.then
		b.then = nil
		if err := then(); err != nil {
			return 0, err
		}
	}
	n := min(int64(len(p)), 64<<10)
	if b.length >= 0 {
		n = min(n, b.length-b.read)
	}
	if b.then != nil {
		n = min(n, b.at-b.read)
	}
	if n == 0 {
		return 0, io.EOF
	}
	for i := range p[:n] {
		p[i] = 'z'
	}
	b.read += n
	return int(n), nil
}

// upload puts a body, of an announced length unless that is -1.
func (d *smallDisk) upload(name string, body io.Reader, length int64, check tree.Condition) error {
	_, _, err := d.Put(tree.WithClient(ctx, d.client), name, body, tree.PutOptions{Length: length}, check)
	return err
}

// pieces are what is read of a body that are no blocks of a disk.
type pieces struct{ io.Reader }

func (p pieces) Read(b []byte) (int, error) { return p.Reader.Read(b[:min(len(b), 3001)]) }

// brokenOff returns a body that breaks off when a number of its bytes (at) have been read.
func brokenOff(length, at int64) io.Reader {
	return &slowly{length: length, at: at, then: func() error { return errBrokenOff }}
}

func (d *smallDisk) wantNoLitter() {
	d.t.Helper()
	if left, err := filepath.Glob(filepath.Join(d.dir, ".ifmatch/stage/*/n*")); len(left) > 0 || err != nil {
		d.t.Errorf("staged: %q, error %v", left, err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.told) > 0 {
		d.t.Errorf("told: %q", d.told)
	}
}

var errBrokenOff = errors.New("the client has gone")
