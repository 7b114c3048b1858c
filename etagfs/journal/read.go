package journal

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	iofs "io/fs"
	"slices"
	"strconv"
	"strings"
	"time"

	"r-seed-1f3a754f.example/ifmatch/tree"
)

// chunk is how many bytes of a file are read at a time.
const chunk = 256 << 10

// segmentsOf returns the files of a journal that begin at a position or before it.
func (j *Journal) segmentsOf(id string, end int64) ([]segment, error) {
	found, err := j.segments()
	return slices.DeleteFunc(found, func(s segment) bool { return s.id != id || s.base > end }), err
}

// Begun returns the time since which the journal has all changes of the store: when its oldest file was begun. The zero
// time means that there is no journal now.
func (j *Journal) Begun() (time.Time, error) {
	id, end, _ := j.shown()
	found, err := j.segmentsOf(id, end)
	if err != nil || id == "" || len(found) == 0 {
		return time.Time{}, err
	}
	head, err := readHeader(j.files, found[0])
	return time.Unix(0, head.made), err
}

// readRange reads the bytes of a file from one offset to another. If the file is shorter, it fails with ErrNotExist:
// the journal was begun anew.
func readRange(files Files, name string, from, to int64) ([]byte, error) {
	f, err := files.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data := make([]byte, max(0, to-from))
	n, err := f.ReadAt(data, from)
	if n == len(data) {
		return data, nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		err = tree.ErrNotExist
	}
	return nil, err
}

// readHeader reads the header of a file.
func readHeader(files Files, s segment) (header, error) {
	f, err := files.Open(s.name())
	if err != nil {
		return header{}, err
	}
	defer f.Close()
	data := make([]byte, 1<<10)
	n, err := f.ReadAt(data, 0)
	if h, _, ok := decodeHeader(data[:n]); ok {
		return h, nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		err = tree.ErrNotExist
	}
	return header{}, err
}

// sumOf returns the checksum at the end of a line with its newline.
func sumOf(line []byte) string { return string(line[max(0, len(line)-sumLength) : len(line)-1]) }

// A scanned is the result of reading lines.
type scanned struct {
	changes []placed
	whole   int64  // the length of the whole lines, in bytes
	sum     string // the checksum of the last of them
	mark    int64  // the last mark, or 0
	ended   bool   // the journal goes on in the next file
	damaged bool   // a whole line is damaged
}

// scan reads the lines that begin at a position.
func scan(data []byte, at int64) (s scanned) {
	for len(data) > 0 {
		end := bytes.IndexByte(data, '\n') + 1
		if end == 0 {
			return s
		}
		fields, ok := decode(data[:end-1])
		if !ok {
			s.damaged = true
			return s
		}
		s.whole += int64(end)
		s.sum = sumOf(data[:end])
		if c, ok := decodeChange(fields); ok {
			s.changes = append(s.changes, placed{c, at + s.whole, s.sum})
		} else if mark, ok := decodeMark(fields); ok {
			s.mark = mark
		}
		s.ended = fields[0] == nextField
		data = data[end:]
	}
	return s
}

// cursor returns the cursor of a position.
func cursor(id string, at int64, sum string) tree.Cursor {
	return tree.Cursor(fmt.Sprintf("%s.%x.%s", id, at, sum))
}

// shown returns the id of the journal, the position after the last change that is shown, and the checksum before that.
func (j *Journal) shown() (id string, end int64, sum string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.id, j.end, j.sum
}

// Now returns the position after the last change that is shown. It fails if there is no journal now, because the disk
// does not take one.
func (j *Journal) Now() (tree.Cursor, error) {
	id, end, sum := j.shown()
	if id == "" {
		return "", tree.ErrUnsupported
	}
	return cursor(id, end, sum), nil
}

// ID returns the id of the journal, which is another one when it is begun anew, or "" if there is none now.
func (j *Journal) ID() string {
	id, _, _ := j.shown()
	return id
}

// More returns a channel that is closed when more is shown than now, or when the journal is begun anew.
func (j *Journal) More() <-chan struct{} {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.more == nil {
		j.more = make(chan struct{})
	}
	return j.more
}

