package etagfs_test

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"testing"
	"time"

	"r-seed-1f3a754f.example/ifmatch/fs/history"
	"r-seed-1f3a754f.example/ifmatch/fs/room"
	"r-seed-1f3a754f.example/ifmatch/tree"
	"r-seed-1f3a754f.example/ifmatch/tree/treetest"
)

// A heldUpload has sent some of what it announced, and waits.
type heldUpload struct {
	goOn func()
	err  chan error
}

// hold begins an upload of an announced length, which sends the first bytes (sends) and then waits. It fails if the upload
// is refused.
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
