package watcher

import (
	"errors"
	"fmt"
	"slices"

	"r-seed-1f3a754f.example/ifmatch/mounts"
)

// ErrElsewhere is reported for a part of the tree whose file system can be changed without this kernel's knowledge,
// mostly by other machines. Such a file system does not report those changes.
var ErrElsewhere = errors.New("what is changed elsewhere, such as on other machines, is not told")

// ErrNoStorage is reported for a part of the tree that is left alone, because the kernel makes up its content when it
// is read. No files are stored there. A name that looks like a file can change all the time, and reading it can have
// effects.
var ErrNoStorage = errors.New("it is no storage, and not watched")

// leftAlone reports whether a mount at a name is not watched, with all names below it. The root is always watched,
// because the user has chosen to serve it.
func (w *watch) leftAlone(name string) bool { return name != "" && w.mounted[name].IsVirtual() }

// noteMounts notes the mounts that do not tell of all changes, and those that are left alone.
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

// isInLeftAlone reports whether a name is below a mount that is left alone.
func (w *watch) isInLeftAlone(name string) bool {
	for name != "" {
		if name, _ = split(name); w.leftAlone(name) {
			return true
		}
	}
	return false
}

// checkMounts notices mounts and unmounts at or below the root. No event tells of them. After a mount, other
// directories are there at once. After an unmount, the watches of all directories on that file system are gone.
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
	slices.Sort(names) // an upper name comes first, and includes the names below it
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
