package index

import (
	"errors"
	"fmt"
	iofs "io/fs"
	"os"
	"path/filepath"
	"syscall"

	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
	"r-seed-1f3a754f.example/ifmatch/fs/volumes"
)

// The files in the directory of an index are a cache. A file that is damaged in any way is deleted and made anew.

// errNoFile says that a directory, a link or a pipe has the name of a file of the index.
var errNoFile = errors.New("it is not a regular file")

// isDamage reports whether an error is about one file of the index, so that it may help to delete the file. Other
// errors pass by themselves, such as too many open files.
func isDamage(err error) bool {
	return errors.Is(err, errNoFile) || errors.Is(err, errUnsealed) || errors.Is(err, iofs.ErrPermission) ||
		errors.Is(err, syscall.EIO)
}

// checkFile returns errNoFile if the name must not be opened: the opening of a pipe would wait, and a link leads
// elsewhere. It fails if users other than the owner of the directory can write to the file.
func checkFile(dir *os.Root, name string) error {
	info, err := dir.Lstat(name)
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s: %w", name, errNoFile)
	}
	return volumes.CheckOurs(filepath.Join(dir.Name(), name), info, ownerOf(dir))
}

func ownerOf(dir *os.Root) vfs.ID {
	info, err := dir.Stat(".")
	if err != nil {
		return vfs.ID{}
	}
	owner, _ := volumes.OwnerOf(info)
	return owner
}

// give makes the owner of a directory the owner of a file or directory that root has made in it, so that a server of
// that owner can go on with it. If that fails, it stays root's. made changes the owner of an open file: its name may lead
// to another file by now.
func give(above iofs.FileInfo, err error, made func(user, group int) error) {
	if err != nil || os.Geteuid() != 0 {
		return
	}
	if owner, group := volumes.OwnerOf(above); owner.Known && owner.N != 0 {
		_ = made(int(owner.N), int(group.N))
	}
}

// create makes a file of the index.
func create(dir *os.Root, name string) (*os.File, error) {
	f, err := dir.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	above, err := dir.Stat(".")
	give(above, err, f.Chown)
	return f, nil
}

// mkdirAll makes the directory of an index, and the directories above it, unless it is there.
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
	above, err := os.Stat(filepath.Dir(name))
	give(above, err, made.Chown)
	return made.Close()
}

// openRepaired opens a file of the index for reading and writing. It makes the file if there is none, or if the file
// that is there cannot be opened or trusted.
func openRepaired(dir *os.Root, name string) (f *os.File, err error) {
	open := func() error {
		err := checkFile(dir, name)
		if errors.Is(err, iofs.ErrNotExist) {
			if f, err = create(dir, name); errors.Is(err, iofs.ErrExist) {
				err = checkFile(dir, name) // another process was faster
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
		return f, err
	}
	if failed := dir.RemoveAll(name); failed != nil {
		return nil, err // the first error says more
	}
	return f, open()
}

// namesIn returns the names in a directory.
func namesIn(dir *os.Root) ([]string, error) {
	f, err := dir.Open(".")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return f.Readdirnames(-1)
}
