package davxml

import "unicode/utf8"

// AppendText appends a string to dst as escaped character data (XML 1.0 §2.4). Characters that XML 1.0 §2.2 cannot
// express become U+FFFD.
func AppendText(dst []byte, s string) []byte { return appendEscaped(dst, s, false) }

// appendAttribute appends an equals sign and a quoted value.
func appendAttribute(dst []byte, value string) []byte {
	dst = append(dst, `="`...)
	dst = appendEscaped(dst, value, true)
	return append(dst, '"')
}

func appendEscaped(dst []byte, s string, quoted bool) []byte {
	plain := 0 // s[plain:i] needs no escape
	for i := 0; i < len(s); {
		c, size := s[i], 1
		escaped := ""
		switch {
		case c >= utf8.RuneSelf:
			var r rune
			r, size = utf8.DecodeRuneInString(s[i:])
			if r == utf8.RuneError && size == 1 || !isChar(r) {
				escaped = "\uFFFD"
			}
		case c == '&':
			escaped = "&amp;"
		case c == '<':
			escaped = "&lt;"
		case c == '>': // necessary only after ]]
			escaped = "&gt;"
		case c == '\r': // else XML 1.0 §2.11 makes it a line feed
			escaped = "&#xD;"
		case c == '"' && quoted:
			escaped = "&quot;"
		case c == '\n' && quoted: // else XML 1.0 §3.3.3 makes it a space
			escaped = "&#xA;"
		case c == '\t' && quoted:
			escaped = "&#x9;"
		case c < ' ' && c != '\n' && c != '\t':
			escaped = "\uFFFD"
		}
		if escaped != "" {
			dst = append(dst, s[plain:i]...)
			dst = append(dst, escaped...)
			plain = i + size
		}
		i += size
	}
	return append(dst, s[plain:]...)
}
