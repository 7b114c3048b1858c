//go:build unix

package main

import (
	"bytes"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"

	"r-seed-1f3a754f.example/ifmatch/etagfs"
	"r-seed-1f3a754f.example/ifmatch/fs"
	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
)

// A sickDisk fails one system call of a request.
type sickDisk struct {
	mu     sync.Mutex
	at     int // counts down to the call that fails (0: none does)
	with   error
	failed string
}

func (d *sickDisk) before(c vfs.Call) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	// The goroutine that empties the trash runs beside the requests, and takes the lock of the tree for an instant.
	background := c.Op == "removeAll" || strings.HasPrefix(c.Name, ".ifmatch/trash") || strings.HasPrefix(c.Name, ".ifmatch/history") ||
		c.Name == ".ifmatch/lock"
	if d.at == 0 || background {
		return nil
	}
	if d.at--; d.at > 0 {
		return nil
	}
	d.failed = c.String()
	return d.with
}

// arm has the n-th call from now on fail (0: none), and returns the one that has failed since it was called last.
func (d *sickDisk) arm(n int, err error) (failed string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	failed = d.failed
	d.at, d.with, d.failed = n, err, ""
	return failed
}

const oldContent, nextContent = "the old content", "the next content"

// diskErrors are the errors of a disk, with the status and the words of the answer.
var diskErrors = []struct {
	err    syscall.Errno
	status int
	detail string
}{
	{syscall.ENOSPC, 507, "make room"},
	{syscall.EDQUOT, 507, "a quota"},
	{syscall.EIO, 500, "the disk fails"},
	{syscall.EROFS, 403, "can mount it writable"},
	{syscall.EMFILE, 503, "try again"},
	{syscall.ENOMEM, 503, "try again"},
	{syscall.ENAMETOOLONG, 414, "no name as long as that"},
	{syscall.EFBIG, 413, "no file as large as that"},
	{syscall.EILSEQ, 400, "use another one"},
	{syscall.EACCES, 403, "has no right to do that"},
}

// A diskRequest is a request on a sick disk, with the files that it changes if it succeeds.
type diskRequest struct {
	method, target, destination, body string
	result                            map[string]string
}

// TestDiskErrors lets each system call of each method fail with each error of a disk. The answer explains the error,
// the files are unchanged, the log has the cause, and the next request succeeds.
func TestDiskErrors(t *testing.T) {
	for _, r := range []diskRequest{
		{"GET", "/f", "", "", nil},
		{"PROPFIND", "/", "", "", nil},
		{"PUT", "/f", "", nextContent, map[string]string{"/f": nextContent}},
		{"PUT", "/new", "", nextContent, map[string]string{"/new": nextContent}},
		{"DELETE", "/f", "", "", map[string]string{"/f": ""}},
		{"MOVE", "/f", "/new", "", map[string]string{"/f": "", "/new": oldContent}},
		{"COPY", "/f", "/new", "", map[string]string{"/new": oldContent}},
		{"COPY", "/f", "/g", "", map[string]string{"/g": oldContent}},
		{"MKCOL", "/new", "", "", map[string]string{"/new": "a collection"}},
	} {
		t.Run(r.method+" "+r.target+r.destination, func(t *testing.T) {
			t.Parallel()
			s := newSickServer(t)
			for _, e := range diskErrors {
				for n := 1; ; n++ {
					if e.err != syscall.EIO && e.err != syscall.ENOSPC && n%7 != int(e.err)%7 {
						// These two at every call, the rest at some.
						if n > 60 {
							break
						}
						continue
					}
					s.reset()
					s.disk.arm(n, e.err)
					status, text := s.do(r.method, r.target, r.destination, r.body)
					failed := s.disk.arm(0, nil)
					if failed == "" {
						break
					}
					if wrong := s.judge(r, status, text, e.status, e.detail, e.err); wrong != "" {
						t.Errorf("call %d, %s, fails with %v: %d %s: %s", n, failed, e.err, status, text, wrong)
					}
					s.log.Reset()
				}
			}
		})
	}
}

// A sickServer is a handler over a sick disk, and its log.
type sickServer struct {
	t    *testing.T
	disk sickDisk
	dav  http.Handler
	log  bytes.Buffer
}

func newSickServer(t *testing.T) *sickServer {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "ifmatch-test-")
	if err != nil {
		dir = t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	s := &sickServer{t: t}
	store, _ := openForTest(t, dir, fs.Options{Before: s.disk.before}, etagfs.Options{})
	if s.dav, err = newHandler(Config{}, store, slog.New(slog.NewTextHandler(&s.log, nil))); err != nil {
		t.Fatal(err)
	}
	return s
}

// do sends a request. The status of an answer that is cut off is 0.
func (s *sickServer) do(method, target, destination, body string) (status int, text string) {
	const here = "http://127.0.0.1"
	request := httptest.NewRequestWithContext(s.t.Context(), method, here+target, strings.NewReader(body))
	if destination != "" {
		request.Header.Set("Destination", here+destination)
	}
	answer := httptest.NewRecorder()
	defer func() {
		if failed := recover(); failed == http.ErrAbortHandler {
			status = 0 // no client takes that for the content
		} else if failed != nil {
			panic(failed)
		}
	}()
	s.dav.ServeHTTP(answer, request)
	if strings.HasPrefix(answer.Header().Get("Content-Type"), "text/html") {
		return answer.Code, "a collection"
	}
	return answer.Code, answer.Body.String()
}

// original returns the files before each request, with "" for none.
func original() map[string]string {
	return map[string]string{"/f": oldContent, "/g": "another", "/new": ""}
}

// reset restores the original files.
func (s *sickServer) reset() {
	s.t.Helper()
	s.do("DELETE", "/new", "", "")
	for name, text := range original() {
		if text == "" {
			continue
		}
		if status, answer := s.do("PUT", name, "", text); status/100 != 2 {
			s.t.Fatalf("PUT %s: %d %s", name, status, answer)
		}
	}
}

// has reports whether the files are these.
func (s *sickServer) has(files map[string]string) bool {
	for name, text := range files {
		status, found := s.do("GET", name, "", "")
		switch {
		case status == 404:
			found = ""
		case status != 200:
			s.t.Errorf("GET %s: %d %s", name, status, found)
			found = ""
		}
		if found != text {
			return false
		}
	}
	return true
}

// judge returns the fault of an answer or of the files after it, or "".
func (s *sickServer) judge(r diskRequest, status int, text string, want int, detail string, err error) string {
	before, after := original(), original()
	maps.Copy(after, r.result)
	switch {
	case status/100 == 2 && r.result != nil:
		if !s.has(after) {
			return "the result is not there"
		}
	case status == 200 && text != oldContent:
		return "the content is wrong"
	case status/100 == 2 || status == 0 && r.method == "GET":
	case status == 500 && strings.Contains(text, "may not be durable"):
		if !s.has(after) && !s.has(before) {
			return "the files are neither the old nor the new ones"
		}
	case status != want || !strings.Contains(text, detail):
		return fmt.Sprintf("want %d, and %q", want, detail)
	case !strings.Contains(s.log.String(), err.Error()):
		return "the log does not have the cause:\n" + s.log.String()
	case !s.has(before):
		return "the files have changed"
	}
	return ""
}
