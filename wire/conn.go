// Package wire manages connections, below HTTP:
//
//   - Each wait for the other side has an end ([Limit]).
//   - A message that two readers could read differently is the last one on its connection ([Peer.Unclear]).
//   - The last answer arrives ([HangUp]).
//   - A request of HTTP/1 lives until its client is gone, and not only until its client has sent everything
//     ([Peer.Follow]).
package wire

import (
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Listen returns a listener whose connections notice that the other side is gone or too slow. A connection fails if the
// other side does not take the written bytes as fast as limit demands when the connection begins. The kernel asks every
// 15 seconds whether the other side is still there, and gives up after five times ([KeepAlive]).
func Listen(l net.Listener, limit func() Limit) net.Listener { return &listener{l, limit} }

type listener struct {
	net.Listener
	limit func() Limit
}

func (l *listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return newConn(c, l.limit()), nil
}

// KeepAlive is for the listener below. With it, the kernel finds within a minute and a half that the machine at the
// other side is gone.
var KeepAlive = net.KeepAliveConfig{Enable: true, Idle: 15 * time.Second, Interval: 15 * time.Second, Count: 5}

// A Conn is a connection of the server.
type Conn struct {
	net.Conn
	tcp     *net.TCPConn // the TCP connection below. nil: there is none
	pace    *Pace        // of writing
	tells   bool         // the kernel tells how many of the written bytes the other side has taken
	framing *framing     // nil: the bytes that are read are encrypted, or not HTTP/1
	closing func() bool  // called when the connection is closed. It may be nil
	came    atomic.Int64 // how many bytes have come
	// lingered: the other side has got, or does not need, the moment that Close gives it to read the last answer.
	lingered atomic.Bool

	until   readDeadline
	asks    bool        // the kernel is asked whether the client is there, so net/http need not see it
	skipped bool        // see skips. Only the reader knows it
	hurries atomic.Bool // see Peer.WithoutWaiting

	mu   sync.Mutex
	ends bool // writing has a deadline
	dead bool // no more bytes can be written
}

func newConn(below net.Conn, limit Limit) *Conn {
	c := &Conn{Conn: below, tcp: within[*net.TCPConn](below)}
	c.look(limit, c.taken)
	return c
}

// look bounds all writing by limit. taken returns how many bytes the other side has taken.
func (c *Conn) look(limit Limit, taken func() (int64, bool)) {
	_, c.tells = taken()
	c.pace = NewPace(limit, taken, c.strike)
}

// within returns the connection of type T that c is, or that c wraps. It is nil if there is none.
func within[T net.Conn](c net.Conn) (found T) {
	for c != nil {
		if one, ok := c.(T); ok {
			return one
		}
		wrapper, ok := c.(interface{ NetConn() net.Conn })
		if !ok {
			break
		}
		c = wrapper.NetConn()
	}
	return found
}

// NetConn returns the connection below, as [crypto/tls.Conn] has it.
func (c *Conn) NetConn() net.Conn { return c.Conn }

// strike ends the current write, and makes all later writes fail.
func (c *Conn) strike() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.dead = true
	c.Conn.SetWriteDeadline(time.Unix(1, 0))
}

// largestHeaderRead is how many bytes net/http reads at once while it reads a header. Bytes that are read into a larger
// buffer belong to a body, and only to that body.
const largestHeaderRead = 4 << 10

func (c *Conn) Read(p []byte) (int, error) {
	if c.skips(p) {
		return 0, nil
	}
	if c.hurries.Load() && len(p) > 1 && !c.hasUnread() {
		return 0, ErrWouldWait
	}
	if err := c.until.begin(c.Conn); err != nil {
		return 0, err
	}
	defer c.until.end()
	n, err := c.Conn.Read(p)
	for n <= 0 && err != nil && c.until.putOff(c.Conn, err) {
		n, err = c.Conn.Read(p)
	}
	c.came.Add(int64(n))
	switch {
	case c.framing == nil || n <= 0:
	case len(p) <= largestHeaderRead:
		c.framing.look(p[:n])
	default:
		c.framing.skip()
	}
	return n, err
}

func (c *Conn) Write(p []byte) (int, error) {
	c.pace.Begin()
	n, err := c.Conn.Write(p)
	c.pace.End(int64(n))
	return n, err
}

// pieceSize is how many bytes the kernel gets at once, if it does not tell how many of them the other side has taken.
const pieceSize = 256 << 10

// ReadFrom lets net/http have the kernel send a file.
func (c *Conn) ReadFrom(r io.Reader) (sum int64, err error) {
	if c.tcp == nil {
		return io.Copy(struct{ io.Writer }{c}, r)
	}
	if c.tells {
		c.pace.Begin()
		n, err := c.tcp.ReadFrom(r)
		c.pace.End(n)
		return n, err
	}
	whole, ok := r.(*io.LimitedReader)
	if !ok {
		whole = &io.LimitedReader{R: r, N: 1<<63 - 1}
	}
	for whole.N > 0 {
		piece := &io.LimitedReader{R: whole.R, N: min(whole.N, pieceSize)}
		size := piece.N
		c.pace.Begin()
		n, err := c.tcp.ReadFrom(piece)
		c.pace.End(n)
		sum += n
		whole.N -= n
		if err != nil || n < size {
			return sum, err
		}
	}
	return sum, nil
}

// CloseWrite tells the other side that no more bytes come.
func (c *Conn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	if c.tcp != nil {
		return c.tcp.CloseWrite()
	}
	return nil
}

// Close implements [net.Conn]. If bytes have come that were not read, the kernel would reset the connection. The client
// would then throw away the part of the last answer that it has not read yet, such as the answer of net/http to a
// malformed request. So Close gives the client a moment to read it.
func (c *Conn) Close() error {
	if c.closing != nil {
		c.closing()
	}
	c.pace.Stop()
	if !c.until.waits() && c.hasUnread() && !c.lingered.Swap(true) {
		go hangUp(c.Conn, c.CloseWrite)
		return nil
	}
	c.lingered.Store(true)
	return c.Conn.Close()
}

// lingering and lingerBytes bound how long, and for how many more bytes, a connection is kept if its client may still
// send.
const (
	lingering   = time.Second
	lingerBytes = 256 << 10
)

// HangUp closes a connection whose client may still send, in such a way that the client gets the last answer. It tells
// the client that no more bytes come, and waits a moment until the client closes its side, too. If a connection is
// closed while it has unread bytes, or if more bytes come later, it is reset. Many systems then throw away the bytes
// that the program has not read yet (RFC 9112 §9.6).
func HangUp(conn net.Conn) {
	if c := within[*Conn](conn); c != nil {
		c.lingered.Store(true)
	}
	end := func() error { return nil }
	if half, ok := conn.(interface{ CloseWrite() error }); ok {
		end = half.CloseWrite
	}
	hangUp(conn, end)
}

func hangUp(conn net.Conn, closeWrite func() error) {
	defer conn.Close()
	until := time.Now().Add(lingering)
	conn.SetDeadline(until)
	if closeWrite() != nil {
		return // the other side is gone
	}
	if _, err := io.CopyN(io.Discard, conn, lingerBytes); err == nil {
		time.Sleep(time.Until(until)) // the other side does not stop sending
	}
}
