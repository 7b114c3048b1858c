package limit

import "runtime"

// Resources are the descriptors, the memory and the processors that a process may use.
type Resources struct {
	Descriptors int   // how many may be open at once
	Memory      int64 // bytes
	CPUs        int
}

// Bounds are how many of each kind may go on at once. [Resources.Bounds] knows how much each of them holds at the most.
type Bounds struct {
	Connections int
	Streams     int // of HTTP/2, on one connection
	Uploads     int
	Downloads   int // of files, HEAD included
	Listings    int // PROPFIND, and pages
	Archives    int // of collections
	Changes     int // all other requests
	Hashes      int // that requests wait for

	// ClientConnections and ClientRequests bound how many one client may have at once, besides the bound of half of the
	// free slots. 0: there is no other bound. ClientRequests bounds uploads, downloads, listings, archives and changes,
	// each by itself.
	ClientConnections, ClientRequests int
}

// The files and bytes that each kind of slot holds at the most. A listing has one directory open, and hashes eight
// files at once. A change can copy.
const (
	uploadFiles, downloadFiles, listingFiles, archiveFiles, changeFiles = 2, 1, 10, 11, 3

	connectionBytes = 64 << 10
	uploadBytes     = 320 << 10 // the buffer between the client and the disk
	downloadBytes   = 96 << 10
	listingBytes    = 4 << 20  // of a page that is sorted
	archiveBytes    = 32 << 20 // of the directory at its end, and of the garbage beside it
)

// Bounds returns bounds that leave a part of the memory free even if clients hold all slots. They also leave free the
// descriptors that belong to no client: those of the log, the index and the watcher. A third of the other descriptors
// is for connections.
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
		Archives:    least(files/32/archiveFiles, archiveBytes, 2),
		Changes:     least(files/7/changeFiles, downloadBytes, 8),
		Hashes:      max(8, 4*r.CPUs),
	}
}

const (
	// ownFiles is how many open files belong to no client, at the most. Nearly all of them are pages of the index.
	ownFiles = 192
	// maxAtOnce is the bound on systems that set no bounds.
	maxAtOnce = 1 << 16
	// streams is the smallest number that RFC 9113 §6.5.2 recommends.
	streams = 100
)

// Pools are the pools of one server.
type Pools struct {
	Streams                                                              int // see Bounds
	Connections, Uploads, Downloads, Listings, Archives, Changes, Hashes *Pool

	// TurnedAway remembers the clients whose connections were refused.
	TurnedAway *Refused
}

// Pools returns pools of these sizes.
func (b Bounds) Pools() *Pools {
	p := &Pools{
		Streams:     b.Streams,
		Connections: NewPool("connections", b.Connections),
		Uploads:     NewPool("uploads", b.Uploads),
		Downloads:   NewPool("downloads", b.Downloads),
		Listings:    NewPool("listings", b.Listings),
		Archives:    NewPool("archives", b.Archives),
		Changes:     NewPool("requests", b.Changes),
		Hashes:      NewPool("files to be read for their ETags", b.Hashes),
		TurnedAway:  NewRefused(),
	}
	p.Resize(b)
	return p
}

// Resize gives the pools other sizes. The number of streams stays.
func (p *Pools) Resize(b Bounds) {
	p.Connections.Resize(b.Connections, b.ClientConnections)
	p.Uploads.Resize(b.Uploads, b.ClientRequests)
	p.Downloads.Resize(b.Downloads, b.ClientRequests)
	p.Listings.Resize(b.Listings, b.ClientRequests)
	p.Archives.Resize(b.Archives, b.ClientRequests)
	p.Changes.Resize(b.Changes, b.ClientRequests)
	p.Hashes.Resize(b.Hashes, 0)
}

// System returns the resources that this process may use. If the system does not tell, System assumes that they are
// plenty.
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
