package pgstore_test

import (
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
	answered fate = iota
	lost          // it does not reach the server, and the connection breaks
	unheard       // the server has answered, and the connection breaks before the answer arrives
)

// A proxy passes messages between clients and the server of the tests. It knows batches: the messages that a client sends before it
// waits.
type proxy struct {
	t      *testing.T
	server string
	dir    string

	mu      sync.Mutex
	changed sync.Cond
	left    int    // how many more batches are answered
	count   int    // how many were answered
	fates   []fate // of the next batches, and then all are answered
}

const unlimited = 1 << 30

func newProxy(t *testing.T) *proxy {
	p := &proxy{t: t, server: pgtest.Shared(t).Socket(), dir: t.TempDir(), left: unlimited}
	p.changed.L = &p.mu
	listener, err := net.Listen("unix", filepath.Join(p.dir, ".s.PGSQL.5432"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close(); p.allow(unlimited) })
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

// next sets the fates of the next batches.
func (p *proxy) next(fates ...fate) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fates = fates
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
func (c *passage) copy(from, to net.Conn, may func() bool) {
	buffer := make([]byte, 64<<10)
	for {
		n, err := from.Read(buffer)
		if err != nil || !may() {
			break
		}
		if _, err := to.Write(buffer[:n]); err != nil {
			break
		}
	}
	from.Close()
	to.Close()
}

// ask reports whether a message of a client reaches the server.
func (c *passage) ask() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.asking {
		c.asking, c.fate = true, answered
		if len(c.fates) > 0 {
			c.fate, c.fates = c.fates[0], c.fates[1:]
		}
	}
	return c.fate != lost
}

// answer reports whether a message of the server reaches the client, and waits until it may.
func (c *passage) answer() bool {
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
	case <-time.After(30 * time.Second):
		t.Fatalf("%s does not return: it waits for another round trip", what)
	}
}
