package put

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/urfave/cli/v2"

	"r-seed-1f3a754f.example/ifmatch/etagfs"
	"r-seed-1f3a754f.example/ifmatch/fs"
	"r-seed-1f3a754f.example/ifmatch/handler"
)

func TestMain(m *testing.M) {
	cache, err := os.MkdirTemp("", "put")
	if err != nil {
		panic(err)
	}
	for _, name := range []string{"XDG_CACHE_HOME", "HOME", "LocalAppData"} {
		os.Setenv(name, cache)
	}
	status := m.Run()
	os.RemoveAll(cache)
	os.Exit(status)
}

// A cutListener breaks each connection when a number of bytes (after) have come over it.
type cutListener struct {
	net.Listener
	after int64 // 0: none is broken
	cut   *atomic.Int64
}

func (l cutListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil || l.after == 0 {
		return c, err
	}
	return &cutConn{Conn: c, left: l.after, cut: l.cut}, nil
}

type cutConn struct {
	net.Conn
	left int64
	cut  *atomic.Int64
}

func (c *cutConn) Read(p []byte) (int, error) {
	if c.left <= 0 {
		c.cut.Add(1)
		c.Conn.Close()
		return 0, net.ErrClosed
	}
	n, err := c.Conn.Read(p[:min(int64(len(p)), c.left)])
	c.left -= int64(n)
	return n, err
}

// serve serves a new directory over lines that break after a number of bytes, and returns its URL.
func serve(t *testing.T, after int64) (url, dir string, cut *atomic.Int64) {
	t.Helper()
	dir = t.TempDir()
	url, cut = serveDir(t, dir, after, func(*http.Request) {})
	return url, dir, cut
}

// serveDir serves a directory, and calls a function before each request.
func serveDir(t *testing.T, dir string, after int64, before func(*http.Request)) (url string, cut *atomic.Int64) {
	t.Helper()
	below, err := fs.Open(dir, fs.Options{Durability: fs.None})
	if err != nil {
		t.Fatal(err)
	}
	store, err := etagfs.New(below, etagfs.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	h, err := handler.New(handler.Config{Store: store, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		before(r)
		h.ServeHTTP(w, r)
	}))
	cut = new(atomic.Int64)
	server.Listener = cutListener{server.Listener, after, cut}
	server.Start()
	t.Cleanup(server.Close)
	return server.URL, cut
}

// run runs the command, which waits for no time between tries, and returns what it prints.
func run(ctx context.Context, args ...string) (out, trouble string, err error) {
	var stdout, stderr bytes.Buffer
	app := &cli.App{Writer: &stdout, ErrWriter: &stderr, ExitErrHandler: func(*cli.Context, error) {}}
	app.Commands = []*cli.Command{{
		Name: "put", Flags: Command(nil).Flags, Action: func(c *cli.Context) error {
			s, err := senderOf(c)
			if err != nil {
				return err
			}
			defer s.file.Close()
			s.pause = time.Millisecond
			tag, err := s.send(c.Context)
			stdout.WriteString(tag)
			if err != nil {
				s.leave(c.Context, err)
				return err
			}
			s.forget()
			return nil
		},
	}}
	err = app.RunContext(ctx, append([]string{"ifmatch", "put"}, args...))
	return stdout.String(), stderr.String(), err
}

func file(t *testing.T, content string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(name, []byte(content), 0o666); err != nil {
		t.Fatal(err)
	}
	return name
}

func tagOf(content string) string {
	sum := sha256.Sum256([]byte(content))
	return `"` + base64.RawURLEncoding.EncodeToString(sum[:]) + `"`
}

// TestPut: each file ends whole under its condition, also over lines that break, or is told of the version that is there.
func TestPut(t *testing.T) {
	large := strings.Repeat("0123456789abcdef", 64<<10) // 1 MiB
	for _, tt := range []struct {
		name, content, there string
		flags                []string
		after                int64
		refused              bool
	}{
		{name: "a new file", content: "new"},
		{name: "an empty file"},
		{name: "over a file", content: "new", there: "old"},
		{name: "created", content: "new", flags: []string{"--create"}},
		{name: "created where a file is", content: "new", there: "old", flags: []string{"--create"}, refused: true},
		{name: "over the version that it names", content: "new", there: "old", flags: []string{"--if-match", tagOf("old")}},
		{name: "by an ETag without quotation marks", content: "new", there: "old",
			flags: []string{"--if-match", strings.Trim(tagOf("old"), `"`)}},
		{name: "over another version", content: "new", there: "old", flags: []string{"--if-match", tagOf("older")}, refused: true},
		{name: "over any version", content: "new", there: "old", flags: []string{"--if-match", "*"}},
		{name: "over any version, where there is none", content: "new", flags: []string{"--if-match", "*"}, refused: true},
		{name: "over lines that break", content: large, after: 150 << 10, flags: []string{"--create"}},
		{name: "over a version, and lines that break", content: large, there: "old", after: 90 << 10,
			flags: []string{"--if-match", tagOf("old")}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			url, dir, cut := serve(t, tt.after)
			target := filepath.Join(dir, "a b")
			if tt.there != "" {
				if err := os.WriteFile(target, []byte(tt.there), 0o666); err != nil {
					t.Fatal(err)
				}
			}
			out, trouble, err := run(t.Context(), append(tt.flags, file(t, tt.content), url+"/a%20b")...)
			got, failed := os.ReadFile(target)
			refused := new(Refused)
			if tt.refused {
				have := ""
				if tt.there != "" {
					have = tagOf(tt.there)
				}
				if !errors.As(err, &refused) || refused.ETag != have || string(got) != tt.there || out != "" {
					t.Errorf("got %v with %+v; the file has %q", err, refused, got)
				}
				return
			}
			if err != nil || failed != nil || string(got) != tt.content || out != tagOf(tt.content) {
				t.Errorf("%v; %q of %d bytes (%v)\n%s", err, out, len(got), failed, trouble)
			}
			if (tt.after > 0) != (cut.Load() > 3) {
				t.Errorf("%d lines were broken", cut.Load())
			}
		})
	}
}

