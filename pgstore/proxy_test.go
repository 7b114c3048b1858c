package pgstore_test

import (
	"bytes"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"r-seed-1f3a754f.example/ifmatch/internal/pgtest"
)

// A fate says how a batch of messages ends.
type fate int

const (
	answered  fate = iota
	lost           // it does not reach the server, and the connection breaks
	unheard        // the server has answered, and the connection breaks before the answer arrives
	slow           // the answer comes late
	swallowed      // it does not reach the server, and the connection stays
	silent         // the server has answered, the answer does not arrive, and the connection stays
	held           // it reaches the server when the next fates are set
	crashed        // as unheard, and a pooler in between says that the server is gone
	dropped        // as lost, and a pooler in between says so
)

// serverGone is what PgBouncer says where the connection to the server has broken.
const serverGone = "E\x00\x00\x00\x30SFATAL\x00VFATAL\x00C08P01\x00Mserver conn crashed?\x00\x00"

// A proxy passes messages between clients and the server of the tests. It knows batches: the messages that a client sends before it
// waits.
type proxy struct {
	t      *testing.T
	server string
	dir    string

	mu      sync.Mutex
	changed sync.Cond
	left    int           // how many more batches are answered
	count   int           // how many were answered
	fates   []fate        // of the next batches, and then all are answered
	release chan struct{} // closed when the connections that hang are to break
}

const unlimited = 1 << 30

func newProxy(t *testing.T) *proxy {
	p := &proxy{t: t, server: pgtest.Shared(t).Socket(), dir: t.TempDir(), left: unlimited, release: make(chan struct{})}
	p.changed.L = &p.mu
	listener, err := net.Listen("unix", filepath.Join(p.dir, ".s.PGSQL.5432"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close(); p.next(); p.allow(unlimited) })
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			go p.pass(client)
		}
	}()
	return p
}

// through returns the address of a database by way of the proxy.
func (p *proxy) through(dsn string) string {
	database, _, _ := strings.Cut(strings.TrimPrefix(dsn, "postgres://ifmatch@/"), "?")
	return fmt.Sprintf("postgres://ifmatch@/%s?host=%s&sslmode=disable", database, p.dir)
}

// allow sets how many more batches are answered, and begins to count anew. The others wait.
func (p *proxy) allow(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.left, p.count = n, 0
	p.changed.Broadcast()
}

func (p *proxy) counted() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.count
}

// next sets the fates of the next batches. It breaks the connections that hang.
func (p *proxy) next(fates ...fate) {
	p.mu.Lock()
	defer p.mu.Unlock()
	close(p.release)
	p.release = make(chan struct{})
	p.fates = fates
}

// hasMet reports whether all fates were met.
func (p *proxy) hasMet() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.fates) == 0
}

// A passage is one connection.
type passage struct {
	*proxy
	client, server net.Conn
	asking         bool // the client has sent the last message
	fate           fate // of the batch
}

func (p *proxy) pass(client net.Conn) {
	defer client.Close()
	server, err := net.Dial("unix", p.server)
	if err != nil {
		return
	}
	defer server.Close()
	c := &passage{proxy: p, client: client, server: server}
	done := make(chan struct{})
	go func() {
		defer close(done)
		c.copy(server, client, c.answer)
	}()
	c.copy(client, server, c.ask)
	client.Close()
	server.Close()
	<-done
}

// copy passes messages on as long as each may pass.
func (c *passage) copy(from, to net.Conn, may func(message []byte) bool) {
	buffer := make([]byte, 64<<10)
	for {
		n, err := from.Read(buffer)
		if err != nil || !may(buffer[:n]) {
			break
		}
		if _, err := to.Write(buffer[:n]); err != nil {
			break
		}
	}
	from.Close()
	to.Close()
}

// ask reports whether a message of a client reaches the server. A ping always does and is no batch: with it a pool asks
// whether a connection is alive that has rested for a second, and how long one rests depends on the load of the machine.
func (c *passage) ask(message []byte) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.asking && bytes.HasSuffix(message, []byte("-- ping\x00")) {
		return true
	}
	if !c.asking {
		c.asking, c.fate = true, answered
		if len(c.fates) > 0 {
			c.fate, c.fates = c.fates[0], c.fates[1:]
		}
	}
	switch c.fate {
	case swallowed:
		c.hang()
	case held:
		release := c.release
		c.mu.Unlock()
		<-release
		c.mu.Lock()
		c.fate = answered
	case dropped:
		_, _ = c.client.Write([]byte(serverGone))
	}
	return c.fate != lost && c.fate != dropped
}

// hang waits until the client has closed the connection, or the next fates are set.
func (c *passage) hang() {
	release := c.release
	c.mu.Unlock()
	defer c.mu.Lock()
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		_, _ = c.client.Read(make([]byte, 1<<10))
	}()
	select {
	case <-gone:
	case <-release:
	}
	c.fate = lost
}

// answer reports whether a message of the server reaches the client, and waits until it may.
func (c *passage) answer([]byte) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.asking {
		return true
	}
	for c.left == 0 {
		c.changed.Wait()
	}
	c.left--
	c.count++
	c.asking = false
	switch c.fate {
	case slow:
		c.mu.Unlock()
		time.Sleep(20 * time.Millisecond)
		c.mu.Lock()
		return true
	case silent:
		c.hang()
	case crashed:
		_, _ = c.client.Write([]byte(serverGone))
	}
	return c.fate == answered
}

// within fails the test if do does not return.
func within(t *testing.T, what string, do func() error) {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- do() }()
	select {
	case err := <-done:
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
	case <-time.After(2 * time.Minute):
		t.Fatalf("%s does not return: it waits for another round trip", what)
	}
}
