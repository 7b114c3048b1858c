package fs

import (
	"path"

	"ifmatch/fs/vfs"
)

// A Place is a name in a directory that was resolved: what is done there is done in that directory, whatever a local
// program calls it by then, where the system has descriptors of directories. Elsewhere it is a path.
type Place struct {
	s    *FS
	dir  *vfs.Dir
	base string // in dir; "." for the root itself
	name string // from the root
	held bool   // dir is to be closed
}

// Resolve resolves the directory that a name is in. It fails with [ErrLink] where a symbolic link is on the way. The
// place must be closed.
func (s *FS) Resolve(name string) (Place, error) {
	if err := s.checkReserved(name); err != nil {
		return Place{}, err
	}
	p := s.at(local(name))
	dir, base := path.Split(p.name)
	if dir == "" {
		return p, nil
	}
	opened, err := s.calls.OpenDir(path.Clean(dir))
	if err != nil {
		return Place{}, err
	}
	p.dir, p.base, p.held = opened, base, true
	return p, nil
}

// at returns a place whose directory is resolved anew by each call.
func (s *FS) at(name string) Place { return Place{s: s, dir: &s.calls.Dir, base: name, name: name} }

// Close lets go of the directory.
func (p Place) Close() {
	if p.held {
		p.dir.Close()
	}
}

// Lstat looks at what has the name.
func (p Place) Lstat() (Info, error) { return p.dir.Lstat(p.base) }

// Dir looks at the directory.
func (p Place) Dir() (Info, error) { return p.dir.Lstat(path.Dir(p.base)) }

func (p Place) openDir() (*File, error) { return p.dir.Open(path.Dir(p.base)) }

// Open opens a regular file for reading, and looks at it. It waits for nothing. The file is nil where anything else has
// the name.
func (p Place) Open() (*File, Info, error) {
	f, err := p.open()
	if err != nil {
		return nil, Info{}, err
	}
	info, err := f.Stat()
	if err == nil {
		err = p.s.pin(f, info, info)
	}
	if err != nil || info.Kind != Regular {
		f.Close()
		return nil, info, err
	}
	return f, info, nil
}

func (p Place) open() (*File, error) { return p.dir.Open(p.base) }

// rename, renameNew and exchange are the calls for names that may be directories without write permission for their
// owner. Such a directory cannot be moved to another one, since that writes its "..". It gets that permission for the
// call, where the system asks for it.
func (p Place) rename(to Place) error {
	defer p.changing(to)()
	return p.s.writable(func() error { return p.dir.RenameTo(p.base, to.dir, to.base) }, p)
}

func (p Place) renameNew(to Place) error {
	defer p.changing(to)()
	return p.s.writable(func() error { return p.dir.RenameNewTo(p.base, to.dir, to.base) }, p)
}

func (p Place) exchange(other Place) error {
	defer p.changing(other)()
	return p.s.writable(func() error { return p.dir.ExchangeWith(p.base, other.dir, other.base) }, p, other)
}

// removeEmpty removes an empty directory.
func (p Place) removeEmpty() error {
	defer p.changing()()
	return p.dir.Remove(p.base)
}

// changing is called before names change, or what is beside them. Of those in a state directory readers see nothing.
func (p Place) changing(others ...Place) (end func()) {
	for _, one := range append(others, p) {
		if v := p.s.lowest(one.name); !v.isOurs(one.name) {
			return v.names.rename()
		}
	}
	return func() {}
}
