package vfs

import (
	"errors"
	iofs "io/fs"
	"sync/atomic"
	"syscall"
	"time"
)

// A Dir is a directory that has been resolved once. Names are relative to it. On systems with descriptors of
// directories (Linux), this holds even after the directory was renamed. A Dir must be closed, unless it is the root of
// an [FS].
type Dir struct {
	sys *table
	at  At
}

// A table is a [System] with what comes before its calls: the hook is asked, and names are renewed.
type table struct {
	System
	hook    Hook
	renewal atomic.Pointer[Renewal]
}

func (d *Dir) ask(op, name, to string) error {
	if d.sys.hook == nil {
		return nil
	}
	return d.sys.hook.do(op, d.at.Join(name), to)
}

// take comes before a call that takes a name.
func (d *Dir) take(op, name, to string) error {
	err := d.ask(op, name, to)
	if err == nil {
		d.sys.renew(d.at, name)
	}
	return err
}

// takeBoth comes before a call that takes a name, and another one in another directory.
func (d *Dir) takeBoth(op, name string, to *Dir, other string) error {
	if d.sys.hook != nil {
		if err := d.ask(op, name, to.at.Join(other)); err != nil {
			return err
		}
	}
	d.sys.renew(d.at, name)
	d.sys.renew(to.at, other)
	return nil
}

// OpenDir resolves a directory. It fails with [ErrLink] if a symbolic link is on the way.
func (d *Dir) OpenDir(name string) (*Dir, error) {
	if err := d.take("openDir", name, ""); err != nil {
		return nil, err
	}
	at, err := d.sys.OpenDir(d.at, name)
	if err != nil {
		return nil, err
	}
	return &Dir{d.sys, at}, nil
}

// Close closes the directory. It cannot fail.
func (d *Dir) Close() {
	if d.at.dir != nil {
		d.at.dir.Close()
	}
}

// IsOpen reports whether the directory has a descriptor. Otherwise it is only a path.
func (d *Dir) IsOpen() bool { return d.at.dir != nil }

// Lstat looks at the name itself. It fails with [ErrLink] if a symbolic link is on the way to it.
func (d *Dir) Lstat(name string) (Info, error) {
	if err := d.take("lstat", name, ""); err != nil {
		return Info{}, err
	}
	return d.sys.Lstat(d.at, name)
}

// Find looks at the file that a name leads to, even through links, so that it can be compared with a known file. The
// kind is Nothing if no file is there.
func (d *Dir) Find(name string) (Info, error) {
	if err := d.ask("find", name, ""); err != nil {
		return Info{}, err
	}
	now, err := d.sys.Find(d.at, name)
	if errors.Is(err, iofs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return Info{}, nil
	}
	return now, err
}

// Readlink returns where a symbolic link leads.
func (d *Dir) Readlink(name string) (string, error) {
	if err := d.take("readlink", name, ""); err != nil {
		return "", err
	}
	return d.sys.Readlink(d.at, name)
}

// GetAttrAt returns an extended attribute of a name. It is nil if there is none.
func (d *Dir) GetAttrAt(name, attr string) ([]byte, error) {
	if err := d.take("getAttr", name, ""); err != nil {
		return nil, err
	}
	return d.sys.GetAttrAt(d.at, name, attr)
}

func (d *Dir) opened(f *File, err error) (*File, error) {
	if err != nil {
		return nil, err
	}
	f.sys = d.sys
	return f, nil
}

// Open opens a file or directory for reading. It does not wait for a pipe, or for a program that has a lease on the
// file.
func (d *Dir) Open(name string) (*File, error) {
	if err := d.take("open", name, ""); err != nil {
		return nil, err
	}
	return d.opened(d.sys.Open(d.at, name))
}

// Create makes a file and opens it for writing. It fails with iofs.ErrExist if the name is taken.
func (d *Dir) Create(name string) (*File, error) {
	if err := d.take("create", name, ""); err != nil {
		return nil, err
	}
	return d.opened(d.sys.Create(d.at, name))
}

// Append opens a file for writing at its end. It makes the file if there is none. Like Open, it does not wait.
func (d *Dir) Append(name string) (*File, error) {
	if err := d.take("appendTo", name, ""); err != nil {
		return nil, err
	}
	return d.opened(d.sys.Append(d.at, name))
}

// AppendTo is Append for a file that is there.
func (d *Dir) AppendTo(name string) (*File, error) {
	if err := d.take("appendTo", name, ""); err != nil {
		return nil, err
	}
	return d.opened(d.sys.AppendTo(d.at, name))
}

// Mkdir makes a directory. The umask applies to the mode.
func (d *Dir) Mkdir(name string, mode iofs.FileMode) error {
	if err := d.take("mkdir", name, ""); err != nil {
		return err
	}
	return d.sys.Mkdir(d.at, name, mode)
}

// Symlink makes a symbolic link.
func (d *Dir) Symlink(target, name string) error {
	if err := d.take("symlink", name, target); err != nil {
		return err
	}
	return d.sys.Symlink(target, d.at, name)
}

// Remove removes a file or an empty directory.
func (d *Dir) Remove(name string) error {
	if err := d.take("remove", name, ""); err != nil {
		return err
	}
	return d.sys.Remove(d.at, name)
}

// Chtimes sets the modification time of the name itself.
func (d *Dir) Chtimes(name string, modified time.Time) error {
	if err := d.take("chtimes", name, ""); err != nil {
		return err
	}
	return d.sys.Chtimes(d.at, name, modified)
}

// LinkTo gives a file a second name, in another directory. It fails with errors.ErrUnsupported if a file has one name
// only.
func (d *Dir) LinkTo(name string, to *Dir, other string) error {
	if err := d.takeBoth("link", name, to, other); err != nil {
		return err
	}
	return d.sys.Link(d.at, name, to.at, other)
}

// RenameTo moves a name to another directory. The new name may be a file, or free.
func (d *Dir) RenameTo(name string, to *Dir, other string) error {
	if err := d.takeBoth("rename", name, to, other); err != nil {
		return err
	}
	return d.sys.Rename(d.at, name, to.at, other)
}

// RenameNewTo is RenameTo to a free name. It fails with iofs.ErrExist if the name is taken. If the kernel cannot decide
// that, RenameNewTo takes a look and then renames.
func (d *Dir) RenameNewTo(name string, to *Dir, other string) error {
	if err := d.takeBoth("renameNew", name, to, other); err != nil {
		return err
	}
	err := d.sys.RenameNew(d.at, name, to.at, other)
	if !errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	if _, err := d.sys.Lstat(to.at, other); err == nil {
		return &iofs.PathError{Op: "rename", Path: to.at.Join(other), Err: iofs.ErrExist}
	} else if !errors.Is(err, iofs.ErrNotExist) {
		return err
	}
	return d.sys.Rename(d.at, name, to.at, other)
}

// ExchangeWith swaps a name with a name in another directory at one instant. It fails with errors.ErrUnsupported if the
// system cannot.
func (d *Dir) ExchangeWith(name string, to *Dir, other string) error {
	if err := d.takeBoth("exchange", name, to, other); err != nil {
		return err
	}
	return d.sys.Exchange(d.at, name, to.at, other)
}