// parse returns the parts of a cursor.
func parse(c tree.Cursor) (id string, at int64, sum string, err error) {
	parts := strings.Split(string(c), ".")
	if len(parts) == 3 {
		at, err = strconv.ParseInt(parts[1], 16, 64)
	}
	if len(parts) != 3 || err != nil || len(parts[2]) != sumLength-1 {
		return "", 0, "", fmt.Errorf("no such cursor: %w", tree.ErrNotExist)
	}
	return parts[0], at, parts[2], nil
}

// Read returns the next changes after a cursor, and none only if there are none now. The zero cursor is before all
// changes that are kept. It fails with [tree.ErrNotExist] if changes after the cursor are not kept any more, or if the
// cursor is of another journal.
func (j *Journal) Read(since tree.Cursor) ([]tree.Change, error) {
	id, end, last := j.shown()
	at, sum := int64(-1), ""
	if since != "" {
		of, position, checked, err := parse(since)
		if err != nil {
			return nil, err
		}
		if of != id || position > end || position == end && checked != last {
			return nil, fmt.Errorf("a cursor of another journal: %w", tree.ErrNotExist)
		}
		at, sum = position, checked
	}
	if at == end || id == "" {
		return nil, nil
	}
	found, err := j.segmentsOf(id, end)
	if err == nil && len(found) == 0 {
		err = tree.ErrNotExist
	}
	if err != nil {
		return nil, err
	}
	if at < 0 {
		at = found[0].base
	}
	return j.read(found, at, end, sum)
}

// read reads the changes after a position, up to another, from the segments.
func (j *Journal) read(found []segment, at, end int64, sum string) (changes []tree.Change, err error) {
	for at < end && len(changes) == 0 {
		i := len(found) - 1
		for i >= 0 && found[i].base > at {
			i--
		}
		if i < 0 {
			return nil, fmt.Errorf("changes after the cursor are forgotten: %w", tree.ErrNotExist)
		}
		upTo := end
		if i+1 < len(found) {
			upTo = min(end, found[i+1].base)
		}
		if upTo = min(upTo, at+chunk); upTo <= at {
			return nil, tree.ErrNotExist
		}
		from, before := at-found[i].base, int64(0)
		if sum != "" {
			before = min(sumLength, from)
		}
		data, err := readRange(j.files, found[i].name(), from-before, upTo-found[i].base)
		if err != nil {
			if errors.Is(err, iofs.ErrNotExist) {
				err = fmt.Errorf("changes after the cursor are forgotten: %w", tree.ErrNotExist)
			}
			return nil, err
		}
		if sum != "" && string(data[:before]) != sum+"\n" {
			return nil, fmt.Errorf("a cursor of another time line: %w", tree.ErrNotExist)
		}
		sum = ""
		lines := scan(data[before:], at)
		if lines.damaged || lines.whole == 0 {
			return nil, fmt.Errorf("the journal is damaged: %w", tree.ErrNotExist)
		}
		at += lines.whole
		for _, c := range lines.changes {
			c.Cursor = cursor(found[i].id, c.end, c.sum)
			changes = append(changes, c.Change)
		}
	}
	return changes, nil
}

// Recent returns the changes after a cursor from memory, with those that are not shown yet. ok is false if the memory
// does not reach back that far, or if there are more than most. It makes no system call.
func (j *Journal) Recent(since tree.Cursor, most int) (changes []tree.Change, ok bool, err error) {
	id, at, sum, err := parse(since)
	if err != nil {
		return nil, false, err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if id != j.id || at > j.end || at == j.end && sum != j.sum {
		return nil, false, tree.ErrNotExist
	}
	if at == j.end {
		return nil, true, nil
	}
	placed, is, ok := j.tail.after(at)
	if ok && is != sum {
		return nil, false, tree.ErrNotExist
	}
	if len(placed) > most {
		return nil, false, nil
	}
	for _, c := range placed {
		changes = append(changes, c.Change)
	}
	return changes, ok, nil
}
