package warmup

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"r-seed-1f3a754f.example/ifmatch/etagfs/failure"
	"r-seed-1f3a754f.example/ifmatch/etagfs/hashing"
	"r-seed-1f3a754f.example/ifmatch/etagfs/index"
	"r-seed-1f3a754f.example/ifmatch/etagfs/snapshots"
	"r-seed-1f3a754f.example/ifmatch/fs"
	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
	"r-seed-1f3a754f.example/ifmatch/fs/volumes"
	"r-seed-1f3a754f.example/ifmatch/limit"
	"r-seed-1f3a754f.example/ifmatch/tree/treetest"
)

// lay makes files of a layout "name=content" below dir.
func lay(t *testing.T, dir string, layout ...string) {
	t.Helper()
	for _, line := range layout {
		name, content, _ := strings.Cut(line, "=")
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o666); err != nil {
			t.Fatal(err)
		}
	}
}

// rested returns a clock by which everything was left alone for a while, so that tags are remembered without leases
// too.
func rested() *treetest.Clock {
	clock := treetest.NewClock()
	clock.Advance(10 * time.Second)
	return clock
}

// open starts a warmer of dir, with an index in a directory ("": in memory).
func open(t *testing.T, dir, indexDir string, o Options, before func(vfs.Call) error) *Warmer {
	t.Helper()
	below, err := fs.Open(dir, fs.Options{Durability: fs.None, Before: before})
	if err != nil {
		t.Fatal(err)
	}
	root, err := below.Stat("")
	if err != nil {
		t.Fatal(err)
	}
	d, err := below.OpenDir("", volumes.DirOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if o.Report == nil {
		o.Report = func(error) {}
	}
	o.Once, o.Running = failure.NewOnce(o.Report), new(sync.WaitGroup)
	o.FS, o.Root, o.Work, o.Turns = below, root, o.Running, limit.System().Bounds().Pools().Hashes
	o.Index = index.Open(index.Options{
		Dir: indexDir, Device: root.Device, Heir: volumes.Heir(root), Volume: d.Volume(), Boot: index.BootID(),
		Sync: func(string, uint64) error { return nil }, LazyTimes: below.LazyTimes, Report: o.Report,
	})
	o.Reader = &snapshots.Reader{FS: below, Held: func() func() { return func() {} }}
	o.Open = o.Reader.Open
	o.Reader.Met = o.Hasher.Meet
	ctx, stop := context.WithCancel(context.Background())
	w := New(o)
	w.Start(ctx)
	t.Cleanup(func() {
		stop()
		o.Running.Wait()
		if err := errors.Join(o.Index.Close(0), below.Close()); err != nil {
			t.Error(err)
		}
	})
	return w
}

func knows(w *Warmer, name string) bool {
	info, err := w.Reader.Look(context.Background(), name, nil)
	_, ok := w.Index.Tag(info.Fingerprint)
	return err == nil && ok
}

// TestNothingIsReadAheadWhereTagsDoNotLast has all files be on something that is mounted below, and that nothing is
// known of.
func TestNothingIsReadAheadWhereTagsDoNotLast(t *testing.T) {
	dir := t.TempDir()
	lay(t, dir, "told=1", "asked=2")
	var mu sync.Mutex
	var opened []string
	w := open(t, dir, "", Options{Hasher: &hashing.Hasher{Now: rested().Now}}, func(c vfs.Call) error {
		mu.Lock()
		defer mu.Unlock()
		if c.Op == "open" {
			opened = append(opened, c.Name)
		}
		return nil
	})
	root := w.root
	w.root.device, w.root.mount = ^root.device, ^root.mount
	w.hashAhead(t.Context(), task{name: "told"})
	if mu.Lock(); slices.Contains(opened, "told") {
		t.Error("it was opened")
	}
	mu.Unlock()
	w.Ask("asked", false)
	treetest.Eventually(t, "that what was asked for is known", func() bool { return knows(w, "asked") })
	w.root.mount = root.mount
	w.hashAhead(t.Context(), task{name: "told"})
	if root.mount != 0 && !knows(w, "told") {
		t.Error("what is on the mount of the root, as a subvolume is, was not hashed")
	}
}

// TestTriedLessAndLessOften: a file that never comes to rest is tried again, the later the more often that was in vain.
func TestTriedLessAndLessOften(t *testing.T) {
	dir := t.TempDir()
	lay(t, dir, "f=1")
	clock := rested()
	change := func() error { return nil }
	w := open(t, dir, "", Options{Hasher: &hashing.Hasher{Now: clock.Now}}, func(c vfs.Call) error {
		switch {
		case c.Op == "lease":
			return errors.ErrUnsupported
		case c.Op == "readAt" && c.Name == "f":
			return change()
		}
		return nil
	})
	waiting := func() later {
		w.queue.mu.Lock()
		defer w.queue.mu.Unlock()
		return w.queue.due["f"]
	}
	next := task{name: "f", asked: true}
	for i, want := range []time.Duration{5, 10, 20, 40, 60, 60, 60} {
		size := 100 * (i + 1)
		change = func() error {
			size++
			return os.WriteFile(filepath.Join(dir, "f"), make([]byte, size), 0o666)
		}
		w.hashAhead(t.Context(), next)
		got := waiting()
		if wait := got.at.Sub(clock.Now()); wait != want*time.Second || !got.asked || !got.firm {
			t.Errorf("after %d tries: got %+v, in %v", i+1, got, wait)
		}
		// What happens meanwhile does not bring it forward.
		if w.Changed("f"); waiting() != got || !w.queue.isPutOff("f") {
			t.Errorf("after %d tries, and a change: got %+v, and not %+v", i+1, waiting(), got)
		}
		next = got.task
	}
}

// TestTroubleIsToldOnce: what a search cannot read is told of in one line, and when it is as before, in none.
func TestTroubleIsToldOnce(t *testing.T) {
	if index.BootID() == "" {
		t.Log("nothing is kept on disk here, so nothing is searched")
		return
	}
	dir := t.TempDir()
	lay(t, dir, "good=0", "denied1=1", "denied2=2", "broken=3")
	var mu sync.Mutex
	var told []string
	failing := map[string]error{"denied1": syscall.EACCES, "denied2": syscall.EACCES, "broken": syscall.EIO}
	through := make(chan Progress, 8)
	w := open(t, dir, t.TempDir(), Options{
		AtOnce: 2, Hasher: &hashing.Hasher{Now: rested().Now}, Progress: func(p Progress) { through <- p },
		Report: func(err error) { mu.Lock(); told = append(told, err.Error()); mu.Unlock() },
	}, func(c vfs.Call) error {
		mu.Lock()
		defer mu.Unlock()
		if c.Op == "open" {
			return failing[c.Name]
		}
		return nil
	})
	expect := func(when string, want ...string) {
		t.Helper()
		mu.Lock()
		defer mu.Unlock()
		slices.Sort(told)
		if !slices.EqualFunc(told, want, func(line, part string) bool { return strings.Contains(line, part) }) {
			t.Errorf("%s: told %q", when, told)
		}
		told = nil
	}
	fail := func(name string, err error) { mu.Lock(); failing[name] = err; mu.Unlock() }
	search := func() {
		w.Rescan()
		<-through
	}
	if p := <-through; p.Unreadable != 3 || p.Hashed != 1 {
		t.Errorf("got %+v", p)
	}
	expect("at first", "2 files or directories cannot be read", "broken: input/output error")
	search()
	expect("again")
	fail("broken", nil)
	lay(t, dir, "denied3=3")
	fail("denied3", syscall.EACCES)
	search()
	expect("when there is another", "3 files or directories cannot be read")

	// What events tell of, each by itself.
	for range 2 {
		w.hashAhead(t.Context(), task{name: "denied1"})
	}
	expect("of one", "denied1: permission denied")
	fail("denied1", nil)
	w.hashAhead(t.Context(), task{name: "denied1"})
	lay(t, dir, "denied1=changed")
	fail("denied1", syscall.EACCES)
	w.hashAhead(t.Context(), task{name: "denied1"})
	expect("of one that could be read in between", "denied1: permission denied")
}

func TestChangedHashesAhead(t *testing.T) {
	dir := t.TempDir()
	clock := treetest.NewClock()
	var hashed atomic.Int32
	w := open(t, dir, "", Options{Hasher: &hashing.Hasher{Now: clock.Now}, Report: func(err error) { t.Error(err) }}, func(c vfs.Call) error {
		switch {
		case c.Op == "lease":
			return errors.ErrUnsupported
		case c.Op == "readAt" && !strings.HasPrefix(c.Name, ".ifmatch"):
			hashed.Add(1)
		}
		return nil
	})
	if err := os.WriteFile(filepath.Join(dir, "f"), []byte("theirs"), 0o666); err != nil {
		t.Fatal(err)
	}
	// A file that has just changed is put off. Names that are not to be hashed are not.
	w.Changed("f", "no", "", ".ifmatch/format", "f/x")
	treetest.Eventually(t, "that f is put off", func() bool {
		w.queue.mu.Lock()
		defer w.queue.mu.Unlock()
		return len(w.queue.due) == 1 && w.queue.due["f"].at.After(clock.Now())
	})
	if n := hashed.Load(); n != 0 {
		t.Errorf("%d files were hashed too early", n)
	}
	clock.Advance(10 * time.Second)
	w.Changed("no") // wakes it; else it would look by itself in two seconds
	treetest.Eventually(t, "the hash", func() bool { return knows(w, "f") })
	info, tag, err := w.Hasher.Hash(t.Context(), "f", hashing.ForAnswer)
	if err != nil || info.Size != 6 || tag != treetest.TagOf("theirs") || hashed.Load() != 1 {
		t.Errorf("got %q of %+v, error %v, hashed %d times", tag, info, err, hashed.Load())
	}
}
