// Package limits says which limits hold for a name: the [[quota]] tables of the configuration file. It knows no tree
// and no sums.
package limits

import (
	"slices"
	"strings"

	"golang.org/x/text/unicode/norm"

	"r-seed-1f3a754f.example/ifmatch/tree"
)

// A Limit bounds the bytes of all files at and below each name that its path matches.
type Limit struct {
	// Path is a path such as "/", "/home/{user}" or "/projects/*": a segment is a name, or {user} or * for any one name.
	// A resource of any user counts for the path that it is in.
	Path string
	Max  int64 // in bytes
	// History says that the versions that the history keeps of these names count too.
	History bool
}

// Segments that match any one name.
const (
	userSegment = "{user}"
	anySegment  = "*"
)

// An Applied limit holds for one name.
type Applied struct {
	Name    string // of the file or collection that is limited, with all below it
	Max     int64
	History bool
}

// A Set is the limits of a server. It does not change. The zero value and nil have no limit.
type Set struct {
	byDepth [][]limit // by the number of their segments
	alike   func(a, b string) bool
	history bool
}

type limit struct {
	Limit
	segments []string // in NFC
}

// NewSet returns the set of limits that [Parse] has returned. alike reports whether a disk may take two segments for
// one name (nil: only if all bytes are the same).
func NewSet(all []Limit, alike func(a, b string) bool) *Set {
	s := &Set{alike: alike}
	for _, one := range all {
		segments := segmentsOf(strings.Trim(one.Path, "/"))
		for len(s.byDepth) <= len(segments) {
			s.byDepth = append(s.byDepth, nil)
		}
		s.byDepth[len(segments)] = append(s.byDepth[len(segments)], limit{one, segments})
		s.history = s.history || one.History
	}
	return s
}

// Empty reports whether there is no limit.
func (s *Set) Empty() bool { return s == nil || len(s.byDepth) == 0 }

// CountHistory reports whether the history counts for some limit.
func (s *Set) CountHistory() bool { return s != nil && s.history }

// segmentsOf returns the segments of a name in NFC, so that a limit is of both normal forms of its path.
func segmentsOf(name string) []string {
	if name == "" {
		return nil
	}
	return strings.Split(norm.NFC.String(name), "/")
}

// Of returns the limits that hold for a name, the outermost first: at most one for each collection on its path and for
// itself. All of them must be kept. Of several patterns that match the same name, the one decides that has a name where
// the others have {user} or *, at the first segment in which they differ.
func (s *Set) Of(name string) []Applied {
	if s.Empty() {
		return nil
	}
	var all []Applied
	segments := segmentsOf(name)
	end := 0
	for depth := 0; depth < len(s.byDepth) && depth <= len(segments); depth++ {
		if depth > 0 {
			if end > 0 {
				end++
			}
			if i := strings.IndexByte(name[end:], '/'); i >= 0 {
				end += i
			} else {
				end = len(name)
			}
		}
		if a, ok := s.at(depth, segments[:depth]); ok {
			a.Name = name[:end]
			all = append(all, a)
		}
	}
	return all
}

// at returns the limit of the patterns of one length. A name that a disk may take for the one in a pattern has the
// smallest limit of all patterns that match so: otherwise another spelling would be a way around a limit.
func (s *Set) at(depth int, segments []string) (a Applied, ok bool) {
	var best *limit
	doubtful := false
	for i := range s.byDepth[depth] {
		one := &s.byDepth[depth][i]
		exact, matches := s.match(one.segments, segments)
		switch {
		case !matches:
			continue
		case !exact:
			doubtful = true
		}
		if best == nil || moreSpecific(one.segments, best.segments) {
			best = one
		}
	}
	if best == nil {
		return Applied{}, false
	}
	a = Applied{Max: best.Max, History: best.History}
	if doubtful {
		for i := range s.byDepth[depth] {
			if one := &s.byDepth[depth][i]; s.matches(one.segments, segments) {
				a.Max, a.History = min(a.Max, one.Max), a.History || one.History
			}
		}
	}
	return a, true
}

func (s *Set) matches(pattern, segments []string) bool {
	_, matches := s.match(pattern, segments)
	return matches
}

// match reports whether a pattern matches, and whether all its names are those of the segments byte for byte.
func (s *Set) match(pattern, segments []string) (exact, matches bool) {
	exact = true
	for i, segment := range pattern {
		switch {
		case segment == userSegment, segment == anySegment, segment == segments[i]:
		case s.alike != nil && s.alike(segment, segments[i]):
			exact = false
		default:
			return false, false
		}
	}
	return exact, true
}

// moreSpecific reports whether a pattern has a name at the first segment where only one of both has a name.
func moreSpecific(a, b []string) bool {
	for i := range a {
		if x, y := isAny(a[i]), isAny(b[i]); x != y {
			return y
		}
	}
	return false
}

func isAny(segment string) bool { return segment == userSegment || segment == anySegment }

// same reports whether two patterns match the same names.
func same(a, b []string) bool {
	return slices.EqualFunc(a, b, func(x, y string) bool { return x == y || isAny(x) && isAny(y) })
}

// Covers reports whether a limit holds for a name, too.
func (a Applied) Covers(name string) bool { return tree.Within(name, a.Name) }
