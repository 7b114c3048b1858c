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

// A side is what the kernel knows of the other side of a connection.
type side int

const (
	unknown    side = iota
	open            // it sends and listens
	halfClosed      // it has sent everything; whether it still listens is not known before something is sent to it
	gone
)

// A Peer is the other side of a connection, as the requests that come over it see it.
type Peer struct {
	conn  *Conn
	clear bool // what it sends is not encrypted

	mu  sync.Mutex
	cut error // why the server cuts off what still runs; nil: it does not
	now *Life // of HTTP/1, which has one request at a time
}

type peerKey struct{}

// Context is for [http.Server].ConnContext: it has the requests of a connection of [Listen] know their [Peer].
func Context(ctx context.Context, c net.Conn) context.Context {
	conn := connOf(c)
	if conn == nil {
		return ctx
	}
	_, encrypted := c.(*tls.Conn)
	if !encrypted {
		conn.framing = new(framing)
	}
	peer := &Peer{conn: conn, clear: !encrypted}
	conn.closing = context.AfterFunc(ctx, func() { peer.cutOff(context.Cause(ctx)) })
	return context.WithValue(ctx, peerKey{}, peer)
}

// cutOff ends the request that runs, and those that come.
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

// connOf returns our connection, of which another may be made.
func connOf(c net.Conn) *Conn {
	for c != nil {
		if conn, ok := c.(*Conn); ok {
			return conn
		}
		wrapper, ok := c.(interface{ NetConn() net.Conn })
		if !ok {
			return nil
		}
		c = wrapper.NetConn()
	}
	return nil
}

// PeerOf returns the Peer of a request; nil where it did not come over a connection of [Listen].
func PeerOf(r *http.Request) *Peer {
	peer, _ := r.Context().Value(peerKey{}).(*Peer)
	return peer
}

// Unclear reports whether another reader may see the end of a request of HTTP/1 elsewhere than net/http does, so that its
// connection must carry no further one. Of what is encrypted that is not known, so that each request in chunks is.
func (p *Peer) Unclear(r *http.Request) bool {
	if p.clear {
		return p.conn.framing.both.Load()
	}
	return len(r.TransferEncoding) > 0
}

// Tells reports whether it can be seen how requests are framed: of what is encrypted it cannot.
func (p *Peer) Tells() bool { return p.clear }

// Coded reports whether a request that has come has a Transfer-Encoding, also where net/http has removed it, as it does
// over HTTP/1.0.
func (p *Peer) Coded() bool { return p.clear && p.conn.framing.coded.Load() }

// Received returns how many bytes have come over the connection.
func (p *Peer) Received() (int64, bool) { return p.conn.came.Load(), true }

// How often it is seen whether a client is still there, and how long a request goes on of one whose connection net/http
// has given up, where that cannot be seen.
const (
	lookEvery = time.Second
	unseen    = 10 * time.Minute
)

// ErrGone is the cause of the end of a request whose client is gone.
var ErrGone = errors.New("the connection is lost")

// Follow returns the context of a request of HTTP/1 that has this one. It ends when the server cuts off what still runs, and
// when the connection is lost, and not yet when the client has closed its sending side: one that has sent everything may do
// that, and proxies do it for it (RFC 9112 §9.6). Whether it has gone instead shows as soon as something is sent to it, or
// the kernel asks ([KeepAlive]); what is only hashed for it until then is what [Life.HashContext] bounds.
func (p *Peer) Follow(ctx context.Context, abandoned time.Duration) (context.Context, *Life) {
	life, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	l := &Life{peer: p, http: ctx, patience: abandoned, cancel: cancel}
	p.serve(l)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.timer = time.AfterFunc(lookEvery, l.look)
	return life, l
}

// A Life is that of one request.
type Life struct {
	peer     *Peer
	http     context.Context // as net/http has it
	patience time.Duration
	cancel   context.CancelCauseFunc

	mu      sync.Mutex
	timer   *time.Timer
	closed  time.Time    // when it was first seen that the client had closed its sending side
	gaveUp  bool         // what is only hashed is hashed for nobody
	hashing []*hashedFor // what is, meanwhile
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
	l.timer.Stop()
}

// HashContext returns a context for hashing that somebody else may never hear of: besides with its parent it ends a while
// after the client has closed its sending side.
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

// giveUp ends what is only hashed. mu must be held.
func (l *Life) giveUp() {
	l.gaveUp = true
	for _, one := range l.hashing {
		one.cancel()
	}
}

// look looks at the other side.
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
	l.timer.Reset(lookEvery)
}
