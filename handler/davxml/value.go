package davxml

import (
	"encoding/xml"
	"maps"
	"slices"
	"strings"

	"golang.org/x/net/webdav"
)

// property reads the element of a property that has just started. If the property is to be removed, it skips the
// value.
func (s *scanner) property(remove bool, left *int) (webdav.Property, error) {
	*left -= len(s.name.Space) + len(s.name.Local) + len(s.lang)
	if *left < 0 {
		return webdav.Property{}, ErrTooLarge
	}
	// These are copies, because a store may keep them longer than the body.
	p := webdav.Property{XMLName: xml.Name{Space: strings.Clone(s.name.Space), Local: strings.Clone(s.name.Local)}}
	if remove {
		return p, s.children(nil)
	}
	p.Lang = strings.Clone(s.lang)
	var err error
	p.InnerXML, err = s.value(left)
	return p, err
}

// value reads the element that has just started to its end, and returns its inner XML, written so that it means the
// same elsewhere. left is the number of bytes that may still be written.
func (s *scanner) value(left *int) ([]byte, error) {
	v := valueWriter{s: s, depth: len(s.open), needs: map[string]string{}}
	for {
		t, err := s.next()
		if err != nil {
			return nil, err
		}
		switch t {
		case startElement:
			v.start()
		case endElement:
			if len(s.open) < v.depth {
				*left -= len(v.out)
				return v.out, nil
			}
			v.end()
		case characters:
			v.closeTag()
			v.mention(s.text)
			v.out = AppendText(v.out, s.text)
		}
		if len(v.out) > *left {
			return nil, ErrTooLarge
		}
	}
}

type valueWriter struct {
	s     *scanner
	depth int // of the element that has the value
	out   []byte
	tags  []string // of the open elements in the value
	inTag bool     // the last start tag has no ">" yet

	// The namespaces of the prefixes that the outermost open element uses from outside, and the offset in out for
	// their declarations.
	needs   map[string]string
	needsAt int

	prefixes     []string // a buffer for end
	declarations []byte
}

func (v *valueWriter) start() {
	v.closeTag()
	tag := v.s.open[len(v.s.open)-1].tag
	v.out = append(v.out, '<')
	v.out = append(v.out, tag...)
	if len(v.tags) == 0 {
		v.needsAt = len(v.out)
	}
	v.tags = append(v.tags, tag)
	v.inTag = true
	v.use(v.s.prefix)
	for i := range v.s.attrs {
		a := &v.s.attrs[i]
		v.out = append(v.out, ' ')
		if a.prefix != "" {
			v.out = append(v.out, a.prefix...)
			v.out = append(v.out, ':')
		}
		v.out = append(v.out, a.local...)
		v.out = appendAttribute(v.out, a.value)
		if _, declares := a.declares(); declares {
			continue
		}
		if a.prefix != "" { // an attribute without a prefix has no namespace, not even the default one
			v.use(a.prefix)
		}
		v.mention(a.value)
	}
}

func (v *valueWriter) closeTag() {
	if v.inTag {
		v.out = append(v.out, '>')
		v.inTag = false
	}
}

func (v *valueWriter) end() {
	last := len(v.tags) - 1
	if v.inTag {
		v.out = append(v.out, "/>"...)
		v.inTag = false
	} else {
		v.out = append(v.out, "</"...)
		v.out = append(v.out, v.tags[last]...)
		v.out = append(v.out, '>')
	}
	v.tags = v.tags[:last]
	if last > 0 || len(v.needs) == 0 {
		return
	}
	v.prefixes = slices.AppendSeq(v.prefixes[:0], maps.Keys(v.needs))
	slices.Sort(v.prefixes)
	declarations := v.declarations[:0]
	for _, prefix := range v.prefixes {
		declarations = append(declarations, " xmlns"...)
		if prefix != "" {
			declarations = append(declarations, ':')
			declarations = append(declarations, prefix...)
		}
		declarations = appendAttribute(declarations, v.needs[prefix])
	}
	v.out = slices.Insert(v.out, v.needsAt, declarations...)
	v.declarations = declarations
	clear(v.needs)
}

// use notes that the outermost element must declare a prefix if it is declared outside.
func (v *valueWriter) use(prefix string) {
	// XML itself declares the prefixes of depth 0.
	if b := v.s.scope[prefix]; b.depth > 0 && b.depth <= v.depth && b.uri != "" {
		v.needs[prefix] = b.uri
	}
}

// mention notes the prefixes in a text that may have QNames, such as xsi:type="xs:string". An unnecessary declaration
// does no harm. For a text outside of all elements, no element could declare them.
func (v *valueWriter) mention(text string) {
	if len(v.tags) == 0 {
		return
	}
	for {
		before, after, found := strings.Cut(text, ":")
		if !found {
			return
		}
		i := len(before)
		for i > 0 && isNameByte(before[i-1]) {
			i--
		}
		if i < len(before) {
			v.use(before[i:])
		}
		text = after
	}
}
