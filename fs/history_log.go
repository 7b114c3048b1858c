package fs

import (
	"errors"
	iofs "io/fs"
	"path"
	"strconv"
	"strings"

	"ifmatch/fs/vfs"
)

// A note is a line in the paths of an hour of the history: what an entry is, since its name there says nothing. It is
// written before the entry is, so one without an entry means nothing, and of several for one entry the last counts.
type note struct {
	entry string // its name in the directory of the hour
	path  string // the name that it had, "" where nobody knows
	from  string // of a move: the other name
	cause string
	by    string // the user for whom it gave way, "" where nobody had said who they are
	tag   string // of the content, where it was known
	time  int64  // when it gave way, in nanoseconds since 1970
	seen  Info   // as it was then: Kind, Inode, Size and Modified

	kept bool // not written: that it is noted, whether there is a history or not
}

const noteEnd = "."

// encode begins with the end of the line before, in case the power failed in the middle of that, and ends with a mark,
// so that a part of it is not taken for the whole. A path is quoted as Go quotes strings.
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
	// Lines of 11 fields are from before users were noted.
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

// noteIn is noteDown in a directory of the history that was resolved.
func (v *volume) noteIn(hour *vfs.Dir, dir string, n note) error {
	n.path, n.from = v.relative(n.path), v.relative(n.from)
	f, err := hour.Append(pathsName)
	if err != nil {
		return err
	}
	defer f.Close()
	v.giveToOwner(f, dir+"/"+pathsName)
	if _, err := f.Write(n.encode()); err != nil {
		return err
	}
	v.noteUnsynced(dir)
	return nil
}

// noteUnsynced has the notes of a directory of the history synced after the commit, if durability asks for it.
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

// correct notes of an entry what was not known before it was made.
func (v *volume) correct(entry Place, n note) {
	n.entry, n.time = path.Base(entry.name), v.opts.Now().UnixNano()
	_ = v.noteDown(path.Dir(entry.name), n) // it is kept all the same
}

// notes returns what is noted in a directory of the history; what cannot be read is nothing.
func (v *volume) notes(dir string) map[string]note {
	notes, err := v.noted(dir)
	if err != nil {
		return map[string]note{}
	}
	return notes
}

// noted returns what is noted in a directory of the history.
func (v *volume) noted(dir string) (map[string]note, error) {
	data, err := v.readFile(dir + "/" + pathsName)
	if err != nil && !errors.Is(err, iofs.ErrNotExist) {
		return nil, err
	}
	return v.decoded(data), nil
}

func (v *volume) decoded(data []byte) map[string]note {
	notes := decodeNotes(data)
	for entry, n := range notes {
		n.path, n.from = v.absolute(n.path), v.absolute(n.from)
		notes[entry] = n
	}
	return notes
}
