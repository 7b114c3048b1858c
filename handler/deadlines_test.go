package handler

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"r-seed-1f3a754f.example/ifmatch/fs"
	"r-seed-1f3a754f.example/ifmatch/wire"
)

// pipes are connections within a test, in whose bubble time goes as it likes.
type pipes struct {
	conns chan net.Conn
	over  chan struct{}
}

func (l *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.over:
		return nil, net.ErrClosed
	}
}

func (l *pipes) Close() error   { close(l.over); return nil }
func (l *pipes) Addr() net.Addr { return &net.UnixAddr{} }

// overPipes serves a handler, in a bubble, until end is called.
func overPipes(h http.Handler) (dial func() net.Conn, end func() error) {
	l := &pipes{make(chan net.Conn), make(chan struct{})}
	server := &http.Server{Handler: h, ConnContext: wire.Context, Protocols: new(http.Protocols), DisableGeneralOptionsHandler: true}
	server.Protocols.SetHTTP1(true)
	server.Protocols.SetUnencryptedHTTP2(true)
	go server.Serve(wire.Listen(l, func() wire.Limit { return wire.DefaultLimit }))
	return func() net.Conn {
		client, ours := net.Pipe()
		l.conns <- ours
		return client
	}, server.Close
}

// inBubble runs a test that talks to a server under a fake clock. log is the log of the server.
func inBubble(t *testing.T, config Config, test func(t *testing.T, dial func() net.Conn, log *logLines)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		log := newLogLines()
		config.Store = storeInMemory(t, "f=old", "big="+strings.Repeat("x", 1<<20))
		config.Log = log.logger()
		h, err := New(config)
		if err != nil {
			t.Fatal(err)
		}
		dial, end := overPipes(h)
		test(t, dial, log)
		end()
		synctest.Wait()
	})
}

// A client that stops is waited for, and not for ever.
func TestStalledRequestsEnd(t *testing.T) {
	const put = "PUT /f HTTP/1.1\r\nHost: localhost\r\nIf-Match: *\r\n"
	for _, tt := range []struct {
		about, sent string
		status      int
		after       time.Duration // about
	}{
		{"PUT without its body", put + "Content-Length: 100\r\n\r\n", 408, 2 * time.Minute},
		{"PUT with half a body", put + "Content-Length: 10\r\n\r\nhello", 408, 2 * time.Minute},
		{"PUT without a chunk", put + "Transfer-Encoding: chunked\r\n\r\n", 408, 2 * time.Minute},
		{"PUT with half a chunk", put + "Transfer-Encoding: chunked\r\n\r\na\r\nhello", 408, 2 * time.Minute},
		{"PUT without the last chunk", put + "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", 408, 2 * time.Minute},
		{"PUT without its trailer", put + "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n", 408, 2 * time.Minute},
		{"PUT after a 100", put + "Expect: 100-continue\r\nContent-Length: 10\r\n\r\n", 408, 2 * time.Minute},
		{"PROPFIND with half a body", "PROPFIND / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n<D:propfind", 408, 30 * time.Second},
		{"PROPPATCH with half a body", "PROPPATCH /f HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n<D:prop", 408, 30 * time.Second},
		{"LOCK with half a body", "LOCK /f HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n<D:lockinfo", 408, 30 * time.Second},
		{"MKCOL without its body", "MKCOL /new HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n", 408, 30 * time.Second},
		{"a refused PUT", "PUT /f HTTP/1.1\r\nHost: localhost\r\nIf-Match: \"x\"\r\nContent-Length: 9\r\n\r\n", 412, time.Minute},
		{"GET with half a body", "GET /f HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nhello", 200, time.Minute},
		{"DELETE with half a body", "DELETE /f HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nhello", 204, time.Minute},
		{"OPTIONS with half a body", "OPTIONS /f HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nhello", 200, time.Minute},
	} {
		t.Run(tt.about, func(t *testing.T) {
			inBubble(t, Config{}, func(t *testing.T, dial func() net.Conn, log *logLines) {
				c := dial()
				defer c.Close()
				began := time.Now()
				go io.WriteString(c, tt.sent)
				in := bufio.NewReader(c)
				method, _, _ := strings.Cut(tt.sent, " ")
				answer, err := http.ReadResponse(in, &http.Request{Method: method})
				if err == nil && answer.StatusCode == 100 {
					answer, err = http.ReadResponse(in, &http.Request{Method: method})
				}
				if err != nil {
					t.Fatal(err)
				}
				body, err := io.ReadAll(answer.Body)
				if err != nil || answer.StatusCode != tt.status {
					t.Errorf("%s %s, %v", answer.Status, body, err)
				}
				if answer.StatusCode == 408 && !answer.Close {
					t.Error("the answer does not say that it is the last one")
				}
				io.ReadAll(in)
				if took := time.Since(began); took < tt.after || took > tt.after*5/4+5*time.Second {
					t.Errorf("the connection has ended after %v, want %v", took, tt.after)
				}
				text := log.await()
				if tt.status == 408 && (!strings.Contains(text, "cause=\"the body: the client has ") || !strings.Contains(text, "received=")) {
					t.Errorf("the log says %s", text)
				}
			})
		})
	}
}

