package watcher

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/fsnotify/fsnotify"
)

// How long a test waits for something that must happen. It is only ever used up by a failure.
const deadline = 60 * time.Second

// A watched tree: one Watch on root, and what it reported.
type watched struct {
	t     *testing.T
	root  string
	stop  func() error
	ready chan struct{}

	mu     sync.Mutex
	events []Event
	more   chan struct{} // closed and replaced when something arrived
	errs   []error
	marks  int

	recoveries int
	mounts     int // since the last forget
}

// watchTree starts a Watch and waits until the tree is watched. setup may change it first.
func watchTree(t *testing.T, root string, opts Options, n notifier, setup func(*watch)) *watched {
	t.Helper()
	w := &watched{t: t, root: root, ready: make(chan struct{}), more: make(chan struct{})}
	opts.Ready = func() { close(w.ready) }
	opts.Report = func(err error) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.errs = append(w.errs, err)
		w.wake()
	}
	opts.Recovered = func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.recoveries++
		w.wake()
	}
	opts.Mounted = func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.mounts++
		w.wake()
	}
	if n == nil {
		fw, err := fsnotify.NewWatcher()
		if err != nil {
			t.Fatal(err)
		}
		n = osNotifier{fw}
	}
	inner := newWatch(root, opts, w.notify, n)
	if setup != nil {
		setup(inner)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- inner.run(ctx) }()
	w.stop = sync.OnceValue(func() error { cancel(); return <-done })
	t.Cleanup(func() {
		if err := w.stop(); err != nil {
			t.Errorf("Watch: %v", err)
		}
	})
	select {
	case <-w.ready:
	case err := <-done:
		t.Fatalf("Watch ended: %v", err)
	case <-time.After(deadline):
		t.Fatal("not ready in time")
	}
	return w
}

func (w *watched) notify(batch []Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.events = append(w.events, batch...)
	w.wake()
}

func (w *watched) wake() {
	close(w.more)
	w.more = make(chan struct{})
}

// await waits until ok, which is asked with mu held.
func (w *watched) await(what string, ok func() bool) {
	w.t.Helper()
	end := time.After(deadline)
	for {
		w.mu.Lock()
		good, more := ok(), w.more
		w.mu.Unlock()
		if good {
			return
		}
		select {
		case <-more:
		case <-end:
			w.t.Fatalf("waited in vain for %s; reported: %v", what, w.seen())
		}
	}
}

func (w *watched) seen() []Event {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.events)
}

func (w *watched) awaitEvent(ev Event) {
	w.t.Helper()
	w.await(fmt.Sprint(ev), func() bool { return slices.Contains(w.events, ev) })
}

// drain waits until what happened before is reported: the kernel's queue is in order, so it is when a change
// made now is. The second round is for directories that were found by handling the first.
func (w *watched) drain() {
	w.t.Helper()
	for range 2 {
		for !w.mark() {
		}
	}
}

// mark makes and removes a file and waits for both events. It returns false if an overflow swallowed one.
func (w *watched) mark() bool {
	w.t.Helper()
	w.marks++
	name, from := fmt.Sprintf("mark%d", w.marks), len(w.seen())
	overflow := false
	await := func(op Op) {
		w.t.Helper()
		w.await(fmt.Sprint(op, " ", name), func() bool {
			overflow = slices.Contains(w.events[from:], Event{"", Overflow})
			return overflow || slices.Contains(w.events, Event{name, op})
		})
	}
	w.do(os.WriteFile(filepath.Join(w.root, name), nil, 0o666))
	await(Changed)
	w.do(os.Remove(filepath.Join(w.root, name)))
	await(Removed)
	return !overflow
}

func (w *watched) forget() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.events, w.mounts = nil, 0
}

