package history

import (
	"cmp"
	"errors"
	iofs "io/fs"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"

	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
	"r-seed-1f3a754f.example/ifmatch/fs/volumes"
)

// A Note is a line in the file paths of a directory of the history. It describes an entry, since the name of the entry
// says nothing. The note is written before the entry is made, so a note without an entry means nothing. If an entry has
// several notes, the last one counts.
type Note struct {
	Entry string   // the name of the entry in the directory of the history
	Path  string   // the name that the version had, "" if not known
	From  string   // in the note of a move: the other name
	Cause string   // see [Kept.Cause]
	By    string   // the user whose request replaced or removed it, "" if the user was not known
	Tag   string   // the ETag of the content, if known
	Time  int64    // when it was replaced or removed, in nanoseconds since 1970
	Seen  vfs.Info // the version at that time: Kind, Inode, Size and Modified

	Always bool // not part of the line: the note is written even without a history
}

const noteEnd = "."

// Encode begins the note with the end of the line before, in case the power failed in the middle of that line. It ends
// the note with a mark, so that a part of a note is not taken for a whole one. It quotes a path as Go quotes strings.
func (n Note) Encode() []byte {
	fields := []string{
		"\n" + n.Entry,
		strconv.FormatInt(n.Time, 10),
		strconv.Quote(n.Cause),
		strconv.Itoa(int(n.Seen.Kind)),
		strconv.FormatUint(n.Seen.Inode, 10),
		strconv.FormatInt(n.Seen.Size, 10),
		strconv.FormatInt(n.Seen.Modified, 10),
		strconv.Quote(n.Tag),
		strconv.Quote(n.Path),
		strconv.Quote(n.From),
		strconv.Quote(n.By),
		noteEnd,
	}
	return []byte(strings.Join(fields, "\t"))
}

// decodeNotes returns the notes that are whole, by entry.
func decodeNotes(data []byte) map[string]Note {
	notes := map[string]Note{}
	for line := range strings.SplitSeq(string(data), "\n") {
		if n, ok := decodeNote(line); ok {
			notes[n.Entry] = n
		}
	}
	return notes
}

func decodeNote(line string) (n Note, ok bool) {
	fields := strings.Split(line, "\t")
	// Lines of 11 fields were written before notes had a user.
	if len(fields) < 11 || len(fields) > 12 || fields[0] == "" || fields[len(fields)-1] != noteEnd {
		return n, false
	}
	ok = true
	number := func(s string) int64 {
		i, err := strconv.ParseInt(s, 10, 64)
		ok = ok && err == nil
		return i
	}
	text := func(s string) string {
		t, err := strconv.Unquote(s)
		ok = ok && err == nil
		return t
	}
	n.Entry = fields[0]
	n.Time = number(fields[1])
	n.Cause = text(fields[2])
	n.Seen.Kind = vfs.Kind(number(fields[3]))
	inode, err := strconv.ParseUint(fields[4], 10, 64)
	ok = ok && err == nil
	n.Seen.Inode = inode
	n.Seen.Size = number(fields[5])
	n.Seen.Modified = number(fields[6])
	n.Tag = text(fields[7])
	n.Path = text(fields[8])
	n.From = text(fields[9])
	if len(fields) == 12 {
		n.By = text(fields[10])
	}
	return n, ok
}

func (h *History) writeNote(f *vfs.File, dir string, n Note) error {
	n.Path = h.volume.Relative(n.Path)
	if _, err := f.Write(n.Encode()); err != nil {
		return err
	}
	h.noteUnsynced(dir)
	return nil
}

