package davxml

import (
	"encoding/xml"
	"slices"
	"strings"
)

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

// attributes reads the rest of a start tag, and adds its declarations of namespaces to the scope.
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

// attributesDiffer fails if an element has an attribute twice (Namespaces in XML 1.0 §6.3).
func (s *scanner) attributesDiffer() error {
	const few = 8 // up to this number, comparing all pairs is faster than a map
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

// A shortName is a name with the number of its namespace, see [scanner.spaces]. A look-up takes the same time
// whatever the length of the namespace, which short elements can use again and again.
type shortName struct {
	space int
	local string
}

func (s *scanner) attribute() error {
	prefix, local, err := s.qname()
	if err != nil {
		return err
	}
	s.space()
	if !s.skip("=") {
		return s.fail("an attribute has no value")
	}
	s.space()
	raw, err := s.quoted()
	if err != nil {
		return err
	}
	if strings.IndexByte(raw, '<') >= 0 {
		return s.fail("< in the value of an attribute")
	}
	// XML 1.0 §3.3.3: white space becomes a space, except in a reference.
	if strings.ContainsAny(raw, "\t\n") {
		raw = inValue.Replace(raw)
	}
	value, err := s.expand(raw)
	s.attrs = append(s.attrs, attribute{prefix: prefix, local: local, value: value})
	return err
}

var inValue = strings.NewReplacer("\t", " ", "\n", " ")

// declare binds a prefix for the innermost open element, as far as Namespaces in XML 1.0 §2.2 and §3 permit.
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
	if len(s.open) == 0 || !s.skip(s.open[len(s.open)-1].tag) { // the name of an open element has been checked before
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
