package watcher

import (
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
)

// tree is the set of watched directories. The zero value is empty.
//
// It also finds directories by identity, because a directory can be found under its new name before the event about its
// old name is read.
type tree struct {
	root  *node
	byID  map[fileID]*node
	twins map[fileID][]string // names of directories that were found under several names

	size  int64         // how many there are
	shown *atomic.Int64 // nil: their number is not shown
}

// grow changes the number of directories.
func (t *tree) grow(by int64) {
	t.size += by
	if t.shown != nil {
		t.shown.Add(by)
	}
}

// A node is a watched directory. There may be many nodes, so a node holds no data that can be computed.
type node struct {
	parent   *node
	base     string
	children map[string]*node // nil for the many nodes that have none
	id       fileID
}

// find returns the directory called name, or nil.
func (t *tree) find(name string) *node {
	n := t.root
	for n != nil && name != "" {
		var base string
		base, name, _ = strings.Cut(name, "/")
		n = n.children[base]
	}
	return n
}

// add enters a directory that is not in the tree. Its parent is.
func (t *tree) add(name string, id fileID) *node {
	n := &node{id: id}
	if name == "" {
		t.root = n
	} else {
		above, base := split(name)
		n.parent, n.base = t.find(above), strings.Clone(base)
		if n.parent.children == nil {
			n.parent.children = make(map[string]*node)
		}
		n.parent.children[n.base] = n
	}
	if t.byID == nil {
		t.byID = make(map[fileID]*node)
	}
	if id != (fileID{}) {
		t.byID[id] = n
	}
	t.grow(1)
	return n
}

// pair notes that a directory was found under two names at the same time.
func (t *tree) pair(id fileID, names ...string) {
	if t.twins == nil {
		t.twins = make(map[fileID][]string)
	}
	for _, name := range names {
		if !slices.Contains(t.twins[id], name) {
			t.twins[id] = append(t.twins[id], name)
		}
	}
}

// cut takes a directory and all directories below it out of the tree. They keep their names.
func (t *tree) cut(n *node) {
	if n.parent == nil {
		t.root = nil
	} else {
		delete(n.parent.children, n.base)
		if len(n.parent.children) == 0 {
			n.parent.children = nil
		}
	}
	for d := range n.all() {
		t.grow(-1)
		if t.byID[d.id] == d {
			delete(t.byID, d.id)
		}
	}
}

// all yields n and the directories below it.
func (n *node) all() iter.Seq[*node] {
	return func(yield func(*node) bool) { n.walk(yield) }
}

func (n *node) walk(yield func(*node) bool) bool {
	if !yield(n) {
		return false
	}
	for _, c := range n.children {
		if !c.walk(yield) {
			return false
		}
	}
	return true
}

func (n *node) name() string {
	if n.parent == nil {
		return ""
	}
	return join(n.parent.name(), n.base)
}

// covers reports whether events for name can still be about it, because its directory is watched. An event with an old
// path, which was computed just before that path was dropped, is ignored by this test.
func (w *watch) covers(name string) bool {
	above, _ := split(name)
	return name == "" || w.dirs.find(above) != nil
}

// drop stops watching a directory and all directories below it. Each path needs its own Remove: after a move, the
// watches below would go on under their old paths, and adding the new paths would return them.
func (w *watch) drop(n *node) {
	if n == nil {
		return
	}
	w.dirs.cut(n)
	for d := range n.all() {
		// An error means that the watch is gone already, such as when the directory was deleted.
		_ = w.os.Remove(w.path(d.name()))
		w.separate(d.id)
	}
}

// claim makes sure that adding name watches name. If the same directory is watched under an old name, it drops that
// watch. Otherwise inotify would return that watch, which would be lost as soon as the event about the old name is
// handled.
//
// If the directory is there under both names, one watch serves both, and only one name is reported. That is so for bind
// mounts. It is also so for a moment after a directory above it became a link, until the event about that comes.
func (w *watch) claim(name string, id fileID) {
	n := w.dirs.byID[id]
	if n == nil || n == w.dirs.root {
		return
	}
	old := n.name()
	if old == name {
		return
	}
	if fi, err := w.stat(old); err == nil && identify(fi) == id {
		w.dirs.pair(id, old, name)
		return
	}
	w.drop(n)
	w.emit(old, Removed)
}

// separate gives the other names of a dropped directory watches of their own again, because the dropped watch may have
// been theirs.
func (w *watch) separate(id fileID) {
	names := w.dirs.twins[id]
	delete(w.dirs.twins, id)
	for _, name := range names {
		if n := w.dirs.find(name); n != nil && n.id == id {
			w.drop(n)
			w.jobs = append(w.jobs, job{name, fresh})
		}
	}
}

// stat follows no link, except for the root.
func (w *watch) stat(name string) (os.FileInfo, error) {
	if name == "" {
		return os.Stat(w.root)
	}
	return os.Lstat(w.path(name))
}

func (w *watch) path(name string) string {
	if name == "" {
		return w.root
	}
	return filepath.Join(w.root, filepath.FromSlash(name))
}

// name is the inverse of path.
func (w *watch) name(p string) (string, bool) {
	p = filepath.Clean(p)
	if p == w.root {
		return "", true
	}
	above := w.root
	if !os.IsPathSeparator(above[len(above)-1]) {
		above += string(filepath.Separator)
	}
	rest, ok := strings.CutPrefix(p, above)
	return filepath.ToSlash(rest), ok
}

func join(above, base string) string {
	if above == "" {
		return base
	}
	return above + "/" + base
}

func split(name string) (above, base string) {
	if i := strings.LastIndexByte(name, '/'); i >= 0 {
		return name[:i], name[i+1:]
	}
	return "", name
}
