package vfs

import (
	"errors"
	"io"
	iofs "io/fs"
	"os"
	"path"
	"strings"
	"syscall"
	"time"

	"github.com/google/uuid"
	"github.com/pkg/xattr"
)

// rootSystem is the portable implementation, over os.Root. os.Root follows links that stay inside the root. So if a
// local program replaces a directory with a link between two calls, a call can lead to another place inside the root.
type rootSystem struct{ osFiles }

func newRootSystem(root *os.Root) System { return rootSystem{osFiles{root: root}} }

func (r rootSystem) Close() error { return r.root.Close() }

func (r rootSystem) OpenDir(at At, name string) (At, error) {
	info, err := r.Lstat(at, name)
	if err == nil && info.Kind != Directory {
		err = syscall.ENOTDIR
		if info.Kind == Link {
			err = ErrLink
		}
		err = &iofs.PathError{Op: "open", Path: at.Join(name), Err: err}
	}
	return At{path: at.Join(name)}, err
}

// Lstat looks at each segment on the way, in the directory of the segment, to find links. Looks from the root would
// take longer, the deeper the segment is.
func (r rootSystem) Lstat(at At, base string) (info Info, err error) {
	name := at.Join(base)
	dir := r.root
	for rest, more := name, true; more; {
		var segment string
		segment, rest, more = strings.Cut(rest, "/")
		fi, err := dir.Lstat(segment)
		var next *os.Root
		switch {
		case err != nil:
		case !more:
			info = InfoOf(fi)
		case fi.Mode().Type() == iofs.ModeSymlink:
			err = ErrLink
		case !fi.IsDir():
			err = syscall.ENOTDIR
		default:
			next, err = dir.OpenRoot(segment)
		}
		if dir != r.root {
			dir.Close()
		}
		if dir = next; err != nil {
			if segment, ok := errors.AsType[*iofs.PathError](err); ok {
				err = segment.Err // the error is one about the whole name
			}
			return Info{}, &iofs.PathError{Op: "lstat", Path: name, Err: err}
		}
	}
	return info, nil
}

func (r rootSystem) Find(at At, name string) (Info, error) { return r.Lstat(at, name) }

// Fstat returns no more facts than Lstat does: the two must agree.
func (rootSystem) Fstat(f *File) (Info, error) {
	fi, err := osFile(f).Stat()
	if err != nil {
		return Info{}, err
	}
	info := InfoOf(fi)
	info.Name = path.Base(f.name)
	return info, nil
}

func (r rootSystem) GetAttrAt(at At, name, attr string) ([]byte, error) {
	return attrOf(attrByOpening(r, at, name, attr))
}

