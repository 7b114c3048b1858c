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

	"golang.org/x/net/webdav"
	"golang.org/x/text/encoding"
	"golang.org/x/text/transform"

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
	check   io.WriteCloser // gets what is read, and fails where that is not in the charset (nil: it is not checked)
	other   bool           // it has failed
}

// NewBody returns the body for a charset. It checks whether the body is UTF-8, since programs such as rclone say that of
// every text, without a look.
func NewBody(body io.Reader, charset string) *Body {
	b := &Body{Reader: body, charset: charset}
	if charset == "utf-8" {
		b.check = transform.NewWriter(io.Discard, encoding.UTF8Validator)
	}
	return b
}

// Read reads the body.
func (b *Body) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if b.check != nil && !b.other {
		_, failed := b.check.Write(p[:n])
		b.other = failed != nil
	}
	return n, err
}

// Describe returns the change of the properties of the file that has the body, which has been read.
func (b *Body) Describe(tag tree.ETag) []webdav.Proppatch {
	if b.other || b.check != nil && b.check.Close() != nil {
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
