package vfs

import (
	"io"
	"math"
	"os"
	"path"
	"sync"

	"golang.org/x/sys/unix"
)

// A descriptor is the handle of an open file or directory. It becomes an os.File only for a call that needs one:
// os.NewFile asks the kernel for the flags of the descriptor, which most calls do not need.
type descriptor struct {
	name string

	mu     sync.Mutex
	fd     int
	calls  int // system calls that use fd now
	file   *os.File
	closed bool
}

// Fd returns the number of the descriptor, for a caller that does not close it meanwhile.
func (d *descriptor) Fd() uintptr {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return math.MaxInt32 // EBADF, see osFile
	}
	return uintptr(d.fd)
}

// osFile returns the os.File of the descriptor.
func (d *descriptor) osFile() *os.File {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return os.NewFile(math.MaxInt32, d.name) // EBADF: another file may have the number of the descriptor by now
	}
	if d.file == nil {
		d.file = os.NewFile(uintptr(d.fd), d.name)
	}
	return d.file
}

// use passes the number of the descriptor to a system call. The descriptor stays open until the call has returned.
func (d *descriptor) use(call func(fd int) error) error {
	d.mu.Lock()
	if d.closed {
		d.mu.Unlock()
		return os.ErrClosed
	}
	d.calls++
	d.mu.Unlock()
	defer func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.calls--; d.closed && d.calls == 0 {
			_ = d.end()
		}
	}()
	return call(d.fd)
}

// Close closes the descriptor when no call uses it any more. It does not wait for that.
func (d *descriptor) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return pathError("close", d.name, os.ErrClosed)
	}
	d.closed = true
	if d.calls > 0 {
		return nil
	}
	return d.end()
}

// end closes the file or the descriptor. mu must be held, and no call may be running.
func (d *descriptor) end() error {
	if d.file != nil {
		return d.file.Close()
	}
	return pathError("close", d.name, unix.Close(d.fd))
}

// onDescriptor passes the descriptor of an open file to a system call.
func onDescriptor(f *File, call func(fd int) error) error {
	if d, ok := f.handle.(*descriptor); ok {
		return d.use(call)
	}
	return call(int(osFile(f).Fd()))
}

func (openat2) Fstat(f *File) (info Info, err error) {
	err = onDescriptor(f, func(fd int) (err error) { info, err = statx(fd); return err })
	info.Name = path.Base(f.name)
	return info, pathError("fstat", f.name, err)
}

func (k openat2) ReadAt(f *File, p []byte, offset int64) (int, error) {
	if d, ok := f.handle.(*descriptor); ok {
		return d.readAt(p, offset)
	}
	return k.osFiles.ReadAt(f, p, offset)
}

// Write writes all of p, as [io.Writer] says.
func (openat2) Write(f *File, p []byte) (n int, err error) {
	err = onDescriptor(f, func(fd int) (err error) {
		n, err = whole(p, io.ErrUnexpectedEOF, func(rest []byte) (int, error) { return unix.Write(fd, rest) })
		return err
	})
	return n, pathError("write", f.name, err)
}

// whole repeats a call, which takes a part of p, for the rest. It fails with end if there is no more.
func whole(p []byte, end error, call func(rest []byte) (int, error)) (n int, err error) {
	for n < len(p) {
		some, err := call(p[n:])
		switch {
		case err == unix.EINTR:
			continue
		case err != nil:
			return n, err
		case some == 0:
			return n, end
		}
		n += some
	}
	return n, nil
}

// ListAttrs first asks by the descriptor whether there are any attributes. Nearly always there are none.
func (k openat2) ListAttrs(f *File) ([]string, error) {
	size := 0
	err := onDescriptor(f, func(fd int) (err error) { size, err = unix.Flistxattr(fd, nil); return err })
	if err == nil && size == 0 {
		return nil, nil
	}
	return k.osFiles.ListAttrs(f)
}

// GetAttr first asks by the descriptor for a small value. Nearly all values are small.
func (k openat2) GetAttr(f *File, attr string) ([]byte, error) {
	value, size := make([]byte, 1<<10), 0
	err := onDescriptor(f, func(fd int) (err error) { size, err = unix.Fgetxattr(fd, attr, value); return err })
	switch err {
	case nil:
		return value[:size], nil
	case unix.ENODATA:
		return nil, nil
	}
	return k.osFiles.GetAttr(f, attr)
}

// readAt reads as [io.ReaderAt] says.
func (d *descriptor) readAt(p []byte, offset int64) (n int, err error) {
	err = d.use(func(fd int) (err error) {
		n, err = whole(p, io.EOF, func(rest []byte) (int, error) {
			return unix.Pread(fd, rest, offset+int64(len(p)-len(rest)))
		})
		return err
	})
	if err != nil && err != io.EOF {
		err = pathError("read", d.name, err)
	}
	return n, err
}
