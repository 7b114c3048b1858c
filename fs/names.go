package fs

import "r-seed-1f3a754f.example/ifmatch/fs/volumes"

// Options and Durability are for a caller that opens a tree. All other names are those of the package they are from.
type (
	Options    = volumes.Options
	Durability = volumes.Durability
)

// The durabilities, the strongest first.
const (
	Full = volumes.Full
	Data = volumes.Data
	None = volumes.None
)
