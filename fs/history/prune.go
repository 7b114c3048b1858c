package history

import (
	"context"
	"errors"
	"fmt"
	iofs "io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"r-seed-1f3a754f.example/ifmatch/fs/volumes"
)

// PruneOptions qualify [Histories.Prune].
type PruneOptions struct {
	DryRun bool // drop nothing
	// Dropped is told of each version that is dropped, with the space that it takes, in bytes (nil: nobody is told). It
	// is called without the lock.
	Dropped func(k Kept, bytes int64)
}

// Prune drops the versions that the history keeps of a name and of all names below it, as [Histories.History] returns
// them, before their time is over. Of a collection above the name it drops the member, and keeps the rest. It may be
// called at any time except under the lock, which it takes for an instant now and then, also beside other processes.
// Emptying the trash frees the space.
//
// It leaves versions that a commit is at work on, and recovered ones: of those no request has asked for a removal, so
// that they may be the only copy. left is how many these are. If a version cannot be dropped, Prune goes on with the
// others.
func (s *Histories) Prune(ctx context.Context, name string, opts PruneOptions) (left int, err error) {
	var errs []error
	answering := s.answering()
	for _, h := range answering {
		n, err := h.prune(ctx, name, opts)
		left, errs = left+n, append(errs, err)
	}
	if silent := len(s.all()) - len(answering); silent > 0 {
		errs = append(errs, fmt.Errorf("%d file systems below do not answer: their history stays", silent))
	}
	return left, errors.Join(errs...)
}

// A prunable is a version to be dropped, and the entry of the history that it is, or is a member of.
type prunable struct {
	Kept
	entry string
	note  Note
	bytes int64
}

func (h *History) prune(ctx context.Context, name string, opts PruneOptions) (left int, err error) {
	all, err := h.keptAt(name, time.Time{})
	if err != nil {
		return 0, err
	}
	slices.SortFunc(all, oldestFirst)
	var found []prunable
	notes := map[string]map[string]Note{}
	for _, k := range all {
		if k.Cause == CauseRecovered {
			left++
			continue
		}
		entry := h.entryOf(k)
		dir := path.Dir(entry)
		if notes[dir] == nil {
			if notes[dir], err = h.readNotes(dir); err != nil {
				return left, err
			}
		}
		one := prunable{Kept: k, entry: entry, note: notes[dir][path.Base(entry)]}
		if one.bytes, err = h.sizeOf(ctx, k.at, k.Info); err != nil {
			return left, err
		}
		found = append(found, one)
	}
	var errs []error
	for some := range slices.Chunk(found, batch) {
		dropped := some
		if !opts.DryRun {
			var stayed int
			dropped, stayed, err = h.dropVersions(ctx, some)
			left, errs = left+stayed, append(errs, err)
		}
		for _, one := range dropped {
			if opts.Dropped != nil {
				opts.Dropped(one.Kept, one.bytes)
			}
		}
		if ctx.Err() != nil {
			break
		}
	}
	return left, errors.Join(errs...)
}

// dropVersions moves some versions of the history to the trash. A version that has gone meanwhile counts neither as
// dropped nor as stayed.
func (h *History) dropVersions(ctx context.Context, some []prunable) (dropped []prunable, stayed int, err error) {
	unlock, err := h.volume.Lock(ctx)
	if err != nil {
		return nil, len(some), err
	}
	defer unlock()
	var errs []error
	for _, one := range some {
		if _, ok := h.version(one.entry, one.note); !ok {
			if _, err := h.calls.Lstat(one.entry); !errors.Is(err, iofs.ErrNotExist) {
				stayed++
			}
			continue
		}
		switch err := h.trash.Put(one.at); {
		case err == nil:
			dropped = append(dropped, one)
		case !errors.Is(err, iofs.ErrNotExist):
			stayed++
			errs = append(errs, fmt.Errorf("a version of %q stays: %w", one.Path, err))
		}
	}
	return dropped, stayed, errors.Join(errs...)
}

// entryOf returns the entry of the history that a version is, or is a member of.
func (h *History) entryOf(k Kept) string {
	above := h.volume.StatePath(volumes.HistoryPart) + "/"
	segments := strings.SplitN(strings.TrimPrefix(k.at, above), "/", 3)
	return above + strings.Join(segments[:min(len(segments), 2)], "/")
}
