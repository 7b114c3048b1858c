package handler

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"

	"r-seed-1f3a754f.example/ifmatch/wire"
)

// shapes are requests that two readers may frame or read differently (RFC 9112 §11.2). All are a PUT of /f unless
// they say otherwise. docs/connections.md has the same texts and answers in its table.
var shapes = []struct {
	about   string
	version string // "": HTTP/1.1
	header  string
	body    string
	status  int
	stored  string // in /f, which has "old" at first
	goesOn  bool   // the next request on the connection is answered
	rest    bool   // the rest of the body is the next request, as for all other readers
}{
	{about: "a length", header: "Content-Length: 5\r\n", body: "hello", status: 204, stored: "hello", goesOn: true},
	{about: "chunks", header: "Transfer-Encoding: chunked\r\n", body: "5\r\nhello\r\n0\r\n\r\n", status: 204, stored: "hello", goesOn: true},
	{about: "both, the length that of the chunks", header: "Content-Length: 15\r\nTransfer-Encoding: chunked\r\n", body: "5\r\nhello\r\n0\r\n\r\n", status: 204, stored: "hello"},
	{about: "both, the length shorter", header: "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n", body: "5\r\nhello\r\n0\r\n\r\n", status: 204, stored: "hello"},
	{about: "both, the coding first", header: "Transfer-Encoding: chunked\r\nHost: localhost\r\nContent-Length: 50\r\n", body: "5\r\nhello\r\n0\r\n\r\n", status: 204, stored: "hello"},
	{about: "both, the length no number", header: "Content-Length: x\r\nTransfer-Encoding: chunked\r\n", body: "5\r\nhello\r\n0\r\n\r\n", status: 400, stored: "old"},
	{about: "a length twice, the same", header: "Content-Length: 5\r\nContent-Length: 5\r\n", body: "hello", status: 204, stored: "hello", goesOn: true},
	{about: "two lengths", header: "Content-Length: 5\r\nContent-Length: 6\r\n", body: "hello!", status: 400, stored: "old"},
	{about: "a list of lengths", header: "Content-Length: 5, 5\r\n", body: "hello", status: 400, stored: "old"},
	{about: "a length with a sign", header: "Content-Length: +5\r\n", body: "hello", status: 400, stored: "old"},
	{about: "a negative length", header: "Content-Length: -5\r\n", body: "hello", status: 400, stored: "old"},
	{about: "a hexadecimal length", header: "Content-Length: 0x5\r\n", body: "hello", status: 400, stored: "old"},
	{about: "an empty length", header: "Content-Length:\r\n", body: "hello", status: 400, stored: "old"},
	{about: "a length beyond all numbers", header: "Content-Length: 18446744073709551621\r\n", body: "hello", status: 400, stored: "old"},
	{about: "a coding twice", header: "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", body: "5\r\nhello\r\n0\r\n\r\n", status: 501, stored: "old"},
	{about: "a list of codings", header: "Transfer-Encoding: gzip, chunked\r\n", body: "5\r\nhello\r\n0\r\n\r\n", status: 501, stored: "old"},
	{about: "an unknown coding, and a length", header: "Transfer-Encoding: xchunked\r\nContent-Length: 5\r\n", body: "hello", status: 501, stored: "old"},
	{about: "identity as a coding", header: "Transfer-Encoding: identity\r\nContent-Length: 5\r\n", body: "hello", status: 501, stored: "old"},
	{about: "a coding in other letters", header: "transfer-ENCODING: Chunked\r\n", body: "5\r\nhello\r\n0\r\n\r\n", status: 204, stored: "hello", goesOn: true},
	{about: "a coding behind a control character", header: "Transfer-Encoding: \x0bchunked\r\n", body: "5\r\nhello\r\n0\r\n\r\n", status: 400, stored: "old"},
	{about: "chunks in HTTP/1.0", version: "HTTP/1.0", header: "Connection: keep-alive\r\nTransfer-Encoding: chunked\r\n", body: "5\r\nhello\r\n0\r\n\r\n", status: 411, stored: "old"},
	{about: "neither in HTTP/1.0", version: "HTTP/1.0", header: "", body: "", status: 204, stored: ""},
	{about: "both in HTTP/1.0", version: "HTTP/1.0", header: "Connection: keep-alive\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n", body: "hello", status: 400, stored: "old"},
	{about: "a length in HTTP/1.0 that wants to go on", version: "HTTP/1.0", header: "Connection: keep-alive\r\nContent-Length: 5\r\n", body: "hello", status: 204, stored: "hello"},
	{about: "neither, and a body", header: "", body: "hello", status: 204, stored: "", rest: true},
	{about: "more than the length", header: "Content-Length: 5\r\n", body: "hello!", status: 204, stored: "hello", rest: true},
	{about: "a request within the length", header: "Content-Length: 47\r\n", body: "GET /f HTTP/1.1\r\nHost: localhost\r\nX-Y: 4567\r\n\r\n", status: 204,
		stored: "GET /f HTTP/1.1\r\nHost: localhost\r\nX-Y: 4567\r\n\r\n", goesOn: true},
	{about: "a folded length", header: "Content-Length:\r\n 5\r\n", body: "hello", status: 204, stored: "hello", goesOn: true},
	{about: "a folded coding", header: "Transfer-Encoding:\r\n\tchunked\r\n", body: "5\r\nhello\r\n0\r\n\r\n", status: 204, stored: "hello", goesOn: true},
	{about: "a fold that hides a length", header: "X: y\r\n Content-Length: 5\r\n", body: "hello", status: 204, stored: "", rest: true},
	{about: "a space before the colon", header: "Content-Length : 5\r\n", body: "hello", status: 400, stored: "old"},
	{about: "a bare line feed in the header", header: "X: y\nContent-Length: 5\n", body: "hello", status: 204, stored: "hello", goesOn: true},
	{about: "a bare carriage return in a value", header: "X: y\rContent-Length: 3\r\nContent-Length: 5\r\n", body: "hello", status: 400, stored: "old"},
	{about: "a NUL in a value", header: "X: y\x00\r\nContent-Length: 5\r\n", body: "hello", status: 400, stored: "old"},
	{about: "a field without a name", header: ": y\r\nContent-Length: 5\r\n", body: "hello", status: 400, stored: "old"},
	{about: "a line that is no field", header: "y\r\nContent-Length: 5\r\n", body: "hello", status: 400, stored: "old"},
	{about: "two Hosts", header: "Host: other\r\nContent-Length: 5\r\n", body: "hello", status: 400, stored: "old"},
	{about: "a chunk that ends with a bare line feed", header: "Transfer-Encoding: chunked\r\n", body: "5\r\nhello\n0\r\n\r\n", status: 400, stored: "old"},
	{about: "a size that ends with a bare line feed", header: "Transfer-Encoding: chunked\r\n", body: "5\nhello\r\n0\r\n\r\n", status: 400, stored: "old"},
	{about: "a bare carriage return behind a size", header: "Transfer-Encoding: chunked\r\n", body: "5\rX\r\nhello\r\n0\r\n\r\n", status: 400, stored: "old"},
	{about: "a size with a sign", header: "Transfer-Encoding: chunked\r\n", body: "+5\r\nhello\r\n0\r\n\r\n", status: 400, stored: "old"},
	{about: "a size with 0x", header: "Transfer-Encoding: chunked\r\n", body: "0x5\r\nhello\r\n0\r\n\r\n", status: 400, stored: "old"},
	{about: "a size beyond all numbers", header: "Transfer-Encoding: chunked\r\n", body: "10000000000000005\r\nhello\r\n0\r\n\r\n", status: 400, stored: "old"},
	{about: "no size", header: "Transfer-Encoding: chunked\r\n", body: "\r\nhello\r\n0\r\n\r\n", status: 400, stored: "old"},
	{about: "a chunk longer than its size", header: "Transfer-Encoding: chunked\r\n", body: "3\r\nhello\r\n0\r\n\r\n", status: 400, stored: "old"},
	{about: "an extension of a chunk", header: "Transfer-Encoding: chunked\r\n", body: "5;a=b\r\nhello\r\n0;c=\"d\"\r\n\r\n", status: 204, stored: "hello", goesOn: true},
	{about: "an extension with a bare line feed", header: "Transfer-Encoding: chunked\r\n", body: "5;a\nb\r\nhello\r\n0\r\n\r\n", status: 400, stored: "old"},
	{about: "a megabyte of an extension", header: "Transfer-Encoding: chunked\r\n", body: "5;" + strings.Repeat("a", 1<<20) + "\r\nhello\r\n0\r\n\r\n", status: 400, stored: "old"},
	{about: "trailers", header: "Transfer-Encoding: chunked\r\nTrailer: X\r\n", body: "5\r\nhello\r\n0\r\nX: y\r\n\r\n", status: 204, stored: "hello", goesOn: true},
	{about: "a condition as a trailer", header: "Transfer-Encoding: chunked\r\nTrailer: If-Match\r\n", body: "5\r\nhello\r\n0\r\nIf-Match: \"x\"\r\n\r\n", status: 204, stored: "hello", goesOn: true},
	{about: "a length as a trailer", header: "Transfer-Encoding: chunked\r\n", body: "5\r\nhello\r\n0\r\nContent-Length: 50\r\n\r\n", status: 204, stored: "hello", goesOn: true},
	{about: "a trailer that is no field", header: "Transfer-Encoding: chunked\r\n", body: "5\r\nhello\r\n0\r\ny\r\n\r\n", status: 400, stored: "old"},
	{about: "a megabyte of trailers", header: "Transfer-Encoding: chunked\r\n", body: "5\r\nhello\r\n0\r\nX: " + strings.Repeat("a", 1<<20) + "\r\n\r\n", status: 400, stored: "old"},
	{about: "an unknown expectation", header: "Expect: x\r\nContent-Length: 5\r\n", body: "hello", status: 417, stored: "old"},
	{about: "an upgrade to HTTP/2", header: "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\nContent-Length: 5\r\n",
		body: "hello", status: 204, stored: "hello", goesOn: true},
}

