package wire

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// patience is how long a test waits for what must come, and never uses up.
const patience = 2 * time.Minute

// pair returns both ends of a connection.
func pair(t *testing.T, limit Limit) (ours *Conn, theirs *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	client, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	conn, err := Listen(l, func() Limit { return limit }).Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close(); conn.Close() })
	client.SetDeadline(time.Now().Add(patience))
	return conn.(*Conn), client.(*net.TCPConn)
}

// bigFile returns a file of zeros.
func bigFile(t *testing.T, size int64) *os.File {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "big"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	if err := f.Truncate(size); err != nil {
		t.Fatal(err)
	}
	return f
}

// The ways in which much is written.
var writings = map[string]func(t *testing.T, c *Conn, size int64) error{
	"at once": func(t *testing.T, c *Conn, size int64) error {
		_, err := c.Write(make([]byte, size))
		return err
	},
	"in pieces": func(t *testing.T, c *Conn, size int64) error {
		for range size >> 12 {
			if _, err := c.Write(make([]byte, 1<<12)); err != nil {
				return err
			}
		}
		return nil
	},
	"by the kernel": func(t *testing.T, c *Conn, size int64) error {
		_, err := io.Copy(c, io.LimitReader(bigFile(t, size), size))
		return err
	},
	"by a kernel that tells nothing": func(t *testing.T, c *Conn, size int64) error {
		c.look(c.pace.limit, func() (int64, bool) { return 0, false })
		n, err := io.Copy(c, io.LimitReader(bigFile(t, size), size))
		if err == nil && n != size {
			t.Errorf("sent %d bytes", n)
		}
		return err
	},
}

// What a client never reads comes to an end.
func TestWritingToWhoNeverReads(t *testing.T) {
	for about, write := range writings {
		t.Run(about, func(t *testing.T) {
			t.Parallel()
			c, _ := pair(t, Limit{Pause: 200 * time.Millisecond, Rate: 1000})
			if err := write(t, c, 64<<20); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("got %v", err)
			}
			c.SetWriteDeadline(time.Time{}) // as net/http does
			if _, err := c.Write([]byte("x")); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("and is written to again: %v", err)
			}
		})
	}
}

// One that reads a little at a time, so that the writer is woken far less often than Pause, gets all of it: it is seen what
// the client takes.
func TestWritingToWhoReadsSlowly(t *testing.T) {
	for about, write := range writings {
		if strings.Contains(about, "tells nothing") {
			continue // then it is only seen when the kernel has room again
		}
		t.Run(about, func(t *testing.T) {
			t.Parallel()
			const size = 64 << 20
			c, client := pair(t, Limit{Pause: time.Hour, Rate: 1}) // the looks are those of the test
			written := make(chan error, 1)
			go func() {
				written <- write(t, c, size)
				c.CloseWrite()
			}()
			for begun := time.Now(); !lookInTheEnd(c.pace, 64<<10); time.Sleep(time.Millisecond) {
				if time.Since(begun) > patience {
					t.Fatal("it is not seen what the client has taken, though the writer waits for more")
				}
			}
			buffer := make([]byte, 256<<10)
			for sum := 0; ; lookInTheEnd(c.pace, 64<<10) {
				n, err := client.Read(buffer)
				if sum += n; err == nil {
					continue
				}
				if err := <-written; err != nil || sum != size {
					t.Errorf("written with %v, and %d bytes have come", err, sum)
				}
				break
			}
		})
	}
}

// lookInTheEnd has a wait, if one goes on, last until the patience is at its end, and looks then. It does nothing before the
// other side has taken a number of bytes (taken) since the last look.
func lookInTheEnd(p *Pace, taken int64) (looked bool) {
	p.mu.Lock()
	if now, ok := p.moved(); ok && p.waiting > 0 && now >= p.known+taken {
		looked = true
		p.left = 0
	}
	p.mu.Unlock()
	if looked {
		p.look()
	}
	return looked
}

