package journal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	iofs "io/fs"
	"slices"
	"strconv"

	"r-seed-1f3a754f.example/ifmatch/tree"
)

// Latest returns the change that made the present version of a name, or took it away, by the changes that are shown:
// see [tree.Maker]. It reads the files from their end, all of them at the most. It fails with [tree.ErrNotExist] if
// none of the changes is one of that name.
func (j *Journal) Latest(ctx context.Context, name string) (tree.Change, error) {
	id, end, _ := j.shown()
	found, err := j.segmentsOf(id, end)
	if err != nil {
		return tree.Change{}, err
	}
	maker, wanted := tree.Maker{Name: name}, namesAbove(name)
	for _, s := range slices.Backward(found) {
		for end > s.base {
			if err := ctx.Err(); err != nil {
				return tree.Change{}, err
			}
			lines, from, err := j.linesBefore(s, end)
			if errors.Is(err, tree.ErrNotExist) && maker.Known {
				return maker.Found, nil
			}
			if err != nil {
				return tree.Change{}, err
			}
			if takeAll(&maker, id, lines, end, wanted) {
				return maker.Found, nil
			}
			end = from
		}
	}
	if !maker.Known {
		return tree.Change{}, fmt.Errorf("no change of this name is kept: %w", tree.ErrNotExist)
	}
	return maker.Found, nil
}

// linesBefore reads the last lines of a segment before a position, and returns where they begin.
func (j *Journal) linesBefore(s segment, end int64) (lines []byte, from int64, err error) {
	from = max(s.base, end-chunk)
	lines, err = readRange(j.files, s.name(), from-s.base, end-s.base)
	if errors.Is(err, iofs.ErrNotExist) {
		err = fmt.Errorf("older changes are forgotten: %w", tree.ErrNotExist)
	}
	if err != nil {
		return nil, 0, err
	}
	if from > s.base { // it begins within a line
		cut := bytes.IndexByte(lines, '\n') + 1
		lines, from = lines[cut:], from+int64(cut)
	}
	if len(lines) == 0 || lines[len(lines)-1] != '\n' {
		return nil, 0, fmt.Errorf("the journal is damaged: %w", tree.ErrNotExist)
	}
	return lines, from, nil
}

// takeAll gives a maker the changes of lines that end at a position, the last first. It reports whether they are
// enough. A damaged line tells nothing.
func takeAll(
	maker *tree.Maker, id string, lines []byte, end int64, wanted map[string]bool,
) (enough bool) {
	for len(lines) > 0 && !enough {
		begin := bytes.LastIndexByte(lines[:len(lines)-1], '\n') + 1
		line := lines[begin:]
		lines = lines[:begin]
		if isAbout(line, wanted) {
			fields, _ := decode(line[:len(line)-1])
			if c, ok := decodeChange(fields); ok {
				c.Cursor = cursor(id, end, sumOf(line))
				enough = maker.Take(c)
			}
		}
		end -= int64(len(line))
	}
	return enough
}

// namesAbove returns a name, and the names of all collections above it, as they are written in a line.
func namesAbove(name string) map[string]bool {
	all := map[string]bool{}
	for _, above := range tree.Prefixes(name) {
		all[strconv.Quote(above)] = true
	}
	return all
}

// isAbout reports whether a line can be a change of one of these names. Most lines of a journal are not, and it reads
// no more of them than it must.
func isAbout(line []byte, names map[string]bool) bool {
	tab := []byte("\t")
	for range 4 {
		_, line, _ = bytes.Cut(line, tab)
	}
	name, rest, _ := bytes.Cut(line, tab)
	from, _, _ := bytes.Cut(rest, tab)
	return names[string(name)] || string(from) != `""` && names[string(from)]
}
