package watcher

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/fsnotify/fsnotify"

	"r-seed-1f3a754f.example/ifmatch/mounts"
)

func TestWatch(t *testing.T) {
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	ready, got := make(chan struct{}), make(chan []Event, 100)
	done := make(chan error)
	var watched atomic.Int64
	go func() {
		done <- Watch(ctx, dir, Options{Ready: func() { close(ready) }, Watched: &watched}, func(b []Event) { got <- b })
	}()
	<-ready
	if n := watched.Load(); n != 1 {
		t.Errorf("%d directories are watched, want 1", n)
	}
	if err := os.WriteFile(filepath.Join(dir, "f"), []byte("x"), 0o666); err != nil {
		t.Fatal(err)
	}
	if b := <-got; !slices.Contains(b, Event{"f", Changed}) {
		t.Errorf("got %v, want f changed", b)
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("Watch returned %v, want nil", err)
	}
	if n := watched.Load(); n != 0 {
		t.Errorf("%d directories are watched after the end", n)
	}
	awaitNoGoroutines(t)
}

// awaitNoGoroutines waits until no goroutine of a notifier is left.
func awaitNoGoroutines(t *testing.T) {
	t.Helper()
	buf := make([]byte, 1<<20)
	for end := time.Now().Add(deadline); ; runtime.Gosched() {
		stacks := buf[:runtime.Stack(buf, true)]
		if !bytes.Contains(stacks, []byte("readEvents")) {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("still running:\n%s", stacks)
		}
	}
}

func TestCannotStart(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	for _, root := range []string{file, filepath.Join(file, "below"), file + "missing"} {
		if err := Watch(t.Context(), root, Options{}, func([]Event) {}); err == nil {
			t.Errorf("Watch(%s) returned nil", root)
		}
	}
	if err := startError(syscall.EMFILE); !errors.Is(err, syscall.EMFILE) || !strings.Contains(err.Error(), "max_user_instances") {
		t.Errorf("without instances: %v", err)
	}
	f := newFake()
	f.refuse[filepath.Dir(file)] = syscall.ENOSPC
	err := newWatch(filepath.Dir(file), Options{}, func([]Event) {}, f).run(t.Context())
	if !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "max_user_watches") {
		t.Errorf("without watches: %v", err)
	}
	awaitNoGoroutines(t)
}

func TestNotificationsEnd(t *testing.T) {
	f := newFake()
	w := newWatch(t.TempDir(), Options{Ready: func() { close(f.events) }}, func([]Event) {}, f)
	if err := w.run(t.Context()); err == nil {
		t.Error("run returned nil")
	}
}

// The server holds its root open; then its removal comes without an event.
func TestRootHeldOpen(t *testing.T) {
	root := filepath.Join(t.TempDir(), "p", "root")
	must(t, os.MkdirAll(root, 0o777))
	held, err := os.OpenRoot(root)
	must(t, err)
	defer held.Close()
	w := watchTree(t, root, Options{}, nil, func(w *watch) { w.rootCheck = 10 * time.Millisecond })
	must(t, os.RemoveAll(root))
	w.awaitEvent(Event{"", Removed})
	must(t, os.MkdirAll(filepath.Join(root, "d"), 0o777))
	w.awaitEvent(Event{"", Overflow})
	w.drain()

	// An ancestor is renamed, and made again later, one by one.
	w.forget()
	must(t, os.Rename(filepath.Dir(root), filepath.Dir(root)+"2"))
	w.awaitEvent(Event{"", Removed})
	must(t, os.Mkdir(filepath.Dir(root), 0o777))
	must(t, os.Mkdir(root, 0o777))
	w.awaitEvent(Event{"", Overflow})
	w.drain()

	// Something else takes its place in one step.
	w.forget()
	must(t, os.MkdirAll(filepath.Join(filepath.Dir(root)+"3", "root"), 0o777))
	must(t, swap(filepath.Dir(root), filepath.Dir(root)+"3"))
	w.awaitEvent(Event{"", Overflow})
	w.drain()
}

