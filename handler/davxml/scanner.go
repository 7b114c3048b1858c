package davxml

import (
	"encoding/xml"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"unicode/utf8"
)

const spaces = " \t\n\r" // XML 1.0 §2.3 [3]

// What a [scanner] stands on.
type token uint8

const (
	startElement token = iota // name, prefix, attributes, lang
	endElement                // an empty-element tag has one as well
	characters                // text; a run of it may come in several tokens
	endDocument
)

// A scanner reads a document whose text is in memory, token by token, and checks all of XML 1.0 (without a document
// type) and Namespaces in XML 1.0 on the way. Comments and processing instructions are checked and passed over.
type scanner struct {
	doc string // UTF-8, its characters checked
	pos int

	// The token, valid until the next one.
	prefix    string
	name      xml.Name
	nameSpace int // that of name, see spaces
	attrs     []attribute
	lang      string // xml:lang in force
	text      string

	open   []frame
	scope  map[string]binding
	undo   []rebinding        // what the open elements have hidden in scope
	seen   map[shortName]bool // for attributesDiffer
	spaces map[string]int     // a number for every namespace, so that comparing two takes no time, whatever their length
	empty  bool               // stands on an empty-element tag: its end comes next
	rooted bool               // has seen the root
}

type attribute struct {
	prefix, local string
	value         string
	space         int // see scanner.spaces
}

// declares reports whether the attribute declares a prefix ("" for the default namespace).
func (a *attribute) declares() (prefix string, ok bool) {
	if a.prefix == "xmlns" {
		return a.local, true
	}
	return "", a.prefix == "" && a.local == "xmlns"
}

type frame struct {
	tag  string // as written
	undo int    // the length of scanner.undo before it
	lang string
}

type binding struct {
	uri   string // "" for an undeclared default namespace
	space int
	depth int // of the element that declares it; 0 for what XML declares
}

type rebinding struct {
	prefix string
	was    binding
	bound  bool
}

func newScanner(doc string, wide bool) (*scanner, error) {
	s := &scanner{
		doc:    doc,
		spaces: map[string]int{"": 0, xmlSpace: 1, xmlnsSpace: 2},
		scope:  map[string]binding{"xml": {uri: xmlSpace, space: 1}},
	}
	return s, s.declaration(wide)
}

func (s *scanner) fail(format string, args ...any) error {
	return syntaxError(s.doc, s.pos, fmt.Sprintf(format, args...))
}

func (s *scanner) looking(at string) bool { return strings.HasPrefix(s.doc[s.pos:], at) }

// skip passes over what is there, if it is there.
func (s *scanner) skip(what string) bool {
	if !s.looking(what) {
		return false
	}
	s.pos += len(what)
	return true
}

func (s *scanner) space() bool {
	start := s.pos
	for s.pos < len(s.doc) && strings.IndexByte(spaces, s.doc[s.pos]) >= 0 {
		s.pos++
	}
	return s.pos > start
}

// until returns what comes before the delimiter, and passes over both.
func (s *scanner) until(delimiter, of string) (string, error) {
	i := strings.Index(s.doc[s.pos:], delimiter)
	if i < 0 {
		return "", s.fail("%s does not end", of)
	}
	text := s.doc[s.pos : s.pos+i]
	s.pos += i + len(delimiter)
	return text, nil
}

