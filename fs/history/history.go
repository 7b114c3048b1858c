// Package history keeps the versions that commits have replaced or removed, for as long as [Histories.Expire] lets it.
//
// Each volume has a [History]. A version goes there by a rename. The history has a directory for each hour (UTC). When
// this directory has become large, the hour gets another one. So the oldest entries can be dropped by a single rename:
//
//	history/2026112509/paths            one note for each entry, see [Note]
//	history/2026112509/n1234-…          a version replaced by the exchange of the staged version with inode 1234
//	history/2026112509/r…               a version that was removed, or replaced by a move; for an instant, a resource that gets
//	                                    another spelling of its name
//
// A staged version is in the history while it is exchanged, so that the version that it replaces is in the history at
// the same instant. The exchange takes place under the lock of the volume. Another holder of the lock may find an n
// entry whose inode equals the inode in its name. That entry is a staged version whose maker has died or could not take
// it back. It never was a version of a file, and is removed. Both inodes exist at the moment of the exchange, so a
// replaced version never has the inode in the name of its entry.
package history

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

	"r-seed-1f3a754f.example/ifmatch/fs/sharedsync"
	"r-seed-1f3a754f.example/ifmatch/fs/trash"
	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
	"r-seed-1f3a754f.example/ifmatch/fs/volumes"
	"r-seed-1f3a754f.example/ifmatch/internal/lingering"
)

// The names in a directory of the history, and the format of the name of that directory.
const (
	pathsName = "paths"

	stagedPrefix  = "n"
	removedPrefix = "r"

	hourFormat = "2006010215"
)

// A directory of the history is full at maxEntries entries, or at the fraction 1/maxPart of the most bytes that the
// history may take.
const (
	maxEntries = 10_000
	maxPart    = 16
)

// Histories are the histories of all volumes of a tree.
type Histories struct {
	disk
	of    func(*volumes.Volume) *History
	syncs sharedsync.Syncs[struct{}]
}

// A disk is what all histories of a tree work on.
type disk struct {
	tree   *volumes.Tree
	calls  *vfs.FS
	opts   volumes.Options
	report func(error)
}

// NewHistories returns the histories of a tree. of returns the history of a volume. report gets the events which belong
// to no request, such as a [GaveWay].
func NewHistories(tree *volumes.Tree, calls *vfs.FS, opts volumes.Options, report func(error),
	of func(*volumes.Volume) *History) *Histories {
	return &Histories{disk: disk{tree, calls, opts, report}, of: of}
}

// all returns the histories of all known volumes, that of the root first.
func (s *Histories) all() []*History { return volumes.Each(s.tree.Volumes(), s.of) }

// answering returns the histories of the volumes that answer. It is for background work, which sees to the other
// volumes when they answer.
func (s *Histories) answering() []*History { return volumes.Each(s.tree.Answering(), s.of) }

// An Above is the layer above, which knows the entries of commits that were not finished.
type Above interface {
	// RetryUndos moves entries of a directory of the history back to their names, if a commit has failed and could not
	// do so. It is called under the lock, before the directory is dropped.
	RetryUndos(dir string) error
	// UploadOf returns the name that the data has in the upload whose data has an inode, or "" if it is of none.
	UploadOf(inode uint64) (data string, err error)
}

// A History is the history of one volume, and its state in this process. "The lock" is that of the volume.
type History struct {
	disk
	volume *volumes.Volume
	trash  *trash.Trash
	above  Above
	syncs  *sharedsync.Syncs[struct{}]

	mu        sync.Mutex
	hour      string // the hour that new entries go to
	part      int    // the part of that hour
	ready     string // the directory that Ready has made last
	entries   int    // made by this process in that part
	bytes     int64  // in these entries, if they are files
	most      int64  // the bytes that the history may take, once known, see Expire
	added     int64  // bytes added since Expire was called
	sizes     map[string]measured
	lateScans map[string]*lateScan // by directory, see LateVersions
	told      *Retention           // the last argument of Expire
	unsynced  map[string]uint64    // by directory: the number of the last note that may not be on disk, see SyncNotes
	counter   uint64               // of notes
	noted     string               // the directory with the last note of this process
	held      map[string]bool      // the entries that must not be dropped, see Hold

	lastVersions lastVersions
	open         lingering.Slot[*openHour]
}

