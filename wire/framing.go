package wire

import (
	"bytes"
	"sync/atomic"
)

// framing looks for headers that have both a Transfer-Encoding and a Content-Length, in all bytes that come over an
// HTTP/1 connection. Two readers may see the end of such a message in different places: one reader takes a part of it
// for the body, and the other takes the same part for the next request. RFC 9112 §6.1 has a server close the connection
// after the answer. net/http reads the message correctly, by its Transfer-Encoding, but removes the other field and
// keeps the connection.
//
// framing does not parse. It takes each run of lines up to an empty line for a header, even inside a body. So it misses
// no header, no matter where the header begins. A false find costs only a connection that could have been used again.
type framing struct {
	line           []byte      // how the line begins that is being read
	length, coding bool        // the run of lines has had these fields
	coded, both    atomic.Bool // coded: a header had a Transfer-Encoding. both: a header had both fields
}

var (
	lengthField = []byte("content-length:")
	codingField = []byte("transfer-encoding:")
)

// look reads bytes that may be of a header.
func (f *framing) look(p []byte) {
	for len(p) > 0 {
		line, rest, ended := bytes.Cut(p, []byte("\n"))
		if n := len(codingField) - len(f.line); n > 0 {
			f.line = append(f.line, line[:min(n, len(line))]...)
		}
		if !ended {
			return
		}
		f.end(f.line)
		f.line, p = f.line[:0], rest
	}
}

// skip passes over bytes that belong to no header.
func (f *framing) skip() {
	f.line = append(f.line[:0], "the middle of a line"...)
	f.length, f.coding = false, false
}

func (f *framing) end(line []byte) {
	switch {
	case len(line) == 0 || string(line) == "\r":
		f.length, f.coding = false, false
	case hasPrefixFold(line, lengthField):
		f.length = true
	case hasPrefixFold(line, codingField):
		f.coding = true
		f.coded.Store(true)
	}
	if f.length && f.coding {
		f.both.Store(true)
	}
}

func hasPrefixFold(line, prefix []byte) bool {
	return len(line) >= len(prefix) && line[0]|0x20 == prefix[0] && bytes.EqualFold(line[:len(prefix)], prefix)
}
