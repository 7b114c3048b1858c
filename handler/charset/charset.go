// Package charset keeps the charset that a client has said for a text, in the Content-Type of a PUT, and tells it with
// that text. It is a dead property of the file, which goes with it in a MOVE, a COPY and a restore, and has the tag of the
// content that it is about: of any other content, such as that of a program, the charset is not known.
package charset

import (
	"encoding/xml"
	"io"
	"mime"
	"net/http"
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/webdav"

	"r-seed-1f3a754f.example/ifmatch/tree"
)

// Name is the name of the property. Clients neither see nor set it.
var Name = xml.Name{Space: "urn:x-ifmatch", Local: "charset"}

// maxLength bounds the name of a charset, in bytes. RFC 2978 §2.3 permits 40.
const maxLength = 40

// Said returns the charset of the Content-Type of a request, in lower case, or "".
func Said(h http.Header) string {
	_, params, err := mime.ParseMediaType(h.Get("Content-Type"))
	charset := strings.ToLower(params["charset"])
	other := func(c rune) bool {
		return (c < 'a' || c > 'z') && (c < '0' || c > '9') && !strings.ContainsRune("-_.:+", c)
	}
	if err != nil || len(charset) > maxLength || strings.ContainsFunc(charset, other) {
		return ""
	}
	return charset
}

// A Body is a body of which a client has said the charset.
type Body struct {
	io.Reader
	charset string
	rest    []byte // the first bytes of a character whose others have not come
	other   bool   // the bytes are no UTF-8
}

// NewBody returns the body for a charset.
func NewBody(body io.Reader, charset string) *Body { return &Body{Reader: body, charset: charset} }

// Read reads the body, and finds out whether it is UTF-8. Programs such as rclone say that of every text, without a look.
func (b *Body) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if b.charset == "utf-8" && !b.other {
		b.check(p[:n])
	}
	return n, err
}

func (b *Body) check(data []byte) {
	for len(b.rest) > 0 && len(data) > 0 && !utf8.FullRune(b.rest) {
		b.rest, data = append(b.rest, data[0]), data[1:]
	}
	if len(b.rest) > 0 {
		if !utf8.FullRune(b.rest) {
			return
		}
		b.other, b.rest = !utf8.Valid(b.rest), b.rest[:0]
	}
	whole := len(data)
	for i := len(data) - 1; i >= 0 && i >= len(data)-utf8.UTFMax; i-- {
		if utf8.RuneStart(data[i]) {
			if !utf8.FullRune(data[i:]) {
				whole = i
			}
			break
		}
	}
	b.rest = append(b.rest, data[whole:]...)
	b.other = b.other || !utf8.Valid(data[:whole])
}

// Describe returns the change of the properties of the file that has the body, which has been read.
func (b *Body) Describe(tag tree.ETag) []webdav.Proppatch {
	if b.other || len(b.rest) > 0 {
		return nil
	}
	value := []byte(opaque(tag) + " " + b.charset)
	return []webdav.Proppatch{{Props: []webdav.Property{{XMLName: Name, InnerXML: value}}}}
}

func opaque(tag tree.ETag) string { return strings.Trim(string(tag), `"`) }

// Of returns the charset that a client has said for the content of a file, whose tag and properties are there, or "".
func Of(state *tree.State) string {
	i := slices.IndexFunc(state.Properties, func(p webdav.Property) bool { return p.XMLName == Name })
	if i < 0 || state.Tag == "" {
		return ""
	}
	tag, charset, _ := strings.Cut(string(state.Properties[i].InnerXML), " ")
	if tag != opaque(state.Tag) {
		return ""
	}
	return charset
}

// Add adds a charset to a media type of texts that has none.
func Add(media, charset string) string {
	isText := strings.HasPrefix(media, "text/") || strings.HasSuffix(media, "+xml") || media == "application/xml"
	if charset == "" || !isText {
		return media
	}
	return media + "; charset=" + charset
}
