package vfs

import (
	"errors"
	"io"
	iofs "io/fs"
	"os"
	"path"

	"github.com/google/uuid"
)

// RemoveAll also removes what is in directories that may not be written to: they are ours, and nobody looks any more.
func (d *dirCalls) RemoveAll(name string) error {
	r := &remover{d.root, name}
	err := r.remove(d.root, name, name, 0)
	if errors.Is(err, iofs.ErrNotExist) {
		err = nil
	}
	return err
}

// A remover removes a directory with all that is in it. [os.Root.RemoveAll] has all directories open that it has come
// through, and who can make deep ones would take all descriptors with that; here what is deep is moved up first.
type remover struct {
	root *os.Root
	top  string // what is removed
}

const (
	// openLevels is how many directories are open at once.
	openLevels = 32
	// namesAtOnce is how many names are read of one at once.
	namesAtOnce = 1024
)

// remove removes a name in a directory that is open, and is so many levels below the top; full is its name from the root.
func (r *remover) remove(in *os.Root, name, full string, level int) error {
	err := in.Remove(name)
	if err == nil || errors.Is(err, iofs.ErrNotExist) {
		return err
	}
	if info, failed := in.Lstat(name); failed != nil || !info.IsDir() {
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

// empty removes what is in a directory, as far as it can.
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

// letIn does something in a directory, whose mode it changes if that keeps it out.
func (r *remover) letIn(in *os.Root, name string, do func() error) error {
	err := do()
	if !errors.Is(err, iofs.ErrPermission) || in.Chmod(name, 0o700) != nil {
		return err
	}
	return do()
}

// namesIn returns so many of the names in a directory, from its beginning.
func namesIn(dir *os.Root, n int) ([]string, error) {
	f, err := dir.Open(".")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	names, err := f.Readdirnames(n)
	if err == io.EOF {
		err = nil
	}
	return names, err
}
