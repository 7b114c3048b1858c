package vfs

import (
	"errors"
	"io"
	iofs "io/fs"
	"os"
	"path"
	"path/filepath"
	"syscall"
	"time"

	"github.com/pkg/xattr"
	"github.com/spf13/afero"
)

// dirCalls is the table over a directory of the operating system. No name and no link leads out of it, whatever happens
// on the disk meanwhile.
type dirCalls struct {
	root   *os.Root
	kernel kernel
}

// kernel has the calls that are done best in another way on each system, above all those that resolve a name.
type kernel interface {
	lstat(name string) (Info, error)
	fstat(f *os.File) (Info, error)
	lstatIn(dir *os.File, name string) (Info, error) // of a name in dir, which is what has the rest of the name
	getAttrIn(dir *os.File, name, attr string) ([]byte, error)
	readlink(name string) (string, error)
	open(name string) (*os.File, error)
	create(name string) (*os.File, error)
	appendTo(name string) (*os.File, error)
	mkdir(name string, mode iofs.FileMode) error
	symlink(target, name string) error
	rename(from, to string) error
	renameNew(from, to string) error // errors.ErrUnsupported where it takes a look and a rename
	link(name, other string) error
	exchange(a, b string) error
	remove(name string) error
	chtimes(name string, modified time.Time) error
	close() error
}

// Open returns the table over a directory of the operating system.
func Open(dir string) (Calls, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	k, err := openKernel(root)
	if err != nil {
		root.Close()
		return nil, err
	}
	return &dirCalls{root: root, kernel: k}, nil
}

// dirFile is an open file that goes by the name it was opened with.
type dirFile struct {
	*os.File
	name string
}

func (f *dirFile) Name() string { return f.name }

func osFile(f afero.File) *os.File { return f.(*dirFile).File }

func (d *dirCalls) Lstat(name string) (Info, error)      { return d.kernel.lstat(name) }
func (d *dirCalls) Readlink(name string) (string, error) { return d.kernel.readlink(name) }

func (d *dirCalls) Open(name string) (afero.File, error) {
	f, err := d.kernel.open(name)
	if err != nil {
		return nil, err
	}
	return &dirFile{File: f, name: name}, nil
}

func (d *dirCalls) Create(name string) (afero.File, error) {
	f, err := d.kernel.create(name)
	if err != nil {
		return nil, err
	}
	return &dirFile{File: f, name: name}, nil
}

func (d *dirCalls) AppendTo(name string) (afero.File, error) {
	f, err := d.kernel.appendTo(name)
	if err != nil {
		return nil, err
	}
	return &dirFile{File: f, name: name}, nil
}

func (d *dirCalls) Mkdir(name string, mode iofs.FileMode) error {
	return d.kernel.mkdir(name, mode)
}

func (d *dirCalls) Symlink(target, name string) error { return d.kernel.symlink(target, name) }
func (d *dirCalls) Rename(from, to string) error      { return d.kernel.rename(from, to) }
func (d *dirCalls) Link(name, other string) error     { return d.kernel.link(name, other) }
func (d *dirCalls) Exchange(a, b string) error        { return d.kernel.exchange(a, b) }
func (d *dirCalls) Remove(name string) error          { return d.kernel.remove(name) }

func (d *dirCalls) Mounts(dir string) ([]string, error) {
	root, err := d.root.Open(".")
	if err != nil {
		return nil, err
	}
	defer root.Close()
	return mountedIn(root, dir)
}

func (d *dirCalls) RenameNew(from, to string) error {
	err := d.kernel.renameNew(from, to)
	if !errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	if _, err := d.Lstat(to); err == nil {
		return &iofs.PathError{Op: "rename", Path: to, Err: iofs.ErrExist}
	} else if !errors.Is(err, iofs.ErrNotExist) {
		return err
	}
	return d.kernel.rename(from, to)
}

func (d *dirCalls) Chtimes(name string, modified time.Time) error {
	return d.kernel.chtimes(name, modified)
}

