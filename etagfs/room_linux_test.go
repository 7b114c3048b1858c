package etagfs_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"r-seed-1f3a754f.example/ifmatch/etagfs"
	"r-seed-1f3a754f.example/ifmatch/fs"
	"r-seed-1f3a754f.example/ifmatch/fs/history"
	"r-seed-1f3a754f.example/ifmatch/fs/room"
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

// A slowly is a body that does something when so many bytes of it were read.
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

// brokenOff is a body that breaks off when so many bytes of it were read.
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

// TestHistoryGivesWayLate: what is refused in the end, or never ends, takes no more of the history than it must.
func TestHistoryGivesWayLate(t *testing.T) {
	isGone := func(name string) tree.Condition {
		return treetest.If(func(v tree.View) error {
			if s, err := v.State(name); err != nil || s.Exists {
				return errors.Join(err, tree.ErrExist)
			}
			return nil
		})
	}
	for _, test := range []struct {
		name  string
		older bool // what is in the history was replaced hours ago
		do    func(t *testing.T, d *smallDisk, free int64) error
		want  error
		kept  string // of doc, which had the versions a, b, c and d
		gave  []string
	}{
		{name: "it fits", kept: "abcd",
			do: func(_ *testing.T, d *smallDisk, free int64) error {
				return d.upload("big", &slowly{length: free}, free, tree.Condition{})
			}},
		{name: "it fits, in pieces", kept: "abcd",
			do: func(_ *testing.T, d *smallDisk, free int64) error {
				return d.upload("big", pieces{&slowly{length: free}}, free, tree.Condition{})
			}},
		{name: "larger than all there is", want: tree.ErrNoSpace, kept: "abcd", older: true,
			do: func(t *testing.T, d *smallDisk, _ int64) error {
				body := &slowly{length: 60 * mega, then: func() error { t.Error("it is read"); return nil }}
				return d.upload("big", body, 60*mega, tree.Condition{})
			}},
		{name: "a little more than there is with all of the history", want: tree.ErrNoSpace, kept: "abcd", older: true,
			do: func(t *testing.T, d *smallDisk, free int64) error {
				body := &slowly{length: 60 * mega, then: func() error { t.Error("it is read"); return nil }}
				return d.upload("big", body, free+4*mega, tree.Condition{})
			}},
		{name: "the largest that can be announced", want: tree.ErrNoSpace, kept: "abcd", older: true,
			do: func(t *testing.T, d *smallDisk, _ int64) error {
				body := &slowly{length: -1, then: func() error { t.Error("it is read"); return nil }}
				return d.upload("big", body, math.MaxInt64, tree.Condition{})
			}},
		{name: "larger than all there is, and not announced", want: tree.ErrNoSpace, kept: "abcd",
			do: func(_ *testing.T, d *smallDisk, _ int64) error {
				return d.upload("big", &slowly{length: 60 * mega}, -1, tree.Condition{})
			}},
		{name: "without end", want: tree.ErrNoSpace, kept: "abcd",
			do: func(_ *testing.T, d *smallDisk, _ int64) error {
				return d.upload("big", &slowly{length: -1}, -1, tree.Condition{})
			}},
		{name: "without end, in place of what is in the history", want: tree.ErrNoSpace, kept: "abcd",
			do: func(_ *testing.T, d *smallDisk, _ int64) error {
				return d.upload("doc", &slowly{length: -1}, -1, tree.Condition{})
			}},
		{name: "without end, though one was announced", want: new(tree.BodyError), kept: "abcd",
			do: func(_ *testing.T, d *smallDisk, free int64) error {
				return d.upload("big", &slowly{length: -1}, free/2, tree.Condition{})
			}},
		{name: "without end, and the history is old", want: tree.ErrNoSpace, kept: "d", older: true,
			gave: []string{"big 1", "big 1", "big 1"},
			do: func(_ *testing.T, d *smallDisk, _ int64) error {
				return d.upload("big", &slowly{length: -1}, -1, tree.Condition{})
			}},
		{name: "it needs some of the last hour before it is nearly there", want: tree.ErrNoSpace, kept: "abcd",
			do: func(t *testing.T, d *smallDisk, free int64) error {
				body := &slowly{length: -1, then: func() error { t.Error("it is read"); return nil }}
				return d.upload("big", body, free+free/6, tree.Condition{})
			}},
		{name: "broken off at 99 % of what there is", want: errBrokenOff, kept: "abcd",
			do: func(_ *testing.T, d *smallDisk, free int64) error {
				return d.upload("big", brokenOff(free, free*99/100), free, tree.Condition{})
			}},
		{name: "broken off at 99 % of what there is, and of some of the last hour", want: errBrokenOff, kept: "bcd",
			gave: []string{"big 1"},
			do: func(_ *testing.T, d *smallDisk, free int64) error {
				length := free + mega/2
				return d.upload("big", brokenOff(length, length*99/100), length, tree.Condition{})
			}},
		{name: "broken off at 99 %, and the history is old", want: errBrokenOff, kept: "cd", older: true,
			gave: []string{"big 1", "big 1"},
			do: func(_ *testing.T, d *smallDisk, free int64) error {
				length := free + 3*mega/2
				return d.upload("big", brokenOff(length, length*99/100), length, tree.Condition{})
			}},
		{name: "complete, with some of the last hour", kept: "cd", gave: []string{"big 2"},
			do: func(_ *testing.T, d *smallDisk, free int64) error {
				return d.upload("big", &slowly{length: free + 3*mega/2}, free+3*mega/2, tree.Condition{})
			}},
		{name: "refused before the history gives way", want: tree.ErrExist, kept: "abcd", older: true,
			do: func(_ *testing.T, d *smallDisk, free int64) error {
				length := free + 3*mega/2
				appears := func() error { return os.WriteFile(filepath.Join(d.dir, "big"), []byte("theirs"), 0o600) }
				return d.upload("big", &slowly{length: length, at: length / 2, then: appears}, length, isGone("big"))
			}},
		{name: "refused before the last hour gives way", want: tree.ErrExist, kept: "abcd",
			do: func(_ *testing.T, d *smallDisk, free int64) error {
				length := free + mega/2
				appears := func() error { return put(d, "big", "theirs", tree.Condition{}) }
				return d.upload("big", &slowly{length: length, at: length / 2, then: appears}, length, isGone("big"))
			}},
		{name: "without end, and refused before the history gives way", want: tree.ErrExist, kept: "abcd", older: true,
			do: func(_ *testing.T, d *smallDisk, _ int64) error {
				appears := func() error { return put(d, "big", "theirs", tree.Condition{}) }
				return d.upload("big", &slowly{length: -1, at: mega, then: appears}, -1, isGone("big"))
			}},
		{name: "the client goes while the disk is full", want: context.Canceled, kept: "abcd", older: true,
			do: func(_ *testing.T, d *smallDisk, free int64) error {
				going, stop := context.WithCancel(ctx)
				length := free + 3*mega/2
				body := &slowly{length: length, at: free - mega/4, then: func() error { stop(); return nil }}
				_, _, err := d.Put(going, "big", body, tree.PutOptions{Length: length}, tree.Condition{})
				return err
			}},
		{name: "a copy that cannot fit", want: tree.ErrNoSpace, kept: "abcd", older: true,
			do: func(t *testing.T, d *smallDisk, free int64) error {
				if err := d.upload("half", &slowly{length: free * 2 / 3}, free*2/3, tree.Condition{}); err != nil {
					t.Fatal(err)
				}
				free = d.free()
				if err := os.WriteFile(filepath.Join(d.dir, "theirs"), make([]byte, free-5*mega), 0o600); err != nil {
					t.Fatal(err)
				}
				return copyTo("half", "copy")(d)
			}},
		{name: "a copy of a tree that cannot fit", want: tree.ErrNoSpace, kept: "abcd", older: true,
			do: func(t *testing.T, d *smallDisk, free int64) error {
				if _, err := d.Mkdir(ctx, "tree", tree.MkdirOptions{}, tree.Condition{}); err != nil {
					t.Fatal(err)
				}
				for i := range int64(10) {
					if err := d.upload(fmt.Sprint("tree/", i), &slowly{length: free / 12}, free/12,
						tree.Condition{}); err != nil {
						t.Fatal(err)
					}
				}
				return copyTo("tree", "copy")(d)
			}},
	} {
		within := func(t *testing.T, client string) {
			d := onSmallDisk(t, "size=24m", nil)
			d.client = client
			step := time.Second
			if test.older {
				step = 4 * time.Hour
			}
			for i := range 5 {
				d.put("doc", mega, i)
				d.clock.Advance(step)
			}
			if test.older {
				d.clock.Advance(-step)
			}
			d.wantKept("doc", "abcd")
			err := test.do(t, d, d.free())
			if body := new(tree.BodyError); errors.As(test.want, &body) {
				if !errors.As(err, &body) {
					t.Errorf("got error %v", err)
				}
			} else if !errors.Is(err, test.want) {
				t.Errorf("got error %v, want %v", err, test.want)
			}
			d.wantKept("doc", test.kept)
			d.wantGave(test.gave...)
			d.wantNoLitter()
			if err := put(d, "small", "there is room for this", tree.Condition{}); err != nil {
				t.Errorf("after it: %v", err)
			}
		}
		t.Run(test.name, func(t *testing.T) { within(t, "") })
		t.Run(test.name+", of one client", func(t *testing.T) { within(t, "one") })
	}
}

