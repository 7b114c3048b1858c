package history

import (
	"context"
	"errors"
	iofs "io/fs"
	"path"
	"strconv"
	"strings"

	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
)

// madeFor returns the inode of the staged version that an entry of the history was made for.
func madeFor(entry string) (inode uint64, ok bool) {
	rest, ok := strings.CutPrefix(entry, stagedPrefix)
	if !ok {
		return 0, false
	}
	digits, _, _ := strings.Cut(rest, "-")
	inode, err := strconv.ParseUint(digits, 10, 64)
	return inode, err == nil
}

// findStaged returns the entries of a directory of the history that are staged versions: those that a process left when
// it died, or could not take back, and those of commits that are under way.
func (h *History) findStaged(dir string) (found []string, err error) {
	f, err := h.calls.Open(dir)
	if err != nil {
		return nil, vfs.Ignoring(err, iofs.ErrNotExist)
	}
	defer f.Close()
	for name, err := range f.AllNames() {
		if err != nil {
			return nil, err
		}
		inode, ok := madeFor(name)
		if !ok {
			continue
		}
		info, err := f.LstatIn(name)
		if errors.Is(err, iofs.ErrNotExist) {
			continue
		} else if err != nil {
			return nil, err
		}
		if info.Inode == inode {
			found = append(found, dir+"/"+name)
		}
	}
	return found, nil
}

// Recover removes the staged versions that a dead process has left in the history, see findStaged. It must not be
// called under the lock, which it takes if it finds such entries.
func (h *History) Recover(ctx context.Context) error {
	dirs, err := h.hours()
	for _, dir := range dirs {
		if ctx.Err() != nil {
			return errors.Join(err, ctx.Err())
		}
		found, failed := h.findStaged(dir)
		for _, entry := range found {
			failed = errors.Join(failed, h.removeStaged(ctx, entry))
		}
		err = errors.Join(err, failed)
	}
	return err
}

// removeStaged removes an entry that was found to be a staged version, if it is one still. The data of an upload goes
// back to it. The upload is looked for before the lock is taken, since there may be many.
func (h *History) removeStaged(ctx context.Context, entry string) error {
	inode, _ := madeFor(path.Base(entry))
	data, err := h.above.UploadOf(inode)
	if err != nil {
		return err
	}
	unlock, err := h.volume.Lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	info, err := h.calls.Lstat(entry)
	if err != nil || info.Inode != inode {
		return vfs.Ignoring(err, iofs.ErrNotExist) // its commit has come to its end
	}
	if data != "" {
		if err = h.volume.RenameNew(entry, data); !errors.Is(err, iofs.ErrExist) {
			return err
		}
	}
	return h.trash.Put(entry)
}

// CauseRecovered is the cause that the history gives for a version that lost its name although no request replaced or
// removed it: a process died that had taken the version away, or the version could not have its name back.
const CauseRecovered = "recovered"
