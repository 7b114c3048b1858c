package etagfs

import (
	"errors"
	"fmt"
	"io"
	iofs "io/fs"
	"os"
	"path/filepath"
	"syscall"

	"ifmatch/fs"
)

// What is in the directory of an index is ours to delete and to make anew, whatever has become of it.

// errNoFile says that something else has the name of a file of the index: a directory, a link, a pipe.
var errNoFile = errors.New("it is not a regular file")

// isDamage reports whether an error is about what has a name in the index, so that it may help to delete that. There are
// others that pass, such as too many open files.
func isDamage(err error) bool {
	return errors.Is(err, errNoFile) || errors.Is(err, iofs.ErrPermission) || errors.Is(err, syscall.EIO)
}

// isFile returns errNoFile for what must not be opened: a pipe would make that wait, and a link leads elsewhere. What others
// than those whom the directory belongs to can write is not believed.
func isFile(dir *os.Root, name string) error {
	info, err := dir.Lstat(name)
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s: %w", name, errNoFile)
	}
	return fs.CheckOurs(filepath.Join(dir.Name(), name), info, ownerOf(dir))
}

func ownerOf(dir *os.Root) fs.ID {
	info, err := dir.Stat(".")
	if err != nil {
		return fs.ID{}
	}
	owner, _ := fs.OwnerOf(info)
	return owner
}

// give has what root makes in a directory belong to the owner of that, whose own server is to go on with it. Where that
// cannot be, it stays root's.
func give(above iofs.FileInfo, made *os.File) {
	if owner, group := fs.OwnerOf(above); os.Geteuid() == 0 && owner.Known && owner.N != 0 {
		_ = made.Chown(int(owner.N), int(group.N))
	}
}

// create makes a file of the index.
func create(dir *os.Root, name string) (*os.File, error) {
	f, err := dir.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	if above, err := dir.Stat("."); err == nil {
		give(above, f)
	}
	return f, nil
}

// giveRoot is give of a directory that is open.
func giveRoot(above, made *os.Root) {
	f, err := made.Open(".")
	if err != nil {
		return
	}
	defer f.Close()
	if info, err := above.Stat("."); err == nil {
		give(info, f)
	}
}

// mkdirAll makes the directory of an index, and those above it, unless it is there.
func mkdirAll(name string) error {
	_, missing := os.Lstat(name)
	err := os.MkdirAll(name, 0o700)
	if err != nil || missing == nil {
		return err
	}
	made, err := os.Open(name)
	if err != nil {
		return err
	}
	defer made.Close()
	if above, err := os.Stat(filepath.Dir(name)); err == nil {
		give(above, made)
	}
	return nil
}

// openRepaired opens a file of the index to be read and written. It is made where it is not there, and where what is there
// cannot be that file.
func openRepaired(dir *os.Root, name string) (f *os.File, repaired bool, err error) {
	open := func() error {
		err := isFile(dir, name)
		if errors.Is(err, iofs.ErrNotExist) {
			if f, err = create(dir, name); errors.Is(err, iofs.ErrExist) {
				err = isFile(dir, name) // somebody was faster
			} else {
				return err
			}
		}
		if err == nil {
			f, err = dir.OpenFile(name, os.O_RDWR|os.O_CREATE|noWait, 0o600)
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
	f, err := dir.OpenFile(name, os.O_RDONLY|noWait, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxSmall))
}
