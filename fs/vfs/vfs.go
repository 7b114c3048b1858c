// Package vfs has the system calls that a file server needs: one interface, [System]. Its implementations use
// openat2(2) on Linux and [os.Root] elsewhere. Package aferosystem has one over any afero.Fs. Callers use an [FS],
// which is a System behind a [Hook].
//
// No name and no symbolic link leads out of the directory that was opened. Package vfs resolves no link, knows no state
// directory, and keeps no history.
package vfs

import (
	"errors"
	"fmt"
	"io"
	iofs "io/fs"
	"os"
	"syscall"
	"time"
)

// The errors of this package, besides the errors of io/fs and of the operating system.
var (
	ErrLink   = errors.New("a symbolic link is on the way")
	ErrBusy   = errors.New("another process holds the lock")
	ErrWriter = fmt.Errorf("a program has the file open for writing (%w)", ErrBusy)

	// ErrAttribute says that an extended attribute has no room for a value. The disk can still have plenty of free
	// space.
	ErrAttribute = fmt.Errorf("more than can be kept beside a file (%w)", syscall.ENOSPC)
)

// Ignoring returns err, unless it is the expected error.
func Ignoring(err, expected error) error {
	if errors.Is(err, expected) {
		return nil
	}
	return err
}

var errNoLease = fmt.Errorf("no leases: %w", errors.ErrUnsupported)

// System is the table of system calls, with one method per call. A name is slash-separated, and relative to the
// directory that comes with it. "." is that directory itself.
//
// Each File in a call must have been opened by the same System.
type System interface {
	// Lstat looks at the name itself. It fails with ErrLink if a symbolic link is on the way to it.
	Lstat(at At, name string) (Info, error)
	// Find looks at the file that a name leads to, even through links, so that it can be compared with a known file.
	Find(at At, name string) (Info, error)
	Readlink(at At, name string) (string, error)
	// GetAttrAt is GetAttr for a name. It opens no file if the system can do without.
	GetAttrAt(at At, name, attr string) ([]byte, error)

	OpenDir(at At, name string) (At, error)
	Open(at At, name string) (*File, error)     // for reading. It does not wait for a pipe or a lease
	Create(at At, name string) (*File, error)   // for writing. iofs.ErrExist: the name is taken
	Append(at At, name string) (*File, error)   // for writing at the end. It may make the file. It does not wait either
	AppendTo(at At, name string) (*File, error) // as Append, to a file that is there

	Mkdir(at At, name string, mode iofs.FileMode) error
	Symlink(target string, at At, name string) error
	Link(from At, name string, to At, other string) error   // errors.ErrUnsupported: a file has one name only
	Rename(from At, name string, to At, other string) error // other may be a file, or a free name
	// RenameNew is Rename to a free name. It fails with iofs.ErrExist if the name is taken, and with
	// errors.ErrUnsupported if the system would have to look first.
	RenameNew(from At, name string, to At, other string) error
	// Exchange swaps two names of any kind at one instant. errors.ErrUnsupported: the system cannot.
	Exchange(from At, name string, to At, other string) error
	Remove(at At, name string) error // a file or an empty directory
	Chtimes(at At, name string, modified time.Time) error
	// Renew has the kernel ask the file system which file a name in a directory stands for, and not answer from memory
	// the next time. It does so for each segment of the name that exists and is on that file system.
	Renew(at At, dir, name string)

	RemoveAll(name string) error         // with any modes. name is below the root
	Mounts(dir string) ([]string, error) // the mount points at and below a directory, without the root
	Space(dir string) (Space, error)     // of the file system of a directory
	SyncAll(dir string) error            // writes all data of the file system of a directory to disk: syncfs(2)
	HostPath(name string) string         // the path of a name in the operating system, for messages

	Fstat(f *File) (Info, error)
	Names(f *File, n int) ([]string, error) // at most the next n names, all if n <= 0. io.EOF at the end
	// Kinds is Names with only name and kind. errors.ErrUnsupported: each member would have to be looked at.
	Kinds(f *File) ([]Info, error)
	ReadAt(f *File, p []byte, offset int64) (int, error)
	SendTo(f *File, w io.Writer, offset, n int64) (int64, error)
	Write(f *File, p []byte) (int, error)
	Clone(from, to *File) error
	CopyRange(from, to *File, offset int64, n int) (int, error)
	NextData(f *File, offset int64) (from, to int64, err error)
	Extend(f *File, size int64) error
	Truncate(f *File, size int64) error
	Chmod(f *File, mode iofs.FileMode) error
	Chown(f *File, user, group ID) error
	ListAttrs(f *File) ([]string, error)
	GetAttr(f *File, name string) ([]byte, error)
	SetAttr(f *File, name string, value []byte) error
	Sync(f *File) error
	SyncDir(f *File) error
	TryFlock(f *File) error
	Funlock(f *File) error
	Lease(f *File) error
	Leased(f *File) (bool, error)
	Unlease(f *File)
	Uncache(f *File)
	Volume(f *File) Volume
	MapWritable(f *File) ([]byte, error)

	Close() error
}

