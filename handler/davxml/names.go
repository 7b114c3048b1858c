package davxml

import (
	"encoding/xml"
	"strings"
	"sync/atomic"
	"unicode/utf8"
)

// qname reads a qualified name (Namespaces in XML 1.0 §4 [7]).
func (s *scanner) qname() (prefix, local string, err error) {
	start := s.pos
	for s.pos < len(s.doc) && (isNameByte(s.doc[s.pos]) || s.doc[s.pos] == ':') {
		s.pos++
	}
	local = s.doc[start:s.pos]
	if before, after, ok := strings.Cut(local, ":"); ok {
		prefix, local = before, after
		if !isNCName(prefix) {
			return "", "", s.fail("%q is not the prefix of a name", prefix)
		}
	}
	if !isNCName(local) {
		return "", "", s.fail("%q is not a name", local)
	}
	return prefix, local, nil
}

// isNameByte reports whether a name without a colon can contain a byte.
func isNameByte(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' ||
		c == '_' || c == '-' || c == '.' || c >= utf8.RuneSelf
}

// isNCName reports whether a string is a name without a colon (Namespaces in XML 1.0 §3 [4]). The letters are those
// of encoding/xml, which follows the Fourth Edition of XML 1.0, as RFC 4918 does. Parsers of other clients (expat)
// would fail at a listing with letters of a later edition.
func isNCName(name string) bool {
	first := true
	for _, r := range name {
		if r < utf8.RuneSelf && (!isNameByte(byte(r)) || first && ('0' <= r && r <= '9' || r == '-' || r == '.')) {
			return false
		}
		if r >= utf8.RuneSelf && !inNames.has(r, first) {
			return false
		}
		first = false
	}
	return !first
}

// inNames caches where in a name a character beyond ASCII can be. encoding/xml is called once for each, because that
// takes longer than the rest of reading a name.
var inNames nameRunes

// A nameRunes has four bits for each character of the Basic Multilingual Plane. No other characters can be in a name.
type nameRunes [(1 << 16) / 8]atomic.Uint32

const (
	canBegin uint32 = 1 << iota
	canFollow
	isAsked
)

func (n *nameRunes) has(r rune, first bool) bool {
	if r >= 1<<16 {
		return false
	}
	word, shift := &n[r/8], 4*(r%8)
	is := word.Load() >> shift
	if is&isAsked == 0 {
		is = isAsked
		if isName(string(r)) {
			is |= canBegin
		}
		if isName("_" + string(r)) {
			is |= canFollow
		}
		word.Or(is << shift)
	}
	if first {
		return is&canBegin != 0
	}
	return is&canFollow != 0
}

func isName(name string) bool {
	_, err := xml.NewDecoder(strings.NewReader("<" + name + "/>")).RawToken()
	return err == nil
}
