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

	"r-seed-1f3a754f.example/ifmatch/fs/volumes"
)

// The history keeps the versions that commits have replaced or removed, for as long as [FS.Expire] lets it. A version
// goes to the history by a rename. The history has a directory for each hour (UTC). When this directory has become
// large, the hour gets another one. So the oldest entries can be dropped by a single rename:
//
//	history/2026112509/paths            one note for each entry, see note
//	history/2026112509/n1234-…          a version replaced by the exchange of the staged version with inode 1234
//	history/2026112509/r…               a version that was removed, or replaced by a move
//	history/2026112509/m1234-…          as n, for a resource with inode 1234 that an older server has moved
//
// A staged version is in the history while it is exchanged, so that the version that it replaces is in the history at
// the same instant. The exchange takes place under [FS.Lock]. Another holder of the lock may find an n entry whose
// inode equals the inode in its name. That entry is a staged version whose maker has died or could not take it back. It
// never was a version of a file, and is removed. An m entry whose inode equals the inode in its name belongs to a user.
// It goes back to the name that it came from before anything happens to its directory. Both inodes exist at the moment
// of the exchange, so a replaced version never has the inode in the name of its entry.
const (
	pathsName = "paths"

	stagedPrefix  = "n"
	movedPrefix   = "m"
	removedPrefix = "r"

	hourFormat = "2006010215"
)

// A directory of the history is full at maxEntries entries, or at the fraction 1/maxPart of the most bytes that the
// history may take.
const (
	maxEntries = 10_000
	maxPart    = 16
)

// history is the state of the history in this process.
type history struct {
	mu        sync.Mutex
	hour      string // the hour that new entries go to
	part      int    // the part of that hour
	ready     string // the directory that ReadyHistory has made last
	entries   int    // made by this process in that part
	bytes     int64  // in these entries, if they are files
	most      int64  // the bytes that the history may take, once known, see Expire
	added     int64  // bytes added since Expire was called
	sizes     map[string]measured
	lateScans map[string]*lateScan // by directory, see LateVersions
	told      *Retention           // the last argument of Expire
	noted     map[string]uint64    // by directory: a number of the last note that may not be on disk, see syncNotes
	held      map[string]bool      // the entries that must not be dropped, see Taken
}

// hold keeps this process from dropping an entry. release ends that.
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

// holdsIn reports whether an entry is held, or whether an entry in a directory of the history is held.
func (h *history) holdsIn(name string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	for entry := range h.held {
		if volumes.IsIn(entry, name) {
			return true
		}
	}
	return false
}

// hourDir returns the directory of the history for a new entry of a size.
func (v *volume) hourDir(size int64) string {
	h := &v.history
	h.mu.Lock()
	defer h.mu.Unlock()
	if !v.beginHour() && (h.entries >= maxEntries || h.most > 0 && h.bytes >= h.most/maxPart) {
		h.part, h.entries, h.bytes = h.part+1, 0, 0
	}
	h.entries++
	h.bytes += volumes.InBlocks(size)
	h.added += volumes.InBlocks(size)
	return v.partDir(h.hour, h.part)
}

func (v *volume) partDir(hour string, part int) string {
	dir := v.StatePath(volumes.HistoryPart) + "/" + hour
	if part > 0 {
		dir += fmt.Sprintf(".%04d", part)
	}
	return dir
}

// lastPart returns the number of the last part of an hour, no matter which process has made it: the newest entries are
// in the last directory.
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

// leavePart makes new entries go into another directory than this one, which is about to be dropped.
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

// archive renames a file or collection, which n describes, into the history. It returns the name of the entry. It must
// be called under [FS.Lock].
func (v *volume) archive(name, prefix string, n note) (entry string, err error) {
	p, err := v.archiveFrom(v.At(name), prefix, n)
	if err == nil {
		p.Close()
	}
	return p.Name, err
}

// archiveFrom is archive for a place. The caller must close the place of the entry, unless archiveFrom fails.
func (v *volume) archiveFrom(from volumes.Place, prefix string, n note) (entry volumes.Place, err error) {
	return v.archiveTo(v.Unique(v.hourDir(n.seen.Size), prefix), from, n)
}