// TestNewestVersionStays, beside an upload of any other name. A small one is as good as complete.
func TestNewestVersionStays(t *testing.T) {
	d := onSmallDisk(t, "size=24m", nil)
	d.put("doc", mega, 0)
	d.put("doc", mega, 1)
	more := func() int64 { return d.free() + 4096 }
	fill := func() {
		if err := os.WriteFile(filepath.Join(d.dir, "theirs"), make([]byte, d.free()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.upload("big", &slowly{length: more()}, more(), tree.Condition{}); !errors.Is(err, tree.ErrNoSpace) {
		t.Errorf("got error %v", err)
	}
	if err := d.upload("doc", &slowly{length: more()}, more(), tree.Condition{}); err != nil {
		t.Error(err)
	}
	d.wantKept("doc", "b")
	fill()
	if err := d.upload("small", &slowly{length: 1000}, 1000, tree.Condition{}); !errors.Is(err, tree.ErrNoSpace) {
		t.Errorf("got error %v", err)
	}
	if err := d.upload("doc", brokenOff(1000, 500), 1000, tree.Condition{}); !errors.Is(err, errBrokenOff) {
		t.Errorf("got error %v", err)
	}
	d.wantKept("doc", "b")
	d.wantGave("doc 1")
	if err := d.upload("doc", &slowly{length: 1000}, 1000, tree.Condition{}); err != nil {
		t.Error(err)
	}
	d.wantKept("doc", "z")
	d.wantGave("doc 1", "doc 1")
	if err := d.upload("doc", &slowly{length: 999}, 1000, tree.Condition{}); err == nil {
		t.Error("it is shorter than was announced, and accepted")
	}
	d.wantNoLitter()
}

// TestReplacedAgainAndAgain replaces a file of 7 MB on a disk of 24 MB, with a history that may take all of it. What
// cannot be deleted is told of once, and is in the way of nothing.
func TestReplacedAgainAndAgain(t *testing.T) {
	var mu sync.Mutex
	stuck, tries := "", 0
	d := onSmallDisk(t, "size=24m", func(c vfs.Call) error {
		mu.Lock()
		defer mu.Unlock()
		if c.Op == "removeAll" && strings.Contains(c.Name, "/trash/") && (stuck == "" || stuck == c.Name) {
			stuck = c.Name
			tries++
			return &os.PathError{Op: "RemoveAll", Path: c.Name, Err: syscall.EACCES}
		}
		return nil
	})
	if err := os.Mkdir(filepath.Join(d.dir, ".ifmatch/trash/of-another-user"), 0o700); err != nil {
		t.Fatal(err)
	}
	for i := range 9 {
		if err := put(d, "f", letters(7_000_000, i), tree.Condition{}); err != nil {
			t.Errorf("%d: %v", i, err)
		}
		d.clock.Advance(time.Millisecond)
	}
	d.wantKept("f", "gh")
	if want := slices.Repeat([]string{"f 1"}, 6); len(d.gave) != len(want) {
		d.wantGave(want...)
	}
	if len(d.told) != 1 || !strings.Contains(d.told[0], "permission denied") || tries != 1 {
		t.Errorf("told %q, after %d tries", d.told, tries)
	}
}

// TestRoomIsKept: what is accepted fits, whoever else wants the room; and there is room again when it is over.
func TestRoomIsKept(t *testing.T) {
	for _, client := range []string{"", "one"} {
		t.Run("client "+client, func(t *testing.T) { testRoomIsKept(t, client) })
	}
}

func testRoomIsKept(t *testing.T, client string) {
	d := onSmallDisk(t, "size=24m", nil)
	d.client = client
	free := d.free()
	const part = 5 * mega
	fits := int(free / part)
	var running sync.WaitGroup
	begun, ends := make(chan struct{}, 20), make(chan struct{})
	refused := 0
	for i := range fits + 4 {
		wait := func() error { begun <- struct{}{}; <-ends; return nil }
		running.Go(func() {
			err := d.upload(fmt.Sprint("f", i), &slowly{length: part, at: mega, then: wait}, part, tree.Condition{})
			if errors.Is(err, tree.ErrNoSpace) {
				d.mu.Lock()
				refused++
				d.mu.Unlock()
				begun <- struct{}{}
			} else if err != nil {
				t.Error(err)
			}
		})
	}
	for range fits + 4 {
		<-begun
	}
	if refused != 4 {
		t.Errorf("%d of %d are refused, and there is room for %d", refused, fits+4, fits)
	}
	// What nobody has announced gets what is left, and so does what is small.
	if err := d.upload("unknown", &slowly{length: -1}, -1, tree.Condition{}); !errors.Is(err, tree.ErrNoSpace) {
		t.Errorf("without end: %v", err)
	}
	if err := d.upload("less", &slowly{length: mega}, -1, tree.Condition{}); err != nil {
		t.Errorf("less than is left: %v", err)
	}
	if err := copyTo("less", "copy")(d); err != nil {
		t.Error(err)
	}
	if _, available, err := d.Quota(ctx, ""); err != nil || available > 2*mega && client == "" {
		t.Errorf("%d bytes are said to be available: %v", available, err)
	}
	close(ends)
	running.Wait()
	for i := range fits + 4 {
		s, err := d.Stat(ctx, fmt.Sprint("f", i), tree.ReadOptions{})
		if err == nil && s.Size != part || err != nil && !errors.Is(err, tree.ErrNotExist) {
			t.Errorf("f%d has %d bytes: %v", i, s.Size, err)
		}
	}
	for range 3 {
		// Broken off, it gives back what was kept for it.
		err := d.upload("big", brokenOff(mega, 1), d.free(), tree.Condition{})
		if !errors.Is(err, errBrokenOff) {
			t.Errorf("broken off: %v", err)
		}
	}
	d.wantNoLitter()
}

// A heldUpload has sent some of what it announced, and waits.
type heldUpload struct {
	goOn func()
	err  chan error
}

// hold begins an upload of an announced length that sends so many bytes and waits. It fails where that is refused.
func (d *smallDisk) hold(client, name string, length, sends int64) (*heldUpload, error) {
	begun, ends, err := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	h := &heldUpload{sync.OnceFunc(func() { close(ends) }), err}
	d.t.Cleanup(h.goOn)
	wait := func() error { close(begun); <-ends; return nil }
	go func() {
		body := &slowly{length: length, at: sends, then: wait}
		_, _, failed := d.Put(tree.WithClient(ctx, client), name, body, tree.PutOptions{Length: length},
			tree.Condition{})
		err <- failed
	}()
	select {
	case <-begun:
		return h, nil
	case failed := <-err:
		return nil, failed
	}
}

func (d *smallDisk) mustHold(client, name string, length, sends int64) *heldUpload {
	d.t.Helper()
	h, err := d.hold(client, name, length, sends)
	if err != nil {
		d.t.Fatalf("%q: %v", name, err)
	}
	return h
}

// end lets an upload go on to its end.
func (h *heldUpload) end() error {
	h.goOn()
	return <-h.err
}

// TestAnnouncementsLeaveRoomForOthers: whatever one client announces, in one upload or in many, others can write.
func TestAnnouncementsLeaveRoomForOthers(t *testing.T) {
	for _, test := range []struct {
		name  string
		parts int64 // in which the first client announces all there is
	}{{"at once", 1}, {"in parts", 30}} {
		t.Run(test.name, func(t *testing.T) {
			d := onSmallDisk(t, "size=48m", nil)
			d.put("doc", mega, 0)
			free := d.free()
			var held []*heldUpload
			for i := range test.parts {
				h, err := d.hold("first", fmt.Sprint("part", i), free/test.parts-32<<10, 1)
				if err != nil {
					t.Fatalf("part %d: %v", i, err)
				}
				held = append(held, h)
			}
			d.client = "first"
			if err := d.upload("more", &slowly{length: mega}, mega, tree.Condition{}); !errors.Is(err, room.ErrKept) {
				t.Errorf("what does not fit beside all that this client has announced: %v", err)
			}
			if err := d.upload("all", &slowly{length: 2 * free}, 2*free, tree.Condition{}); !errors.Is(err,
				tree.ErrNoSpace) || errors.Is(err, room.ErrKept) {
				t.Errorf("larger than the disk: %v", err)
			}
			if _, available, err := d.Quota(ctx, ""); err != nil || available < free/3 {
				t.Errorf("%d bytes are said to be available: %v", available, err)
			}
			d.client = "second"
			for _, size := range []int64{1, 1000, 100 << 10, mega, 4 * mega} {
				if err := d.upload("in", &slowly{length: size}, size, tree.Condition{}); err != nil {
					t.Errorf("announced, %d bytes: %v", size, err)
				}
				if err := d.upload("in", &slowly{length: size}, -1, tree.Condition{}); err != nil {
					t.Errorf("not announced, %d bytes: %v", size, err)
				}
			}
			if err := copyTo("in", "copy")(d); err != nil {
				t.Error(err)
			}
			d.client = "third"
			if err := d.upload("third", &slowly{length: mega}, mega, tree.Condition{}); err != nil {
				t.Error(err)
			}
			for _, h := range held {
				if err := h.end(); err != nil && !errors.Is(err, tree.ErrNoSpace) {
					t.Error(err)
				}
			}
			if err := d.upload("third", &slowly{length: 1000}, 1000, tree.Condition{}); err != nil {
				t.Errorf("after it: %v", err)
			}
			d.wantNoLitter()
		})
	}
}

// TestSlowUploadsGiveWay to what needs the room that is kept for them, and go on as far as there is room. One that
// moves, and one that has just begun, keeps its room.
func TestSlowUploadsGiveWay(t *testing.T) {
	for _, test := range []struct {
		name  string
		pause time.Duration // of the upload
		rate  int64         // bytes in a second before it
		large bool          // there is no room for both
		kept  bool          // the room is kept
		want  error         // of the upload in the end
	}{
		{name: "it has just begun", pause: 9 * time.Second, kept: true},
		{name: "silent", pause: 10 * time.Second},
		{name: "silent, and the room is gone then", pause: 10 * time.Second, large: true, want: tree.ErrNoSpace},
		{name: "a trickle", rate: 1100},
		{name: "it moves", rate: 64 << 10, large: true, kept: true},
		{name: "it moves, and pauses for a moment", rate: 64 << 10, pause: 9 * time.Second, large: true, kept: true},
		{name: "it moved, and is silent", rate: 64 << 10, pause: time.Minute, large: true, want: tree.ErrNoSpace},
	} {
		for _, announced := range []bool{true, false} {
			t.Run(fmt.Sprint(test.name, ", beside what is announced: ", announced), func(t *testing.T) {
				d := onSmallDisk(t, "size=64m", nil)
				free := d.free() - mega/2
				begun, ends, done := make(chan struct{}), make(chan struct{}), make(chan error, 1)
				t.Cleanup(sync.OnceFunc(func() { close(ends) }))
				sent := int64(0)
				wait := func() error { close(begun); <-ends; return nil }
				body := io.Reader(&slowly{length: free, then: wait})
				if test.rate > 0 {
					sent = 25 * test.rate
					body = io.MultiReader(&trickle{left: sent, rate: test.rate, clock: d.clock},
						&slowly{length: free - sent, then: wait})
				}
				go func() { done <- d.upload("slow", body, free, tree.Condition{}) }()
				<-begun
				d.clock.Advance(test.pause)
				size := int64(8 * mega)
				if !test.large {
					size -= 7 * mega
				}
				length := size
				if !announced {
					length = -1
				}
				if err := d.upload("in", &slowly{length: size}, length, tree.Condition{}); test.kept &&
					!errors.Is(err, room.ErrKept) || !test.kept && err != nil {
					t.Errorf("got error %v", err)
				}
				if !test.kept && !test.large {
					if err := d.Remove(ctx, "in", tree.Condition{}); err != nil {
						t.Error(err)
					}
					d.clock.Advance(48 * time.Hour)
					if err := d.below.Expire(ctx, history.Retention{Keep: 24 * time.Hour, Share: 1}); err != nil {
						t.Error(err)
					}
				}
				ends <- struct{}{}
				if err := <-done; !errors.Is(err, test.want) {
					t.Errorf("the upload: got error %v, want %v", err, test.want)
				}
				d.wantNoLitter()
			})
		}
	}
}

// A trickle is a body that comes at a rate, in bytes in a second.
type trickle struct {
	left, rate int64
	clock      *treetest.Clock
}

func (b *trickle) Read(p []byte) (int, error) {
	if b.left == 0 {
		return 0, io.EOF
	}
	b.clock.Advance(time.Second)
	n := min(int64(len(p)), b.rate, b.left)
	b.left -= n
	return int(n), nil
}

// TestSlowUploadDoesNotKeepTheLastHour: the last hour gives way to one upload at a time, and not to one that is silent.
func TestSlowUploadDoesNotKeepTheLastHour(t *testing.T) {
	d := onSmallDisk(t, "size=24m", nil)
	for i := range 5 {
		d.put("doc", mega, i)
		d.clock.Advance(time.Second)
	}
	length := d.free() + mega/2
	h := d.mustHold("first", "big", length, length-1000) // which has needed some of it
	d.wantGave("big 1")
	d.client = "second"
	needed := func() error {
		size := d.free() + 16<<10
		return d.upload("doc", &slowly{length: size}, size, tree.Condition{})
	}
	if err := needed(); !errors.Is(err, tree.ErrNoSpace) {
		t.Errorf("got error %v", err)
	}
	d.clock.Advance(10 * time.Second)
	if err := needed(); err != nil {
		t.Error(err)
	}
	if err := h.end(); err != nil {
		t.Error(err)
	}
}

// TestOutOfInodes: a disk that has no room for another file gets it from the history, and what is removed makes room.
func TestOutOfInodes(t *testing.T) {
	d := onSmallDisk(t, "size=64m,nr_inodes=300", nil)
	for i := range 2000 {
		name := fmt.Sprint("f", i%20)
		if err := put(d, name, fmt.Sprint(i), tree.Condition{}); err != nil {
			t.Fatalf("the %d-th: %v", i, err)
		}
		d.clock.Advance(time.Millisecond)
	}
	var full error
	n := 0
	for ; full == nil; n++ {
		full = put(d, fmt.Sprint("g", n), "x", tree.Condition{})
	}
	if !errors.Is(full, tree.ErrNoSpace) || n < 200 {
		t.Errorf("after %d files: %v", n, full)
	}
	for _, do := range []func(tree.Store) error{lay("d/"), copyTo("f1", "h")} {
		if err := do(d); !errors.Is(err, tree.ErrNoSpace) {
			t.Errorf("got error %v", err)
		}
	}
	if err := errors.Join(d.Remove(ctx, "g0", tree.Condition{}), put(d, "h", "again", tree.Condition{})); err != nil {
		t.Error(err)
	}
	for _, state := range []string{"f1", "g1", "h"} {
		if _, err := d.Stat(ctx, state, tree.ReadOptions{}); err != nil {
			t.Error(err)
		}
	}
}

// TestRestoreKeepsWhatItRestores: a version is brought back though the disk is full, and none that it is made of gives
// way.
func TestRestoreKeepsWhatItRestores(t *testing.T) {
	d := onSmallDisk(t, "size=24m", nil)
	for i := range 4 {
		d.put("doc", 3*mega, i)
		d.clock.Advance(4 * time.Hour)
	}
	all, err := d.below.History("doc")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(d.dir, "theirs"), make([]byte, d.free()-mega), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := d.Restore(ctx, all[0].ID(), "doc", tree.RestoreOptions{}, tree.Condition{}); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(filepath.Join(d.dir, "doc"))
	if err != nil || !bytes.Equal(got, []byte(letters(3*mega, 0))) {
		t.Errorf("it has %d bytes: %v", len(got), err)
	}
	d.wantKept("doc", "acd")
	d.wantGave("doc 1")
}

// On a disk that is full to the last byte, and whose history has nothing to give, a file is removed for good, and an
// overwriting write is refused for want of room, not as if another try could help.
func TestRemovalOnADiskThatIsFullToTheLastByte(t *testing.T) {
	d := onSmallDisk(t, "size=2m", nil)
	for _, name := range []string{"a", "b"} {
		if err := d.upload(name, strings.NewReader("x"), 1, tree.Condition{}); err != nil {
			t.Fatal(err)
		}
	}
	fill, err := os.Create(filepath.Join(d.dir, "fill"))
	if err != nil {
		t.Fatal(err)
	}
	for size := 64 << 10; size > 0; {
		if _, err := fill.Write(make([]byte, size)); err != nil {
			size /= 2
		}
	}
	fill.Close()
	if free := d.free(); free != 0 {
		t.Fatalf("%d bytes are free", free)
	}
	if _, _, err := d.Move(ctx, "a", "b", tree.CopyOptions{}, tree.Condition{}); err != nil &&
		!errors.Is(err, tree.ErrNoSpace) {
		t.Errorf("MOVE over something: %v", err)
	}
	if err := d.Remove(ctx, "fill", tree.Condition{}); err != nil {
		t.Errorf("DELETE: %v", err)
	}
	if _, err := d.Stat(ctx, "fill", tree.ReadOptions{}); !errors.Is(err, tree.ErrNotExist) {
		t.Errorf("it is still there: %v", err)
	}
}
