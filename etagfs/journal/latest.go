package journal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	iofs "io/fs"
	"slices"
	"strconv"

	"ifmatch/tree"
)

// Latest returns the latest change that is shown and has brought to a name the resource that is there, or has taken it
// away ([tree.Change.Brought]). It reads the files from their end, all of them at the most. It fails with
// [tree.ErrNotExist] if none of the changes is one of that name.
func (j *Journal) Latest(ctx context.Context, name string) (tree.Change, error) {
	j.mu.Lock()
	id, end := j.id, j.end
	j.mu.Unlock()
	found, err := j.segments()
	if err != nil {
		return tree.Change{}, err
	}
	found = slices.DeleteFunc(found, func(s segment) bool { return s.id != id || s.base > end })
	wanted := namesAbove(name)
	for _, s := range slices.Backward(found) {
		for end > s.base {
			if err := ctx.Err(); err != nil {
				return tree.Change{}, err
			}
			from := max(s.base, end-chunk)
			data, err := readRange(j.files, s.name(), from-s.base, end-s.base)
			if errors.Is(err, iofs.ErrNotExist) {
				err = fmt.Errorf("older changes are forgotten: %w", tree.ErrNotExist)
			}
			if err != nil {
				return tree.Change{}, err
			}
			if from > s.base { // it begins within a line
				cut := bytes.IndexByte(data, '\n') + 1
				data, from = data[cut:], from+int64(cut)
			}
			if from == end {
				return tree.Change{}, fmt.Errorf("the journal is damaged: %w", tree.ErrNotExist)
			}
			if c, ok := j.lastOf(data, end, wanted, name); ok {
				return c, nil
			}
			end = from
		}
	}
	return tree.Change{}, fmt.Errorf("no change of this name is kept: %w", tree.ErrNotExist)
}

// lastOf returns the last change of lines that end at a position which has brought the resource of a name. A damaged
// line tells nothing.
func (j *Journal) lastOf(lines []byte, end int64, wanted map[string]bool, name string) (c tree.Change, ok bool) {
	for len(lines) > 0 {
		begin := bytes.LastIndexByte(lines[:len(lines)-1], '\n') + 1
		line := lines[begin:]
		lines = lines[:begin]
		if isAbout(line, wanted) {
			fields, whole := decode(line[:len(line)-1])
			if whole {
				c, ok = decodeChange(fields)
			}
			if ok && c.Brought(name) {
				j.mu.Lock()
				defer j.mu.Unlock()
				c.Cursor = j.cursor(end, sumOf(line))
				return c, true
			}
		}
		end -= int64(len(line))
	}
	return tree.Change{}, false
}

// namesAbove returns a name, and the names of all collections above it, as they are written in a line.
func namesAbove(name string) map[string]bool {
	all := map[string]bool{strconv.Quote(name): true}
	for name != "" {
		name, _ = tree.Split(name)
		all[strconv.Quote(name)] = true
	}
	return all
}

// isAbout reports whether a line can be a change of one of these names. Most lines of a journal are not, and it reads no
// more of them than it must.
func isAbout(line []byte, names map[string]bool) bool {
	tab := []byte("\t")
	for range 4 {
		_, line, _ = bytes.Cut(line, tab)
	}
	name, rest, _ := bytes.Cut(line, tab)
	from, _, _ := bytes.Cut(rest, tab)
	return names[string(name)] || string(from) != `""` && names[string(from)]
}
