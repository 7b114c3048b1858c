package wire

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// The deadline that counts is the one that was set last, whatever those before it were.
func TestReadDeadline(t *testing.T) {
	const soon = 20 * time.Millisecond
	past := time.Unix(1, 0)
	for _, test := range []struct {
		about string
		set   func(c *Conn)
		ends  bool // the read ends without a byte
	}{
		{"none", func(c *Conn) {}, false},
		{"one that has passed", func(c *Conn) { c.SetReadDeadline(past) }, true},
		{"one that comes", func(c *Conn) { c.SetReadDeadline(time.Now().Add(soon)) }, true},
		{"an earlier one", func(c *Conn) {
			c.SetReadDeadline(time.Now().Add(time.Hour))
			c.SetReadDeadline(time.Now().Add(soon))
		}, true},
		{"one after none", func(c *Conn) {
			c.SetReadDeadline(time.Now().Add(time.Hour))
			c.SetReadDeadline(time.Time{})
			c.SetReadDeadline(time.Now().Add(soon))
		}, true},
		{"a later one", func(c *Conn) {
			c.SetReadDeadline(time.Now().Add(soon))
			c.SetReadDeadline(time.Now().Add(2 * soon))
		}, true},
		{"one that is taken back", func(c *Conn) {
			c.SetReadDeadline(time.Now().Add(soon))
			c.SetReadDeadline(time.Time{})
		}, false},
		{"one that had passed", func(c *Conn) {
			c.SetReadDeadline(past)
			c.SetReadDeadline(time.Now().Add(time.Hour))
		}, false},
		{"one set while a read waits", func(c *Conn) {
			time.AfterFunc(soon, func() { c.SetReadDeadline(past) })
		}, true},
	} {
		t.Run(test.about, func(t *testing.T) {
			t.Parallel()
			c, client := pair(t, DefaultLimit)
			test.set(c)
			if !test.ends {
				time.AfterFunc(3*soon, func() { client.Write([]byte("x")) })
			}
			began := time.Now()
			n, err := c.Read(make([]byte, 10))
			switch {
			case test.ends && (n != 0 || !errors.Is(err, os.ErrDeadlineExceeded)):
				t.Errorf("read %d bytes, %v", n, err)
			case !test.ends && (n != 1 || err != nil):
				t.Errorf("read %d bytes, %v", n, err)
			case strings.HasPrefix(test.about, "a later") && time.Since(began) < 2*soon-time.Millisecond:
				t.Errorf("the read ended at the deadline before, after %v", time.Since(began))
			}
		})
	}
}

// A deadline that is taken back, or put off, while a read waits does not end it.
func TestReadDeadlineIsTakenBackWhileAReadWaits(t *testing.T) {
	for about, instead := range map[string]time.Time{"none": {}, "a later one": time.Now().AddDate(100, 0, 0)} {
		t.Run(about, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { // in which it is taken back in time, however busy the machine is
				client, ours := net.Pipe()
				c := newConn(ours, DefaultLimit)
				defer client.Close()
				defer c.Close()
				c.SetReadDeadline(time.Now().Add(time.Second))
				time.AfterFunc(time.Second/2, func() { c.SetReadDeadline(instead) })
				time.AfterFunc(2*time.Second, func() { client.Write([]byte("x")) })
				if n, err := c.Read(make([]byte, 10)); n != 1 || err != nil {
					t.Errorf("read %d bytes, %v", n, err)
				}
			})
		})
	}
}

// A read that failed at its deadline fails again, and goes on once the deadline is taken back.
func TestReadAfterADeadline(t *testing.T) {
	c, client := pair(t, DefaultLimit)
	client.Write([]byte("x"))
	c.SetReadDeadline(time.Unix(1, 0))
	for range 2 {
		if n, err := c.Read(make([]byte, 10)); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("read %d bytes, %v", n, err)
		}
	}
	c.SetReadDeadline(time.Time{})
	if n, err := c.Read(make([]byte, 10)); n != 1 || err != nil {
		t.Errorf("read %d bytes, %v", n, err)
	}
}

