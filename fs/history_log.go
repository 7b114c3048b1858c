package fs

import (
	"errors"
	iofs "io/fs"
	"path"
	"strconv"
	"strings"

	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
	"r-seed-1f3a754f.example/ifmatch/fs/volumes"
)

// A note is a line in the file paths of a directory of the history. It describes an entry, since the name of the entry
// says nothing. The note is written before the entry is made, so a note without an entry means nothing. If an entry has
// several notes, the last one counts.
type note struct {
	entry string // the name of the entry in the directory of the history
	path  string // the name that the version had, "" if not known
	from  string // for a move: the other name
	cause string
	by    string // the user whose request replaced or removed it, "" if the user was not known
	tag   string // the ETag of the content, if known
	time  int64  // when it was replaced or removed, in nanoseconds since 1970
	seen  Info   // the version at that time: Kind, Inode, Size and Modified

	kept bool // not part of the line: the note is written even without a history
}

const noteEnd = "."

// encode begins the note with the end of the line before, in case the power failed in the middle of that line. It ends
// the note with a mark, so that a part of a note is not taken for a whole one. It quotes a path as Go quotes strings.
func (n note) encode() []byte {
	fields := []string{
		"\n" + n.entry,
		strconv.FormatInt(n.time, 10),
		strconv.Quote(n.cause),
		strconv.Itoa(int(n.seen.Kind)),
		strconv.FormatUint(n.seen.Inode, 10),
		strconv.FormatInt(n.seen.Size, 10),
		strconv.FormatInt(n.seen.Modified, 10),
		strconv.Quote(n.tag),
		strconv.Quote(n.path),
		strconv.Quote(n.from),
		strconv.Quote(n.by),
		noteEnd,
	}
	return []byte(strings.Join(fields, "\t"))
}

// decodeNotes returns the notes that are whole, by entry.
func decodeNotes(data []byte) map[string]note {
	notes := map[string]note{}
	for line := range strings.SplitSeq(string(data), "\n") {
		if n, ok := decodeNote(line); ok {
			notes[n.entry] = n
		}
	}
	return notes
}

func decodeNote(line string) (n note, ok bool) {
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
	n.entry = fields[0]
	n.time = number(fields[1])
	n.cause = text(fields[2])
	n.seen.Kind = Kind(number(fields[3]))
	inode, err := strconv.ParseUint(fields[4], 10, 64)
	ok = ok && err == nil
	n.seen.Inode = inode
	n.seen.Size = number(fields[5])
	n.seen.Modified = number(fields[6])
	n.tag = text(fields[7])
	n.path = text(fields[8])
	n.from = text(fields[9])
	if len(fields) == 12 {
		n.by = text(fields[10])
	}
	return n, ok
}

func (v *volume) noteDown(dir string, n note) error {
	hour, err := v.calls.OpenDir(dir)
	if err != nil {
		return err
	}
	defer hour.Close()
	return v.noteIn(hour, dir, n)
}

// noteIn is noteDown for a directory of the history that is open.
func (v *volume) noteIn(hour *vfs.Dir, dir string, n note) error {
	n.path, n.from = v.Relative(n.path), v.Relative(n.from)
	f, err := hour.Append(pathsName)
	if err != nil {
		return err
	}
	defer f.Close()
	v.GiveToOwner(f, dir+"/"+pathsName)
	if _, err := f.Write(n.encode()); err != nil {
		return err
	}
	v.noteUnsynced(dir)
	return nil
}

// noteUnsynced marks the notes of a directory of the history for a sync after the commit, if the durability is Full.
func (v *volume) noteUnsynced(dir string) {
	if v.opts.Durability != Full {
		return
	}
	v.history.mu.Lock()
	defer v.history.mu.Unlock()
	if v.history.noted == nil {
		v.history.noted = map[string]uint64{}
	}
	v.history.noted[dir] = v.counter.Add(1)
}

// correct adds a note to an entry with facts that were not known before the entry was made.
func (v *volume) correct(entry volumes.Place, n note) {
	n.entry, n.time = path.Base(entry.Name), v.opts.Now().UnixNano()
	_ = v.noteDown(path.Dir(entry.Name), n) // if this fails, the entry is kept all the same
}

// notes returns the notes of a directory of the history. It returns none if they cannot be read.
func (v *volume) notes(dir string) map[string]note {
	notes, err := v.noted(dir)
	if err != nil {
		return map[string]note{}
	}
	return notes
}

// noted returns the notes of a directory of the history.
func (v *volume) noted(dir string) (map[string]note, error) {
	data, err := v.ReadFile(dir + "/" + pathsName)
	if err != nil && !errors.Is(err, iofs.ErrNotExist) {
		return nil, err
	}
	return v.decoded(data), nil
}

func (v *volume) decoded(data []byte) map[string]note {
	notes := decodeNotes(data)
	for entry, n := range notes {
		n.path, n.from = v.Absolute(n.path), v.Absolute(n.from)
		notes[entry] = n
	}
	return notes
}
