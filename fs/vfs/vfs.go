package fs

import (
	"io"
	iofs "io/fs"
	"time"

	"github.com/spf13/afero"
)

// calls is the table of system calls: all that this package asks of what lies below it, one method a call. Names are
// relative to the root, "." is the root, and nothing is done to them but what is written here.
//
// It is also the seam of all fault tests: see [Options.Before].
type calls interface {
	// lstat looks at the name itself. It fails with ErrLink where a symbolic link is on the way to it.
	lstat(name string) (Info, error)
	readlink(name string) (string, error)

	open(name string) (afero.File, error)     // for reading; never waits, whatever the name stands for
	create(name string) (afero.File, error)   // for writing, where nothing is
	appendTo(name string) (afero.File, error) // for writing at its end; it is made where there is none; never waits
	mkdir(name string) error
	symlink(target, name string) error
	rename(from, to string) error        // over a file, or over nothing
	renameNew(from, to string) error     // over nothing; ErrExist otherwise, and the kernel decides where it can
	link(name, other string) error       // errors.ErrUnsupported where a file has one name only
	exchange(a, b string) error          // at one instant, whatever the two are; errors.ErrUnsupported where that cannot be
	remove(name string) error            // a file or an empty directory
	removeAll(name string) error         // whatever its modes; only in the state directory
	mounts(dir string) ([]string, error) // where other file systems are mounted at and below a directory
	chtimes(name string, modified time.Time) error

	fstat(f afero.File) (Info, error)
	names(f afero.File, n int) ([]string, error) // the next n at the most, io.EOF at the end
	// kinds is as names, with nothing but name and kind; errors.ErrUnsupported where that takes a look at each.
	kinds(f afero.File) ([]Info, error)
	lstatIn(dir afero.File, base string) (Info, error)           // lstat of one of the names in an open directory
	getAttrIn(dir afero.File, base, name string) ([]byte, error) // getAttr of one, without opening it where the system can
	readAt(f afero.File, p []byte, offset int64) (int, error)
	send(f afero.File, w io.Writer, offset, n int64) (int64, error) // less where the file ends; moves the file's own offset
	write(f afero.File, p []byte) (int, error)
	// clone and copyRange copy content without reading it; errors.ErrUnsupported where that cannot be.
	clone(from, to afero.File) error
	copyRange(from, to afero.File, offset int64, n int) (int, error)
	// data returns where the next data of a file is, at an offset or after it: io.EOF where there is a hole to its end;
	// errors.ErrUnsupported where nobody tells. extend makes a file longer, with a hole, and goes on behind that.
	data(f afero.File, offset int64) (from, to int64, err error)
	extend(f afero.File, size int64) error
	chmod(f afero.File, mode iofs.FileMode) error
	chown(f afero.File, user, group ID) error
	listAttrs(f afero.File) ([]string, error)          // of extended attributes; none where there can be none
	getAttr(f afero.File, name string) ([]byte, error) // nil where there is none
	setAttr(f afero.File, name string, value []byte) error
	sync(f afero.File) error     // data and what is needed to read it back
	syncDir(f afero.File) error  // names; of a file, all there is
	tryFlock(f afero.File) error // ErrBusy where another has it; ends with close or funlock
	funlock(f afero.File) error
	lease(f afero.File) error          // see Lease; ends with close or unlease
	leased(f afero.File) (bool, error) // false once somebody has asked to write
	unlease(f afero.File)
	space(dir string) (Space, error) // of the file system that a directory is on
	uncache(f afero.File)            // what memory holds of its content, if that is on disk too
	volume(f afero.File) Volume
	syncAll(dir string) error // everything that was written to that file system, by whomever

	close() error
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
	calls
	before func(Call) error
}

func (h hooked) ask(op, name, to string) error {
	if err := h.before(Call{op, name, to}); err != nil {
		return &iofs.PathError{Op: op, Path: name, Err: err}
	}
	return nil
}

func (h hooked) lstat(name string) (Info, error) {
	if err := h.ask("lstat", name, ""); err != nil {
		return Info{}, err
	}
	return h.calls.lstat(name)
}

func (h hooked) readlink(name string) (string, error) {
	if err := h.ask("readlink", name, ""); err != nil {
		return "", err
	}
	return h.calls.readlink(name)
}

func (h hooked) open(name string) (afero.File, error) {
	if err := h.ask("open", name, ""); err != nil {
		return nil, err
	}
	return h.calls.open(name)
}

func (h hooked) create(name string) (afero.File, error) {
	if err := h.ask("create", name, ""); err != nil {
		return nil, err
	}
	return h.calls.create(name)
}

func (h hooked) appendTo(name string) (afero.File, error) {
	if err := h.ask("appendTo", name, ""); err != nil {
		return nil, err
	}
	return h.calls.appendTo(name)
}

func (h hooked) mkdir(name string) error {
	if err := h.ask("mkdir", name, ""); err != nil {
		return err
	}
	return h.calls.mkdir(name)
}

func (h hooked) symlink(target, name string) error {
	if err := h.ask("symlink", name, target); err != nil {
		return err
	}
	return h.calls.symlink(target, name)
}

func (h hooked) rename(from, to string) error {
	if err := h.ask("rename", from, to); err != nil {
		return err
	}
	return h.calls.rename(from, to)
}

func (h hooked) renameNew(from, to string) error {
	if err := h.ask("renameNew", from, to); err != nil {
		return err
	}
	return h.calls.renameNew(from, to)
}

func (h hooked) link(name, other string) error {
	if err := h.ask("link", name, other); err != nil {
		return err
	}
	return h.calls.link(name, other)
}

func (h hooked) exchange(a, b string) error {
	if err := h.ask("exchange", a, b); err != nil {
		return err
	}
	return h.calls.exchange(a, b)
}

