package davxml

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"r-seed-1f3a754f.example/ifmatch/tree"
)

// The bounds of a request body. A body beyond one of them is [ErrTooLarge].
const (
	// MaxBody is the maximum length in bytes. At most one more byte is read.
	MaxBody = 1 << 20
	// MaxDepth is the maximum number of elements that are open at once.
	MaxDepth = 100
	// MaxAttributes is the maximum number of attributes of an element, declarations of namespaces included.
	MaxAttributes = 128
	// MaxNames bounds the names in a PROPFIND: the bytes of the names with their namespaces, and nameCost for each,
	// because the answer repeats them for every member.
	MaxNames = 64 << 10
	nameCost = 32
	// MaxProperties is the maximum number of properties that a PROPPATCH sets or removes. No resource may have as
	// many.
	MaxProperties = 10_000
	// maxUpdate bounds the values of a PROPPATCH as they are stored, because a namespace that is declared once and
	// used often is stored often.
	maxUpdate = 2 * MaxBody
)

// ErrTooLarge reports a request body beyond the bounds of this package.
var ErrTooLarge = errors.New("the request body is too large or too deep")

// A SyntaxError reports a request body that is not namespace-well-formed XML, or not the document of the method. RFC
// 4918 §8.2: "the server MUST … reject the request with a 400 (Bad Request)".
type SyntaxError struct {
	Line   int // the line of the body, from 1
	Reason string
}

func (e *SyntaxError) Error() string { return fmt.Sprintf("line %d: %s", e.Line, e.Reason) }

// open reads a body and returns its scanner, or nil for white space. An error of r is that of the client, and is
// returned as a [tree.BodyError].
func open(r io.Reader) (*scanner, error) {
	body, err := io.ReadAll(io.LimitReader(r, MaxBody+1))
	if err != nil {
		return nil, &tree.BodyError{Err: err}
	}
	if len(body) > MaxBody {
		return nil, ErrTooLarge
	}
	text, wide, err := decode(body)
	if err != nil {
		return nil, err
	}
	if strings.Trim(text, spaces) == "" {
		return nil, nil
	}
	return newScanner(text, wide)
}

// decode returns a body as UTF-8 with "\n" at line ends (XML 1.0 §2.11), after it has checked that all characters are
// those of XML 1.0. The byte order mark distinguishes UTF-8 and UTF-16: XML 1.0 §4.3.3 demands one for UTF-16, and no
// client is known to omit it. The Content-Type is ignored, because clients send text/plain or none.
func decode(body []byte) (text string, wide bool, err error) {
	switch {
	case len(body) >= 2 && body[0] == 0xFE && body[1] == 0xFF:
		text, err = decodeUTF16(body[2:], 0)
		wide = true
	case len(body) >= 2 && body[0] == 0xFF && body[1] == 0xFE:
		text, err = decodeUTF16(body[2:], 1)
		wide = true
	default:
		text = strings.TrimPrefix(string(body), "\uFEFF")
	}
	if err != nil {
		return "", false, err
	}
	if strings.IndexByte(text, '\r') >= 0 {
		text = strings.ReplaceAll(text, "\r\n", "\n")
		text = strings.ReplaceAll(text, "\r", "\n")
	}
	for i := 0; i < len(text); {
		r, size := rune(text[i]), 1
		if r >= utf8.RuneSelf {
			r, size = utf8.DecodeRuneInString(text[i:])
			if r == utf8.RuneError && size == 1 {
				return "", false, syntaxError(text, i, "is not UTF-8")
			}
		}
		if !isChar(r) {
			return "", false, syntaxError(text, i, fmt.Sprintf("the character %U is not allowed", r))
		}
		i += size
	}
	return text, wide, nil
}

// decodeUTF16 decodes UTF-16. high is the index, 0 or 1, of the high byte of each unit. Package x/text would replace
// half a surrogate pair, which is not XML (XML 1.0 §2.2), by U+FFFD.
func decodeUTF16(b []byte, high int) (string, error) {
	var text strings.Builder
	text.Grow(len(b))
	if len(b)%2 != 0 {
		return "", syntaxError("", 0, "is not UTF-16: half a character at the end")
	}
	unit := func(i int) rune { return rune(b[i+high])<<8 | rune(b[i+1-high]) }
	for i := 0; i < len(b); i += 2 {
		r := unit(i)
		if utf16.IsSurrogate(r) {
			i += 2
			if i < len(b) {
				r = utf16.DecodeRune(r, unit(i))
			}
			if i >= len(b) || r == utf8.RuneError {
				return "", syntaxError(text.String(), text.Len(), "is not UTF-16: half a surrogate pair")
			}
		}
		text.WriteRune(r)
	}
	return text.String(), nil
}

// isChar reports whether a character is one of XML 1.0 §2.2 [2].
func isChar(r rune) bool {
	return r >= 0x20 && r <= 0xD7FF || r == '\t' || r == '\n' || r == '\r' || r >= 0xE000 && r <= 0xFFFD ||
		r >= 0x10000 && r <= 0x10FFFF
}

func syntaxError(text string, at int, reason string) error {
	return &SyntaxError{Line: 1 + strings.Count(text[:at], "\n"), Reason: reason}
}