// A client that pauses, or is slow, and goes on is served, however long it takes.
func TestSlowRequestsAreServed(t *testing.T) {
	for _, tt := range []struct {
		about string
		size  int           // of the body, in bytes
		piece int           // sent at once
		every time.Duration // a piece
	}{
		{"long pauses", 1 << 20, 256 << 10, 110 * time.Second},
		{"a slow line, for hours", 20 << 20, 1500, 1200 * time.Millisecond},
	} {
		for _, framing := range []string{"a length", "chunks"} {
			t.Run(tt.about+", "+framing, func(t *testing.T) {
				inBubble(t, Config{}, func(t *testing.T, dial func() net.Conn, _ *logLines) {
					c := dial()
					defer c.Close()
					go func() {
						if framing == "a length" {
							fmt.Fprintf(c, "PUT /new HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n", tt.size)
						} else {
							fmt.Fprintf(c, "PUT /new HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n", tt.size)
						}
						for left := tt.size; left > 0; left -= tt.piece {
							time.Sleep(tt.every)
							if _, err := c.Write(bytes.Repeat([]byte("x"), min(left, tt.piece))); err != nil {
								return
							}
						}
						if framing != "a length" {
							io.WriteString(c, "\r\n0\r\n\r\n")
						}
					}()
					answer, err := http.ReadResponse(bufio.NewReader(c), nil)
					if err != nil || answer.StatusCode != 201 {
						t.Errorf("%v, %v", answer, err)
					}
				})
			})
		}
	}
}

// TestSlowFilesArriveInEachWay: a file that comes in parts, or by the form of a link, may take as long as one by PUT.
func TestSlowFilesArriveInEachWay(t *testing.T) {
	const pieces, piece, every = 16, 1 << 10, 5 * time.Second
	const size = pieces * piece
	length := fmt.Sprintf("Upload-Length: %d", size)
	part := strings.Join([]string{"", tus, offsetted, "Upload-Offset: 0", ""}, "\r\n")
	before, behind := "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"new\"\r\n\r\n", "\r\n--b--\r\n"
	inParts := func(head func(upload string) string) func(*testing.T) (http.Handler, string) {
		return func(t *testing.T) (http.Handler, string) {
			h := inMemoryWith(t, fs.Options{}, Config{})
			return h, head(created(t, h, "/new", "", length)) + part
		}
	}
	for _, tt := range []struct {
		about          string
		open           func(t *testing.T) (h http.Handler, head string)
		before, behind string // the content
		status         int
	}{
		{"with its creation", func(t *testing.T) (http.Handler, string) {
			return inMemoryWith(t, fs.Options{}, Config{}), "POST /new HTTP/1.1\r\n" + length + part
		}, "", "", 201},
		{"in parts", inParts(func(upload string) string { return "PATCH " + upload + " HTTP/1.1" }), "", "", 204},
		{"in parts, by POST", inParts(func(upload string) string {
			return "POST " + upload + " HTTP/1.1\r\nX-HTTP-Method-Override: PATCH"
		}), "", "", 204},
		{"by a form", func(t *testing.T) (http.Handler, string) {
			l := openLinked(t, sharedRules, Config{})
			href, _ := l.make("ann", "/docs/d/", "access", "drop")
			return l, "POST " + href + " HTTP/1.1\r\nContent-Type: multipart/form-data; boundary=b\r\n"
		}, before, behind, 201},
	} {
		t.Run(tt.about, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h, head := tt.open(t)
				dial, end := overPipes(h)
				c := dial()
				go func() {
					fmt.Fprintf(c, "%sHost: localhost\r\nContent-Length: %d\r\n\r\n%s", head, len(tt.before)+size+len(tt.behind), tt.before)
					for range pieces {
						time.Sleep(every)
						if _, err := c.Write(bytes.Repeat([]byte("x"), piece)); err != nil {
							return
						}
					}
					io.WriteString(c, tt.behind)
				}()
				answer, err := http.ReadResponse(bufio.NewReader(c), nil)
				if err != nil || answer.StatusCode != tt.status {
					t.Errorf("%v, %v; want %d", answer, err, tt.status)
				}
				c.Close()
				end()
				synctest.Wait()
			})
		})
	}
}

