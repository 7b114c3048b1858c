package main

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

	"ifmatch/handler"
	"ifmatch/limit"
)

// connections bound how many there are, in all and from one address. What is too much is accepted all the same, told so,
// and closed: a client that is not answered tries again and again. Connections on which no request is running give way,
// and those over which only a refused body still comes, the one that has waited longest first.
type connections struct {
	net.Listener
	pools   *limit.Pools
	proxies []netip.Prefix // which ask for many
	secure  bool           // what is to be said cannot be read before the handshake
	log     *slog.Logger

	refusals chan struct{} // has room for those that are being told
	refused  atomic.Int64  // since it was logged
	logged   atomic.Int64  // when, in seconds
}

const (
	// refusedAtOnce bounds the connections that are being told; the others are told too, at once, and may lose the answer if
	// they are still sending.
	refusedAtOnce = 16
	// refusalTime is how long one that is refused may take to begin its request, and then to read that.
	refusalTime = time.Second
	// refusalsEvery is how often it is logged that connections are refused, in seconds.
	refusalsEvery = 10
)

func newConnections(l net.Listener, pools *limit.Pools, proxies []netip.Prefix, secure bool, log *slog.Logger) *connections {
	return &connections{Listener: l, pools: pools, proxies: proxies, secure: secure, log: log, refusals: make(chan struct{}, refusedAtOnce)}
}

// Accept implements [net.Listener].
func (c *connections) Accept() (net.Conn, error) {
	for {
		accepted, err := c.Listener.Accept()
		if err != nil {
			return nil, err
		}
		tcp, ok := accepted.(*net.TCPConn)
		if !ok {
			return accepted, nil
		}
		client := c.client(tcp)
		slot, err := c.pools.Connections.TryAcquire(client, func() { tcp.Close() })
		if err != nil {
			c.pools.TurnedAway.Note(client)
			c.refuse(tcp, err)
			continue
		}
		slot.Rest()
		return &connection{TCPConn: tcp, slot: slot}, nil
	}
}

// client returns who is counted for a connection: nobody for that of a trusted proxy, which has many clients.
func (c *connections) client(conn net.Conn) string {
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

func (c *connections) refuse(conn *net.TCPConn, why error) {
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

// A halfCloser is a connection of which one direction can be closed.
type halfCloser interface {
	net.Conn
	CloseWrite() error
}

// answerRefused answers the request on a connection that is refused, and closes it. An answer that comes before the request
// is one to nothing, for some clients; so the first byte is waited for.
func answerRefused(conn halfCloser, why error) {
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(refusalTime))
	_, err := conn.Read(make([]byte, 1))
	conn.SetDeadline(time.Now().Add(refusalTime))
	conn.Write(refusalOf(why))
	if err == nil {
		// What the client has sent is taken, or it would get a reset in place of the answer.
		conn.CloseWrite()
		io.Copy(io.Discard, conn)
	}
}

// refusalOf is the answer to a request that was not read.
func refusalOf(why error) []byte {
	body, _ := json.Marshal(struct {
		Title  string `json:"title"`
		Status int    `json:"status"`
		Detail string `json:"detail"`
	}{http.StatusText(http.StatusServiceUnavailable), http.StatusServiceUnavailable, why.Error() + "; nothing has been done, try again"})
	return fmt.Appendf(nil, "HTTP/1.1 503 Service Unavailable\r\nDate: %s\r\nRetry-After: %d\r\nContent-Type: application/problem+json\r\n"+
		"Content-Length: %d\r\nConnection: close\r\n\r\n%s", time.Now().UTC().Format(http.TimeFormat), handler.RetryAfter, len(body), body)
}

// note logs now and then that connections are refused.
func (c *connections) note(why error) {
	n, now, last := c.refused.Add(1), time.Now().Unix(), c.logged.Load()
	if now-last < refusalsEvery || !c.logged.CompareAndSwap(last, now) {
		return
	}
	c.refused.Add(-n)
	c.log.Warn("connections are refused", "refused", n, "because", why)
}

// A connection is one that is counted until it is closed.
type connection struct {
	*net.TCPConn
	slot *limit.Slot

	mu      sync.Mutex
	running int // requests
}

// NetConn returns the connection below, as [crypto/tls.Conn] has it.
func (c *connection) NetConn() net.Conn { return c.TCPConn }

func (c *connection) Close() error {
	err := c.TCPConn.Close()
	c.slot.Release()
	return err
}

// Work implements [limit.Rester]: it begins a request, or goes on with one. It reports whether the connection has not given
// way.
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

// context is for http.Server.ConnContext.
func (c *connections) context(ctx context.Context, conn net.Conn) context.Context {
	for {
		if counted, ok := conn.(*connection); ok {
			return context.WithValue(limit.WithRester(ctx, counted), connectionKey{}, counted)
		}
		over, ok := conn.(interface{ NetConn() net.Conn }) // TLS, and what package wire puts around a connection
		if !ok {
			return ctx
		}
		conn = over.NetConn()
	}
}

// wrap has a connection not give way while next is answering a request on it.
func (c *connections) wrap(next http.Handler) http.Handler {
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
