package vfs

import (
	"io"
	iofs "io/fs"
	"iter"
)

// A File is an open file or directory.
type File struct {
	sys    *table
	name   string    // from the root, as it was opened
	handle io.Closer // *os.File, *descriptor, or that of another implementation
	pinned func(Info) error
	locked bool // by TryFlock
}

// NewFile returns a file that a [System] has opened. The handle is the system's own.
func NewFile(name string, handle io.Closer) *File { return &File{name: name, handle: handle} }

// Handle returns the handle that [NewFile] was given.
func (f *File) Handle() io.Closer { return f.handle }

// Pin has judge called at each later look at the file. If judge returns an error, the look fails with it. Pin must be
// called before other goroutines use the file.
func (f *File) Pin(judge func(Info) error) { f.pinned = judge }

func (f *File) ask(op string) error { return f.sys.hook.do(op, f.name, "") }

// do makes a call on the file, unless the hook fails it.
func (f *File) do(op string, call func() error) error {
	if err := f.ask(op); err != nil {
		return err
	}
	return call()
}

// hooked makes a call that returns more than an error, unless the hook has failed it.
func hooked[T any](failed error, call func() (T, error)) (result T, err error) {
	if failed != nil {
		return result, failed
	}
	return call()
}

// Name returns the name that the file was opened with, relative to the root.
func (f *File) Name() string { return f.name }

// Close closes the file, and gives up its lock and its lease. A lock belongs to all copies of a descriptor, and a child
// process that is being started has one until its program begins (fork(2), execve(2)). Close gives the lock up at once,
// so that no other process takes this one for alive until then. The receiver may be nil.
func (f *File) Close() error {
	if f == nil {
		return nil
	}
	if f.locked {
		f.Funlock()
	}
	return f.handle.Close()
}

// in returns the open directory as one in which names are resolved.
func (f *File) in() Dir {
	dir, _ := f.handle.(directory)
	return Dir{f.sys, At{dir, f.name}}
}

// Stat looks at the open file.
func (f *File) Stat() (Info, error) {
	if err := f.ask("fstat"); err != nil {
		return Info{}, err
	}
	info, err := f.sys.Fstat(f)
	if err == nil && f.pinned != nil {
		err = f.pinned(info)
	}
	return info, err
}

// Names returns at most the next n names of a directory, or all if n <= 0. It returns io.EOF at the end.
func (f *File) Names(n int) ([]string, error) {
	return hooked(f.ask("names"), func() ([]string, error) { return f.sys.Names(f, n) })
}

// AllNames yields the names of a directory that were not returned yet. An error ends them.
func (f *File) AllNames() iter.Seq2[string, error] {
	const atOnce = 1000
	return func(yield func(string, error) bool) {
		for {
			names, err := f.Names(atOnce)
			for _, name := range names {
				if !yield(name, nil) {
					return
				}
			}
			if err == nil && len(names) > 0 {
				continue
			}
			if err = Ignoring(err, io.EOF); err != nil {
				yield("", err)
			}
			return
		}
	}
}

// Kinds returns the next members of a directory, with only name and kind. The kind is [Nothing] if the file system does
// not tell it. Kinds returns io.EOF at the end. It fails with errors.ErrUnsupported if each member would have to be
// looked at.
func (f *File) Kinds() ([]Info, error) {
	return hooked(f.ask("kinds"), func() ([]Info, error) { return f.sys.Kinds(f) })
}

// LstatIn looks at a member of the open directory.
func (f *File) LstatIn(base string) (Info, error) {
	dir := f.in()
	return dir.Lstat(base)
}

// GetAttrIn returns an extended attribute of a member of the open directory. It is nil if there is none.
func (f *File) GetAttrIn(base, attr string) ([]byte, error) {
	dir := f.in()
	return dir.GetAttrAt(base, attr)
}

// ReadAt reads at an offset, as io.ReaderAt.
func (f *File) ReadAt(p []byte, offset int64) (int, error) {
	return hooked(f.ask("readAt"), func() (int, error) { return f.sys.ReadAt(f, p, offset) })
}

// SendTo writes n bytes to w, beginning at an offset, or fewer if the file ends. If w has a ReadFrom that supports it,
// such as that of a TCP connection, the kernel sends the bytes. Only one SendTo may run at a time.
func (f *File) SendTo(w io.Writer, offset, n int64) (int64, error) {
	return hooked(f.ask("send"), func() (int64, error) { return f.sys.SendTo(f, w, offset, n) })
}

// Write writes at the file's own offset.
func (f *File) Write(p []byte) (int, error) {
	return hooked(f.ask("write"), func() (int, error) { return f.sys.Write(f, p) })
}

// CloneFrom makes the file share all blocks of another file. It fails with errors.ErrUnsupported if the file system
// cannot.
func (f *File) CloneFrom(from *File) error {
	return f.do("clone", func() error { return f.sys.Clone(from, f) })
}

