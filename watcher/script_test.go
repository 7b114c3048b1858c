package watcher

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
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
	w.events = nil
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
//
// Paths are below the root, or outside with "../". The line "skip NAME" before "watch" sets Options.Skip.
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
			runScript(t, string(text))
		})
	}
}

type script struct {
	t    *testing.T
	root string
	skip string
	w    *watched
	last int // index in w.events of what was seen last
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
		s.w = watchTree(s.t, s.root, Options{Skip: func(name string) bool { return name == s.skip }}, nil,
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
	}
	return fmt.Errorf("no such command")
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
