package handler

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"r-seed-1f3a754f.example/ifmatch/handler/exchange"
	"r-seed-1f3a754f.example/ifmatch/tree"
	"r-seed-1f3a754f.example/ifmatch/wire"
)

// served serves a handler as the program does: over connections that look after themselves.
func served(t *testing.T, h http.Handler) *httptest.Server {
	t.Helper()
	server := httptest.NewUnstartedServer(h)
	server.Listener = wire.Listen(server.Listener, func() wire.Limit { return wire.DefaultLimit })
	server.Config.ConnContext = wire.Context
	server.Config.DisableGeneralOptionsHandler = true
	server.Start()
	t.Cleanup(server.Close)
	return server
}

// A hookedStore calls its hook before anything is changed.
type hookedStore struct {
	tree.Store
	before func(ctx context.Context, body io.Reader) error
}

func (s *hookedStore) Put(ctx context.Context, name string, body io.Reader, opts tree.PutOptions, check tree.Condition) (tree.State, bool, error) {
	if err := s.before(ctx, body); err != nil {
		return tree.State{}, false, err
	}
	return s.Store.Put(ctx, name, body, opts, check)
}

func (s *hookedStore) Mkdir(ctx context.Context, name string, opts tree.MkdirOptions, check tree.Condition) (tree.State, error) {
	if err := s.before(ctx, nil); err != nil {
		return tree.State{}, err
	}
	return s.Store.Mkdir(ctx, name, opts, check)
}

func (s *hookedStore) Remove(ctx context.Context, name string, check tree.Condition) error {
	if err := s.before(ctx, nil); err != nil {
		return err
	}
	return s.Store.Remove(ctx, name, check)
}

func (s *hookedStore) Move(ctx context.Context, from, to string, opts tree.CopyOptions, check tree.Condition) (tree.State, bool, error) {
	if err := s.before(ctx, nil); err != nil {
		return tree.State{}, false, err
	}
	return s.Store.Move(ctx, from, to, opts, check)
}

func (s *hookedStore) Copy(ctx context.Context, from, to string, opts tree.CopyOptions, check tree.Condition) (tree.State, bool, error) {
	if err := s.before(ctx, nil); err != nil {
		return tree.State{}, false, err
	}
	return s.Store.Copy(ctx, from, to, opts, check)
}

func (s *hookedStore) Lock(ctx context.Context, lock tree.LockRequest, check tree.Condition) (tree.Lock, bool, error) {
	if err := s.before(ctx, nil); err != nil {
		return tree.Lock{}, false, err
	}
	return s.Store.Lock(ctx, lock, check)
}

func (s *hookedStore) PatchProperties(ctx context.Context, name string, patch tree.Patch, check tree.Condition) error {
	if err := s.before(ctx, nil); err != nil {
		return err
	}
	return s.Store.PatchProperties(ctx, name, patch, check)
}

// unread are requests that are answered before their bodies are read to the end: the ways of refusing, and of not caring.
var unread = []struct {
	about, line, header string
	status              int
	config              Config
	disk                error // the error of the store
}{
	{about: "condition", line: "PUT /f", header: "If-Match: \"x\"\r\n", status: 412},
	{about: "condition of a LOCK", line: "LOCK /f", header: "If-Match: \"x\"\r\n", status: 412},
	{about: "condition of a PROPPATCH", line: "PROPPATCH /f", header: "If-Match: \"x\"\r\n", status: 412},
	{about: "required condition", line: "PUT /f", status: 428, config: Config{RequireConditions: true}},
	{about: "Host", line: "PUT /f", header: "Host: evil.example\r\n", status: 403},
	{about: "malformed Host", line: "PUT /f", header: "Host: 127.0.0.1:evil\r\n", status: 400},
	{about: "cross-site", line: "PUT /f", header: "Sec-Fetch-Site: cross-site\r\n", status: 403},
	{about: "cross-site by Origin", line: "PUT /f", header: "Origin: http://evil.example\r\n", status: 403},
	{about: "preflight", line: "OPTIONS /f", header: "Origin: http://app.example\r\nAccess-Control-Request-Method: PUT\r\n", status: 204,
		config: Config{CORSOrigins: []string{"http://app.example"}}},
	{about: "method", line: "BREW /f", status: 405},
	{about: "method of a collection", line: "PUT /d/", status: 405},
	{about: "read-only", line: "PUT /f", status: 403, config: Config{ReadOnly: true}},
	{about: "length", line: "PUT /f", header: "X-Expected-Entity-Length: 1\r\n", status: 400},
	{about: "timeout", line: "PUT /f", status: 408, config: Config{Exchange: exchange.Limits{Pace: wire.Limit{Pause: 50 * time.Millisecond}}}},
	{about: "timeout of XML", line: "PROPFIND /f", status: 408, config: Config{Exchange: exchange.Limits{ShortBody: 50 * time.Millisecond}}},
	{about: "disk", line: "PUT /f", status: 507, disk: tree.ErrNoSpace},
	{about: "no parent", line: "PUT /no/f", status: 409},
	{about: "name", line: "PUT /a%00", status: 400},
	{about: "locked", line: "PUT /locked", status: 423},
	{about: "coding", line: "PUT /f", header: "Content-Encoding: gzip\r\n", status: 415},
	{about: "body of MKCOL", line: "MKCOL /new", status: 415},
	{about: "body of GET", line: "GET /f", status: 200},
	{about: "body of GET that is not modified", line: "GET /f", header: "If-None-Match: *\r\n", status: 304},
	{about: "body of GET of a part", line: "GET /f", header: "Range: bytes=9-\r\n", status: 416},
	{about: "body of GET of a collection", line: "GET /d/", status: 200},
	{about: "body of HEAD", line: "HEAD /f", status: 200},
	{about: "body of OPTIONS", line: "OPTIONS /f", status: 200},
	{about: "body of OPTIONS *", line: "OPTIONS *", status: 200},
	{about: "body of DELETE", line: "DELETE /f", status: 204},
	{about: "body of DELETE of nothing", line: "DELETE /nothing", status: 404},
	{about: "body of COPY", line: "COPY /f", header: "Destination: /g\r\n", status: 201},
	{about: "body of MOVE", line: "MOVE /f", header: "Destination: /g\r\n", status: 201},
	{about: "body of UNLOCK", line: "UNLOCK /f", status: 400},
}

