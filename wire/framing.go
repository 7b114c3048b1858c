package wire

import (
	"bytes"
	"sync/atomic"
)

// framing looks for headers that have both a Transfer-Encoding and a Content-Length, among all that comes over a connection
// of HTTP/1. Two readers may see the end of such a message in different places, and what one takes for its body, the other
// for the next request: RFC 9112 §6.1 has a server close the connection after the answer. net/http reads it as it should
// be read, by the Transfer-Encoding, but removes the other field, and goes on.
//
// It does not parse: it takes every run of lines up to an empty one for a header, also in a body. So it misses none,
// wherever a header begins, and what it finds too much costs a connection that could have been used again.
type framing struct {
	line           []byte      // how the line begins that is being read
	length, coding bool        // the run of lines has had them
	coded, both    atomic.Bool // one had a coding, or both
}

var (
	lengthField = []byte("content-length:")
	codingField = []byte("transfer-encoding:")
)

// look takes what has come.
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

// skip takes what is known to be no header.
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
