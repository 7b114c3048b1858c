// Package aferosystem has the system calls of package vfs over any afero.Fs, such as MemMapFs.
package aferosystem

import (
	"errors"
	iofs "io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/spf13/afero"

	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
)

// A System is a [vfs.InMemory] over an afero.Fs that has no other user. It looks, checks and renames. It keeps
// attributes and the identities of files itself, because an afero.Fs has none. It has no links, and no file is durable.
//
// If the afero.Fs takes several names for the same, each name is first replaced by the one that the file has, see real.
//
// MemMapFs is lenient: it makes missing parents, and opens names below a file. So each call that makes a name looks at
// its directory first.
type System struct {
	vfs.Lacking
	fs    afero.Fs
	aside string // a name that an exchange needs for an instant
	same  atomic.Pointer[func(a, b string) bool]

	mu    sync.Mutex
	ids   map[string]uint64 // by name, in place of inodes
	attrs map[uint64]map[string][]byte
	last  uint64
}

// New returns the calls of an afero.Fs that has no other user. An exchange of two names renames the first name to aside
// for an instant.
func New(fs afero.Fs, aside string) *System {
	return &System{fs: fs, aside: aside, ids: map[string]uint64{}, attrs: map[uint64]map[string][]byte{}}
}

// FoldNames implements [vfs.InMemory].
func (a *System) FoldNames(same func(a, b string) bool) { a.same.Store(&same) }

// real returns the name that a file has, even if the given name is another spelling of it. If there is no file, it
// returns the given name.
func (a *System) real(name string) string {
	also := a.same.Load()
	if also == nil || name == "." {
		return name
	}
	dir := a.real(path.Dir(name))
	name = path.Join(dir, path.Base(name))
	if _, err := a.fs.Stat(name); err != nil {
		return name
	}
	f, err := a.fs.Open(dir)
	if err != nil {
		return name
	}
	defer f.Close()
	names, err := f.Readdirnames(-1)
	if err != nil || slices.Contains(names, path.Base(name)) {
		return name
	}
	for _, alike := range []func(a, b string) bool{strings.EqualFold, *also} {
		if i := slices.IndexFunc(names, func(member string) bool { return alike(member, path.Base(name)) }); i >= 0 {
			return path.Join(dir, names[i])
		}
	}
	return name
}

func (a *System) id(name string) uint64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	id, ok := a.ids[name]
	if !ok {
		a.last++
		id = a.last
		a.ids[name] = id
	}
	return id
}

// forget drops the names at and below a name. If moved is not nil, it is called with each of them.
func (a *System) forget(name string, tree bool, moved func(rest string, id uint64)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	found := map[string]uint64{}
	if id, ok := a.ids[name]; ok {
		found[""] = id
		delete(a.ids, name)
	}
	if tree {
		for other, id := range a.ids {
			if rest, ok := strings.CutPrefix(other, name+"/"); ok {
				found["/"+rest] = id
				delete(a.ids, other)
			}
		}
	}
	for rest, id := range found {
		if moved != nil {
			moved(rest, id)
		} else {
			delete(a.attrs, id)
		}
	}
}

func (a *System) info(name string, id uint64, fi iofs.FileInfo) vfs.Info {
	info := vfs.Info{Name: path.Base(name), Kind: vfs.KindOf(fi.Mode()), Mode: fi.Mode().Perm()}
	info.Device, info.Inode = 1, id
	info.Modified, info.Second = fi.ModTime().UnixNano(), fi.ModTime().Unix()
	if info.Kind == vfs.Regular {
		info.Size = fi.Size()
		info.Allocated = info.Size
	}
	return info
}

func (a *System) OpenDir(at vfs.At, name string) (vfs.At, error) {
	info, err := a.Lstat(at, name)
	if err == nil && info.Kind != vfs.Directory {
		err = &iofs.PathError{Op: "open", Path: at.Join(name), Err: syscall.ENOTDIR}
	}
	return vfs.AtPath(at.Join(name)), err
}

func (a *System) Lstat(at vfs.At, name string) (vfs.Info, error) {
	name = a.real(at.Join(name))
	fi, err := a.fs.Stat(name)
	if err != nil {
		return vfs.Info{}, err
	}
	return a.info(name, a.id(name), fi), nil
}

func (a *System) Find(at vfs.At, name string) (vfs.Info, error) { return a.Lstat(at, name) }

func (a *System) Readlink(at vfs.At, name string) (string, error) {
	return "", unsupported("readlink", at.Join(name))
}

func (a *System) Space(string) (vfs.Space, error) { return vfs.Space{}, errors.ErrUnsupported }

func (a *System) Volume(*vfs.File) vfs.Volume { return vfs.Volume{} }

