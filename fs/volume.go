package fs

import (
	"sync/atomic"

	"r-seed-1f3a754f.example/ifmatch/fs/history"
	"r-seed-1f3a754f.example/ifmatch/fs/properties"
	"r-seed-1f3a754f.example/ifmatch/fs/trash"
	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
	"r-seed-1f3a754f.example/ifmatch/fs/volumes"
)

// A volume is what this package keeps about a volume: the history of the versions that were replaced there, and the
// work that is left to be done.
type volume struct {
	*FS
	*volumes.Volume

	history      *history.History
	properties   *properties.Store
	pendingUndos pendingUndos
	trash        *trash.Trash

	lookedAfter atomic.Bool // the history entries that dead processes have left were recovered
	knownDead   []string    // the sessions of dead processes that are still there, see Recover
}

// A layer is the FS as its tree sees it.
type layer struct{ *FS }

// NewVolume implements [volumes.Layer].
func (l layer) NewVolume(v *volumes.Volume) volumes.Above {
	u := &volume{FS: l.FS, Volume: v, trash: trash.New(l.Tree, v, l.calls, l.opts.Now, l.report)}
	u.properties = properties.NewStore(l.Values, v)
	u.history = history.New(l.Histories, v, u.trash, u)
	if v.Top == "." {
		l.root = u
	}
	return u
}

// of returns what this package keeps about a volume, which may be nil.
func of(v *volumes.Volume) *volume {
	if v == nil {
		return nil
	}
	return v.Above.(*volume)
}

// volumes returns all known volumes, the volume of the root first.
func (s *FS) volumes() []*volume { return volumes.Each(s.Tree.Volumes(), of) }

// answering returns the volumes that answer, the volume of the root first. It is for background work, which sees to the
// other volumes when they answer.
func (s *FS) answering() []*volume { return volumes.Each(s.Tree.Answering(), of) }

// volumeFor returns the volume that holds the members of a directory. If dir is not a directory, it returns the volume
// of the root, and the caller's next operation reports the error.
func (s *FS) volumeFor(dir string) (*volume, error) {
	v, err := s.Tree.VolumeFor(dir)
	return of(v), err
}

// volumeHolding returns the volume of the file or collection that the caller has just seen at a name.
func (s *FS) volumeHolding(name string, seen vfs.Info) (*volume, error) {
	v, err := s.Tree.VolumeHolding(name, seen)
	return of(v), err
}
