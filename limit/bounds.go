package limit

import "runtime"

// Resources are what a process may use.
type Resources struct {
	Descriptors int   // that may be open at once
	Memory      int64 // bytes
	CPUs        int
}

// Bounds are how much may go on at once. What each of them holds at its most is in [Resources.Bounds].
type Bounds struct {
	Connections int
	Streams     int // of HTTP/2, on one connection
	Uploads     int
	Downloads   int // of files, HEAD included
	Listings    int // PROPFIND, and pages
	Changes     int // all other requests
	Hashes      int // that requests wait for

	// Most at once of one client, beside the half of those that are free (0: no other bound). The second is that of
	// uploads, downloads, listings and changes, each.
	ClientConnections, ClientRequests int
}

// What something holds at its most. A listing has one directory open, and hashes eight files at once; a change can copy.
const (
	uploadFiles, downloadFiles, listingFiles, changeFiles = 2, 1, 10, 3

	connectionBytes = 64 << 10
	uploadBytes     = 320 << 10 // the buffer between the client and the disk
	downloadBytes   = 96 << 10
	listingBytes    = 4 << 20 // a page that is sorted
)

// Bounds returns bounds with which clients that hold all they can leave some of the memory, and the descriptors that are for
// nobody: those of the log, the index, the watcher. A third of the others is for connections.
func (r Resources) Bounds() Bounds {
	files := max(r.Descriptors-ownFiles, r.Descriptors/2)
	part := r.Memory / 8
	least := func(n int, bytes int64, enough int) int {
		return max(enough, int(min(int64(n), part/bytes, maxAtOnce)))
	}
	return Bounds{
		Connections: least(files/3, connectionBytes, 16),
		Streams:     streams,
		Uploads:     least(files/5/uploadFiles, uploadBytes, 8),
		Downloads:   least(files/7/downloadFiles, downloadBytes, 8),
		Listings:    least(files/8/listingFiles, listingBytes, 4),
		Changes:     least(files/7/changeFiles, downloadBytes, 8),
		Hashes:      max(8, 4*r.CPUs),
	}
}

const (
	// ownFiles is how many files are for no client, at the most: nearly all are pages of the index.
	ownFiles = 192
	// maxAtOnce is for systems that bound nothing.
	maxAtOnce = 1 << 16
	// streams is the least that RFC 9113 §6.5.2 recommends.
	streams = 100
)

// Pools are the pools of one server.
type Pools struct {
	Streams                                                    int // see Bounds
	Connections, Uploads, Downloads, Listings, Changes, Hashes *Pool

	// TurnedAway are the clients of connections that were refused.
	TurnedAway *Refused
}

// Pools returns the pools of these sizes.
func (b Bounds) Pools() *Pools {
	p := &Pools{
		Streams:     b.Streams,
		Connections: NewPool("connections", b.Connections),
		Uploads:     NewPool("uploads", b.Uploads),
		Downloads:   NewPool("downloads", b.Downloads),
		Listings:    NewPool("listings", b.Listings),
		Changes:     NewPool("requests", b.Changes),
		Hashes:      NewPool("files to be read for their ETags", b.Hashes),
		TurnedAway:  NewRefused(),
	}
	p.Connections.perClient = b.ClientConnections
	for _, pool := range []*Pool{p.Uploads, p.Downloads, p.Listings, p.Changes} {
		pool.perClient = b.ClientRequests
	}
	return p
}

// System returns what this process may use. Where the system does not say, it is enough.
func System() Resources {
	r := Resources{Descriptors: 1 << 14, Memory: 8 << 30, CPUs: runtime.GOMAXPROCS(0)}
	if n := descriptors(); n > 0 {
		r.Descriptors = n
	}
	if n := memory(); n > 0 {
		r.Memory = n
	}
	return r
}
