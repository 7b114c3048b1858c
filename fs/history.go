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
//	history/2026112509/r…               what was removed, or replaced by a move
//	history/2026112509/m1234-…          as n, for a resource with inode 1234 that an older server has moved
//
// A staged version is in the history while it is exchanged, so that what it replaces is there at the same instant. That
// takes place under [FS.Lock]. Another holder of the lock that finds an n with the very inode of its name has found a
// staged version whose maker has died, or could not take it back: it never was a version, and is removed. Such an m is a
// user's. It goes back to where it came from, before anything happens to the directory that it is in. Both inodes exist
// at the moment of the exchange, so what came out never has the inode of the name.
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
	mu        sync.Mutex
	hour      string // as it is written to
	part      int    // of that hour
	entries   int    // that we have made in it
	bytes     int64  // in these, as far as they are files
	most      int64  // that the history may take, once that is known; see Expire
	added     int64  // bytes, since Expire was called
	sizes     map[string]measured
	lateScans map[string]*lateScan // by directory; see LateVersions
	told      *Retention           // what Expire was told
	noted     map[string]uint64    // by directory: a number of the last note that may not be on disk; see syncNotes
	held      map[string]bool      // the entries of which nothing goes; see Taken
}

// hold keeps an entry from expiry, for this process. release ends that.
func (h *history) hold(entry string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.held == nil {
		h.held = map[string]bool{}
	}
	h.held[entry] = true
}

func (h *history) release(entry string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.held, entry)
}

// holdsIn reports whether an entry is held, or one in a directory of the history.
func (h *history) holdsIn(name string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	for entry := range h.held {
		if isIn(entry, name) {
			return true
		}
	}
	return false
}

// hourDir returns the directory of the history for now.
func (v *volume) hourDir(size int64) string {
	hour := v.opts.Now().UTC().Format(hourFormat)
	h := &v.history
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.hour != hour {
		h.hour, h.part, h.entries, h.bytes = hour, v.lastPart(hour), 0, 0
	} else if h.entries >= maxEntries || h.most > 0 && h.bytes >= h.most/maxPart {
		h.part, h.entries, h.bytes = h.part+1, 0, 0
	}
	h.entries++
	h.bytes += inBlocks(size)
	h.added += inBlocks(size)
	return v.partDir(h.hour, h.part)
}

func (v *volume) partDir(hour string, part int) string {
	dir := v.statePath(historyPart) + "/" + hour
	if part > 0 {
		dir += fmt.Sprintf(".%04d", part)
	}
	return dir
}

// lastPart returns the last part of an hour that there is, by whichever process: what is newest is in the last
// directory.
func (v *volume) lastPart(hour string) (part int) {
	dirs, _ := v.hours()
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
func (v *volume) leavePart(dir string) {
	hour, number, _ := strings.Cut(path.Base(dir), ".")
	part, _ := strconv.Atoi(number)
	h := &v.history
	h.mu.Lock()
	defer h.mu.Unlock()
	if hour != v.opts.Now().UTC().Format(hourFormat) {
		return
	}
	if h.hour != hour {
		h.hour, h.part = hour, v.lastPart(hour)
	}
	if part >= h.part {
		h.part, h.entries, h.bytes = part+1, 0, 0
	}
}

// archive renames a name into the history, where n describes it, and returns the name of the entry. It must be called
// under [FS.Lock].
func (v *volume) archive(name, prefix string, n note) (entry string, err error) {
	p, err := v.archiveFrom(v.at(name), prefix, n)
	if err == nil {
		p.Close()
	}
	return p.name, err
}

// archiveFrom is archive of a place. The place of the entry must be closed, unless it fails.
func (v *volume) archiveFrom(from Place, prefix string, n note) (entry Place, err error) {
	return v.archiveTo(v.unique(v.hourDir(n.seen.Size), prefix), from, n)
}

// archiveAs is archive for an entry that has its name already.
func (v *volume) archiveAs(entry, name string, n note) error {
	p, err := v.archiveTo(entry, v.at(name), n)
	if err == nil {
		p.Close()
	}
	return err
}

// archiveTo is archiveFrom for an entry that has its name already.
func (v *volume) archiveTo(name string, from Place, n note) (entry Place, err error) {
	dir := path.Dir(name)
	n.entry, n.time = path.Base(name), cmp.Or(n.time, v.opts.Now().UnixNano())
	entry = v.at(name)
	hour, err := v.calls.OpenDir(dir)
	if errors.Is(err, iofs.ErrNotExist) {
		if err = v.makeHour(dir); err == nil {
			hour, err = v.calls.OpenDir(dir)
		}
	}
	if err != nil {
		return entry, err
	}
	entry.dir, entry.base, entry.held = hour, n.entry, true
	if v.opts.History || n.kept {
		err = v.noteIn(hour, dir, n)
	}
	if err == nil {
		err = from.renameNew(entry)
	}
	if err != nil {
		entry.Close()
	}
	return entry, err
}

func (v *volume) makeHour(dir string) error {
	err := v.makeDir(dir)
	if errors.Is(err, iofs.ErrNotExist) {
		if err = v.makeDir(v.statePath(historyPart)); err == nil {
			err = v.makeDir(dir)
		}
	}
	if err == nil && v.opts.Durability == Full {
		err = v.syncDir(v.statePath(historyPart))
	}
	return err
}

// finishArchive ends a commit: the entry stays in the history, or goes to the trash if no history is kept.
func (v *volume) finishArchive(entry string) {
	if !v.opts.History {
		_ = v.rename(entry, v.unique(v.statePath(trashPart), "")) // what stays goes with its hour
	}
}

// archiveOrphan makes an ordinary entry of one that could not be moved back to its name.
func (v *volume) archiveOrphan(entry string, n note) error {
	n.from, n.kept, n.time = "", true, 0
	_, err := v.archive(entry, removedPrefix, n)
	return err
}

// linkIntoHistory gives a second name, in the history, to a file that is about to be replaced by a rename, or is in a
// collection of the history. Where that is not possible, the history has no entry for the file by itself.
func (v *volume) linkIntoHistory(name string, n note) { v.linkFrom(v.at(name), n) }

// linkFrom is linkIntoHistory of a place.
func (v *volume) linkFrom(p Place, n note) {
	dir := v.hourDir(n.seen.Size)
	entry := v.unique(dir, removedPrefix)
	n.entry, n.time = path.Base(entry), v.opts.Now().UnixNano()
	err := v.noteDown(dir, n)
	if errors.Is(err, iofs.ErrNotExist) {
		if err = v.makeHour(dir); err == nil {
			err = v.noteDown(dir, n)
		}
	}
	if err == nil {
		_ = p.dir.LinkTo(p.base, &v.calls.Dir, entry)
	}
}
