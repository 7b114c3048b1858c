package etagfs

import (
	"sync"

	"ifmatch/etagfs/index"
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

// givingWay is called inside a commit before what was seen at a name gives way, and what it returns after that: what is
// known of it stays known, if it is being downloaded, and a lease says that no program was at it meanwhile.
func (s *Store) givingWay(name string, seen fs.Info) (gone func()) {
	nothing := func() {}
	if seen.Kind != fs.Regular || !s.reading.of(seen) {
		return nothing
	}
	k, known := s.index.Lookup(seen.Fingerprint)
	able := s.fs.AbilitiesOf(seen)
	if !known || !able.FineTimes || !able.Leases {
		return nothing
	}
	f, info, err := s.fs.Open(name)
	if err != nil || f == nil {
		return nothing
	}
	lease, err := s.fs.Lease(f)
	if err != nil || info.Fingerprint != seen.Fingerprint {
		f.Close()
		return nothing
	}
	return func() {
		defer f.Close() // and with it the lease
		if now, err := s.fs.Refresh(f); err == nil && now.SameFile(seen) && now.Size == seen.Size && now.Modified == seen.Modified && lease.Held() {
			k.Dates = index.Evidence{} // it has no name any more of which dates could be shown
			s.index.Put(now.Fingerprint, k)
		}
	}
}
