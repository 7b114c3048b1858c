package handler

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
)

// A part is some of the bytes of a content.
type part struct{ from, length int64 }

func (p part) contentRange(size int64) string {
	return fmt.Sprintf("bytes %d-%d/%d", p.from, p.from+p.length-1, size)
}

// maxRanges bounds the parts of one answer.
const maxRanges = 64

// ranges returns what a Range asks for: nothing where all of it is beyond the end (416). ok is false where the field is to
// be ignored: an unknown unit, one that is malformed (RFC 9110 §14.2), any of nothing, or more than all there is.
func ranges(h http.Header, size int64) (parts []part, ok bool) {
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
		case first == "": // RFC 9110 §14.1.2: the last so many, of which there is none if it is 0
			from, to = max(size-to, 0), size-1
		case last == "":
			to = size - 1
		}
		count++
		if from < size {
			one := part{from, min(to, size-1) - from + 1}
			parts = append(parts, one)
			left -= one.length
		}
	}
	if count == 0 || count > maxRanges || left < 0 {
		return nil, false
	}
	return parts, true
}

// position reads digits; "" is fine, and what is larger than any file is as large as one can be.
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

// writeParts writes several parts of a content as one body (RFC 9110 §14.6); send is called to send each.
func writeParts(w io.Writer, boundary, contentType string, size int64, parts []part, send func(part) error) error {
	m := multipart.NewWriter(w)
	if err := m.SetBoundary(boundary); err != nil {
		return err
	}
	for _, p := range parts {
		_, err := m.CreatePart(textproto.MIMEHeader{"Content-Range": {p.contentRange(size)}, "Content-Type": {contentType}})
		if err == nil {
			err = send(p)
		}
		if err != nil {
			return err
		}
	}
	return m.Close()
}

// lengthOfParts returns how many bytes writeParts writes.
func lengthOfParts(boundary, contentType string, size int64, parts []part) int64 {
	var n length
	_ = writeParts(&n, boundary, contentType, size, parts, func(p part) error { n += length(p.length); return nil })
	return int64(n)
}

type length int64 // of what was written

func (c *length) Write(p []byte) (int, error) {
	*c += length(len(p))
	return len(p), nil
}
