//go:build unix

package handler

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"r-seed-1f3a754f.example/ifmatch/etagfs"
	"r-seed-1f3a754f.example/ifmatch/fs"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

// TestFileIsRewrittenWhileAClientReadsIt: a client that stops in the middle of a download, and goes on when a local
// program has done something to the file, gets all of the version that the ETag is of, or sees that it did not. The
// file is larger than all buffers on the way, so that the rest is still on the disk when the program writes.
func TestFileIsRewrittenWhileAClientReadsIt(t *testing.T) {
	const size, behind = 8 << 20, 7 << 20
	content := bytes.Repeat([]byte("the version that the tag is of.\n"), size/32)
	tag := string(tree.TagOf(sha256.Sum256(content)))
	var log lines
	dir := t.TempDir()
	file := filepath.Join(dir, "f")
	overwrite := func(at int64, with string) error {
		info, err := os.Stat(file)
		if err != nil {
			return err
		}
		f, err := os.OpenFile(file, os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		_, err = f.WriteAt([]byte(with), at)
		return errors.Join(err, f.Close(), os.Chtimes(file, info.ModTime(), info.ModTime()))
	}
	programs := []struct {
		name  string
		do    func() error
		whole bool // it changes nothing
	}{
		{"leaves it alone", func() error { return nil }, true},
		{"rewrites some of it, and restores the time", func() error { return overwrite(behind, "ANOTHER") }, false},
		{"appends", func() error { return overwrite(size, "more") }, true},
		{"cuts it off", func() error { return os.Truncate(file, behind) }, false},
		{"replaces it", func() error {
			return errors.Join(os.WriteFile(file+"~", []byte("another"), 0o666), os.Rename(file+"~", file))
		}, true},
	}
	requests := []struct {
		name, ranges string
		want         []byte // nil: several parts
	}{
		{"all", "", content},
		{"a part", "bytes=1000-7999999", content[1000:8000000]},
		{"two parts", "bytes=10-19,1000-23999999", nil},
	}
	for _, way := range []struct {
		name       string
		http2      bool
		noSendfile bool
	}{{"HTTP/1.1", false, false}, {"HTTP/1.1, no sendfile", false, true}, {"HTTP/2", true, false}} {
		store := storeOn(t, dir, fs.Options{Durability: fs.None}, etagfs.Options{NoSendfile: way.noSendfile, InFlight: 1 << 20})
		h, err := New(Config{Store: store, Log: slog.New(slog.NewTextHandler(&log, nil))})
		if err != nil {
			t.Fatal(err)
		}
		server := httptest.NewUnstartedServer(h)
		server.EnableHTTP2 = way.http2
		server.Listener = buffered{server.Listener, narrow}
		server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo)
		if way.http2 {
			server.StartTLS()
		} else {
			server.Start()
		}
		defer server.Close()
		client := server.Client()
		transport := client.Transport.(*http.Transport)
		transport.DisableKeepAlives = true
		transport.DialContext = dialNarrow
		for _, program := range programs {
			for _, asked := range requests {
				t.Run(way.name+"/"+program.name+"/"+asked.name, func(t *testing.T) {
					if err := os.WriteFile(file, content, 0o666); err != nil {
						t.Fatal(err)
					}
					log.reset()
					ctx, cancel := context.WithTimeout(t.Context(), patience)
					defer cancel()
					request, err := http.NewRequestWithContext(ctx, "GET", server.URL+"/f", nil)
					if err != nil {
						t.Fatal(err)
					}
					if asked.ranges != "" {
						request.Header.Set("Range", asked.ranges)
					}
					answer, err := client.Do(request)
					if err != nil {
						t.Fatal(err)
					}
					defer answer.Body.Close()
					if answer.Header.Get("Etag") != tag || (answer.ProtoMajor == 2) != way.http2 {
						t.Fatalf("%s %s, %v", answer.Proto, answer.Status, answer.Header)
					}
					begun := make([]byte, 1<<10)
					if _, err := io.ReadFull(answer.Body, begun); err != nil {
						t.Fatal(err)
					}
					if err := program.do(); err != nil {
						t.Fatal(err)
					}
					rest, err := io.ReadAll(answer.Body)
					got := append(begun, rest...)
					switch {
					case err == nil && int64(len(got)) != answer.ContentLength:
						t.Errorf("%d bytes of %d came, and the end", len(got), answer.ContentLength)
					case err == nil && asked.want != nil && !bytes.Equal(got, asked.want):
						t.Error("it came to an end, and is not what the ETag is of")
					case program.whole != (err == nil):
						t.Errorf("%d bytes of %d came, error %v", len(got), answer.ContentLength, err)
					}
					if !program.whole {
						log.await(t, "cause=\"cut off: a program on the server has changed it while it was read")
					}
				})
			}
		}
	}
}

// TestSentAndRewrittenBeforeItIsRead: the client gets the bytes that the server has sent, even if a local program
// changes the file before the client reads them.
func TestSentAndRewrittenBeforeItIsRead(t *testing.T) {
	const size = 200 << 10 // the size of all buffers on the way
	content := bytes.Repeat([]byte("the version that the tag is of.\n"), size/32)
	dir := t.TempDir()
	file := filepath.Join(dir, "f")
	if err := os.WriteFile(file, content, 0o666); err != nil {
		t.Fatal(err)
	}
	var log lines
	store := storeOn(t, dir, fs.Options{Durability: fs.None}, etagfs.Options{})
	h, err := New(Config{Store: store, Log: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(h)
	server.Listener = buffered{server.Listener, 4 * size}
	server.Start()
	defer server.Close()
	conn := dialRaw(t, server)
	conn.send("GET /f HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
	log.await(t, "bytes=204800") // nothing was read by then
	f, err := os.OpenFile(file, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.Write(bytes.ToUpper(content))
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	answer, err := http.ReadResponse(conn.r, nil)
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(answer.Body)
	if err != nil || !bytes.Equal(got, content) || answer.Header.Get("ETag") != string(tree.TagOf(sha256.Sum256(got))) {
		t.Errorf("%d bytes came, and are not what the ETag is of; error %v", len(got), err)
	}
}

// narrow is about how much is on the way in each buffer of a connection.
const narrow = 64 << 10

func dialNarrow(ctx context.Context, network, addr string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, network, addr)
	if err == nil {
		err = conn.(*net.TCPConn).SetReadBuffer(narrow)
	}
	return conn, err
}

// buffered listens for connections that buffer a number of bytes between the two sides.
type buffered struct {
	net.Listener
	bytes int
}

func (l buffered) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err == nil {
		err = conn.(*net.TCPConn).SetWriteBuffer(l.bytes)
	}
	return conn, err
}

// lines is a log that can be waited for.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text.Reset()
}

func (l *lines) await(t *testing.T, want string) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		l.mu.Lock()
		text := l.text.String()
		l.mu.Unlock()
		if strings.Contains(text, want) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the log does not say %q: %s", want, text)
		}
		<-time.After(time.Millisecond)
	}
}
