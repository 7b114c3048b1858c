// Package hashing hashes the files of a directory, one file once at a time, however many callers ask. It has the index
// remember a hash if a lease or the clock shows of which version it is.
package hashing

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/singleflight"

	"r-seed-1f3a754f.example/ifmatch/etagfs/index"
	"r-seed-1f3a754f.example/ifmatch/fs"
	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
	"r-seed-1f3a754f.example/ifmatch/limit"
)

// A Hasher hashes the files of a directory, and has the index remember the hashes. All exported fields are needed.
type Hasher struct {
	FS    *fs.FS
	Root  vfs.Info // a look at the root
	Index *index.Index
	Now   func() time.Time
	// Turns bounds how many files are hashed at once for requests that wait for the hash.
	Turns *limit.Pool
	// Open opens the file that has a name. The file is nil if the name stands for a directory.
	Open func(ctx context.Context, name string) (*vfs.File, vfs.Info, error)
	// Work is that which goes on after its caller has given up.
	Work *sync.WaitGroup

	flights flights
	summing singleflight.Group // of sums, by version
	asked   atomic.Int32       // hashes that requests wait for
	pace    atomic.Int64       // the highest pace of a hash so far, in bytes per second
}

// Ask says that a request waits for a hash, until end is called. The hashes in the background give way meanwhile.
func (h *Hasher) Ask() (end func()) {
	h.asked.Add(1)
	return func() { h.asked.Add(-1) }
}

// Asked returns how many hashes requests wait for.
func (h *Hasher) Asked() int { return int(h.asked.Load()) }

// Running returns how many files are being hashed, or are about to be.
func (h *Hasher) Running() int {
	h.flights.mu.Lock()
	defer h.flights.mu.Unlock()
	return len(h.flights.running)
}

// Waiting returns how many callers wait until a hash that is being computed has ended.
func (h *Hasher) Waiting() (n int) {
	h.flights.mu.Lock()
	defer h.flights.mu.Unlock()
	for _, one := range h.flights.next {
		n += one.waiting
	}
	return n
}
