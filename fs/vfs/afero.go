package vfs

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
)

// aferoSystem is the implementation over any afero.Fs that has no other user. It looks, checks and renames. It keeps
// attributes and the identities of files itself, because an afero.Fs has none. It has no links, and no file is durable.
//
// If the afero.Fs takes several names for the same, each name is first replaced by the one that the file has, see real.
//
// MemMapFs is lenient: it makes missing parents, and opens names below a file. So each call that makes a name looks at
// its directory first.
type aferoSystem struct {
	fs    afero.Fs
	aside string // a name that an exchange needs for an instant
	same  atomic.Pointer[func(a, b string) bool]

	mu    sync.Mutex
	ids   map[string]uint64 // by name, in place of inodes
	attrs map[uint64]map[string][]byte
	last  uint64
}

func newAferoSystem(fs afero.Fs, aside string) *aferoSystem {
	return &aferoSystem{fs: fs, aside: aside, ids: map[string]uint64{}, attrs: map[uint64]map[string][]byte{}}
}

// real returns the name that a file has, even if the given name is another spelling of it. If there is no file, it
// returns the given name.
func (a *aferoSystem) real(name string) string {
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

func (a *aferoSystem) id(name string) uint64 {
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
func (a *aferoSystem) forget(name string, tree bool, moved func(rest string, id uint64)) {
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

func (a *aferoSystem) info(name string, id uint64, fi iofs.FileInfo) Info {
	info := Info{Name: path.Base(name), Kind: kindOf(fi.Mode()), Mode: fi.Mode().Perm()}
	info.Device, info.Inode = 1, id
	info.Modified, info.Second = fi.ModTime().UnixNano(), fi.ModTime().Unix()
	if info.Kind == Regular {
		info.Size = fi.Size()
		info.Allocated = info.Size
	}
	return info
}

func (a *aferoSystem) OpenDir(at At, name string) (At, error) {
	info, err := a.Lstat(at, name)
	if err == nil && info.Kind != Directory {
		err = &iofs.PathError{Op: "open", Path: at.join(name), Err: syscall.ENOTDIR}
	}
	return At{path: at.join(name)}, err
}

func (a *aferoSystem) Lstat(at At, name string) (Info, error) {
	name = a.real(at.join(name))
	fi, err := a.fs.Stat(name)
	if err != nil {
		return Info{}, err
	}
	return a.info(name, a.id(name), fi), nil
}

func (a *aferoSystem) Find(at At, name string) (Info, error) { return a.Lstat(at, name) }

func (a *aferoSystem) Readlink(at At, name string) (string, error) {
	return "", &iofs.PathError{Op: "readlink", Path: at.join(name), Err: errors.ErrUnsupported}
}

func (a *aferoSystem) Space(string) (Space, error) { return Space{}, errors.ErrUnsupported }

func (a *aferoSystem) Uncache(*File) {}

func (a *aferoSystem) Volume(*File) Volume { return Volume{} }

func (a *aferoSystem) SyncAll(string) error { return nil }

func (a *aferoSystem) Symlink(_ string, at At, name string) error {
	return &iofs.PathError{Op: "symlink", Path: at.join(name), Err: errors.ErrUnsupported}
}

func (a *aferoSystem) Open(at At, name string) (*File, error) {
	name = a.real(at.join(name))
	f, err := a.fs.Open(name)
	if err != nil {
		return nil, err
	}
	return a.opened(name, f), nil
}

func (a *aferoSystem) Create(at At, name string) (*File, error) {
	name = a.real(at.join(name))
	if err := a.free(name); err != nil {
		return nil, err
	}
	f, err := a.fs.Create(name)
	if err != nil {
		return nil, err
	}
	return a.opened(name, f), nil
}

func (a *aferoSystem) Append(at At, name string) (*File, error) {
	if f, err := a.Create(at, name); !errors.Is(err, iofs.ErrExist) {
		return f, err
	}
	return a.AppendTo(at, name)
}

func (a *aferoSystem) AppendTo(at At, name string) (*File, error) {
	name = a.real(at.join(name))
	f, err := a.fs.OpenFile(name, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return nil, err
	}
	return a.opened(name, f), nil
}

func (a *aferoSystem) Link(from At, name string, _ At, _ string) error {
	return &iofs.PathError{Op: "link", Path: from.join(name), Err: errors.ErrUnsupported}
}

func (a *aferoSystem) Mkdir(at At, name string, mode iofs.FileMode) error {
	name = a.real(at.join(name))
	if err := a.free(name); err != nil {
		return err
	}
	return a.fs.Mkdir(name, mode)
}

// free returns nil if a name can be made: its directory exists, and the name does not.
func (a *aferoSystem) free(name string) error {
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

func (a *aferoSystem) Rename(from At, name string, to At, other string) error {
	return a.rename(from.join(name), to.join(other))
}

func (a *aferoSystem) rename(from, to string) error {
	from = a.real(from)
	fi, err := a.fs.Stat(from)
	if err != nil {
		return err
	}
	if is := a.real(to); is == from {
		to = path.Join(path.Dir(is), path.Base(to)) // only the spelling changes
	} else if to = is; a.exists(to) {
		if err := a.fs.Remove(to); err != nil {
			return err
		}
		a.forget(to, false, nil)
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

func (a *aferoSystem) exists(name string) bool {
	_, err := a.fs.Stat(name)
	return err == nil
}

func (a *aferoSystem) RenameNew(from At, name string, to At, other string) error {
	if err := a.free(to.join(other)); err != nil {
		return err
	}
	return a.Rename(from, name, to, other)
}

// Exchange needs three renames. No other caller looks between them: callers that change names hold a lock, and readers
// wait for that lock.
func (a *aferoSystem) Exchange(from At, name string, to At, other string) error {
	x, y := from.join(name), to.join(other)
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

func (a *aferoSystem) Remove(at At, name string) error {
	name = a.real(at.join(name))
	if err := a.fs.Remove(name); err != nil {
		return err
	}
	a.forget(name, false, nil)
	return nil
}

func (a *aferoSystem) HostPath(name string) string { return name }

func (a *aferoSystem) Mounts(string) ([]string, error) { return nil, nil }

func (a *aferoSystem) RemoveAll(name string) error {
	name = a.real(name)
	if err := a.fs.RemoveAll(name); err != nil {
		return err
	}
	a.forget(name, true, nil)
	return nil
}

// Renew does nothing: no names are remembered.
func (*aferoSystem) Renew(At, string, string) {}

func (a *aferoSystem) Chtimes(at At, name string, modified time.Time) error {
	return a.fs.Chtimes(a.real(at.join(name)), modified, modified)
}
