package precondition

import (
	"slices"
	"strings"

	"r-seed-1f3a754f.example/ifmatch/tree"
)

// An etag is an entity-tag as a client sent it (RFC 9110 §8.8.3).
type etag struct {
	weak   bool
	opaque string // with its quotation marks
}

// cutETag reads one entity-tag from the start of s.
//
//	entity-tag = [ %s"W/" ] DQUOTE *etagc DQUOTE
func cutETag(s string) (t etag, rest string, ok bool) { return cutTag(s, isETagChar) }

func cutTag(s string, allowed func(byte) bool) (t etag, rest string, ok bool) {
	opaque, weak := strings.CutPrefix(s, "W/")
	if opaque == "" || opaque[0] != '"' {
		return etag{}, s, false
	}
	for i := 1; i < len(opaque); i++ {
		switch c := opaque[i]; {
		case c == '"':
			return etag{weak, opaque[:i+1]}, opaque[i+1:], true
		case !allowed(c):
			return etag{}, s, false
		}
	}
	return etag{}, s, false
}

// isETagChar reports whether a byte is an etagc = %x21 / %x23-7E / obs-text, which includes the comma and excludes
// the space.
func isETagChar(c byte) bool { return c > ' ' && c != '"' && c != 0x7f }

// Matching says how an entity-tag of a request is compared with that of a version.
type Matching int8

const (
	// Strict is the comparison of RFC 9110 §8.8.3.2.
	Strict Matching = iota
	// Loose also accepts a tag that a proxy has changed. A proxy that compresses an answer must change its tag
	// (§8.8.3.3), and few proxies change it back in the next request. Tags are hashes of contents, so a changed tag
	// cannot match another version.
	Loose
)

// strong is the strong comparison of RFC 9110 §8.8.3.2: two tags are equal if both are not weak and their opaque parts
// are the same. Our own tags are never weak.
func (m Matching) strong(t etag, s tree.State) tree.Truth {
	if t.weak && m == Strict {
		return tree.False
	}
	return m.weak(t, s)
}

// weak is the weak comparison: the opaque parts are the same. A resource without a tag matches nothing.
func (m Matching) weak(t etag, s tree.State) tree.Truth {
	switch {
	case !s.Exists:
		return tree.False
	case s.Tag == "" && !s.Collection && !s.Dead:
		return tree.Unknown
	}
	return tree.TruthOf(string(s.Tag) == t.opaque || m == Loose && suffixed(t.opaque, s.Tag))
}

// suffixed reports whether opaque is a tag with the suffix that a compressing proxy appends: "x-gzip" (Apache, Caddy,
// lighttpd), "x--gzip" and formerly "x;gzip" (Jetty).
func suffixed(opaque string, tag tree.ETag) bool {
	suffix, ok := strings.CutPrefix(strings.TrimSuffix(opaque, `"`), strings.TrimSuffix(string(tag), `"`))
	if !ok || tag == "" {
		return false
	}
	for _, mark := range []string{"--", "-", ";"} {
		if coding, ok := strings.CutPrefix(suffix, mark); ok {
			return slices.Contains([]string{"gzip", "br", "zstd", "deflate"}, coding)
		}
	}
	return false
}

// An etagList is the value of If-Match and of If-None-Match: "*" or #entity-tag.
type etagList struct {
	any  bool // "*"
	tags []etag
}

// parseETagList reads such a value. The empty list is well-formed and matches nothing.
func parseETagList(s string) (list etagList, ok bool) {
	for {
		s = strings.TrimLeft(s, " \t,") // RFC 9110 §5.6.1.2: empty elements are parsed and ignored
		switch {
		case s == "":
			return list, true
		case s[0] == '*' && len(list.tags) == 0:
			// A second "*" is a line that was sent twice, and its meaning is clear. If the field were malformed, an
			// If-None-Match would permit the write.
			list.any, s = true, s[1:]
		default:
			t, rest, ok := cutETag(s)
			if !ok || list.any {
				return etagList{}, false
			}
			list.tags, s = append(list.tags, t), rest
		}
		s = strings.TrimLeft(s, " \t")
		if s != "" && s[0] != ',' {
			return etagList{}, false
		}
	}
}

// matches reports whether "*" or a tag of the list matches a resource (RFC 9110 §13.1.1 and §13.1.2).
func (l etagList) matches(s tree.State, compare func(etag, tree.State) tree.Truth) tree.Truth {
	if l.any {
		return tree.TruthOf(s.Exists)
	}
	is := tree.False
	for _, t := range l.tags {
		is = max(is, compare(t, s))
	}
	return is
}
