package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"strings"
	"testing"
	"time"

	"r-seed-1f3a754f.example/ifmatch/internal/servertest"
)

// startWithFew starts a server that may have only a few files open (descriptors).
func startWithFew(t *testing.T, descriptors int, dir string, flags ...string) *servertest.Server {
	t.Helper()
	script := fmt.Sprintf("ulimit -n %d; exec ifmatch serve --addr 127.0.0.1:0 %s \"$1\"", descriptors, strings.Join(flags, " "))
	return servertest.Run(t, exec.Command("sh", "-c", script, "sh", dir))
}

// connect connects from one of the addresses of this machine.
func connect(t *testing.T, from string, s *servertest.Server) net.Conn {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}, Timeout: servertest.Patience}
	c, err := d.Dial("tcp", s.Addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(servertest.Patience))
	return c
}

// askOnce sends a request on a connection of its own, and returns the answer and its body.
func askOnce(t *testing.T, from string, s *servertest.Server, method, target, body string) (*http.Response, string) {
	t.Helper()
	c := connect(t, from, s)
	defer c.Close()
	fmt.Fprintf(c, "%s %s HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", method, target, len(body), body)
	answer, err := http.ReadResponse(bufio.NewReader(c), &http.Request{Method: method})
	if err != nil {
		t.Fatalf("%s %s from %s is not answered: %v", method, target, from, err)
	}
	content, err := io.ReadAll(answer.Body)
	answer.Body.Close()
	if err != nil {
		t.Error(err)
	}
	return answer, string(content)
}

// askUntil asks again as long as the answer is a 503 that says that there are too many.
func askUntil(t *testing.T, from string, s *servertest.Server, method, target, body string) (status int) {
	t.Helper()
	for deadline := time.Now().Add(servertest.Patience); ; {
		answer, content := askOnce(t, from, s, method, target, body)
		if answer.StatusCode != http.StatusServiceUnavailable || time.Now().After(deadline) {
			return answer.StatusCode
		}
		if answer.Header.Get("Retry-After") == "" || !strings.Contains(content, "too many") {
			t.Fatalf("refused with %v and %s", answer.Header, content)
		}
	}
}

const fewFiles = 256

// Clients that hold all the connections they can do not keep out clients from other addresses, and keep out those from
// their own only for a short time. A request that waited for a slot which is held would be refused (handler.admitPatience)
// before the server gives that up (limit.slowTime), and one that waited for a descriptor would be told in the log.
func TestHeldConnectionsLeaveRoomForOthers(t *testing.T) {
	for _, tt := range []struct {
		about, send string
		many        int
	}{
		{"connections on which nothing is sent", "", 300},
		{"requests whose header goes on", "GET / HTTP/1.1\r\nHost: localhost\r\nX-", 300},
		{"connections kept after a request", "GET /f HTTP/1.1\r\nHost: localhost\r\n\r\n", 300},
		{"uploads that stall", "PUT /new HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\nx", 300},
		{"downloads that nobody reads", "GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n", 300},
		{"bodies of XML that stall", "PROPFIND / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n<", 300},
		{"uploads over HTTP/2 that stall", http2Streams("PUT", 200), 40},
		{"downloads over HTTP/2 that nobody reads", http2Streams("GET", 200), 40},
	} {
		t.Run(tt.about, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			s := startWithFew(t, fewFiles, dir, "--durability", "none")
			for name, size := range map[string]int{"/f": 1, "/large": 16 << 20} {
				if answer, _ := askOnce(t, "127.0.0.1", s, "PUT", name, strings.Repeat("x", size)); answer.StatusCode != http.StatusCreated {
					t.Fatalf("PUT: %s", answer.Status)
				}
			}
			for range tt.many {
				io.WriteString(connect(t, "127.0.0.1", s), tt.send)
			}
			for _, from := range []string{"127.0.0.2", "127.0.0.3"} {
				for _, request := range [][3]string{{"GET", "/f", ""}, {"PUT", "/by" + from, "2"}, {"PROPFIND", "/f", ""}, {"GET", "/", ""}} {
					answer, content := askOnce(t, from, s, request[0], request[1], request[2])
					if answer.StatusCode >= 400 {
						t.Errorf("%s from %s: %s: %s", request[0], from, answer.Status, content)
					}
				}
			}
			if strings.Contains(s.Log.String(), "Accept error") {
				t.Errorf("connections had to wait: %s", s.Log)
			}
			if got := askUntil(t, "127.0.0.1", s, "GET", "/f", ""); got != http.StatusOK {
				t.Errorf("GET from the same address: %d", got)
			}
			if got := askUntil(t, "127.0.0.1", s, "PUT", "/mine", "3"); got != http.StatusCreated {
				t.Errorf("PUT from the same address: %d", got)
			}
		})
	}
}

