package compare

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync"
	"time"
)

// A message is a request.
type message struct {
	method, path string
	header       string // whole lines, each with its CRLF
	body         []byte
	large        int64 // the number of bytes of the pattern that are sent in place of body
	// take reads the body of the answer in place of do. If it is nil, do returns the body.
	take func(body io.Reader, size int64) error
}

// An answer is a response of the server. took is the time from before the first byte of the request to behind the last one of the
// answer, and first the same to behind its header.
type answer struct {
	status      int
	header      http.Header
	body        []byte
	took, first time.Duration
}

// A conn is one connection of a client, opened when it is needed. It is not net/http's client because that takes more
// CPU time for a small request than most servers, on the same processors.
type conn struct {
	addr string
	tls  *tls.Config // nil: none
	net  net.Conn
	in   *bufio.Reader
	out  bytes.Buffer
	used bool // one request was answered on it
}

func newConn(addr string) *conn { return &conn{addr: addr} }

func (c *conn) close() {
	if c.net != nil {
		c.net.Close()
		c.net = nil
	}
}

// patience bounds a request, and how long a server may take to answer for the first time, and to end. A working one never
// uses it up.
const patience = 2 * time.Minute

// do sends a request and reads the answer. A connection that the server has closed before the request is opened anew.
func (c *conn) do(m *message) (*answer, error) {
	for {
		again := c.net != nil && c.used
		a, err := c.once(m)
		if err == nil {
			return a, nil
		}
		c.close()
		if !again || a != nil {
			return nil, fmt.Errorf("%s %s: %w", m.method, m.path, err)
		}
	}
}

// once returns an answer beside an error when some of it has come.
func (c *conn) once(m *message) (*answer, error) {
	if c.net == nil {
		to, err := net.DialTimeout("tcp", c.addr, patience)
		if err != nil {
			return nil, err
		}
		if c.tls != nil {
			to = tls.Client(to, c.tls)
		}
		c.net, c.in, c.used = to, bufio.NewReaderSize(to, 64<<10), false
	}
	if err := c.net.SetDeadline(time.Now().Add(patience)); err != nil {
		return nil, err
	}
	began := time.Now()
	if err := c.send(m); err != nil {
		return nil, err
	}
	if _, err := c.in.Peek(1); err != nil {
		return nil, err
	}
	got, err := http.ReadResponse(c.in, &http.Request{Method: m.method})
	a := &answer{first: time.Since(began)}
	if err != nil {
		return a, err
	}
	a.status, a.header = got.StatusCode, got.Header
	switch {
	case m.method == http.MethodHead:
	case m.take != nil && got.StatusCode == http.StatusOK:
		err = m.take(got.Body, got.ContentLength)
	default:
		a.body, err = readBody(got.Body, got.ContentLength)
	}
	a.took = time.Since(began)
	if err == nil {
		err = got.Body.Close()
	}
	if c.used = true; got.Close {
		c.close()
	}
	return a, err
}

func readBody(from io.Reader, size int64) ([]byte, error) {
	if size < 0 {
		return io.ReadAll(from)
	}
	body := make([]byte, size)
	_, err := io.ReadFull(from, body)
	return body, err
}

func (c *conn) send(m *message) error {
	c.out.Reset()
	c.out.WriteString(m.method + " " + m.path + " HTTP/1.1\r\nHost: " + c.addr + "\r\n" + m.header)
	if size := int64(len(m.body)) + m.large; size > 0 {
		c.out.WriteString("Content-Length: " + strconv.FormatInt(size, 10) + "\r\n")
	}
	c.out.WriteString("\r\n")
	c.out.Write(m.body)
	if _, err := c.net.Write(c.out.Bytes()); err != nil {
		return err
	}
	for left := m.large; left > 0; left -= min(left, int64(len(pattern))) {
		if _, err := c.net.Write(pattern[:min(left, int64(len(pattern)))]); err != nil {
			return err
		}
	}
	return nil
}

// connections returns n connections, which are kept from round to round.
func (s *site) connections(n int) []*conn {
	for len(s.conns) < n {
		s.conns = append(s.conns, s.newConn())
	}
	return s.conns[:n]
}

// A sample has the figures of one batch.
type sample struct {
	requests  int
	bytes     int64
	elapsed   time.Duration
	latencies []time.Duration

	cpu  time.Duration
	peak int64 // KiB
}

// A step is a unit of a workload, such as a request. It returns how long the client has waited for it.
type step func(c *conn, client, i int) (time.Duration, error)

// spread has clients take n steps, each on its own connection, as fast as they can. Client k takes the steps k,
// k+clients, …
func (s *site) spread(ctx context.Context, clients, n int, do step) (sample, error) {
	return s.clients(ctx, clients, func(client, i int) bool { return client+i*clients < n }, do)
}

// during has clients take steps for a while, and each at least one.
func (s *site) during(ctx context.Context, clients int, d time.Duration, do step) (sample, error) {
	until := time.Now().Add(d)
	return s.clients(ctx, clients, func(_, i int) bool { return i == 0 || time.Now().Before(until) }, do)
}

func (s *site) clients(ctx context.Context, clients int, goOn func(client, i int) bool, do step) (sample, error) {
	conns := s.connections(clients)
	each, errs := make([][]time.Duration, clients), make([]error, clients)
	began := time.Now()
	var wait sync.WaitGroup
	for client := range clients {
		wait.Go(func() {
			for i := 0; goOn(client, i) && ctx.Err() == nil; i++ {
				took, err := do(conns[client], client, client+i*clients)
				if err != nil {
					errs[client] = err
					return
				}
				each[client] = append(each[client], took)
			}
		})
	}
	wait.Wait()
	one := sample{elapsed: time.Since(began)}
	for _, latencies := range each {
		one.latencies = append(one.latencies, latencies...)
	}
	one.requests = len(one.latencies)
	err := ctx.Err()
	if err == nil && one.requests == 0 {
		err = errors.New("no request was sent")
	}
	for _, failed := range errs { // one of them: mostly all are the same
		err = cmp.Or(failed, err)
	}
	return one, err
}

// wanted checks the status of an answer.
func (a *answer) wanted(m *message, statuses ...int) error {
	for _, status := range statuses {
		if a.status == status {
			return nil
		}
	}
	why := ""
	if len(a.body) > 0 && a.body[0] != '<' { // a page in HTML says no more than the status
		why = fmt.Sprintf(": %.200q", a.body)
	}
	return fmt.Errorf("%s %s: status %d%s", m.method, m.path, a.status, why)
}

// Load returns the load of the machine over the last minute.
func Load() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	first, _, _ := bytes.Cut(text, []byte(" "))
	return string(first)
}
