package fs

import (
	"errors"
	iofs "io/fs"
	"path"
)

// Names are open directories. The names in them can be put on the disk after a commit, whatever a local program calls the
// directories by then.
type Names struct {
	s    *FS
	dirs []*File
}

// HoldNames opens the directories that have these names, as far as the durability asks for it. It must be called under
// [FS.Lock], before the commit changes the names.
func (s *FS) HoldNames(names ...string) (*Names, error) {
	held, done := &Names{s: s}, map[string]bool{}
	if s.opts.Durability != Full {
		return held, nil
	}
	for _, name := range names {
		dir := path.Dir(local(name))
		if done[dir] {
			continue
		}
		done[dir] = true
		f, err := s.calls.Open(dir)
		if errors.Is(err, iofs.ErrNotExist) {
			continue // the commit fails
		}
		if err != nil {
			held.Close()
			return nil, err
		}
		held.dirs = append(held.dirs, f)
	}
	return held, nil
}

// Sync puts the names in the directories on the disk, and the entries of the history for what they stood for, and closes
// the directories. It is called after the commit, outside the lock: should it fail, the new version is visible and whole,
// and not acknowledged.
func (n *Names) Sync() error {
	if n.s.opts.Durability != Full {
		return nil
	}
	var errs []error
	for _, v := range n.s.volumes() {
		errs = append(errs, v.syncNotes())
	}
	for _, f := range n.dirs {
		errs = append(errs, f.SyncDir())
	}
	n.Close()
	return errors.Join(errs...)
}

// Close closes the directories.
func (n *Names) Close() {
	for _, f := range n.dirs {
		f.Close()
	}
	n.dirs = nil
}
