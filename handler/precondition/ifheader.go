package precondition

import (
	"fmt"
	"slices"
	"strings"

	"r-seed-1f3a754f.example/ifmatch/tree"
)

// The If header, RFC 4918 §10.4.2:
//
//	If           = 1*No-tag-list | 1*Tagged-list      the two do not mix
//	No-tag-list  = List                               about the Request-URI
//	Tagged-list  = Resource-Tag 1*List
//	List         = "(" 1*Condition ")"
//	Condition    = ["Not"] (State-token | "[" entity-tag "]")
//	State-token  = "<" absolute-URI ">"
//	Resource-Tag = "<" absolute-URI | path-absolute ">"
//
// It is not a list in the sense of RFC 9110 §5.6.1. If it was sent in several lines, these are joined with a comma
// (§5.3), here or by a proxy, so a comma between lists counts as white space.

// noLock is a state token that never matches (RFC 4918 §10.4.8), so that "Not <DAV:no-lock>" is always true.
const noLock = "DAV:no-lock"

// The bounds of one header. Clients send one list for each lock that they hold, mostly about the Request-URI. A
// commit must look at each resource while other commits wait.
const (
	maxLists     = 1000
	maxTerms     = 4 * maxLists
	maxResources = 100
	maxTagged    = 32 << 10 // bytes of the URLs of all resources, because a look takes longer for a long name
)

// resourceLists are the lists about one resource.
type resourceLists struct {
	tag   string // the Resource-Tag without <> ("": the Request-URI)
	lists []stateList

	name  string // in the tree
	known bool   // false: on another server, or outside the tree
}

// A stateList is true if all its terms are true (RFC 4918 §10.4.3).
type stateList []term

// A term is one Condition: a state token or, if that is "", an entity tag.
type term struct {
	not   bool
	token string
	tag   etag
}

// hasTag reports whether one of the lists has an entity tag.
func (r resourceLists) hasTag() bool {
	return slices.ContainsFunc(slices.Concat(r.lists...), func(t term) bool { return t.token == "" })
}

// holds reports whether one of the lists that matter is true.
func (r resourceLists) holds(m *memo, matters func(stateList) bool) (tree.Truth, error) {
	sum := tree.False
	for _, l := range r.lists {
		if !matters(l) {
			continue
		}
		is, err := l.holds(m, r.name)
		if err != nil || is == tree.True {
			return is, err
		}
		sum = max(sum, is)
	}
	return sum, nil
}

func (l stateList) holds(m *memo, name string) (tree.Truth, error) {
	sum := tree.True
	for _, t := range l {
		is, err := t.holds(m, name)
		if err != nil || is == tree.False {
			return is, err
		}
		sum = min(sum, is)
	}
	return sum, nil
}

func (t term) holds(m *memo, name string) (tree.Truth, error) {
	is, err := t.matches(m, name)
	if t.not {
		is = is.Not()
	}
	return is, err
}

// matches evaluates a term without its "Not" (RFC 4918 §10.4.4).
func (t term) matches(m *memo, name string) (tree.Truth, error) {
	switch {
	case t.token == noLock:
		return tree.False, nil
	case t.token != "" && m.isSync(t.token, name):
		return m.unchanged(t.token, name)
	case t.token != "":
		// "A lock state token is considered to match if the resource is anywhere in the scope of the lock." That also
		// holds for a name without a resource: a client that has locked a collection sends the token with the PUT of
		// a new member.
		held, err := m.Holds(name, t.token)
		return tree.TruthOf(held), err
	}
	// An unmapped URL is a resource "that exists but does not have the specified state". The RFC permits both
	// comparisons, and for a write the strong one is right.
	s, err := m.Mapped(name)
	return m.matching.strong(t.tag, s), err
}

// resolveAll resolves the resource of each list.
func resolveAll(header []resourceLists, target string, resolve func(string) (string, bool)) []resourceLists {
	// one for each resource, because to resolve a name may take a look of the store
	first := map[string]*resourceLists{}
	for i := range header {
		r := &header[i]
		switch same := first[r.tag]; {
		case r.tag == "":
			r.name, r.known = target, true
		case same != nil:
			r.name, r.known = same.name, same.known
		default:
			r.name, r.known = resolve(r.tag)
			first[r.tag] = r
		}
	}
	return header
}

// tagsAbout returns the tags of If for a resource.
func (c *Conditions) tagsAbout(name string) (tags []etag) {
	for _, r := range c.ifLists {
		if !r.known || r.name != name {
			continue
		}
		for _, t := range slices.Concat(r.lists...) {
			if t.token == "" && !t.not {
				tags = append(tags, t.tag)
			}
		}
	}
	return tags
}

// A SyntaxError reports a malformed If header (400). The version that it protects is not known.
type SyntaxError struct {
	Header string // "If"
	Offset int    // in the value as it was sent, in bytes
	Reason string // such as "expected ')'"
}

func (e *SyntaxError) Error() string {
	return fmt.Sprintf("malformed %s header at byte %d: %s", e.Header, e.Offset, e.Reason)
}