func (a *System) SyncAll(string) error { return nil }

func (a *System) Symlink(_ string, at vfs.At, name string) error {
	return unsupported("symlink", at.Join(name))
}

func (a *System) Open(at vfs.At, name string) (*vfs.File, error) {
	name = a.real(at.Join(name))
	f, err := a.fs.Open(name)
	return a.opened(name, f, err)
}

func (a *System) Create(at vfs.At, name string) (*vfs.File, error) {
	name = a.real(at.Join(name))
	if err := a.free(name); err != nil {
		return nil, err
	}
	f, err := a.fs.Create(name)
	return a.opened(name, f, err)
}

func (a *System) Append(at vfs.At, name string) (*vfs.File, error) {
	if f, err := a.Create(at, name); !errors.Is(err, iofs.ErrExist) {
		return f, err
	}
	return a.AppendTo(at, name)
}

func (a *System) AppendTo(at vfs.At, name string) (*vfs.File, error) {
	name = a.real(at.Join(name))
	f, err := a.fs.OpenFile(name, os.O_WRONLY|os.O_APPEND, 0)
	return a.opened(name, f, err)
}

func (a *System) Link(from vfs.At, name string, _ vfs.At, _ string) error {
	return unsupported("link", from.Join(name))
}

func (a *System) Mkdir(at vfs.At, name string, mode iofs.FileMode) error {
	name = a.real(at.Join(name))
	if err := a.free(name); err != nil {
		return err
	}
	return a.fs.Mkdir(name, mode)
}

// free returns nil if a name can be made: its directory exists, and the name does not.
func (a *System) free(name string) error {
	dir, err := a.fs.Stat(path.Dir(name))
	if err != nil {
		return err
	}
	if !dir.IsDir() {
		return &iofs.PathError{Op: "create", Path: name, Err: iofs.ErrNotExist}
	}
	if _, err := a.fs.Stat(name); err == nil {
		return &iofs.PathError{Op: "create", Path: name, Err: iofs.ErrExist}
	}
	return nil
}

func (a *System) Rename(from vfs.At, name string, to vfs.At, other string) error {
	return a.rename(from.Join(name), to.Join(other))
}

func (a *System) rename(from, to string) error {
	from = a.real(from)
	fi, err := a.fs.Stat(from)
	if err != nil {
		return err
	}
	if is := a.real(to); is == from {
		to = path.Join(path.Dir(is), path.Base(to)) // only the spelling changes
	} else if to = is; a.exists(to) {
		if err := a.Remove(vfs.At{}, to); err != nil {
			return err
		}
	}
	if err := a.fs.Rename(from, to); err != nil {
		return err
	}
	moved := map[string]uint64{}
	a.forget(from, fi.IsDir(), func(rest string, id uint64) { moved[to+rest] = id })
	a.mu.Lock()
	defer a.mu.Unlock()
	for name, id := range moved {
		a.ids[name] = id
	}
	return nil
}

func (a *System) exists(name string) bool {
	_, err := a.fs.Stat(name)
	return err == nil
}

func (a *System) RenameNew(from vfs.At, name string, to vfs.At, other string) error {
	if err := a.free(to.Join(other)); err != nil {
		return err
	}
	return a.Rename(from, name, to, other)
}

// Exchange needs three renames. No other caller looks between them: callers that change names hold a lock, and readers
// wait for that lock.
func (a *System) Exchange(from vfs.At, name string, to vfs.At, other string) error {
	x, y := from.Join(name), to.Join(other)
	for _, name := range []string{x, y} {
		if _, err := a.fs.Stat(name); err != nil {
			return err
		}
	}
	for _, r := range [][2]string{{x, a.aside}, {y, x}, {a.aside, y}} {
		if err := a.rename(r[0], r[1]); err != nil {
			return err
		}
	}
	return nil
}

func (a *System) Remove(at vfs.At, name string) error {
	name = a.real(at.Join(name))
	if err := a.fs.Remove(name); err != nil {
		return err
	}
	a.forget(name, false, nil)
	return nil
}

func (a *System) HostPath(name string) string { return name }

func (a *System) Mounts(string) ([]string, error) { return nil, nil }

func (a *System) RemoveAll(name string) error {
	name = a.real(name)
	if err := a.fs.RemoveAll(name); err != nil {
		return err
	}
	a.forget(name, true, nil)
	return nil
}

// Renew does nothing: no names are remembered.
func (*System) Renew(vfs.At, string, string) {}

func (a *System) Chtimes(at vfs.At, name string, modified time.Time) error {
	return a.fs.Chtimes(a.real(at.Join(name)), modified, modified)
}
