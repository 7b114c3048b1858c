package davxml

import (
	"encoding/xml"
	"fmt"
	"strconv"
	"strings"
)

const spaces = " \t\n\r" // XML 1.0 §2.3 [3]

// The kinds of tokens.
type token uint8

const (
	startElement token = iota // name, prefix, attributes, lang
	endElement                // also after an empty-element tag
	characters                // a text may come in several tokens
	endDocument
)

// A scanner reads a document in memory, token by token, and checks all of XML 1.0 (without a document type) and
// Namespaces in XML 1.0. It checks and skips comments and processing instructions.
type scanner struct {
	doc string // UTF-8 with valid characters
	pos int

	// The current token, valid until the next one.
	prefix    string
	name      xml.Name
	nameSpace int // the number of its namespace, see spaces
	attrs     []attribute
	lang      string // xml:lang in force
	text      string

	open  []frame
	scope map[string]binding
	undo  []rebinding        // the bindings in scope that open elements have replaced
	seen  map[shortName]bool // a buffer for attributesDiffer
	// a number for every namespace, so that comparisons take constant time, whatever the length
	spaces map[string]int
	empty  bool // the token is an empty-element tag, so that its end comes next
	rooted bool // the root element has started

	otherRoot bool // the root element is not the expected one
	ended     bool // and the document has ended without another error
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
	undo int    // the length of scanner.undo before the element
	lang string
}

type binding struct {
	uri   string // "" for an undeclared default namespace
	space int
	depth int // of the declaring element (0: declared by XML itself)
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

// skip skips a text if it comes next.
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

// until returns the text before a delimiter, and skips both.
func (s *scanner) until(delimiter, of string) (string, error) {
	i := strings.Index(s.doc[s.pos:], delimiter)
	if i < 0 {
		return "", s.fail("%s does not end", of)
	}
	text := s.doc[s.pos : s.pos+i]
	s.pos += i + len(delimiter)
	return text, nil
}

func (s *scanner) quoted() (string, error) {
	for _, quote := range []string{`"`, `'`} {
		if s.skip(quote) {
			return s.until(quote, "a value")
		}
	}
	return "", s.fail("a value has no quotes")
}

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
			// RFC 4918 §20.6: external entities are dangerous, and a few internal ones can expand to gigabytes.
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

// instruction skips a processing instruction (XML 1.0 §2.6 [16]).
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

// expand replaces the references that XML itself defines (XML 1.0 §4.1). Without a document type there are no others.
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

// entities are the characters for the references that have a name (XML 1.0 §4.6).
var entities = map[string]rune{"amp": '&', "lt": '<', "gt": '>', "quot": '"', "apos": '\''}

// resolve returns the character for a reference, or -1.
func resolve(reference string) rune {
	if r, ok := entities[reference]; ok {
		return r
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