// shape sends one shape, and another request behind it, and returns the statuses of the answers.
func shape(t *testing.T, server *httptest.Server, request string) (statuses []int) {
	t.Helper()
	c := dialRaw(t, server)
	if server.TLS != nil {
		c.Conn = tls.Client(c.Conn, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}})
		c.r = bufio.NewReader(c.Conn)
	}
	go c.Write([]byte(request + "GET /after HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"))
	for {
		answer, err := http.ReadResponse(c.r, nil)
		if err != nil {
			return statuses
		}
		io.Copy(io.Discard, answer.Body)
		statuses = append(statuses, answer.StatusCode)
	}
}

func TestShapesOfRequests(t *testing.T) {
	told, err := os.ReadFile("../docs/connections.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range shapes {
		t.Run(tt.about, func(t *testing.T) {
			t.Parallel()
			store := storeInMemory(t, "f=old", "after=x")
			h := newTestHandler(t, Config{Store: store})
			version := tt.version
			if version == "" {
				version = "HTTP/1.1"
			}
			got := shape(t, served(t, h), "PUT /f "+version+"\r\nHost: localhost\r\n"+strings.ReplaceAll(tt.header, "Host: localhost\r\n", "X: x\r\n")+"\r\n"+tt.body)
			want := []int{tt.status}
			next := "closed"
			if tt.goesOn {
				want, next = append(want, 200), "goes on"
			} else if tt.rest {
				want, next = append(want, 405), "goes on, with what is left"
			}
			if !slices.Equal(got, want) {
				t.Errorf("the answers are %v, want %v", got, want)
			}
			if stored := ask(t, h, "GET", "/f", "").Body.String(); stored != tt.stored {
				t.Errorf("there is %.60q, want %q", stored, tt.stored)
			}
			if row := fmt.Sprintf("| %s | %d | %s |", tt.about, tt.status, next); !strings.Contains(string(told), row) {
				t.Errorf("docs/connections.md does not have the row %s", row)
			}
		})
	}
}