// A client that sends a little now and then holds an upload for minutes, and not for days.
func TestTrickledUploadsEnd(t *testing.T) {
	inBubble(t, Config{}, func(t *testing.T, dial func() net.Conn, log *logLines) {
		c := dial()
		began := time.Now()
		ended := make(chan struct{})
		defer func() { c.Close(); <-ended }()
		go func() {
			defer close(ended)
			io.WriteString(c, "PUT /new HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n")
			for {
				if _, err := io.WriteString(c, "x"); err != nil {
					return
				}
				time.Sleep(time.Second)
			}
		}()
		answer, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil || answer.StatusCode != 408 {
			t.Errorf("%v, %v", answer, err)
		}
		if took := time.Since(began); took > 3*time.Minute {
			t.Errorf("after %v", took)
		}
		io.ReadAll(c)
		if text := log.await(); !strings.Contains(text, "announced=1000000") {
			t.Errorf("the log says %s", text)
		}
	})
}

// An answer to a client that never reads ends. One to a client that reads slowly does not.
func TestUnreadAnswersEnd(t *testing.T) {
	for _, tt := range []struct {
		about string
		every time.Duration // the time after which 1,000 bytes are read (0: never)
	}{
		{"never", 0},
		{"too slowly", 10 * time.Second},
		{"slowly", 900 * time.Millisecond},
	} {
		t.Run(tt.about, func(t *testing.T) {
			inBubble(t, Config{}, func(t *testing.T, dial func() net.Conn, log *logLines) {
				c := dial()
				defer c.Close()
				io.WriteString(c, "GET /big HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
				began := time.Now()
				sum := 0
				for buffer := make([]byte, 1000); tt.every > 0; {
					time.Sleep(tt.every)
					n, err := c.Read(buffer)
					if sum += n; err != nil {
						break
					}
				}
				if tt.about == "slowly" {
					if sum < 1<<20 {
						t.Errorf("only %d bytes have come", sum)
					}
					return
				}
				text := log.await()
				if took := time.Since(began); took > 5*time.Minute {
					t.Errorf("it has ended after %v", took)
				}
				if !strings.Contains(text, "cut off") || !strings.Contains(text, "level=INFO") {
					t.Errorf("the log says %s", text)
				}
			})
		})
	}
}

// A frames is the client's end of a connection of HTTP/2, frame by frame.
type frames struct {
	*http2.Framer
	t *testing.T
}

// overFrames opens a connection of HTTP/2 whose streams may receive a number of bytes (window) at first.
func overFrames(t *testing.T, c net.Conn, window uint32) *frames {
	t.Helper()
	f := &frames{http2.NewFramer(c, c), t}
	f.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	io.WriteString(c, http2.ClientPreface)
	f.check(f.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: window}))
	return f
}

func (f *frames) check(err error) {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(err)
	}
}

// request sends the header of a request, and says whether that is all of it.
func (f *frames) request(stream uint32, method, path string, end bool, header ...string) {
	f.t.Helper()
	var block bytes.Buffer
	e := hpack.NewEncoder(&block)
	fields := append([]string{":method", method, ":scheme", "http", ":authority", "localhost", ":path", path}, header...)
	for i := 0; i < len(fields); i += 2 {
		e.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
	}
	param := http2.HeadersFrameParam{StreamID: stream, BlockFragment: block.Bytes(), EndHeaders: true, EndStream: end}
	f.check(f.WriteHeaders(param))
}

// ended reads until a stream is reset, and returns its status, whether the answer was whole, and the code of the reset. It
// answers pings and settings.
func (f *frames) ended(stream uint32) (status string, whole bool, reset http2.ErrCode, err error) {
	reset = 0xff
	for {
		frame, err := f.ReadFrame()
		if err != nil {
			return status, whole, reset, err
		}
		switch frame := frame.(type) {
		case *http2.SettingsFrame:
			if !frame.IsAck() {
				f.check(f.WriteSettingsAck())
			}
		case *http2.PingFrame:
			if !frame.IsAck() {
				f.check(f.WritePing(true, frame.Data))
			}
		case *http2.MetaHeadersFrame:
			if frame.StreamID == stream {
				status, whole = frame.PseudoValue("status"), frame.StreamEnded()
			}
		case *http2.DataFrame:
			if frame.StreamID == stream {
				whole = frame.StreamEnded()
			}
		case *http2.RSTStreamFrame:
			if frame.StreamID == stream {
				return status, whole, frame.ErrCode, nil
			}
		}
	}
}

