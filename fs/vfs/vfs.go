package vfs

import (
	"io"
	iofs "io/fs"
	"time"

	"github.com/spf13/afero"
)

// Calls is the table of system calls: all that this package asks of what lies below it, one method a call. Names are
// relative to the root, "." is the root, and nothing is done to them but what is written here.
//
// It is also the seam of all fault tests: see [Hook].
type Calls interface {
	// lstat looks at the name itself. It fails with ErrLink where a symbolic link is on the way to it.
	Lstat(name string) (Info, error)
	Readlink(name string) (string, error)

	Open(name string) (afero.File, error)     // for reading; never waits, whatever the name stands for
	Create(name string) (afero.File, error)   // for writing, where nothing is
	AppendTo(name string) (afero.File, error) // for writing at its end; it is made where there is none; never waits
	Mkdir(name string, mode iofs.FileMode) error
	Symlink(target, name string) error
	Rename(from, to string) error        // over a file, or over nothing
	RenameNew(from, to string) error     // over nothing; ErrExist otherwise, and the kernel decides where it can
	Link(name, other string) error       // errors.ErrUnsupported where a file has one name only
	Exchange(a, b string) error          // at one instant, whatever the two are; errors.ErrUnsupported where that cannot be
	Remove(name string) error            // a file or an empty directory
	RemoveAll(name string) error         // whatever its modes; only in the state directory
	Mounts(dir string) ([]string, error) // where other file systems are mounted at and below a directory
	Chtimes(name string, modified time.Time) error

	Fstat(f afero.File) (Info, error)
	Names(f afero.File, n int) ([]string, error) // the next n at the most, io.EOF at the end
	// kinds is as names, with nothing but name and kind; errors.ErrUnsupported where that takes a look at each.
	Kinds(f afero.File) ([]Info, error)
	LstatIn(dir afero.File, base string) (Info, error)           // lstat of one of the names in an open directory
	GetAttrIn(dir afero.File, base, name string) ([]byte, error) // getAttr of one, without opening it where the system can
	ReadAt(f afero.File, p []byte, offset int64) (int, error)
	Send(f afero.File, w io.Writer, offset, n int64) (int64, error) // less where the file ends; moves the file's own offset
	Write(f afero.File, p []byte) (int, error)
	// clone and copyRange copy content without reading it; errors.ErrUnsupported where that cannot be.
	Clone(from, to afero.File) error
	CopyRange(from, to afero.File, offset int64, n int) (int, error)
	// data returns where the next data of a file is, at an offset or after it: io.EOF where there is a hole to its end;
	// errors.ErrUnsupported where nobody tells. extend makes a file longer, with a hole, and goes on behind that.
	Data(f afero.File, offset int64) (from, to int64, err error)
	Extend(f afero.File, size int64) error
	Chmod(f afero.File, mode iofs.FileMode) error
	Chown(f afero.File, user, group ID) error
	ListAttrs(f afero.File) ([]string, error)          // of extended attributes; none where there can be none
	GetAttr(f afero.File, name string) ([]byte, error) // nil where there is none
	SetAttr(f afero.File, name string, value []byte) error
	Sync(f afero.File) error     // data and what is needed to read it back
	SyncDir(f afero.File) error  // names; of a file, all there is
	TryFlock(f afero.File) error // ErrBusy where another has it; ends with close or funlock
	Funlock(f afero.File) error
	Lease(f afero.File) error          // see Lease; ends with close or unlease
	Leased(f afero.File) (bool, error) // false once somebody has asked to write
	Unlease(f afero.File)
	Space(dir string) (Space, error) // of the file system that a directory is on
	Uncache(f afero.File)            // what memory holds of its content, if that is on disk too
	Volume(f afero.File) Volume
	SyncAll(dir string) error // everything that was written to that file system, by whomever

	Close() error
}

// A Call is one use of the table of system calls, before it happens.
type Call struct {
	Op   string // the name of the call
	Name string // what it is about, relative to the root
	To   string // the second name of a call that has one
}

// String returns the call as a line of a trace.
func (c Call) String() string {
	s := c.Op + " " + c.Name
	if c.To != "" {
		s += " -> " + c.To
	}
	return s
}