// New returns the history of a volume.
func New(s *Histories, v *volumes.Volume, t *trash.Trash, above Above) *History {
	return &History{
		disk: s.disk, volume: v, trash: t, above: above, syncs: &s.syncs,
		sizes: map[string]measured{}, unsynced: map[string]uint64{}, held: map[string]bool{},
	}
}

// Hold keeps this process from dropping an entry, until Release.
func (h *History) Hold(entry string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.held[entry] = true
}

// Release ends the protection of an entry. It may be called again.
func (h *History) Release(entry string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.held, entry)
}

// holdsIn reports whether an entry is held, or whether an entry in a directory of the history is held.
func (h *History) holdsIn(name string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	for entry := range h.held {
		if vfs.IsIn(entry, name) {
			return true
		}
	}
	return false
}

// hourDir returns the directory of the history for a new entry of a size.
func (h *History) hourDir(size int64) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.beginHour() && (h.entries >= maxEntries || h.most > 0 && h.bytes >= h.most/maxPart) {
		h.part, h.entries, h.bytes = h.part+1, 0, 0
	}
	h.entries++
	h.bytes += volumes.InBlocks(size)
	h.added += volumes.InBlocks(size)
	return h.partDir(h.hour, h.part)
}

func (h *History) partDir(hour string, part int) string {
	dir := h.volume.StatePath(volumes.HistoryPart) + "/" + hour
	if part > 0 {
		dir += fmt.Sprintf(".%04d", part)
	}
	return dir
}

