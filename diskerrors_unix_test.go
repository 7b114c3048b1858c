//go:build unix

package main

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"

	"ifmatch/etagfs"
	"ifmatch/fs"
)

// A sickDisk fails one system call of a request.
type sickDisk struct {
	mu     sync.Mutex
	at     int // counts down to the call that fails; 0: none does
	with   error
	failed string
}

func (d *sickDisk) before(c fs.Call) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	// What empties the trash goes on beside the requests, and takes the lock of the tree for an instant.
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

// TestDiskErrors lets each system call of each method fail with each error that a disk knows: the answer says what
// that means, what was there is there, the log has the cause, and the next request succeeds.
func TestDiskErrors(t *testing.T) {
	meanings := []struct {
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
		{syscall.EACCES, 403, "may not do that"},
	}
	const old, next = "the old content", "the next content"
	requests := []struct {
		method, target, destination, body string
		result                            map[string]string // what there is after it has succeeded, besides the rest
	}{
		{"GET", "/f", "", "", nil},
		{"PROPFIND", "/", "", "", nil},
		{"PUT", "/f", "", next, map[string]string{"/f": next}},
		{"PUT", "/new", "", next, map[string]string{"/new": next}},
		{"DELETE", "/f", "", "", map[string]string{"/f": ""}},
		{"MOVE", "/f", "/new", "", map[string]string{"/f": "", "/new": old}},
		{"COPY", "/f", "/new", "", map[string]string{"/new": old}},
		{"COPY", "/f", "/g", "", map[string]string{"/g": old}},
		{"MKCOL", "/new", "", "", map[string]string{"/new": "a collection"}},
	}
	for _, r := range requests {
		t.Run(r.method+" "+r.target+r.destination, func(t *testing.T) {
			t.Parallel()
			dir, err := os.MkdirTemp("/dev/shm", "ifmatch-test-")
			if err != nil {
				dir = t.TempDir()
			}
			t.Cleanup(func() { os.RemoveAll(dir) })
			var disk sickDisk
			below, err := fs.Open(dir, fs.Options{Before: disk.before})
			if err != nil {
				t.Fatal(err)
			}
			store, err := etagfs.New(below, etagfs.Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer store.Close()
			var log bytes.Buffer
			dav, err := newHandler(Config{}, store, slog.New(slog.NewTextHandler(&log, nil)))
			if err != nil {
				t.Fatal(err)
			}
			const here = "http://127.0.0.1"
			do := func(method, target, destination, body string) (status int, text string) {
				request := httptest.NewRequestWithContext(t.Context(), method, here+target, strings.NewReader(body))
				if destination != "" {
					request.Header.Set("Destination", here+destination)
				}
				answer := httptest.NewRecorder()
				defer func() {
					if failed := recover(); failed == http.ErrAbortHandler {
						status = 0 // cut off: nobody takes that for the content
					} else if failed != nil {
						panic(failed)
					}
				}()
				dav.ServeHTTP(answer, request)
				if strings.HasPrefix(answer.Header().Get("Content-Type"), "text/html") {
					return answer.Code, "a collection"
				}
				return answer.Code, answer.Body.String()
			}
			content := func(name string) string {
				if status, text := do("GET", name, "", ""); status == 200 {
					return text
				} else if status != 404 {
					t.Errorf("GET %s: %d %s", name, status, text)
				}
				return ""
			}
			before := map[string]string{"/f": old, "/g": "another", "/new": ""}
			after := map[string]string{}
			for name, text := range before {
				after[name] = text
			}
			for name, text := range r.result {
				after[name] = text
			}
			is := func(want map[string]string) bool {
				for name, text := range want {
					if content(name) != text {
						return false
					}
				}
				return true
			}
			for _, m := range meanings {
				for n := 1; ; n++ {
					if m.err != syscall.EIO && m.err != syscall.ENOSPC && n%7 != int(m.err)%7 {
						// These two at every call, the rest at some.
						if n > 60 {
							break
						}
						continue
					}
					do("DELETE", "/new", "", "")
					for name, text := range before {
						if text != "" {
							if status, answer := do("PUT", name, "", text); status/100 != 2 {
								t.Fatalf("PUT %s: %d %s", name, status, answer)
							}
						}
					}
					disk.arm(n, m.err)
					status, text := do(r.method, r.target, r.destination, r.body)
					failed := disk.arm(0, nil)
					if failed == "" {
						break
					}
					report := func(format string, args ...any) {
						t.Helper()
						t.Errorf("call %d, %s, fails with %v: %d %s: %s", n, failed, m.err, status, text, fmt.Sprintf(format, args...))
					}
					unsure := status == 500 && strings.Contains(text, "may not last")
					switch {
					case status/100 == 2 && r.result != nil:
						if !is(after) {
							report("it is not there")
						}
					case status == 200 && text != old:
						report("it is something else")
					case status/100 == 2 || status == 0 && r.method == "GET":
					case unsure:
						if !is(after) && !is(before) {
							report("what is there is neither old nor new")
						}
					case status != m.status || !strings.Contains(text, m.detail):
						report("want %d, and %q", m.status, m.detail)
					case !strings.Contains(log.String(), m.err.Error()):
						report("the log does not say why:\n%s", log.String())
					case !is(before):
						report("something has changed")
					}
					log.Reset()
				}
			}
		})
	}
}
