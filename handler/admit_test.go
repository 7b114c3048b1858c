package handler

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"r-seed-1f3a754f.example/ifmatch/handler/exchange"
	"r-seed-1f3a754f.example/ifmatch/handler/proxy"
	"r-seed-1f3a754f.example/ifmatch/limit"
)

var fewPools = limit.Bounds{Connections: 4, Streams: 4, Uploads: 4, Downloads: 4, Listings: 4, Changes: 4, Hashes: 4}

// A silent client announces a body and sends none of it, until its connection is closed.
type silent struct{ ctx context.Context }

func (s silent) Read([]byte) (int, error) {
	<-s.ctx.Done()
	return 0, s.ctx.Err()
}

// hold begins a request that goes on until end is called, or until it is ended by the server.
func hold(t *testing.T, h http.Handler, method, target, from string) (end func(), ended <-chan struct{}) {
	ctx, end := context.WithCancel(t.Context())
	r := httptest.NewRequestWithContext(ctx, method, "http://localhost"+target, nil)
	r.RemoteAddr = from + ":1"
	w := &withDeadlines{ResponseRecorder: httptest.NewRecorder(), end: end}
	if method == "PUT" || method == "LOCK" {
		r.Body, r.ContentLength = io.NopCloser(silent{ctx}), 1<<20
	} else {
		w.full = ctx
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() { recover() }()
		h.ServeHTTP(w, r)
	}()
	return end, done
}

// withDeadlines is an answer to a client for which one waits no longer than a deadline, as net/http has it.
type withDeadlines struct {
	*httptest.ResponseRecorder
	end  func()
	full context.Context // if not nil, nothing is taken until it is done
}

func (w *withDeadlines) SetReadDeadline(at time.Time) error {
	if !at.IsZero() && at.Before(time.Now()) {
		w.end()
	}
	return nil
}
func (w *withDeadlines) SetWriteDeadline(at time.Time) error { return w.SetReadDeadline(at) }

func (w *withDeadlines) Write(p []byte) (int, error) {
	if w.full != nil {
		<-w.full.Done()
		return 0, w.full.Err()
	}
	return w.ResponseRecorder.Write(p)
}

func askFrom(t *testing.T, h http.Handler, from, method, target, body string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, "http://localhost"+target, strings.NewReader(body))
	r.RemoteAddr = from + ":1"
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// A client that holds all that it may of one resource cannot get more of it. Other clients and other resources are
// not affected.
func TestHeldRequestsLeaveRoomForOthers(t *testing.T) {
	for _, tt := range []struct{ method, target, body string }{
		{"PUT", "/new", "1"},
		{"GET", "/f", ""},
		{"GET", "/d/", ""},
		{"PROPFIND", "/d/", ""},
		{"LOCK", "/f", lockBody},
	} {
		t.Run(tt.method+" "+tt.target, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := inMemory(t, Config{Pools: fewPools.Pools()}, "f="+strings.Repeat("x", 1<<20), "g=2", "d/", "d/f=1")
				for range 2 {
					end, _ := hold(t, h, tt.method, tt.target, "192.0.2.1")
					defer end()
				}
				synctest.Wait()
				start := time.Now()
				w := askFrom(t, h, "192.0.2.1", tt.method, tt.target, tt.body)
				if w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" || time.Since(start) > admitPatience {
					t.Errorf("one more: got %d after %v, %v", w.Code, time.Since(start), w.Header())
				}
				if want := "this client has 2 of 4"; !strings.Contains(w.Body.String(), want) {
					t.Errorf("it does not say %q: %s", want, w.Body)
				}
				another := "DELETE"
				if tt.method == "LOCK" {
					another = "GET"
				}
				for _, other := range []struct{ from, method, target, body string }{
					{"192.0.2.2", tt.method, tt.target, tt.body},
					{"192.0.2.1", another, "/g", ""},
				} {
					start := time.Now()
					w := askFrom(t, h, other.from, other.method, other.target, other.body)
					if w.Code >= 400 || time.Since(start) > 0 {
						t.Errorf("%s by %s: got %d after %v", other.method, other.from, w.Code, time.Since(start))
					}
				}
			})
		})
	}
}

// A client that neither sends nor reads is ended when others wait, and none of its upload is visible.
func TestStalledRequestsGiveWay(t *testing.T) {
	for _, tt := range []struct{ method, target, body string }{
		{"PUT", "/new", "1"},
		{"GET", "/f", ""},
		{"GET", "/d/", ""},
		{"PROPFIND", "/d/", ""},
	} {
		t.Run(tt.method+" "+tt.target, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := inMemory(t, Config{Pools: fewPools.Pools()}, "f="+strings.Repeat("x", 1<<20), "d/", "d/f=1")
				var ended []<-chan struct{}
				for range 2 {
					end, one := hold(t, h, tt.method, tt.target, "192.0.2.1")
					defer end()
					ended = append(ended, one)
				}
				time.Sleep(time.Minute)
				if w := askFrom(t, h, "192.0.2.1", tt.method, tt.target, tt.body); w.Code >= 400 {
					t.Errorf("got %d: %s", w.Code, w.Body)
				}
				synctest.Wait()
				gone := 0
				for _, one := range ended {
					select {
					case <-one:
						gone++
					default:
					}
				}
				if gone == 0 {
					t.Error("both go on")
				}
			})
		})
	}
}

