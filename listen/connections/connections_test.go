package connections

import (
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// A refusedConn notes what is done with it. Its client sends some, or nothing.
type refusedConn struct {
	net.Conn
	sends *strings.Reader // nil: nothing
	done  []string
}

func (c *refusedConn) note(what string) {
	if len(c.done) == 0 || c.done[len(c.done)-1] != what {
		c.done = append(c.done, what)
	}
}

func (c *refusedConn) Read(p []byte) (int, error) {
	c.note("read")
	if c.sends == nil {
		return 0, os.ErrDeadlineExceeded
	}
	return c.sends.Read(p)
}

func (c *refusedConn) Write(p []byte) (int, error) {
	c.note("write " + string(p[:len("HTTP/1.1 503")]))
	return len(p), nil
}

func (c *refusedConn) SetDeadline(time.Time) error { return nil }
func (c *refusedConn) CloseWrite() error           { c.note("close write"); return nil }
func (c *refusedConn) Close() error                { c.note("close"); return nil }

// Who is refused is answered when the request begins, and not before: clients take that for an answer to nothing.
func TestRefusalComesAfterTheRequestHasBegun(t *testing.T) {
	for _, tt := range []struct {
		about string
		sends *strings.Reader
		want  []string
	}{
		{"it sends a request", strings.NewReader("PUT / HTTP/1.1\r\n\r\n"), []string{"read", "write HTTP/1.1 503", "close write", "read", "close"}},
		{"it sends nothing in time", nil, []string{"read", "write HTTP/1.1 503", "close"}},
	} {
		c := &refusedConn{sends: tt.sends}
		if answerRefused(c, errors.New("too many")); !slices.Equal(c.done, tt.want) {
			t.Errorf("%s: got %q, want %q", tt.about, c.done, tt.want)
		}
		if tt.sends != nil {
			if rest, _ := io.ReadAll(tt.sends); len(rest) > 0 {
				t.Errorf("%s: %q is left", tt.about, rest)
			}
		}
	}
}
