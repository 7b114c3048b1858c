package fs

import (
	iofs "io/fs"
	"os"
	"time"

	"github.com/pkg/xattr"
)

// rootKernel is the portable way: os.Root, out of which nothing leads. It follows links that stay inside, so a local
// program that makes a link of a directory between two calls can lead one astray within the tree.
type rootKernel struct{ root *os.Root }

// lstat looks at each segment on the way, for links.
func (k rootKernel) lstat(name string) (Info, error) {
	for i := range len(name) {
		if name[i] != '/' {
			continue
		}
		fi, err := k.root.Lstat(name[:i])
		if err != nil {
			return Info{}, err
		}
		if fi.Mode().Type() == iofs.ModeSymlink {
			return Info{}, &iofs.PathError{Op: "lstat", Path: name, Err: ErrLink}
		}
	}
	fi, err := k.root.Lstat(name)
	if err != nil {
		return Info{}, err
	}
	return infoOf(fi), nil
}

// fstat knows no more than lstat does: the two must agree.
func (rootKernel) fstat(f *os.File) (Info, error) {
	fi, err := f.Stat()
	if err != nil {
		return Info{}, err
	}
	return infoOf(fi), nil
}

func (k rootKernel) lstatIn(_ *os.File, name string) (Info, error) { return k.lstat(name) }

func (k rootKernel) getAttrIn(_ *os.File, name, attr string) ([]byte, error) {
	return attrByOpening(k, name, attr)
}

func attrByOpening(k kernel, name, attr string) ([]byte, error) {
	f, err := k.open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return xattr.FGet(f, attr)
}

func (k rootKernel) readlink(name string) (string, error) { return k.root.Readlink(name) }

func (k rootKernel) open(name string) (*os.File, error) {
	return k.root.OpenFile(name, os.O_RDONLY|openNoWait, 0)
}

func (k rootKernel) create(name string) (*os.File, error) {
	return k.root.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o666)
}

func (k rootKernel) appendTo(name string) (*os.File, error) {
	return k.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o666)
}

func (k rootKernel) link(name, other string) error { return k.root.Link(name, other) }

func (k rootKernel) mkdir(name string, mode iofs.FileMode) error { return k.root.Mkdir(name, mode) }
func (k rootKernel) symlink(target, name string) error           { return k.root.Symlink(target, name) }
func (k rootKernel) rename(from, to string) error                { return k.root.Rename(from, to) }
func (k rootKernel) remove(name string) error                    { return k.root.Remove(name) }

func (k rootKernel) chtimes(name string, modified time.Time) error {
	return k.root.Chtimes(name, time.Time{}, modified)
}

func (rootKernel) close() error { return nil }
