package handler

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"r-seed-1f3a754f.example/ifmatch/handler/exchange"
)

// patience bounds the waits of a test for events that must come.
const patience = 2 * time.Minute

// A raw is a connection on which a test sends any bytes.
type raw struct {
	net.Conn
	t *testing.T
	r *bufio.Reader
}

func dialRaw(t *testing.T, server *httptest.Server) *raw {
	t.Helper()
	conn, err := net.Dial("tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return newRaw(t, conn)
}

func newRaw(t *testing.T, conn net.Conn) *raw {
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(patience))
	return &raw{conn, t, bufio.NewReader(conn)}
}

func (c *raw) send(format string, args ...any) {
	c.t.Helper()
	if _, err := fmt.Fprintf(c, format, args...); err != nil {
		c.t.Fatal(err)
	}
}

// answer reads the next answer, 1xx too.
func (c *raw) answer(method string) *http.Response {
	c.t.Helper()
	answer, err := http.ReadResponse(c.r, &http.Request{Method: method})
	if err != nil {
		c.t.Fatalf("no answer: %v", err)
	}
	if _, err := io.ReadAll(answer.Body); err != nil {
		c.t.Fatalf("the answer %s breaks off: %v", answer.Status, err)
	}
	return answer
}

// ends waits until the server has closed the connection. That it sends anything before is an error.
func (c *raw) ends() error {
	rest, err := io.ReadAll(c.r)
	if len(rest) > 0 {
		return fmt.Errorf("the connection goes on: %.300q", rest)
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return errors.New("the connection hangs")
	}
	return nil // a reset is an end, too
}

// refusals are requests that are refused before their bodies are read.
var refusals = []struct {
	about, line, header string
	status              int
}{
	{"a part of a file", "PUT /f", "Content-Range: bytes 0-1/9\r\n", 400},
	{"a malformed If", "PUT /f", "If: x\r\n", 400},
	{"a malformed digest", "PUT /f", "Content-Digest: sha-256=x\r\n", 400},
	{"a bad name", "PUT /a%00", "", 400},
	{"another site", "PUT /f", "Sec-Fetch-Site: cross-site\r\n", 403},
	{"a collection", "PUT /d", "", 405},
	{"an unknown method", "BREW /f", "", 405},
	{"no parent", "PUT /no/f", "", 409},
	{"a stale condition", "PUT /f", "If-Match: \"x\"\r\n", 412},
	{"a name that is taken", "PUT /f", "If-None-Match: *\r\n", 412},
	{"a stale condition of a LOCK", "LOCK /f", "If-Match: \"x\"\r\n", 412},
	{"an encoded one", "PUT /f", "Content-Encoding: gzip\r\n", 415},
	{"a body of MKCOL", "MKCOL /new", "", 415},
	{"a locked file", "PUT /locked", "", 423},
}

func refusing(t *testing.T, config Config) *httptest.Server {
	t.Helper()
	h := inMemory(t, config)
	ask(t, h, "PUT", "/f", "old")
	ask(t, h, "MKCOL", "/d", "")
	const info = `<D:lockinfo xmlns:D="DAV:"><D:lockscope><D:exclusive/></D:lockscope><D:locktype><D:write/></D:locktype></D:lockinfo>`
	if w := ask(t, h, "LOCK", "/locked", info); w.Code != 201 {
		t.Fatalf("LOCK: %d", w.Code)
	}
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	return server
}

// A client that waits for a 100 does not get it. The server does not know whether the client sends its body, so the
// connection ends.
func TestRefusalOfWhatIsExpected(t *testing.T) {
	server := refusing(t, Config{Exchange: exchange.Limits{Silence: time.Millisecond}})
	closing := map[string]*raw{}
	for _, tt := range refusals {
		if tt.status == 415 && strings.HasPrefix(tt.line, "MKCOL") {
			continue // the refusal depends on the body
		}
		for _, length := range []string{"Content-Length: 100000000", "Transfer-Encoding: chunked"} {
			c := dialRaw(t, server)
			c.send("%s HTTP/1.1\r\nHost: localhost\r\n%s%s\r\nExpect: 100-continue\r\n\r\n", tt.line, tt.header, length)
			method, _, _ := strings.Cut(tt.line, " ")
			if answer := c.answer(method); answer.StatusCode != tt.status || !answer.Close {
				t.Errorf("%s, %s: %s, closing %v, want %d", tt.about, length, answer.Status, answer.Close, tt.status)
			}
			closing[tt.about+", "+length] = c
		}
	}
	for about, c := range closing {
		if err := c.ends(); err != nil {
			t.Errorf("%s: %v", about, err)
		}
	}
}

// One that expects to be asked, and has not waited for it, hears the refusal too.
func TestRefusalOfWhatComesUnasked(t *testing.T) {
	server := refusing(t, Config{Exchange: exchange.Limits{Silence: time.Hour}})
	c := dialRaw(t, server)
	const size = 8 << 20 // more than fits on the way
	c.send("PUT /f HTTP/1.1\r\nHost: localhost\r\nIf-Match: \"x\"\r\nContent-Length: %d\r\nExpect: 100-continue\r\n\r\n%s",
		size, strings.Repeat("x", size))
	answer := c.answer("PUT")
	if answer.StatusCode != 412 {
		t.Errorf("%s", answer.Status)
	}
	if !answer.Close { // the whole body was thrown away before the answer was sent, so the connection goes on
		c.send("GET /f HTTP/1.1\r\nHost: localhost\r\n\r\n")
		if answer := c.answer("GET"); answer.StatusCode != 200 {
			t.Errorf("then: %s", answer.Status)
		}
		return
	}
	if err := c.ends(); err != nil {
		t.Error(err)
	}
}

