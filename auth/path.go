package auth

import (
	"fmt"
	"strings"

	"golang.org/x/text/unicode/norm"

	"ifmatch/tree"
)

// A Path is the path of a rule: a prefix of whole segments. The segment "{user}" stands for the name of the asker,
// and "*" for any one segment. The zero value is the root, "/".
type Path struct{ segments []string } // in NFC

const (
	userSegment = "{user}"
	anySegment  = "*"
)

// ParsePath reads the path of a rule, such as "/", "/home/{user}" or "/projects/*/public". A slash at the end means
// nothing.
func ParsePath(s string) (Path, error) {
	rest, ok := strings.CutPrefix(s, "/")
	if !ok {
		return Path{}, fmt.Errorf("path %q: begin it with a slash, as in /home/{user}", s)
	}
	rest = norm.NFC.String(strings.TrimSuffix(rest, "/"))
	if s == "/" {
		return Path{}, nil
	}
	if rest == "" {
		return Path{}, fmt.Errorf("path %q: write / for all", s)
	}
	if err := tree.CheckName(rest); err != nil {
		return Path{}, fmt.Errorf("path %q: no name can be that: %w", s, err)
	}
	segments := strings.Split(rest, "/")
	for _, segment := range segments {
		if segment != userSegment && segment != anySegment && strings.ContainsAny(segment, "*{}") {
			return Path{}, fmt.Errorf("path %q: %q is not a pattern: a segment is a name, {user}, or * for any one name",
				s, segment)
		}
	}
	return Path{segments}, nil
}

// String writes the path as [ParsePath] reads it.
func (p Path) String() string { return "/" + strings.Join(p.segments, "/") }

// segmentsOf appends the segments of a name, in NFC, so that a rule is of both normal forms of its path.
func segmentsOf(buf []string, name string) []string {
	if name == "" {
		return buf
	}
	if !norm.NFC.IsNormalString(name) {
		name = norm.NFC.String(name)
	}
	for segment := range strings.SplitSeq(name, "/") {
		buf = append(buf, segment)
	}
	return buf
}
