package fs

import (
	"errors"
	iofs "io/fs"
	"path"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
)

// Fold returns what all spellings of a segment have in common that some file system takes for one name: whatever its
// case and its normal form, with or without what ends it on FAT and in a stream on NTFS, and characters that are not
// seen. It says too much for any one of them: two segments with different ones are two names, but for the short names
// of FAT, and two with the same one may be one; see [FS.SameName].
func Fold(segment string) string {
	if !isASCII(segment) {
		segment = foldUnicode(segment)
	}
	if i := strings.Index(segment, ":$"); i >= 0 { // file::$DATA, and dir:$I30:$INDEX_ALLOCATION
		segment = strings.TrimRight(segment[:i], ":")
	}
	return strings.ToLower(strings.TrimRight(segment, ". "))
}

// foldUnicode takes apart what is composed, whatever it stands for, and drops the case, and what is not seen. The first
// has to be done again after the second (Unicode §3.13, D145 and D147).
func foldUnicode(s string) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case isIgnorable(r):
			return -1
		case r == 'ı': // is i to some tables of NTFS, and so is İ, whose dot goes below
			return 'i'
		case r == '\uF028': // as SMB writes them at the end of a name
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

// isIgnorable reports whether a file system may not see a character: those with the property
// Default_Ignorable_Code_Point (Unicode §5.21), and some more.
func isIgnorable(r rune) bool {
	return r >= utf8.RuneSelf &&
		unicode.In(r, unicode.Cf, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector)
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// Alike reports whether some file system may take two names for one.
func Alike(a, b string) bool {
	for a != "" && b != "" {
		var x, y string
		x, a, _ = strings.Cut(a, "/")
		y, b, _ = strings.Cut(b, "/")
		if x != y && !alikeSegments(x, y) {
			return false
		}
	}
	return a == b
}

func alikeSegments(a, b string) bool {
	return IsShortened(a) || IsShortened(b) || mayFoldAlike(a, b) && Fold(a) == Fold(b)
}

// mayFoldAlike tells most segments apart by their first characters, at no cost.
func mayFoldAlike(a, b string) bool {
	stays := func(s string) bool { return s != "" && s[0] < utf8.RuneSelf && !strings.ContainsAny(s[:1], ". :") }
	return !stays(a) || !stays(b) || strings.EqualFold(a[:1], b[:1])
}

// IsShortened reports whether a segment may be a short name of a longer one, which FAT has, NTFS, and what is served by
// SMB.
func IsShortened(segment string) bool {
	const longest = len("12345678.123")
	i := strings.IndexByte(segment, '~')
	if i < 0 {
		return false
	}
	segment = strings.TrimRight(segment, ". ")
	return i < len(segment)-1 && len(segment) <= longest
}

// MayShorten reports whether what is in a directory may have short names.
func (s *FS) MayShorten(dir string) bool {
	canonical, _, err := s.resolve(dir, nil)
	if err != nil {
		return true
	}
	f, err := s.calls.Open(canonical)
	if err != nil {
		return true
	}
	defer f.Close()
	return !f.Volume().LongOnly
}

// maxListed bounds how many members of a directory are read to find out which name one has there.
const maxListed = 10_000

// MayBeOne reports whether two looks may have seen one file by two spellings of its name. Where they have not, that is all
// [FS.SameName] asks.
func MayBeOne(a, b Info) bool {
	return a.Exists() && a.Kind == b.Kind && (a.SameFile(b) || a.Size == b.Size && a.Modified == b.Modified)
}

// SameName reports whether two names, at each of which something was just seen, are spellings of one: a file that has
// two names and one that has two spellings look the same otherwise. What is there decides, and not what the file system
// was found to do somewhere else, since it can be different in each directory.
func (s *FS) SameName(a string, seenA Info, b string, seenB Info) bool {
	switch {
	case a == b:
		return true
	case !MayBeOne(seenA, seenB) || !Alike(a, b):
		return false
	}
	same := seenA.SameFile(seenB)
	if same && (seenA.Kind == Directory || seenA.Links == 1) {
		return true
	}
	// Of a file with several names both may be names; and some file systems number each spelling for itself.
	dir, other := path.Dir(a), path.Dir(b)
	if dir != other {
		infoA, failedA := s.calls.Lstat(dir)
		infoB, failedB := s.calls.Lstat(other)
		if failedA != nil || failedB != nil || !s.SameName(dir, infoA, other, infoB) {
			return false
		}
	}
	a, b = path.Base(a), path.Base(b)
	if a == b {
		return true
	}
	if !same && Fold(a) != Fold(b) {
		return false // a short name, and not of this
	}
	f, err := s.calls.Open(dir)
	if err != nil {
		return same
	}
	defer f.Close()
	if !same && seenA.Inode != 0 && f.Volume().Numbered {
		return false
	}
	members, all := s.namesIn(f, func(name string) bool { return name == a || name == b || Fold(name) == Fold(a) })
	if slices.Contains(members, a) && slices.Contains(members, b) {
		return false
	}
	return same || !all || nearest(a, members) == nearest(b, members)
}

// nearest returns the member that a name is a spelling of, if it is one of any: the one that it differs from the least.
func nearest(name string, members []string) string {
	for _, alike := range []func(member string) bool{
		func(member string) bool { return member == name },
		func(member string) bool { return strings.EqualFold(member, name) },
		func(member string) bool { return strings.EqualFold(norm.NFC.String(member), norm.NFC.String(name)) },
	} {
		if i := slices.IndexFunc(members, alike); i >= 0 {
			return members[i]
		}
	}
	if len(members) == 1 {
		return members[0]
	}
	return name
}

// namesIn returns the names in an open directory that match, and whether it has looked at all there are.
func (s *FS) namesIn(dir *File, match func(name string) bool) (found []string, all bool) {
	const atOnce = 1000
	for read := 0; read < maxListed; {
		names, err := dir.Names(atOnce)
		for _, name := range names {
			if match(name) {
				found = append(found, name)
			}
		}
		if isEOF(err) || err == nil && len(names) == 0 {
			return found, true
		}
		if err != nil {
			return found, false
		}
		read += len(names)
	}
	return found, false
}

// isListed reports whether a directory has a member that is called so, and in no other spelling, as far as it is read.
func (s *FS) isListed(name string) bool {
	f, err := s.calls.Open(path.Dir(name))
	if err != nil {
		return false
	}
	defer f.Close()
	found, _ := s.namesIn(f, func(member string) bool { return member == path.Base(name) })
	return len(found) > 0
}

// spelledLike returns a path with as much of it as may be so spelled as a name is.
func spelledLike(name, path string) string {
	ours, theirs := strings.Split(name, "/"), strings.Split(path, "/")
	n := min(len(ours), len(theirs))
	for i := range n {
		if Fold(ours[i]) != Fold(theirs[i]) {
			return path
		}
	}
	return strings.Join(append(ours[:n:n], theirs[n:]...), "/")
}

// Composed returns the member of a directory whose name is the given one but for its normal form, be it a mixture of
// them; "" if there is none, or more than one, or the directory has so many members that not all are looked through.
func (s *FS) Composed(dir, base string) (member string, err error) {
	canonical, info, err := s.resolve(dir, nil)
	if err != nil || info.Kind != Directory {
		return "", err
	}
	f, err := s.calls.Open(canonical)
	if errors.Is(err, iofs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	defer f.Close()
	base = norm.NFC.String(base)
	found, all := s.namesIn(f, func(name string) bool {
		return !isASCII(name) && norm.NFC.String(name) == base && !isReserved(name)
	})
	if !all || len(found) != 1 {
		return "", nil
	}
	return found[0], nil
}