func (w *watched) do(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// TestScripts runs testdata/*.txt against the real kernel. A script has two parts: commands that make the
// tree, and, after the line "watch", commands and what must be reported about them:
//
//	mkdir -p D · write F · append F · touch F · chmod MODE F · rm F · rm -r D · mv A B · swap A B · ln TARGET L
//	tree D            directories and files in D, many levels at once, as fast as possible
//	see OP NAME       wait until this was reported since the last forget; "." is the root
//	order OP NAME     as see, and it came after what the last see or order found
//	none PREFIX       nothing whose name starts with PREFIX was reported since the last forget
//	forget            wait until all is quiet, and begin a new list
//	report REGEXP     wait until trouble was reported that matches
//	recovered         wait until it was reported that there are enough watches again
//
// Paths are below the root, or outside with "../". The line "skip NAME" before "watch" sets Options.Skip.
//
// These are for Linux. The first of them, before all others, has the script run in a user and mount namespace of its
// own, as root and without disturbing anybody; the rest but those about the queue need it.
//
//	namespace
//	mount D [KIND] · bind D E · umount D     a tmpfs, unless a kind is named
//	mounted           wait until it was told that storage was mounted since the last forget
//	terminal D        open a terminal of a devpts that is mounted at D, which makes D/0 there for a moment
//	watches N         how many there are
//	stall · resume    stop to take events from the kernel's queue, and go on
//	flood F G         change two files in turn until the queue overflows
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no scripts", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			t.Parallel()
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if bytes.HasPrefix(text, []byte("namespace\n")) && os.Getenv(namespaced) == "" {
				runInNamespace(t)
				return
			}
			runScript(t, string(text))
		})
	}
}

// namespaced is set in the environment of a test that has a namespace of its own.
const namespaced = "WATCHER_TEST_NAMESPACED"

// runInNamespace runs the test that calls it once more, by itself and in a namespace.
func runInNamespace(t *testing.T) {
	cmd := exec.Command(os.Args[0], "-test.run=^"+strings.ReplaceAll(t.Name(), "/", "$/^")+"$", "-test.v")
	cmd.Env = append(os.Environ(), namespaced+"=1")
	err := inNamespace(cmd)
	var out bytes.Buffer
	if err == nil {
		cmd.Stdout, cmd.Stderr = &out, &out
		err = cmd.Start()
	}
	if err == nil {
		if err := cmd.Wait(); err != nil {
			t.Fatalf("in its namespace: %v\n%s", err, &out)
		}
		if bytes.Contains(out.Bytes(), []byte("--- PASS: "+t.Name())) {
			return
		}
		err = fmt.Errorf("it did not run in its namespace:\n%s", &out)
	}
	if os.Getenv("CI") != "" {
		t.Fatalf("no namespace can be had here: %v", err)
	}
	t.Skipf("NOT RUN, because no namespace can be had here: %v", err)
}

type script struct {
	t     *testing.T
	root  string
	skip  string
	w     *watched
	queue *stallable
	last  int // index in w.events of what was seen last
}

func runScript(t *testing.T, text string) {
	s := &script{t: t, root: filepath.Join(t.TempDir(), "root")}
	if err := os.Mkdir(s.root, 0o777); err != nil {
		t.Fatal(err)
	}
	n := 0
	for line := range strings.Lines(text) {
		n++
		args := strings.Fields(strings.SplitN(line, "#", 2)[0])
		if len(args) == 0 {
			continue
		}
		t.Logf("%3d %s", n, strings.TrimSpace(line))
		if err := s.command(args); err != nil {
			t.Fatalf("line %d: %s: %v", n, strings.TrimSpace(line), err)
		}
	}
}

func (s *script) command(args []string) error {
	switch cmd, args := args[0], args[1:]; cmd {
	case "skip":
		s.skip = args[0]
	case "watch":
		var err error
		if s.queue, err = newStallable(); err != nil {
			return err
		}
		s.w = watchTree(s.t, s.root, Options{Skip: func(name string) bool { return name == s.skip }}, s.queue,
			func(w *watch) { w.rootCheck = 20 * time.Millisecond })
	case "see":
		s.see(Event{name(args[1]), parseOp(s.t, args[0])}, 0)
	case "order":
		s.see(Event{name(args[1]), parseOp(s.t, args[0])}, s.last+1)
	case "none":
		for _, ev := range s.w.seen() {
			if strings.HasPrefix(ev.Name, args[0]) {
				return fmt.Errorf("reported: %v %s", ev.Op, ev.Name)
			}
		}
	case "forget":
		s.w.drain()
		s.w.forget()
		s.last = -1
	case "report":
		re, err := regexp.Compile(args[0])
		if err != nil {
			return err
		}
		s.w.await("a report of "+args[0], func() bool {
			return slices.ContainsFunc(s.w.errs, func(err error) bool { return re.MatchString(err.Error()) })
		})
	case "recovered":
		s.w.await("the recovery", func() bool { return s.w.recoveries > 0 })
	case "mounted":
		s.w.await("a mount", func() bool { return s.w.mounts > 0 })
	case "stall":
		s.queue.gate.Lock()
	case "resume":
		s.queue.gate.Unlock()
	default:
		return s.change(cmd, args)
	}
	return nil
}

