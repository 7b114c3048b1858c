// Package watcher reports the changes in a tree of files, from the notifications of the operating system.
//
// An event is a hint. It may come late, twice, or for a change of this process, and its name may stand for another file
// by the time it is read. So a caller that acts on an event looks at the disk. Two things are promised. A change below
// a watched directory leads to an event for its name, or to an Overflow. A name whose directory was moved or removed is
// not reported again until a file or directory has that name.
//
// fsnotify is not recursive, so each directory gets a watch of its own. The order of two steps keeps that sound:
//
//   - A directory is watched first and listed afterwards. A member that is created in between shows twice. In the other
//     order it would not show at all (measured: 73 % of the files of a `mkdir -p` tree).
//   - A directory that moves is first forgotten under its old name, with all directories below it. inotify watches
//     inodes: it would go on reporting old names, and adding the new name would return the old watch.
//
// One goroutine owns the tree of watched directories, the scan and the pending events. Another goroutine only empties
// the kernel's queue. A long scan is done in small steps, so that events do not wait for its end.
//
// # Limits
//
// Some changes are not seen: writes through a mapping before the file is closed, edits through a hard link in another
// directory, changes made on another machine of a network file system, and the second name of a directory that is
// bind-mounted twice. A mount below the root that stores no files, such as /proc, is left alone. No event tells of a
// mount or unmount, or of a replaced root that a process still holds open. The watcher notices these changes within
// seconds, and mounts and unmounts on Linux only. On Windows no program can rename a directory that has watched
// directories below it.
package watcher

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/fsnotify/fsnotify"

	"r-seed-1f3a754f.example/ifmatch/mounts"
)

// An Event is a hint that a name has changed. It never proves which file is there now.
type Event struct {
	Name string // slash-separated path below the root. "" is the root
	Op   Op
}

// Op tells the kind of change that may have happened to a name.
type Op uint8

const (
	// Changed: a file's content or metadata, or a directory's members, may be different, or the name may be new. A
	// member that comes or goes is reported under its own name, and not always as a change of its directory.
	Changed Op = iota + 1
	// Removed: the name, and all names below it, are gone or moved. If a file or directory gets the name again, a
	// Changed of the same name follows.
	Removed
	// Overflow: events were lost, and any file may be different. Name is "".
	Overflow
)

// String returns the operation in lower case.
func (o Op) String() string {
	switch o {
	case Changed:
		return "changed"
	case Removed:
		return "removed"
	case Overflow:
		return "overflow"
	}
	return fmt.Sprintf("Op(%d)", uint8(o))
}

// Options are the choices that a caller of Watch has. The zero value works.
type Options struct {
	// Skip reports whether the subtree at name is neither watched nor reported, such as the server's own state
	// directory. It is not called with names below a name that it skipped.
	Skip func(name string) bool
	// Quiet is how long a name must be left alone before its event is handed on, so that a burst becomes one event. The
	// event of a name that never rests is handed on every ten times Quiet. Zero means 20 ms.
	Quiet time.Duration
	// Report is called once for each kind of trouble that leaves a part of the tree unwatched. Causes are that watches
	// ran out, that directories may not be read, or that file systems do not tell of all changes (ErrElsewhere) or are
	// left alone (ErrNoStorage). The error names the cause and, if one is known, the remedy.
	Report func(error)
	// Recovered is called when the watches had run out, and there are enough of them again. By then, all parts that
	// were not watched were reported as Changed.
	Recovered func()
	// Mounted is called when storage was mounted in the tree. Its files and directories are reported, too.
	Mounted func()
	// Ready is called once, when all parts of the tree that can be watched are watched. Changes before that may go
	// unreported.
	Ready func()
	// Ask yields questions: how far have events been handled? Each channel has room for one answer. The answer is true
	// when all changes that were made before the question were handed to notify, as far as they can be watched. It is
	// false if that cannot be known.
	Ask <-chan chan<- bool
	// AskDir is a directory that nothing else is kept in, on the same machine. Watch makes files there for questions, and
	// removes them. "": no question can be answered. It must be skipped, if it is below the root.
	AskDir string
	// Watched, if not nil, is kept at the number of directories that are watched. [Watch] leaves it as it was.
	Watched *atomic.Int64
}

