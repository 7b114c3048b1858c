package vfs

import (
	"bytes"
	"errors"
	"io"
	iofs "io/fs"
	"maps"
	"slices"

	"github.com/spf13/afero"
	"github.com/spf13/afero/mem"
)

// aferoFile is the handle of a [File]. It remembers which file was opened.
type aferoFile struct {
	afero.File
	id      uint64
	members []string // of a directory that is being listed: the names that were not returned yet
	listed  bool
}

// Close leaves a file of MemMapFs open. Closing a file after a write would give it a new modification time, after its
// commit. The open file holds no resources that must be freed.
func (f *aferoFile) Close() error {
	if _, ok := f.File.(*mem.File); ok {
		return nil
	}
	return f.File.Close()
}

func (a *aferoSystem) opened(name string, f afero.File) *File {
	return &File{name: name, handle: &aferoFile{File: f, id: a.id(name)}}
}

func aferoOf(f *File) *aferoFile { return f.handle.(*aferoFile) }

func (a *aferoSystem) Fstat(f *File) (Info, error) {
	file := aferoOf(f)
	fi, err := file.Stat()
	if err != nil {
		return Info{}, err
	}
	return a.info(f.name, file.id, fi), nil
}

// Names reads a directory at once and returns its names in parts. MemMapFs counts the names that it has returned. That
// goes wrong, even with a panic, if members are removed meanwhile.
func (a *aferoSystem) Names(f *File, n int) (names []string, err error) {
	file := aferoOf(f)
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

func (a *aferoSystem) Kinds(*File) ([]Info, error) { return nil, errors.ErrUnsupported }

func (a *aferoSystem) GetAttrAt(at At, name, attr string) ([]byte, error) {
	info, err := a.Lstat(at, name)
	if err != nil {
		return nil, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.attrs[info.Inode][attr], nil
}

func (a *aferoSystem) ReadAt(f *File, p []byte, offset int64) (int, error) {
	n, err := aferoOf(f).ReadAt(p, offset)
	if n > 0 && n < len(p) && err == nil {
		err = io.EOF
	}
	return n, err
}

func (a *aferoSystem) SendTo(f *File, w io.Writer, offset, n int64) (int64, error) {
	return io.Copy(w, io.NewSectionReader(aferoOf(f), offset, n))
}

func (a *aferoSystem) Write(f *File, p []byte) (int, error)    { return aferoOf(f).Write(p) }
func (a *aferoSystem) Chmod(f *File, mode iofs.FileMode) error { return a.fs.Chmod(f.Name(), mode) }

func (a *aferoSystem) Clone(_, to *File) error {
	return &iofs.PathError{Op: "clone", Path: to.Name(), Err: errors.ErrUnsupported}
}

func (a *aferoSystem) CopyRange(_, to *File, _ int64, _ int) (int, error) {
	return 0, &iofs.PathError{Op: "copyRange", Path: to.Name(), Err: errors.ErrUnsupported}
}

func (a *aferoSystem) NextData(f *File, _ int64) (from, to int64, err error) {
	return 0, 0, &iofs.PathError{Op: "data", Path: f.Name(), Err: errors.ErrUnsupported}
}

func (a *aferoSystem) Extend(f *File, _ int64) error {
	return &iofs.PathError{Op: "extend", Path: f.Name(), Err: errors.ErrUnsupported}
}

func (a *aferoSystem) Truncate(f *File, size int64) error { return aferoOf(f).Truncate(size) }

// Chown fails, because files have no owners here.
func (a *aferoSystem) Chown(f *File, _, _ ID) error {
	return &iofs.PathError{Op: "chown", Path: f.Name(), Err: errors.ErrUnsupported}
}

func (a *aferoSystem) ListAttrs(f *File) ([]string, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Sorted(maps.Keys(a.attrs[aferoOf(f).id])), nil
}

func (a *aferoSystem) GetAttr(f *File, name string) ([]byte, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.attrs[aferoOf(f).id][name], nil
}

func (a *aferoSystem) SetAttr(f *File, name string, value []byte) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	id := aferoOf(f).id
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
func (a *aferoSystem) Sync(*File) error     { return nil }
func (a *aferoSystem) SyncDir(*File) error  { return nil }
func (a *aferoSystem) TryFlock(*File) error { return nil }
func (a *aferoSystem) Funlock(*File) error  { return nil }

// Lease succeeds: no other program can write.
func (a *aferoSystem) Lease(*File) error          { return nil }
func (a *aferoSystem) Leased(*File) (bool, error) { return true, nil }
func (a *aferoSystem) Unlease(*File)              {}

func (a *aferoSystem) MapWritable(f *File) ([]byte, error) {
	return nil, &iofs.PathError{Op: "mmap", Path: f.name, Err: errors.ErrUnsupported}
}

func (a *aferoSystem) Close() error { return nil }