// A write deadline that is taken back does not end a write, and one after that does.
func TestWriteDeadline(t *testing.T) {
	c, _ := pair(t, DefaultLimit)
	for range 2 {
		c.SetWriteDeadline(time.Unix(1, 0))
		if _, err := c.Write([]byte("x")); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		c.SetWriteDeadline(time.Time{})
		if _, err := c.Write([]byte("x")); err != nil {
			t.Error(err)
		}
	}
}

// A reader that asks for one byte has it at the second time at the latest, and every reader of many sees all of them.
func TestReadOfOneByte(t *testing.T) {
	c, client := pair(t, DefaultLimit)
	Context(t.Context(), c)
	client.Write([]byte("abcd"))
	client.CloseWrite()
	one := make([]byte, 1)
	if n, err := c.Read(one); n != 0 || err != nil {
		t.Errorf("the first time: %d bytes, %v", n, err)
	}
	if n, err := c.Read(one); n != 1 || err != nil || one[0] != 'a' {
		t.Errorf("the second time: %d bytes, %q, %v", n, one, err)
	}
	var rest strings.Builder
	for {
		if n, err := c.Read(one); n == 1 {
			rest.Write(one)
		} else if err != nil {
			break
		}
	}
	if rest.String() != "bcd" {
		t.Errorf("read %q", rest.String())
	}
}

// While a request is served, nothing is read of the connection. The requests that have come meanwhile are read whole.
func TestNothingIsReadBesideAHandler(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	const more = "GET /2 HTTP/1.1\r\nHost: localhost\r\n\r\nGET /3 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
	var client net.Conn
	server := &http.Server{ConnContext: Context, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, r.URL.Path)
		if r.URL.Path != "/1" {
			return
		}
		io.WriteString(client, more)
		for began := time.Now(); PeerOf(r).conn.queued() < len(more); time.Sleep(time.Millisecond) {
			if time.Since(began) > patience {
				t.Errorf("%d bytes are unread, not %d", PeerOf(r).conn.queued(), len(more))
				return
			}
		}
	})}
	go server.Serve(Listen(l, func() Limit { return DefaultLimit }))
	t.Cleanup(func() { server.Close() })
	if client, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	io.WriteString(client, "GET /1 HTTP/1.1\r\nHost: localhost\r\n\r\n")
	answers, err := io.ReadAll(client)
	for _, path := range []string{"/1", "/2", "/3"} {
		if err != nil || !strings.Contains(string(answers), "\r\n\r\n"+path) {
			t.Errorf("no answer for %s: %q, %v", path, answers, err)
		}
	}
}

// A read that must not wait has what has come, and fails where there is nothing. Later reads wait, and miss nothing.
func TestReadWithoutWaiting(t *testing.T) {
	c, client := pair(t, DefaultLimit)
	peer := Context(t.Context(), c).Value(peerKey{}).(*Peer)
	buffer := make([]byte, 10)
	nothing := func() {
		t.Helper()
		peer.WithoutWaiting(func() {
			if n, err := c.Read(buffer); n != 0 || err != ErrWouldWait {
				t.Errorf("%d bytes, %v, though nothing has come", n, err)
			}
		})
	}
	nothing()
	client.Write([]byte("abc"))
	for began := time.Now(); c.queued() < 3; runtime.Gosched() {
		if time.Since(began) > patience {
			t.Fatal("nothing comes")
		}
	}
	peer.WithoutWaiting(func() {
		if n, err := c.Read(buffer); string(buffer[:n]) != "abc" || err != nil {
			t.Errorf("%q, %v", buffer[:n], err)
		}
	})
	nothing()
	read := make(chan string)
	go func() {
		n, err := c.Read(buffer)
		read <- fmt.Sprint(string(buffer[:n]), err)
	}()
	client.Write([]byte("d"))
	if got := <-read; got != "d<nil>" {
		t.Errorf("later: %s", got)
	}
}