func attrByOpening(sys System, at At, name, attr string) ([]byte, error) {
	f, err := sys.Open(at, name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return xattr.FGet(osFile(f), attr)
}

func (r rootSystem) Readlink(at At, name string) (string, error) {
	return r.root.Readlink(at.Join(name))
}

func (r rootSystem) open(name string, flags int) (*File, error) {
	f, err := r.root.OpenFile(name, flags, 0o666)
	if err != nil {
		return nil, err
	}
	return &File{name: name, handle: f}, nil
}

func (r rootSystem) Open(at At, name string) (*File, error) {
	return r.open(at.Join(name), os.O_RDONLY|NoWait)
}

func (r rootSystem) Create(at At, name string) (*File, error) {
	return r.open(at.Join(name), os.O_RDWR|os.O_CREATE|os.O_EXCL)
}

func (r rootSystem) Append(at At, name string) (*File, error) {
	return r.open(at.Join(name), os.O_WRONLY|os.O_CREATE|os.O_APPEND|NoWait)
}

func (r rootSystem) AppendTo(at At, name string) (*File, error) {
	return r.open(at.Join(name), os.O_WRONLY|os.O_APPEND|NoWait)
}

func (r rootSystem) Mkdir(at At, name string, mode iofs.FileMode) error {
	return r.root.Mkdir(at.Join(name), mode)
}

func (r rootSystem) Symlink(target string, at At, name string) error {
	return r.root.Symlink(target, at.Join(name))
}

func (r rootSystem) Link(from At, name string, to At, other string) error {
	return r.root.Link(from.Join(name), to.Join(other))
}

func (r rootSystem) Rename(from At, name string, to At, other string) error {
	return r.root.Rename(from.Join(name), to.Join(other))
}

func (r rootSystem) Remove(at At, name string) error { return r.root.Remove(at.Join(name)) }

func (r rootSystem) Chtimes(at At, name string, modified time.Time) error {
	return r.root.Chtimes(at.Join(name), time.Time{}, modified)
}

func (r rootSystem) Space(dir string) (space Space, err error) {
	err = onDir(r, dir, func(f *os.File) (err error) { space, err = spaceOf(f); return err })
	return space, err
}

func (r rootSystem) SyncAll(dir string) error { return onDir(r, dir, syncfs) }

// RemoveAll also removes members of directories that may not be written to. It follows no link.
func (o osFiles) RemoveAll(name string) error {
	r := &remover{o.root, name}
	return Ignoring(r.remove(o.root, name, name, 0), iofs.ErrNotExist)
}

// A remover removes a directory with all that is in it. [os.Root.RemoveAll] keeps all directories on its way open, so a
// user who makes deep directories could use up all descriptors. A remover moves deep directories to the top first.
type remover struct {
	root *os.Root
	top  string // the name that is removed
}

const (
	// openLevels bounds how many directories are open at once.
	openLevels = 32
	// namesAtOnce is how many names of a directory are read at once.
	namesAtOnce = 1024
)

// remove removes a name in a directory that is open. The name is level levels below the top. full is its name from the
// root.
func (r *remover) remove(in *os.Root, name, full string, level int) error {
	err := in.Remove(name)
	if err == nil || errors.Is(err, iofs.ErrNotExist) {
		return err
	}
	info, failed := in.Lstat(name)
	if errors.Is(failed, iofs.ErrNotExist) {
		return failed // another process has removed the file since
	}
	if failed != nil || !info.IsDir() {
		return err
	}
	if level >= openLevels {
		return r.root.Rename(full, path.Join(r.top, "."+uuid.NewString()))
	}
	if err := r.empty(in, name, full, level); err != nil {
		return err
	}
	return in.Remove(name)
}

// empty removes the members of a directory, as far as possible.
func (r *remover) empty(in *os.Root, name, full string, level int) error {
	var sub *os.Root
	err := r.letIn(in, name, func() (err error) { sub, err = in.OpenRoot(name); return err })
	if err != nil {
		return err
	}
	defer sub.Close()
	for stay := 0; ; {
		var names []string
		err := r.letIn(in, name, func() (err error) { names, err = namesIn(sub, namesAtOnce+stay); return err })
		if err != nil || len(names) == 0 {
			return err
		}
		stay = 0
		for _, one := range names {
			failed := r.letIn(in, name, func() error { return r.remove(sub, one, path.Join(full, one), level+1) })
			if failed != nil && !errors.Is(failed, iofs.ErrNotExist) {
				err, stay = failed, stay+1
			}
		}
		if stay == len(names) {
			return err
		}
	}
}

// letIn calls do for a directory. If the mode of the directory forbids it, letIn changes the mode and calls do again.
func (r *remover) letIn(in *os.Root, name string, do func() error) error {
	err := do()
	if !errors.Is(err, iofs.ErrPermission) || in.Chmod(name, 0o700) != nil {
		return err
	}
	return do()
}

// namesIn returns at most n names in a directory, from its beginning.
func namesIn(dir *os.Root, n int) ([]string, error) {
	f, err := dir.Open(".")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	names, err := f.Readdirnames(n)
	return names, Ignoring(err, io.EOF)
}
