//go:build !race

package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"r-seed-1f3a754f.example/ifmatch/etagfs"
	"r-seed-1f3a754f.example/ifmatch/fs"
	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
	"r-seed-1f3a754f.example/ifmatch/handler"
	"r-seed-1f3a754f.example/ifmatch/handler/proxy"
	"r-seed-1f3a754f.example/ifmatch/internal/servertest"
)

// The bounds on the cost of one request, for any request. It is CPU time, which other programs on the machine do not
// lengthen. It includes the time of the client, which is the test. A request waits for another one only while that
// holds the lock of the store.
const (
	mostCPU   = 300 * time.Millisecond
	mostHeld  = 25 * time.Millisecond // of it, while others wait
	mostCalls = 400                   // of the system, while others wait

	// tries is how often a request is measured that seems to cost more: the garbage of others may be in it.
	tries = 3
)

// thorough is for .ci/long.
var thorough = flag.Bool("thorough", false, "send each header and body in every method, and not a part of them in each")

// Every path, header and body is sent as large as it can be, in each method. See hugeRequests.
func TestWorkOfOneRequestIsBounded(t *testing.T) {
	m := measure(t, func(vfs.Call) {})
	for name, requests := range m.hugeRequests() {
		t.Run(name, func(t *testing.T) {
			m := *m
			m.t = t
			start := time.Now()
			for r := range requests {
				m.want(r)
			}
			t.Logf("%d requests in %v; the most: %v (%s)", m.asked, time.Since(start).Round(time.Millisecond), m.worst, m.by)
		})
	}
}

// Work under the lock is measured.
func TestWorkIsMeasured(t *testing.T) {
	m := measure(t, func(c vfs.Call) {
		end := cpuOf(unix.CLOCK_THREAD_CPUTIME_ID) + 2*mostHeld
		for c.Name == "slow" && cpuOf(unix.CLOCK_THREAD_CPUTIME_ID) < end {
			continue
		}
	})
	for target, slow := range map[string]bool{"/slow": true, "/fast": false} {
		got, status, err := m.cost(requestOf("one", "PUT", target, nil, []byte("content")))
		if err != nil || status != http.StatusCreated && status != http.StatusNoContent {
			t.Errorf("PUT %s: answered %d, %v", target, status, err)
		}
		if (got.held > mostHeld) != slow || got.held > got.cpu || got.calls == 0 {
			t.Errorf("PUT %s: %v; want it to be too much: %v", target, got, slow)
		}
	}
}

// A cost is the measured cost of a request.
type cost struct {
	cpu   time.Duration
	held  time.Duration // at once, at the most
	calls int           // at once, at the most
}

func (c cost) tooMuch() bool { return c.cpu > mostCPU || c.held > mostHeld || c.calls > mostCalls }

func (c cost) String() string {
	return fmt.Sprintf("%v of CPU, %v of it, and %d calls, while others wait",
		c.cpu.Round(time.Millisecond), c.held.Round(10*time.Microsecond), c.calls)
}

func (c cost) least(other cost) cost {
	return cost{min(c.cpu, other.cpu), min(c.held, other.held), min(c.calls, other.calls)}
}

func (c cost) most(other cost) cost {
	return cost{max(c.cpu, other.cpu), max(c.held, other.held), max(c.calls, other.calls)}
}

// A meter measures the work done under the lock of a store.
type meter struct {
	mu      sync.Mutex
	holding map[int]*hold // by thread
	worst   cost
}

type hold struct {
	depth int
	since time.Duration // of CPU, of its thread
	calls int
}

// held is for [etagfs.Options].
func (m *meter) held() (end func()) {
	m.tell(true)
	return func() { m.tell(false) }
}

func (m *meter) tell(begins bool) {
	if begins {
		runtime.LockOSThread()
	}
	id := unix.Gettid()
	m.mu.Lock()
	h := m.holding[id]
	if h == nil {
		h = &hold{}
		m.holding[id] = h
	}
	m.mu.Unlock()
	if begins {
		if h.depth++; h.depth == 1 {
			h.since, h.calls = cpuOf(unix.CLOCK_THREAD_CPUTIME_ID), 0
		}
		return
	}
	if h.depth--; h.depth == 0 {
		took := cpuOf(unix.CLOCK_THREAD_CPUTIME_ID) - h.since
		m.mu.Lock()
		m.worst = m.worst.most(cost{held: took, calls: h.calls})
		m.mu.Unlock()
	}
	runtime.UnlockOSThread()
}

// called counts a call of the system.
func (m *meter) called() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if h := m.holding[unix.Gettid()]; h != nil && h.depth > 0 {
		h.calls++
	}
}

func cpuOf(clock int32) time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(clock, &t); err != nil {
		panic(err)
	}
	return time.Duration(t.Nano())
}

// A raw request is one as it goes over the connection.
type raw struct {
	what string
	sent []byte
	deep string // a path of directories that it is about, and may have changed
}

func requestOf(what, method, target string, header []string, body []byte) raw {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n", method, target)
	for _, line := range header {
		b.WriteString(line + "\r\n")
	}
	if body != nil || method == "PUT" {
		fmt.Fprintf(&b, "Content-Length: %d\r\n", len(body))
	}
	b.WriteString("\r\n")
	b.Write(body)
	return raw{what: method + ", " + what, sent: b.Bytes()}
}

