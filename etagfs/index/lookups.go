package index

import "sync/atomic"

// Lookups are how often a record was looked for since the index was opened, by where it was found.
type Lookups struct {
	Memory  uint64 // in memory, without a system call
	Disk    uint64 // in the pages on the disk
	Missing uint64 // nowhere, so that the file has to be hashed
}

// lookups counts them.
type lookups struct{ memory, disk, missing atomic.Uint64 }

// Lookups returns how often a record was looked for.
func (x *Index) Lookups() Lookups {
	return Lookups{x.lookups.memory.Load(), x.lookups.disk.Load(), x.lookups.missing.Load()}
}
