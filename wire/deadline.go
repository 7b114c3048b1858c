package wire

import (
	"errors"
	"net"
	"os"
	"sync"
	"time"
)

// A readDeadline is when a connection stops waiting for bytes. net/http sets up to seven of them for each request, most
// of them later than the one before, or none at all. The connection below learns only of one that counts when a read
// begins, or comes while a read waits, and is earlier than the one that it has. When that one has come too early, it
// gets the one that counts by then, and reads on.
type readDeadline struct {
	mu      sync.Mutex
	at      time.Time // the one that counts (zero: none)
	told    time.Time // the one that the connection below has (zero: none)
	reading int       // how many reads wait
}

// set sets the deadline that counts.
func (d *readDeadline) set(below net.Conn, t time.Time) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.at = t
	if d.reading == 0 {
		return nil
	}
	return d.tell(below)
}

// begin says that a read begins, and end that it has ended.
func (d *readDeadline) begin(below net.Conn) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	err := d.tell(below)
	if err == nil {
		d.reading++
	}
	return err
}

func (d *readDeadline) end() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.reading--
}

// waits reports whether a read waits.
func (d *readDeadline) waits() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.reading > 0
}

// tell tells the connection below the deadline that counts, if it has none that is as early. mu must be held.
func (d *readDeadline) tell(below net.Conn) error {
	if d.at.IsZero() || !d.told.IsZero() && !d.at.Before(d.told) {
		return nil
	}
	d.told = d.at
	return below.SetReadDeadline(d.at)
}

// putOff reports whether a read that failed is to go on, because its deadline does not count any more.
func (d *readDeadline) putOff(below net.Conn, err error) bool {
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		return false
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.at.IsZero() && !d.at.After(time.Now()) {
		return false
	}
	d.told = d.at
	return below.SetReadDeadline(d.at) == nil
}

func (c *Conn) SetReadDeadline(t time.Time) error { return c.until.set(c.Conn, t) }

func (c *Conn) SetDeadline(t time.Time) error {
	if err := c.SetReadDeadline(t); err != nil {
		return err
	}
	return c.SetWriteDeadline(t)
}

// SetWriteDeadline implements [net.Conn]. It has no effect after strike, nor if there was no deadline and shall be none.
func (c *Conn) SetWriteDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.dead || t.IsZero() && !c.ends {
		return nil
	}
	c.ends = !t.IsZero()
	return c.Conn.SetWriteDeadline(t)
}

// skips reports whether a read is left out, and so returns neither bytes nor an error.
//
// While a handler runs, net/http reads one byte beside it, to see when the client is gone. That takes a system call, a
// goroutine that waits, and two deadlines to end it, for each request. The kernel tells the same when it is asked
// ([Peer.Follow]). Other readers may ask for one byte, too: they ask again, and then they get it.
func (c *Conn) skips(p []byte) bool {
	c.skipped = c.asks && !c.skipped && len(p) == 1 && cap(p) == 1
	return c.skipped
}
