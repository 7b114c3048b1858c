package fs

import (
	"errors"
	iofs "io/fs"
	"path"
)

// AppendStateFile opens a file of the state directory to write at its end. It makes the file, and the directory that
// the name has before its last slash, if there is none. It must be called under [FS.Lock].
func (s *FS) AppendStateFile(name string) (*File, error) {
	p := s.inState(name)
	f, err := p.dir.Append(p.base)
	if errors.Is(err, iofs.ErrNotExist) && path.Dir(name) != "." {
		if err = s.makeDir(stateDir + "/" + path.Dir(name)); err == nil {
			s.giveDir(stateDir + "/" + path.Dir(name))
			f, err = p.dir.Append(p.base)
		}
	}
	if err != nil {
		return nil, err
	}
	s.giveToOwner(f, stateDir+"/"+name)
	return f, nil
}

// IsInMemory reports whether nothing is on a disk of the operating system.
func (s *FS) IsInMemory() bool { return s.calls.IsInMemory() }

// MakeStateDir makes a directory in the state directory, unless there is one, and returns its path in the operating
// system.
func (s *FS) MakeStateDir(name string) (string, error) {
	if err := s.makeDir(stateDir + "/" + name); err != nil {
		return "", err
	}
	return s.calls.HostPath(stateDir + "/" + name), nil
}

// OpenStateFile opens a file of the state directory to read it.
func (s *FS) OpenStateFile(name string) (*File, error) { return s.inState(name).open() }

// RemoveStateFile removes a file of the state directory. It must be called under [FS.Lock].
func (s *FS) RemoveStateFile(name string) error {
	p := s.inState(name)
	return p.dir.Remove(p.base)
}

// StateFiles returns the names in a directory of the state directory, and none if there is no such directory.
func (s *FS) StateFiles(dir string) ([]string, error) {
	f, err := s.inState(dir).open()
	if errors.Is(err, iofs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return f.Names(-1)
}
