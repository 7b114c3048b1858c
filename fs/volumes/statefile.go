package volumes

import (
	"errors"
	"io"
	iofs "io/fs"

	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
)

// ReadState returns the content of a small file of the state directory.
func (s *Tree) ReadState(name string) ([]byte, error) { return s.ReadFile(OwnDir + "/" + name) }

// ReadStateFrom returns the rest of the content of a small file of the state directory, from an offset on.
func (s *Tree) ReadStateFrom(name string, offset int64) ([]byte, error) {
	return readFrom(s.inState(name), offset)
}

// AppendState appends to a small file of the state directory, and makes the file if there is none. It must be called
// under [Tree.Lock]. If it fails, the file may have some of the data.
func (s *Tree) AppendState(name string, data []byte) error {
	p := s.inState(name)
	f, err := p.In.Append(p.Base)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.Write(data)
	return err
}

// SyncStateFile puts a small file of the state directory on disk, as far as the durability asks for it. It is called
// after the commit, as [Unsynced.Sync] is.
func (s *Tree) SyncStateFile(name string) error {
	if s.opts.Durability == None {
		return nil
	}
	return synced(s.inState(name), (*vfs.File).Sync)
}

// SyncFile puts the content of a file on disk. A file that is gone is no error.
func (s *Tree) SyncFile(name string) error { return synced(s.At(name), (*vfs.File).Sync) }

// SyncDir puts the names in a directory on disk. A directory that is gone is no error: the commit that has moved or
// removed it syncs it itself.
func (s *Tree) SyncDir(name string) error { return synced(s.At(name), (*vfs.File).SyncDir) }

func synced(p Place, sync func(*vfs.File) error) error {
	f, err := p.OpenAny()
	if err != nil {
		return vfs.Ignoring(err, iofs.ErrNotExist)
	}
	return errors.Join(sync(f), f.Close())
}

// StatState looks at a small file of the state directory. If there is none, the kind in the look is Nothing.
func (s *Tree) StatState(name string) (vfs.Info, error) {
	info, err := s.inState(name).Lstat()
	return info, vfs.Ignoring(err, iofs.ErrNotExist)
}

// StageState writes what a small file of the state directory is to have, and syncs it if the durability asks for it. It
// needs no lock, and so waits for the disk without one.
func (s *Tree) StageState(data []byte) (staged string, err error) {
	staged = s.Unique(s.root.Session, "state-")
	if err := s.WriteFile(staged, data); err != nil {
		s.DropState(staged)
		return "", err
	}
	return staged, nil
}

// ReplaceState gives a small file of the state directory what was staged. It must be called under [Tree.Lock].
func (s *Tree) ReplaceState(name, staged string) error {
	return s.calls.Rename(staged, OwnDir+"/"+name)
}

// DropState removes what was staged, and is not needed. If it fails, the next start removes it.
func (s *Tree) DropState(staged string) { _ = s.calls.Remove(staged) }

// ReplaceFile replaces a file of a state directory in one step, see WriteFile.
func (s *Tree) ReplaceFile(name string, data []byte) error {
	staged := name + ".new"
	if err := vfs.Ignoring(s.calls.Remove(staged), iofs.ErrNotExist); err != nil {
		return err
	}
	if err := s.WriteFile(staged, data); err != nil {
		return err
	}
	return s.calls.Rename(staged, name)
}

// WriteFile writes a new file of a state directory, and syncs it if the durability asks for it.
func (s *Tree) WriteFile(name string, data []byte) error {
	f, err := s.calls.Create(name)
	if err != nil {
		return err
	}
	defer f.Close()
	s.GiveToOwner(f, name)
	if _, err := f.Write(data); err != nil {
		return err
	}
	if s.opts.Durability == None {
		return nil
	}
	return f.Sync()
}

// ReadFile returns the content of a file of a state directory.
func (s *Tree) ReadFile(name string) ([]byte, error) { return readFrom(s.At(name), 0) }

// readFrom returns the rest of the content of a file, from an offset on.
func readFrom(p Place, offset int64) ([]byte, error) {
	f, err := p.OpenAny()
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || info.Size <= offset {
		return nil, err
	}
	data := make([]byte, info.Size-offset)
	n, err := f.ReadAt(data, offset)
	return data[:n], vfs.Ignoring(err, io.EOF)
}

// SyncNames is [Tree.SyncDir] as far as the durability asks for it.
func (s *Tree) SyncNames(dir string) error {
	if s.opts.Durability != Full {
		return nil
	}
	return s.SyncDir(dir)
}

// SyncState puts the names of the state directory on disk, as far as the durability asks for it. It is called after the
// commit, as [Unsynced.Sync] is.
func (s *Tree) SyncState() error { return s.SyncNames(OwnDir) }