func (d *dirCalls) Fstat(f afero.File) (Info, error) {
	info, err := d.kernel.fstat(osFile(f))
	info.Name = path.Base(f.Name())
	return info, err
}

func (d *dirCalls) Names(f afero.File, n int) ([]string, error) { return osFile(f).Readdirnames(n) }

func (d *dirCalls) Kinds(f afero.File) ([]Info, error) { return kindsIn(osFile(f)) }

// memberOf returns the name of what is in an open directory, as path.Join does. It is called for each member of a listing.
func memberOf(dir afero.File, base string) string {
	if name := dir.Name(); name != "." {
		return name + "/" + base
	}
	return base
}

func (d *dirCalls) LstatIn(dir afero.File, base string) (Info, error) {
	return d.kernel.lstatIn(osFile(dir), memberOf(dir, base))
}

func (d *dirCalls) GetAttrIn(dir afero.File, base, name string) ([]byte, error) {
	return attrOf(d.kernel.getAttrIn(osFile(dir), memberOf(dir, base), name))
}

func (d *dirCalls) ReadAt(f afero.File, p []byte, offset int64) (int, error) {
	return osFile(f).ReadAt(p, offset)
}

func (d *dirCalls) Send(f afero.File, w io.Writer, offset, n int64) (int64, error) {
	if _, err := osFile(f).Seek(offset, io.SeekStart); err != nil {
		return 0, err
	}
	return io.Copy(w, &io.LimitedReader{R: osFile(f), N: n}) // so that package net recognises a file, and has the kernel send it
}

// named makes an error say at which file a call has failed as we name that: os.Root gives its files names of the system,
// and which disk is full is known by it.
func named(f afero.File, err error) error {
	var failed *iofs.PathError
	if errors.As(err, &failed) {
		failed.Path = f.Name()
	}
	return err
}

func (d *dirCalls) Write(f afero.File, p []byte) (int, error) {
	n, err := osFile(f).Write(p)
	return n, named(f, err)
}

func (d *dirCalls) Chmod(f afero.File, mode iofs.FileMode) error { return osFile(f).Chmod(mode) }

func (d *dirCalls) Clone(from, to afero.File) error {
	return named(to, reflink(osFile(from), osFile(to)))
}

func (d *dirCalls) CopyRange(from, to afero.File, offset int64, n int) (int, error) {
	copied, err := copyRange(osFile(from), osFile(to), offset, n)
	return copied, named(to, err)
}

func (d *dirCalls) Data(f afero.File, offset int64) (from, to int64, err error) {
	return nextData(osFile(f), offset)
}

func (d *dirCalls) Extend(f afero.File, size int64) error {
	err := osFile(f).Truncate(size)
	if err == nil {
		_, err = osFile(f).Seek(size, io.SeekStart)
	}
	return named(f, err)
}

func (d *dirCalls) Chown(f afero.File, user, group ID) error {
	return osFile(f).Chown(int(user.N), int(group.N))
}

func (d *dirCalls) ListAttrs(f afero.File) ([]string, error) {
	names, err := xattr.FList(osFile(f))
	if noAttributes(err) {
		return nil, nil
	}
	return names, err
}

func (d *dirCalls) GetAttr(f afero.File, name string) ([]byte, error) {
	return attrOf(xattr.FGet(osFile(f), name))
}

// attrOf takes that there is no attribute, and that there can be none, for an empty one.
func attrOf(value []byte, err error) ([]byte, error) {
	if errors.Is(err, xattr.ENOATTR) || noAttributes(err) {
		return nil, nil
	}
	return value, err
}

