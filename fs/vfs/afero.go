package vfs

import (
	"bytes"
	"errors"
	"io"
	iofs "io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spf13/afero"
	"github.com/spf13/afero/mem"
)

// aferoCalls is the table over any afero.Fs that nobody else changes: look, check, rename. It keeps beside it what an
// afero.Fs cannot tell: which file is which, and attributes. There are no links in it, and nothing is durable.
//
// Where that takes several names for one, each is replaced first by the one that the file has; see real.
//
// MemMapFs is lenient: it makes missing parents and opens the child of a file, so each call that makes a name looks at
// its directory first.
type aferoCalls struct {
	fs    afero.Fs
	aside string // a name for what is exchanged, for an instant
	alike atomic.Pointer[func(a, b string) bool]

	mu    sync.Mutex
	ids   map[string]uint64 // by name; stands in for the inode
	attrs map[uint64]map[string][]byte
	last  uint64
}

// OpenAfero returns the table over an afero.Fs. What is exchanged has the name aside for an instant.
func OpenAfero(fs afero.Fs, aside string) Calls {
	return &aferoCalls{fs: fs, aside: aside, ids: map[string]uint64{}, attrs: map[uint64]map[string][]byte{}}
}

// real returns the name that a file has, of which the given one may be another spelling; the given one where there is none.
func (a *aferoCalls) real(name string) string {
	also := a.alike.Load()
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

// aferoFile remembers which file was opened, and as what.
type aferoFile struct {
	afero.File
	name    string
	id      uint64
	members []string // of a directory that is being listed, those not returned yet
	listed  bool
}

func (f *aferoFile) Name() string { return f.name }

// Close leaves a file of MemMapFs open that was written to: closing would give it a new modification time, after its
// commit. There is nothing to let go of.
func (f *aferoFile) Close() error {
	if _, ok := f.File.(*mem.File); ok {
		return nil
	}
	return f.File.Close()
}

func (a *aferoCalls) id(name string) uint64 {
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

// forget drops the names at and below one, and hands them to moved where it is given.
func (a *aferoCalls) forget(name string, tree bool, moved func(rest string, id uint64)) {
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

func (a *aferoCalls) info(name string, id uint64, fi iofs.FileInfo) Info {
	info := Info{Name: path.Base(name), Kind: kindOf(fi.Mode()), Mode: fi.Mode().Perm()}
	info.Device, info.Inode = 1, id
	info.Modified, info.Second = fi.ModTime().UnixNano(), fi.ModTime().Unix()
	if info.Kind == Regular {
		info.Size = fi.Size()
		info.Allocated = info.Size
	}
	return info
}

func (a *aferoCalls) Lstat(name string) (Info, error) {
	name = a.real(name)
	fi, err := a.fs.Stat(name)
	if err != nil {
		return Info{}, err
	}
	return a.info(name, a.id(name), fi), nil
}

func (a *aferoCalls) Readlink(name string) (string, error) {
	return "", &iofs.PathError{Op: "readlink", Path: name, Err: errors.ErrUnsupported}
}

func (a *aferoCalls) Space(string) (Space, error) { return Space{}, errors.ErrUnsupported }

func (a *aferoCalls) Uncache(afero.File) {}

func (a *aferoCalls) Volume(afero.File) Volume { return Volume{} }

func (a *aferoCalls) SyncAll(string) error { return nil }

func (a *aferoCalls) Symlink(_, name string) error {
	return &iofs.PathError{Op: "symlink", Path: name, Err: errors.ErrUnsupported}
}

func (a *aferoCalls) Open(name string) (afero.File, error) {
	name = a.real(name)
	f, err := a.fs.Open(name)
	if err != nil {
		return nil, err
	}
	return &aferoFile{File: f, name: name, id: a.id(name)}, nil
}

func (a *aferoCalls) Create(name string) (afero.File, error) {
	name = a.real(name)
	if err := a.free(name); err != nil {
		return nil, err
	}
	f, err := a.fs.Create(name)
	if err != nil {
		return nil, err
	}
	return &aferoFile{File: f, name: name, id: a.id(name)}, nil
}

func (a *aferoCalls) AppendTo(name string) (afero.File, error) {
	if f, err := a.Create(name); !errors.Is(err, iofs.ErrExist) {
		return f, err
	}
	name = a.real(name)
	f, err := a.fs.OpenFile(name, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return nil, err
	}
	return &aferoFile{File: f, name: name, id: a.id(name)}, nil
}

func (a *aferoCalls) Link(name, _ string) error {
	return &iofs.PathError{Op: "link", Path: name, Err: errors.ErrUnsupported}
}

func (a *aferoCalls) Mkdir(name string, mode iofs.FileMode) error {
	name = a.real(name)
	if err := a.free(name); err != nil {
		return err
	}
	return a.fs.Mkdir(name, mode)
}

// free returns nil where a name can be made: its directory exists, and it does not.
func (a *aferoCalls) free(name string) error {
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

func (a *aferoCalls) Rename(from, to string) error {
	from = a.real(from)
	fi, err := a.fs.Stat(from)
	if err != nil {
		return err
	}
	if is := a.real(to); is == from {
		to = path.Join(path.Dir(is), path.Base(to)) // it is only spelled anew
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

func (a *aferoCalls) exists(name string) bool {
	_, err := a.fs.Stat(name)
	return err == nil
}

func (a *aferoCalls) RenameNew(from, to string) error {
	if err := a.free(to); err != nil {
		return err
	}
	return a.Rename(from, to)
}

// exchange takes three renames, between which nobody looks: who may change names has [FS.Lock], and who reads waits for
// that elsewhere.
func (a *aferoCalls) Exchange(x, y string) error {
	for _, name := range []string{x, y} {
		if _, err := a.fs.Stat(name); err != nil {
			return err
		}
	}
	for _, r := range [][2]string{{x, a.aside}, {y, x}, {a.aside, y}} {
		if err := a.Rename(r[0], r[1]); err != nil {
			return err
		}
	}
	return nil
}

func (a *aferoCalls) Remove(name string) error {
	name = a.real(name)
	if err := a.fs.Remove(name); err != nil {
		return err
	}
	a.forget(name, false, nil)
	return nil
}

func (a *aferoCalls) Mounts(string) ([]string, error) { return nil, nil }

func (a *aferoCalls) RemoveAll(name string) error {
	name = a.real(name)
	if err := a.fs.RemoveAll(name); err != nil {
		return err
	}
	a.forget(name, true, nil)
	return nil
}

func (a *aferoCalls) Chtimes(name string, modified time.Time) error {
	return a.fs.Chtimes(a.real(name), modified, modified)
}

func (a *aferoCalls) Fstat(f afero.File) (Info, error) {
	fi, err := f.Stat()
	if err != nil {
		return Info{}, err
	}
	file := f.(*aferoFile)
	return a.info(file.name, file.id, fi), nil
}

// names reads a directory at once and hands it out in parts: MemMapFs counts what it has returned, which goes wrong, as
// far as a panic, when members are removed meanwhile.
func (a *aferoCalls) Names(f afero.File, n int) (names []string, err error) {
	file := f.(*aferoFile)
	if !file.listed {
		if file.members, err = f.Readdirnames(-1); err != nil {
			return nil, err
		}
		file.listed = true
	}
	if n <= 0 {
		names, file.members = file.members, nil
		return names, nil
	}
	if len(file.members) == 0 {
		return nil, io.EOF
	}
	n = min(n, len(file.members))
	names, file.members = file.members[:n], file.members[n:]
	return names, nil
}

func (a *aferoCalls) Kinds(afero.File) ([]Info, error) { return nil, errors.ErrUnsupported }

func (a *aferoCalls) LstatIn(dir afero.File, base string) (Info, error) {
	return a.Lstat(memberOf(dir, base))
}

func (a *aferoCalls) GetAttrIn(dir afero.File, base, name string) ([]byte, error) {
	id := a.id(memberOf(dir, base))
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.attrs[id][name], nil
}

func (a *aferoCalls) ReadAt(f afero.File, p []byte, offset int64) (int, error) {
	n, err := f.ReadAt(p, offset)
	if n > 0 && n < len(p) && err == nil {
		err = io.EOF
	}
	return n, err
}

func (a *aferoCalls) Send(f afero.File, w io.Writer, offset, n int64) (int64, error) {
	return io.Copy(w, io.NewSectionReader(f, offset, n))
}

func (a *aferoCalls) Write(f afero.File, p []byte) (int, error)    { return f.Write(p) }
func (a *aferoCalls) Chmod(f afero.File, mode iofs.FileMode) error { return a.fs.Chmod(f.Name(), mode) }

func (a *aferoCalls) Clone(_, to afero.File) error {
	return &iofs.PathError{Op: "clone", Path: to.Name(), Err: errors.ErrUnsupported}
}

func (a *aferoCalls) CopyRange(_, to afero.File, _ int64, _ int) (int, error) {
	return 0, &iofs.PathError{Op: "copyRange", Path: to.Name(), Err: errors.ErrUnsupported}
}

func (a *aferoCalls) Data(f afero.File, _ int64) (from, to int64, err error) {
	return 0, 0, &iofs.PathError{Op: "data", Path: f.Name(), Err: errors.ErrUnsupported}
}

func (a *aferoCalls) Extend(f afero.File, _ int64) error {
	return &iofs.PathError{Op: "extend", Path: f.Name(), Err: errors.ErrUnsupported}
}

// Nobody owns anything here.
func (a *aferoCalls) Chown(f afero.File, _, _ ID) error {
	return &iofs.PathError{Op: "chown", Path: f.Name(), Err: errors.ErrUnsupported}
}

func (a *aferoCalls) ListAttrs(f afero.File) ([]string, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Sorted(maps.Keys(a.attrs[f.(*aferoFile).id])), nil
}

func (a *aferoCalls) GetAttr(f afero.File, name string) ([]byte, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.attrs[f.(*aferoFile).id][name], nil
}

func (a *aferoCalls) SetAttr(f afero.File, name string, value []byte) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	id := f.(*aferoFile).id
	if value == nil {
		delete(a.attrs[id], name)
		return nil
	}
	if a.attrs[id] == nil {
		a.attrs[id] = map[string][]byte{}
	}
	a.attrs[id][name] = bytes.Clone(value)
	return nil
}

// Memory is as durable as it gets, and one process has it to itself.
func (a *aferoCalls) Sync(afero.File) error     { return nil }
func (a *aferoCalls) SyncDir(afero.File) error  { return nil }
func (a *aferoCalls) TryFlock(afero.File) error { return nil }
func (a *aferoCalls) Funlock(afero.File) error  { return nil }

// Nobody else can write.
func (a *aferoCalls) Lease(afero.File) error          { return nil }
func (a *aferoCalls) Leased(afero.File) (bool, error) { return true, nil }
func (a *aferoCalls) Unlease(afero.File)              {}

func (a *aferoCalls) Close() error { return nil }