// Without the periodic look, the watch above the root alone must bring it back.
func TestRootReturnsByEvents(t *testing.T) {
	top := t.TempDir()
	root := filepath.Join(top, "a", "b", "root")
	must(t, os.MkdirAll(root, 0o777))
	w := watchTree(t, root, Options{}, nil, func(w *watch) { w.rootCheck = time.Hour })
	for range 3 {
		w.forget()
		must(t, os.RemoveAll(filepath.Join(top, "a")))
		w.awaitEvent(Event{"", Removed})
		must(t, os.MkdirAll(root, 0o777))
		w.awaitEvent(Event{"", Overflow})
		w.drain()
	}
}

// After any series of changes, every directory that is there reports under its name, and only under it.
func TestRandomChanges(t *testing.T) {
	for seed := range uint64(6) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			root := t.TempDir()
			w := watchTree(t, root, Options{Quiet: time.Millisecond}, nil, nil)
			r := rand.New(rand.NewPCG(seed, uint64(time.Now().UnixNano())))
			for range 20 {
				for range 25 {
					randomChange(r, root)
				}
				checkAllWatched(w)
			}
		})
	}
}

// randomChange does one thing to a few names of three levels. Most attempts fail: that is fine.
func randomChange(r *rand.Rand, root string) {
	pick := func() string {
		parts := []string{root}
		for range 1 + r.IntN(3) {
			parts = append(parts, string(rune('a'+r.IntN(3))))
		}
		return filepath.Join(parts...)
	}
	switch r.IntN(8) {
	case 0, 1:
		os.MkdirAll(pick(), 0o777)
	case 2:
		os.RemoveAll(pick())
	case 3, 4, 5:
		syscall.Rename(pick(), pick())
	case 6:
		swap(pick(), pick())
	case 7:
		os.Symlink(pick(), pick())
	}
}

// checkAllWatched makes a file in every directory and waits for its event.
func checkAllWatched(w *watched) {
	w.t.Helper()
	w.drain()
	w.forget()
	w.marks++
	probe := fmt.Sprintf("probe%d", w.marks)
	var want []string
	w.do(filepath.WalkDir(w.root, func(p string, d os.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return err
		}
		rel, _ := filepath.Rel(w.root, p)
		want = append(want, join(strings.TrimPrefix(filepath.ToSlash(rel), "."), probe))
		return os.WriteFile(filepath.Join(p, probe), nil, 0o666)
	}))
	for _, name := range want {
		w.awaitEvent(Event{name, Changed})
	}
	for _, ev := range w.seen() {
		if strings.HasSuffix(ev.Name, probe) && !slices.Contains(want, ev.Name) {
			w.t.Errorf("%v %s was reported, but there are only %q", ev.Op, ev.Name, want)
		}
	}
}

// A new directory was found through a link, before the event that says that there is a link now.
func TestFoundThroughLink(t *testing.T) {
	root, f := t.TempDir(), newFake()
	must(t, os.MkdirAll(filepath.Join(root, "a"), 0o777))
	must(t, os.MkdirAll(filepath.Join(root, "b"), 0o777))
	w := watchTree(t, root, Options{}, f, nil)
	say := func(op fsnotify.Op, name string) {
		f.events <- fsnotify.Event{Name: filepath.Join(root, name), Op: op}
	}
	must(t, os.Mkdir(filepath.Join(root, "b", "x"), 0o777))
	must(t, os.Remove(filepath.Join(root, "a")))
	must(t, os.Symlink("b", filepath.Join(root, "a")))
	say(fsnotify.Create, "a/x") // as if it had been there before
	say(fsnotify.Create, "b/x")
	f.sync(w)
	w.forget()
	say(fsnotify.Remove, "a")
	say(fsnotify.Create, "a")
	w.awaitEvent(Event{"a", Removed})
	f.sync(w)
	checkWatches(t, f, root, ".", "b", "b/x")
	if f.last() != filepath.Join(root, "b", "x") {
		t.Errorf("the last watch added is %s; that of b/x may have been lost with a/x", f.last())
	}
}

// A fake notifier: it remembers what is watched and says what the test makes it say.
type fake struct {
	events chan fsnotify.Event
	errors chan error

	mu     sync.Mutex
	paths  map[string]bool
	added  string // the last
	refuse map[string]error
	limit  int   // how many watches there are, 0: plenty
	onDrop error // sent while Remove does not return, as fsnotify does with its lock held
}

