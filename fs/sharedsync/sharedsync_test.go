package sharedsync

import (
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// A disk makes syncs that end when the test lets them.
type disk struct {
	Syncs[int]
	begun   atomic.Int64
	changes int64 // the commits so far
	seen    []int64
	let     chan error
}

func (d *disk) sync() error {
	d.begun.Add(1)
	d.seen = append(d.seen, atomic.LoadInt64(&d.changes))
	return <-d.let
}

// commit makes a change and then syncs it. It returns a channel with the result.
func (d *disk) commit(name string, id int) <-chan error {
	atomic.AddInt64(&d.changes, 1)
	result := make(chan error, 1)
	go func() { result <- d.Do(name, func() (int, error) { return id, nil }, d.sync) }()
	synctest.Wait()
	return result
}

// TestCommitsShareASync: commits that come during a sync share the next one, and that begins when all of them have
// made their changes.
func TestCommitsShareASync(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &disk{let: make(chan error)}
		first := d.commit("dir", 1)
		if d.begun.Load() != 1 {
			t.Fatal("a commit that is alone waits")
		}
		var rest []<-chan error
		for range 5 {
			rest = append(rest, d.commit("dir", 1))
		}
		if n := d.begun.Load(); n != 1 {
			t.Fatalf("%d syncs of one directory at once", n)
		}
		d.let <- nil
		synctest.Wait()
		if err := <-first; err != nil || d.begun.Load() != 2 {
			t.Fatalf("after the first sync: %v, %d begun", err, d.begun.Load())
		}
		late := d.commit("dir", 1) // the sync under way may not have its change
		d.let <- nil
		for _, r := range rest {
			if err := <-r; err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		d.let <- nil
		if err := <-late; err != nil {
			t.Fatal(err)
		}
		if want := []int64{1, 6, 7}; len(d.seen) != 3 || d.seen[1] != want[1] || d.seen[2] != want[2] {
			t.Fatalf("the syncs have seen %v changes, not %v", d.seen, want)
		}
		if len(d.lines) != 0 {
			t.Fatalf("%d lines are left", len(d.lines))
		}
	})
}

// TestOthersSyncThemselves: neither another name nor another directory under that name waits for a sync.
func TestOthersSyncThemselves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &disk{let: make(chan error)}
		all := []<-chan error{d.commit("dir", 1), d.commit("other", 1), d.commit("dir", 1), d.commit("dir", 2)}
		if n := d.begun.Load(); n != 3 {
			t.Fatalf("%d syncs have begun, not 3", n)
		}
		for range 4 {
			d.let <- nil
		}
		for _, r := range all {
			if err := <-r; err != nil {
				t.Fatal(err)
			}
		}
	})
}

// TestAFailureIsShared: all commits of a sync that fails get its error. None of them asks the disk again, which may say
// then that all is well.
func TestAFailureIsShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &disk{let: make(chan error)}
		broken := errors.New("input/output error")
		first, second, third := d.commit("dir", 1), d.commit("dir", 1), d.commit("dir", 1)
		d.let <- nil
		d.let <- broken // of the second and the third
		if a, b, c := <-first, <-second, <-third; a != nil || b != broken || c != broken {
			t.Fatalf("they got %v, %v, %v", a, b, c)
		}
		if n := d.begun.Load(); n != 2 {
			t.Fatalf("%d syncs have begun, not 2", n)
		}
	})
}

// TestAFailedSyncIsNotShared: each commit learns from a sync of its own whether the disk has its change, if one
// sync has failed.
func TestAFailedSyncIsNotShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &disk{let: make(chan error)}
		broken := errors.New("input/output error")
		first, second, third := d.commit("dir", 1), d.commit("dir", 1), d.commit("dir", 1)
		d.let <- broken
		synctest.Wait()
		d.let <- nil // of the second
		synctest.Wait()
		if n := d.begun.Load(); n != 3 {
			t.Fatalf("%d syncs have begun, not 3", n)
		}
		d.let <- broken // of the third
		if a, b, c := <-first, <-second, <-third; a != broken || b != nil || c != broken {
			t.Fatalf("they got %v, %v, %v", a, b, c)
		}
		all := []<-chan error{d.commit("dir", 1), d.commit("dir", 1)}
		if n := d.begun.Load(); n != 5 {
			t.Fatalf("%d syncs have begun, not 5: they are shared after a failure", n)
		}
		for _, r := range all {
			d.let <- nil
			<-r
		}
	})
}

// TestNoSyncWaitsForOneThatHangs: a sync that does not end keeps no other commit from its own for longer than a second.
func TestNoSyncWaitsForOneThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &disk{let: make(chan error)}
		hangs := make(chan error)
		go d.Do("dir", nil, func() error { return <-hangs })
		synctest.Wait()
		began := time.Now()
		second, third := d.commit("dir", 2), d.commit("dir", 2)
		time.Sleep(patience)
		synctest.Wait()
		if n := d.begun.Load(); n != 1 {
			t.Fatalf("%d syncs have begun beside the one that hangs, not 1", n)
		}
		d.let <- nil
		if err := errors.Join(<-second, <-third); err != nil || time.Since(began) > patience {
			t.Fatalf("after %v: %v", time.Since(began), err)
		}
		hangs <- nil
		synctest.Wait()
		if len(d.lines) != 0 {
			t.Fatalf("%d lines are left", len(d.lines))
		}
	})
}
