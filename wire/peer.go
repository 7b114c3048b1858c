package wire

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"
)

// A side is the state of the other side of a connection, as far as the kernel knows it.
type side int

const (
	unknown    side = iota
	open            // it sends and listens
	halfClosed      // it has sent everything. Whether it still listens shows only after the server sends bytes
	gone
)

// A Peer is the other side of a connection. Requests that come over the connection find it with [PeerOf].
type Peer struct {
	conn  *Conn
	clear bool // the bytes from the other side are not encrypted

	mu  sync.Mutex
	cut error // why the server ends requests that still run. nil: it does not
	now *Life // the request that runs. HTTP/1 has one request at a time

	// timer has look called. All requests of the connection use it, one after another. Only Follow makes it. A request
	// that ends leaves it running, as most are over long before it ends.
	timer *time.Timer
	armed bool // the timer runs
}

type peerKey struct{}

// Context is for [http.Server].ConnContext. It gives the requests of a connection of [Listen] their [Peer].
func Context(ctx context.Context, c net.Conn) context.Context {
	conn := within[*Conn](c)
	if conn == nil {
		return ctx
	}
	_, encrypted := c.(*tls.Conn)
	if !encrypted {
		conn.framing = new(framing)
		conn.asks = conn.tells
	}
	peer := &Peer{conn: conn, clear: !encrypted}
	conn.closing = context.AfterFunc(ctx, func() { peer.cutOff(context.Cause(ctx)) })
	return context.WithValue(ctx, peerKey{}, peer)
}

// cutOff ends the request that runs, and all later requests.
func (p *Peer) cutOff(cause error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut = cause
	if p.now != nil {
		p.now.cancel(cause)
	}
}

// serve notes which request runs.
func (p *Peer) serve(l *Life) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.now = l; l != nil && p.cut != nil {
		l.cancel(p.cut)
	}
}

// PeerOf returns the Peer of a request. It is nil if the request did not come over a connection of [Listen].
func PeerOf(r *http.Request) *Peer {
	peer, _ := r.Context().Value(peerKey{}).(*Peer)
	return peer
}

// Unclear reports whether another reader may see the end of an HTTP/1 request at another place than net/http does. The
// connection of such a request must carry no further request. The framing of encrypted requests is not known, so
// Unclear is true for each encrypted request in chunks.
func (p *Peer) Unclear(r *http.Request) bool {
	if p.clear {
		return p.conn.framing.both.Load()
	}
	return len(r.TransferEncoding) > 0
}

// Tells reports whether the framing of requests can be seen. The framing of encrypted requests cannot.
func (p *Peer) Tells() bool { return p.clear }

// Coded reports whether a request with a Transfer-Encoding has come. It also counts a request over HTTP/1.0, of which
// net/http removes that field.
func (p *Peer) Coded() bool { return p.clear && p.conn.framing.coded.Load() }

// Received returns how many bytes have come over the connection.
func (p *Peer) Received() (int64, bool) { return p.conn.came.Load(), true }

// ErrWouldWait is the error of a read for which nothing has come.
var ErrWouldWait = errors.New("no more bytes have come yet")

// WithoutWaiting calls read, which may read the bytes that have come of the body of the request that runs. Where no
// more have come, a read fails with [ErrWouldWait], and may be repeated later. Bytes in the buffer of net/http have
// come, and those in that of the kernel, too. Where bytes are encrypted, or the kernel does not tell of them, read is not
// called: net/http takes the error of a read for the end of the connection, and its context with it.
func (p *Peer) WithoutWaiting(read func()) {
	if !p.clear || !p.conn.asks {
		return
	}
	p.conn.hurries.Store(true)
	defer p.conn.hurries.Store(false)
	read()
}

// lookEvery is how often a [Life] looks whether its client is still there. unseen is how long a request goes on after
// net/http has given up its connection, if the kernel does not tell whether the client is there.
const (
	lookEvery = time.Second
	unseen    = 10 * time.Minute
)

// ErrGone is the cause of the end of a request whose client is gone.
var ErrGone = errors.New("the connection is lost")

// Follow returns the context of an HTTP/1 request whose context in net/http is ctx. The new context ends when the
// server ends requests that still run, and when the connection is lost. It does not end when the client has closed its
// sending side: a client that has sent everything may do that, and proxies do it on behalf of their clients (RFC 9112
// §9.6). Whether the client has gone instead shows as soon as the server sends something to it, or the kernel asks
// ([KeepAlive]). Until then, [Life.HashContext] bounds the work that only hashes for this client.
func (p *Peer) Follow(ctx context.Context, abandoned time.Duration) (context.Context, *Life) {
	life, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	l := &Life{peer: p, http: ctx, patience: abandoned, cancel: cancel}
	p.serve(l)
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.timer == nil:
		p.timer = time.AfterFunc(lookEvery, p.look)
	case !p.armed:
		p.timer.Reset(lookEvery)
	}
	p.armed = true
	return life, l
}

// look has the request that runs look at the other side. The timer may have been set for an earlier request, so the
// look may come early.
func (p *Peer) look() {
	p.mu.Lock()
	l := p.now
	p.armed = l != nil
	p.mu.Unlock()
	if l != nil {
		l.look()
		p.timer.Reset(lookEvery)
	}
}

// A Life is the time from the start of one request to its end.
type Life struct {
	peer     *Peer
	http     context.Context // the context that net/http gave the request
	patience time.Duration
	cancel   context.CancelCauseFunc

	mu      sync.Mutex
	closed  time.Time    // when it was first seen that the client had closed its sending side
	gaveUp  bool         // hashing only for this client has been ended
	hashing []*hashedFor // the hashing only for this client that still runs
	ended   bool
}

type hashedFor struct{ cancel context.CancelFunc }

// End says that the request is answered.
func (l *Life) End() {
	l.peer.serve(nil)
	l.cancel(nil)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended = true
}

// Cancel ends the context of the request, and all that are derived from it.
func (l *Life) Cancel() { l.cancel(nil) }

// HashContext returns a context for hashing that only this client needs, and that is in vain if the client is gone. The
// context ends with its parent, or a while after the client has closed its sending side.
func (l *Life) HashContext(parent context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(parent)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.gaveUp {
		cancel()
		return ctx, cancel
	}
	one := &hashedFor{cancel}
	l.hashing = append(l.hashing, one)
	return ctx, func() {
		cancel()
		l.mu.Lock()
		defer l.mu.Unlock()
		l.hashing = slices.DeleteFunc(l.hashing, func(other *hashedFor) bool { return other == one })
	}
}

// giveUp ends the hashing that only this client needs. mu must be held.
func (l *Life) giveUp() {
	l.gaveUp = true
	for _, one := range l.hashing {
		one.cancel()
	}
}

// look looks at the other side of the connection.
func (l *Life) look() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended {
		return
	}
	now, seen := time.Now(), l.peer.conn.side()
	switch {
	case seen == gone:
		l.cancel(ErrGone)
		return
	case seen == open, seen == unknown && l.http.Err() == nil:
	case l.closed.IsZero():
		l.closed = now
	case seen == unknown && now.Sub(l.closed) >= unseen:
		l.cancel(ErrGone)
		return
	case now.Sub(l.closed) >= l.patience:
		l.giveUp()
	}
}