func (h hooked) remove(name string) error {
	if err := h.ask("remove", name, ""); err != nil {
		return err
	}
	return h.calls.remove(name)
}

func (h hooked) removeAll(name string) error {
	if err := h.ask("removeAll", name, ""); err != nil {
		return err
	}
	return h.calls.removeAll(name)
}

func (h hooked) mounts(dir string) ([]string, error) {
	if err := h.ask("mounts", dir, ""); err != nil {
		return nil, err
	}
	return h.calls.mounts(dir)
}

func (h hooked) chtimes(name string, modified time.Time) error {
	if err := h.ask("chtimes", name, ""); err != nil {
		return err
	}
	return h.calls.chtimes(name, modified)
}

func (h hooked) fstat(f afero.File) (Info, error) {
	if err := h.ask("fstat", f.Name(), ""); err != nil {
		return Info{}, err
	}
	return h.calls.fstat(f)
}

func (h hooked) names(f afero.File, n int) ([]string, error) {
	if err := h.ask("names", f.Name(), ""); err != nil {
		return nil, err
	}
	return h.calls.names(f, n)
}

func (h hooked) kinds(f afero.File) ([]Info, error) {
	if err := h.ask("kinds", f.Name(), ""); err != nil {
		return nil, err
	}
	return h.calls.kinds(f)
}

func (h hooked) lstatIn(dir afero.File, base string) (Info, error) {
	if err := h.ask("lstat", memberOf(dir, base), ""); err != nil {
		return Info{}, err
	}
	return h.calls.lstatIn(dir, base)
}

func (h hooked) getAttrIn(dir afero.File, base, name string) ([]byte, error) {
	if err := h.ask("getAttr", memberOf(dir, base), ""); err != nil {
		return nil, err
	}
	return h.calls.getAttrIn(dir, base, name)
}

func (h hooked) readAt(f afero.File, p []byte, offset int64) (int, error) {
	if err := h.ask("readAt", f.Name(), ""); err != nil {
		return 0, err
	}
	return h.calls.readAt(f, p, offset)
}

func (h hooked) send(f afero.File, w io.Writer, offset, n int64) (int64, error) {
	if err := h.ask("send", f.Name(), ""); err != nil {
		return 0, err
	}
	return h.calls.send(f, w, offset, n)
}

func (h hooked) write(f afero.File, p []byte) (int, error) {
	if err := h.ask("write", f.Name(), ""); err != nil {
		return 0, err
	}
	return h.calls.write(f, p)
}

func (h hooked) clone(from, to afero.File) error {
	if err := h.ask("clone", to.Name(), ""); err != nil {
		return err
	}
	return h.calls.clone(from, to)
}

func (h hooked) copyRange(from, to afero.File, offset int64, n int) (int, error) {
	if err := h.ask("copyRange", to.Name(), ""); err != nil {
		return 0, err
	}
	return h.calls.copyRange(from, to, offset, n)
}

func (h hooked) data(f afero.File, offset int64) (int64, int64, error) {
	if err := h.ask("data", f.Name(), ""); err != nil {
		return 0, 0, err
	}
	return h.calls.data(f, offset)
}

func (h hooked) extend(f afero.File, size int64) error {
	if err := h.ask("extend", f.Name(), ""); err != nil {
		return err
	}
	return h.calls.extend(f, size)
}

func (h hooked) chmod(f afero.File, mode iofs.FileMode) error {
	if err := h.ask("chmod", f.Name(), ""); err != nil {
		return err
	}
	return h.calls.chmod(f, mode)
}

func (h hooked) chown(f afero.File, user, group ID) error {
	if err := h.ask("chown", f.Name(), ""); err != nil {
		return err
	}
	return h.calls.chown(f, user, group)
}

func (h hooked) listAttrs(f afero.File) ([]string, error) {
	if err := h.ask("listAttrs", f.Name(), ""); err != nil {
		return nil, err
	}
	return h.calls.listAttrs(f)
}

func (h hooked) getAttr(f afero.File, name string) ([]byte, error) {
	if err := h.ask("getAttr", f.Name(), ""); err != nil {
		return nil, err
	}
	return h.calls.getAttr(f, name)
}

func (h hooked) setAttr(f afero.File, name string, value []byte) error {
	if err := h.ask("setAttr", f.Name(), ""); err != nil {
		return err
	}
	return h.calls.setAttr(f, name, value)
}

func (h hooked) sync(f afero.File) error {
	if err := h.ask("sync", f.Name(), ""); err != nil {
		return err
	}
	return h.calls.sync(f)
}

func (h hooked) syncDir(f afero.File) error {
	if err := h.ask("syncDir", f.Name(), ""); err != nil {
		return err
	}
	return h.calls.syncDir(f)
}

func (h hooked) tryFlock(f afero.File) error {
	if err := h.ask("tryFlock", f.Name(), ""); err != nil {
		return err
	}
	return h.calls.tryFlock(f)
}

func (h hooked) lease(f afero.File) error {
	if err := h.ask("lease", f.Name(), ""); err != nil {
		return err
	}
	return h.calls.lease(f)
}

func (h hooked) leased(f afero.File) (bool, error) {
	if err := h.ask("leased", f.Name(), ""); err != nil {
		return false, err
	}
	return h.calls.leased(f)
}

func (h hooked) space(dir string) (Space, error) {
	if err := h.ask("space", dir, ""); err != nil {
		return Space{}, err
	}
	return h.calls.space(dir)
}

func (h hooked) syncAll(dir string) error {
	if err := h.ask("syncAll", dir, ""); err != nil {
		return err
	}
	return h.calls.syncAll(dir)
}
