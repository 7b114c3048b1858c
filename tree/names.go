package tree

import (
	"strings"
	"unicode/utf16"
)

// The bounds of names. No file system has a longer name, and a look-up takes longer the longer a name is, so longer
// names are refused first.
const (
	// MaxName is the maximum length of a name in bytes: that of a path on Linux.
	MaxName = 4096
	// MaxSegment is the maximum length of a segment in UTF-16 code units, the unit of the file systems that allow the
	// longest segments. Most allow 255 bytes. But a name that macOS decomposes can be three times as long as the same
	// name on the disk.
	MaxSegment = 255
)

// CheckName returns nil for a name that can exist. It returns a [BadNameError] if a segment is empty, "." or "..", or
// has a NUL byte, [ErrNameTooLong] if the name is longer than [MaxName], and [ErrSegmentLong] if a segment is longer
// than [MaxSegment].
func CheckName(name string) error {
	if len(name) > MaxName {
		return ErrNameTooLong
	}
	if name == "" {
		return nil
	}
	for segment := range strings.SplitSeq(name, "/") {
		switch {
		case segment == "":
			return &BadNameError{name, "has an empty segment"}
		case segment == "." || segment == "..":
			return &BadNameError{name, "has a segment " + segment}
		case strings.IndexByte(segment, 0) >= 0:
			return &BadNameError{name, "has a NUL byte"}
		case len(segment) > MaxSegment && utf16Length(segment) > MaxSegment:
			return ErrSegmentLong
		}
	}
	return nil
}

func utf16Length(s string) (n int) {
	for _, r := range s {
		n += utf16.RuneLen(r)
	}
	return n
}

// Split returns the collection that a name is a member of, and its last segment. Both are "" for the root.
func Split(name string) (parent, base string) {
	i := strings.LastIndexByte(name, '/')
	if i < 0 {
		return "", name
	}
	return name[:i], name[i+1:]
}

// Join returns the name of a member of a collection.
func Join(dir, base string) string {
	if dir == "" {
		return base
	}
	return dir + "/" + base
}

// FirstSegments returns the first n segments of a name, or the whole name if it has no more.
func FirstSegments(name string, n int) string {
	if n == 0 {
		return ""
	}
	for i := range len(name) {
		if name[i] == '/' {
			if n--; n == 0 {
				return name[:i]
			}
		}
	}
	return name
}

// Below reports whether name is a descendant of dir. A name is not below itself.
func Below(name, dir string) bool {
	if dir == "" {
		return name != ""
	}
	return len(name) > len(dir) && name[len(dir)] == '/' && strings.HasPrefix(name, dir)
}

// Within reports whether name is dir, or below it.
func Within(name, dir string) bool { return name == dir || Below(name, dir) }

// Prefixes returns the collections above a name, the root first, and the name itself.
func Prefixes(name string) []string {
	all := []string{""}
	for i := range len(name) {
		if name[i] == '/' {
			all = append(all, name[:i])
		}
	}
	if name != "" {
		all = append(all, name)
	}
	return all
}

// CheckEnds fails if nothing can be moved or copied from a name to another one, whatever is there: see [Store.Move].
func CheckEnds(from, to string) error {
	switch {
	case from == to:
		return ErrSame
	case Below(to, from), Below(from, to):
		return ErrNested
	}
	return nil
}
