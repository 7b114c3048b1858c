package watcher

import (
	"os"
	"path/filepath"
	"strings"

	"github.com/fsnotify/fsnotify"

	"ifmatch/mounts"
)

// lose forgets everything because the root is gone, and starts to wait for it.
func (w *watch) lose() {
	w.stopListing()
	w.jobs = nil
	w.drop(w.dirs.root)
	_ = w.os.Remove(w.root) // it has a watch before it is in the tree
	w.emit("", Removed)
	w.lost = true
	w.seek()
}

// checkRoot notices what no event tells about the root.
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

// handleLost looks for the root when something happened to a directory above it.
func (w *watch) handleLost(ev fsnotify.Event) {
	sep := string(filepath.Separator)
	if strings.HasPrefix(w.root+sep, filepath.Clean(ev.Name)+sep) || filepath.Clean(ev.Name) == w.ancestor {
		w.seek()
	}
}

// seek watches the nearest directory above the root that is there, and takes the root back if it is.
// It watches first and looks afterwards, as everywhere.
func (w *watch) seek() {
	for before := ""; ; {
		next := w.watchAncestor()
		if w.found() || next == w.root || next == before {
			return
		}
		// Created between the attempt to watch it and the watch above it? Then no event will tell.
		if _, err := os.Stat(next); err != nil {
			return
		}
		before = next
	}
}

// found takes up a root that is back. Its content is not reported name by name: an Overflow now, and one more
// when all of it is watched, leave nothing out.
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

// watchAncestor moves the watch above the root to the nearest directory that can be watched, and returns the
// path of which that directory will tell.
func (w *watch) watchAncestor() (next string) {
	next = w.root
	for {
		above := filepath.Dir(next)
		if above == next {
			w.moveAncestor("") // nothing can be watched; checkRoot comes by
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
