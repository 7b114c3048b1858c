package handler

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"
	"time"

	"r-seed-1f3a754f.example/ifmatch/handler/accesslog"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

// An error of the server is logged as a warning or an error, with its cause.
func TestFailuresAreLoggedAsWarnings(t *testing.T) {
	for _, known := range append(statuses, struct {
		err    error
		status int
		detail string
	}{errAnything, 500, ""}) {
		log := newLogLines()
		store := &hookedStore{storeInMemory(t, "f=f"), func(context.Context, io.Reader) error {
			return fmt.Errorf("as the disk has it: %w", known.err)
		}}
		h, err := New(Config{Store: store, Log: log.logger()})
		if err != nil {
			t.Fatal(err)
		}
		method, header := "PUT", ""
		if known.err == tree.ErrIsCollection {
			method, header = "COPY", "Destination: /g" // a PUT there is a 405
		}
		w := ask(t, h, method, "/f", "x", header)
		status := known.status
		if known.err == tree.ErrReserved {
			status = http.StatusForbidden // to those who write
		}
		if w.Code != status {
			t.Errorf("%v: %d, want %d", known.err, w.Code, status)
		}
		want := "level=INFO"
		switch {
		case known.status == 500:
			want = "level=ERROR"
		case known.status > 500:
			want = "level=WARN"
		}
		if text := log.String(); !strings.Contains(text, want) || !strings.Contains(text, "as the disk has it") {
			t.Errorf("%v: the log says %s", known.err, text)
		}
	}
}

var errAnything = fmt.Errorf("anything else")

// So is an error within an answer that has another status.
func TestFailuresWithinAnswersAreLoggedAsWarnings(t *testing.T) {
	log := newLogLines()
	full := func(context.Context, io.Reader) error { return tree.ErrNoSpace }
	store := &hookedStore{storeInMemory(t, "f=old"), full}
	h, err := New(Config{Store: store, Log: log.logger()})
	if err != nil {
		t.Fatal(err)
	}
	w := ask(t, h, "PROPPATCH", "/f", `<D:propertyupdate xmlns:D="DAV:"><D:set><D:prop><a xmlns="x">b</a></D:prop></D:set></D:propertyupdate>`)
	if text := log.String(); w.Code != 207 || !strings.Contains(text, "level=WARN") || !strings.Contains(text, tree.ErrNoSpace.Error()) {
		t.Errorf("answered %d, and the log says %s", w.Code, text)
	}
}

// An answer that breaks off because of the disk is the server's fault, and one that the client does not take is not.
func TestAnswersThatBreakOffAreLogged(t *testing.T) {
	for _, tt := range []struct {
		cause error
		write error // the error of writing to the client
		want  string
	}{
		{tree.ErrFailed, nil, "level=ERROR"},
		{tree.ErrNoSpace, nil, "level=WARN"},
		{tree.ErrChanged, nil, "level=WARN"},
		{io.ErrShortWrite, io.ErrShortWrite, "level=INFO"},
		{syscall.ECONNRESET, &net.OpError{Op: "readfrom", Err: syscall.ECONNRESET}, "level=INFO"},
		{tree.ErrFailed, &net.OpError{Op: "readfrom", Err: syscall.EIO}, "level=ERROR"},
		{context.Canceled, nil, "level=INFO"},
	} {
		for _, write := range []func(http.ResponseWriter){
			func(w http.ResponseWriter) { w.Write([]byte("x")) },
			func(w http.ResponseWriter) { w.(io.ReaderFrom).ReadFrom(struct{ io.Reader }{strings.NewReader("x")}) },
		} {
			log := newLogLines()
			answering := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				write(w)
				cutOff(w, tt.cause)
			})
			lines := accesslog.Log{Logger: log.logger(), Faults: log.logger(), Now: time.Now, Client: func(*http.Request) string { return "" },
				Trusted: func(*http.Request) bool { return false }}
			func() {
				defer func() {
					if got := recover(); got != http.ErrAbortHandler {
						t.Errorf("%v: the handler ended with %v", tt.cause, got)
					}
				}()
				lines.Wrap(answering).ServeHTTP(&brokenWriter{httptest.NewRecorder(), tt.write}, httptest.NewRequest("GET", "/f", nil))
			}()
			if text := log.String(); !strings.Contains(text, tt.want) || strings.Count(text, "cause=") != 1 {
				t.Errorf("%v: the log says %s; want %s", tt.cause, text, tt.want)
			}
		}
	}
}

type brokenWriter struct {
	*httptest.ResponseRecorder
	err error
}

func (w *brokenWriter) Write(p []byte) (int, error) {
	if w.err != nil {
		return 0, w.err
	}
	return w.ResponseRecorder.Write(p)
}