// Clients that are many, and hold few connections each on which nothing is going on, do not keep out the next: that one
// gets several, one after the other, and keeps them.
func TestRestingConnectionsOfManyLeaveRoomForOthers(t *testing.T) {
	for _, tt := range []struct {
		about, send string
		from        int // addresses
	}{
		{"connections on which a request begins", "GET /f HT", 300},
		{"connections kept after a request", "GET /f HTTP/1.1\r\nHost: localhost\r\n\r\n", 60},
		{"refused bodies that stall", "PUT /f HTTP/1.1\r\nHost: localhost\r\nIf-Match: \"x\"\r\nContent-Length: 1000000\r\n\r\nx", 200},
		{"refused bodies that stall, over HTTP/2", http2Streams("REFUSED", 20), 60},
	} {
		t.Run(tt.about, func(t *testing.T) {
			t.Parallel()
			// It gives up none of them by itself before the test does, but those on which a request begins.
			s := startWithFew(t, fewFiles, t.TempDir(), "--durability", "none", "--idle-timeout", "1h", "--drain-time", "1h",
				"--max-pause", "1h")
			if answer, _ := askOnce(t, "127.0.0.1", s, "PUT", "/f", "1"); answer.StatusCode != http.StatusCreated {
				t.Fatalf("PUT: %s", answer.Status)
			}
			for i := range 300 {
				io.WriteString(connect(t, fmt.Sprintf("127.0.1.%d", 1+i%tt.from%250), s), tt.send)
			}
			start, most := time.Now(), servertest.Patience
			if strings.HasSuffix(tt.send, "HT") { // a header has a time of its own
				most = headerTimeout
			}
			for range 5 {
				for c := connect(t, "127.0.0.2", s); ; c = connect(t, "127.0.0.2", s) {
					io.WriteString(c, "GET /f HTTP/1.1\r\nHost: localhost\r\n\r\n")
					answer, err := http.ReadResponse(bufio.NewReader(c), nil)
					if err == nil && answer.StatusCode == http.StatusOK {
						break
					}
					if err != nil || answer.StatusCode != http.StatusServiceUnavailable || time.Since(start) > most {
						t.Fatalf("got %+v, error %v after %v", answer, err, time.Since(start))
					}
					c.Close()
				}
			}
		})
	}
}

// http2Streams returns the bytes with which a client opens a number of streams on a connection. After them it neither
// sends nor reads. It takes no more than 4096 bytes for each header.
func http2Streams(method string, streams int) string {
	var b strings.Builder
	b.WriteString("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
	frame := func(kind, flags byte, stream int, payload string) {
		n := len(payload)
		b.Write([]byte{byte(n >> 16), byte(n >> 8), byte(n), kind, flags, byte(stream >> 24), byte(stream >> 16), byte(stream >> 8), byte(stream)})
		b.WriteString(payload)
	}
	frame(4, 0, 0, "\x00\x04\x00\x00\x00\x00") // SETTINGS: nothing may be sent on a stream
	literal := func(name, value string) string {
		return "\x00" + string(rune(len(name))) + name + string(rune(len(value))) + value
	}
	for i := range streams {
		header := literal(":method", method) + literal(":scheme", "http") + literal(":authority", "localhost")
		flags := byte(4) // END_HEADERS
		if method == "GET" {
			header += literal(":path", "/large")
			flags |= 1 // END_STREAM
		} else {
			header += literal(":path", fmt.Sprintf("/h2-%d", i))
		}
		if method == "REFUSED" {
			header = strings.Replace(header, literal(":method", method), literal(":method", "PUT"), 1) + literal("if-match", `"x"`)
		}
		frame(1, flags, 2*i+1, header)
	}
	return b.String()
}
