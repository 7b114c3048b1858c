package watcher

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// ErrElsewhere is reported of a part of the tree whose file system lets it be changed behind the kernel's back, by other
// machines mostly, and tells nothing of that.
var ErrElsewhere = errors.New("what is changed elsewhere, such as on other machines, is not told")

// A mount is what is mounted somewhere.
type mount struct {
	id   uint64
	kind string // of file system, such as ext4
}

// isElsewhere reports whether a kind of file system is in other hands than this kernel's.
func isElsewhere(kind string) bool {
	switch kind, _, _ = strings.Cut(kind, "."); kind { // fuse.sshfs, cifs.upcall
	case "nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "virtiofs", "vboxsf", "prl_fs", "afs", "ceph", "lustre", "gpfs", "beegfs",
		"orangefs", "ocfs2", "gfs2", "coda", "fuse":
		return true
	}
	return false
}

// noteElsewhere notes which of the mounts tell too little.
func (w *watch) noteElsewhere() {
	for name, m := range w.mounted {
		if isElsewhere(m.kind) && !w.skip(name) {
			w.note(name, fmt.Errorf("%s: %w", m.kind, ErrElsewhere))
		}
	}
}

// checkMounts notices what was mounted or unmounted at or below the root. No event tells of it: other directories are
// there at once, and if a file system is gone, so are the watches of all that was in it.
func (w *watch) checkMounts() {
	if w.lost || !w.mounts.changed() {
		return
	}
	before := w.mounted
	w.mounted = mountedAt(w.root)
	w.noteElsewhere()
	if before[""].id != w.mounted[""].id {
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
	for _, name := range names {
		if !w.covers(name) || w.skip(name) {
			continue
		}
		w.drop(w.dirs.find(name))
		w.emit(name, Removed)
		w.look(name, false)
	}
}
