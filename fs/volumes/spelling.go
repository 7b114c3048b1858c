package volumes

import (
	iofs "io/fs"
	"path"
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
	"r-seed-1f3a754f.example/ifmatch/spelling"
)

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
	return IsShortened(a) || IsShortened(b) || mayFoldAlike(a, b) && spelling.Fold(a) == spelling.Fold(b)
}

// mayFoldAlike reports whether Fold may return the same for two segments. It tells most segments apart by their first
// characters, at no cost.
func mayFoldAlike(a, b string) bool {
	stays := func(s string) bool { return s != "" && s[0] < utf8.RuneSelf && !strings.ContainsAny(s[:1], ". :") }
	return !stays(a) || !stays(b) || strings.EqualFold(a[:1], b[:1])
}

// IsShortened reports whether a segment may be the short name of a longer one. FAT, NTFS and SMB servers have short
// names.
func IsShortened(segment string) bool {
	const longest = len("12345678.123")
	i := strings.IndexByte(segment, '~')
	if i < 0 {
		return false
	}
	segment = strings.TrimRight(segment, ". ")
	return i < len(segment)-1 && len(segment) <= longest
}

// MayShorten reports whether the members of a directory may have short names.
func (s *Tree) MayShorten(dir string) bool {
	canonical, _, err := s.Follow(dir, nil)
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

// maxListed bounds how many members of a directory are read to find the spelling of a name there.
const maxListed = 10_000

// MayBeOne reports whether two looks may have seen one file by two spellings of its name. If not, [Tree.SameName] of
// two different names asks the file system nothing.
func MayBeOne(a, b vfs.Info) bool {
	return a.Exists() && a.Kind == b.Kind && (a.SameFile(b) || a.Size == b.Size && a.Modified == b.Modified)
}

// SameName reports whether two names are spellings of one name. The caller has just seen a file or directory at each of
// them. Without this check, a file that has two names looks the same as a file that has two spellings of one name. The
// directory itself decides, and not the abilities that were probed elsewhere, since each directory can be different.
func (s *Tree) SameName(a string, seenA vfs.Info, b string, seenB vfs.Info) bool {
	switch {
	case a == b:
		return true
	case !MayBeOne(seenA, seenB) || !Alike(a, b):
		return false
	}
	same := seenA.SameFile(seenB)
	if same && (seenA.Kind == vfs.Directory || seenA.Links == 1) {
		return true
	}
	// If a file has several names, both a and b may be among them. And some file systems give each spelling its own
	// inode number.
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
	if !same && spelling.Fold(a) != spelling.Fold(b) {
		return false // one of them is a short name, and not of the other one
	}
	f, err := s.calls.Open(dir)
	if err != nil {
		return same
	}
	defer f.Close()
	if !same && seenA.Inode != 0 && f.Volume().Numbered {
		return false
	}
	members, all := s.namesIn(f, func(name string) bool {
		return name == a || name == b || spelling.Fold(name) == spelling.Fold(a)
	})
	if slices.Contains(members, a) && slices.Contains(members, b) {
		return false
	}
	return same || !all || nearest(a, members) == nearest(b, members)
}

// nearest returns the member of which a name is a spelling: the member that differs least from it. If there is none, it
// returns the name itself.
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

// namesIn returns the names in an open directory that match, and whether it has looked at all names there.
func (s *Tree) namesIn(dir *vfs.File, match func(name string) bool) (found []string, all bool) {
	read := 0
	for name, err := range dir.AllNames() {
		if err != nil || read == maxListed {
			return found, false
		}
		read++
		if match(name) {
			found = append(found, name)
		}
	}
	return found, true
}

// IsListed reports whether a directory lists a name in exactly this spelling, among the members that namesIn reads.
func (s *Tree) IsListed(name string) bool {
	f, err := s.calls.Open(path.Dir(name))
	if err != nil {
		return false
	}
	defer f.Close()
	found, _ := s.namesIn(f, func(member string) bool { return member == path.Base(name) })
	return len(found) > 0
}

// SpelledLike returns a path with the spelling of a name, as far as both go. If a segment of the path cannot be a
// spelling of the same segment of the name, it returns the path as it is.
func SpelledLike(name, path string) string {
	ours, theirs := strings.Split(name, "/"), strings.Split(path, "/")
	n := min(len(ours), len(theirs))
	for i := range n {
		if spelling.Fold(ours[i]) != spelling.Fold(theirs[i]) {
			return path
		}
	}
	return strings.Join(append(ours[:n:n], theirs[n:]...), "/")
}

// Composed returns the member of a directory whose name is the same as the given one except for the Unicode normal
// form. Either name may mix normal forms. It returns "" if there is no such member, or more than one, or if the
// directory has more members than namesIn reads.
func (s *Tree) Composed(dir, base string) (member string, err error) {
	canonical, info, err := s.Follow(dir, nil)
	if err != nil || info.Kind != vfs.Directory {
		return "", err
	}
	f, err := s.calls.Open(canonical)
	if err != nil {
		return "", vfs.Ignoring(err, iofs.ErrNotExist)
	}
	defer f.Close()
	base = norm.NFC.String(base)
	found, all := s.namesIn(f, func(name string) bool {
		return !spelling.IsASCII(name) && norm.NFC.String(name) == base && !spelling.IsReserved(name)
	})
	if !all || len(found) != 1 {
		return "", nil
	}
	return found[0], nil
}
