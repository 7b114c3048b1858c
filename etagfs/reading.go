package etagfs

import (
	"sync"

	"ifmatch/fs"
)

// reading counts the downloads of each file that is being sent. When one of ours gives its name away, that changes its
// time of change; unless it were known that its content has not, each download would have to read all of it.
type reading struct {
	mu    sync.Mutex
	files map[fileKey]int
}

// begin counts a download. It returns what ends it.
func (r *reading) begin(info fs.Info) (end func()) {
	if info.Inode == 0 {
		return func() {}
	}
	key := keyOf(info)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.files == nil {
		r.files = map[fileKey]int{}
	}
	r.files[key]++
	return sync.OnceFunc(func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.files[key]--; r.files[key] == 0 {
			delete(r.files, key)
		}
	})
}

func (r *reading) of(info fs.Info) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.files[keyOf(info)] > 0
}
