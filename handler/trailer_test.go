package handler

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"r-seed-1f3a754f.example/ifmatch/tree"
	"r-seed-1f3a754f.example/ifmatch/tree/treetest"
)

// unhashed is a store in which no tag is known in time.
type unhashed struct{ tree.Store }

func (s unhashed) Open(ctx context.Context, name string, opts tree.ReadOptions, cond tree.Condition) (tree.Content, tree.State, error) {
	content, state, err := s.Store.Open(ctx, name, opts, cond)
	if !opts.TagDeadline.IsZero() {
		state.Tag = ""
	}
	return content, state, err
}

// TestTagFollowsTheContent: a client that keeps trailer fields gets the tag of a file that was sent before it was hashed.
func TestTagFollowsTheContent(t *testing.T) {
	large := strings.Repeat("0123456789abcdef", 1<<16)
	store := unhashed{storeInMemory(t, "small=content", "empty=", "large="+large)}
	server := httptest.NewServer(newTestHandler(t, Config{Store: store, TagWait: time.Nanosecond}))
	defer server.Close()
	for _, tt := range []struct {
		about  string
		line   string // of the request
		header string
		body   string
		tag    bool // in the trailer
	}{
		{"a small file", "GET /small HTTP/1.1", "TE: trailers", "content", true},
		{"a large file", "GET /large HTTP/1.1", "TE: trailers", large, true},
		{"an empty file", "GET /empty HTTP/1.1", "TE: trailers", "", true},
		{"TE with other codings", "GET /small HTTP/1.1", "TE: gzip;q=0.5, Trailers", "content", true},
		{"no TE", "GET /small HTTP/1.1", "X: y", "content", false},
		{"another coding", "GET /small HTTP/1.1", "TE: trailersx", "content", false},
		{"a part", "GET /small HTTP/1.1", "TE: trailers\r\nRange: bytes=0-6", "content", false},
		{"HEAD", "HEAD /small HTTP/1.1", "TE: trailers", "", false},
		{"HTTP/1.0 has no trailers", "GET /small HTTP/1.0", "TE: trailers", "content", false},
		{"a tag that is known", "GET /small HTTP/1.1", "TE: trailers\r\nIf-Match: " + string(treetest.TagOf("content")), "content", false},
	} {
		conn, err := net.Dial("tcp", server.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(conn, tt.line+"\r\nHost: localhost\r\n"+tt.header+"\r\n\r\n")
		method, _, _ := strings.Cut(tt.line, " ")
		answer, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(answer.Body)
		if err != nil || !bytes.Equal(body, []byte(tt.body)) {
			t.Errorf("%s: %d bytes, error %v", tt.about, len(body), err)
		}
		conn.Close()
		want := treetest.TagOf(tt.body)
		if !tt.tag {
			if len(answer.Trailer) != 0 || method == "GET" && answer.ContentLength != int64(len(tt.body)) {
				t.Errorf("%s: trailer %v, length %d", tt.about, answer.Trailer, answer.ContentLength)
			}
			continue
		}
		if got := tree.ETag(answer.Trailer.Get("ETag")); got != want || answer.Header.Get("ETag") != "" {
			t.Errorf("%s: ETag %s in the trailer, %q before; want %s", tt.about, got, answer.Header.Get("ETag"), want)
		}
		if got := answer.Trailer.Get("Repr-Digest"); got == "" || answer.Header.Get("Repr-Digest") != "" {
			t.Errorf("%s: Repr-Digest %q in the trailer, and %v", tt.about, got, answer.Header)
		}
	}
}
