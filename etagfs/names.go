package etagfs

import (
	"context"
	"errors"
	"slices"
	"strings"
	"unicode/utf8"

	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/text/unicode/norm"

	"ifmatch/fs"
	"ifmatch/tree"
)

// Names are bytes, and what a client makes keeps those that it sent. But some names are one to whoever types them, or to the
// disk:
//
// macOS sends the letter ü decomposed (NFD, the letter u and a diaeresis), and the others composed (NFC). So a name that
// is not there stands for one that is, and that differs in nothing but this, if there is only one.
//
// A disk that knows no case has one file where a client sees two names. There the disk decides what a name stands for, and
// what is kept by name, the locks and what is part of what, goes by what it says: see [fs.FS.SameName] and lockview.go.

// Spelled implements [tree.Speller].
func (s *Store) Spelled(ctx context.Context, name string) (string, error) {
	if isASCII(name) {
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
		// Some mixture of both forms is left. It takes a look through the directory, which can be large: nobody waits for
		// that.
		member, err := s.fs.Composed(strings.Join(segments[:i], "/"), segments[i])
		if err != nil || member == "" {
			return strings.Join(segments, "/"), nil // whatever is wrong with it is for others to say
		}
		segments[i] = member
		i++
	}
	return strings.Join(segments, "/"), nil
}

// maxMixtures bounds how often a directory is looked through for one name.
const maxMixtures = 8

// maxOdd is how many names are remembered that a commit has made, or was about to, in neither normal form.
const maxOdd = 256

// oddNames are such names, by their NFC. Where one of the same has been made since it was looked for, two looks do not
// find it, and nothing else is done in a commit.
type oddNames = lru.Cache[string, string]

func newOddNames() *oddNames {
	names, _ := lru.New[string, string](maxOdd) // fails for a size below one
	return names
}

// Spelled is what [tree.Spelled] calls. It takes few looks.
func (v *view) Spelled(name string) string {
	if isASCII(name) {
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
func isForm(segment string) bool { return !isASCII(segment) && utf8.ValidString(segment) }

// spell puts what is there in the place of segments from the i-th on, before which all are there, and returns which is the first
// that is not there in either normal form; the number of segments if all are. known is false where that takes too many looks.
func (v *view) spell(segments []string, i int) (first int, known bool) {
	looks := maxLooks
	isThere := func(name string) bool { looks--; return looks >= 0 && v.isThere(name) }
	there := func(n int) bool { return isThere(strings.Join(segments[:n], "/")) }
	if there(len(segments)) {
		return len(segments), true
	}
	// Mostly what is missing is the last, a new name in a collection that is there.
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

// maxLooks bounds what is looked at to find out how a name is spelled: enough for 20 collections one in the other whose names are
// all spelled otherwise. A look takes longer the longer the name is, so what would need more stands for itself.
const maxLooks = 64

// lastThere returns how many segments are there, each in the one before, of which so many are known to be, and so many not to be.
// Where one is not, none after it is; so few looks find it.
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

// otherForm returns the member of a collection that a segment stands for which is not there itself.
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
			return "", false // one of two: which is meant nobody can tell
		}
		member, ok = other, true
	}
	return member, ok
}

// isThere reports whether a name stands for something, or cannot be asked: whatever is wrong with it is for others to say. One that
// is too long for the disk does not, since its other form may not be.
func (v *view) isThere(name string) bool {
	_, err := v.found(name)
	err = translate(err)
	return !errors.Is(err, tree.ErrNotExist) && !errors.Is(err, tree.ErrNameTooLong)
}

// found looks at what a name stands for.
func (v *view) found(name string) (fs.Info, error) {
	info, err := v.lstat(name)
	if errors.Is(err, fs.ErrLink) {
		info, err = v.stat(name)
	}
	return info, err
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// SameName is what [tree.SameName] calls.
func (v *view) SameName(a, b string) bool {
	if a == b || !fs.Alike(a, b) {
		return a == b
	}
	infoA, err := v.lstat(a)
	if err != nil {
		return false
	}
	infoB, err := v.lstat(b)
	return err == nil && v.s.fs.SameName(a, infoA, b, infoB)
}

// isBelow reports whether a name is that of a descendant in another spelling of a collection; in this one it is not asked
// for.
func (v *view) isBelow(name, dir string) bool {
	above := firstSegments(name, segmentsOf(dir))
	return above != dir && above != name && v.SameName(above, dir)
}

func segmentsOf(name string) int {
	if name == "" {
		return 0
	}
	return strings.Count(name, "/") + 1
}

// firstSegments returns the first n segments of a name, or all of it where there are not more.
func firstSegments(name string, n int) string {
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
