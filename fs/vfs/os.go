package fs

import (
	"errors"
	"io"
	iofs "io/fs"
	"os"
	"path"
	"syscall"
	"time"

	"github.com/pkg/xattr"
	"github.com/spf13/afero"
)

// propertiesAttr is the extended attribute that carries what belongs to a file and is not its content. The kernel moves
// it with the file, also for a local mv.
const (
	ownAttrs       = "user.ifmatch."
	propertiesAttr = ownAttrs + "props"
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

func openDir(dir string) (*dirCalls, error) {
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

func (d *dirCalls) lstat(name string) (Info, error)      { return d.kernel.lstat(name) }
func (d *dirCalls) readlink(name string) (string, error) { return d.kernel.readlink(name) }

func (d *dirCalls) open(name string) (afero.File, error) {
	f, err := d.kernel.open(name)
	if err != nil {
		return nil, err
	}
	return &dirFile{File: f, name: name}, nil
}

func (d *dirCalls) create(name string) (afero.File, error) {
	f, err := d.kernel.create(name)
	if err != nil {
		return nil, err
	}
	return &dirFile{File: f, name: name}, nil
}

func (d *dirCalls) appendTo(name string) (afero.File, error) {
	f, err := d.kernel.appendTo(name)
	if err != nil {
		return nil, err
	}
	return &dirFile{File: f, name: name}, nil
}

func (d *dirCalls) mkdir(name string) error {
	// The state directory is nobody else's business; what is served follows the umask.
	mode := iofs.FileMode(0o777)
	if path.Base(name) == stateDir {
		mode = 0o700
	}
	return d.kernel.mkdir(name, mode)
}

func (d *dirCalls) symlink(target, name string) error { return d.kernel.symlink(target, name) }
func (d *dirCalls) rename(from, to string) error      { return d.kernel.rename(from, to) }
func (d *dirCalls) link(name, other string) error     { return d.kernel.link(name, other) }
func (d *dirCalls) exchange(a, b string) error        { return d.kernel.exchange(a, b) }
func (d *dirCalls) remove(name string) error          { return d.kernel.remove(name) }

func (d *dirCalls) mounts(dir string) ([]string, error) {
	root, err := d.root.Open(".")
	if err != nil {
		return nil, err
	}
	defer root.Close()
	return mountedIn(root, dir)
}

func (d *dirCalls) renameNew(from, to string) error {
	err := d.kernel.renameNew(from, to)
	if !errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	if _, err := d.lstat(to); err == nil {
		return &iofs.PathError{Op: "rename", Path: to, Err: iofs.ErrExist}
	} else if !errors.Is(err, iofs.ErrNotExist) {
		return err
	}
	return d.kernel.rename(from, to)
}

func (d *dirCalls) chtimes(name string, modified time.Time) error {
	return d.kernel.chtimes(name, modified)
}

func (d *dirCalls) fstat(f afero.File) (Info, error) {
	info, err := d.kernel.fstat(osFile(f))
	info.Name = path.Base(f.Name())
	return info, err
}

func (d *dirCalls) names(f afero.File, n int) ([]string, error) { return osFile(f).Readdirnames(n) }

func (d *dirCalls) kinds(f afero.File) ([]Info, error) { return kindsIn(osFile(f)) }

// memberOf returns the name of what is in an open directory, as path.Join does. It is called for each member of a listing.
func memberOf(dir afero.File, base string) string {
	if name := dir.Name(); name != "." {
		return name + "/" + base
	}
	return base
}

func (d *dirCalls) lstatIn(dir afero.File, base string) (Info, error) {
	return d.kernel.lstatIn(osFile(dir), memberOf(dir, base))
}

func (d *dirCalls) getAttrIn(dir afero.File, base, name string) ([]byte, error) {
	return attrOf(d.kernel.getAttrIn(osFile(dir), memberOf(dir, base), name))
}

func (d *dirCalls) readAt(f afero.File, p []byte, offset int64) (int, error) {
	return osFile(f).ReadAt(p, offset)
}

func (d *dirCalls) send(f afero.File, w io.Writer, offset, n int64) (int64, error) {
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

func (d *dirCalls) write(f afero.File, p []byte) (int, error) {
	n, err := osFile(f).Write(p)
	return n, named(f, err)
}

func (d *dirCalls) chmod(f afero.File, mode iofs.FileMode) error { return osFile(f).Chmod(mode) }

func (d *dirCalls) clone(from, to afero.File) error {
	return named(to, reflink(osFile(from), osFile(to)))
}

func (d *dirCalls) copyRange(from, to afero.File, offset int64, n int) (int, error) {
	copied, err := copyRange(osFile(from), osFile(to), offset, n)
	return copied, named(to, err)
}

func (d *dirCalls) data(f afero.File, offset int64) (from, to int64, err error) {
	return nextData(osFile(f), offset)
}

func (d *dirCalls) extend(f afero.File, size int64) error {
	err := osFile(f).Truncate(size)
	if err == nil {
		_, err = osFile(f).Seek(size, io.SeekStart)
	}
	return named(f, err)
}

func (d *dirCalls) chown(f afero.File, user, group ID) error {
	return osFile(f).Chown(int(user.N), int(group.N))
}

func (d *dirCalls) listAttrs(f afero.File) ([]string, error) {
	names, err := xattr.FList(osFile(f))
	if noAttributes(err) {
		return nil, nil
	}
	return names, err
}

func (d *dirCalls) getAttr(f afero.File, name string) ([]byte, error) {
	return attrOf(xattr.FGet(osFile(f), name))
}

// attrOf takes that there is no attribute, and that there can be none, for an empty one.
func attrOf(value []byte, err error) ([]byte, error) {
	if errors.Is(err, xattr.ENOATTR) || noAttributes(err) {
		return nil, nil
	}
	return value, err
}

func (d *dirCalls) setAttr(f afero.File, name string, value []byte) error {
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
		err = &iofs.PathError{Op: "setxattr", Path: f.Name(), Err: errAttribute}
	}
	return err
}

// noAttributes reports whether a file system keeps no extended attributes at all.
func noAttributes(err error) bool {
	return errors.Is(err, syscall.ENOTSUP) || errors.Is(err, syscall.EOPNOTSUPP)
}

func (d *dirCalls) sync(f afero.File) error     { return named(f, fdatasync(osFile(f))) }
func (d *dirCalls) syncDir(f afero.File) error  { return fsyncDir(osFile(f)) }
func (d *dirCalls) tryFlock(f afero.File) error { return tryFlock(osFile(f)) }
func (d *dirCalls) funlock(f afero.File) error  { return funlock(osFile(f)) }

func (d *dirCalls) lease(f afero.File) error          { return lease(osFile(f)) }
func (d *dirCalls) leased(f afero.File) (bool, error) { return leased(osFile(f)) }
func (d *dirCalls) unlease(f afero.File)              { unlease(osFile(f)) }

func (d *dirCalls) space(name string) (Space, error) {
	dir, err := d.kernel.open(name)
	if err != nil {
		return Space{}, err
	}
	defer dir.Close()
	return spaceOf(dir)
}

func (d *dirCalls) uncache(f afero.File) { uncache(osFile(f)) }

func (d *dirCalls) volume(f afero.File) Volume { return volumeOn(osFile(f)) }

func (d *dirCalls) syncAll(name string) error {
	dir, err := d.kernel.open(name)
	if err != nil {
		return err
	}
	defer dir.Close()
	return syncfs(dir)
}

func (d *dirCalls) close() error {
	return errors.Join(d.kernel.close(), d.root.Close())
}