const (
	defaultQuiet = 20 * time.Millisecond
	// rootCheck is how often the root is checked with one stat. It notices changes that no event tells of: that the
	// root was deleted while the server holds it open, or that a directory above it was renamed, mounted over or
	// unmounted.
	rootCheck = 5 * time.Second
	// checksPerTry is how many of these checks pass before more watches are tried for, once watches have run out. A try
	// looks at each directory.
	checksPerTry = 12
)

// Watch watches the tree below root until ctx is done. It calls notify with batches of coalesced events, from one
// goroutine. notify may keep the slice. Events queue while notify runs, so a slow notify leads to an Overflow in the
// end, never to a lost event. notify, and the functions in opts, are not called after Watch has returned.
//
// Watch returns nil when ctx is done, and an error if watching cannot start or ends. A root that goes away is not an
// error: it is reported as Removed, and with an Overflow when it is back. Symbolic links below the root are never
// followed. The root itself may be one.
func Watch(ctx context.Context, root string, opts Options, notify func([]Event)) error {
	abs, err := filepath.Abs(root)
	if err != nil {
		return fmt.Errorf("watcher: %w", err)
	}
	fw, err := fsnotify.NewWatcher()
	if err != nil {
		return startError(err)
	}
	return newWatch(abs, opts, notify, osNotifier{fw}).run(ctx)
}

func startError(err error) error {
	if errors.Is(err, syscall.EMFILE) {
		return fmt.Errorf("watcher: no inotify instance left for this user, or no file descriptor for this process: "+
			"raise one of them (sysctl fs.inotify.max_user_instances=1024, ulimit -n): %w", err)
	}
	return fmt.Errorf("watcher: %w", err)
}

// watch is the state of one Watch. All of it belongs to the goroutine that runs run.
type watch struct {
	root      string // absolute
	opts      Options
	notify    func([]Event)
	os        notifier
	signals   *queue
	looked    looked
	rootCheck time.Duration

	dirs    tree
	pending *coalescer
	whole   bool // all of the tree was scanned since the root was last found
	ready   bool // Ready was called

	jobs  []job    // directories still to be visited, the next one last
	later []job    // directories to be tried again with the next checkRoot
	list  *listing // the directory being listed

	table   mounts.Table
	mounted map[string]mounts.Mount // the mounts in the tree at the last check, by name

	unwatched string // a directory for which there was no watch. "": none is known
	checks    int    // how many checks have passed since a watch was last tried for

	rootInfo os.FileInfo // the directory that is watched as the root
	lost     bool        // the root is gone
	ancestor string      // while lost: the watched directory above the root

	troubles map[string]*trouble

	asks asking
}

func newWatch(root string, opts Options, notify func([]Event), n notifier) *watch {
	if opts.Quiet <= 0 {
		opts.Quiet = defaultQuiet
	}
	return &watch{
		root: root, opts: opts, notify: notify, os: n, rootCheck: rootCheck,
		pending:  newCoalescer(opts.Quiet, 10*opts.Quiet),
		troubles: make(map[string]*trouble),
	}
}

// working is closed, so a receive never waits. With it, the select of run goes on with the scan.
var working = func() <-chan struct{} { c := make(chan struct{}); close(c); return c }()

