package fs

import (
	"errors"
	"path"
)

// Unsynced is what a commit has changed and is not on the disk yet: directories and files that are open, whatever a
// local program calls them by then.
type Unsynced struct {
	s    *FS
	open []*File
	dirs map[string]bool // the directories in open, by name
}

// Unsynced returns an empty list for a commit.
func (s *FS) Unsynced() *Unsynced { return &Unsynced{s: s, dirs: map[string]bool{}} }

// Names adds the directory of a place, as far as the durability asks for it. It must be called under [FS.Lock], before
// the commit changes the names.
func (u *Unsynced) Names(p Place) error {
	dir := path.Dir(p.name)
	if u.s.opts.Durability != Full || u.dirs[dir] {
		return nil
	}
	f, err := p.openDir()
	if err != nil {
		return err
	}
	u.dirs[dir], u.open = true, append(u.open, f)
	return nil
}

// File adds what has a name, as far as the durability asks for it. It must be called under [FS.Lock].
func (u *Unsynced) File(p Place) error {
	if u.s.opts.Durability == None {
		return nil
	}
	f, err := p.open()
	if err == nil {
		u.open = append(u.open, f)
	}
	return err
}

// Sync puts all of it on the disk, and the entries of the history for what the names stood for, and closes it. It is
// called after the commit, outside the lock: should it fail, the new version is visible and whole, and not
// acknowledged.
func (u *Unsynced) Sync() error {
	defer u.Close()
	if u.s.opts.Durability == None {
		return nil
	}
	var errs []error
	if u.s.opts.Durability == Full {
		for _, v := range u.s.volumes() {
			errs = append(errs, v.syncNotes())
		}
	}
	for _, f := range u.open {
		errs = append(errs, f.SyncDir()) // of a file, all that belongs to it
	}
	return errors.Join(errs...)
}

// Close lets go of what is open.
func (u *Unsynced) Close() {
	for _, f := range u.open {
		f.Close()
	}
	u.open = nil
}