// Over TLS it is not seen whether a header has both a length and a coding, so that no request in chunks is followed by another.
func TestShapesOverTLS(t *testing.T) {
	for header, want := range map[string][]int{
		"Content-Length: 5\r\n\r\nhello":                                                 {204, 200},
		"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n":                      {204},
		"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n": {204},
	} {
		server := httptest.NewUnstartedServer(newTestHandler(t, Config{Store: storeInMemory(t, "f=old", "after=x")}))
		server.Listener = wire.Listen(server.Listener, func() wire.Limit { return wire.DefaultLimit })
		server.Config.ConnContext = wire.Context
		server.StartTLS()
		t.Cleanup(server.Close)
		if got := shape(t, server, "PUT /f HTTP/1.1\r\nHost: localhost\r\n"+header); !slices.Equal(got, want) {
			t.Errorf("%q: the answers are %v, want %v", header, got, want)
		}
	}
}

// A large body that quotes a request with both does not cost the connection.
func TestBodiesAreNoHeaders(t *testing.T) {
	server := served(t, inMemory(t, Config{}, "after=x"))
	body := strings.Repeat("x", 1<<20) + "\r\n\r\nPUT / HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n" + strings.Repeat("x", 1<<20)
	request := fmt.Sprintf("PUT /f HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	if got := shape(t, server, request); !slices.Equal(got, []int{201, 200}) {
		t.Errorf("the answers are %v", got)
	}
}

// A request over HTTP/1.0 with a Transfer-Encoding is refused with every method, because its body may be another one
// for other readers.
func TestCodedRequestsOverHTTP10AreRefused(t *testing.T) {
	for _, method := range []string{"GET", "PUT", "MKCOL", "DELETE", "PROPFIND", "PROPPATCH", "LOCK", "UNLOCK", "COPY", "MOVE", "OPTIONS"} {
		for length, want := range map[string]int{"": 411, "Content-Length: 3\r\n": 400} {
			store := storeInMemory(t, "f=old")
			h := newTestHandler(t, Config{Store: store})
			got := shape(t, served(t, h), method+" /f HTTP/1.0\r\nHost: localhost\r\nDestination: /g\r\nTransfer-Encoding: chunked\r\n"+
				length+"\r\n5\r\nhello\r\n0\r\n\r\n")
			if !slices.Equal(got, []int{want}) {
				t.Errorf("%s %q: the answers are %v, want %d", method, length, got, want)
			}
			if stored := ask(t, h, "GET", "/f", "").Body.String(); stored != "old" {
				t.Errorf("%s %q: there is %q", method, length, stored)
			}
		}
	}
}