// hooked asks before each call whether it may happen. Letting go (close, funlock, unlease) cannot fail and is not asked about.
type hooked struct {
	Calls
	before func(Call) error
}

// Hook returns a table that asks before each call whether it may happen.
func Hook(table Calls, before func(Call) error) Calls { return hooked{table, before} }

func (h hooked) ask(op, name, to string) error {
	if err := h.before(Call{op, name, to}); err != nil {
		return &iofs.PathError{Op: op, Path: name, Err: err}
	}
	return nil
}

func (h hooked) Lstat(name string) (Info, error) {
	if err := h.ask("lstat", name, ""); err != nil {
		return Info{}, err
	}
	return h.Calls.Lstat(name)
}

func (h hooked) Readlink(name string) (string, error) {
	if err := h.ask("readlink", name, ""); err != nil {
		return "", err
	}
	return h.Calls.Readlink(name)
}

func (h hooked) Open(name string) (afero.File, error) {
	if err := h.ask("open", name, ""); err != nil {
		return nil, err
	}
	return h.Calls.Open(name)
}

func (h hooked) Create(name string) (afero.File, error) {
	if err := h.ask("create", name, ""); err != nil {
		return nil, err
	}
	return h.Calls.Create(name)
}

func (h hooked) AppendTo(name string) (afero.File, error) {
	if err := h.ask("appendTo", name, ""); err != nil {
		return nil, err
	}
	return h.Calls.AppendTo(name)
}

func (h hooked) Mkdir(name string, mode iofs.FileMode) error {
	if err := h.ask("mkdir", name, ""); err != nil {
		return err
	}
	return h.Calls.Mkdir(name, mode)
}

func (h hooked) Symlink(target, name string) error {
	if err := h.ask("symlink", name, target); err != nil {
		return err
	}
	return h.Calls.Symlink(target, name)
}

func (h hooked) Rename(from, to string) error {
	if err := h.ask("rename", from, to); err != nil {
		return err
	}
	return h.Calls.Rename(from, to)
}

func (h hooked) RenameNew(from, to string) error {
	if err := h.ask("renameNew", from, to); err != nil {
		return err
	}
	return h.Calls.RenameNew(from, to)
}

func (h hooked) Link(name, other string) error {
	if err := h.ask("link", name, other); err != nil {
		return err
	}
	return h.Calls.Link(name, other)
}

func (h hooked) Exchange(a, b string) error {
	if err := h.ask("exchange", a, b); err != nil {
		return err
	}
	return h.Calls.Exchange(a, b)
}

func (h hooked) Remove(name string) error {
	if err := h.ask("remove", name, ""); err != nil {
		return err
	}
	return h.Calls.Remove(name)
}

func (h hooked) RemoveAll(name string) error {
	if err := h.ask("removeAll", name, ""); err != nil {
		return err
	}
	return h.Calls.RemoveAll(name)
}

func (h hooked) Mounts(dir string) ([]string, error) {
	if err := h.ask("mounts", dir, ""); err != nil {
		return nil, err
	}
	return h.Calls.Mounts(dir)
}

func (h hooked) Chtimes(name string, modified time.Time) error {
	if err := h.ask("chtimes", name, ""); err != nil {
		return err
	}
	return h.Calls.Chtimes(name, modified)
}

func (h hooked) Fstat(f afero.File) (Info, error) {
	if err := h.ask("fstat", f.Name(), ""); err != nil {
		return Info{}, err
	}
	return h.Calls.Fstat(f)
}

func (h hooked) Names(f afero.File, n int) ([]string, error) {
	if err := h.ask("names", f.Name(), ""); err != nil {
		return nil, err
	}
	return h.Calls.Names(f, n)
}

func (h hooked) Kinds(f afero.File) ([]Info, error) {
	if err := h.ask("kinds", f.Name(), ""); err != nil {
		return nil, err
	}
	return h.Calls.Kinds(f)
}

func (h hooked) LstatIn(dir afero.File, base string) (Info, error) {
	if err := h.ask("lstat", memberOf(dir, base), ""); err != nil {
		return Info{}, err
	}
	return h.Calls.LstatIn(dir, base)
}

