package fs

import (
	"cmp"
	"errors"
	"fmt"
	iofs "io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// The history keeps what a commit has replaced or removed, by rename, for as long as [FS.Expire] lets it. It has a
// directory for each hour (UTC), and another one for the same hour when one has become large, so that what is oldest
// can go by a single rename:
//
//	history/2026112509/paths            one note for each entry, see note
//	history/2026112509/n1234-…          what came out of an exchange for the staged version with inode 1234
//	history/2026112509/m1234-…          what came out of an exchange for the resource with inode 1234, that was moved
//	history/2026112509/r…               what was removed
//
// A staged version is in the history while it is exchanged, so that what it replaces is there at the same instant. That
// takes place under [FS.Lock]; whoever else has the lock and finds an n or m that is the very inode of its name finds
// what its maker has died with, or could not put back: an n never was a version, and is nobody's; an m is a user's, and goes
// back to where it came from, before anything happens to the directory that it is in. Both inodes exist at the moment of
// the exchange, so what came out never has the inode of the name.
const (
	pathsName = "paths"

	stagedPrefix  = "n"
	movedPrefix   = "m"
	removedPrefix = "r"

	hourFormat = "2006010215"
)

// A directory of the history is full at this many entries, or at this part of the most that the history may take.
const (
	maxEntries = 10_000
	maxPart    = 16
)

// history is what this process knows of the history.
type history struct {
	mu      sync.Mutex
	hour    string // as it is written to
	part    int    // of that hour
	entries int    // that we have made in it
	bytes   int64  // in these, as far as they are files
	most    int64  // that the history may take, once that is known; see Expire
	added   int64  // bytes, since Expire was called
	sizes   map[string]measured
	heard   map[string]*hearing // by directory; see LateVersions
	told    *Retention          // what Expire was told
	noted   map[string]uint64   // of a directory with notes that may not be on disk, a number of the last one; see syncNotes
}

// hourDir returns the directory of the history for now.
func (p *place) hourDir(size int64) string {
	hour := p.opts.Now().UTC().Format(hourFormat)
	h := &p.history
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.hour != hour {
		h.hour, h.part, h.entries, h.bytes = hour, p.lastPart(hour), 0, 0
	} else if h.entries >= maxEntries || h.most > 0 && h.bytes >= h.most/maxPart {
		h.part, h.entries, h.bytes = h.part+1, 0, 0
	}
	h.entries++
	h.bytes += inBlocks(size)
	h.added += inBlocks(size)
	return p.partDir(h.hour, h.part)
}

func (p *place) partDir(hour string, part int) string {
	dir := p.in(historyPart) + "/" + hour
	if part > 0 {
		dir += fmt.Sprintf(".%04d", part)
	}
	return dir
}

// lastPart returns the last part of an hour that there is, by whichever process: what is newest is in the last directory.
func (p *place) lastPart(hour string) (part int) {
	dirs, _ := p.hours()
	for _, dir := range slices.Backward(dirs) {
		name, number, parted := strings.Cut(path.Base(dir), ".")
		if name == hour && parted {
			part, _ = strconv.Atoi(number)
		}
		if name <= hour {
			break
		}
	}
	return part
}

// leavePart has what comes next go into another directory than this one, which is about to go.
func (p *place) leavePart(dir string) {
	hour, number, _ := strings.Cut(path.Base(dir), ".")
	part, _ := strconv.Atoi(number)
	h := &p.history
	h.mu.Lock()
	defer h.mu.Unlock()
	if hour != p.opts.Now().UTC().Format(hourFormat) {
		return
	}
	if h.hour != hour {
		h.hour, h.part = hour, p.lastPart(hour)
	}
	if part >= h.part {
		h.part, h.entries, h.bytes = part+1, 0, 0
	}
}

// enter gives what has a name another one in the history, of which n tells. It returns that. It must be called under
// [FS.Lock].
func (p *place) enter(name, prefix string, n note) (entry string, err error) {
	dir := p.hourDir(n.seen.Size)
	entry = p.unique(dir, prefix)
	n.entry, n.time = path.Base(entry), cmp.Or(n.time, p.opts.Now().UnixNano())
	step := func() error {
		// A user's resource on its way needs to find back, whatever happens.
		onItsWay := n.from != ""
		if p.opts.History || onItsWay || n.kept {
			if err := p.noteDown(dir, n, onItsWay); err != nil {
				return err
			}
		}
		return p.renameNew(name, entry)
	}
	err = step()
	if errors.Is(err, iofs.ErrNotExist) {
		// What does not exist is mostly the directory.
		if err = p.makeHour(dir); err == nil {
			err = step()
		}
	}
	return entry, err
}

func (p *place) makeHour(dir string) error {
	err := p.makeDir(dir)
	if errors.Is(err, iofs.ErrNotExist) {
		if err = p.makeDir(p.in(historyPart)); err == nil {
			err = p.makeDir(dir)
		}
	}
	if err == nil && p.opts.Durability == Full {
		err = p.syncDir(p.in(historyPart))
	}
	return err
}

// keep ends a commit: what is in the history now stays there, or goes, if there is to be none.
func (p *place) keep(entry string) {
	if !p.opts.History {
		_ = p.rename(entry, p.unique(p.in(trashPart), "")) // what stays goes with its hour
	}
}

// shelve makes an entry of what could not be put back to its name, for good.
func (p *place) shelve(entry string, n note) error {
	n.from, n.kept, n.time = "", true, 0
	_, err := p.enter(entry, removedPrefix, n)
	return err
}

// linkIntoHistory gives what is about to be replaced by a rename, or is in a collection of the history, a second name. Where
// that cannot be, there is no history of it by itself.
func (p *place) linkIntoHistory(name string, n note) {
	dir := p.hourDir(n.seen.Size)
	entry := p.unique(dir, removedPrefix)
	n.entry, n.time = path.Base(entry), p.opts.Now().UnixNano()
	err := p.noteDown(dir, n, false)
	if errors.Is(err, iofs.ErrNotExist) {
		if err = p.makeHour(dir); err == nil {
			err = p.noteDown(dir, n, false)
		}
	}
	if err == nil {
		_ = p.calls.Link(name, entry)
	}
}