// evil is a body that would do harm as a request.
const evil = "DELETE /victim HTTP/1.1\r\nHost: localhost\r\n\r\n"

// The rest of a body after an answer is never taken for a request. If it does not come in time, the connection ends,
// whichever answer it was.
func TestRestOfABodyIsNoRequest(t *testing.T) {
	for _, tt := range unread {
		for _, framing := range []string{fmt.Sprintf("Content-Length: %d\r\n\r\n", len(evil)), "Transfer-Encoding: chunked\r\n\r\n40000000\r\n"} {
			t.Run(tt.about+", "+framing[:14], func(t *testing.T) {
				tt := tt // it is another one for each framing
				if tt.about == "length" && framing[0] == 'T' {
					tt.header = "If-Match: \"x\"\r\n" // it is known only at the end
					tt.status = 412
				}
				if !strings.HasPrefix(tt.header, "Host:") {
					tt.header = "Host: localhost\r\n" + tt.header
				}
				sent := 0 // of the body, before the answer
				if tt.status == 415 || tt.disk != nil {
					sent = 1
				}
				// In a bubble, the rest comes too late however slow the machine is.
				synctest.Test(t, func(t *testing.T) {
					store := storeInMemory(t, "f=old", "victim=v", "d/", "locked=l")
					if _, _, err := store.Lock(t.Context(), tree.LockRequest{Root: "locked", Timeout: time.Hour}, tree.Condition{}); err != nil {
						t.Fatal(err)
					}
					config := tt.config
					config.Exchange.DrainTime = 50 * time.Millisecond
					config.Store = &hookedStore{store, func(_ context.Context, body io.Reader) error {
						if tt.disk != nil {
							body.Read(make([]byte, 1))
						}
						return tt.disk
					}}
					dial, end := overPipes(newTestHandler(t, config))
					defer end()
					c := newRaw(t, dial())
					c.send("%s HTTP/1.1\r\n%s%s%s", tt.line, tt.header, framing, evil[:sent])
					method, _, _ := strings.Cut(tt.line, " ")
					if answer := c.answer(method); answer.StatusCode != tt.status {
						t.Errorf("%s, want %d", answer.Status, tt.status)
					}
					var trickling sync.WaitGroup
					trickling.Go(func() { c.trickle(evil) })
					if err := c.ends(); err != nil {
						t.Error(err)
					}
					c.Close()
					trickling.Wait()
					if _, err := store.Stat(t.Context(), "victim", tree.ReadOptions{}); err != nil {
						t.Errorf("the victim: %v", err)
					}
				})
			})
		}
	}
}

// trickle sends a byte at a time, and then all again and again, until the connection ends. The bytes that have come by then
// are a part of what is sent, or the whole.
func (c *raw) trickle(sent string) {
	for i := range len(sent) {
		time.Sleep(2 * time.Millisecond)
		if _, err := c.Write([]byte(sent[i:][:1])); err != nil {
			return
		}
	}
	for {
		time.Sleep(20 * time.Millisecond)
		if _, err := c.Write([]byte(sent)); err != nil {
			return
		}
	}
}

