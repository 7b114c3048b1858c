package etagfs

import (
	"context"
	"errors"
	"fmt"
	"syscall"

	"r-seed-1f3a754f.example/ifmatch/etagfs/failure"
	"r-seed-1f3a754f.example/ifmatch/fs"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

// Readers take no lock, and hold nothing while they look. So a reader that waits for a disk keeps no other request
// waiting. The sequence numbers of [fs.Snapshot] say whether a commit has changed names meanwhile. So a reader sees all
// names as of one instant at which no commit was half done, and it sees no version that is taken back.

// readTries is how often a reader looks at names that commits change meanwhile, before it keeps commits out.
const readTries = 3

// errMoved says that a look was in vain because names have changed meanwhile. [Store.read] never returns it.
var errMoved = errors.New("names have changed since the first look")

// read calls look until all looks at names that look takes through the snapshot are as of one instant. The result of a
// call that was in vain is dropped, and so is its error. The last tries are under the locks of the volumes that look
// has passed. All waits together are bounded, and then fail with ErrBusy. If a lock cannot be had, there is one more
// try without it.
func (s *Store) read(ctx context.Context, look func(at *fs.Snapshot) error) error {
	at := s.fs.Snapshot()
	for range readTries {
		if err := at.Begin(ctx); err != nil {
			return heldUp(err)
		}
		if err := look(at); at.Valid() {
			return err
		}
	}
	if s.fs.ReadOnly() {
		at.BeginAlone() // this process commits nothing
		return look(at)
	}
	for range lockedTries {
		unlock, err := at.Lock(ctx)
		if errors.Is(err, fs.ErrBusy) {
			if at.Begin(ctx) == nil {
				if err := look(at); at.Valid() {
					return err
				}
			}
		}
		if err != nil {
			return heldUp(err)
		}
		end := s.noteHeld()
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
	if errors.Is(err, fs.ErrBusy) {
		return fmt.Errorf("%w: %w", failure.ErrHeldUp, err)
	}
	return err
}

// look looks at the resource that a name stands for.
func (s *Store) look(ctx context.Context, name string) (info fs.Info, err error) {
	return s.lookFor(ctx, name, nil)
}

// lookFor is look for a reader who may not follow each link.
func (s *Store) lookFor(ctx context.Context, name string, follow tree.Follow) (info fs.Info, err error) {
	err = s.read(ctx, func(at *fs.Snapshot) (err error) {
		at.Follow = failure.OfFollow(follow)
		info, err = at.Stat(name)
		return err
	})
	return info, err
}

func (s *Store) open(ctx context.Context, name string) (*fs.File, fs.Info, error) {
	return s.openIf(ctx, name, nil, nil)
}

// openIf is [fs.FS.OpenIf]. It calls decide with the snapshot in which the look at the name was taken. It calls decide
// again if that snapshot is no longer valid when the file has been opened.
func (s *Store) openIf(
	ctx context.Context, name string, follow tree.Follow, decide func(at *fs.Snapshot, look fs.Info) (enough bool, err error),
) (f *fs.File, info fs.Info, err error) {
	closed := func() {
		if f != nil {
			f.Close()
			f = nil
		}
	}
	err = s.read(ctx, func(at *fs.Snapshot) (err error) {
		closed() // the file of an earlier try
		at.Follow = failure.OfFollow(follow)
		var decided func(fs.Info) (bool, error)
		if decide != nil {
			decided = func(look fs.Info) (bool, error) { return decide(at, look) }
		}
		f, info, err = at.OpenIf(name, decided)
		return err
	})
	if err != nil {
		closed()
		return nil, fs.Info{}, err
	}
	if f != nil {
		s.hasher.Meet(f, name, info)
	}
	return f, info, nil
}

// attributes returns the stored properties of the resource that a look has found at a name.
func (s *Store) attributes(ctx context.Context, name string, follow tree.Follow, look fs.Info) (data []byte, err error) {
	if s.index.Plain(look.Fingerprint) {
		return nil, nil
	}
	if look.Kind == fs.Regular {
		f, info, err := s.openIf(ctx, name, follow, nil)
		if err != nil {
			return nil, err
		}
		if f != nil {
			defer f.Close()
			return s.attributesOf(f, info)
		}
	}
	err = s.read(ctx, func(at *fs.Snapshot) (err error) {
		at.Follow = failure.OfFollow(follow)
		data, err = at.Attributes(name)
		return err
	})
	return data, err
}

// covering returns the locks that cover a name.
func (s *Store) covering(ctx context.Context, name string) (locks []tree.Lock, err error) {
	err = s.read(ctx, func(at *fs.Snapshot) (err error) {
		locks, err = s.viewAt(at).Covering(name)
		return err
	})
	return locks, err
}

// openDir opens a collection.
func openDir(at *fs.Snapshot, name string, opts fs.DirOptions) (*fs.Dir, error) {
	d, err := at.OpenDir(name, opts)
	if errors.Is(err, syscall.ENOTDIR) {
		err = fmt.Errorf("listing %q: %w", name, failure.ErrNotCollection)
	}
	return d, err
}
