package main

import (
	"bufio"
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/big"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// client is the other end of a script's conversations.
type client struct {
	last  *http.Response
	conns map[string]*conversation
}

type clientKey struct{}

func theClient(ts *testscript.TestScript) *client { return ts.Value(clientKey{}).(*client) }

func (c *client) closeAll() {
	for _, conn := range c.conns {
		conn.Close()
	}
}

// A request is one as a script writes it.
type request struct {
	base    string // scheme and authority of the server
	method  string
	target  string // exactly as it goes out
	header  []string
	body    []byte
	hasBody bool
	output  string // the file that gets the body of the answer
	http2   bool
}

func cmdHTTP(ts *testscript.TestScript, neg bool, args []string) {
	r, ok := parseRequest(ts, args)
	usage(ts, ok, "http METHOD TARGET [-h2] [Header:value]... [<FILE | =TEXT] [>FILE]")
	send := r.send1
	if r.http2 {
		send = r.send2
	}
	answer, body, err := send()
	if neg {
		if err == nil {
			ts.Fatalf("there is an answer: %s", answer.Status)
		}
		return
	}
	ts.Check(err)
	theClient(ts).last = answer
	if r.output != "" {
		ts.Check(os.WriteFile(ts.MkAbs(r.output), body, 0o666))
		body = nil
	}
	printAnswer(ts.Stdout(), answer, body)
}

func parseRequest(ts *testscript.TestScript, args []string) (r request, ok bool) {
	if len(args) < 2 {
		return r, false
	}
	r.method, r.target = args[0], args[1]
	r.base = ts.Getenv("URL")
	if strings.HasPrefix(r.target, "http") {
		r.base, r.target = r.target, ""
	}
	scheme, rest, _ := strings.Cut(r.base, "://")
	authority, path, _ := strings.Cut(rest, "/")
	r.base = scheme + "://" + authority
	if r.target == "" {
		r.target = "/" + path
	}
	for _, arg := range args[2:] {
		switch {
		case arg == "-h2":
			r.http2 = true
		case arg[0] == '=':
			r.body, r.hasBody = []byte(arg[1:]), true
		case arg[0] == '<':
			r.body, r.hasBody = []byte(ts.ReadFile(arg[1:])), true
		case arg[0] == '>':
			r.output = arg[1:]
		case strings.Contains(arg, ":"):
			r.header = append(r.header, arg)
		default:
			return r, false
		}
	}
	return r, true
}

func (r request) has(name string) bool {
	return slices.ContainsFunc(r.header, func(line string) bool {
		found, _, _ := strings.Cut(line, ":")
		return strings.EqualFold(found, name)
	})
}

// send1 sends a request over HTTP/1.1, byte for byte as it is written.
func (r request) send1() (*http.Response, []byte, error) {
	conn, err := dial(r.base)
	if err != nil {
		return nil, nil, err
	}
	defer conn.Close()
	go conn.Write(r.bytes()) // the answer may come before all is read
	return conn.answer(r.method)
}

func (r request) bytes() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\n", r.method, r.target)
	if !r.has("Host") {
		_, authority, _ := strings.Cut(r.base, "://")
		fmt.Fprintf(&b, "Host: %s\r\n", authority)
	}
	for _, line := range r.header {
		b.WriteString(line + "\r\n")
	}
	chunked := r.has("Transfer-Encoding")
	if r.hasBody && !chunked && !r.has("Content-Length") {
		fmt.Fprintf(&b, "Content-Length: %d\r\n", len(r.body))
	}
	b.WriteString("Connection: close\r\n\r\n")
	if chunked {
		w := httputil.NewChunkedWriter(&b)
		w.Write(r.body)
		w.Close()
		b.WriteString("\r\n")
	} else {
		b.Write(r.body)
	}
	return b.Bytes()
}

// send2 sends a request over HTTP/2.
func (r request) send2() (*http.Response, []byte, error) {
	transport := &http.Transport{Protocols: new(http.Protocols), TLSClientConfig: trusting()}
	transport.Protocols.SetHTTP2(true)
	transport.Protocols.SetUnencryptedHTTP2(true)
	defer transport.CloseIdleConnections()
	u, err := url.Parse(r.base)
	if err != nil {
		return nil, nil, err
	}
	u.Opaque = r.target
	req, err := http.NewRequest(r.method, r.base, bytes.NewReader(r.body))
	if err != nil {
		return nil, nil, err
	}
	req.URL = u
	for _, line := range r.header {
		name, value, _ := strings.Cut(line, ":")
		req.Header.Add(name, strings.TrimSpace(value))
	}
	req.Host = req.Header.Get("Host")
	answer, err := transport.RoundTrip(req)
	if err != nil {
		return nil, nil, err
	}
	defer answer.Body.Close()
	if answer.ProtoMajor != 2 {
		return nil, nil, fmt.Errorf("the answer is %s", answer.Proto)
	}
	body, err := io.ReadAll(answer.Body)
	return answer, body, err
}