// declaration reads the XML declaration, XML 1.0 §2.8 [23]. Its encoding must be the one the document is in (§4.3.3).
func (s *scanner) declaration(wide bool) error {
	if !s.looking("<?xml") || len(s.doc) == len("<?xml") || strings.IndexByte(spaces, s.doc[len("<?xml")]) < 0 {
		return nil
	}
	s.pos += len("<?xml")
	version, err := s.pseudoAttribute("version")
	if err != nil {
		return err
	}
	if minor, ok := strings.CutPrefix(version, "1."); !ok || minor == "" || strings.Trim(minor, "0123456789") != "" {
		return s.fail("XML version %q", version)
	}
	encoding, err := s.pseudoAttribute("encoding")
	if err != nil {
		return err
	}
	switch strings.ToLower(encoding) {
	case "":
	case "utf-16":
		if !wide {
			return s.fail("says that it is in UTF-16 and has no byte order mark of it")
		}
	case "utf-8":
		if wide {
			return s.fail("says that it is in %q and is in UTF-16", encoding)
		}
	case "us-ascii":
		if wide || strings.IndexFunc(s.doc, func(r rune) bool { return r >= utf8.RuneSelf }) >= 0 {
			return s.fail("says that it is in %q and is not", encoding)
		}
	default:
		return s.fail("the encoding %q is not supported, use utf-8", encoding)
	}
	standalone, err := s.pseudoAttribute("standalone")
	if err != nil {
		return err
	}
	if standalone != "" && standalone != "yes" && standalone != "no" {
		return s.fail("standalone is %q", standalone)
	}
	s.space()
	if !s.skip("?>") {
		return s.fail("the XML declaration has something else")
	}
	return nil
}

// pseudoAttribute returns the value of a part of the XML declaration, "" where it is not the next one.
func (s *scanner) pseudoAttribute(name string) (string, error) {
	start := s.pos
	if !s.space() || !s.skip(name) {
		s.pos = start
		return "", nil
	}
	if err := s.equals(); err != nil {
		return "", err
	}
	value, err := s.quoted()
	if err == nil && value == "" {
		err = s.fail("%s is empty", name)
	}
	return value, err
}

func (s *scanner) equals() error {
	s.space()
	if !s.skip("=") {
		return s.fail("an attribute has no value")
	}
	s.space()
	return nil
}

func (s *scanner) quoted() (string, error) {
	switch {
	case s.skip(`"`):
		return s.until(`"`, "a value")
	case s.skip(`'`):
		return s.until(`'`, "a value")
	}
	return "", s.fail("a value has no quotes")
}

// next goes to the next token.
func (s *scanner) next() (token, error) {
	if s.empty {
		s.empty = false
		s.leave()
		return endElement, nil
	}
	for s.pos < len(s.doc) {
		switch {
		case s.skip("<!--"):
			comment, err := s.until("--", "a comment")
			if err != nil {
				return 0, err
			}
			if !s.skip(">") {
				return 0, s.fail("the comment %q has -- inside", comment)
			}
		case s.skip("<![CDATA["):
			text, err := s.until("]]>", "a CDATA section")
			if err == nil && len(s.open) == 0 {
				err = s.fail("text outside the root element")
			}
			s.text = text
			return characters, err
		case s.looking("<!"):
			// RFC 4918 §20.6: external entities; and a few internal ones can be expanded into gigabytes.
			return 0, s.fail("document types and entity declarations are refused")
		case s.skip("<?"):
			if err := s.instruction(); err != nil {
				return 0, err
			}
		case s.skip("</"):
			return endElement, s.end()
		case s.skip("<"):
			return startElement, s.start()
		default:
			return characters, s.characters()
		}
	}
	switch {
	case len(s.open) > 0:
		return 0, s.fail("the element %s does not end", s.open[len(s.open)-1].tag)
	case !s.rooted:
		return 0, s.fail("there is no element")
	}
	return endDocument, nil
}

// instruction passes over a processing instruction, XML 1.0 §2.6 [16].
func (s *scanner) instruction() error {
	prefix, target, err := s.qname()
	if err != nil {
		return err
	}
	if prefix != "" || strings.EqualFold(target, "xml") {
		return s.fail("a processing instruction cannot have this name")
	}
	if !s.space() && !s.looking("?>") {
		return s.fail("no space after the name of a processing instruction")
	}
	_, err = s.until("?>", "a processing instruction")
	return err
}

func (s *scanner) characters() error {
	raw := s.doc[s.pos:]
	if i := strings.IndexByte(raw, '<'); i >= 0 {
		raw = raw[:i]
	}
	if strings.Contains(raw, "]]>") { // XML 1.0 §2.4
		return s.fail("]]> in text")
	}
	if len(s.open) == 0 && strings.Trim(raw, spaces) != "" {
		return s.fail("text outside the root element")
	}
	text, err := s.expand(raw)
	s.text = text
	s.pos += len(raw)
	return err
}

