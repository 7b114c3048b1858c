package fs

import (
	"errors"
	"path"
	"slices"

	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
	"r-seed-1f3a754f.example/ifmatch/fs/volumes"
)

// Unsynced is the list of the directories and files that a commit has changed and that are not on the disk yet. The
// list holds them open, so that it does not matter if a local program renames them.
type Unsynced struct {
	s    *FS
	open []unsynced
}

// An unsynced file or directory is open. dir is the name of a directory, or empty for a file.
type unsynced struct {
	*vfs.File
	dir string
}

// Unsynced returns an empty list for a commit.
func (s *FS) Unsynced() *Unsynced { return &Unsynced{s: s} }

// Names adds the directory of a place, if the durability requires it. It must be called under [FS.Lock], before the
// commit changes the names.
func (u *Unsynced) Names(p volumes.Place) error {
	dir := path.Dir(p.Name)
	if u.s.opts.Durability != Full || slices.ContainsFunc(u.open, func(f unsynced) bool { return f.dir == dir }) {
		return nil
	}
	f, err := p.OpenDir()
	if err != nil {
		return err
	}
	u.open = append(u.open, unsynced{f, dir})
	return nil
}

// File adds the file or directory at a place, if the durability requires it. It must be called under [FS.Lock].
func (u *Unsynced) File(p volumes.Place) error {
	if u.s.opts.Durability == None {
		return nil
	}
	f, err := p.OpenAny()
	if err == nil {
		u.open = append(u.open, unsynced{File: f})
	}
	return err
}

// Sync puts all listed files and directories on the disk, and also the history notes of the replaced versions. Then it
// closes the list. Sync is called after the commit, outside the lock. If Sync fails, the new version is visible and
// whole, and the commit is not acknowledged.
func (u *Unsynced) Sync() error {
	defer u.Close()
	if u.s.opts.Durability == None {
		return nil
	}
	var errs []error
	if u.s.opts.Durability == Full {
		for _, v := range u.s.volumes() {
			if v == u.s.root || u.mayBeOn(v) { // another disk may hang
				errs = append(errs, v.history.SyncNotes())
			}
		}
	}
	for _, f := range u.open {
		errs = append(errs, u.s.sync(f))
	}
	return errors.Join(errs...)
}

// sync puts a file or a directory on the disk. Commits that do so at the same time share the sync of a directory.
func (s *FS) sync(f unsynced) error {
	if f.dir == "" {
		return f.SyncDir() // for a file, this syncs the content too
	}
	return s.syncs.Do(f.dir, func() (directoryID, error) {
		info, err := f.Stat()
		if err == nil && info.Inode == 0 {
			err = errors.ErrUnsupported
		}
		return directoryID{info.Device, info.Inode}, err
	}, f.SyncDir)
}

// A directoryID says which directory it is that has a name. A local program may rename directories at any time.
type directoryID struct{ device, inode uint64 }

// mayBeOn reports whether one of the changed names may be on a volume. The commit may have made the volume known.
func (u *Unsynced) mayBeOn(v *volume) bool {
	return slices.ContainsFunc(u.open, func(f unsynced) bool { return f.dir != "" && volumes.MayBeIn(f.dir, v.Top) })
}

// Close closes the listed files and directories.
func (u *Unsynced) Close() {
	for _, f := range u.open {
		f.Close()
	}
	u.open = nil
}

// Sync puts a version on disk, as far as the durability asks for it, so that a commit has only the name left to write.
// No content can be written to the version after that.
func (st *Staged) Sync() error {
	durability := st.volume.opts.Durability
	switch {
	case durability == None, st.kind == vfs.Link, st.kind == vfs.Directory && durability != Full:
		st.endWriting() // a link is synced with its directory
		return nil
	case st.kind == vfs.Directory:
		return st.volume.SyncDir(st.at.Name)
	case st.file != nil:
		defer st.endWriting()
		return st.file.Sync()
	}
	f, err := st.at.OpenAny()
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}

// SyncAll puts a tree on disk with all its members, as [Staged.Sync] does for one version.
func (st *Staged) SyncAll() error {
	if st.volume.opts.Durability == None {
		return nil
	}
	err := st.volume.calls.SyncAll(st.at.Name)
	if errors.Is(err, errors.ErrUnsupported) {
		err = st.volume.syncBelow(st.at.Name)
	}
	return err
}

// syncBelow syncs a directory and all its members at any depth, one by one.
func (s *FS) syncBelow(dir string) error {
	f, err := s.calls.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	for name, err := range f.AllNames() {
		if err == nil {
			err = s.syncMember(path.Join(dir, name))
		}
		if err != nil {
			return err
		}
	}
	return f.SyncDir()
}

func (s *FS) syncMember(name string) error {
	info, err := s.calls.Lstat(name)
	switch {
	case err != nil:
		return err
	case info.Kind == vfs.Directory:
		return s.syncBelow(name)
	case info.Kind == vfs.Link:
		return nil // a link is synced with its directory
	}
	f, err := s.calls.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}