func newFake() *fake {
	return &fake{
		events: make(chan fsnotify.Event), errors: make(chan error),
		paths: make(map[string]bool), refuse: make(map[string]error),
	}
}

func (f *fake) Add(path string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.refuse[path]; err != nil {
		return err
	}
	if f.limit > 0 && len(f.paths) >= f.limit && !f.paths[path] {
		return syscall.ENOSPC
	}
	f.paths[path], f.added = true, path
	return nil
}

func (f *fake) last() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.added
}

func (f *fake) Remove(path string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.onDrop != nil {
		f.errors <- f.onDrop
	}
	if !f.paths[path] {
		return fsnotify.ErrNonExistentWatch
	}
	delete(f.paths, path)
	return nil
}

func (f *fake) Events() <-chan fsnotify.Event { return f.events }
func (f *fake) Errors() <-chan error          { return f.errors }
func (f *fake) Close() error                  { return nil }

// watches returns what is watched, below root.
func (f *fake) watches(root string) []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var list []string
	for p := range f.paths {
		rel, _ := filepath.Rel(root, p)
		list = append(list, filepath.ToSlash(rel))
	}
	slices.Sort(list)
	return list
}

func TestOverflow(t *testing.T) {
	root, f := t.TempDir(), newFake()
	must(t, os.MkdirAll(filepath.Join(root, "old", "gone"), 0o777))
	must(t, os.MkdirAll(filepath.Join(root, "moved", "sub"), 0o777))
	w := watchTree(t, root, Options{}, f, nil)
	checkWatches(t, f, root, ".", "moved", "moved/sub", "old", "old/gone")

	// All of this without an event.
	must(t, os.Rename(filepath.Join(root, "old", "gone"), filepath.Join(t.TempDir(), "gone")))
	must(t, os.Rename(filepath.Join(root, "moved"), filepath.Join(root, "old", "here")))
	must(t, makeTree(filepath.Join(root, "new")))
	f.errors <- fsnotify.ErrEventOverflow
	w.awaitEvent(Event{"", Overflow})
	f.sync(w)
	want := []string{".", "new", "old", "old/here", "old/here/sub"}
	for i := range 39 {
		switch {
		case i < 3:
			want = append(want, fmt.Sprintf("new/%d", i))
		case i < 12:
			want = append(want, fmt.Sprintf("new/%d/%d", (i-3)/3, (i-3)%3))
		default:
			want = append(want, fmt.Sprintf("new/%d/%d/%d", (i-12)/9, (i-12)/3%3, (i-12)%3))
		}
	}
	slices.Sort(want)
	checkWatches(t, f, root, want...)
	if evs := w.seen(); evs[0] != (Event{"", Overflow}) {
		t.Errorf("the first event is %v, want the overflow", evs[0])
	}
}

// sync waits until all work is done: events and steps of the scan take turns, and there are more events here than steps.
// The last one has a name of its own, because one that never rests is told before that.
func (f *fake) sync(w *watched) {
	w.t.Helper()
	w.marks++
	last := fmt.Sprintf("sync%d", w.marks)
	for told := false; !told; { // unless an overflow swallowed it
		from := len(w.seen())
		for range 1000 {
			f.events <- fsnotify.Event{Name: filepath.Join(w.root, "turn"), Op: fsnotify.Write}
		}
		f.events <- fsnotify.Event{Name: filepath.Join(w.root, last), Op: fsnotify.Write}
		w.await(fmt.Sprint(Changed, " ", last), func() bool {
			told = slices.Contains(w.events[from:], Event{last, Changed})
			return told || slices.Contains(w.events[from:], Event{"", Overflow})
		})
	}
}

func checkWatches(t *testing.T, f *fake, root string, want ...string) {
	t.Helper()
	if got := f.watches(root); !slices.Equal(got, want) {
		t.Errorf("watched: %q\n   want: %q", got, want)
	}
}

