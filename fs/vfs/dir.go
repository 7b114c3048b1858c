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

// do makes a call that takes a name.
func (d *Dir) do(op, name, to string, call func() error) error {
	if err := d.take(op, name, to); err != nil {
		return err
	}
	return call()
}

// both makes a call that takes a name, and another one in another directory.
func (d *Dir) both(
	op, name string, to *Dir, other string, call func(from At, name string, to At, other string) error,
) error {
	if d.sys.hook != nil {
		if err := d.ask(op, name, to.at.Join(other)); err != nil {
			return err
		}
	}
	d.sys.renew(d.at, name)
	d.sys.renew(to.at, other)
	return call(d.at, name, to.at, other)
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

// Close closes the directory. It cannot fail. The receiver may be nil.
func (d *Dir) Close() {
	if d != nil && d.at.dir != nil {
		d.at.dir.Close()
	}
}

// IsOpen reports whether the directory has a descriptor. Otherwise it is only a path.
func (d *Dir) IsOpen() bool { return d.at.dir != nil }

// Lstat looks at the name itself. It fails with [ErrLink] if a symbolic link is on the way to it.
func (d *Dir) Lstat(name string) (Info, error) {
	return hooked(d.take("lstat", name, ""), func() (Info, error) { return d.sys.Lstat(d.at, name) })
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
	return hooked(d.take("readlink", name, ""), func() (string, error) { return d.sys.Readlink(d.at, name) })
}

// GetAttrAt returns an extended attribute of a name. It is nil if there is none.
func (d *Dir) GetAttrAt(name, attr string) ([]byte, error) {
	return hooked(d.take("getAttr", name, ""), func() ([]byte, error) { return d.sys.GetAttrAt(d.at, name, attr) })
}

// open makes a call that opens a name.
func (d *Dir) open(op, name string, call func(at At, name string) (*File, error)) (*File, error) {
	if err := d.take(op, name, ""); err != nil {
		return nil, err
	}
	f, err := call(d.at, name)
	if err != nil {
		return nil, err
	}
	f.sys = d.sys
	return f, nil
}

// Open opens a file or directory for reading. It does not wait for a pipe, or for a program that has a lease on the
// file.
func (d *Dir) Open(name string) (*File, error) { return d.open("open", name, d.sys.Open) }

// Create makes a file and opens it for writing. It fails with iofs.ErrExist if the name is taken.
func (d *Dir) Create(name string) (*File, error) { return d.open("create", name, d.sys.Create) }

// Append opens a file for writing at its end. It makes the file if there is none. Like Open, it does not wait.
func (d *Dir) Append(name string) (*File, error) { return d.open("appendTo", name, d.sys.Append) }

// AppendTo is [Dir.Append] for a file that is there.
func (d *Dir) AppendTo(name string) (*File, error) { return d.open("appendTo", name, d.sys.AppendTo) }

// Mkdir makes a directory. The umask applies to the mode.
func (d *Dir) Mkdir(name string, mode iofs.FileMode) error {
	return d.do("mkdir", name, "", func() error { return d.sys.Mkdir(d.at, name, mode) })
}

// Symlink makes a symbolic link.
func (d *Dir) Symlink(target, name string) error {
	return d.do("symlink", name, target, func() error { return d.sys.Symlink(target, d.at, name) })
}

// Remove removes a file or an empty directory.
func (d *Dir) Remove(name string) error {
	return d.do("remove", name, "", func() error { return d.sys.Remove(d.at, name) })
}

// Chtimes sets the modification time of the name itself.
func (d *Dir) Chtimes(name string, modified time.Time) error {
	return d.do("chtimes", name, "", func() error { return d.sys.Chtimes(d.at, name, modified) })
}

// LinkTo gives a file a second name, in another directory. It fails with errors.ErrUnsupported if a file has one name
// only.
func (d *Dir) LinkTo(name string, to *Dir, other string) error {
	return d.both("link", name, to, other, d.sys.Link)
}

// RenameTo moves a name to another directory. The new name may be a file, or free.
func (d *Dir) RenameTo(name string, to *Dir, other string) error {
	return d.both("rename", name, to, other, d.sys.Rename)
}

// RenameNewTo is RenameTo to a free name. It fails with iofs.ErrExist if the name is taken. If the kernel cannot decide
// that, RenameNewTo takes a look and then renames.
func (d *Dir) RenameNewTo(name string, to *Dir, other string) error {
	return d.both("renameNew", name, to, other, d.sys.renameNew)
}

func (t *table) renameNew(from At, name string, to At, other string) error {
	err := t.RenameNew(from, name, to, other)
	if !errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	if _, err := t.Lstat(to, other); err == nil {
		return &iofs.PathError{Op: "rename", Path: to.Join(other), Err: iofs.ErrExist}
	} else if !errors.Is(err, iofs.ErrNotExist) {
		return err
	}
	return t.Rename(from, name, to, other)
}

// ExchangeWith swaps a name with a name in another directory at one instant. It fails with errors.ErrUnsupported if the
// system cannot.
func (d *Dir) ExchangeWith(name string, to *Dir, other string) error {
	return d.both("exchange", name, to, other, d.sys.Exchange)
}
