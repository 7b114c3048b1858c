package davxml

import (
	"strings"
	"unicode/utf8"
)

// declaration reads the XML declaration (XML 1.0 §2.8 [23]). Its encoding must be that of the document (§4.3.3).
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

// pseudoAttribute returns the value of a part of the XML declaration, or "" if another part comes next.
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
