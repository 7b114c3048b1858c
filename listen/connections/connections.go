// Package connections bounds the connections of a server.
package connections

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"r-seed-1f3a754f.example/ifmatch/admin"
	"r-seed-1f3a754f.example/ifmatch/handler"
	"r-seed-1f3a754f.example/ifmatch/limit"
)

// A Listener bounds the number of connections, in all and from one address. It accepts a
// connection above the bound, answers 503 and closes it, because a client without an answer tries again and again. To
// make room it closes connections on which no request is running, or on which only the body of a refused request still
// comes, the one that is idle longest first.
type Listener struct {
	net.Listener
	pools   *limit.Pools
	proxies []netip.Prefix // each stands for many clients
	secure  bool           // TLS: no answer can be read before the handshake
	log     *slog.Logger

	refusals chan struct{} // holds one element for each answer that is being sent
	// Counts counts refused connections (nil: nothing does).
	Counts  *admin.Metrics
	refused atomic.Int64 // since the last log line about it
	logged  atomic.Int64 // time of that line, in seconds
}

const (
	// refusedAtOnce bounds the refused connections that are answered in the background. The others are answered at
	// once, and may lose the answer if they are still sending.
	refusedAtOnce = 16
	// refusalTime is how long a refused client may take to begin its request, and then to read the answer.
	refusalTime = time.Second
	// refusalsEvery is the time between two log lines about refused connections, in seconds.
	refusalsEvery = 10
)

// New returns a listener that bounds the connections of another one. proxies each stand for many clients. With secure the
// connections are TLS.
func New(
	l net.Listener, pools *limit.Pools, proxies []netip.Prefix, secure bool, log *slog.Logger,
) *Listener {
	return &Listener{
		Listener: l, pools: pools, proxies: proxies, secure: secure, log: log, refusals: make(chan struct{}, refusedAtOnce),
	}
}

// Accept implements [net.Listener].
func (c *Listener) Accept() (net.Conn, error) {
	for {
		accepted, err := c.Listener.Accept()
		if err != nil {
			return nil, err
		}
		conn, ok := accepted.(halfCloser)
		if !ok {
			return accepted, nil
		}
		client := c.client(conn)
		slot, err := c.pools.Connections.TryAcquire(client, func() { conn.Close() })
		if err != nil {
			c.pools.TurnedAway.Note(client)
			c.refuse(conn, err)
			continue
		}
		slot.Rest()
		return &connection{halfCloser: conn, slot: slot}, nil
	}
}

// client returns the client to count a connection for, or "" for a trusted proxy and a Unix socket, which have many
// clients.
func (c *Listener) client(conn net.Conn) string {
	from, ok := conn.RemoteAddr().(*net.TCPAddr)
	if !ok {
		return ""
	}
	addr := from.AddrPort().Addr().Unmap().WithZone("")
	if slices.ContainsFunc(c.proxies, func(p netip.Prefix) bool { return p.Contains(addr) }) {
		return ""
	}
	return handler.ClientOf(addr)
}

func (c *Listener) refuse(conn halfCloser, why error) {
	c.note(why)
	if c.secure {
		conn.Close()
		return
	}
	select {
	case c.refusals <- struct{}{}:
		go func() {
			defer func() { <-c.refusals }()
			answerRefused(conn, why)
		}()
	default:
		conn.SetDeadline(time.Now().Add(refusalTime))
		conn.Write(refusalOf(why)) // to a connection that is new: it does not wait
		conn.Close()
	}
}

// A halfCloser is a connection of which one direction can be closed: over TCP, or over a Unix socket.
type halfCloser interface {
	net.Conn
	CloseWrite() error
}

// answerRefused answers the request on a refused connection, and closes it. Some clients take an answer that comes
// before their request for an error, so it waits for the first byte.
func answerRefused(conn halfCloser, why error) {
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(refusalTime))
	_, err := conn.Read(make([]byte, 1))
	conn.SetDeadline(time.Now().Add(refusalTime))
	conn.Write(refusalOf(why))
	if err == nil {
		// Unread data would make the kernel send a reset, and the client would lose the answer.
		conn.CloseWrite()
		io.Copy(io.Discard, conn)
	}
}

// refusalOf returns the answer to an unread request.
func refusalOf(why error) []byte {
	body, _ := json.Marshal(struct {
		Title  string `json:"title"`
		Status int    `json:"status"`
		Detail string `json:"detail"`
	}{http.StatusText(http.StatusServiceUnavailable), http.StatusServiceUnavailable,
		why.Error() + "; nothing was changed, try again"})
	return fmt.Appendf(nil, "HTTP/1.1 503 Service Unavailable\r\nDate: %s\r\nRetry-After: %d\r\n"+
		"Content-Type: application/problem+json\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s",
		time.Now().UTC().Format(http.TimeFormat), handler.RetryAfter, len(body), body)
}

// note counts a refusal, and logs the count at intervals.
func (c *Listener) note(why error) {
	c.Counts.ConnectionRefused()
	n, now, last := c.refused.Add(1), time.Now().Unix(), c.logged.Load()
	if now-last < refusalsEvery || !c.logged.CompareAndSwap(last, now) {
		return
	}
	c.refused.Add(-n)
	c.log.Warn("too many connections: some were refused", "refused", n, "because", why)
}

// A connection holds its slot in the pool until it is closed.
type connection struct {
	halfCloser
	slot *limit.Slot

	mu      sync.Mutex
	running int // requests
}

// NetConn returns the connection below, as [crypto/tls.Conn] has it.
func (c *connection) NetConn() net.Conn { return c.halfCloser }

func (c *connection) Close() error {
	err := c.halfCloser.Close()
	c.slot.Release()
	return err
}

// Work implements [limit.Rester]: it begins a request, or goes on with one. It reports false if the connection was closed to
// make room.
func (c *connection) Work() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.running++
	return c.running > 1 || c.slot.Work()
}

// Rest implements [limit.Rester].
func (c *connection) Rest() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.running--; c.running == 0 {
		c.slot.Rest()
	}
}

type connectionKey struct{}

// Context puts the connection into the context of its requests, see [http.Server].
func (c *Listener) Context(ctx context.Context, conn net.Conn) context.Context {
	for {
		if counted, ok := conn.(*connection); ok {
			return context.WithValue(limit.WithRester(ctx, counted), connectionKey{}, counted)
		}
		over, ok := conn.(interface{ NetConn() net.Conn }) // TLS, and the wrapper of package wire
		if !ok {
			return ctx
		}
		conn = over.NetConn()
	}
}

// Wrap keeps a connection from being closed to make room while next answers a request on it.
func (c *Listener) Wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if conn, ok := r.Context().Value(connectionKey{}).(*connection); ok {
			defer conn.Rest()
			if !conn.Work() {
				panic(http.ErrAbortHandler) // it is closed already
			}
		}
		next.ServeHTTP(w, r)
	})
}