func parseIf(value string) ([]resourceLists, error) {
	p := &ifParser{value: value, rest: value, tags: map[string]bool{}}
	p.skip(betweenLists)
	header, err := p.header()
	if err == nil && p.rest != "" {
		err = p.failed("expected a list of the same kind, or the end")
	}
	return header, err
}

const (
	space        = " \t"
	betweenLists = " \t,"
)

// An ifParser reads an If header from left to right, and each byte once.
type ifParser struct {
	value  string
	rest   string // of value
	lists  int    // read so far
	terms  int
	tags   map[string]bool // of resources
	tagged int             // the bytes of these
}

func (p *ifParser) failed(reason string) error {
	return &SyntaxError{Header: "If", Offset: len(p.value) - len(p.rest), Reason: reason}
}

func (p *ifParser) skip(chars string) { p.rest = strings.TrimLeft(p.rest, chars) }

func (p *ifParser) at(c byte) bool { return p.rest != "" && p.rest[0] == c }

// take reads the byte c, or fails.
func (p *ifParser) take(c byte) error {
	if !p.at(c) {
		return p.failed(fmt.Sprintf("expected %q", c))
	}
	p.rest = p.rest[1:]
	return nil
}

func (p *ifParser) header() ([]resourceLists, error) {
	if !p.at('<') {
		lists, err := p.listsOfOne()
		return []resourceLists{{lists: lists}}, err
	}
	var header []resourceLists
	for p.at('<') {
		tag, err := p.uri()
		if err != nil {
			return nil, err
		}
		if tag[0] != '/' && !isAbsolute(tag) {
			return nil, p.failed("a resource tag is an absolute URI or an absolute path")
		}
		if !p.tags[tag] {
			p.tags[tag] = true
			p.tagged += len(tag)
		}
		if len(p.tags) > maxResources || p.tagged > maxTagged {
			return nil, p.failed("too many resources")
		}
		p.skip(space)
		lists, err := p.listsOfOne()
		if err != nil {
			return nil, err
		}
		header = append(header, resourceLists{tag: tag, lists: lists})
	}
	return header, nil
}

// listsOfOne reads 1*List.
func (p *ifParser) listsOfOne() ([]stateList, error) {
	var lists []stateList
	for len(lists) == 0 || p.at('(') {
		if p.lists++; p.lists > maxLists {
			return nil, p.failed("too many lists")
		}
		l, err := p.list()
		if err != nil {
			return nil, err
		}
		lists = append(lists, l)
		p.skip(betweenLists)
	}
	return lists, nil
}

func (p *ifParser) list() (stateList, error) {
	if err := p.take('('); err != nil {
		return nil, err
	}
	var l stateList
	for p.skip(space); len(l) == 0 || !p.at(')'); p.skip(space) {
		if p.terms++; p.terms > maxTerms {
			return nil, p.failed("too many conditions")
		}
		t, err := p.term()
		if err != nil {
			return nil, err
		}
		l = append(l, t)
	}
	return l, p.take(')')
}

func (p *ifParser) term() (t term, err error) {
	if len(p.rest) >= 3 && strings.EqualFold(p.rest[:3], "Not") { // ABNF literals ignore case
		t.not, p.rest = true, p.rest[3:]
		p.skip(space)
	}
	if p.at('[') {
		t.tag, err = p.entityTag()
		return t, err
	}
	t.token, err = p.uri()
	if err == nil && !isAbsolute(t.token) {
		err = p.failed("a state token is an absolute URI")
	}
	return t, err
}

// entityTag reads "[" entity-tag "]", without white space inside the brackets. RFC 4918 means the entity-tag of RFC
// 2616 §3.11, which may contain spaces, as in its own examples.
func (p *ifParser) entityTag() (etag, error) {
	p.rest = p.rest[1:]
	t, rest, ok := cutTag(p.rest, func(c byte) bool { return c == ' ' || isETagChar(c) })
	if !ok {
		return etag{}, p.failed("expected an entity tag")
	}
	p.rest = rest
	return t, p.take(']')
}

// uri reads a URI in angle brackets, which is never empty. It accepts bytes beyond ASCII, because clients send them.
func (p *ifParser) uri() (string, error) {
	if err := p.take('<'); err != nil {
		return "", err
	}
	end := strings.IndexFunc(p.rest, func(r rune) bool { return r <= ' ' || r == '<' || r == '>' || r == 0x7f })
	if end < 0 || p.rest[end] != '>' {
		p.rest = p.rest[max(end, 0):]
		return "", p.failed("expected a URI and '>'")
	}
	if end == 0 {
		return "", p.failed("expected a URI")
	}
	uri := p.rest[:end]
	p.rest = p.rest[end+1:]
	return uri, nil
}

// isAbsolute reports whether a URI starts with a scheme, RFC 3986 §3.1.
func isAbsolute(uri string) bool {
	for i := 0; i < len(uri); i++ {
		switch c := uri[i]; {
		case 'a' <= c|0x20 && c|0x20 <= 'z':
		case i > 0 && ('0' <= c && c <= '9' || c == '+' || c == '-' || c == '.'):
		default:
			return i > 0 && c == ':'
		}
	}
	return false
}