// Lacking has the calls of a [System] that not each system knows, and that a caller can do without.
type Lacking struct{}

func (Lacking) Kinds(*File) ([]Info, error)                       { return nil, errors.ErrUnsupported }
func (Lacking) Clone(_, _ *File) error                            { return errors.ErrUnsupported }
func (Lacking) CopyRange(_, _ *File, _ int64, _ int) (int, error) { return 0, errors.ErrUnsupported }
func (Lacking) NextData(*File, int64) (from, to int64, err error) { return 0, 0, errors.ErrUnsupported }
func (Lacking) MapWritable(*File) ([]byte, error)                 { return nil, errors.ErrUnsupported }
func (Lacking) Uncache(*File)                                     {}

// An At is a directory in which names are resolved. The zero value is the root. With openat2 it is a descriptor. With
// os.Root and afero it is a path, which is resolved from the root at each call.
type At struct {
	dir  directory // nil: there is only the path
	path string    // from the root. "" for the root itself
}

// A directory is an open directory, for calls that take its descriptor.
type directory interface {
	Fd() uintptr
	Close() error
}

// AtPath returns the directory of a path from the root, for a system that resolves each name from the root.
func AtPath(path string) At { return At{path: path} }

// Join returns the path of a name from the root.
func (a At) Join(name string) string {
	switch {
	case a.path == "" || a.path == ".":
		return name
	case name == ".":
		return a.path
	}
	return a.path + "/" + name
}

// An FS is a directory tree. Its root is the [Dir] in which all names are resolved.
type FS struct {
	Dir
}

// Open opens a directory of the operating system. It uses openat2(2) if the kernel has it. The hook may be nil.
func Open(dir string, hook Hook) (*FS, error) { return openRoot(dir, hook, openKernel) }

// OpenRoot is [Open] with [os.Root] only, as on systems without openat2(2).
func OpenRoot(dir string, hook Hook) (*FS, error) {
	return openRoot(dir, hook, func(root *os.Root) (System, error) { return newRootSystem(root), nil })
}

func openRoot(dir string, hook Hook, system func(*os.Root) (System, error)) (*FS, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	sys, err := system(root)
	if err != nil {
		return nil, errors.Join(err, root.Close())
	}
	return New(sys, hook), nil
}

// New returns a tree over a system. The hook may be nil.
func New(sys System, hook Hook) *FS { return &FS{Dir{sys: &table{System: sys, hook: hook}}} }

// System returns the calls of the tree, without the hook.
func (s *FS) System() System { return s.sys.System }

// An InMemory is a [System] that is no part of the operating system. No other process sees its files.
type InMemory interface {
	System
	// FoldNames tells which names in one directory stand for the same file.
	FoldNames(same func(a, b string) bool)
}

// IsInMemory reports whether the tree is over an [InMemory].
func (s *FS) IsInMemory() bool {
	_, ok := s.System().(InMemory)
	return ok
}

// FoldNames is that of an [InMemory]. Other systems know this themselves.
func (s *FS) FoldNames(same func(a, b string) bool) {
	if a, ok := s.System().(InMemory); ok {
		a.FoldNames(same)
	}
}

// CreatesOnly reports whether the kernel itself refuses to rename one file over another. Both must exist.
func (s *FS) CreatesOnly(from, to string) bool {
	return errors.Is(s.sys.RenameNew(At{}, from, At{}, to), iofs.ErrExist)
}

// HostPath returns the path of a name in the operating system, for messages.
func (s *FS) HostPath(name string) string { return s.sys.HostPath(name) }

// RemoveAll removes a name with all that is below it, no matter which modes they have.
func (s *FS) RemoveAll(name string) error {
	if err := s.ask("removeAll", name, ""); err != nil {
		return err
	}
	return s.sys.RemoveAll(name)
}

// Mounts returns the mount points at a directory and below it, without the root.
func (s *FS) Mounts(dir string) ([]string, error) {
	return hooked(s.ask("mounts", dir, ""), func() ([]string, error) { return s.sys.Mounts(dir) })
}

// Space returns the size of a directory's file system, and how much of it is free.
func (s *FS) Space(dir string) (Space, error) {
	return hooked(s.ask("space", dir, ""), func() (Space, error) { return s.sys.Space(dir) })
}

// SyncAll writes all data that any program has written to a directory's file system to disk: syncfs(2).
func (s *FS) SyncAll(dir string) error {
	if err := s.ask("syncAll", dir, ""); err != nil {
		return err
	}
	return s.sys.SyncAll(dir)
}

// Rename gives a file or directory another name. The new name may be a file, or free.
func (s *FS) Rename(from, to string) error { return s.RenameTo(from, &s.Dir, to) }

// Close closes the tree. Files that are open stay open.
func (s *FS) Close() error { return s.sys.Close() }