// archiveAs is archive for an entry that has its name already.
func (v *volume) archiveAs(entry, name string, n note) error {
	p, err := v.archiveTo(entry, v.At(name), n)
	if err == nil {
		p.Close()
	}
	return err
}

// archiveTo is archiveFrom for an entry that has its name already.
func (v *volume) archiveTo(name string, from volumes.Place, n note) (entry volumes.Place, err error) {
	dir := path.Dir(name)
	n.entry, n.time = path.Base(name), cmp.Or(n.time, v.opts.Now().UnixNano())
	entry = v.At(name)
	hour, err := v.calls.OpenDir(dir)
	if errors.Is(err, iofs.ErrNotExist) {
		if err = v.makeHour(dir); err == nil {
			hour, err = v.calls.OpenDir(dir)
		}
	}
	if err != nil {
		return entry, err
	}
	entry.In, entry.Base, entry.Held = hour, n.entry, true
	if v.opts.History || n.kept {
		err = v.noteIn(hour, dir, n)
	}
	if err == nil {
		err = from.RenameNew(entry)
	}
	if err != nil {
		entry.Close()
	}
	return entry, err
}

// ReadyHistory makes the directory of the history for what a name is about to lose, once an hour. It is called before
// [FS.Lock] is taken, since it waits for the disk. A commit makes the directory if it is missing all the same.
func (s *FS) ReadyHistory(name string) {
	v := of(s.MayHold(volumes.Local(name))[0])
	if !s.opts.ReadOnly && v.Opened.Load() {
		v.readyHour()
	}
}

func (v *volume) readyHour() {
	h := &v.history
	h.mu.Lock()
	v.beginHour()
	dir := v.partDir(h.hour, h.part)
	ready := h.ready == dir
	h.mu.Unlock()
	if ready || v.makeHour(dir) != nil { // the commit reports the error
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ready = dir
}

// beginHour makes the present hour that of new entries, if another one was. The caller holds the mutex of the history.
func (v *volume) beginHour() (begun bool) {
	hour := v.opts.Now().UTC().Format(hourFormat)
	h := &v.history
	if begun = h.hour != hour; begun {
		h.hour, h.part, h.entries, h.bytes = hour, v.lastPart(hour), 0, 0
	}
	return begun
}

func (v *volume) makeHour(dir string) error {
	err := v.MakeDir(dir)
	if errors.Is(err, iofs.ErrNotExist) {
		if err = v.MakeDir(v.StatePath(volumes.HistoryPart)); err == nil {
			err = v.MakeDir(dir)
		}
	}
	if err == nil && v.opts.Durability == Full {
		err = v.SyncDir(v.StatePath(volumes.HistoryPart))
	}
	return err
}

// finishArchive ends a commit: the entry stays in the history, or goes to the trash if no history is kept.
func (v *volume) finishArchive(entry string) {
	if !v.opts.History {
		_ = v.trash.Put(entry) // if this fails, the entry goes with its hour
	}
}

// archiveOrphan makes an ordinary entry of an entry that could not be moved back to its name.
func (v *volume) archiveOrphan(entry string, n note) error {
	n.from, n.kept, n.time = "", true, 0
	_, err := v.archive(entry, removedPrefix, n)
	return err
}

// linkIntoHistory gives a file a second name, in the history. The file is about to be replaced by a rename, or is in a
// collection of the history. If that is not possible, the history has no separate entry for the file.
func (v *volume) linkIntoHistory(name string, n note) { v.linkFrom(v.At(name), n) }

// linkFrom is linkIntoHistory for a place.
func (v *volume) linkFrom(p volumes.Place, n note) {
	dir := v.hourDir(n.seen.Size)
	entry := v.Unique(dir, removedPrefix)
	n.entry, n.time = path.Base(entry), v.opts.Now().UnixNano()
	err := v.noteDown(dir, n)
	if errors.Is(err, iofs.ErrNotExist) {
		if err = v.makeHour(dir); err == nil {
			err = v.noteDown(dir, n)
		}
	}
	if err == nil {
		_ = p.In.LinkTo(p.Base, &v.calls.Dir, entry)
	}
}
