package etagfs

import (
	"errors"
	"fmt"
	"io"
	iofs "io/fs"
	"os"
	"syscall"
)

// What is in the directory of an index is ours to delete and to make anew, whatever has become of it.

// errNoFile says that something else has the name of a file of the index: a directory, a link, a pipe.
var errNoFile = errors.New("it is not a regular file")

// isDamage reports whether an error is about what has a name in the index, so that it may help to delete that. There are
// others that pass, such as too many open files.
func isDamage(err error) bool {
	return errors.Is(err, errNoFile) || errors.Is(err, iofs.ErrPermission) || errors.Is(err, syscall.EIO)
}

// isFile returns errNoFile for what must not be opened: a pipe would make that wait, and a link leads elsewhere.
func isFile(dir *os.Root, name string) error {
	info, err := dir.Lstat(name)
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s: %w", name, errNoFile)
	}
	return err
}

// openRepaired opens a file of the index to be read and written. It is made where it is not there, and where what is there
// cannot be that file.
func openRepaired(dir *os.Root, name string) (f *os.File, repaired bool, err error) {
	open := func() error {
		err := isFile(dir, name)
		if err == nil || errors.Is(err, iofs.ErrNotExist) {
			f, err = dir.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
		}
		return err
	}
	if err = open(); !isDamage(err) {
		return f, false, err
	}
	if failed := dir.RemoveAll(name); failed != nil {
		return nil, false, err // it says more
	}
	return f, true, open()
}

// maxSmall bounds files that are read as a whole.
const maxSmall = 64 << 10

func readSmall(dir *os.Root, name string) ([]byte, error) {
	if err := isFile(dir, name); err != nil {
		return nil, err
	}
	f, err := dir.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxSmall))
}