func name(s string) string {
	if s == "." {
		return ""
	}
	return s
}

func (s *script) see(ev Event, from int) {
	s.t.Helper()
	s.w.await(fmt.Sprintf("%v %q", ev.Op, ev.Name), func() bool {
		if from > len(s.w.events) {
			return false
		}
		i := slices.Index(s.w.events[from:], ev)
		if i >= 0 {
			s.last = from + i
		}
		return i >= 0
	})
}

func (s *script) path(p string) string { return filepath.Join(s.root, p) }

// change runs a command that changes the tree.
func (s *script) change(cmd string, args []string) error {
	at := func(i int) string { return s.path(args[i]) }
	switch cmd {
	case "mkdir":
		return os.MkdirAll(at(len(args)-1), 0o777)
	case "write":
		return os.WriteFile(at(0), []byte("content"), 0o666)
	case "append":
		f, err := os.OpenFile(at(0), os.O_WRONLY|os.O_APPEND, 0)
		if err != nil {
			return err
		}
		defer f.Close()
		_, err = f.WriteString("more")
		return err
	case "touch":
		return os.Chtimes(at(0), time.Unix(1, 0), time.Unix(1, 0))
	case "chmod":
		var mode os.FileMode
		if _, err := fmt.Sscanf(args[0], "%o", &mode); err != nil {
			return err
		}
		return os.Chmod(at(1), mode)
	case "rm":
		if args[0] == "-r" {
			return os.RemoveAll(at(1))
		}
		return os.Remove(at(0))
	case "mv":
		return syscall.Rename(at(0), at(1)) // os.Rename refuses what rename(2) can do: replace an empty directory
	case "swap":
		return swap(at(0), at(1))
	case "ln":
		return os.Symlink(args[0], at(1))
	case "tree":
		return makeTree(at(0))
	case "namespace": // it is in one, but on some systems that alone gives nobody any rights
		if err := unshared(); err != nil {
			s.t.Skip("NOT RUN: ", err)
		}
		return nil
	case "mount":
		return mountKind(append(args, "tmpfs")[1], at(0))
	case "terminal":
		f, err := os.OpenFile(filepath.Join(at(0), "ptmx"), os.O_RDWR|syscall.O_NOCTTY, 0)
		if err != nil {
			return err
		}
		return f.Close()
	case "bind":
		return bind(at(0), at(1))
	case "umount":
		return unmount(at(0))
	case "watches":
		return limitWatches(args[0])
	case "flood":
		return flood(at(0), at(1))
	}
	return fmt.Errorf("no such command")
}

// flood makes more events than the kernel's queue takes. What one read of it took before it was full is not in it any
// more, and two events that are the same are one.
func flood(a, b string) error {
	n, err := maxQueuedEvents()
	if err != nil {
		return err
	}
	const oneRead = 4096 // of fsnotify
	for range (n+oneRead)/2 + 1 {
		for _, name := range []string{a, b} {
			if err := os.Chtimes(name, time.Unix(1, 0), time.Unix(1, 0)); err != nil {
				return err
			}
		}
	}
	return nil
}

// A stallable is the kernel's own notifier, whose events are not taken while gate is held.
type stallable struct {
	osNotifier
	gate   sync.Mutex
	events chan fsnotify.Event
	closed chan struct{}
}

func newStallable() (*stallable, error) {
	fw, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, err
	}
	n := &stallable{osNotifier: osNotifier{fw}, events: make(chan fsnotify.Event), closed: make(chan struct{})}
	go n.forward()
	return n, nil
}

func (n *stallable) forward() {
	for ev := range n.osNotifier.Events() {
		if !n.send(ev) {
			return
		}
	}
}

func (n *stallable) send(ev fsnotify.Event) bool {
	n.gate.Lock()
	defer n.gate.Unlock()
	select {
	case n.events <- ev:
		return true
	case <-n.closed:
		return false
	}
}

func (n *stallable) Events() <-chan fsnotify.Event { return n.events }

func (n *stallable) Close() error {
	close(n.closed)
	return n.osNotifier.Close()
}

// makeTree makes dir with 3 levels of 3 directories, each with a file f.
func makeTree(dir string) error {
	for i := range 27 {
		d := filepath.Join(dir, fmt.Sprint(i/9), fmt.Sprint(i/3%3), fmt.Sprint(i%3))
		if err := os.MkdirAll(d, 0o777); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(d, "f"), nil, 0o666); err != nil {
			return err
		}
	}
	return nil
}