// The log says how much had come of an upload that breaks off.
func TestBrokenUploadsAreLogged(t *testing.T) {
	for framing, want := range map[string]string{
		"Content-Length: 300\r\n\r\n" + strings.Repeat("x", 71):              "received=71 announced=300",
		"Transfer-Encoding: chunked\r\n\r\n47\r\n" + strings.Repeat("x", 71): "received=71\n",
	} {
		log := newLogLines()
		h, err := New(Config{Store: storeInMemory(t), Log: log.logger()})
		if err != nil {
			t.Fatal(err)
		}
		c := dialRaw(t, served(t, h))
		c.send("PUT /f HTTP/1.1\r\nHost: localhost\r\n%s", framing)
		c.Conn.(*net.TCPConn).CloseWrite()
		if answer := c.answer("PUT"); answer.StatusCode != 400 {
			t.Errorf("%s", answer.Status)
		}
		c.ends()
		if text := log.await(); !strings.Contains(text, want) || !strings.Contains(text, `cause="the client stopped sending: unexpected EOF"`) {
			t.Errorf("the log says %s; want %s", text, want)
		}
	}
}

// However much a client says, little of it is said back, or logged.
func TestAnswersAndLogAreBrief(t *testing.T) {
	values := map[string]string{
		"a tag":           `"` + strings.Repeat("x", 90_000) + `"`,
		"bytes":           strings.Repeat("\xff", 90_000),
		"quotation marks": strings.Repeat(`"`, 90_000),
		"a URL":           "http://localhost/" + strings.Repeat("x/", 45_000),
		"another's URL":   "http://other.example/" + strings.Repeat("x", 90_000),
		"a list":          "(" + strings.Repeat(`["x"]`, 900) + ")",
		"a tagged list":   "<http://other.example/" + strings.Repeat("x", 90_000) + `> (["x"])`,
	}
	for _, header := range []string{"If-Match", "If-None-Match", "If", "If-Unmodified-Since", "Destination", "Depth", "Overwrite", "X-OC-Mtime", "Content-Digest",
		"Repr-Digest", "Content-MD5", "OC-Checksum", "Content-Range", "Content-Encoding", "Lock-Token", "Timeout", "Host", "Origin", "Sec-Fetch-Site", "Accept",
		"Prefer", "Range", "X-Expected-Entity-Length", "X-Forwarded-For", "Forwarded", "User-Agent"} {
		for about, value := range values {
			log := newLogLines()
			h, err := New(Config{Store: storeInMemory(t, "f=old"), Log: log.logger()})
			if err != nil {
				t.Fatal(err)
			}
			for _, method := range []string{"GET", "PUT", "DELETE", "MKCOL", "COPY", "MOVE", "PROPFIND", "PROPPATCH", "LOCK", "UNLOCK", "OPTIONS", "BREW"} {
				r := httptest.NewRequestWithContext(t.Context(), method, "http://localhost/f", strings.NewReader("x"))
				r.Header.Set(header, value)
				if header == "Host" {
					r.Host = value
				}
				w := httptest.NewRecorder()
				h.ServeHTTP(w, r)
				if n := w.Body.Len(); n > 20_000 {
					t.Errorf("%s with %s of %s: an answer (%d) of %d bytes", method, header, about, w.Code, n)
				}
			}
			for line := range strings.Lines(log.String()) {
				if len(line) > 20_000 {
					t.Errorf("%s of %s: a log line of %d bytes: %.300s", header, about, len(line), line)
				}
			}
		}
	}
	log := newLogLines()
	h, err := New(Config{Store: storeInMemory(t), Log: log.logger()})
	if err != nil {
		t.Fatal(err)
	}
	ask(t, h, "GET", "/"+strings.Repeat("%C3%A9", 15_000), "")
	ask(t, h, strings.Repeat("M", 90_000), "/", "")
	if n := len(log.String()); n > 10_000 {
		t.Errorf("a long path and a long method: %d bytes of log", n)
	}
}

// A request that the server is at fault for is not in the log of requests, which may be off or come late.
func TestFaultsAreNotInTheAccessLog(t *testing.T) {
	log, access := newLogLines(), newLogLines()
	store := &hookedStore{storeInMemory(t, "f=old"), func(context.Context, io.Reader) error { return tree.ErrFailed }}
	h, err := New(Config{Store: store, Log: log.logger(), AccessLog: access.logger()})
	if err != nil {
		t.Fatal(err)
	}
	ask(t, h, "GET", "/f", "")
	if text := access.String(); !strings.Contains(text, "status=200") || log.String() != "" {
		t.Errorf("the log of requests says %s, and the other one %s", text, log.String())
	}
	ask(t, h, "PUT", "/f", "new")
	if text := log.String(); !strings.Contains(text, "status=500") || strings.Contains(access.String(), "status=500") {
		t.Errorf("the log says %s, and that of requests %s", text, access.String())
	}
}
