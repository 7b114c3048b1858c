// Package snapshots reads a directory while commits change names in it.
//
// Readers take no lock, and hold nothing while they look. So a reader that waits for a disk keeps no other request
// waiting. The sequence numbers of [volumes.Snapshot] say whether a commit has changed names meanwhile. So a reader
// sees all names as of one instant at which no commit was half done, and it sees no version that is taken back.
package snapshots

import (
	"context"
	"errors"
	"fmt"
	"syscall"

	"r-seed-1f3a754f.example/ifmatch/etagfs/failure"
	"r-seed-1f3a754f.example/ifmatch/fs"
	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
	"r-seed-1f3a754f.example/ifmatch/fs/volumes"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

// readTries is how often a reader looks at names that commits change meanwhile, before it keeps commits out.
const readTries = 3

// ErrMoved says that a look was in vain because names have changed meanwhile. [Reader.Read] never returns it.
var ErrMoved = errors.New("names have changed since the first look")

// A Reader reads a directory beside the commits in it. FS is needed.
type Reader struct {
	FS *fs.FS
	// Held is called when a read holds the locks of volumes, and the function that it returns before they are released.
	Held func() (end func())
	// Met is called with each file that was opened, and the name by which it was.
	Met func(f *vfs.File, name string, info vfs.Info)
}

// Read calls look until all looks at names that look takes through the snapshot are as of one instant. The result of a
// call that was in vain is dropped, and so is its error. The last tries are under the locks of the volumes that look
// has passed. All waits together are bounded, and then fail with ErrBusy. If a lock cannot be had, there is one more
// try without it.
func (r *Reader) Read(ctx context.Context, look func(at *volumes.Snapshot) error) error {
	at := r.FS.Snapshot()
	for range readTries {
		if err := at.Begin(ctx); err != nil {
			return heldUp(err)
		}
		if err := look(at); at.Valid() {
			return err
		}
	}
	if r.FS.ReadOnly() {
		at.BeginAlone() // this process commits nothing
		return look(at)
	}
	for range lockedTries {
		unlock, err := at.Lock(ctx)
		if errors.Is(err, vfs.ErrBusy) {
			if at.Begin(ctx) == nil {
				if err := look(at); at.Valid() {
					return err
				}
			}
		}
		if err != nil {
			return heldUp(err)
		}
		end := r.Held()
		err = look(at)
		valid := at.Valid()
		end()
		if unlock(); valid {
			return err
		}
	}
	return failure.ErrHeldUp
}

// lockedTries is how often a reader looks under locks. After the first such try, a link may lead it to a volume that it
// did not pass before.
const lockedTries = 3

// heldUp explains that names on the path have been in the middle of a commit for a long time.
func heldUp(err error) error {
	if errors.Is(err, vfs.ErrBusy) {
		return fmt.Errorf("%w: %w", failure.ErrHeldUp, err)
	}
	return err
}

// Look looks at the resource that a name stands for. It asks follow about each link on the way (nil: all are followed).
func (r *Reader) Look(ctx context.Context, name string, follow tree.Follow) (info vfs.Info, err error) {
	err = r.Read(ctx, func(at *volumes.Snapshot) (err error) {
		at.Follow = failure.OfFollow(follow)
		info, err = at.Stat(name)
		return err
	})
	return info, err
}

// Open opens the file that a name stands for. The file is nil if the name stands for a collection.
func (r *Reader) Open(ctx context.Context, name string) (*vfs.File, vfs.Info, error) {
	return r.OpenIf(ctx, name, nil, nil)
}

// OpenIf is [volumes.Snapshot.OpenIf], and asks follow about each link on the way. It calls decide with the snapshot in
// which the look at the name was taken. It calls decide again if that snapshot is no longer valid when the file has
// been opened.
func (r *Reader) OpenIf(
	ctx context.Context, name string, follow tree.Follow,
	decide func(at *volumes.Snapshot, look vfs.Info) (enough bool, err error),
) (f *vfs.File, info vfs.Info, err error) {
	closed := func() {
		if f != nil {
			f.Close()
			f = nil
		}
	}
	err = r.Read(ctx, func(at *volumes.Snapshot) (err error) {
		closed() // the file of an earlier try
		at.Follow = failure.OfFollow(follow)
		var decided func(vfs.Info) (bool, error)
		if decide != nil {
			decided = func(look vfs.Info) (bool, error) { return decide(at, look) }
		}
		f, info, err = at.OpenIf(name, decided)
		return err
	})
	if err != nil {
		closed()
		return nil, vfs.Info{}, err
	}
	if f != nil {
		r.Met(f, name, info)
	}
	return f, info, nil
}

// OpenDir opens a collection.
func OpenDir(at *volumes.Snapshot, name string, opts volumes.DirOptions) (*volumes.Dir, error) {
	d, err := at.OpenDir(name, opts)
	if errors.Is(err, syscall.ENOTDIR) {
		err = fmt.Errorf("listing %q: %w", name, failure.ErrNotCollection)
	}
	return d, err
}
