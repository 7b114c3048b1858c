package watcher

import "slices"

// checkMounts notices what was mounted or unmounted at or below the root. No event tells of it: other directories are
// there at once, and if a file system is gone, so are the watches of all that was in it.
func (w *watch) checkMounts() {
	if w.lost || !w.mounts.changed() {
		return
	}
	before := w.mounted
	w.mounted = mountedAt(w.root)
	if before[""] != w.mounted[""] {
		w.lose()
		return
	}
	var names []string
	for name, id := range w.mounted {
		if before[name] != id {
			names = append(names, name)
		}
	}
	for name := range before {
		if _, ok := w.mounted[name]; !ok {
			names = append(names, name)
		}
	}
	slices.Sort(names) // what is above comes first, and takes what is below it along
	for _, name := range names {
		if !w.covers(name) || w.skip(name) {
			continue
		}
		w.drop(w.dirs.find(name))
		w.emit(name, Removed)
		w.look(name, false)
	}
}
