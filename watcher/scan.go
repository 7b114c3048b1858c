package watcher

import (
	"errors"
	"fmt"
	"io"
	iofs "io/fs"
	"maps"
	"os"
	"syscall"
)

// A job is a directory that is to be watched and listed.
type job struct {
	name string
	kind kind
}

type kind uint8

const (
	first kind = iota // from the first scan: its members are no news
	fresh             // new: its members are reported
	again             // may be watched already. After lost events, look for new and missing members
)

// A listing is a watched directory that is being read.
type listing struct {
	dir    *os.File
	name   string
	node   *node
	kind   kind
	unseen map[string]*node // again: watched members that were not found so far
}

// perStep is how many members one step reads. A step is cheap per member, and events do not wait long for its end.
const perStep = 256

func (w *watch) scanning() bool { return w.list != nil || len(w.jobs) > 0 }

// step does a small part of the scan.
func (w *watch) step() {
	w.checkMounts() // before a step into a mount that is to be left alone
	if w.list != nil {
		w.readSome()
	} else if last := len(w.jobs) - 1; last >= 0 {
		j := w.jobs[last]
		w.jobs = w.jobs[:last]
		w.visit(j)
	}
	if !w.scanning() {
		w.settled()
	}
}

// settled is called when the scan is finished.
func (w *watch) settled() {
	w.jobs = nil // drops the large slice that a large scan leaves
	w.reportTroubles()
	w.reportRecovery()
	if w.whole || w.lost {
		return
	}
	w.whole = true
	if w.ready {
		w.emit("", Overflow) // the root has come back
		return
	}
	w.ready = true
	w.watchAsks() // after all others, which need their watches more
	if w.opts.Ready != nil {
		w.opts.Ready()
	}
}

// visit watches one directory and then starts to list it. It gives up silently if the directory is gone or was
// replaced, because the watch of its parent tells about that.
func (w *watch) visit(j job) {
	if w.leftAlone(j.name) {
		return
	}
	fi, err := w.stat(j.name)
	if err != nil || !fi.IsDir() {
		w.notThere(j.name, err)
		return
	}
	id := identify(fi)
	n := w.dirs.find(j.name)
	switch {
	case n != nil && n.id != id && n == w.dirs.root:
		w.lose()
		return
	case n != nil && n.id != id:
		w.drop(n)
		w.emit(j.name, Removed)
		w.emit(j.name, Changed)
	case n != nil && j.kind != again:
		return // the list of its parent had it before the event about it came
	}
	w.claim(j.name, id)
	if n = w.dirs.find(j.name); !w.covers(j.name) {
		return // its parent was moved, and claim may have dropped it
	}
	if err := w.os.Add(w.path(j.name)); err != nil {
		w.drop(n)
		w.notThere(j.name, err)
		return
	}
	w.startListing(j, n, fi)
}

// startListing opens the directory at j.name, which has just been given a watch, and enters it into the tree.
func (w *watch) startListing(j job, n *node, fi os.FileInfo) {
	dir, err := openDir(w.path(j.name), j.name == "")
	if err == nil {
		var now os.FileInfo
		if now, err = dir.Stat(); err == nil && !os.SameFile(fi, now) {
			err = iofs.ErrNotExist
		}
	}
	if err != nil {
		if dir != nil {
			dir.Close()
		}
		if n != nil {
			w.drop(n)
		} else {
			_ = w.os.Remove(w.path(j.name)) // the name may have been a link to another place by then
		}
		if errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) {
			w.later = append(w.later, job{j.name, fresh}) // the server has too many files open, which will pass
			return
		}
		w.notThere(j.name, err)
		return
	}
	if n == nil {
		n = w.dirs.add(j.name, identify(fi))
		if j.kind == again {
			j.kind = w.unknown()
		}
	}
	w.list = &listing{dir: dir, name: j.name, node: n, kind: j.kind}
	if j.kind == again {
		w.list.unseen = maps.Clone(n.children)
	}
}

// unknown returns the kind of a directory that a second scan finds and the first scan did not find.
func (w *watch) unknown() kind {
	if w.whole {
		return fresh
	}
	return first
}

