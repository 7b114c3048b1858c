package journal

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash/crc32"
	"slices"
	"strconv"
	"strings"
	"time"

	"r-seed-1f3a754f.example/ifmatch/tree"
)

// A line of the journal is the fields of a record with tabs between them, and the checksum of these bytes. Texts are
// quoted as Go quotes strings, because a name can have any bytes. The first field says which record it is.
const (
	headField   = "J1"   // the first line of each file
	changeField = "C"    // a change
	markField   = "M"    // how far changes on the disk were seen
	nextField   = "NEXT" // the journal goes on in another file
)

// sumLength is the length of the checksum of a line, with its newline.
const sumLength = 8 + 1

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// encode makes a line of fields.
func encode(fields ...string) []byte {
	return seal([]byte(strings.Join(fields, "\t")+"\t"), 0)
}

// seal ends the line that begins at an offset with the checksum of its fields.
func seal(lines []byte, begin int) []byte {
	var sum [crc32.Size]byte
	binary.BigEndian.PutUint32(sum[:], crc32.Checksum(lines[begin:], castagnoli))
	return append(hex.AppendEncode(lines, sum[:]), '\n')
}

// decode returns the fields of a line without its newline. It reports whether the line is whole.
func decode(line []byte) (fields []string, ok bool) {
	at := bytes.LastIndexByte(line, '\t') + 1
	if at == 0 || string(line[at:]) != fmt.Sprintf("%08x", crc32.Checksum(line[:at], castagnoli)) {
		return nil, false
	}
	return strings.Split(string(line[:at-1]), "\t"), true
}

// The flags of a change.
const (
	existsFlag        = 'e'
	collectionFlag    = 'd'
	createdFlag       = 'c'
	againFlag         = 'a'
	oldFileFlag       = 'f'
	oldCollectionFlag = 'o'
)

// appendChange appends the line of a change.
func appendChange(lines []byte, c tree.Change) []byte {
	begin, line := len(lines), slices.Grow(lines, 256+len(c.Name)+len(c.From))
	line = append(append(line, changeField...), '\t')
	line = append(strconv.AppendInt(line, c.Time.UnixNano(), 10), '\t')
	flag := func(name byte, set bool) {
		if set {
			line = append(line, name)
		}
	}
	flag(existsFlag, c.State.Exists)
	flag(collectionFlag, c.State.Collection)
	flag(createdFlag, c.Created)
	flag(againFlag, c.Again)
	flag(oldFileFlag, c.OldFile)
	flag(oldCollectionFlag, c.OldCollection)
	for _, text := range [...]string{c.Cause, c.Name, c.From, string(c.Old), string(c.State.Tag), string(c.Principal)} {
		line = strconv.AppendQuote(append(line, '\t'), text)
	}
	return seal(append(line, '\t'), begin)
}

// decodeChange returns the change of a line. ok is false for other lines.
func decodeChange(fields []string) (c tree.Change, ok bool) {
	if len(fields) != 9 || fields[0] != changeField {
		return c, false
	}
	var texts [6]string
	for i := range texts {
		text, err := strconv.Unquote(fields[3+i])
		if err != nil {
			return c, false
		}
		texts[i] = text
	}
	at, err := strconv.ParseInt(fields[1], 10, 64)
	has := func(flag byte) bool { return strings.IndexByte(fields[2], flag) >= 0 }
	return tree.Change{
		Name: texts[1], From: texts[2], Cause: texts[0], Old: tree.ETag(texts[3]), Principal: tree.Principal(texts[5]),
		State: tree.State{
			Name: texts[1], Exists: has(existsFlag), Collection: has(collectionFlag), Tag: tree.ETag(texts[4]),
		},
		Created: has(createdFlag), Again: has(againFlag), OldFile: has(oldFileFlag),
		OldCollection: has(oldCollectionFlag), Time: time.Unix(0, at),
	}, err == nil
}

// A header is the first line of a file of the journal.
type header struct {
	id   string // of the journal
	boot string // during which it is trusted
	base int64  // the position of the beginning of the file
	made int64  // when the file was made, in nanoseconds since 1970
	mark int64  // the mark that was valid then
}

func (h header) encode() []byte {
	number := func(n int64) string { return strconv.FormatInt(n, 10) }
	return encode(headField, h.id, strconv.Quote(h.boot), number(h.base), number(h.made), number(h.mark))
}

// decodeHeader returns the header with which data begins, and its length.
func decodeHeader(data []byte) (h header, length int, ok bool) {
	length = bytes.IndexByte(data, '\n') + 1
	if length == 0 {
		return h, 0, false
	}
	fields, ok := decode(data[:length-1])
	if !ok || len(fields) != 6 || fields[0] != headField {
		return h, 0, false
	}
	number := func(s string) int64 {
		n, err := strconv.ParseInt(s, 10, 64)
		ok = ok && err == nil
		return n
	}
	boot, err := strconv.Unquote(fields[2])
	h = header{fields[1], boot, number(fields[3]), number(fields[4]), number(fields[5])}
	return h, length, ok && err == nil && h.base >= 0
}

func decodeMark(fields []string) (at int64, ok bool) {
	if len(fields) != 2 || fields[0] != markField {
		return 0, false
	}
	at, err := strconv.ParseInt(fields[1], 10, 64)
	return at, err == nil
}