// A body that is there, or comes in time, costs no connection.
func TestReadBodiesKeepTheConnection(t *testing.T) {
	for _, tt := range unread {
		if tt.status == 408 || tt.about == "preflight" {
			continue
		}
		t.Run(tt.about, func(t *testing.T) {
			t.Parallel()
			config := tt.config
			store := storeInMemory(t, "f=old", "victim=v", "d/", "locked=l")
			store.Lock(t.Context(), tree.LockRequest{Root: "locked", Timeout: time.Hour}, tree.Condition{})
			config.Store = &hookedStore{store, func(context.Context, io.Reader) error { return tt.disk }}
			c := dialRaw(t, served(t, newTestHandler(t, config)))
			if !strings.HasPrefix(tt.header, "Host:") {
				tt.header = "Host: localhost\r\n" + tt.header
			}
			method, _, _ := strings.Cut(tt.line, " ")
			for range 3 {
				c.send("%s HTTP/1.1\r\n%sContent-Length: 10\r\n\r\n01234", tt.line, tt.header)
				c.answer(method)
				c.send("56789")
			}
			c.send("GET /victim HTTP/1.1\r\nHost: localhost\r\n\r\n")
			if answer := c.answer("GET"); answer.StatusCode != 200 {
				t.Errorf("the next request on the connection: %s", answer.Status)
			}
		})
	}
}

// halfClosing copies between a client and a server, as proxies do it, and closes the sending side of one where the other has
// closed its.
func halfClosing(t *testing.T, to net.Addr) net.Addr {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial(to.Network(), to.String())
			if err != nil {
				client.Close()
				return
			}
			pass := func(dst, src net.Conn) { io.Copy(dst, src); dst.(*net.TCPConn).CloseWrite() }
			go func() {
				var both sync.WaitGroup
				both.Go(func() { pass(server, client) })
				both.Go(func() { pass(client, server) })
				both.Wait()
				client.Close()
				server.Close()
			}()
		}
	}()
	return l.Addr()
}

// closedListener tells when a client has closed its sending side, and the server has noticed.
type closedListener struct {
	net.Listener
	closed chan struct{}
}

func (l *closedListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &closedConn{c.(*wire.Conn), l.closed, sync.Once{}}, nil
}

type closedConn struct {
	*wire.Conn
	closed chan struct{}
	once   sync.Once
}

func (c *closedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n == 0 && err == nil { // a read beside a handler, which is left out: net/http is to see the end here, as it does over TLS
		n, err = c.Conn.Read(p)
	}
	if err == io.EOF {
		c.once.Do(func() { close(c.closed) })
	}
	return n, err
}

func (c *closedConn) NetConn() net.Conn { return c.Conn }

// A request that has come whole is carried out and answered, though its client has closed its sending side meanwhile.
func TestHalfClosedRequestsAreAnswered(t *testing.T) {
	const lockInfo = `<D:lockinfo xmlns:D="DAV:"><D:lockscope><D:exclusive/></D:lockscope><D:locktype><D:write/></D:locktype></D:lockinfo>`
	const update = `<D:propertyupdate xmlns:D="DAV:"><D:set><D:prop><a xmlns="x">b</a></D:prop></D:set></D:propertyupdate>`
	for _, tt := range []struct {
		line, header, body string
		status             int
		made, gone         string
	}{
		{"PUT /new", "", "hello", 201, "new", ""},
		{"PUT /f", "If-Match: *\r\n", "hello", 204, "f", ""},
		{"COPY /f", "Destination: /g\r\n", "", 201, "g", ""},
		{"COPY /f", "Destination: /d/f\r\n", "", 204, "d/f", ""},
		{"MOVE /f", "Destination: /g\r\n", "", 201, "g", "f"},
		{"DELETE /f", "", "", 204, "", "f"},
		{"DELETE /d/", "", "", 204, "", "d"},
		{"MKCOL /c", "", "", 201, "c", ""},
		{"LOCK /new", "", lockInfo, 201, "new", ""},
		{"PROPPATCH /f", "", update, 207, "f", ""},
	} {
		for _, through := range []string{"directly", "through a proxy"} {
			for _, framing := range []string{"a length", "chunks"} {
				if framing == "chunks" && tt.body == "" {
					continue
				}
				t.Run(fmt.Sprintf("%s, %s, %s", tt.line, through, framing), func(t *testing.T) {
					t.Parallel()
					store := storeInMemory(t, "f=old", "d/", "d/f=other")
					closed := make(chan struct{})
					h := newTestHandler(t, Config{Store: &hookedStore{store, func(ctx context.Context, body io.Reader) error {
						if body != nil {
							return nil // it is read first: see below
						}
						<-closed
						return nil
					}}})
					// Of a PUT the end is noticed only once the body is read.
					h = &afterBody{h, closed}
					server := httptest.NewUnstartedServer(h)
					server.Listener = &closedListener{wire.Listen(server.Listener, func() wire.Limit { return wire.DefaultLimit }), closed}
					server.Config.ConnContext = wire.Context
					server.Start()
					t.Cleanup(server.Close)
					addr := server.Listener.Addr()
					if through != "directly" {
						addr = halfClosing(t, addr)
					}
					conn, err := net.Dial("tcp", addr.String())
					if err != nil {
						t.Fatal(err)
					}
					defer conn.Close()
					conn.SetDeadline(time.Now().Add(patience))
					length := fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(tt.body), tt.body)
					if framing == "chunks" {
						length = fmt.Sprintf("Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", len(tt.body), tt.body)
					}
					fmt.Fprintf(conn, "%s HTTP/1.1\r\nHost: localhost\r\n%s%s", tt.line, tt.header, length)
					conn.(*net.TCPConn).CloseWrite()
					answer, err := io.ReadAll(conn)
					if err != nil || !strings.HasPrefix(string(answer), fmt.Sprintf("HTTP/1.1 %d ", tt.status)) {
						t.Errorf("answered %q, %v; want %d", answer, err, tt.status)
					}
					if tt.made != "" {
						if _, err := store.Stat(t.Context(), tt.made, tree.ReadOptions{}); err != nil {
							t.Errorf("%s: %v", tt.made, err)
						}
					}
					if s, err := store.Stat(t.Context(), tt.gone, tree.ReadOptions{}); tt.gone != "" && err == nil {
						t.Errorf("%s is still there: %v", tt.gone, s)
					}
				})
			}
		}
	}
}