// expand replaces the references that XML itself defines, XML 1.0 §4.1; no others exist without a document type.
func (s *scanner) expand(raw string) (string, error) {
	if strings.IndexByte(raw, '&') < 0 {
		return raw, nil
	}
	var text strings.Builder
	for {
		before, rest, found := strings.Cut(raw, "&")
		text.WriteString(before)
		if !found {
			return text.String(), nil
		}
		reference, rest, ok := strings.Cut(rest, ";")
		if !ok {
			return "", s.fail("& without a ;")
		}
		r := resolve(reference)
		if r < 0 {
			return "", s.fail("the reference &%.20s; stands for nothing", reference)
		}
		text.WriteRune(r)
		raw = rest
	}
}

// resolve returns the character that a reference stands for, -1 if there is none.
func resolve(reference string) rune {
	switch reference {
	case "amp":
		return '&'
	case "lt":
		return '<'
	case "gt":
		return '>'
	case "quot":
		return '"'
	case "apos":
		return '\''
	}
	digits, ok := strings.CutPrefix(reference, "#")
	base := 10
	if hex, isHex := strings.CutPrefix(digits, "x"); isHex {
		digits, base = hex, 16
	}
	n, err := strconv.ParseUint(digits, base, 31)
	if !ok || err != nil || !isChar(rune(n)) {
		return -1
	}
	return rune(n)
}

// start reads a start tag after its "<".
func (s *scanner) start() error {
	if len(s.open) == 0 && s.rooted {
		return s.fail("a second root element")
	}
	if len(s.open) == MaxDepth {
		return ErrTooLarge
	}
	tagAt := s.pos
	prefix, local, err := s.qname()
	if err != nil {
		return err
	}
	f := frame{tag: s.doc[tagAt:s.pos], undo: len(s.undo)}
	if len(s.open) > 0 {
		f.lang = s.open[len(s.open)-1].lang
	}
	s.open = append(s.open, f)
	s.rooted = true
	if err := s.attributes(); err != nil {
		return err
	}
	s.prefix = prefix
	bound, err := s.bound(prefix)
	s.name, s.nameSpace = xml.Name{Space: bound.uri, Local: local}, bound.space
	return err
}

// attributes reads the rest of a start tag, and brings the namespaces it declares into force.
func (s *scanner) attributes() error {
	s.attrs = s.attrs[:0]
	for {
		spaced := s.space()
		if s.skip(">") {
			break
		}
		if s.skip("/>") {
			s.empty = true
			break
		}
		if !spaced {
			return s.fail("something other than an attribute in a tag")
		}
		if len(s.attrs) == MaxAttributes {
			return ErrTooLarge
		}
		if err := s.attribute(); err != nil {
			return err
		}
	}
	for i := range s.attrs {
		a := &s.attrs[i]
		if prefix, ok := a.declares(); ok {
			if err := s.declare(prefix, a.value); err != nil {
				return err
			}
			a.space = s.spaces[xmlnsSpace]
		}
	}
	f := &s.open[len(s.open)-1]
	for i := range s.attrs {
		a := &s.attrs[i]
		if _, declared := a.declares(); !declared && a.prefix != "" {
			bound, err := s.bound(a.prefix)
			if err != nil {
				return err
			}
			a.space = bound.space
		}
		if a.prefix == "xml" && a.local == "lang" {
			f.lang = a.value
		}
	}
	s.lang = f.lang
	return s.attributesDiffer()
}

// attributesDiffer fails where an element has an attribute twice (Namespaces in XML 1.0 §6.3).
func (s *scanner) attributesDiffer() error {
	const few = 8 // of which comparing each with each takes less than a map
	if len(s.attrs) > few && s.seen == nil {
		s.seen = map[shortName]bool{}
	}
	clear(s.seen)
	for i, a := range s.attrs {
		name := shortName{a.space, a.local}
		twice := s.seen[name]
		if len(s.attrs) > few {
			s.seen[name] = true
		} else {
			twice = slices.ContainsFunc(s.attrs[:i], func(b attribute) bool { return b.space == a.space && b.local == a.local })
		}
		if twice {
			return s.fail("the attribute %s is there twice", a.local)
		}
	}
	return nil
}