// CopyFrom copies at most n bytes of another file to the same offset, inside the kernel. It fails with
// errors.ErrUnsupported if the kernel cannot.
func (f *File) CopyFrom(from *File, offset int64, n int) (int, error) {
	return hooked(f.ask("copyRange"), func() (int, error) { return f.sys.CopyRange(from, f, offset, n) })
}

// NextData returns the first range at or after an offset that is not a hole. It fails with io.EOF if only a hole
// follows, and with errors.ErrUnsupported if the file system does not tell.
func (f *File) NextData(offset int64) (from, to int64, err error) {
	if err := f.ask("data"); err != nil {
		return 0, 0, err
	}
	return f.sys.NextData(f, offset)
}

// Extend makes the file longer with a hole, and moves its offset to the new end.
func (f *File) Extend(size int64) error {
	return f.do("extend", func() error { return f.sys.Extend(f, size) })
}

// Truncate cuts the file off after size bytes. Its offset stays.
func (f *File) Truncate(size int64) error {
	return f.do("truncate", func() error { return f.sys.Truncate(f, size) })
}

// Chmod sets the mode.
func (f *File) Chmod(mode iofs.FileMode) error {
	return f.do("chmod", func() error { return f.sys.Chmod(f, mode) })
}

// Chown sets the owner and the group. An [ID] that is not known has the number 0.
func (f *File) Chown(user, group ID) error {
	return f.do("chown", func() error { return f.sys.Chown(f, user, group) })
}

// ListAttrs returns the names of the extended attributes. It returns no names if the file cannot have attributes.
func (f *File) ListAttrs() ([]string, error) {
	return hooked(f.ask("listAttrs"), func() ([]string, error) { return f.sys.ListAttrs(f) })
}

// GetAttr returns an extended attribute. It is nil if there is none.
func (f *File) GetAttr(name string) ([]byte, error) {
	return hooked(f.ask("getAttr"), func() ([]byte, error) { return f.sys.GetAttr(f, name) })
}

// SetAttr sets an extended attribute. The value nil removes it. SetAttr fails with [ErrAttribute] if the value has no
// room.
func (f *File) SetAttr(name string, value []byte) error {
	return f.do("setAttr", func() error { return f.sys.SetAttr(f, name, value) })
}

// Sync writes the content to disk, and the metadata that is needed to read it back: fdatasync(2).
func (f *File) Sync() error { return f.do("sync", func() error { return f.sys.Sync(f) }) }

// SyncDir writes the names of a directory, or all data and metadata of a file, to disk: fsync(2).
func (f *File) SyncDir() error { return f.do("syncDir", func() error { return f.sys.SyncDir(f) }) }

// TryFlock takes the exclusive flock(2) of the file. It fails with [ErrBusy] if another open file has it.
func (f *File) TryFlock() error {
	err := f.do("tryFlock", func() error { return f.sys.TryFlock(f) })
	f.locked = err == nil
	return err
}

// Funlock gives up the lock.
func (f *File) Funlock() {
	f.locked = false
	_ = f.sys.Funlock(f)
}

// Lease takes a read lease (fcntl(2), F_SETLEASE). The kernel grants it only while no program has the file open for
// writing. While the lease is held, no program can write: a program that opens the file for writing breaks the lease,
// and waits. So bytes that are read under an unbroken lease belong to one version. A look at time stamps does not prove
// that as surely.
//
// Hold a lease only while a look or the read of a chunk takes place. Ask whether the lease is still held, and give it up
// if not. This process must never open for writing a file on which it has a lease.
//
// Lease fails with [ErrWriter] if a program has the file open for writing. It fails with errors.ErrUnsupported if there
// are no leases on this file. The reason can be the operating system, the file system, or that this process does not own
// the file.
func (f *File) Lease() error { return f.do("lease", func() error { return f.sys.Lease(f) }) }

// Leased reports whether the lease is unbroken: no program has tried to open the file for writing since it was taken.
func (f *File) Leased() bool {
	held, err := hooked(f.ask("leased"), func() (bool, error) { return f.sys.Leased(f) })
	return err == nil && held
}

// Unlease gives up the lease. Programs that wait may write then.
func (f *File) Unlease() { f.sys.Unlease(f) }

// Uncache removes the content from memory, as far as it is on disk too.
func (f *File) Uncache() { f.sys.Uncache(f) }

// Volume describes the file system of the file.
func (f *File) Volume() Volume { return f.sys.Volume(f) }

// MapWritable maps the first byte of the file into memory, for writing. [Unmap] ends it.
func (f *File) MapWritable() ([]byte, error) { return f.sys.MapWritable(f) }

// Unmap ends a mapping of [File.MapWritable].
func Unmap(memory []byte) { unmap(memory) }

// Holder describes the other process that has the file locked, such as "process 7 (ifmatch)", as far as the system
// tells.
func (f *File) Holder() string {
	if file, ok := osFileOf(f); ok {
		return HolderOf(file)
	}
	return "nobody" // in memory there is no other process
}
