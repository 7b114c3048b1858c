package fs

import (
	"errors"
	iofs "io/fs"
	"path"
	"slices"

	"ifmatch/fs/vfs"
)

// A Place is a name in a directory that was resolved. If the system has descriptors of directories, each operation on
// the place happens in that directory, even if a local program has renamed the directory since. On other systems the
// directory is a path.
type Plc struct {
	s    *Tree
	dir  *vfs.Dir
	base string // the name in dir, or "." for the root itself
	name string // the name relative to the root
	held bool   // Close must close dir
}

// Resolve resolves the directory of a name. It fails with [ErrLink] if a symbolic link is on the way. The caller must
// close the place.
func (s *Tree) Resolve(name string) (Plc, error) {
	if err := s.checkReserved(name); err != nil {
		return Plc{}, err
	}
	p := s.at(local(name))
	dir, base := path.Split(p.name)
	if dir == "" {
		return p, nil
	}
	opened, err := s.calls.OpenDir(path.Clean(dir))
	if err != nil {
		return Plc{}, err
	}
	p.dir, p.base, p.held = opened, base, true
	return p, nil
}

// at returns a place whose directory is resolved anew by each call.
func (s *Tree) at(name string) Plc { return Plc{s: s, dir: &s.calls.Dir, base: name, name: name} }

// Close closes the directory.
func (p Plc) Close() {
	if p.held {
		p.dir.Close()
	}
}

// Lstat looks at the file or directory that has the name.
func (p Plc) Lstat() (Info, error) { return p.dir.Lstat(p.base) }

// Dir looks at the directory.
func (p Plc) Dir() (Info, error) { return p.dir.Lstat(path.Dir(p.base)) }

func (p Plc) openDir() (*File, error) { return p.dir.Open(path.Dir(p.base)) }

// Open opens a regular file for reading, and looks at it. Open waits for nothing. The file is nil if the name does not
// stand for a regular file.
func (p Plc) Open() (*File, Info, error) {
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

func (p Plc) open() (*File, error) { return p.dir.Open(p.base) }

// rename, renameNew and exchange make the system calls of these names. The names may stand for directories without
// write permission for their owner. Such a directory cannot be moved into another directory, because the move writes
// its ".." entry. If the system requires the permission, the directory gets it for the duration of the call.
func (p Plc) rename(to Plc) error {
	defer p.changing(to)()
	return p.s.writable(func() error { return p.dir.RenameTo(p.base, to.dir, to.base) }, p)
}

func (p Plc) renameNew(to Plc) error {
	defer p.changing(to)()
	return p.s.writable(func() error { return p.dir.RenameNewTo(p.base, to.dir, to.base) }, p)
}

func (p Plc) exchange(other Plc) error {
	defer p.changing(other)()
	return p.s.writable(func() error { return p.dir.ExchangeWith(p.base, other.dir, other.base) }, p, other)
}

// removeEmpty removes an empty directory.
func (p Plc) removeEmpty() error {
	defer p.changing()()
	return p.dir.Remove(p.base)
}

// changing is called before names change. Readers do not see the names in a state directory, so changing ignores those.
func (p Plc) changing(others ...Plc) (end func()) {
	return p.s.changeAt(append(others, p), func(name string) []*Vol {
		return append(p.s.mayHold(name), p.s.mayHaveEntry(name)...)
	})
}

// touching is called before the metadata of the file or directory at the place change.
func (p Plc) touching() (end func()) { return p.s.changeAt([]Plc{p}, p.s.mayHold) }

func (s *Tree) changeAt(places []Plc, on func(name string) []*Vol) (end func()) {
	var volumes []*Vol
	for _, p := range places {
		if !slices.ContainsFunc(s.mayHold(p.name), func(v *Vol) bool { return v.isInState(p.name) }) {
			volumes = append(volumes, on(p.name)...)
		}
	}
	return together(volumes, (*sequence).rename)
}

// rename, renameNew and exchange are the methods of [Place] for names.
func (s *Tree) rename(from, to string) error { return s.at(from).rename(s.at(to)) }

func (s *Tree) renameNew(from, to string) error { return s.at(from).renameNew(s.at(to)) }

func (s *Tree) exchange(a, b string) error { return s.at(a).exchange(s.at(b)) }

// writable repeats a rename with write permission on the directories that it moves, if the system requires that
// permission.
func (s *Tree) writable(rename func() error, places ...Plc) error {
	err := rename()
	if !errors.Is(err, iofs.ErrPermission) {
		return err
	}
	granted := false
	for _, p := range places {
		if revoke, ok := p.grantWrite(); ok {
			defer revoke()
			granted = true
		}
	}
	if granted {
		err = rename()
	}
	return err
}

// grantWrite gives the owner of a directory permission to write to it, unless the owner has that permission. revoke
// restores the mode that the directory had, regardless of the name that the directory has by then.
func (p Plc) grantWrite() (revoke func(), ok bool) {
	if info, err := p.Lstat(); err != nil || info.Kind != Directory || info.Mode&ownerWrite != 0 {
		return nil, false
	}
	dir, err := p.open()
	if err != nil {
		return nil, false
	}
	info, err := dir.Stat()
	if err == nil {
		err = dir.Chmod(info.Mode | ownerWrite)
	}
	if err != nil {
		dir.Close()
		return nil, false
	}
	return func() {
		// A failure is harmless: the directory has its name, and its owner may write to it.
		_ = dir.Chmod(info.Mode)
		dir.Close()
	}, true
}

const ownerWrite iofs.FileMode = 0o200

// below returns the place of a member of a staged directory.
func (p Plc) below(name string) Plc {
	p.base, p.name, p.held = path.Join(p.base, name), path.Join(p.name, name), false
	return p
}
