package history

import "r-seed-1f3a754f.example/ifmatch/fs/vfs"

// An openHour is an open directory of the history, and the file of its notes. On the volume of the root it stays open
// for a moment after its use (Linger in the options of the tree). The server keeps nothing open on other volumes, so that
// they can be unmounted.
type openHour struct {
	of    *History
	dir   string // its name from the root
	in    *vfs.Dir
	is    vfs.Info  // a look at the directory, or zero if there was none yet
	paths *vfs.File // nil: it is not open yet
}

// openHour opens a directory of the history. The caller must call GiveBack or Close.
func (h *History) openHour(dir string) (*openHour, error) {
	if o, ok := h.open.Take(dir); ok {
		if o.stands() {
			return o, nil
		}
		o.Close()
	}
	in, err := h.calls.OpenDir(dir)
	if err != nil {
		return nil, err
	}
	return &openHour{of: h, dir: dir, in: in}, nil
}

// stands reports whether the directory still has its name. Another process may have dropped it with its entries, and a
// new entry in it would be lost. The open directory keeps its inode from being used again.
func (o *openHour) stands() bool {
	if o.is == (vfs.Info{}) {
		is, err := o.in.Lstat(".")
		if err != nil {
			return false
		}
		o.is = is
	}
	now, err := o.of.calls.Find(o.dir)
	return err == nil && now.SameFile(o.is)
}

// GiveBack ends the use of the directory.
func (o *openHour) GiveBack() {
	if o.of.volume.Top == "." && o.in.IsOpen() {
		o.of.open.Put(o.dir, o, o.of.opts.Linger)
		return
	}
	o.Close()
}

// Close closes the directory, and the file of its notes.
func (o *openHour) Close() error {
	o.in.Close()
	return o.paths.Close()
}

// note writes a note about an entry of the directory.
func (o *openHour) note(n Note) (err error) {
	if o.paths == nil {
		paths, err := o.in.Append(pathsName)
		if err != nil {
			return err
		}
		o.of.tree.GiveToOwner(paths, o.dir+"/"+pathsName)
		o.paths = paths
	}
	return o.of.writeNote(o.paths, o.dir, n)
}

// CloseOpen closes what is open of the history. Its methods can still be called.
func (h *History) CloseOpen() { h.open.Close() }