func printAnswer(w io.Writer, answer *http.Response, body []byte) {
	fmt.Fprintf(w, "%s\n", answer.Status)
	for _, name := range slices.Sorted(maps.Keys(answer.Header)) {
		for _, value := range answer.Header[name] {
			fmt.Fprintf(w, "%s: %s\n", name, value)
		}
	}
	// net/http takes these two out of the header.
	if answer.ContentLength >= 0 && answer.Header.Get("Content-Length") == "" {
		fmt.Fprintf(w, "Content-Length: %d\n", answer.ContentLength)
	}
	fmt.Fprintf(w, "\n%s", body)
}

func cmdCapture(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 2, "capture NAME Header")
	answer := theClient(ts).last
	if answer == nil {
		ts.Fatalf("there was no answer yet")
	}
	value := answer.Header.Get(args[1])
	if value == "" {
		ts.Fatalf("the last answer has no %s", args[1])
	}
	ts.Setenv(args[0], value)
}

// A conversation is a connection on which a script sends what it likes.
type conversation struct {
	net.Conn
	r      *bufio.Reader
	method string         // of the request that was sent last
	early  *http.Response // an answer that came where a 100 was waited for
}

func dial(base string) (*conversation, error) {
	scheme, rest, _ := strings.Cut(base, "://")
	authority, _, _ := strings.Cut(rest, "/")
	conn, err := net.Dial("tcp", authority)
	if err != nil {
		return nil, err
	}
	if scheme == "https" {
		conn = tls.Client(conn, trusting())
	}
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return nil, err
	}
	return &conversation{Conn: conn, r: bufio.NewReader(conn)}, nil
}

// trusting is for a server whose certificate the script has just made.
func trusting() *tls.Config { return &tls.Config{InsecureSkipVerify: true} }

func cmdCertificate(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 2, "certificate CERT KEY")
	ts.Check(makeCertificate(ts.MkAbs(args[0]), ts.MkAbs(args[1])))
}

// makeCertificate makes a self-signed certificate for 127.0.0.1.
func makeCertificate(certFile, keyFile string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()),
		NotAfter:     time.Now().Add(time.Hour),
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	write := func(name, kind string, data []byte) error {
		return os.WriteFile(name, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: data}), 0o600)
	}
	return errors.Join(write(certFile, "CERTIFICATE", cert), write(keyFile, "PRIVATE KEY", private))
}

// answer reads the next answer that is not a 1xx.
func (c *conversation) answer(method string) (*http.Response, []byte, error) {
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

// open sends the beginning of a request; where that expects a 100, it waits for it, or for the answer that comes
// instead. After a 100 the body is being read.
func (c *conversation) open(message []byte) error {
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

// onTheWire makes of a file of a script what is sent: its header lines end with CRLF, and the newline at its end is left out
// where there is a body before it.
func onTheWire(file []byte) []byte {
	header, body, _ := bytes.Cut(file, []byte("\n\n"))
	header = bytes.ReplaceAll(bytes.TrimSuffix(header, []byte("\n")), []byte("\n"), []byte("\r\n"))
	return slices.Concat(header, []byte("\r\n\r\n"), bytes.TrimSuffix(body, []byte("\n")))
}

func cmdConn(ts *testscript.TestScript, neg bool, args []string) {
	const text = "conn NAME open FILE | send =TEXT | send <FILE | end | answer | close"
	usage(ts, len(args) >= 2 && (!neg || args[1] == "answer"), text)
	name, verb, rest := args[0], args[1], args[2:]
	c := theClient(ts)
	if verb == "open" {
		usage(ts, len(rest) == 1, text)
		if c.conns[name] == nil {
			conn, err := dial(ts.Getenv("URL"))
			ts.Check(err)
			c.conns[name] = conn
		}
		ts.Check(c.conns[name].open([]byte(ts.ReadFile(rest[0]))))
		return
	}
	conn := c.conns[name]
	if conn == nil {
		ts.Fatalf("there is no connection %q", name)
	}
	switch {
	case verb == "send" && len(rest) == 1 && rest[0][0] == '=':
		_, err := io.WriteString(conn, rest[0][1:])
		ts.Check(err)
	case verb == "send" && len(rest) == 1 && rest[0][0] == '<':
		_, err := io.WriteString(conn, ts.ReadFile(rest[0][1:]))
		ts.Check(err)
	case verb == "end":
		half, ok := conn.Conn.(interface{ CloseWrite() error })
		usage(ts, ok, text)
		ts.Check(half.CloseWrite())
	case verb == "answer":
		conn.print(ts, neg)
	case verb == "close":
		delete(c.conns, name)
		ts.Check(conn.Close())
	default:
		usage(ts, false, text)
	}
}

func (c *conversation) print(ts *testscript.TestScript, neg bool) {
	answer, body, err := c.answer(c.method)
	if neg {
		if err == nil {
			ts.Fatalf("there is an answer: %s", answer.Status)
		}
		if errors.Is(err, os.ErrDeadlineExceeded) {
			ts.Fatalf("the connection hangs")
		}
		return
	}
	ts.Check(err)
	theClient(ts).last = answer
	printAnswer(ts.Stdout(), answer, body)
}

func cmdRaw(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, len(args) == 1, "raw FILE")
	conn, err := dial(ts.Getenv("URL"))
	ts.Check(err)
	defer conn.Close()
	ts.Check(conn.open([]byte(ts.ReadFile(args[0]))))
	conn.print(ts, neg)
}
