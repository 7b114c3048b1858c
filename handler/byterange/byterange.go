// Package byterange reads the Range header, and writes several parts of a content as one body (RFC 9110 §14).
//
// http.ServeContent does not serve here: it wants to seek, and decides conditions itself.
package byterange

import (
	"errors"
	"fmt"
	"io"
	"math"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"strconv"
	"strings"

	"r-seed-1f3a754f.example/ifmatch/tree"
)

// MaxParts bounds the parts of one answer.
const MaxParts = 64

// Parse returns the parts of a content of a size, in bytes, that the Range header asks for. No part at all means that
// every range begins at or beyond the end (416). ok is false where the header is to be ignored: it is absent, has
// another unit, is malformed (RFC 9110 §14.2), has more than [MaxParts], asks for more bytes than there are, or the
// content is empty.
func Parse(h http.Header, size int64) (parts []tree.Part, ok bool) {
	values := h.Values("Range")
	if len(values) != 1 || size == 0 {
		return nil, false
	}
	unit, set, ok := strings.Cut(values[0], "=")
	if !ok || !strings.EqualFold(unit, "bytes") {
		return nil, false
	}
	count, left := 0, size
	for spec := range strings.SplitSeq(set, ",") {
		if spec = strings.Trim(spec, " \t"); spec == "" {
			continue // RFC 9110 §5.6.1: empty list elements are ignored
		}
		first, last, ok := strings.Cut(spec, "-")
		from, okFrom := position(first)
		to, okTo := position(last)
		if !ok || !okFrom || !okTo || first == "" && last == "" || first != "" && last != "" && from > to {
			return nil, false
		}
		switch {
		case first == "": // RFC 9110 §14.1.2: the last bytes, as many as the number says; "-0" is beyond the end
			from, to = max(size-to, 0), size-1
		case last == "":
			to = size - 1
		}
		count++
		if from < size {
			p := tree.Part{Offset: from, Length: min(to, size-1) - from + 1}
			parts = append(parts, p)
			left -= p.Length
		}
	}
	if count == 0 || count > MaxParts || left < 0 {
		return nil, false
	}
	return parts, true
}

// position reads digits. An empty string is 0, and a number above the largest int64 is that one.
func position(digits string) (int64, bool) {
	if strings.Trim(digits, "0123456789") != "" {
		return 0, false
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	if errors.Is(err, strconv.ErrRange) {
		n = math.MaxInt64
	}
	return n, true
}

// ContentRange returns the value of Content-Range for a part of a content of a size, in bytes.
func ContentRange(p tree.Part, size int64) string {
	return fmt.Sprintf("bytes %d-%d/%d", p.Offset, p.Offset+p.Length-1, size)
}

// A Multipart is several parts of a content as one body (RFC 9110 §14.6).
type Multipart struct {
	Parts []tree.Part
	Size  int64  // of the whole content, in bytes
	Type  string // of the content

	boundary string
}

// NewMultipart returns a body with a random boundary.
func NewMultipart(parts []tree.Part, size int64, contentType string) *Multipart {
	return &Multipart{parts, size, contentType, multipart.NewWriter(nil).Boundary()}
}

// ContentType returns the Content-Type of the body.
func (m *Multipart) ContentType() string { return "multipart/byteranges; boundary=" + m.boundary }

// Write writes the body. It calls send for each part, which must write the bytes of that part.
func (m *Multipart) Write(w io.Writer, send func(tree.Part) error) error {
	body := multipart.NewWriter(w)
	if err := body.SetBoundary(m.boundary); err != nil {
		return err
	}
	for _, p := range m.Parts {
		_, err := body.CreatePart(textproto.MIMEHeader{
			"Content-Range": {ContentRange(p, m.Size)}, "Content-Type": {m.Type}})
		if err == nil {
			err = send(p)
		}
		if err != nil {
			return err
		}
	}
	return body.Close()
}

// Length returns the length of the body in bytes.
func (m *Multipart) Length() int64 {
	var n counter
	_ = m.Write(&n, func(p tree.Part) error { n += counter(p.Length); return nil }) // a counter does not fail
	return int64(n)
}

// A counter counts the bytes that are written to it.
type counter int64

func (c *counter) Write(p []byte) (int, error) {
	*c += counter(len(p))
	return len(p), nil
}