// A hash for a client that may be gone is given up. If the client still listens, it gets a 503.
func TestAbandonedHashesAreRefused(t *testing.T) {
	store := &hookedStore{storeInMemory(t, "f=old"), func(ctx context.Context, _ io.Reader) error {
		hashing, cancel := tree.HashContext(ctx)
		defer cancel()
		<-hashing.Done() // a large file
		return hashing.Err()
	}}
	c := dialRaw(t, served(t, newTestHandler(t, Config{Store: store, Exchange: exchange.Limits{Abandoned: time.Millisecond}})))
	c.send("DELETE /f HTTP/1.1\r\nHost: localhost\r\n\r\n")
	c.Conn.(*net.TCPConn).CloseWrite()
	if answer := c.answer("DELETE"); answer.StatusCode != 503 || answer.Header.Get("Retry-After") == "" {
		t.Errorf("%s, %v", answer.Status, answer.Header)
	}
}

// afterBody has the end of a PUT's body told only when the server knows that the client has closed its sending side.
type afterBody struct {
	http.Handler
	closed chan struct{}
}

func (h *afterBody) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodPut {
		r.Body = &lateEnd{r.Body, h.closed}
	}
	h.Handler.ServeHTTP(w, r)
}

type lateEnd struct {
	io.ReadCloser
	closed chan struct{}
}

func (b *lateEnd) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err == io.EOF {
		<-b.closed
	}
	return n, err
}

// logLines collects the log lines of a handler.
type logLines struct {
	mu   sync.Mutex
	text strings.Builder
	more sync.Cond
}

func newLogLines() *logLines {
	l := new(logLines)
	l.more.L = &l.mu
	return l
}

func (l *logLines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.more.Broadcast()
	return l.text.Write(p)
}

func (l *logLines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// await waits for a line: that of a request comes when all is over.
func (l *logLines) await() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.text.Len() == 0 {
		l.more.Wait()
	}
	return l.text.String()
}

func (l *logLines) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

// The client of an answer whose end only the end of the request tells gets that end, though it goes on to send its body
// only then.
func TestAnswersOfUnknownLengthEnd(t *testing.T) {
	var made []string
	for i := range 1000 {
		made = append(made, fmt.Sprintf("d/%d%s=", i, strings.Repeat("x", 100)))
	}
	c := dialRaw(t, served(t, newTestHandler(t, Config{Store: storeInMemory(t, append([]string{"d/"}, made...)...)})))
	c.send("GET /d/ HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n01234")
	if answer := c.answer("GET"); answer.StatusCode != 200 || answer.ContentLength >= 0 || !answer.Close {
		t.Errorf("got %s, length %d, the last: %v", answer.Status, answer.ContentLength, answer.Close)
	}
	c.send("56789")
	if err := c.ends(); err != nil {
		t.Error(err)
	}
}
