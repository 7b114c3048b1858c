package vfs

import (
	"errors"
	iofs "io/fs"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/pkg/xattr"
)

// rootKernel is the portable way: os.Root, out of which nothing leads. It follows links that stay inside, so a local
// program that makes a link of a directory between two calls can lead one astray within the tree.
type rootKernel struct{ root *os.Root }

// lstat looks at each segment on the way, for links, in the directory that it is in: from the root each would take as long as it
// is far from there.
func (k rootKernel) lstat(name string) (info Info, err error) {
	dir := k.root
	for rest, more := name, true; more; {
		var segment string
		segment, rest, more = strings.Cut(rest, "/")
		fi, err := dir.Lstat(segment)
		var next *os.Root
		switch {
		case err != nil:
		case !more:
			info = infoOf(fi)
		case fi.Mode().Type() == iofs.ModeSymlink:
			err = ErrLink
		case !fi.IsDir():
			err = syscall.ENOTDIR
		default:
			next, err = dir.OpenRoot(segment)
		}
		if dir != k.root {
			dir.Close()
		}
		if dir = next; err != nil {
			return Info{}, lstatError(name, err)
		}
	}
	return info, nil
}

// lstatError makes an error one of all of a name, and not of a segment.
func lstatError(name string, err error) error {
	if failed := new(iofs.PathError); errors.As(err, &failed) {
		err = failed.Err
	}
	return &iofs.PathError{Op: "lstat", Path: name, Err: err}
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
	return k.root.OpenFile(name, os.O_RDONLY|NoWait, 0)
}

func (k rootKernel) create(name string) (*os.File, error) {
	return k.root.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o666)
}

func (k rootKernel) appendTo(name string) (*os.File, error) {
	return k.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_APPEND|NoWait, 0o666)
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
