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
type Place struct {
	s    *FS
	dir  *vfs.Dir
	base string // the name in dir, or "." for the root itself
	name string // the name relative to the root
	held bool   // Close must close dir
}

// Resolve resolves the directory of a name. It fails with [ErrLink] if a symbolic link is on the way. The caller must
// close the place.
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

// Close closes the directory.
func (p Place) Close() {
	if p.held {
		p.dir.Close()
	}
}

// Lstat looks at the file or directory that has the name.
func (p Place) Lstat() (Info, error) { return p.dir.Lstat(p.base) }

// Dir looks at the directory.
func (p Place) Dir() (Info, error) { return p.dir.Lstat(path.Dir(p.base)) }

func (p Place) openDir() (*File, error) { return p.dir.Open(path.Dir(p.base)) }

// Open opens a regular file for reading, and looks at it. Open waits for nothing. The file is nil if the name does not
// stand for a regular file.
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

// rename, renameNew and exchange make the system calls of these names. The names may stand for directories without
// write permission for their owner. Such a directory cannot be moved into another directory, because the move writes
// its ".." entry. If the system requires the permission, the directory gets it for the duration of the call.
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

// changing is called before names change. Readers do not see the names in a state directory, so changing ignores those.
func (p Place) changing(others ...Place) (end func()) {
	return p.s.changeAt(append(others, p), func(name string) []*volume {
		return append(p.s.mayHold(name), p.s.mayHaveEntry(name)...)
	})
}

// touching is called before the metadata of the file or directory at the place change.
func (p Place) touching() (end func()) { return p.s.changeAt([]Place{p}, p.s.mayHold) }

func (s *FS) changeAt(places []Place, on func(name string) []*volume) (end func()) {
	var volumes []*volume
	for _, p := range places {
		if !slices.ContainsFunc(s.mayHold(p.name), func(v *volume) bool { return v.isOurs(p.name) }) {
			volumes = append(volumes, on(p.name)...)
		}
	}
	return together(volumes, (*sequence).rename)
}

// rename, renameNew and exchange are the methods of [Place] for names.
func (s *FS) rename(from, to string) error { return s.at(from).rename(s.at(to)) }

func (s *FS) renameNew(from, to string) error { return s.at(from).renameNew(s.at(to)) }

func (s *FS) exchange(a, b string) error { return s.at(a).exchange(s.at(b)) }

// writable repeats a rename with write permission on the directories that it moves, if the system requires that
// permission.
func (s *FS) writable(rename func() error, places ...Place) error {
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
func (p Place) grantWrite() (revoke func(), ok bool) {
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
