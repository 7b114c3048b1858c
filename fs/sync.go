package fs

import (
	"errors"
	"path"

	"r-seed-1f3a754f.example/ifmatch/fs/volumes"
)

// Sync puts a version on disk, as far as the durability asks for it, so that a commit has only the name left to write.
// No content can be written to the version after that.
func (st *Staged) Sync() error {
	durability := st.volume.opts.Durability
	switch {
	case durability == None, st.link, st.dir && durability != Full: // a link is synced with its directory
		st.endWriting()
		return nil
	case st.dir:
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
	for {
		names, err := f.Names(64)
		for _, name := range names {
			if err := s.syncMember(path.Join(dir, name)); err != nil {
				return err
			}
		}
		if volumes.IsEOF(err) || err == nil && len(names) == 0 {
			return f.SyncDir()
		}
		if err != nil {
			return err
		}
	}
}

func (s *FS) syncMember(name string) error {
	info, err := s.calls.Lstat(name)
	switch {
	case err != nil:
		return err
	case info.Kind == Directory:
		return s.syncBelow(name)
	case info.Kind == Link:
		return nil // a link is synced with its directory
	}
	f, err := s.calls.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}
