package davxml

import (
	"regexp"
	"strings"
	"sync"
	"unicode/utf8"
)

// declarationForm matches an XML declaration up to its end (XML 1.0 §2.8 [23]), with the values of its parts.
var declarationForm = sync.OnceValue(func() *regexp.Regexp {
	part := func(name string) string { return `(?:[ \t\n]+` + name + `[ \t\n]*=[ \t\n]*("[^"]+"|'[^']+'))?` }
	return regexp.MustCompile(`^<\?xml` + part("version") + part("encoding") + part("standalone") + `[ \t\n]*$`)
})

// declaration reads the XML declaration. Its encoding must be that of the document (§4.3.3).
func (s *scanner) declaration(wide bool) error {
	if !s.looking("<?xml") || len(s.doc) == len("<?xml") || strings.IndexByte(spaces, s.doc[len("<?xml")]) < 0 {
		return nil
	}
	head, _, ended := strings.Cut(s.doc, "?>")
	var parts []string
	if ended {
		parts = declarationForm().FindStringSubmatch(head)
	}
	if parts == nil {
		return s.fail("the XML declaration is malformed: write version, encoding and standalone, in this order and in quotes")
	}
	for i, quoted := range parts {
		if i > 0 && quoted != "" {
			parts[i] = quoted[1 : len(quoted)-1]
		}
	}
	version, encoding, standalone := parts[1], parts[2], parts[3]
	if minor, ok := strings.CutPrefix(version, "1."); !ok || minor == "" || strings.Trim(minor, "0123456789") != "" {
		return s.fail("XML version %q", version)
	}
	switch name := strings.ToLower(encoding); {
	case name == "utf-16" && !wide:
		return s.fail("says that it is in UTF-16 and has no byte order mark of it")
	case name == "utf-8" && wide:
		return s.fail("says that it is in %q and is in UTF-16", encoding)
	case name == "us-ascii" && (wide || strings.IndexFunc(s.doc, func(r rune) bool { return r >= utf8.RuneSelf }) >= 0):
		return s.fail("says that it is in %q and is not", encoding)
	case name != "" && name != "utf-16" && name != "utf-8" && name != "us-ascii":
		return s.fail("the encoding %q is not supported, use utf-8", encoding)
	}
	if standalone != "" && standalone != "yes" && standalone != "no" {
		return s.fail("standalone is %q", standalone)
	}
	s.pos = len(head) + len("?>")
	return nil
}
