package servertest

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
)

// A Request is sent byte for byte as it is written.
type Request struct {
	Base    string // scheme and authority of the server
	Method  string
	Target  string   // exactly as it is sent
	Header  []string // lines
	Body    []byte
	HasBody bool
}

func (r Request) has(name string) bool {
	return slices.ContainsFunc(r.Header, func(line string) bool {
		found, _, _ := strings.Cut(line, ":")
		return strings.EqualFold(found, name)
	})
}

// Send sends a request over HTTP/1.1 on a connection of its own, and reads the answer.
func (r Request) Send() (*http.Response, []byte, error) {
	conn, err := Dial(r.Base)
	if err != nil {
		return nil, nil, err
	}
	defer conn.Close()
	go conn.Write(r.bytes()) // the answer may come before the server has read all of it
	return conn.answer(r.Method)
}

func (r Request) bytes() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\n", r.Method, r.Target)
	if !r.has("Host") {
		_, authority, _ := strings.Cut(r.Base, "://")
		fmt.Fprintf(&b, "Host: %s\r\n", authority)
	}
	for _, line := range r.Header {
		b.WriteString(line + "\r\n")
	}
	chunked := r.has("Transfer-Encoding")
	if r.HasBody && !chunked && !r.has("Content-Length") {
		fmt.Fprintf(&b, "Content-Length: %d\r\n", len(r.Body))
	}
	b.WriteString("Connection: close\r\n\r\n")
	if chunked {
		w := httputil.NewChunkedWriter(&b)
		w.Write(r.Body)
		w.Close()
		b.WriteString("\r\n")
	} else {
		b.Write(r.Body)
	}
	return b.Bytes()
}

// SendHTTP2 sends a request over HTTP/2, with TLS or without.
func (r Request) SendHTTP2() (*http.Response, []byte, error) {
	transport := &http.Transport{Protocols: new(http.Protocols), TLSClientConfig: trustAll()}
	transport.Protocols.SetHTTP2(true)
	transport.Protocols.SetUnencryptedHTTP2(true)
	defer transport.CloseIdleConnections()
	u, err := url.Parse(r.Base)
	if err != nil {
		return nil, nil, err
	}
	u.Opaque = r.Target
	req, err := http.NewRequest(r.Method, r.Base, bytes.NewReader(r.Body))
	if err != nil {
		return nil, nil, err
	}
	req.URL = u
	for _, line := range r.Header {
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