// A stream over which a body was not read to its end is reset, after its answer.
func TestUnreadBodiesOverHTTP2(t *testing.T) {
	for _, tt := range []struct {
		about, method, path string
		header              []string
		status              string
		within              time.Duration
	}{
		{"a stale condition", "PUT", "/f", []string{"if-match", `"x"`}, "412", 5 * time.Second},
		{"another site", "PUT", "/f", []string{"sec-fetch-site", "cross-site"}, "403", 5 * time.Second},
		{"a method", "BREW", "/f", nil, "405", 5 * time.Second},
		{"DELETE", "DELETE", "/f", nil, "204", 5 * time.Second},
		{"GET", "GET", "/f", nil, "200", 5 * time.Second},
		{"an upload that stops", "PUT", "/f", nil, "408", 3 * time.Minute},
		{"XML that stops", "PROPFIND", "/f", nil, "408", 40 * time.Second},
	} {
		t.Run(tt.about, func(t *testing.T) {
			inBubble(t, Config{}, func(t *testing.T, dial func() net.Conn, _ *logLines) {
				c := dial()
				defer c.Close()
				f := overFrames(t, c, 1<<20)
				began := time.Now()
				f.request(1, tt.method, tt.path, false, tt.header...)
				f.check(f.WriteData(1, false, []byte("half a body")))
				status, whole, reset, err := f.ended(1)
				if err != nil || status != tt.status || !whole || reset != http2.ErrCodeNo {
					t.Errorf("status %s, whole %v, reset %v, error %v", status, whole, reset, err)
				}
				if took := time.Since(began); took > tt.within {
					t.Errorf("after %v", took)
				}
				f.request(3, "GET", "/f", true) // the connection goes on
				defer time.AfterFunc(time.Hour, func() { c.Close() }).Stop()
				for {
					frame, err := f.ReadFrame()
					if err != nil {
						t.Fatalf("the connection has ended: %v", err)
					}
					if h, ok := frame.(*http2.MetaHeadersFrame); ok && h.StreamID == 3 {
						break
					}
				}
			})
		})
	}
}

// A stream whose client takes nothing of the answer is reset, however small the answer is.
func TestUntakenAnswersOverHTTP2(t *testing.T) {
	for _, path := range []string{"/f", "/big", "/"} {
		t.Run(path, func(t *testing.T) {
			inBubble(t, Config{}, func(t *testing.T, dial func() net.Conn, _ *logLines) {
				c := dial()
				defer c.Close()
				f := overFrames(t, c, 0)
				began := time.Now()
				f.request(1, "GET", path, true)
				status, whole, reset, err := f.ended(1)
				if err != nil || status != "200" || whole || reset == http2.ErrCodeNo {
					t.Errorf("status %s, whole %v, reset %v, error %v", status, whole, reset, err)
				}
				if took := time.Since(began); took < 2*time.Minute || took > 3*time.Minute {
					t.Errorf("after %v", took)
				}
			})
		})
	}
}

// The time that the server itself takes does not count: here a disk that hangs between two reads of a body.
func TestOurOwnSlownessIsForgiven(t *testing.T) {
	for _, version := range []string{"HTTP/1.1", "HTTP/2"} {
		t.Run(version, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := storeInMemory(t)
				h := newTestHandler(t, Config{Store: &hookedStore{store, func(_ context.Context, body io.Reader) error {
					io.ReadFull(body, make([]byte, 5))
					time.Sleep(time.Hour)
					if _, err := io.ReadAll(body); err != nil {
						return err
					}
					return errors.New("the body has come whole")
				}}})
				dial, end := overPipes(h)
				c := dial()
				status := ""
				if version == "HTTP/2" {
					f := overFrames(t, c, 1<<20)
					f.request(1, "PUT", "/f", false)
					f.check(f.WriteData(1, false, []byte("hello")))
					got := make(chan http2.Frame)
					go func() { // all the time: otherwise the server would wait, too
						defer close(got)
						for {
							frame, err := f.ReadFrame()
							if err != nil {
								return
							}
							switch frame := frame.(type) {
							case *http2.MetaHeadersFrame:
								got <- frame
							case *http2.SettingsFrame:
								if !frame.IsAck() {
									got <- frame
								}
							}
						}
					}()
					<-got
					f.check(f.WriteSettingsAck())
					time.Sleep(time.Hour)
					f.check(f.WriteData(1, true, []byte("world")))
					if h, ok := (<-got).(*http2.MetaHeadersFrame); ok {
						status = h.PseudoValue("status")
					}
				} else {
					go func() {
						io.WriteString(c, "PUT /f HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nhello")
						time.Sleep(time.Hour)
						io.WriteString(c, "world")
					}()
					answer, err := http.ReadResponse(bufio.NewReader(c), nil)
					if err != nil {
						t.Fatal(err)
					}
					status = fmt.Sprint(answer.StatusCode)
				}
				if status != "500" { // as the hook has it
					t.Errorf("answered %s", status)
				}
				c.Close()
				end()
				synctest.Wait()
			})
		})
	}
}
