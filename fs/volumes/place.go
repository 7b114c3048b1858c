package volumes

import (
	"errors"
	iofs "io/fs"
	"path"
	"slices"

	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
)

// A Place is a name in a directory that was resolved. If the system has descriptors of directories, each operation on
// the place happens in that directory, even if a local program has renamed the directory since. On other systems the
// directory is a path.
type Place struct {
	s    *Tree
	In   *vfs.Dir
	Base string // the name in dir, or "." for the root itself
	Name string // the name relative to the root
	Held bool   // Close must close dir
	// Lender gets the directory back when the place is closed (nil: Close closes it, if Held).
	Lender interface{ GiveBack() }
}

// Resolve resolves the directory of a name. It fails with [vfs.ErrLink] if a symbolic link is on the way. The caller
// must close the place.
func (s *Tree) Resolve(name string) (Place, error) {
	if err := s.CheckReserved(name); err != nil {
		return Place{}, err
	}
	p := s.At(Local(name))
	dir, base := path.Split(p.Name)
	if dir == "" {
		return p, nil
	}
	opened, err := s.calls.OpenDir(path.Clean(dir))
	if err != nil {
		return Place{}, err
	}
	p.In, p.Base, p.Held = opened, base, true
	return p, nil
}

// At returns a place whose directory is resolved anew by each call.
func (s *Tree) At(name string) Place { return Place{s: s, In: &s.calls.Dir, Base: name, Name: name} }

// FileMode returns the mode of a new file, see [Options].
func (p Place) FileMode() iofs.FileMode { return p.s.opts.FileMode }

// Close closes the directory, or gives it back.
func (p Place) Close() {
	switch {
	case p.Lender != nil:
		p.Lender.GiveBack()
	case p.Held:
		p.In.Close()
	}
}

// Lstat looks at the file or directory that has the name.
func (p Place) Lstat() (vfs.Info, error) { return p.In.Lstat(p.Base) }

// Dir looks at the directory.
func (p Place) Dir() (vfs.Info, error) { return p.In.Lstat(path.Dir(p.Base)) }

// OpenDir opens the directory.
func (p Place) OpenDir() (*vfs.File, error) { return p.In.Open(path.Dir(p.Base)) }

// Open opens a regular file for reading, and looks at it. Open waits for nothing. The file is nil if the name does not
// stand for a regular file.
func (p Place) Open() (*vfs.File, vfs.Info, error) {
	f, err := p.OpenAny()
	if err != nil {
		return nil, vfs.Info{}, err
	}
	info, err := f.Stat()
	if err == nil {
		err = p.s.pin(f, info, info)
	}
	if err != nil || info.Kind != vfs.Regular {
		f.Close()
		return nil, info, err
	}
	return f, info, nil
}

// OpenAny is [Place.Open] for a file or directory of any kind.
func (p Place) OpenAny() (*vfs.File, error) { return p.In.Open(p.Base) }

// Rename, RenameNew and Exchange make the system calls of these names. The names may stand for directories without
// write permission for their owner. Such a directory cannot be moved into another directory, because the move writes
// its ".." entry. If the system requires the permission, the directory gets it for the duration of the call.
func (p Place) Rename(to Place) error {
	defer p.Changing(to)()
	return p.s.writable(func() error { return p.In.RenameTo(p.Base, to.In, to.Base) }, p)
}

func (p Place) RenameNew(to Place) error {
	defer p.Changing(to)()
	return p.s.writable(func() error { return p.In.RenameNewTo(p.Base, to.In, to.Base) }, p)
}

func (p Place) Exchange(other Place) error {
	defer p.Changing(other)()
	return p.s.writable(func() error { return p.In.ExchangeWith(p.Base, other.In, other.Base) }, p, other)
}

// RemoveEmpty removes an empty directory.
func (p Place) RemoveEmpty() error {
	defer p.Changing()()
	return p.In.Remove(p.Base)
}

// Changing is called before names change. Readers do not see the names in a state directory, so Changing ignores those.
func (p Place) Changing(others ...Place) (end func()) {
	return p.s.changeAt(append(others, p), func(name string) []*Volume {
		return append(p.s.MayHold(name), p.s.mayHaveEntry(name)...)
	})
}

// touching is called before the metadata of the file or directory at the place change.
func (p Place) touching() (end func()) { return p.s.changeAt([]Place{p}, p.s.MayHold) }

func (s *Tree) changeAt(places []Place, on func(name string) []*Volume) (end func()) {
	var volumes []*Volume
	for _, p := range places {
		if !slices.ContainsFunc(s.MayHold(p.Name), func(v *Volume) bool { return v.IsInState(p.Name) }) {
			volumes = append(volumes, on(p.Name)...)
		}
	}
	return together(volumes, (*sequence).rename)
}

// writable repeats a rename with write permission on the directories that it moves, if the system requires that
// permission.
func (s *Tree) writable(rename func() error, places ...Place) error {
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
	if info, err := p.Lstat(); err != nil || info.Kind != vfs.Directory || info.Mode&OwnerWrite != 0 {
		return nil, false
	}
	dir, err := p.OpenAny()
	if err != nil {
		return nil, false
	}
	info, err := dir.Stat()
	if err == nil {
		err = dir.Chmod(info.Mode | OwnerWrite)
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

const OwnerWrite iofs.FileMode = 0o200

// Below returns the place of a member of a staged directory.
func (p Place) Below(name string) Place {
	p.Base, p.Name, p.Held = path.Join(p.Base, name), path.Join(p.Name, name), false
	return p
}