// TestPutEndsItsUpload: if the condition turns false on the way, nothing of the upload is left on the server.
func TestPutEndsItsUpload(t *testing.T) {
	dir := t.TempDir()
	target := filepath.Join(dir, "f")
	write := func(content string) {
		if err := os.WriteFile(target, []byte(content), 0o666); err != nil {
			t.Error(err)
		}
	}
	write("old")
	parts := 0
	url, _ := serveDir(t, dir, 40<<10, func(r *http.Request) {
		if r.Method != "PATCH" {
			return
		}
		if parts++; parts == 3 {
			write("theirs")
		}
	})
	_, _, err := run(t.Context(), "--if-match", tagOf("old"), file(t, strings.Repeat("x", 200<<10)), url+"/f")
	if refused := new(Refused); !errors.As(err, &refused) || refused.ETag != tagOf("theirs") {
		t.Errorf("got %v, want a refusal with %s", err, tagOf("theirs"))
	}
	if got, err := os.ReadFile(target); string(got) != "theirs" {
		t.Errorf("the file has %q (%v)", got, err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, ".ifmatch/uploads/*")); left != nil {
		t.Errorf("it leaves %q", left)
	}
}

// TestPutGivesUp where trying again is of no use, or does not help for long.
func TestPutGivesUp(t *testing.T) {
	url, _, _ := serve(t, 0)
	name := file(t, "new")
	asked := 0
	var ended []string
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		at := map[string]string{"/still/x": "0", "/untold/x": "3"}[r.URL.Path]
		switch asked++; {
		case r.Method == "DELETE":
			ended = append(ended, r.URL.Path)
			return
		case r.Method != "POST" && at != "" && asked < 1000: // else it would be asked for ever
			w.Header().Set("Upload-Offset", at)
			w.WriteHeader(http.StatusNoContent)
			return
		case r.Method != "POST":
			http.Error(w, "down", http.StatusServiceUnavailable)
			return
		}
		switch r.URL.Path {
		case "/elsewhere":
			w.Header().Set("Location", "http://elsewhere.invalid/x")
			w.WriteHeader(http.StatusCreated)
		case "/down", "/still", "/untold":
			w.Header().Set("Location", r.URL.Path+"/x")
			w.WriteHeader(http.StatusCreated)
		default:
			http.Error(w, "no", http.StatusMethodNotAllowed)
		}
	}))
	defer other.Close()
	for _, tt := range []struct {
		name string
		args []string
		want string
	}{
		{"no collection", []string{name, url + "/none/f"}, "the server answers 409 Conflict: the parent collection does not exist"},
		{"another server", []string{name, other.URL + "/f"}, "does it take uploads in parts?"},
		{"an upload elsewhere", []string{name, other.URL + "/elsewhere"}, "no upload on the same host"},
		{"a server that is down", []string{"--patience", "20ms", name, other.URL + "/down"}, "no byte has come through"},
		{"a server that takes no bytes", []string{"--patience", "20ms", name, other.URL + "/still"}, "the upload is no further"},
		{"a server that tells no ETag", []string{name, other.URL + "/untold"}, "tells no ETag"},
		{"no file", []string{name + "x", url + "/f"}, "no such file"},
		{"a directory", []string{filepath.Dir(name), url + "/f"}, "is not a file"},
		{"one argument", []string{name}, "write ifmatch put FILE URL"},
		{"no URL", []string{name, "f"}, "is no URL"},
		{"the URL of a collection", []string{name, url + "/d/"}, "not the URL of a file"},
		{"a query", []string{name, url + "/f?x"}, "not the URL of a file"},
		{"two conditions", []string{"--create", "--if-match", "x", name, url + "/f"}, "exclude each other"},
	} {
		if _, _, err := run(t.Context(), tt.args...); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
	if slices.Contains(ended, "/untold/x") || !slices.Contains(ended, "/still/x") {
		t.Errorf("it has ended the uploads %q", ended)
	}
}
