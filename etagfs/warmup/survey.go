package warmup

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"golang.org/x/sync/errgroup"

	"r-seed-1f3a754f.example/ifmatch/etagfs/failure"
	"r-seed-1f3a754f.example/ifmatch/etagfs/hashing"
	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

// A Survey counts the files of the root's file system, and of those below it whose tags the index can keep on disk.
type Survey struct {
	Files, Bytes      int64
	Known, KnownBytes int64 // of these, the files whose tags are known
	Unreadable        int64 // files and directories
	Kept              bool  // the index is on disk, so that it survives a restart
	Processes         int   // the processes that use the index on disk, with this one
}

// Survey looks at every file and hashes none.
func (w *Warmer) Survey(ctx context.Context) (Survey, error) {
	found := Survey{Kept: w.Index.OnDisk(), Processes: w.Index.Processes()}
	err := w.walk(ctx, func(name string, info vfs.Info, err error) error {
		if err != nil {
			found.Unreadable++
			return nil
		}
		found.Files++
		found.Bytes += info.Size
		if _, ok := w.Index.Tag(info.Fingerprint); ok {
			found.Known++
			found.KnownBytes += info.Size
		}
		return nil
	})
	return found, err
}

// A Reading is the result of reading a file for the index, and not for a client.
type Reading struct {
	Name string
	Size int64
	Err  error // why the file could not be read, or has no tag (tree.ErrBusy if it keeps changing)
	// Was is the tag that the index had of exactly this version, if it had one. Is is the tag of the bytes now. If the
	// two differ, the bytes have changed, but no time stamp has.
	Was, Is tree.ETag
}

// Warm hashes the files whose tags are not known, up to atOnce at a time, and calls each with every result. If ctx ends
// first, Warm returns the error of ctx.
func (w *Warmer) Warm(ctx context.Context, atOnce int, each func(Reading)) error {
	return w.readAll(ctx, atOnce, each, func(info vfs.Info) bool {
		_, known := w.Index.Tag(info.Fingerprint)
		return !known
	}, func(name string) Reading {
		info, tag, err := w.Hasher.Hash(ctx, name, hashing.ForAnswer)
		return Reading{Name: name, Size: info.Size, Is: tag, Err: err}
	})
}

// Verify reads every file again, from the disk if the system allows that, and calls each with every result. The index
// remembers the tag of the present bytes, as after any other hash, and forgets a tag that does not match them. A tag
// must be that of the bytes, however the bytes have changed.
func (w *Warmer) Verify(ctx context.Context, atOnce int, each func(Reading)) error {
	all := func(vfs.Info) bool { return true }
	return w.readAll(ctx, atOnce, each, all, func(name string) Reading { return w.verify(ctx, name) })
}

// readAll reads the files that chosen selects. As soon as a file is read, readAll calls each with the result, one
// result at a time.
func (w *Warmer) readAll(
	ctx context.Context, atOnce int, each func(Reading), chosen func(vfs.Info) bool, read func(name string) Reading,
) error {
	var telling sync.Mutex
	tell := func(r Reading) {
		if errors.Is(r.Err, tree.ErrNotExist) {
			return // removed since
		}
		telling.Lock()
		defer telling.Unlock()
		each(r)
	}
	var reading errgroup.Group
	reading.SetLimit(max(1, atOnce))
	err := w.walk(ctx, func(name string, info vfs.Info, err error) error {
		if err != nil {
			tell(Reading{Name: name, Err: err})
			return nil
		}
		if chosen(info) {
			reading.Go(func() error {
				if r := read(name); ctx.Err() == nil {
					tell(r)
				}
				return nil
			})
		}
		return nil
	})
	return errors.Join(err, reading.Wait(), ctx.Err())
}

func (w *Warmer) verify(ctx context.Context, name string) Reading {
	f, info, err := w.Reader.Open(ctx, name)
	if err != nil || f == nil {
		return Reading{Name: name, Err: failure.Of(err)}
	}
	defer f.Close()
	r := Reading{Name: name, Size: info.Size}
	for range hashing.ForCheck.Rounds {
		was, known := w.Index.Tag(info.Fingerprint)
		f.Uncache()
		again, sum, err := w.Hasher.HashOnce(ctx, f, info, hashing.ForCheck)
		switch {
		case errors.Is(err, hashing.ErrChanged):
			info = again
			continue
		case err != nil:
			r.Err = failure.Of(fmt.Errorf("reading %q: %w", name, err))
			return r
		}
		r.Is = tree.TagOf(sum)
		if known && again.Fingerprint == info.Fingerprint {
			r.Was = was
		}
		if r.Was != "" && r.Was != r.Is {
			w.Index.Corrected()
		}
		if now, ok := w.Index.Tag(again.Fingerprint); ok && now != r.Is {
			w.Index.Forget(again.Fingerprint) // a program may be writing to it, so its present tag is not known either
		}
		return r
	}
	r.Err = tree.ErrBusy
	return r
}