func (d *dirCalls) SetAttr(f afero.File, name string, value []byte) error {
	var err error
	if value == nil {
		err = xattr.FRemove(osFile(f), name)
		if errors.Is(err, xattr.ENOATTR) {
			return nil
		}
	} else {
		err = xattr.FSet(osFile(f), name, value)
	}
	if errors.Is(err, syscall.E2BIG) || errors.Is(err, syscall.ERANGE) || errors.Is(err, syscall.ENOSPC) {
		// What the attribute cannot hold is for a client the same as a disk that is full.
		err = &iofs.PathError{Op: "setxattr", Path: f.Name(), Err: ErrAttribute}
	}
	return err
}

// noAttributes reports whether a file system keeps no extended attributes at all.
func noAttributes(err error) bool {
	return errors.Is(err, syscall.ENOTSUP) || errors.Is(err, syscall.EOPNOTSUPP)
}

func (d *dirCalls) Sync(f afero.File) error     { return named(f, fdatasync(osFile(f))) }
func (d *dirCalls) SyncDir(f afero.File) error  { return fsyncDir(osFile(f)) }
func (d *dirCalls) TryFlock(f afero.File) error { return tryFlock(osFile(f)) }
func (d *dirCalls) Funlock(f afero.File) error  { return funlock(osFile(f)) }

func (d *dirCalls) Lease(f afero.File) error          { return lease(osFile(f)) }
func (d *dirCalls) Leased(f afero.File) (bool, error) { return leased(osFile(f)) }
func (d *dirCalls) Unlease(f afero.File)              { unlease(osFile(f)) }

func (d *dirCalls) Space(name string) (Space, error) {
	dir, err := d.kernel.open(name)
	if err != nil {
		return Space{}, err
	}
	defer dir.Close()
	return spaceOf(dir)
}

func (d *dirCalls) Uncache(f afero.File) { uncache(osFile(f)) }

func (d *dirCalls) Volume(f afero.File) Volume { return volumeOn(osFile(f)) }

func (d *dirCalls) SyncAll(name string) error {
	dir, err := d.kernel.open(name)
	if err != nil {
		return err
	}
	defer dir.Close()
	return syncfs(dir)
}

func (d *dirCalls) Close() error {
	return errors.Join(d.kernel.close(), d.root.Close())
}

// The rest is what callers ask of the table itself, whether it is hooked or not.

func below(table Calls) Calls {
	if h, ok := table.(hooked); ok {
		return h.Calls
	}
	return table
}

// InMemory reports whether a table is over an afero.Fs.
func InMemory(table Calls) bool {
	_, ok := below(table).(*aferoCalls)
	return ok
}

// TakeAsOne says of an afero.Fs which names of one directory it takes for one.
func TakeAsOne(table Calls, alike func(a, b string) bool) {
	if a, ok := below(table).(*aferoCalls); ok {
		a.alike.Store(&alike)
	}
}

// CreatesOnly reports whether the kernel itself refuses to rename over what is there.
func CreatesOnly(table Calls, from, to string) bool {
	d, ok := below(table).(*dirCalls)
	return ok && errors.Is(d.kernel.renameNew(from, to), iofs.ErrExist)
}

// HostPath is what the operating system calls a name, for people.
func HostPath(table Calls, name string) string {
	if d, ok := below(table).(*dirCalls); ok {
		return filepath.Join(d.root.Name(), filepath.FromSlash(name))
	}
	return name
}

// Holder says which other process has an open file locked.
func Holder(f afero.File) string {
	if f, ok := f.(*dirFile); ok {
		return HolderOf(f.File)
	}
	return "nobody" // in memory there is no other
}

// MapWritable maps the first byte of a file so that it can be written through memory.
func MapWritable(f afero.File) ([]byte, error) { return mapWritable(osFile(f)) }

// Unmap ends that.
func Unmap(memory []byte) { unmap(memory) }

// InfoOf returns what there is to know of a file that was looked at by name.
func InfoOf(fi iofs.FileInfo) Info { return infoOf(fi) }

// Portable has a table go through os.Root, as on other systems.
func Portable(table Calls) {
	d := below(table).(*dirCalls)
	d.kernel.close()
	d.kernel = rootKernel{d.root}
}
