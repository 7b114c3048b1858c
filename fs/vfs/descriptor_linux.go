package vfs

import (
	"io"
	"math"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// A descriptor is the handle of a file that was opened for reading. It becomes an os.File only for a call that needs one:
// os.NewFile asks the kernel for the flags of the descriptor, which the look at a small file and its content can do
// without.
type descriptor struct {
	name string

	mu     sync.Mutex
	fd     int
	calls  int // system calls that use fd now
	file   *os.File
	closed bool
}

// osFile returns the os.File of the descriptor.
func (d *descriptor) osFile() *os.File {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return os.NewFile(math.MaxInt32, d.name) // EBADF: the number of the descriptor may be that of another file by now
	}
	if d.file == nil {
		d.file = os.NewFile(uintptr(d.fd), d.name)
	}
	return d.file
}

// use hands the number of the descriptor to a system call. It stays open until the call has returned.
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

// Close closes the descriptor once no call uses it. It does not wait for that.
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

// end closes what is open. mu must be held, and no call be running.
func (d *descriptor) end() error {
	if d.file != nil {
		return d.file.Close()
	}
	return pathError("close", d.name, unix.Close(d.fd))
}

// readAt reads as [io.ReaderAt] says.
func (d *descriptor) readAt(p []byte, offset int64) (n int, err error) {
	err = d.use(func(fd int) error {
		for n < len(p) {
			got, err := unix.Pread(fd, p[n:], offset+int64(n))
			switch {
			case err == unix.EINTR:
				continue
			case err != nil:
				return err
			case got == 0:
				return io.EOF
			}
			n += got
		}
		return nil
	})
	if err != nil && err != io.EOF {
		err = pathError("read", d.name, err)
	}
	return n, err
}