// A shortName is a name with the number of its namespace, see [scanner.spaces]: to look one up takes no longer where the
// namespace is long, and an element that names it again is short.
type shortName struct {
	space int
	local string
}

func (s *scanner) attribute() error {
	prefix, local, err := s.qname()
	if err != nil {
		return err
	}
	if err := s.equals(); err != nil {
		return err
	}
	raw, err := s.quoted()
	if err != nil {
		return err
	}
	if strings.IndexByte(raw, '<') >= 0 {
		return s.fail("< in the value of an attribute")
	}
	// XML 1.0 §3.3.3: white space becomes spaces, unless it comes as a reference.
	if strings.ContainsAny(raw, "\t\n") {
		raw = inValue.Replace(raw)
	}
	value, err := s.expand(raw)
	s.attrs = append(s.attrs, attribute{prefix: prefix, local: local, value: value})
	return err
}

var inValue = strings.NewReplacer("\t", " ", "\n", " ")

// declare binds a prefix for the innermost open element, as far as Namespaces in XML 1.0 §2.2 and §3 allow it.
func (s *scanner) declare(prefix, uri string) error {
	switch {
	case uri == "" && prefix != "":
		return s.fail("the prefix %s is declared to have no namespace", prefix)
	case prefix == "xmlns", uri == xmlnsSpace, (prefix == "xml") != (uri == xmlSpace):
		return s.fail("the prefix %s must not be declared to be %s", prefix, uri)
	}
	space, known := s.spaces[uri]
	if !known {
		space = len(s.spaces)
		s.spaces[uri] = space
	}
	was, bound := s.scope[prefix]
	s.undo = append(s.undo, rebinding{prefix, was, bound})
	s.scope[prefix] = binding{uri: uri, space: space, depth: len(s.open)}
	return nil
}

func (s *scanner) bound(prefix string) (binding, error) {
	b, ok := s.scope[prefix]
	if !ok && prefix != "" {
		return b, s.fail("the prefix %s is not declared", prefix)
	}
	return b, nil
}

// end reads an end tag after its "</".
func (s *scanner) end() error {
	tagAt := s.pos
	if len(s.open) == 0 || !s.skip(s.open[len(s.open)-1].tag) { // which has been read before
		if _, _, err := s.qname(); err != nil {
			return err
		}
	}
	tag := s.doc[tagAt:s.pos]
	s.space()
	if !s.skip(">") {
		return s.fail("something else in the end tag of %s", tag)
	}
	if len(s.open) == 0 || s.open[len(s.open)-1].tag != tag {
		return s.fail("%s ends, which is not the one that is open", tag)
	}
	s.leave()
	return nil
}

func (s *scanner) leave() {
	f := s.open[len(s.open)-1]
	s.open = s.open[:len(s.open)-1]
	for i := len(s.undo) - 1; i >= f.undo; i-- {
		if r := s.undo[i]; r.bound {
			s.scope[r.prefix] = r.was
		} else {
			delete(s.scope, r.prefix)
		}
	}
	s.undo = s.undo[:f.undo]
}

// qname reads a qualified name, Namespaces in XML 1.0 §4 [7].
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

// isNameByte reports whether a name without a colon can have the byte.
func isNameByte(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' ||
		c == '_' || c == '-' || c == '.' || c >= utf8.RuneSelf
}

// isNCName reports whether a string is a name without a colon, Namespaces in XML 1.0 §3 [4]. Which letters there are is
// asked of encoding/xml, which follows the Fourth Edition of XML 1.0, as RFC 4918 does; what that edition has not, the
// parsers of other clients (expat) would stumble over in every listing.
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

// inNames says where in a name a character beyond ASCII can be. encoding/xml is asked about each once, since it takes longer than
// all the rest of reading a name.
var inNames nameRunes

// A nameRunes has four bits for each character of the Basic Multilingual Plane, beyond which there are none.
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
