package main

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	iofs "io/fs"
	"slices"
	"strings"
	"time"

	"ifmatch/fs"
	"ifmatch/tree"
)

// The history keeps a collection as it was when that was removed or replaced as a whole. What was removed from it before,
// one by one, as rclone and rm -r do, has entries of its own, and is in no version of the collection: whoever restores that
// must be told.

// isAlready reports whether what is at a name is what a version was: then there is nothing to restore.
func isAlready(below *fs.FS, version fs.Kept, now fs.Info) (bool, error) {
	if now.Kind != version.Kind {
		return false, nil
	}
	there := below.Unkept(version.Path, now)
	if version.Kind != fs.Regular {
		return isSame(below, version, there)
	}
	if version.Size != there.Size {
		return false, nil
	}
	was, err := tagOfKept(below, version)
	is, failed := tagOfKept(below, there)
	return was == is, errors.Join(err, failed)
}

// isSame compares two collections with all that is in them, by looks; or two links, or two files in them.
func isSame(below *fs.FS, a, b fs.Kept) (bool, error) {
	if a.Kind != b.Kind || a.Size != b.Size || a.Mode != b.Mode || a.Kind == fs.Regular && a.Modified != b.Modified {
		return false, nil
	}
	if a.Kind == fs.Link {
		one, err := below.ReadlinkKept(a)
		other, failed := below.ReadlinkKept(b)
		return one == other, errors.Join(err, failed)
	}
	one, err := below.AttributesKept(a)
	other, failed := below.AttributesKept(b)
	if err := errors.Join(err, failed); err != nil || !bytes.Equal(one, other) {
		return false, err
	}
	if a.Kind != fs.Directory {
		return true, nil
	}
	members, err := below.Inside(a)
	others, failed := below.Inside(b)
	if err := errors.Join(err, failed); err != nil || len(members) != len(others) {
		return false, err
	}
	for i := range members { // by name
		if members[i].Name != others[i].Name {
			return false, nil
		}
		if same, err := isSame(below, members[i], others[i]); err != nil || !same {
			return false, err
		}
	}
	return true, nil
}

// contentsOf says what is in a collection that the history keeps.
func contentsOf(below *fs.FS, k fs.Kept) (string, error) {
	files, collections, err := count(below, k)
	if err != nil {
		return "", err
	}
	if files+collections == 0 {
		return "it is empty", nil
	}
	return "in it: " + number(files, "file", "files") + ", " + number(collections, "directory", "directories"), nil
}

// count counts links as files.
func count(below *fs.FS, k fs.Kept) (files, collections int, err error) {
	members, err := below.Inside(k)
	if err != nil {
		return 0, 0, err
	}
	for _, m := range members {
		if m.Kind != fs.Directory {
			files++
			continue
		}
		collections++
		f, c, err := count(below, m)
		if err != nil {
			return 0, 0, err
		}
		files, collections = files+f, collections+c
	}
	return files, collections, nil
}

func number(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// removedFrom returns what was removed from a collection by itself, after a time unless that is zero, and is not there now:
// the last version of each, those that others are in first.
func (p *past) removedFrom(below *fs.FS, after time.Time) ([]fs.Kept, error) {
	kept, err := below.History(p.name)
	if err != nil {
		return nil, err
	}
	last := map[string]fs.Kept{}
	for _, k := range kept { // the oldest first
		if tree.Below(k.Path, p.name) && k.Gone.After(after) {
			last[k.Path] = k
		}
	}
	var gone []fs.Kept
	for path, k := range last {
		if _, err := below.Lstat(path); errors.Is(err, iofs.ErrNotExist) {
			gone = append(gone, k)
		}
	}
	slices.SortFunc(gone, func(a, b fs.Kept) int {
		return cmp.Or(strings.Count(a.Path, "/")-strings.Count(b.Path, "/"), strings.Compare(a.Path, b.Path))
	})
	return gone, nil
}

// notRestored says what is missing that was in a collection, and how to get it; "" if nothing is.
func (p *past) notRestored(below *fs.FS) (string, error) {
	gone, err := p.removedFrom(below, p.at)
	if err != nil || len(gone) == 0 {
		return "", err
	}
	what := number(len(gone), "file or directory that was removed from it by itself is not in it",
		"files or directories that were removed from it one by one are not in it")
	return fmt.Sprintf("%s; to list, and to restore one:\n    ifmatch history list %s\n    ifmatch history restore %s", what,
		quoted(p.show(p.name)), quoted(p.show(gone[0].Path))), nil
}

// quoted quotes a name for a shell, where that needs it.
func quoted(name string) string {
	plain := func(r rune) bool {
		return r == '/' || r == '.' || r == '-' || r == '_' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
	}
	if name != "" && !strings.ContainsFunc(name, func(r rune) bool { return !plain(r) }) {
		return name
	}
	return "'" + strings.ReplaceAll(name, "'", `'\''`) + "'"
}