// A client that sends its whole body before it listens hears the refusal, and its connection can be used again. So can
// that of one that holds its body back until it has the answer.
func TestRefusalWhileTheBodyIsSent(t *testing.T) {
	server := refusing(t, Config{})
	const size = 8 << 20
	for _, tt := range refusals {
		for _, held := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, held back: %v", tt.about, held), func(t *testing.T) {
				if held && strings.HasPrefix(tt.line, "MKCOL") {
					t.Log("it is refused for what is in the body")
					return
				}
				c := dialRaw(t, server)
				method, _, _ := strings.Cut(tt.line, " ")
				c.send("%s HTTP/1.1\r\nHost: localhost\r\n%sContent-Length: %d\r\n\r\n", tt.line, tt.header, size)
				if !held {
					c.send("%s", strings.Repeat("x", size))
				}
				if answer := c.answer(method); answer.StatusCode != tt.status {
					t.Fatalf("%s, want %d", answer.Status, tt.status)
				}
				if held {
					c.send("%s", strings.Repeat("x", size))
				}
				c.send("GET /f HTTP/1.1\r\nHost: localhost\r\n\r\n")
				if answer := c.answer("GET"); answer.StatusCode != 200 {
					t.Errorf("the next request on the connection: %s", answer.Status)
				}
			})
		}
	}
}

// A small body that has arrived is compared with the file, although it is refused unread. The server does not wait
// for one that has not arrived. Either way the connection goes on.
func TestRefusalGlancesAtTheBody(t *testing.T) {
	const there = "old" // the content of the store of refusing
	patient := refusing(t, Config{Exchange: exchange.Limits{PeekTime: patience}})
	hasty := refusing(t, Config{Exchange: exchange.Limits{PeekTime: time.Nanosecond}})
	for _, tt := range []struct {
		about, framing, body string
		server               *httptest.Server
		held                 bool
		same                 bool
	}{
		{"the same", "Content-Length: 3", there, patient, false, true},
		{"the same, in chunks", "Transfer-Encoding: chunked", "1\r\no\r\n2\r\nld\r\n0\r\n\r\n", patient, false, true},
		{"of the same length", "Content-Length: 3", "new", patient, false, false},
		{"longer", "Content-Length: 4", "olds", patient, false, false},
		{"longer, in chunks", "Transfer-Encoding: chunked", "4\r\nolds\r\n0\r\n\r\n", patient, false, false},
		{"shorter, in chunks", "Transfer-Encoding: chunked", "2\r\nol\r\n0\r\n\r\n", patient, false, false},
		{"held back", "Content-Length: 3", there, hasty, true, false},
		{"held back, in chunks", "Transfer-Encoding: chunked", "3\r\nold\r\n0\r\n\r\n", hasty, true, false},
	} {
		t.Run(tt.about, func(t *testing.T) {
			c := dialRaw(t, tt.server)
			header := "PUT /f HTTP/1.1\r\nHost: localhost\r\nIf-Match: \"x\"\r\n" + tt.framing + "\r\n\r\n"
			if tt.held {
				c.send("%s", header)
			} else {
				c.send("%s", header+tt.body)
			}
			answer, err := http.ReadResponse(c.r, &http.Request{Method: "PUT"})
			if err != nil {
				t.Fatal(err)
			}
			told, err := io.ReadAll(answer.Body)
			if err != nil || answer.StatusCode != 412 || strings.Contains(string(told), `"sameContent":true`) != tt.same {
				t.Errorf("%s %s, error %v", answer.Status, told, err)
			}
			if tt.held {
				c.send("%s", tt.body)
			}
			c.send("GET /f HTTP/1.1\r\nHost: localhost\r\n\r\n")
			if answer := c.answer("GET"); answer.StatusCode != 200 {
				t.Errorf("the next request on the connection: %s", answer.Status)
			}
		})
	}
}

// The limits: a body that is larger or slower is cut off.
func TestRefusedBodiesAreBounded(t *testing.T) {
	t.Run("in size", func(t *testing.T) {
		c := dialRaw(t, refusing(t, Config{Exchange: exchange.Limits{DrainBytes: 1000}}))
		c.send("PUT /f HTTP/1.1\r\nHost: localhost\r\nIf-Match: \"x\"\r\nContent-Length: 100000000\r\n\r\n%s", strings.Repeat("x", 10_000))
		if answer := c.answer("PUT"); answer.StatusCode != 412 {
			t.Errorf("%s", answer.Status)
		}
		if err := c.ends(); err != nil {
			t.Error(err)
		}
	})
	t.Run("in size, to nothing", func(t *testing.T) {
		c := dialRaw(t, refusing(t, Config{Exchange: exchange.Limits{DrainBytes: -1}}))
		c.send("PUT /f HTTP/1.1\r\nHost: localhost\r\nIf-Match: \"x\"\r\nContent-Length: 100000000\r\n\r\n")
		if answer := c.answer("PUT"); answer.StatusCode != 412 {
			t.Errorf("%s", answer.Status)
		}
		if err := c.ends(); err != nil {
			t.Error(err)
		}
	})
	t.Run("in time", func(t *testing.T) {
		c := dialRaw(t, refusing(t, Config{Exchange: exchange.Limits{DrainTime: 100 * time.Millisecond}}))
		c.send("PUT /f HTTP/1.1\r\nHost: localhost\r\nIf-Match: \"x\"\r\nContent-Length: 100000000\r\n\r\n")
		if answer := c.answer("PUT"); answer.StatusCode != 412 {
			t.Errorf("%s", answer.Status)
		}
		// It sends on and on, and never much.
		for {
			if _, err := c.Write([]byte("x")); err != nil {
				if errors.Is(err, os.ErrDeadlineExceeded) {
					t.Error("it may send for ever")
				}
				return
			}
		}
	})
}