// The events about a moved directory come after it was found under its new name.
func TestFoundBeforeMoveIsTold(t *testing.T) {
	root, f := t.TempDir(), newFake()
	must(t, os.MkdirAll(filepath.Join(root, "a", "sub"), 0o777))
	w := watchTree(t, root, Options{}, f, nil)
	must(t, os.Mkdir(filepath.Join(root, "n"), 0o777))
	must(t, os.Rename(filepath.Join(root, "a"), filepath.Join(root, "n", "a")))
	f.events <- fsnotify.Event{Name: filepath.Join(root, "n"), Op: fsnotify.Create}
	w.awaitEvent(Event{"a", Removed})
	w.awaitEvent(Event{"n/a/sub", Changed})
	f.sync(w)
	f.events <- fsnotify.Event{Name: filepath.Join(root, "a"), Op: fsnotify.Rename}
	f.events <- fsnotify.Event{Name: filepath.Join(root, "a", "sub", "late"), Op: fsnotify.Write}
	f.sync(w)
	checkWatches(t, f, root, ".", "n", "n/a", "n/a/sub")
	if slices.Contains(w.seen(), Event{"a/sub/late", Changed}) {
		t.Error("a name below the old path was reported")
	}
}

func TestOutOfWatches(t *testing.T) {
	root, f := t.TempDir(), newFake()
	for i := range 9 {
		must(t, os.MkdirAll(filepath.Join(root, fmt.Sprint(i)), 0o777))
	}
	f.limit = 5
	w := watchTree(t, root, Options{}, f, nil)
	w.await("a report", func() bool { return len(w.errs) == 1 })
	err := w.errs[0]
	for _, want := range []string{"and 4 more directories", "sysctl fs.inotify.max_user_watches", root} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the report does not say %q: %v", want, err)
		}
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("%v is not ENOSPC", err)
	}
	if n := len(f.watches(root)); n != 5 {
		t.Errorf("%d watches are kept, want 5", n)
	}

	// It goes on: what is watched is reported, new directories are named, and it does not say so again.
	must(t, os.Mkdir(filepath.Join(root, "new"), 0o777))
	f.events <- fsnotify.Event{Name: filepath.Join(root, "new"), Op: fsnotify.Create}
	w.awaitEvent(Event{"new", Changed})
	f.sync(w)
	w.await("one report", func() bool { return len(w.errs) == 1 })
}

// A directory for which there was no watch has got one meanwhile. It keeps that when more are tried for.
func TestWatchedBeforeMoreAreTriedFor(t *testing.T) {
	root, f := t.TempDir(), newFake()
	recovered := 0
	w := newWatch(root, Options{Recovered: func() { recovered++ }}, nil, f)
	scan := func() {
		for w.scanning() {
			w.step()
		}
	}
	must(t, os.Mkdir(filepath.Join(root, "a"), 0o777))
	f.limit = 1
	must(t, w.begin())
	scan()
	checkWatches(t, f, root, ".")
	f.limit = 2
	w.handle(fsnotify.Event{Name: filepath.Join(root, "a"), Op: fsnotify.Create})
	scan()
	checkWatches(t, f, root, ".", "a")
	for range checksPerTry {
		w.retry()
	}
	checkWatches(t, f, root, ".", "a")
	scan()
	if recovered != 1 {
		t.Errorf("it was told %d times that there are enough watches again", recovered)
	}
}

func TestForbiddenDirectory(t *testing.T) {
	root, f := t.TempDir(), newFake()
	must(t, os.MkdirAll(filepath.Join(root, "secret", "below"), 0o777))
	must(t, os.MkdirAll(filepath.Join(root, "open"), 0o777))
	f.refuse[filepath.Join(root, "secret")] = syscall.EACCES
	w := watchTree(t, root, Options{}, f, nil)
	w.await("a report", func() bool { return len(w.errs) == 1 })
	if err := w.errs[0]; !errors.Is(err, os.ErrPermission) || !strings.Contains(err.Error(), `"secret"`) {
		t.Errorf("got %v, want permission denied for secret", err)
	}
	checkWatches(t, f, root, ".", "open")

	// Once it is allowed, it is watched.
	f.mu.Lock()
	delete(f.refuse, filepath.Join(root, "secret"))
	f.mu.Unlock()
	f.events <- fsnotify.Event{Name: filepath.Join(root, "secret"), Op: fsnotify.Chmod}
	w.awaitEvent(Event{"secret/below", Changed})
	f.sync(w)
	checkWatches(t, f, root, ".", "open", "secret", "secret/below")
}

