// Package problem writes the body of a refusal: a problem of RFC 9457, as JSON or, within a DAV:error, as XML.
package problem

import (
	"bytes"
	"cmp"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"mime"
	"net/http"
	"strings"

	"github.com/elnormous/contenttype"
	"golang.org/x/net/webdav"

	"r-seed-1f3a754f.example/ifmatch/internal/excerpt"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

// A Problem is the body of a refusal (RFC 9457 §3).
type Problem struct {
	Title  string `json:"title" xml:"title"`
	Status int    `json:"status" xml:"status"`
	Detail string `json:"detail,omitempty" xml:"detail,omitempty"`
	// RequestID is the X-Request-Id of the answer, by which the log names the request.
	RequestID string `json:"requestId,omitempty" xml:"requestId,omitempty"`

	*Precondition // of a 412 and a 428
	*Mismatch     // of a body with another digest than announced
}

// A Precondition says which condition was not met (412), or that there was none (428), and describes the resource.
type Precondition struct {
	Condition *string   `json:"condition,omitempty" xml:"condition,omitempty"`
	Want      *string   `json:"want,omitempty" xml:"want,omitempty"`
	Resource  string    `json:"resource" xml:"resource"`
	Exists    bool      `json:"exists" xml:"exists"`
	ETag      tree.ETag `json:"etag,omitempty" xml:"etag,omitempty"`
	Size      *int64    `json:"size,omitempty" xml:"size,omitempty"`         // in bytes
	Modified  string    `json:"modified,omitempty" xml:"modified,omitempty"` // as Last-Modified

	// SameContent says that the refused body, or the body that its digest field announces, is the content that is
	// there. Another client may have written the same bytes, so the refused client must not count its write as done.
	SameContent bool `json:"sameContent,omitempty" xml:"sameContent,omitempty"`
}

// A Mismatch says which digest a field announced, and which one the body has. Both are written as in that field.
type Mismatch struct {
	Field     string `json:"field" xml:"field"`
	Announced string `json:"announced" xml:"announced"`
	Computed  string `json:"computed" xml:"computed"`
}

// XMLType is the media type of the XML of answers.
const XMLType = "application/xml; charset=utf-8"

// mediaTypes are the types that a refusal can have. The first is sent to clients that accept all equally.
var mediaTypes = []contenttype.MediaType{
	contenttype.NewMediaType("application/problem+json"),
	contenttype.NewMediaType("application/json"), // a client that reads it also reads problem+json
	contenttype.NewMediaType(XMLType),
	contenttype.NewMediaType("text/xml; charset=utf-8"),
}

// accepted returns the type that a client prefers (RFC 9110 §12.5.1). A malformed Accept is ignored.
func accepted(h http.Header) contenttype.MediaType {
	var ranges []string
	for element := range strings.SplitSeq(strings.Join(h.Values("Accept"), ","), ",") {
		if element = strings.Trim(element, " \t"); element != "" { // RFC 9110 §5.6.1.2: empty elements are ignored
			ranges = append(ranges, element)
		}
	}
	chosen, _, err := contenttype.GetAcceptableMediaTypeFromHeader(strings.Join(ranges, ", "), mediaTypes)
	if err != nil || chosen.Subtype != "xml" {
		return mediaTypes[0]
	}
	return chosen
}

// A davError is a DAV:error (RFC 4918 §14.5) with the XML of RFC 9457, appendix B. Clients ignore the elements of a
// DAV:error that they do not know.
type davError struct {
	XMLName xml.Name `xml:"D:error"`
	DAV     string   `xml:"xmlns:D,attr"`
	Problem Problem  `xml:"urn:ietf:rfc:7807 problem"`
}

// Encode returns the body, in the type that the header of the request prefers, and that type. It sets the title, and
// shortens the detail, which may quote texts of the client.
func (p Problem) Encode(h http.Header) (contentType string, body []byte) {
	p.Detail = excerpt.Cut(2*excerpt.Max, p.Detail)
	p.Title = cmp.Or(webdav.StatusText(p.Status), http.StatusText(p.Status))
	chosen := accepted(h)
	var b bytes.Buffer
	var err error
	if chosen.Subtype == "xml" {
		b.WriteString(xml.Header)
		err = xml.NewEncoder(&b).Encode(davError{DAV: "DAV:", Problem: p})
	} else {
		e := json.NewEncoder(&b)
		e.SetEscapeHTML(false) // for people: quoted texts have < and >
		err = e.Encode(p)
	}
	if err != nil {
		chosen = mediaTypes[0]
		b.Reset()
		fmt.Fprintf(&b, `{"status":%d}`, p.Status)
	}
	return mime.FormatMediaType(chosen.MIME(), chosen.Parameters), b.Bytes()
}
