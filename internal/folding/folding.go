// Package folding is a file system for tests that takes several names for one, as those of other systems do: it keeps
// names as they are made, and finds them by the key that a [Rules] makes of them. It lives in memory, and is mounted
// by FUSE.
package folding

import (
	"fmt"
	"slices"
	"strings"

	"golang.org/x/text/unicode/norm"
)

// Rules say which names are one.
type Rules struct {
	Name string
	// Fold returns the key that all spellings of a name have in common.
	Fold func(name string) string
	// Stored returns the name that is kept of one that is made (nil: it itself).
	Stored func(name string) string
	// Short: names also go by a short one, as "A long name" does by "ALONGN~1".
	Short bool
	// Numbered: each spelling is seen as an inode of its own. So do programs that have their file system in
	// paths. Else a file is one inode, and Linux takes a rename from one spelling to another for one to itself, and
	// does nothing.
	Numbered bool
	// Inodes: whatever the kernel calls them, all spellings are seen with the inode of the file.
	Inodes bool
	// Cached: a name that was found is taken to be there for a second, and so may a spelling that was renamed.
	Cached bool
	// Absent: and a name that was not found is taken to be missing for a second.
	Absent bool
	// Plain: there are neither links nor attributes, and no two names can be exchanged.
	Plain bool
}

// All has rules as they are found.
var All = []Rules{
	{Name: "casefold of ext4, APFS", Fold: func(name string) string {
		return strings.ToLower(strings.ToUpper(norm.NFD.String(strings.Map(visible, name))))
	}},
	{Name: "FAT", Fold: func(name string) string { return strings.ToUpper(trimmed(name)) }, Stored: trimmed,
		Short: true, Plain: true},
	{Name: "exFAT, by a program", Fold: strings.ToUpper, Numbered: true, Plain: true},
	{Name: "NTFS, by a program", Fold: strings.ToUpper, Numbered: true},
	{Name: "a mirror, by a program", Fold: strings.ToUpper, Numbered: true, Inodes: true, Cached: true},
	{Name: "one with a cache", Fold: strings.ToUpper, Cached: true},
	{Name: "normal forms only", Fold: norm.NFD.String},
	{Name: "normal forms only, with a cache", Fold: norm.NFD.String, Cached: true, Absent: true},
}

// Named returns one of them.
func Named(name string) (Rules, error) {
	for _, r := range All {
		if r.Name == name {
			return r, nil
		}
	}
	return Rules{}, fmt.Errorf("there are no rules %q", name)
}

func trimmed(name string) string {
	if short := strings.TrimRight(name, ". "); short != "" {
		return short
	}
	return name
}

// visible drops some of the characters that are not seen.
func visible(r rune) rune {
	if slices.Contains([]rune{0xad, 0x200b, 0x200c, 0x200d, 0x2060, 0xfe0f, 0xfeff}, r) {
		return -1
	}
	return r
}

// short returns the short name of one that has one.
func (r *Rules) short(name string) string {
	base, extension, _ := strings.Cut(strings.TrimLeft(name, "."), ".")
	base, extension = strings.ReplaceAll(base, " ", ""), extension[:min(len(extension), 3)]
	if !r.Short || len(base) <= 8 && base == name && len(extension) <= 3 {
		return ""
	}
	short := strings.ToUpper(base[:min(len(base), 6)]) + "~1"
	if extension != "" {
		short += "." + strings.ToUpper(extension)
	}
	return short
}
