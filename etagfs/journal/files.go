package journal

import (
	"io"
	iofs "io/fs"
	"maps"
	"slices"
	"sync"
	"time"
)

// Files is the directory that a journal is kept in. No other program changes it.
type Files interface {
	// List returns the names of all files, and none if there is no directory yet.
	List() ([]string, error)
	// Open opens a file to read it.
	Open(name string) (Reader, error)
	// Append opens a file to write at its end. If begin is set, it makes the file if there is none.
	Append(name string, begin bool) (File, error)
	Remove(name string) error
}

// A Reader is a file that is read.
type Reader interface {
	io.ReaderAt // io.EOF at the end
	io.Closer
}

// A File is a file that is written. A Write writes at the end.
type File interface {
	io.Writer
	// Size returns the length in bytes, and the time of the last change of the file by the clock of the file system,
	// in nanoseconds since 1970.
	Size() (size, changed int64, err error)
	Truncate(size int64) error
	io.Closer
}

// A Turn tells whether this process is the only one that writes a journal. Its methods are called under the lock of the
// tree.
type Turn interface {
	// IsClaimed reports whether no other process has called Claim since this one did, as far as that is certain.
	IsClaimed() bool
	// Claim is called before each change of a file that follows a change by another process.
	Claim() error
}

// InMemory returns a directory in memory.
func InMemory() Files { return &memory{files: map[string]*memoryFile{}} }

type memory struct {
	mu    sync.Mutex
	files map[string]*memoryFile
}

type memoryFile struct {
	of   *memory
	data []byte // guarded by of.mu. The bytes up to len never change
}

func (m *memory) List() ([]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Sorted(maps.Keys(m.files)), nil
}

func (m *memory) Open(name string) (Reader, error) { return m.file(name, false) }

func (m *memory) Append(name string, begin bool) (File, error) { return m.file(name, begin) }

// file returns a file, or nil with an error.
func (m *memory) file(name string, begin bool) (interface {
	io.ReaderAt
	File
}, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.files[name] == nil && begin {
		m.files[name] = &memoryFile{of: m}
	}
	if f := m.files[name]; f != nil {
		return f, nil
	}
	return nil, iofs.ErrNotExist
}

func (m *memory) Remove(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.files, name)
	return nil
}

func (f *memoryFile) ReadAt(p []byte, offset int64) (n int, err error) {
	f.of.mu.Lock()
	data := f.data
	f.of.mu.Unlock()
	if offset < int64(len(data)) {
		n = copy(p, data[offset:])
	}
	if n < len(p) {
		err = io.EOF
	}
	return n, err
}

func (f *memoryFile) Write(p []byte) (int, error) {
	f.of.mu.Lock()
	defer f.of.mu.Unlock()
	f.data = append(f.data, p...)
	return len(p), nil
}

// memoryMargin is by how much the clock of a file system can be behind that of the program.
const memoryMargin = 2 * time.Second

func (f *memoryFile) Size() (size, changed int64, err error) {
	f.of.mu.Lock()
	defer f.of.mu.Unlock()
	return int64(len(f.data)), time.Now().Add(-memoryMargin).UnixNano(), nil
}

func (f *memoryFile) Truncate(size int64) error {
	f.of.mu.Lock()
	defer f.of.mu.Unlock()
	f.data = append([]byte(nil), f.data[:size]...) // readers may still have the bytes after it
	return nil
}

func (*memoryFile) Close() error { return nil }
