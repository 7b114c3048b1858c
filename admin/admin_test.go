package admin

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func get(t *testing.T, h http.Handler, method, target, host string) (int, string) {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, target, nil)
	r.Host = host
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Code, w.Body.String()
}

// A page of another site that has its name lead here is refused, and whoever names the listener as it was told is not.
func TestOnlyKnownHostsAreAnswered(t *testing.T) {
	for _, tt := range []struct {
		host string
		any  bool
		want int
	}{
		{"127.0.0.1:9090", false, 200},
		{"127.0.0.1", false, 200},
		{"[::1]:9090", false, 200},
		{"[::1]", false, 200},
		{"localhost:9090", false, 200},
		{"LOCALHOST", false, 200},
		{"monitor.example:9090", false, 200},
		{"Monitor.Example", false, 200},
		{"evil.example", false, 403},
		{"monitor.example.evil.example", false, 403},
		{"", false, 403},
		{"evil.example", true, 200},
		{"", true, 200},
	} {
		h := New(Options{
			Hosts: []string{"monitor.example"}, AnyHost: tt.any, Metrics: NewMetrics("v", "go"),
			Ready: func(context.Context) error { return nil },
		})
		for _, path := range []string{"/healthz", "/readyz", "/metrics"} {
			if got, body := get(t, h, "GET", path, tt.host); got != tt.want {
				t.Errorf("%s of %q (any: %v): %d %s, want %d", path, tt.host, tt.any, got, body, tt.want)
			}
		}
	}
}

func TestOnlyReadsAreAnswered(t *testing.T) {
	h := New(Options{Metrics: NewMetrics("v", "go"), Ready: func(context.Context) error { return nil }})
	for _, tt := range []struct {
		method, path string
		want         int
	}{
		{"HEAD", "/healthz", 200}, {"POST", "/healthz", 405}, {"PUT", "/metrics", 405}, {"DELETE", "/readyz", 405},
		{"GET", "/", 404}, {"GET", "/healthz/x", 404}, {"GET", "/debug/pprof/", 404},
	} {
		if got, body := get(t, h, tt.method, tt.path, "localhost"); got != tt.want {
			t.Errorf("%s %s: %d %s, want %d", tt.method, tt.path, got, body, tt.want)
		}
	}
}

func TestReadyzTellsTheReason(t *testing.T) {
	var err error = errors.New("the disk is away")
	h := New(Options{Metrics: NewMetrics("v", "go"), Ready: func(context.Context) error { return err }})
	if code, body := get(t, h, "GET", "/readyz", "localhost"); code != 503 || body != "the disk is away\n" {
		t.Errorf("%d %q", code, body)
	}
	if code, _ := get(t, h, "GET", "/healthz", "localhost"); code != 200 {
		t.Errorf("the process answers, and /healthz is %d", code)
	}
}

// Whoever asks often costs one question a second, and a disk that hangs one goroutine.
func TestReadinessIsAskedOnceAtATime(t *testing.T) {
	var asked atomic.Int32
	now := time.Unix(1000, 0)
	answers := make(chan error)
	r := &readiness{now: func() time.Time { return now }, patience: time.Hour, ask: func(context.Context) error {
		asked.Add(1)
		return <-answers
	}}
	away := errors.New("away")
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			if err := r.get(t.Context()); err != away {
				t.Errorf("got %v", err)
			}
		})
	}
	answers <- away
	all.Wait()
	if err := r.get(t.Context()); err != away || asked.Load() != 1 {
		t.Errorf("asked %d times in a second, and got %v", asked.Load(), err)
	}
	now = now.Add(readyFor)
	go func() { answers <- nil }()
	if err := r.get(t.Context()); err != nil || asked.Load() != 2 {
		t.Errorf("asked %d times in two seconds, and got %v", asked.Load(), err)
	}
	now = now.Add(-time.Hour) // a clock that was set back makes no answer last
	go func() { answers <- away }()
	if err := r.get(t.Context()); err != away {
		t.Errorf("got %v", err)
	}
}

func TestAHungDiskIsNotWaitedFor(t *testing.T) {
	release := make(chan struct{})
	var asked atomic.Int32
	r := &readiness{now: time.Now, patience: time.Nanosecond, ask: func(context.Context) error {
		asked.Add(1)
		<-release
		return nil
	}}
	for range 3 {
		if err := r.get(t.Context()); err != errNoAnswer {
			t.Errorf("got %v", err)
		}
	}
	close(release)
	if n := asked.Load(); n > 1 {
		t.Errorf("%d goroutines wait for the disk", n)
	}
}

func TestMetricsAreCounted(t *testing.T) {
	m := NewMetrics("v1.2.3", "go1.26")
	m.Request(Request{
		Method: "PUT", Status: 412, Condition: "If-Match", Took: 3 * time.Millisecond, Received: 10, Sent: 20,
	})
	m.Request(Request{Method: "GET", Status: 503, Busy: "downloads", Sent: 1})
	m.Request(Request{Method: "GET", Status: 401, Login: "wrong_password"})
	m.Commit("put", 20*time.Millisecond)
	m.ConnectionRefused()
	m.WatchOverflow()
	m.Gauge("ifmatch_locks", "Locks.", nil, func() float64 { return 7 })
	_, text := get(t, New(Options{Metrics: m}), "GET", "/metrics", "localhost")
	for _, want := range []string{
		`ifmatch_requests_total{method="PUT",status="412"} 1`,
		`ifmatch_requests_total{method="GET",status="503"} 1`,
		`ifmatch_request_duration_seconds_bucket{method="PUT",le="0.0025"} 0`,
		`ifmatch_request_duration_seconds_bucket{method="PUT",le="0.005"} 1`,
		`ifmatch_preconditions_failed_total{condition="If-Match"} 1`,
		`ifmatch_busy_total{what="downloads"} 1`,
		`ifmatch_logins_refused_total{reason="wrong_password"} 1`,
		`ifmatch_body_bytes_total{direction="received"} 10`,
		`ifmatch_body_bytes_total{direction="sent"} 21`,
		`ifmatch_commit_duration_seconds_count{operation="put"} 1`,
		`ifmatch_connections_refused_total 1`,
		`ifmatch_watch_overflows_total 1`,
		`ifmatch_locks 7`,
		`ifmatch_build_info{goversion="go1.26",version="v1.2.3"} 1`,
		`go_goroutines `,
	} {
		if !strings.Contains(text, "\n"+want) {
			t.Errorf("no line %s in\n%s", want, text)
		}
	}
}

// A server without an admin listener has no metrics, and counts all the same.
func TestNoMetricsCountNothing(t *testing.T) {
	var m *Metrics
	m.Request(Request{Method: "GET"})
	m.Commit("put", 0)
	m.ConnectionRefused()
	m.WatchOverflow()
	m.Gauge("x", "X.", nil, nil)
}