// A measured server reports the cost of each request.
type measured struct {
	t     *testing.T
	dir   string
	addr  string
	meter *meter

	asked int
	worst cost
	by    string // the request that took the most CPU time
}

// measure serves a new directory. before is called before each call of the system.
func measure(t *testing.T, before func(vfs.Call)) *measured {
	t.Helper()
	m := &measured{t: t, dir: t.TempDir(), meter: &meter{holding: map[int]*hold{}}}
	opts := fs.Options{Durability: fs.None, History: true, Before: func(c vfs.Call) error {
		m.meter.called()
		before(c)
		return nil
	}}
	store, _ := openForTest(t, m.dir, opts, etagfs.Options{
		IndexDir: filepath.Join(m.dir, stateName, "index"), Held: m.meter.held,
	})
	cfg := Config{
		Config: handler.Config{
			TrustedProxies: proxy.Trusted{Networks: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}, // more of a header is read then
			PublicURLs:     []*url.URL{{Scheme: "https", Host: "files.example"}},
			CORSOrigins:    []string{"https://app.example"},
			DeleteGuard:    []string{"*a*a*a*b"},
			TagWait:        5 * time.Second,
		},
		Dir:           m.dir,
		DepthInfinity: 10_000,
	}
	dav, err := newHandler(cfg, store, slog.New(slog.NewTextHandler(io.Discard, nil)))
	if err != nil {
		t.Fatal(err)
	}
	url, _ := servertest.Serve(t, dav, func(s *http.Server) { s.MaxHeaderBytes = maxHeader })
	m.addr = strings.TrimPrefix(url, "http://")
	return m
}

// ask sends a request and reads the answer to its end. It returns the status.
func (m *measured) ask(r raw) (int, error) {
	conn, err := net.Dial("tcp", m.addr)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	go conn.Write(r.sent) // it may be answered before it is read
	var head [len("HTTP/1.1 200")]byte
	if _, err := io.ReadFull(conn, head[:]); err != nil {
		return 0, err
	}
	_, err = io.Copy(io.Discard, conn)
	if errors.Is(err, unix.ECONNRESET) {
		err = nil // not all of the request was read
	}
	status, bad := strconv.Atoi(string(head[len("HTTP/1.1 "):]))
	return status, errors.Join(err, bad)
}

// cost sends a request and returns its cost.
func (m *measured) cost(r raw) (c cost, status int, err error) {
	m.meter.mu.Lock()
	m.meter.worst = cost{}
	m.meter.mu.Unlock()
	before := cpuOf(unix.CLOCK_PROCESS_CPUTIME_ID)
	status, err = m.ask(r)
	took := cpuOf(unix.CLOCK_PROCESS_CPUTIME_ID) - before
	m.meter.mu.Lock()
	defer m.meter.mu.Unlock()
	c = m.meter.worst
	c.cpu = took
	return c, status, err
}

// want fails where a request costs more than it may, or is not answered.
func (m *measured) want(r raw) {
	m.t.Helper()
	var least cost
	for try := range tries {
		m.restore(r)
		now, status, err := m.cost(r)
		if err != nil || status == http.StatusInternalServerError {
			m.t.Errorf("%s: answered %d, %v", r.what, status, err)
		}
		if try == 0 {
			least = now
		}
		least = least.least(now)
		if !least.tooMuch() || now.cpu > 4*mostCPU { // no other work explains that much
			break
		}
		runtime.GC()
	}
	m.asked++
	if least.tooMuch() {
		m.t.Errorf("%s: it takes %v; at most %v, %v and %d", r.what, least, mostCPU, mostHeld, mostCalls)
	}
	if least.cpu > m.worst.cpu {
		m.by = r.what
	}
	m.worst = m.worst.most(least)
}

// restore undoes the changes of a request to the tree.
func (m *measured) restore(r raw) {
	m.t.Helper()
	for _, name := range []string{"to", "f", stateName + "/locks"} {
		if err := os.RemoveAll(filepath.Join(m.dir, name)); err != nil {
			m.t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(m.dir, "f"), []byte("hello"), 0o666); err != nil {
		m.t.Fatal(err)
	}
	if r.deep != "" {
		m.deep(r.deep)
	}
}

// deep makes directories one in the other, unless they are there, and returns their path.
func (m *measured) deep(path string) string {
	m.t.Helper()
	fd, err := unix.Open(m.dir, unix.O_PATH|unix.O_DIRECTORY, 0)
	for segment := range strings.SplitSeq(path[1:], "/") {
		if err != nil {
			break
		}
		if err = unix.Mkdirat(fd, segment, 0o777); err == nil || err == unix.EEXIST {
			above := fd
			fd, err = unix.Openat(above, segment, unix.O_PATH|unix.O_DIRECTORY, 0)
			unix.Close(above)
		}
	}
	if err != nil {
		m.t.Fatalf("making %.40s…: %v", path, err)
	}
	unix.Close(fd)
	return path
}

// hugeRequests are made anew each time, as they take a gigabyte together.
func (m *measured) hugeRequests() iter.Seq2[string, iter.Seq[raw]] {
	return func(yield func(string, iter.Seq[raw]) bool) {
		_ = yield("paths", m.paths) && yield("headers", m.headers) && yield("two headers", m.pairs) && yield("bodies", m.bodies)
	}
}
