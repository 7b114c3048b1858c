package history

import (
	"context"
	"errors"
	"fmt"
	iofs "io/fs"
	"strconv"
	"strings"

	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
	"r-seed-1f3a754f.example/ifmatch/fs/volumes"
)

// madeFor returns the inode that an entry of the history was made for. moved reports whether the entry belongs to a
// user.
func madeFor(entry string) (inode uint64, moved, ok bool) {
	for _, prefix := range []string{stagedPrefix, movedPrefix} {
		if rest, found := strings.CutPrefix(entry, prefix); found {
			digits, _, _ := strings.Cut(rest, "-")
			inode, err := strconv.ParseUint(digits, 10, 64)
			return inode, prefix == movedPrefix, err == nil
		}
	}
	return 0, false, false
}

// A moving is an entry of the history that is on its way to a name, or on its way back.
type moving struct {
	entry string
	moved bool // it belongs to a user: an older server has moved it
	note  Note
	info  vfs.Info
}

// findMoving returns the entries of a directory of the history that are on their way to a name. These are files and
// collections of users. With all they are also staged versions, and findMoving looks at each entry to find them. If the
// caller holds the lock, these are the entries that a process left when it died, or could not move back. findMoving
// reads the notes of the entries that known does not have.
func (h *History) findMoving(dir string, all bool, known map[string]Note) (found []moving, err error) {
	f, err := h.calls.Open(dir)
	if errors.Is(err, iofs.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	defer f.Close()
	names, err := f.Names(-1)
	if err != nil {
		return nil, err
	}
	fresh := known == nil
	for _, name := range names {
		inode, moved, ok := madeFor(name)
		if !ok || !moved && !all {
			continue
		}
		info, err := f.LstatIn(name)
		if errors.Is(err, iofs.ErrNotExist) {
			continue
		} else if err != nil {
			return nil, err
		}
		u := moving{entry: dir + "/" + name, moved: moved, info: info}
		if moved {
			if _, ok := known[name]; !ok && (known == nil || !fresh) {
				fresh = true
				if known, err = h.readNotes(dir); err != nil {
					return nil, err
				}
			}
			u.note = known[name]
		}
		is := info.Inode == inode
		if !is && moved {
			if is, err = h.isMistaken(u.note, inode, info); err != nil {
				return nil, err
			}
		}
		if is {
			found = append(found, u)
		}
	}
	return found, nil
}

// isMistaken reports whether an entry was moved from the source by mistake. The mistake is that a local program had
// replaced the source between the look and the rename, so that the entry is that program's version.
func (h *History) isMistaken(n Note, inode uint64, info vfs.Info) (bool, error) {
	if n.From == "" || info.Inode == n.Seen.Inode {
		return false, nil
	}
	arrived, err := h.calls.Lstat(n.Path)
	if errors.Is(err, iofs.ErrNotExist) || volumes.IsDisplaced(err) {
		return true, nil
	}
	return arrived.Inode != inode, err
}

// Recover finishes the moves of entries of the history that a dead process has left, see findMoving. It must not
// be called under the lock, which it takes if it finds such entries. told describes the finished moves, and err the
// failures.
func (h *History) Recover(ctx context.Context, all bool) (told, err error) {
	dirs, err := h.hours()
	for _, dir := range dirs {
		if ctx.Err() != nil {
			return told, errors.Join(err, ctx.Err())
		}
		found, failed := h.findMoving(dir, all, nil)
		if failed == nil && len(found) > 0 {
			var unlock func()
			if unlock, failed = h.volume.Lock(ctx); failed == nil {
				var news error
				news, failed = h.finishMoving(dir, all, nil)
				unlock()
				told = errors.Join(told, news)
			}
		}
		err = errors.Join(err, failed)
	}
	return told, err
}

// finishMoving moves back the entries of a directory of the history that are on their way to a name. It must be called
// under the lock.
func (h *History) finishMoving(dir string, all bool, known map[string]Note) (told, err error) {
	found, err := h.findMoving(dir, all, known)
	if len(found) > 0 && known != nil {
		found, err = h.findMoving(dir, all, nil)
	}
	for _, u := range found {
		if !u.moved {
			returned, failed := h.above.ReturnUpload(u.entry, u.info.Inode)
			if failed == nil && !returned {
				failed = h.trash.Put(u.entry)
			}
			err = errors.Join(err, failed)
			continue
		}
		news, failed := h.restoreMoved(u)
		told, err = errors.Join(told, news), errors.Join(err, failed)
	}
	return told, err
}

// restoreMoved moves an entry back to the name that it came from. If that name is taken, the entry stays in the
// history.
func (h *History) restoreMoved(u moving) (told, err error) {
	reason := errors.New("where it came from is not known")
	if n := u.note; n.From != "" {
		if reason = h.volume.RenameNew(u.entry, n.From); reason == nil {
			return nil, nil
		}
		if !errors.Is(reason, iofs.ErrExist) && !volumes.IsDisplaced(reason) {
			return nil, fmt.Errorf("what was on its way to %q could not be put back as %q: %w", n.Path, n.From, reason)
		}
	}
	if err := h.KeepOrphan(u.entry, Note{Path: u.note.From, Cause: CauseRecovered, Seen: u.info}); err != nil {
		return nil, err
	}
	n := u.note
	return fmt.Errorf("what was on its way to %q when a server died is in the history, as what %q was: %w",
		n.Path, n.From, reason), nil
}

// Causes that the history gives for a version that lost its name although no request replaced or removed it. The cause
// is recovered if a process died that had taken the version away, or if the version could not have its name back. The
// cause is unfinished while another try is due, see fs.ErrAway.
const (
	CauseRecovered  = "recovered"
	causeUnfinished = "unfinished"
)
