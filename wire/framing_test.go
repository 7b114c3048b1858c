package wire

import (
	"strings"
	"testing"
)

func TestFraming(t *testing.T) {
	for _, tt := range []struct {
		about, text string
		want        bool
	}{
		{"neither", "GET / HTTP/1.1\r\nHost: x\r\n\r\n", false},
		{"a length", "PUT / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc", false},
		{"a coding", "PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", false},
		{"both", "PUT / HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n", true},
		{"both, the other way round", "PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nHost: x\r\nContent-Length: 3\r\n\r\n", true},
		{"both, in other letters", "PUT / HTTP/1.1\r\ncontent-LENGTH:3\r\ntransfer-encoding:chunked\r\n\r\n", true},
		{"both, with bare line feeds", "PUT / HTTP/1.1\nContent-Length: 3\nTransfer-Encoding: chunked\n\n", true},
		{"both, folded", "PUT / HTTP/1.1\r\nContent-Length:\r\n 3\r\nTransfer-Encoding:\r\n chunked\r\n\r\n", true},
		{"one after the other", "PUT / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabcPUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", false},
		{"after a body without an end of line", "PUT / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabcPUT / HTTP/1.1\r\nContent-Length: 3\r\n" +
			"Transfer-Encoding: chunked\r\n\r\n", true},
		{"after empty lines", "\r\n\r\nPUT / HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n", true},
		{"as values", "GET / HTTP/1.1\r\nX: Content-Length: 3\r\nY: Transfer-Encoding: chunked\r\n\r\n", false},
		{"longer names", "GET / HTTP/1.1\r\nX-Content-Length: 3\r\nTransfer-Encodings: chunked\r\n\r\n", false},
		{"shorter names", "GET / HTTP/1.1\r\nContent-Lengt: 3\r\nTransfer-Encodin: chunked\r\n\r\n", false},
	} {
		for cut := range len(tt.text) { // whatever comes at once
			var f framing
			f.look([]byte(tt.text[:cut]))
			f.look([]byte(tt.text[cut:]))
			if got := f.both.Load(); got != tt.want {
				t.Errorf("%s, cut at %d: %v, want %v", tt.about, cut, got, tt.want)
			}
		}
		var f framing
		for i := range len(tt.text) {
			f.look([]byte(tt.text[i : i+1]))
		}
		if got := f.both.Load(); got != tt.want {
			t.Errorf("%s, byte by byte: %v, want %v", tt.about, got, tt.want)
		}
	}
}

// What was skipped is no header, and what comes after it begins in the middle of a line.
func TestFramingSkips(t *testing.T) {
	var f framing
	f.look([]byte("PUT / HTTP/1.1\r\nContent-Length: 9\r\n\r\nContent-Length: 1\r\n"))
	f.skip()
	f.look([]byte("Transfer-Encoding: chunked\r\n"))
	if f.both.Load() {
		t.Error("found in a body that was skipped")
	}
	f.look([]byte("GET / HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n"))
	if !f.both.Load() {
		t.Error("not found behind a body that was skipped")
	}
}

func BenchmarkFraming(b *testing.B) {
	text := []byte(strings.Repeat("as long a line as people write in a text, or a program\n", 75))
	var f framing
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		f.look(text)
	}
}