// If a stalled client is ended before its answer has begun, it gets a 503 and can try again. That is no error of the
// server.
func TestWhoGivesWayIsToldSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		h, err := New(Config{Store: storeInMemory(t), Pools: fewPools.Pools(), Log: slog.New(slog.NewTextHandler(&log, nil))})
		if err != nil {
			t.Fatal(err)
		}
		var answers []*httptest.ResponseRecorder
		for range 2 {
			ctx, end := context.WithCancel(t.Context())
			defer end()
			r := httptest.NewRequestWithContext(ctx, "PUT", "http://localhost/new", nil)
			r.RemoteAddr = "192.0.2.1:1"
			r.Body, r.ContentLength = io.NopCloser(silent{ctx}), 1<<20
			w := &withDeadlines{ResponseRecorder: httptest.NewRecorder(), end: end}
			answers = append(answers, w.ResponseRecorder)
			go func() {
				defer func() { recover() }()
				h.ServeHTTP(w, r)
			}()
		}
		time.Sleep(time.Minute)
		if w := askFrom(t, h, "192.0.2.1", "PUT", "/new", "1"); w.Code >= 400 {
			t.Errorf("got %d: %s", w.Code, w.Body)
		}
		synctest.Wait()
		told := 0
		for _, w := range answers {
			if w.Code == http.StatusServiceUnavailable && w.Header().Get("Retry-After") != "" && strings.Contains(w.Body.String(), "try again") {
				told++
			}
		}
		if told == 0 || strings.Contains(log.String(), "ERROR") || !strings.Contains(log.String(), "status=503") {
			t.Errorf("%d were told; the log says\n%s", told, &log)
		}
	})
}

// The answer to a client that was ended for others arrives, over both versions of HTTP.
func TestAnswerToWhoHasGivenWayArrives(t *testing.T) {
	for _, http2 := range []bool{false, true} {
		t.Run(fmt.Sprint("HTTP/2 ", http2), func(t *testing.T) {
			s, err := newServer(Config{Log: slog.New(slog.DiscardHandler)})
			if err != nil {
				t.Fatal(err)
			}
			server := httptest.NewUnstartedServer(s.Exchange.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				time.AfterFunc(time.Millisecond, func() { exchange.GiveWay(w) })
				if _, err := io.Copy(io.Discard, r.Body); err == nil {
					t.Error("the body comes to an end")
				}
				w.Header().Set("Retry-After", "1")
				w.WriteHeader(http.StatusServiceUnavailable)
				io.WriteString(w, "try again")
			})))
			server.EnableHTTP2 = http2
			server.StartTLS()
			defer server.Close()
			body, sending := io.Pipe()
			defer sending.Close()
			go io.WriteString(sending, "a beginning")
			r, err := http.NewRequestWithContext(t.Context(), "PUT", server.URL+"/f", body)
			if err != nil {
				t.Fatal(err)
			}
			answer, err := server.Client().Do(r)
			if err != nil {
				t.Fatal(err)
			}
			defer answer.Body.Close()
			content, err := io.ReadAll(answer.Body)
			if err != nil || answer.StatusCode != http.StatusServiceUnavailable || string(content) != "try again" {
				t.Errorf("got %s, %q, error %v", answer.Status, content, err)
			}
		})
	}
}

func TestClientOf(t *testing.T) {
	for addr, want := range map[string]string{
		"192.0.2.1": "192.0.2.1", "2001:db8:1:2:3:4:5:6": "2001:db8:1:2::/64", "::1": "::/64",
	} {
		if got := ClientOf(netip.MustParseAddr(addr)); got != want {
			t.Errorf("%s: got %s, want %s", addr, got, want)
		}
	}
	if got := ClientOf(netip.Addr{}); got != "" {
		t.Errorf("nobody: got %q", got)
	}
}

// A request of a proxy counts for the client that the proxy names.
func TestProxiesAreNotCountedForTheirClients(t *testing.T) {
	s, err := newServer(Config{TrustedProxies: proxy.Trusted{Networks: []netip.Prefix{netip.MustParsePrefix("192.0.2.9/32")}}})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ peer, forwarded, want string }{
		{"192.0.2.9:1", "198.51.100.7", "198.51.100.7"},
		{"192.0.2.9:1", "", ""},
		{"192.0.2.1:1", "198.51.100.7", "192.0.2.1"},
	} {
		r := httptest.NewRequest("GET", "/", nil)
		r.RemoteAddr = tt.peer
		if tt.forwarded != "" {
			r.Header.Set("X-Forwarded-For", tt.forwarded)
		}
		if got := s.counted(r); got != tt.want {
			t.Errorf("%+v: got %q", tt, got)
		}
	}
}

// A DELETE of a guarded agent is refused after a connection of its client was refused, because the server does not
// know which requests it would have carried.
func TestDeleteIsGuardedAfterAConnectionWasRefused(t *testing.T) {
	pools := fewPools.Pools()
	h := inMemory(t, Config{Pools: pools, DeleteGuard: []string{"rclone/*"}}, "f=1", "g=2")
	pools.TurnedAway.Note("192.0.2.1")
	for _, tt := range []struct {
		agent, target string
		want          int
	}{
		{"curl/8", "/f", http.StatusNoContent},
		{"rclone/v1", "/g", http.StatusPreconditionFailed},
		{"rclone/v1", "/g", http.StatusNoContent},
	} {
		if got := ask(t, h, "DELETE", tt.target, "", "User-Agent: "+tt.agent).Code; got != tt.want {
			t.Errorf("DELETE %s by %s: got %d, want %d", tt.target, tt.agent, got, tt.want)
		}
	}
}
