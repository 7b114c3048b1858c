package volumes

import (
	"errors"
	iofs "io/fs"

	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
)

// A StateDir is an open directory in the state directory, so that a file in it can be opened by one system call. Its
// methods must be called under [Tree.Lock].
type StateDir struct {
	s    *Tree
	name string
	dir  *vfs.Dir // nil: it is not open yet
}

// StateDir returns a directory in the state directory. It is made and opened when it is needed.
func (s *Tree) StateDir(name string) *StateDir { return &StateDir{s: s, name: OwnDir + "/" + name} }

// Append opens a file to write at its end. It makes the file if there is none.
func (d *StateDir) Append(base string) (*vfs.File, error) {
	f, err := d.open(base, (*vfs.Dir).Append)
	if errors.Is(err, iofs.ErrNotExist) {
		d.Close() // a program has removed the directory
		f, err = d.open(base, (*vfs.Dir).Append)
	}
	if err == nil {
		d.s.GiveToOwner(f, d.name+"/"+base)
	}
	return f, err
}

// AppendTo is [StateDir.Append] for a file that is there.
func (d *StateDir) AppendTo(base string) (*vfs.File, error) { return d.open(base, (*vfs.Dir).AppendTo) }

func (d *StateDir) open(base string, call func(*vfs.Dir, string) (*vfs.File, error)) (*vfs.File, error) {
	if d.dir == nil {
		err := d.s.MakeDir(d.name)
		if err == nil {
			d.dir, err = d.s.calls.OpenDir(d.name)
		}
		if err != nil {
			return nil, err
		}
	}
	return call(d.dir, base)
}

// Close closes the directory. Append opens it again.
func (d *StateDir) Close() {
	d.dir.Close()
	d.dir = nil
}

// IsInMemory reports whether nothing is on a disk of the operating system.
func (s *Tree) IsInMemory() bool { return s.calls.IsInMemory() }

// MakeStateDir makes a directory in the state directory, unless there is one, and returns its path in the operating
// system.
func (s *Tree) MakeStateDir(name string) (string, error) {
	if err := s.MakeDir(OwnDir + "/" + name); err != nil {
		return "", err
	}
	return s.calls.HostPath(OwnDir + "/" + name), nil
}

// OpenStateFile opens a file of the state directory to read it.
func (s *Tree) OpenStateFile(name string) (*vfs.File, error) { return s.inState(name).OpenAny() }

// RemoveStateFile removes a file of the state directory. It must be called under [Tree.Lock].
func (s *Tree) RemoveStateFile(name string) error {
	p := s.inState(name)
	return p.In.Remove(p.Base)
}

// StateFiles returns the names in a directory of the state directory, and none if there is no such directory.
func (s *Tree) StateFiles(dir string) ([]string, error) {
	f, err := s.inState(dir).OpenAny()
	if err != nil {
		return nil, vfs.Ignoring(err, iofs.ErrNotExist)
	}
	defer f.Close()
	return f.Names(-1)
}
