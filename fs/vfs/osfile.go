package vfs

import (
	"errors"
	"io"
	iofs "io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/pkg/xattr"

	"r-seed-1f3a754f.example/ifmatch/mounts"
)

// osFiles has the calls on open files, which openat2 and os.Root have in common, and the calls that are about a whole
// file system.
type osFiles struct {
	Lacking
	root *os.Root
}

func osFile(f *File) *os.File {
	file, _ := osFileOf(f)
	return file
}

// osFileOf is osFile. ok is false if the file is not a file of the operating system.
func osFileOf(f *File) (file *os.File, ok bool) {
	switch handle := f.handle.(type) {
	case *os.File:
		return handle, true
	case interface{ osFile() *os.File }:
		return handle.osFile(), true
	}
	return nil, false
}

func (o osFiles) HostPath(name string) string {
	return filepath.Join(o.root.Name(), filepath.FromSlash(name))
}

func (o osFiles) Mounts(dir string) ([]string, error) {
	root, err := o.root.Open(".")
	if err != nil {
		return nil, err
	}
	defer root.Close()
	return mounts.Below(root, dir)
}

// onDir opens a directory for a call that takes its descriptor.
func onDir(sys System, name string, call func(*os.File) error) error {
	dir, err := sys.Open(At{}, name)
	if err != nil {
		return err
	}
	defer dir.Close()
	return call(osFile(dir))
}

func (osFiles) Names(f *File, n int) ([]string, error) { return osFile(f).Readdirnames(n) }

func (osFiles) ReadAt(f *File, p []byte, offset int64) (int, error) {
	return osFile(f).ReadAt(p, offset)
}

func (osFiles) SendTo(f *File, w io.Writer, offset, n int64) (int64, error) {
	if _, err := osFile(f).Seek(offset, io.SeekStart); err != nil {
		return 0, err
	}
	// Package net recognises a file in a LimitedReader, and has the kernel send the file.
	return io.Copy(w, &io.LimitedReader{R: osFile(f), N: n})
}

// named puts the name of the file as package vfs knows it into an error. os.Root gives its files paths of the operating
// system. From the name, the server knows which disk is full.
func named(f *File, err error) error {
	if failed, ok := errors.AsType[*iofs.PathError](err); ok {
		failed.Path = f.Name()
	}
	return err
}

func (osFiles) Write(f *File, p []byte) (int, error) {
	n, err := osFile(f).Write(p)
	return n, named(f, err)
}

func (osFiles) Chmod(f *File, mode iofs.FileMode) error { return osFile(f).Chmod(mode) }

func (osFiles) Extend(f *File, size int64) error {
	err := osFile(f).Truncate(size)
	if err == nil {
		_, err = osFile(f).Seek(size, io.SeekStart)
	}
	return named(f, err)
}

func (osFiles) Truncate(f *File, size int64) error { return named(f, osFile(f).Truncate(size)) }

func (osFiles) Chown(f *File, user, group ID) error {
	return osFile(f).Chown(int(user.N), int(group.N))
}

func (osFiles) ListAttrs(f *File) ([]string, error) {
	names, err := xattr.FList(osFile(f))
	if noAttributes(err) {
		return nil, nil
	}
	return names, err
}

func (osFiles) GetAttr(f *File, name string) ([]byte, error) {
	return attrOf(xattr.FGet(osFile(f), name))
}

// attrOf returns nil, and no error, if there is no attribute, or if there can be none.
func attrOf(value []byte, err error) ([]byte, error) {
	if errors.Is(err, xattr.ENOATTR) || noAttributes(err) {
		return nil, nil
	}
	return value, err
}

func (osFiles) SetAttr(f *File, name string, value []byte) error {
	var err error
	if value == nil {
		err = xattr.FRemove(osFile(f), name)
		if errors.Is(err, xattr.ENOATTR) {
			return nil
		}
	} else {
		err = xattr.FSet(osFile(f), name, value)
	}
	if errors.Is(err, syscall.E2BIG) || errors.Is(err, syscall.ERANGE) || errors.Is(err, syscall.ENOSPC) {
		// For a client, a value that is too large for an attribute is the same as a full disk.
		err = &iofs.PathError{Op: "setxattr", Path: f.Name(), Err: ErrAttribute}
	}
	return err
}

// noAttributes reports whether the error says that a file system has no extended attributes at all.
func noAttributes(err error) bool {
	return errors.Is(err, syscall.ENOTSUP) || errors.Is(err, syscall.EOPNOTSUPP)
}

func (osFiles) Sync(f *File) error     { return named(f, fdatasync(osFile(f))) }
func (osFiles) SyncDir(f *File) error  { return fsyncDir(osFile(f)) }
func (osFiles) TryFlock(f *File) error { return tryFlock(osFile(f)) }
func (osFiles) Funlock(f *File) error  { return funlock(osFile(f)) }

func (osFiles) Volume(f *File) Volume { return mounts.VolumeOf(osFile(f)) }
