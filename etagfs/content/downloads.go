package content

import (
	"sync"

	"r-seed-1f3a754f.example/ifmatch/etagfs/hashing"
	"r-seed-1f3a754f.example/ifmatch/fs"
)

// downloads counts the running downloads of each file, see [Server.IsSending].
type downloads struct {
	mu    sync.Mutex
	files map[hashing.FileKey]int
}

// begin counts a download. end must be called once with the returned key when the download ends.
func (d *downloads) begin(info fs.Info) (key hashing.FileKey) {
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

func (d *downloads) of(info fs.Info) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.files[hashing.KeyOf(info)] > 0
}