// Who is hung up on, or has an answer before all it has sent is read, hears what was said last, though it goes on to send.
func TestHangUpArrives(t *testing.T) {
	for about, end := range map[string]func(*Conn){
		"HangUp": func(c *Conn) { HangUp(c) },
		"Close":  func(c *Conn) { c.Close() },
	} {
		t.Run(about, func(t *testing.T) {
			c, client := pair(t, DefaultLimit)
			if _, err := client.Write(make([]byte, 100_000)); err != nil {
				t.Fatal(err)
			}
			io.ReadFull(c, make([]byte, 1)) // it has come, and is not read
			c.Write([]byte("the last word"))
			done := make(chan struct{})
			go func() { defer close(done); end(c) }()
			// It sends on and on, and listens only when that fails, or nobody reads.
			client.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
			for {
				if _, err := client.Write(make([]byte, 1<<10)); err != nil {
					break
				}
			}
			got := make([]byte, 100)
			n, err := client.Read(got)
			if err != nil || string(got[:n]) != "the last word" {
				t.Errorf("heard %q, %v", got[:n], err)
			}
			<-done
			for { // and the connection ends
				if _, err := client.Read(got); err != nil {
					if errors.Is(err, os.ErrDeadlineExceeded) {
						t.Error("the connection hangs")
					}
					break
				}
			}
		})
	}
}

// A served request is one whose contexts a test holds.
type served struct{ life, hashing context.Context }

// serveOne sends one request without a body, and returns it and the client's end of its connection. It is answered when the
// test is over.
func serveOne(t *testing.T, abandoned time.Duration) (one served, client *net.TCPConn, cutOff func()) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	base, cutOff := context.WithCancel(t.Context())
	got, over := make(chan served), make(chan struct{})
	server := &http.Server{
		ConnContext: Context,
		BaseContext: func(net.Listener) context.Context { return base },
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			ctx, life := PeerOf(r).Follow(r.Context(), abandoned)
			defer life.End()
			hashing, cancel := life.HashContext(ctx)
			defer cancel()
			got <- served{ctx, hashing}
			<-over
		}),
	}
	go server.Serve(Listen(l, func() Limit { return DefaultLimit }))
	t.Cleanup(func() { close(over); server.Close() })
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	io.WriteString(conn, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
	return <-got, conn.(*net.TCPConn), cutOff
}

func awaitDone(t *testing.T, what string, ctx context.Context) {
	t.Helper()
	select {
	case <-ctx.Done():
	case <-time.After(patience):
		t.Fatalf("%s goes on", what)
	}
}

func TestFollow(t *testing.T) {
	t.Run("a client that has closed its sending side", func(t *testing.T) {
		t.Parallel()
		one, client, cutOff := serveOne(t, time.Millisecond)
		client.CloseWrite()
		awaitDone(t, "the hashing", one.hashing)
		if err := one.life.Err(); err != nil {
			t.Errorf("the request has ended: %v", err)
		}
		cutOff()
		awaitDone(t, "the request when the server cuts off", one.life)
	})
	t.Run("one that listens still, and is not abandoned", func(t *testing.T) {
		t.Parallel()
		one, client, _ := serveOne(t, time.Hour)
		client.CloseWrite()
		select { // longer than it takes to look
		case <-one.hashing.Done():
			t.Error("the hashing has ended")
		case <-time.After(2*lookEvery + 100*time.Millisecond):
		}
	})
	t.Run("one that is gone", func(t *testing.T) {
		t.Parallel()
		one, client, _ := serveOne(t, time.Hour)
		client.SetLinger(0) // a reset
		client.Close()
		awaitDone(t, "the request", one.life)
		awaitDone(t, "the hashing", one.hashing)
		if cause := context.Cause(one.life); cause != ErrGone {
			t.Errorf("because of %v", cause)
		}
	})
}

// The bytes that the kernel sends are those of the file, from where it stands, in however many pieces.
func TestReadFromIsWhole(t *testing.T) {
	for _, tells := range []bool{true, false} {
		c, client := pair(t, DefaultLimit)
		c.look(DefaultLimit, func() (int64, bool) { return 0, tells })
		f, err := os.Create(filepath.Join(t.TempDir(), "f"))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		content := bytes.Repeat([]byte("0123456789"), 100_000)
		f.Write(content)
		f.Seek(10, io.SeekStart)
		go func() {
			c.ReadFrom(io.LimitReader(f, 999_980))
			c.CloseWrite()
		}()
		got, err := io.ReadAll(client)
		if err != nil || !bytes.Equal(got, content[10:999_990]) {
			t.Errorf("%d bytes, %v", len(got), err)
		}
	}
}
