package handler

import (
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"golang.org/x/net/http2"
)

// shapesOverHTTP2 are PUTs of /f that RFC 9113 §8.1.1 and §8.3.1 call malformed, and their neighbours that are not.
// docs/connections.md has the same texts and answers in its table.
var shapesOverHTTP2 = []struct {
	about  string
	path   string // "": /f
	header []string
	ends   bool   // the stream ends with the header
	body   string // in one frame
	status string
	stored string // in /f, which has "old" at first
}{
	{about: "the length of the body", header: []string{"content-length", "5"}, body: "hello", status: "204", stored: "hello"},
	{about: "no length, and a body", body: "hello", status: "204", stored: "hello"},
	{about: "no length, and no body", ends: true, status: "204", stored: ""},
	{about: "the length 0, and no body", header: []string{"content-length", "0"}, ends: true, status: "204", stored: ""},
	{about: "a length, and no body", header: []string{"content-length", "5"}, ends: true, status: "400", stored: "old"},
	{about: "a length, and an empty frame", header: []string{"content-length", "5"}, status: "400", stored: "old"},
	{about: "a length beyond the body", header: []string{"content-length", "6"}, body: "hello", status: "400", stored: "old"},
	{about: "one length twice", header: []string{"content-length", "5", "content-length", "5"}, body: "hello", status: "204", stored: "hello"},
	{about: "different lengths", header: []string{"content-length", "5", "content-length", "3"}, body: "hello", status: "400", stored: "old"},
	{about: "a length that is no number", header: []string{"content-length", "x"}, status: "400", stored: "old"},
	{about: "a length that is a list", header: []string{"content-length", "0, 0"}, status: "400", stored: "old"},
	{about: "the same Host", header: []string{"host", "LOCALHOST"}, body: "hello", status: "204", stored: "hello"},
	{about: "another Host", header: []string{"host", "127.0.0.1"}, body: "hello", status: "400", stored: "old"},
	{about: "a URL as its path", path: "http://other.example/f", body: "hello", status: "400", stored: "old"},
}

func TestShapesOfRequestsOverHTTP2(t *testing.T) {
	told, err := os.ReadFile("../docs/connections.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range shapesOverHTTP2 {
		t.Run(tt.about, func(t *testing.T) {
			h := inMemory(t, Config{}, "f=old")
			f := overFrames(t, dialHTTP2(t, h), 1<<20)
			path := tt.path
			if path == "" {
				path = "/f"
			}
			f.request(1, "PUT", path, tt.ends, tt.header...)
			if !tt.ends {
				f.check(f.WriteData(1, true, []byte(tt.body)))
			}
			if got := f.status(1); got != tt.status {
				t.Errorf("the status is %s, want %s", got, tt.status)
			}
			if stored := ask(t, h, "GET", "/f", "").Body.String(); stored != tt.stored {
				t.Errorf("there is %q, want %q", stored, tt.stored)
			}
			if row := "| " + tt.about + " | " + tt.status + " |\n"; !strings.Contains(string(told), row) {
				t.Errorf("docs/connections.md does not have the row %s", row)
			}
		})
	}
}

// dialHTTP2 opens a connection to a server that speaks HTTP/2 without TLS.
func dialHTTP2(t *testing.T, h http.Handler) net.Conn {
	server := httptest.NewUnstartedServer(h)
	server.Config.Protocols = new(http.Protocols)
	server.Config.Protocols.SetUnencryptedHTTP2(true)
	server.Start()
	t.Cleanup(server.Close)
	c, err := net.Dial("tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// status reads until the answer on a stream begins.
func (f *frames) status(stream uint32) string {
	for {
		frame, err := f.ReadFrame()
		if err != nil {
			return err.Error()
		}
		switch frame := frame.(type) {
		case *http2.MetaHeadersFrame:
			if frame.StreamID == stream {
				return frame.PseudoValue("status")
			}
		case *http2.RSTStreamFrame:
			if frame.StreamID == stream {
				return "reset: " + frame.ErrCode.String()
			}
		}
	}
}
