package etagfs

import (
	"sync"

	"r-seed-1f3a754f.example/ifmatch/etagfs/hashing"
	"r-seed-1f3a754f.example/ifmatch/fs"
)

// reading counts the running downloads of each file. A commit that replaces or removes a file changes the change time
// of that file. The commit keeps the tag of a file that is being downloaded, if the content is known to be the same.
// Otherwise each download would have to read the whole file.
type reading struct {
	mu    sync.Mutex
	files map[hashing.FileKey]int
}

// begin counts a download. end must be called once with the returned key when the download ends.
func (r *reading) begin(info fs.Info) (key hashing.FileKey) {
	if info.Inode == 0 {
		return hashing.FileKey{}
	}
	key = hashing.KeyOf(info)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.files == nil {
		r.files = map[hashing.FileKey]int{}
	}
	r.files[key]++
	return key
}

func (r *reading) end(key hashing.FileKey) {
	if key == (hashing.FileKey{}) {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.files[key]--; r.files[key] == 0 {
		delete(r.files, key)
	}
}

func (r *reading) of(info fs.Info) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.files[hashing.KeyOf(info)] > 0
}