// Where a file system can be changed by others than this kernel, or is none to keep files in, that is said, of each kind once.
func TestMountsAreNoted(t *testing.T) {
	var reports []error
	w := newWatch(t.TempDir(), Options{
		Skip:   func(name string) bool { return name == ".state" },
		Report: func(err error) { reports = append(reports, err) },
	}, nil, newFake())
	w.mounted = map[string]mounts.Mount{
		"":            {ID: 1, Kind: "ext4"},
		"a":           {ID: 2, Kind: "tmpfs"},
		"b/c":         {ID: 3, Kind: "nfs4"},
		".state":      {ID: 4, Kind: "cifs"},
		"p":           {ID: 5, Kind: "proc"},
		"p/fs/binfmt": {ID: 6, Kind: "binfmt_misc"},
		"p/fs/nfs":    {ID: 7, Kind: "cifs"},
	}
	w.noteMounts()
	w.noteMounts() // something else was mounted
	told := map[string]error{`"b/c"`: ErrElsewhere, `"p"`: ErrNoStorage}
	for name, want := range told {
		if !slices.ContainsFunc(reports, func(err error) bool { return errors.Is(err, want) && strings.Contains(err.Error(), name) }) {
			t.Errorf("nothing was said about %s, but: %v", name, reports)
		}
	}
	if len(reports) != len(told) {
		t.Errorf("reported %v", reports)
	}
}

// Skipped directories cost no watch, wherever they are.
func TestSkipCostsNothing(t *testing.T) {
	root, f := t.TempDir(), newFake()
	must(t, os.MkdirAll(filepath.Join(root, ".state", "stage"), 0o777))
	must(t, os.MkdirAll(filepath.Join(root, "d", ".state"), 0o777))
	skip := func(name string) bool {
		if strings.HasPrefix(name, ".state/") {
			t.Errorf("asked about %q, below a skipped name", name)
		}
		return strings.HasSuffix(name, ".state")
	}
	w := watchTree(t, root, Options{Skip: skip}, f, nil)
	checkWatches(t, f, root, ".", "d")
	f.errors <- fsnotify.ErrEventOverflow
	w.awaitEvent(Event{"", Overflow})
	f.sync(w)
	checkWatches(t, f, root, ".", "d")
}

func TestErrorDuringRemove(t *testing.T) {
	root, f := t.TempDir(), newFake()
	f.onDrop = syscall.EINVAL
	must(t, os.MkdirAll(filepath.Join(root, "d", "e"), 0o777))
	w := watchTree(t, root, Options{}, f, nil)
	must(t, os.RemoveAll(filepath.Join(root, "d")))
	f.events <- fsnotify.Event{Name: filepath.Join(root, "d"), Op: fsnotify.Remove}
	w.awaitEvent(Event{"d", Removed})
	checkWatches(t, f, root, ".")
}

// A consumer that does not come back for long gets an Overflow, in bounded memory.
func TestSlowConsumer(t *testing.T) {
	root, f := t.TempDir(), newFake()
	called := make(chan struct{})
	w := watchTree(t, root, Options{}, f, func(inner *watch) {
		notify, first := inner.notify, sync.OnceFunc(func() { close(called) })
		inner.notify = func(events []Event) { first(); notify(events) }
	})
	change := fsnotify.Event{Name: filepath.Join(root, "f"), Op: fsnotify.Write}
	w.mu.Lock() // notify waits for it
	f.events <- change
	<-called
	for range 2*maxQueued + 2 {
		f.events <- change
	}
	w.mu.Unlock()
	w.awaitEvent(Event{"", Overflow})
	f.sync(w)
}

// The benign and the fatal among the errors of the notifier.
func TestNotifierErrors(t *testing.T) {
	root, f := t.TempDir(), newFake()
	w := watchTree(t, root, Options{}, f, nil)
	f.errors <- syscall.EINVAL
	f.errors <- errors.New("trouble")
	f.errors <- errors.New("trouble")
	f.sync(w)
	w.await("one report", func() bool { return len(w.errs) == 1 })
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
