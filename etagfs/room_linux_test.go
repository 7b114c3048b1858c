package etagfs_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
	"r-seed-1f3a754f.example/ifmatch/tree"
	"r-seed-1f3a754f.example/ifmatch/tree/treetest"
)

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
