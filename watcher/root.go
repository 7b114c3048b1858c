package watcher

import (
	"os"
	"path/filepath"
	"strings"

	"github.com/fsnotify/fsnotify"

	"r-seed-1f3a754f.example/ifmatch/mounts"
)

// lose forgets all directories because the root is gone, and starts to wait for the root.
func (w *watch) lose() {
	w.stopListing()
	w.jobs = nil
	w.drop(w.dirs.root)
	_ = w.os.Remove(w.root) // the root has a watch before it is in the tree
	w.emit("", Removed)
	w.lost = true
	w.seek()
}

// checkRoot notices changes of the root that no event tells of.
func (w *watch) checkRoot() {
	if w.lost {
		w.seek()
		return
	}
	fi, err := os.Stat(w.root)
	if err == nil && fi.IsDir() && os.SameFile(fi, w.rootInfo) {
		return
	}
	w.lose()
}

// handleLost looks for the root after an event for a directory above it.
func (w *watch) handleLost(ev fsnotify.Event) {
	sep := string(filepath.Separator)
	if strings.HasPrefix(w.root+sep, filepath.Clean(ev.Name)+sep) || filepath.Clean(ev.Name) == w.ancestor {
		w.seek()
	}
}

// seek watches the nearest directory above the root that exists, and takes the root back if it exists. It watches first
// and looks afterwards, as all of this package does.
func (w *watch) seek() {
	for before := ""; ; {
		next := w.watchAncestor()
		if w.found() || next == w.root || next == before {
			return
		}
		// It may have been created after the attempt to watch it, and before the watch above it. Then no event will
		// tell.
		if _, err := os.Stat(next); err != nil {
			return
		}
		before = next
	}
}

// found takes up a root that is back. It does not report the members name by name. One Overflow now, and one more when
// all of the tree is watched, cover them.
func (w *watch) found() bool {
	fi, err := os.Stat(w.root)
	if err != nil || !fi.IsDir() {
		return false
	}
	w.mounted = mounts.In(w.root)
	if err := w.os.Add(w.root); err != nil {
		w.notThere("", err)
		return false
	}
	w.moveAncestor("")
	w.lost, w.whole, w.rootInfo = false, false, fi
	w.emit("", Overflow)
	w.jobs = append(w.jobs[:0], job{"", first})
	w.noteMounts()
	return true
}

// watchAncestor moves the watch above the root to the nearest directory that can be watched. It returns the path that
// this directory will report.
func (w *watch) watchAncestor() (next string) {
	next = w.root
	for {
		above := filepath.Dir(next)
		if above == next {
			w.moveAncestor("") // no directory can be watched, and the next checkRoot tries again
			return w.root
		}
		if err := w.os.Add(above); err == nil {
			w.moveAncestor(above)
			return next
		}
		next = above
	}
}

func (w *watch) moveAncestor(to string) {
	if w.ancestor != "" && w.ancestor != to {
		_ = w.os.Remove(w.ancestor)
	}
	w.ancestor = to
}
