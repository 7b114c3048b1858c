// Package spelling says which spellings of a segment of a name some file system takes for one, and which of them no
// client may use.
package spelling

import (
	"strings"
	"sync/atomic"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
)

// Own is the name of the state of a server, at any depth. Clients can neither see nor make it, whatever store has the
// tree: a copy of the tree in a directory would be taken for the state of a server there.
const Own = ".ifmatch"

// Fold returns a form of a segment that all its spellings share, if some file system takes these spellings for one
// name. Spellings may differ in the case, in the Unicode normal form, in characters that are not seen, in the dots and
// spaces at the end that FAT drops, and in the name of a stream on NTFS. No single file system takes all of these for
// one name. So two segments with different forms are two names, except for the short names of FAT. Two segments with
// the same form may be one name.
func Fold(segment string) string {
	if !IsASCII(segment) {
		segment = foldUnicode(segment)
	}
	if i := strings.Index(segment, ":$"); i >= 0 { // file::$DATA, and dir:$I30:$INDEX_ALLOCATION
		segment = strings.TrimRight(segment[:i], ":")
	}
	return strings.ToLower(strings.TrimRight(segment, ". "))
}

// foldUnicode decomposes characters, including compatibility characters, and drops the case, and characters that are
// not seen. The decomposition has to be done again after the case is dropped (Unicode §3.13, D145 and D147).
func foldUnicode(s string) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case isIgnorable(r):
			return -1
		case r == 'ı': // some tables of NTFS take it for i, and İ too, whose dot is dropped below
			return 'i'
		case r == '\uF028': // SMB writes a space at the end of a name so, and a dot as the next one
			return ' '
		case r == '\uF029':
			return '.'
		}
		return r
	}, s)
	for range 3 {
		next := norm.NFKD.String(cases.Fold().String(norm.NFKD.String(s)))
		if next = strings.ReplaceAll(next, "\u0307", ""); next == s {
			break
		}
		s = next
	}
	return s
}

// isIgnorable reports whether a file system may ignore a character. These are the characters with the property
// Default_Ignorable_Code_Point (Unicode §5.21), and some more.
func isIgnorable(r rune) bool {
	return r >= utf8.RuneSelf &&
		unicode.In(r, unicode.Cf, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector)
}

// IsASCII reports whether a segment is of ASCII alone.
func IsASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// IsReserved reports whether any file system takes a segment for [Own], as far as the segment alone tells. The segment
// may differ in its case, in its end, and in characters that are not seen. Short names of FAT are not reserved.
func IsReserved(segment string) bool {
	if !beginsWithDot(segment) {
		return false
	}
	file, _, _ := strings.Cut(segment, ":") // the part behind the colon names a stream of the file on NTFS
	return Fold(file) == Own
}

// HasReserved reports whether a segment of a name is reserved.
func HasReserved(name string) bool {
	for segment := range strings.SplitSeq(name, "/") {
		if IsReserved(segment) {
			return true
		}
	}
	return false
}

// beginsWithDot reports whether a segment begins with a character that Fold makes a dot of. For nearly every name no
// other check is needed.
func beginsWithDot(segment string) bool {
	for _, r := range segment {
		switch {
		case r < utf8.RuneSelf:
			return r == '.'
		case !firstRunes.is(r, isSkipped):
			return firstRunes.is(r, isDot)
		}
	}
	return false
}

// firstRunes remembers the class of each character beyond ASCII at the beginning of a segment. Each look at a name
// needs the class for each of its segments, and folding takes longer than the look.
var firstRunes runeClasses

// runeClasses has four bits for each character of the Basic Multilingual Plane. The class of any other character is
// found anew each time.
type runeClasses [(1 << 16) / 8]atomic.Uint32

const (
	isSkipped uint32 = 1 << iota // a file system may ignore it
	isDot                        // it folds to a string that begins with a dot
	isAsked
)

func classOf(r rune) uint32 {
	switch {
	case isIgnorable(r):
		return isSkipped
	case strings.HasPrefix(foldUnicode(string(r)), "."):
		return isDot
	}
	return 0
}

func (c *runeClasses) is(r rune, class uint32) bool {
	if r >= 1<<16 {
		return classOf(r)&class != 0
	}
	word, shift := &c[r/8], 4*(r%8)
	is := word.Load() >> shift
	if is&isAsked == 0 {
		is = classOf(r) | isAsked
		word.Or(is << shift)
	}
	return is&class != 0
}
