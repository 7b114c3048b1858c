package fs

import (
	"context"
	"errors"
	"fmt"
	iofs "io/fs"
	"strconv"
	"strings"
)

// madeFor returns the inode that an entry of the history was made for, and whether it belongs to a user.
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

// An underway is an entry that is on its way to a name, or back.
type underway struct {
	entry string
	moved bool // it is a user's
	note  note
	info  Info
}

// underway returns what is on its way in a directory of the history: users' resources, and with all also staged versions,
// which take a look at each entry to be found. Under [FS.Lock] that is what a process has died with, or could not put back.
// What is noted of the entries is read where that is not known.
func (p *place) underway(dir string, all bool, known map[string]note) (found []underway, err error) {
	f, err := p.calls.Open(dir)
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
		u := underway{entry: dir + "/" + name, moved: moved, info: info}
		if moved {
			if _, ok := known[name]; !ok && (known == nil || !fresh) {
				fresh = true
				if known, err = p.noted(dir); err != nil {
					return nil, err
				}
			}
			u.note = known[name]
		}
		is := info.Inode == inode
		if !is && moved {
			if is, err = p.isMistaken(u.note, inode, info); err != nil {
				return nil, err
			}
		}
		if is {
			found = append(found, u)
		}
	}
	return found, nil
}

// isMistaken reports whether what is in the place of a resource on its way was taken from where that was, because a local
// program had put it there, and not from where that was to go.
func (p *place) isMistaken(n note, inode uint64, info Info) (bool, error) {
	if n.from == "" || info.Inode == n.seen.Inode {
		return false, nil
	}
	arrived, err := p.calls.Lstat(n.path)
	if errors.Is(err, iofs.ErrNotExist) || isDisplaced(err) {
		return true, nil
	}
	return arrived.Inode != inode, err
}

// recoverHistory sees to what a dead process has left on its way in the history, see underway. It must not be called under
// [FS.Lock], which it takes where there is something. What is to be told of that, though it went well, comes apart from what
// did not.
func (p *place) recoverHistory(ctx context.Context, all bool) (told, err error) {
	dirs, err := p.hours()
	for _, dir := range dirs {
		if ctx.Err() != nil {
			return told, errors.Join(err, ctx.Err())
		}
		found, failed := p.underway(dir, all, nil)
		if failed == nil && len(found) > 0 {
			var unlock func()
			if unlock, failed = p.Lock(ctx); failed == nil {
				var news error
				news, failed = p.settleHour(dir, all, nil)
				unlock()
				told = errors.Join(told, news)
			}
		}
		err = errors.Join(err, failed)
	}
	return told, err
}

// settleHour sees to what is on its way in a directory of the history. It must be called under [FS.Lock].
func (p *place) settleHour(dir string, all bool, known map[string]note) (told, err error) {
	found, err := p.underway(dir, all, known)
	if len(found) > 0 && known != nil {
		found, err = p.underway(dir, all, nil)
	}
	for _, u := range found {
		if !u.moved {
			err = errors.Join(err, p.rename(u.entry, p.unique(p.in(trashPart), "")))
			continue
		}
		news, failed := p.sendBack(u)
		told, err = errors.Join(told, news), errors.Join(err, failed)
	}
	return told, err
}

// sendBack gives a resource its name back from which it was on its way; if that is taken, it was replaced meanwhile.
func (p *place) sendBack(u underway) (told, err error) {
	reason := errors.New("where it came from is not known")
	if n := u.note; n.from != "" {
		if reason = p.renameNew(u.entry, n.from); reason == nil {
			return nil, nil
		}
		if !errors.Is(reason, iofs.ErrExist) && !isDisplaced(reason) {
			return nil, fmt.Errorf("what was on its way to %q could not be put back as %q: %w", n.path, n.from, reason)
		}
	}
	if err := p.shelve(u.entry, note{path: u.note.from, cause: causeRecovered, seen: u.info}); err != nil {
		return nil, err
	}
	n := u.note
	return fmt.Errorf("what was on its way to %q when a server died is in the history, as what %q was: %w", n.path, n.from, reason), nil
}

// What the history says of something that has lost its name otherwise than by being replaced or removed: a process had died
// that had taken it away, or it could not have its name back; or that is still tried, see ErrAway.
const (
	causeRecovered  = "recovered"
	causeUnfinished = "unfinished"
)
