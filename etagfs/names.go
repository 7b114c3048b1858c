package etagfs

import (
	"context"
	"errors"
	"slices"
	"strings"
	"unicode/utf8"

	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/text/unicode/norm"

	"r-seed-1f3a754f.example/ifmatch/etagfs/failure"
	"r-seed-1f3a754f.example/ifmatch/etagfs/locktable"
	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
	"r-seed-1f3a754f.example/ifmatch/fs/volumes"
	"r-seed-1f3a754f.example/ifmatch/spelling"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

// Names are bytes, and a resource keeps the bytes of the name with which the client made it. But people, or the disk,
// may take different names for one:
//
// macOS sends the letter ü decomposed (NFD: the letter u and a diaeresis). Other systems send it composed (NFC). So a
// name that does not exist stands for an existing name that differs from it only in this, if there is exactly one such
// name.
//
// A case-insensitive disk has one file where a client sees two names. There the disk decides which file a name stands
// for. The server follows the disk in everything that it keeps by name, such as the locks, and in the question which
// resource is part of another: see [fs.FS.SameName] and package locktable.

// Spelled implements [tree.Speller].
func (s *Store) Spelled(ctx context.Context, name string) (string, error) {
	if spelling.IsASCII(name) {
		return name, nil
	}
	segments := strings.Split(name, "/")
	i := 0
	for range maxMixtures {
		known, found, first := true, segments, i
		err := s.try(ctx, func(v *view) error {
			found = slices.Clone(segments)
			first, known = v.spell(found, i)
			return nil
		})
		segments, i = found, first
		if err != nil || !known || i == len(segments) || !isForm(segments[i]) {
			return strings.Join(segments, "/"), err
		}
		// The segment may exist as a mixture of both forms. To find it, Composed looks through the directory, which can
		// be large. No other request waits for that.
		member, err := s.fs.Composed(strings.Join(segments[:i], "/"), segments[i])
		if err != nil || member == "" {
			return strings.Join(segments, "/"), nil // if the name is wrong in another way, a later step reports it
		}
		segments[i] = member
		if i++; i == len(segments) {
			break // it exists. If it is a link to nothing, a look that follows links would not find it
		}
	}
	return strings.Join(segments, "/"), nil
}

// maxMixtures bounds how many directories are looked through for one name.
const maxMixtures = 8

// maxOdd is the number of names that the store remembers that a commit has made, or was about to make, in neither
// normal form.
const maxOdd = 256

// oddNames holds such names by their NFC. If a commit makes such a name after another request has looked for it, the
// looks at its two normal forms do not find it, and inside a commit there are no other looks.
type oddNames = lru.Cache[string, string]

func newOddNames() *oddNames {
	names, _ := lru.New[string, string](maxOdd) // fails for a size below one
	return names
}

// Spelled implements [tree.Spelled] for a view. It takes few looks.
func (v *view) Spelled(name string) string {
	if spelling.IsASCII(name) {
		return name
	}
	segments := strings.Split(name, "/")
	i, known := v.spell(segments, 0)
	if known && i == len(segments)-1 && isForm(segments[i]) {
		composed := norm.NFC.String(name)
		if made, ok := v.s.odd.Get(composed); ok && made != name && v.isThere(made) {
			return made
		}
		if v.commits && composed != name && norm.NFD.String(name) != name {
			v.s.odd.Add(composed, name)
		}
	}
	return strings.Join(segments, "/")
}

// isForm reports whether a segment has normal forms at all.
func isForm(segment string) bool { return !spelling.IsASCII(segment) && utf8.ValidString(segment) }

// spell replaces the segments from the i-th on with the spellings that exist. All segments before the i-th must exist.
// spell returns the index of the first segment that exists in neither normal form, or the number of segments if all
// exist. known is false if that takes too many looks.
func (v *view) spell(segments []string, i int) (first int, known bool) {
	looks := maxLooks
	isThere := func(name string) bool { looks--; return looks >= 0 && v.isThere(name) }
	there := func(n int) bool { return isThere(strings.Join(segments[:n], "/")) }
	if there(len(segments)) {
		return len(segments), true
	}
	// Usually only the last segment is missing: it is a new name in an existing collection.
	if n := len(segments) - 1; n > i && there(n) {
		i = n
	}
	for {
		i = lastThere(i, len(segments), there)
		member, ok := otherForm(strings.Join(segments[:i], "/"), segments[i], isThere)
		if !ok || looks < 0 {
			return i, looks >= 0
		}
		segments[i] = member
		if i++; i == len(segments) || there(len(segments)) {
			return len(segments), true
		}
	}
}

// maxLooks bounds the number of looks to find out how a name is spelled. It is enough for 20 nested collections whose
// names are all spelled in another form. A look takes longer the longer the name is, so a name that would need more
// looks stands for itself.
const maxLooks = 64

// lastThere returns how many of the first segments of a name exist. The first there segments are known to exist, and
// the first missing segments are known not to exist. If one segment does not exist, none after it does, so few looks
// find the number.
func lastThere(there, missing int, isThere func(first int) bool) int {
	for step := 1; there+step < missing; step *= 2 {
		if !isThere(there + step) {
			missing = there + step
			break
		}
		there += step
	}
	for there+1 < missing {
		if middle := (there + missing) / 2; isThere(middle) {
			there = middle
		} else {
			missing = middle
		}
	}
	return there
}

// otherForm returns the existing member of a collection for which a segment stands, if the segment itself does not
// exist.
func otherForm(dir, segment string, isThere func(name string) bool) (member string, ok bool) {
	if !isForm(segment) {
		return "", false
	}
	for _, form := range []norm.Form{norm.NFC, norm.NFD} {
		other := form.String(segment)
		if other == segment || other == member || !isThere(tree.Join(dir, other)) {
			continue
		}
		if ok {
			return "", false // both forms exist, and the segment does not tell which of them is meant
		}
		member, ok = other, true
	}
	return member, ok
}

// isThere reports whether a name stands for a resource. It also reports true if the look fails otherwise, since a later
// step reports that error. It reports false for a name that is too long for the disk, since the other form of the name
// may be short enough.
func (v *view) isThere(name string) bool {
	_, err := v.Lstat(name)
	if errors.Is(err, vfs.ErrLink) {
		_, err = v.stat(name)
	}
	err = failure.Of(err)
	return !errors.Is(err, tree.ErrNotExist) && !errors.Is(err, tree.ErrNameTooLong)
}

// SameName implements [tree.SameName] for a view.
func (v *view) SameName(a, b string) bool {
	if a == b || !volumes.Alike(a, b) {
		return a == b
	}
	infoA, err := v.Lstat(a)
	if err != nil {
		return false
	}
	infoB, err := v.Lstat(b)
	return err == nil && v.s.fs.SameName(a, infoA, b, infoB)
}

// isBelow reports whether a name is that of a descendant of a collection, with the collection spelled differently. It
// does not report descendants in the same spelling: callers do not ask for those.
func (v *view) isBelow(name, dir string) bool {
	above := tree.FirstSegments(name, locktable.SegmentsOf(dir))
	return above != dir && above != name && v.SameName(above, dir)
}
