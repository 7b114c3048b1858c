package aferosystem

import (
	"bytes"
	"errors"
	"io"
	iofs "io/fs"
	"maps"
	"slices"

	"github.com/spf13/afero"
	"github.com/spf13/afero/mem"

	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
)

// A handle is that of a [vfs.File]. It remembers which file was opened.
type handle struct {
	afero.File
	id      uint64
	members []string // of a directory that is being listed: the names that were not returned yet
	listed  bool
}

// Close leaves a file of MemMapFs open. Closing a file after a write would give it a new modification time, after its
// commit. The open file holds no resources that must be freed.
func (f *handle) Close() error {
	if _, ok := f.File.(*mem.File); ok {
		return nil
	}
	return f.File.Close()
}

func (a *System) opened(name string, f afero.File, err error) (*vfs.File, error) {
	if err != nil {
		return nil, err
	}
	return vfs.NewFile(name, &handle{File: f, id: a.id(name)}), nil
}

func handleOf(f *vfs.File) *handle { return f.Handle().(*handle) }

func (a *System) Fstat(f *vfs.File) (vfs.Info, error) {
	file := handleOf(f)
	fi, err := file.Stat()
	if err != nil {
		return vfs.Info{}, err
	}
	return a.info(f.Name(), file.id, fi), nil
}

// Names reads a directory at once and returns its names in parts. MemMapFs counts the names that it has returned. That
// goes wrong, even with a panic, if members are removed meanwhile.
func (a *System) Names(f *vfs.File, n int) (names []string, err error) {
	file := handleOf(f)
	if !file.listed {
		if file.members, err = file.Readdirnames(-1); err != nil {
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

func (a *System) GetAttrAt(at vfs.At, name, attr string) ([]byte, error) {
	info, err := a.Lstat(at, name)
	if err != nil {
		return nil, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.attrs[info.Inode][attr], nil
}

func (a *System) ReadAt(f *vfs.File, p []byte, offset int64) (int, error) {
	n, err := handleOf(f).ReadAt(p, offset)
	if n > 0 && n < len(p) && err == nil {
		err = io.EOF
	}
	return n, err
}

func (a *System) SendTo(f *vfs.File, w io.Writer, offset, n int64) (int64, error) {
	return io.Copy(w, io.NewSectionReader(handleOf(f), offset, n))
}

func (a *System) Write(f *vfs.File, p []byte) (int, error)    { return handleOf(f).Write(p) }
func (a *System) Chmod(f *vfs.File, mode iofs.FileMode) error { return a.fs.Chmod(f.Name(), mode) }

// unsupported is the error of a call that an afero.Fs does not have.
func unsupported(op, name string) error {
	return &iofs.PathError{Op: op, Path: name, Err: errors.ErrUnsupported}
}

func (a *System) Extend(f *vfs.File, _ int64) error    { return unsupported("extend", f.Name()) }
func (a *System) Chown(f *vfs.File, _, _ vfs.ID) error { return unsupported("chown", f.Name()) }

func (a *System) Truncate(f *vfs.File, size int64) error { return handleOf(f).Truncate(size) }

func (a *System) ListAttrs(f *vfs.File) ([]string, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Sorted(maps.Keys(a.attrs[handleOf(f).id])), nil
}

func (a *System) GetAttr(f *vfs.File, name string) ([]byte, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.attrs[handleOf(f).id][name], nil
}

func (a *System) SetAttr(f *vfs.File, name string, value []byte) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	id := handleOf(f).id
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

// Sync and the locks do nothing: memory is not durable, and only one process uses it.
func (a *System) Sync(*vfs.File) error     { return nil }
func (a *System) SyncDir(*vfs.File) error  { return nil }
func (a *System) TryFlock(*vfs.File) error { return nil }
func (a *System) Funlock(*vfs.File) error  { return nil }

// Lease succeeds: no other program can write.
func (a *System) Lease(*vfs.File) error          { return nil }
func (a *System) Leased(*vfs.File) (bool, error) { return true, nil }
func (a *System) Unlease(*vfs.File)              {}

func (a *System) Close() error { return nil }