// readSome reads some members of the directory being listed.
func (w *watch) readSome() {
	l := w.list
	if w.dirs.find(l.name) != l.node {
		w.stopListing()
		return
	}
	entries, err := l.dir.ReadDir(perStep)
	for _, e := range entries {
		name := join(l.name, e.Name())
		delete(l.unseen, e.Name())
		if w.skip(name) {
			continue
		}
		if l.kind == fresh {
			w.emit(name, Changed)
		}
		if e.IsDir() {
			w.jobs = append(w.jobs, job{name, l.kind})
		}
	}
	if err == nil {
		return
	}
	w.stopListing()
	if err != io.EOF {
		w.notThere(l.name, err)
		return
	}
	if l.kind == fresh {
		w.emit(l.name, Changed) // the removal of a member before that was no event
	}
	for base, n := range l.unseen {
		if l.node.children[base] == n {
			w.drop(n)
		}
	}
}

func (w *watch) stopListing() {
	if w.list != nil {
		w.list.dir.Close()
		w.list = nil
	}
}

// rescan visits each directory anew, because events about new and moved directories may have been lost. Watched
// directories stay watched meanwhile.
func (w *watch) rescan() {
	w.stopListing()
	w.jobs = append(w.jobs[:0], job{"", again})
}

// retry goes back to the directories that could not be listed for lack of a file descriptor, or watched for lack of a
// watch.
func (w *watch) retry() {
	if !w.lost {
		w.jobs = append(w.jobs, w.later...)
	}
	w.later = nil
	if w.unwatched == "" || w.lost || w.scanning() {
		return
	}
	if w.checks++; w.checks < checksPerTry {
		return
	}
	w.checks = 0
	if w.dirs.find(w.unwatched) == nil { // otherwise it has got a watch since, and keeps it
		path := w.path(w.unwatched)
		err := w.os.Add(path)
		if errors.Is(err, syscall.ENOSPC) {
			return
		}
		if err == nil {
			_ = w.os.Remove(path) // the watch was only a test for a free one
		}
	}
	w.unwatched = ""
	w.rescan()
}

// A trouble is a reason why directories are not watched.
type trouble struct {
	name     string // of the first directory
	err      error
	count    int
	reported bool
}

// notThere handles a directory that could not be watched.
func (w *watch) notThere(name string, err error) {
	switch {
	case err == nil, errors.Is(err, iofs.ErrNotExist), errors.Is(err, syscall.ENOTDIR), errors.Is(err, syscall.ELOOP):
		if name == "" && !w.lost {
			w.lose()
		}
	default:
		if errors.Is(err, syscall.ENOSPC) {
			w.unwatched = name
		}
		w.note(name, err)
	}
}

// note remembers trouble. It is reported at the end of the scan, when the directories can be counted.
func (w *watch) note(name string, err error) {
	var errno syscall.Errno
	key := err.Error()
	if errors.As(err, &errno) {
		key = errno.Error()
	}
	t := w.troubles[key]
	if t == nil {
		t = &trouble{name: name, err: err}
		w.troubles[key] = t
	}
	t.count++
	if !w.scanning() {
		w.reportTroubles()
	}
}

func (w *watch) reportTroubles() {
	for _, t := range w.troubles {
		if !t.reported && w.opts.Report != nil {
			w.opts.Report(t.error(w.root))
		}
		t.reported = true
	}
}

// reportRecovery is called at the end of a scan. When there are watches for all directories, it forgets the trouble, so
// that it is reported again if watches run out again.
func (w *watch) reportRecovery() {
	t := w.troubles[syscall.ENOSPC.Error()]
	if t == nil || w.unwatched != "" || w.lost {
		return
	}
	delete(w.troubles, syscall.ENOSPC.Error())
	if w.opts.Recovered != nil {
		w.opts.Recovered()
	}
}

func (t *trouble) error(root string) error {
	if t.name == "" {
		return fmt.Errorf("watcher: notifications for %s: %w", root, explain(t.err))
	}
	others := ""
	if t.count > 1 {
		others = fmt.Sprintf(" and %d more directories", t.count-1)
	}
	return fmt.Errorf("watcher: changes below %q in %s%s cannot be seen as they happen: %w",
		t.name, root, others, explain(t.err))
}

// explain adds the remedy to an error. The kernel says "no space left on device" when the number of watches is used up.
func explain(err error) error {
	if errors.Is(err, syscall.ENOSPC) {
		return fmt.Errorf("this user's inotify watches are used up; raise the limit with "+
			"sysctl fs.inotify.max_user_watches=1048576: %w", err)
	}
	return err
}
