// Package wire looks after connections, below HTTP: that each wait for the other side has an end ([Limit]), that what two
// readers could read differently is the last that a connection carries ([Peer.Unclear]), that what was answered last arrives
// ([HangUp]), and that a request of HTTP/1 lives until its client is gone, and not only until that has sent everything
// ([Peer.Follow]).
package wire

import (
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Listen returns a listener whose connections look after themselves: one that does not take what is written to it fails as
// limit says. Their kernel asks every 15 seconds whether the other side is still there, and gives up after five times.
func Listen(l net.Listener, limit Limit) net.Listener { return &listener{l, limit} }

type listener struct {
	net.Listener
	limit Limit
}

func (l *listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return newConn(c, l.limit), nil
}

// KeepAlive is for the listener below: it finds within a minute and a half that the machine at the other side is gone.
var KeepAlive = net.KeepAliveConfig{Enable: true, Idle: 15 * time.Second, Interval: 15 * time.Second, Count: 5}

// A Conn is a connection of the server.
type Conn struct {
	net.Conn
	tcp     *net.TCPConn // what is below; nil where that is something else
	pace    *Pace        // of what is written
	tells   bool         // the kernel tells how much of that the other side has taken
	framing *framing     // nil where what is read is not HTTP/1 in the clear
	closing func() bool  // called when it is closed; may be nil
	reading atomic.Int32
	came    atomic.Int64 // how many bytes
	// lingered: whether the other side was given the moment that Close gives it.
	lingered atomic.Bool

	mu   sync.Mutex
	dead bool // nothing can be written any more
}

func newConn(below net.Conn, limit Limit) *Conn {
	c := &Conn{Conn: below, tcp: tcpOf(below)}
	c.look(limit, c.taken)
	return c
}

// look has what is written go as limit says, by what taken knows.
func (c *Conn) look(limit Limit, taken func() (int64, bool)) {
	_, c.tells = taken()
	c.pace = NewPace(limit, taken, c.strike)
}

// tcpOf returns the connection of the kernel below others, or nil.
func tcpOf(c net.Conn) *net.TCPConn {
	for c != nil {
		if tcp, ok := c.(*net.TCPConn); ok {
			return tcp
		}
		wrapper, ok := c.(interface{ NetConn() net.Conn })
		if !ok {
			return nil
		}
		c = wrapper.NetConn()
	}
	return nil
}

// NetConn returns the connection below, as [crypto/tls.Conn] has it.
func (c *Conn) NetConn() net.Conn { return c.Conn }

// strike ends what is being written, for good.
func (c *Conn) strike() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.dead = true
	c.Conn.SetWriteDeadline(time.Unix(1, 0))
}

// SetDeadline implements [net.Conn].
func (c *Conn) SetDeadline(t time.Time) error {
	if err := c.SetReadDeadline(t); err != nil {
		return err
	}
	return c.SetWriteDeadline(t)
}

// SetWriteDeadline implements [net.Conn]. It cannot bring back to life what has ended.
func (c *Conn) SetWriteDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.dead {
		return nil
	}
	return c.Conn.SetWriteDeadline(t)
}

// largestHeaderRead is what net/http reads of a header at once. What is read into a larger buffer is of a body, and of no
// more than that.
const largestHeaderRead = 4 << 10

func (c *Conn) Read(p []byte) (int, error) {
	c.reading.Add(1)
	defer c.reading.Add(-1)
	n, err := c.Conn.Read(p)
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

// pieceSize is what is given to the kernel at once where it cannot be asked what has arrived of it.
const pieceSize = 256 << 10

// ReadFrom is how net/http has the kernel send a file.
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

// CloseWrite says to the other side that this was all.
func (c *Conn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	if c.tcp != nil {
		return c.tcp.CloseWrite()
	}
	return nil
}

// Close implements [net.Conn]. Where something has come that was not read, the kernel would reset the connection, and the
// other side throw away what it has not read yet of the last answer, such as net/http's to what is no request; it is given
// a moment.
func (c *Conn) Close() error {
	if c.closing != nil {
		c.closing()
	}
	c.pace.Stop()
	if c.reading.Load() == 0 && c.hasUnread() && !c.lingered.Swap(true) {
		go hangUp(c.Conn, c.CloseWrite)
		return nil
	}
	c.lingered.Store(true)
	return c.Conn.Close()
}

// How long, and for how many bytes more, a connection is kept whose other side may still send.
const (
	lingering   = time.Second
	lingerBytes = 256 << 10
)

// HangUp closes a connection whose other side may still send, so that it hears what it was told last: says that this was
// all, and waits a moment for it to close its side, too. A connection that is closed with bytes unread, or to which more come, is
// reset, and many systems then throw away what the program has not read yet (RFC 9112 §9.6).
func HangUp(conn net.Conn) {
	if c := connOf(conn); c != nil {
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
		return // it is gone
	}
	if _, err := io.CopyN(io.Discard, conn, lingerBytes); err == nil {
		time.Sleep(time.Until(until)) // it goes on and on
	}
}