func (w *watch) run(ctx context.Context) error {
	w.signals = receive(w.os, rest)
	defer w.signals.stop()
	defer w.stopListing()
	defer w.endAsks()
	w.dirs.shown = w.opts.Watched
	defer func() { w.dirs.grow(-w.dirs.size) }()
	w.table = mounts.OpenTable()
	defer w.table.Close()
	if err := w.begin(); err != nil {
		return err
	}
	flush, check := time.NewTimer(w.opts.Quiet), time.NewTicker(w.rootCheck)
	defer flush.Stop()
	defer check.Stop()
	for {
		now := time.Now()
		if batch := w.pending.take(now); len(batch) > 0 {
			w.notify(batch)
		}
		w.answer()
		if at, ok := w.pending.due(); ok {
			flush.Reset(at.Sub(now))
		}
		var work <-chan struct{}
		if w.scanning() {
			work = working
		}
		// If several cases are ready, select is fair: neither a flood of events nor a long scan starves the other.
		select {
		case <-ctx.Done():
			return nil
		case several, ok := <-w.signals.signals:
			if !ok {
				return errors.New("watcher: the notifications of the operating system ended")
			}
			w.handleAll(several)
		case answer := <-w.opts.Ask:
			w.ask(answer)
		case <-flush.C:
		case <-check.C:
			w.checkRoot()
			w.checkMounts()
			w.retry()
		case <-work:
			w.step()
		}
	}
}

// begin fails if no directory at all would be watched.
func (w *watch) begin() error {
	fi, err := os.Stat(w.root)
	if err != nil {
		return fmt.Errorf("watcher: %w", err)
	}
	if !fi.IsDir() {
		return fmt.Errorf("watcher: %s is not a directory", w.root)
	}
	w.mounted = mounts.In(w.root)
	if err := w.os.Add(w.root); err != nil {
		return fmt.Errorf("watcher: %s cannot be watched: %w", w.root, explain(err))
	}
	w.rootInfo = fi
	w.jobs = append(w.jobs, job{"", first})
	w.noteMounts()
	return nil
}

// handleAll handles messages that have come together.
func (w *watch) handleAll(several []signal) {
	w.looked = looked{}
	for _, s := range several {
		if s.err != nil {
			w.fail(s.err)
		} else {
			w.handle(s.event)
		}
	}
}

// handle turns one notification into events and into work for the scan.
func (w *watch) handle(ev fsnotify.Event) {
	if w.isAsk(ev) {
		return
	}
	if w.lost {
		w.handleLost(ev)
		return
	}
	name, ok := w.name(ev.Name)
	if !ok || w.skip(name) || !w.covers(name) {
		return
	}
	gone := ev.Has(fsnotify.Remove) || ev.Has(fsnotify.Rename)
	if name == "" && gone {
		w.lose()
		return
	}
	if gone {
		w.drop(w.dirs.find(name))
		w.emit(name, Removed)
	}
	if name == "" || ev.Op == fsnotify.Write {
		w.emit(name, Changed)
		return
	}
	w.look(name, gone)
}

// look looks at a name after its directory has reported an event for it. It looks after a removal, too: an exchange of
// two names arrives as "created, moved away", in this order, and the name is never free.
func (w *watch) look(name string, gone bool) {
	if w.looked.name != name {
		fi, err := os.Lstat(w.path(name))
		w.looked = looked{name, err == nil, err == nil && fi.IsDir()}
	}
	if !w.looked.there && gone {
		return
	}
	w.emit(name, Changed)
	if w.looked.dir {
		w.jobs = append(w.jobs, job{name, fresh})
	}
}

// looked is the last look at a name. The events that came together with that of the look are older than it.
type looked struct {
	name       string // "": none
	there, dir bool
}

// fail handles an error of the notifier.
func (w *watch) fail(err error) {
	switch {
	case errors.Is(err, fsnotify.ErrEventOverflow):
		w.overflow()
	case errors.Is(err, syscall.EINVAL):
		// fsnotify drops the watch of a moved directory. The directory was deleted since, and the kernel had dropped
		// the watch already.
	default:
		w.note("", err)
	}
}

func (w *watch) overflow() {
	w.emit("", Overflow)
	if w.lost {
		w.seek()
		return
	}
	w.rescan()
}

func (w *watch) emit(name string, op Op) { w.pending.add(Event{name, op}, time.Now()) }

func (w *watch) skip(name string) bool {
	return name != "" && w.opts.Skip != nil && w.opts.Skip(name)
}
