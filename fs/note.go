package fs

import (
	"strconv"
	"strings"
)

// A note is a line in the paths of an hour of the history: what an entry is, since its name there says nothing. It is
// written before the entry is, so one without an entry means nothing, and of several for one entry the last counts.
type note struct {
	entry string // its name in the directory of the hour
	path  string // the name that it had, "" where nobody knows
	from  string // of a resource on its way to path, where it came from
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