// OpenNotes opens the notes for an entry that is not there yet. It makes the directory of the history if need be. It
// opens nothing if no history is kept.
func (h *History) OpenNotes(entry string) (f *vfs.File, err error) {
	dir := path.Dir(entry)
	open := func() (err error) {
		if !h.opts.History {
			_, err = h.calls.Lstat(dir)
			return err
		}
		f, err = h.calls.Append(dir + "/" + pathsName)
		return err
	}
	if err = open(); errors.Is(err, iofs.ErrNotExist) {
		if err = h.makeHour(dir); err == nil {
			err = open()
		}
	}
	if f != nil {
		h.tree.GiveToOwner(f, dir+"/"+pathsName)
	}
	return f, err
}

// WriteNote writes the note for an entry that is about to be made to an open file of notes, see OpenNotes.
func (h *History) WriteNote(f *vfs.File, entry string, n Note) error {
	n.Entry, n.Time = path.Base(entry), h.opts.Now().UnixNano()
	return h.writeNote(f, path.Dir(entry), n)
}

// noteUnsynced marks the notes of a directory of the history, or the names of these directories, for a sync after the
// commit, if the durability is Full. With the first note that this process writes in a directory, it marks both: another
// process may just have made the directory.
func (h *History) noteUnsynced(dir string) {
	if h.opts.Durability != volumes.Full {
		return
	}
	all := h.volume.StatePath(volumes.HistoryPart)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.counter++
	h.unsynced[dir] = h.counter
	if dir != all && dir != h.noted {
		h.noted, h.unsynced[all] = dir, h.counter
	}
}

// SyncNotes puts the notes of all commits on disk, and the names of the directories that have them. It is called after
// the commit, so that one sync may do for many commits. The history entries themselves are renamed at the same instant
// as the versions that took their names. They are on disk with the directories of these versions.
func (h *History) SyncNotes() error {
	h.mu.Lock()
	unsynced := maps.Clone(h.unsynced)
	h.mu.Unlock()
	var errs []error
	for _, dir := range slices.Sorted(maps.Keys(unsynced)) {
		name, sync := dir+"/"+pathsName, h.tree.SyncFile
		if dir == h.volume.StatePath(volumes.HistoryPart) {
			name, sync = dir, h.tree.SyncDir // the names of the directories
		}
		one := func() (struct{}, error) { return struct{}{}, nil } // no program renames it
		errs = append(errs, h.syncs.Do(name, one, func() error { return sync(name) }))
		h.mu.Lock()
		if h.unsynced[dir] == unsynced[dir] { // a failure is reported once
			delete(h.unsynced, dir)
		}
		h.mu.Unlock()
	}
	return errors.Join(errs...)
}

// Correct adds a note to an entry with facts that were not known before the entry was made. If that fails, the entry is
// kept all the same.
func (h *History) Correct(entry volumes.Place, n Note) {
	n.Entry, n.Time = path.Base(entry.Name), cmp.Or(n.Time, h.opts.Now().UnixNano())
	if hour, err := h.openHour(path.Dir(entry.Name)); err == nil {
		_ = hour.note(n)
		hour.GiveBack()
	}
}

// notes returns the notes of a directory of the history. It returns none if they cannot be read.
func (h *History) notes(dir string) map[string]Note {
	notes, err := h.readNotes(dir)
	if err != nil {
		return map[string]Note{}
	}
	return notes
}

// readNotes returns the notes of a directory of the history.
func (h *History) readNotes(dir string) (map[string]Note, error) {
	data, err := h.tree.ReadFile(dir + "/" + pathsName)
	if err != nil && !errors.Is(err, iofs.ErrNotExist) {
		return nil, err
	}
	return h.DecodeNotes(data), nil
}

// DecodeNotes returns the notes that are whole, by entry, with names of the tree.
func (h *History) DecodeNotes(data []byte) map[string]Note {
	notes := decodeNotes(data)
	for entry, n := range notes {
		notes[entry] = h.absolute(n)
	}
	return notes
}

// absolute returns a note with names of the tree.
func (h *History) absolute(n Note) Note {
	n.Path, n.From = h.volume.Absolute(n.Path), h.volume.Absolute(n.From)
	return n
}
