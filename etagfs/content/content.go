// Package content sends the versions of files. It makes sure that all bytes that are sent belong to the version whose
// tag the client gets, although local programs can write to the file meanwhile. Small contents stay in memory.
package content

import (
	"sync"
	"sync/atomic"

	"r-seed-1f3a754f.example/ifmatch/etagfs/hashing"
	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

// A Server sends the contents of a directory. All exported fields are needed.
type Server struct {
	*hashing.Hasher // of the directory
	// InFlight and Relayed are the bounds of the same names in the options of package etagfs, in bytes. InFlight is
	// negative if the kernel sends no bytes.
	InFlight, Relayed int64

	downloads downloads
	// captured is how many bytes of files are held that were captured while the files were hashed.
	captured atomic.Int64
}

// Of returns the content of an open file, which a look has found. The content closes the file. tag is the tag that the
// client gets, or "" if it gets none. stamped says that the index has the tag, so that looks show changes.
func (s *Server) Of(f *vfs.File, info vfs.Info, tag tree.ETag, stamped bool) *File {
	return &File{s: s, file: f, info: info, tag: tag, stamped: stamped}
}

// InMemory returns the content of the file from memory, where it is kept or may be kept there.
func (c *File) InMemory() (tree.Bytes, bool) {
	if !c.stamped {
		return nil, false
	}
	if small, ok := c.s.InMemory(c.info, c.tag); ok {
		return small, true
	}
	return c.s.keep(c.file, c.info, c.tag)
}

// Begin says that the content is about to be sent. Until it is closed, [Server.IsSending] says so.
func (c *File) Begin() { c.counted = c.s.downloads.begin(c.info) }

// IsSending reports whether the file that a look has found is being sent. A commit that lets such a file give way keeps
// its tag, if the content is known to be the same. Otherwise each download would have to read the whole file.
func (s *Server) IsSending(info vfs.Info) bool { return s.downloads.of(info) }

// downloads counts the running downloads of each file, see [Server.IsSending].
type downloads struct {
	mu    sync.Mutex
	files map[hashing.FileKey]int
}

// begin counts a download. end must be called once with the returned key when the download ends.
func (d *downloads) begin(info vfs.Info) (key hashing.FileKey) {
	if info.Inode == 0 {
		return hashing.FileKey{}
	}
	key = hashing.KeyOf(info)
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.files == nil {
		d.files = map[hashing.FileKey]int{}
	}
	d.files[key]++
	return key
}

func (d *downloads) end(key hashing.FileKey) {
	if key == (hashing.FileKey{}) {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.files[key]--; d.files[key] == 0 {
		delete(d.files, key)
	}
}

func (d *downloads) of(info vfs.Info) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.files[hashing.KeyOf(info)] > 0
}
