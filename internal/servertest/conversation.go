package servertest

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"
)

// A Conversation is a connection on which a test may send anything.
type Conversation struct {
	net.Conn
	r      *bufio.Reader
	method string         // of the last request
	early  *http.Response // an answer that came instead of a 100
}

// Dial connects to a server, whose certificate it does not verify.
func Dial(base string) (*Conversation, error) {
	scheme, rest, _ := strings.Cut(base, "://")
	authority, _, _ := strings.Cut(rest, "/")
	conn, err := net.Dial("tcp", authority)
	if err != nil {
		return nil, err
	}
	if scheme == "https" {
		conn = tls.Client(conn, trustAll())
	}
	c := &Conversation{Conn: conn, r: bufio.NewReader(conn)}
	return c, c.wait()
}

// wait gives the next event its time, however much has gone on elsewhere since the one before.
func (c *Conversation) wait() error { return c.SetDeadline(time.Now().Add(Patience)) }

// Write sends some more.
func (c *Conversation) Write(more []byte) (int, error) {
	if err := c.wait(); err != nil {
		return 0, err
	}
	return c.Conn.Write(more)
}

// trustAll is for servers with the certificate of a test.
func trustAll() *tls.Config { return &tls.Config{InsecureSkipVerify: true} }

// Answer reads the next answer to the last request, with its body.
func (c *Conversation) Answer() (*http.Response, []byte, error) { return c.answer(c.method) }

// answer reads the next answer that is not a 1xx.
func (c *Conversation) answer(method string) (*http.Response, []byte, error) {
	if err := c.wait(); err != nil {
		return nil, nil, err
	}
	for {
		answer, err := c.early, error(nil)
		if c.early = nil; answer == nil {
			answer, err = http.ReadResponse(c.r, &http.Request{Method: method})
		}
		if err != nil {
			return nil, nil, err
		}
		if answer.StatusCode < 200 {
			continue
		}
		body, err := io.ReadAll(answer.Body)
		answer.Body.Close()
		if err != nil {
			err = fmt.Errorf("the answer %s breaks off after %d bytes of its body: %w", answer.Status, len(body), err)
		}
		return answer, body, err
	}
}

// Open sends the beginning of a request. If it expects a 100, Open waits for the 100 or for the answer that comes
// instead. After a 100 the server reads the body.
func (c *Conversation) Open(message []byte) error {
	message = onTheWire(message)
	c.method, _, _ = strings.Cut(string(message), " ")
	if _, err := c.Write(message); err != nil {
		return err
	}
	if !bytes.Contains(message, []byte("\r\nExpect: 100-continue\r\n")) {
		return nil
	}
	answer, err := http.ReadResponse(c.r, &http.Request{Method: c.method})
	if err == nil && answer.StatusCode != http.StatusContinue {
		c.early = answer
	}
	return err
}

// onTheWire converts a file of a script to a request: header lines end with CRLF, and the newline at the end of a body
// is left out.
func onTheWire(file []byte) []byte {
	header, body, _ := bytes.Cut(file, []byte("\n\n"))
	header = bytes.ReplaceAll(bytes.TrimSuffix(header, []byte("\n")), []byte("\n"), []byte("\r\n"))
	return slices.Concat(header, []byte("\r\n\r\n"), bytes.TrimSuffix(body, []byte("\n")))
}