func (h hooked) GetAttrIn(dir afero.File, base, name string) ([]byte, error) {
	if err := h.ask("getAttr", memberOf(dir, base), ""); err != nil {
		return nil, err
	}
	return h.Calls.GetAttrIn(dir, base, name)
}

func (h hooked) ReadAt(f afero.File, p []byte, offset int64) (int, error) {
	if err := h.ask("readAt", f.Name(), ""); err != nil {
		return 0, err
	}
	return h.Calls.ReadAt(f, p, offset)
}

func (h hooked) Send(f afero.File, w io.Writer, offset, n int64) (int64, error) {
	if err := h.ask("send", f.Name(), ""); err != nil {
		return 0, err
	}
	return h.Calls.Send(f, w, offset, n)
}

func (h hooked) Write(f afero.File, p []byte) (int, error) {
	if err := h.ask("write", f.Name(), ""); err != nil {
		return 0, err
	}
	return h.Calls.Write(f, p)
}

func (h hooked) Clone(from, to afero.File) error {
	if err := h.ask("clone", to.Name(), ""); err != nil {
		return err
	}
	return h.Calls.Clone(from, to)
}

func (h hooked) CopyRange(from, to afero.File, offset int64, n int) (int, error) {
	if err := h.ask("copyRange", to.Name(), ""); err != nil {
		return 0, err
	}
	return h.Calls.CopyRange(from, to, offset, n)
}

func (h hooked) Data(f afero.File, offset int64) (int64, int64, error) {
	if err := h.ask("data", f.Name(), ""); err != nil {
		return 0, 0, err
	}
	return h.Calls.Data(f, offset)
}

func (h hooked) Extend(f afero.File, size int64) error {
	if err := h.ask("extend", f.Name(), ""); err != nil {
		return err
	}
	return h.Calls.Extend(f, size)
}

func (h hooked) Chmod(f afero.File, mode iofs.FileMode) error {
	if err := h.ask("chmod", f.Name(), ""); err != nil {
		return err
	}
	return h.Calls.Chmod(f, mode)
}

func (h hooked) Chown(f afero.File, user, group ID) error {
	if err := h.ask("chown", f.Name(), ""); err != nil {
		return err
	}
	return h.Calls.Chown(f, user, group)
}

func (h hooked) ListAttrs(f afero.File) ([]string, error) {
	if err := h.ask("listAttrs", f.Name(), ""); err != nil {
		return nil, err
	}
	return h.Calls.ListAttrs(f)
}

func (h hooked) GetAttr(f afero.File, name string) ([]byte, error) {
	if err := h.ask("getAttr", f.Name(), ""); err != nil {
		return nil, err
	}
	return h.Calls.GetAttr(f, name)
}

func (h hooked) SetAttr(f afero.File, name string, value []byte) error {
	if err := h.ask("setAttr", f.Name(), ""); err != nil {
		return err
	}
	return h.Calls.SetAttr(f, name, value)
}

func (h hooked) Sync(f afero.File) error {
	if err := h.ask("sync", f.Name(), ""); err != nil {
		return err
	}
	return h.Calls.Sync(f)
}

func (h hooked) SyncDir(f afero.File) error {
	if err := h.ask("syncDir", f.Name(), ""); err != nil {
		return err
	}
	return h.Calls.SyncDir(f)
}

func (h hooked) TryFlock(f afero.File) error {
	if err := h.ask("tryFlock", f.Name(), ""); err != nil {
		return err
	}
	return h.Calls.TryFlock(f)
}

func (h hooked) Lease(f afero.File) error {
	if err := h.ask("lease", f.Name(), ""); err != nil {
		return err
	}
	return h.Calls.Lease(f)
}

func (h hooked) Leased(f afero.File) (bool, error) {
	if err := h.ask("leased", f.Name(), ""); err != nil {
		return false, err
	}
	return h.Calls.Leased(f)
}

func (h hooked) Space(dir string) (Space, error) {
	if err := h.ask("space", dir, ""); err != nil {
		return Space{}, err
	}
	return h.Calls.Space(dir)
}

func (h hooked) SyncAll(dir string) error {
	if err := h.ask("syncAll", dir, ""); err != nil {
		return err
	}
	return h.Calls.SyncAll(dir)
}
