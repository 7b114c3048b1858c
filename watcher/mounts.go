package watcher

import (
	"errors"
	"fmt"
	"slices"

	"ifmatch/mounts"
)

// ErrElsewhere is reported of a part of the tree whose file system lets it be changed behind the kernel's back, by
// other machines mostly, and tells nothing of that.
var ErrElsewhere = errors.New("what is changed elsewhere, such as on other machines, is not told")

// ErrNoStorage is reported of a part of the tree that is left alone, because the kernel makes up what is in it when it
// is looked at: no file is kept there, and what seems to be one can change all the time, or do something when it is
// read.
var ErrNoStorage = errors.New("it is no storage, and not watched")

// leftAlone reports whether something is mounted at a name that is not watched, with all below it. The root is: who
// serves it has chosen it.
func (w *watch) leftAlone(name string) bool { return name != "" && w.mounted[name].IsVirtual() }

// noteMounts notes which of the mounts tell too little, or nothing.
func (w *watch) noteMounts() {
	for name, m := range w.mounted {
		switch {
		case w.skip(name) || w.isInLeftAlone(name):
		case w.leftAlone(name):
			w.note(name, fmt.Errorf("%s: %w", m.Kind, ErrNoStorage))
		case m.IsElsewhere():
			w.note(name, fmt.Errorf("%s: %w", m.Kind, ErrElsewhere))
		}
	}
}

// isInLeftAlone reports whether a name is below something that is left alone.
func (w *watch) isInLeftAlone(name string) bool {
	for name != "" {
		if name, _ = split(name); w.leftAlone(name) {
			return true
		}
	}
	return false
}

// checkMounts notices what was mounted or unmounted at or below the root. No event tells of it: other directories are
// there at once, and if a file system is gone, so are the watches of all that was in it.
func (w *watch) checkMounts() {
	if w.lost || !w.table.Changed() {
		return
	}
	before := w.mounted
	w.mounted = mounts.In(w.root)
	w.noteMounts()
	if before[""].ID != w.mounted[""].ID {
		w.lose()
		return
	}
	var names []string
	for name, m := range w.mounted {
		if before[name] != m {
			names = append(names, name)
		}
	}
	for name := range before {
		if _, ok := w.mounted[name]; !ok {
			names = append(names, name)
		}
	}
	slices.Sort(names) // what is above comes first, and takes what is below it along
	mounted := false
	for _, name := range names {
		if !w.covers(name) || w.skip(name) {
			continue
		}
		w.drop(w.dirs.find(name))
		w.emit(name, Removed)
		w.look(name, false)
		_, there := w.mounted[name]
		mounted = mounted || there && !w.leftAlone(name)
	}
	if mounted && w.opts.Mounted != nil {
		w.opts.Mounted()
	}
}