// lastPart returns the number of the last part of an hour, no matter which process has made it: the newest entries are
// in the last directory.
func (h *History) lastPart(hour string) (part int) {
	dirs, _ := h.hours()
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
func (h *History) leavePart(dir string) {
	hour, number, _ := strings.Cut(path.Base(dir), ".")
	part, _ := strconv.Atoi(number)
	h.mu.Lock()
	defer h.mu.Unlock()
	if hour != h.opts.Now().UTC().Format(hourFormat) {
		return
	}
	if h.hour != hour {
		h.hour, h.part = hour, h.lastPart(hour)
	}
	if part >= h.part {
		h.part, h.entries, h.bytes = part+1, 0, 0
	}
}

// NewEntry returns the name of a new entry for a version of a size.
func (h *History) NewEntry(size int64) string { return h.newEntry(size, removedPrefix) }

func (h *History) newEntry(size int64, prefix string) string {
	return h.tree.Unique(h.hourDir(size), prefix)
}

// Archive renames a file or collection, which n describes, into the history. It returns the name of the entry. It must
// be called under the lock.
func (h *History) Archive(name string, n Note) (entry string, err error) {
	entry = h.NewEntry(n.Seen.Size)
	return entry, h.ArchiveAs(entry, name, n)
}

// ArchiveFrom is [History.Archive] for a place. The caller must close the place of the entry, unless ArchiveFrom fails.
func (h *History) ArchiveFrom(from volumes.Place, n Note) (entry volumes.Place, err error) {
	return h.add(h.NewEntry(n.Seen.Size), n, from.RenameNew)
}

// ArchiveStaged is [History.ArchiveFrom] for a staged version with an inode, whose entry is about to be exchanged with
// the version that n describes.
func (h *History) ArchiveStaged(from volumes.Place, inode uint64, n Note) (entry volumes.Place, err error) {
	return h.add(h.newEntry(n.Seen.Size, fmt.Sprintf("%s%d-", stagedPrefix, inode)), n, from.RenameNew)
}

// ArchiveAs is [History.Archive] for an entry that has its name already.
func (h *History) ArchiveAs(entry, name string, n Note) error {
	p, err := h.add(entry, n, h.tree.At(name).RenameNew)
	if err == nil {
		p.Close()
	}
	return err
}

// add writes the note of an entry, opens its directory, which it makes if need be, and has the entry made.
func (h *History) add(name string, n Note, do func(entry volumes.Place) error) (entry volumes.Place, err error) {
	dir := path.Dir(name)
	n.Entry, n.Time = path.Base(name), cmp.Or(n.Time, h.opts.Now().UnixNano())
	entry = h.tree.At(name)
	hour, err := h.openHour(dir)
	if errors.Is(err, iofs.ErrNotExist) {
		if err = h.makeHour(dir); err == nil {
			hour, err = h.openHour(dir)
		}
	}
	if err != nil {
		return entry, err
	}
	entry.In, entry.Base, entry.Lender = hour.in, n.Entry, hour
	if h.opts.History || n.Always {
		err = hour.note(n)
	}
	if err == nil {
		err = do(entry)
	}
	if err != nil {
		entry.Close()
	}
	return entry, err
}

// ReadyHistory makes the directory of the history for what a name is about to lose, once an hour. It is called before
// the lock is taken. A commit makes the directory if it is missing all the same.
func (s *Histories) ReadyHistory(name string) {
	v := s.tree.MayHold(volumes.Local(name))[0]
	if !s.opts.ReadOnly && v.Opened.Load() {
		s.of(v).Ready()
	}
}

// Ready is [Histories.ReadyHistory] for the volume.
func (h *History) Ready() {
	h.mu.Lock()
	h.beginHour()
	dir := h.partDir(h.hour, h.part)
	ready := h.ready == dir
	h.mu.Unlock()
	if ready || h.makeHour(dir) != nil { // the commit reports the error
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ready = dir
}

// beginHour makes the present hour that of new entries, if another one was. The caller holds the mutex of the history.
func (h *History) beginHour() (begun bool) {
	hour := h.opts.Now().UTC().Format(hourFormat)
	if begun = h.hour != hour; begun {
		h.hour, h.part, h.entries, h.bytes = hour, h.lastPart(hour), 0, 0
	}
	return begun
}

// makeHour makes a directory of the history. Its name is put on disk after the commit, as the notes are.
func (h *History) makeHour(dir string) error {
	all := h.volume.StatePath(volumes.HistoryPart)
	err := h.tree.MakeDir(dir)
	if errors.Is(err, iofs.ErrNotExist) {
		if err = h.tree.MakeDir(all); err == nil {
			err = h.tree.MakeDir(dir)
		}
	}
	if err == nil {
		h.noteUnsynced(all)
	}
	return err
}

// Finish ends a commit: the entry stays in the history, or goes to the trash if no history is kept.
func (h *History) Finish(entry string) {
	if !h.opts.History {
		_ = h.trash.Put(entry) // if this fails, the entry goes with its hour
	}
}

// FinishLate is [History.Finish] for a commit of a process that has died. That process may have kept a history although
// this one does not, as most commands: then the entry has a note.
func (h *History) FinishLate(entry string) {
	if h.opts.History || h.noteOf(path.Dir(entry), path.Base(entry)).Path == "" {
		h.Finish(entry)
	}
}

// KeepOrphan makes an ordinary entry of a file or collection of the state directory that could not be moved back to its
// name. It is kept even without a history.
func (h *History) KeepOrphan(name string, n Note) error {
	n.Always, n.Time = true, 0
	_, err := h.Archive(name, n)
	return err
}

// Link gives a file a second name, in the history. The file is about to be replaced by a rename, or is in a collection
// of the history. If that is not possible, the history has no separate entry for the file.
func (h *History) Link(p volumes.Place, n Note) {
	n.Always = true
	link := func(entry volumes.Place) error { return p.In.LinkTo(p.Base, entry.In, entry.Base) }
	if entry, err := h.add(h.NewEntry(n.Seen.Size), n, link); err == nil {
		entry.Close()
	}
}
