package main

import (
	"bufio"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"r-seed-1f3a754f.example/ifmatch/internal/pgtest"
	"r-seed-1f3a754f.example/ifmatch/internal/servertest"
)

// A held upload sends its body until it is told to end it.
type heldUpload struct {
	path    string
	ends    chan struct{}
	answers chan answer
}

// heldSize is the length of a held upload.
const heldSize = 4 << 20

// hold begins an upload of a client at a replica, and returns when that has begun to read it. It sends fast enough
// not to give way to others.
func (f *fleet) hold(replica int, path, client string) *heldUpload {
	f.t.Helper()
	h := &heldUpload{path, make(chan struct{}), make(chan answer, 1)}
	taken, body := io.Pipe()
	var sent atomic.Int64
	request, err := http.NewRequest(http.MethodPut, f.replicas[replica].URL+path, taken)
	if err != nil {
		f.t.Fatal(err)
	}
	request.ContentLength = heldSize
	request.Header.Set("X-Forwarded-For", client)
	request.Header.Set("Expect", "100-continue") // the first byte of the body is asked for when the turn has come
	transport := &http.Transport{ExpectContinueTimeout: servertest.Patience, DisableKeepAlives: true}
	go func() {
		got, err := transport.RoundTrip(request)
		if err != nil {
			h.answers <- answer{}
			return
		}
		defer got.Body.Close()
		h.answers <- answer{status: got.StatusCode, tag: got.Header.Get("ETag"), retry: got.Header.Get("Retry-After")}
	}()
	begun := make(chan struct{})
	go func() {
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for piece := []byte(strings.Repeat("x", 1<<10)); sent.Load() < heldSize; {
			n, err := body.Write(piece)
			if sent.Add(int64(n)); err != nil {
				return
			}
			if sent.Load() == int64(len(piece)) {
				close(begun)
			}
			select {
			case <-tick.C:
			case <-h.ends:
				piece = piece[:min(int64(len(piece)), heldSize-sent.Load())]
			}
		}
		body.Close()
	}()
	select {
	case <-begun:
	case a := <-h.answers:
		f.t.Fatalf("PUT %s by %s: %+v", path, client, a)
	case <-time.After(servertest.Patience):
		f.t.Fatalf("PUT %s by %s is not begun", path, client)
	}
	return h
}

// wantFull has a client ask once more at each replica, which refuses it.
func (f *fleet) wantFull(client string) {
	f.t.Helper()
	var all sync.WaitGroup
	for range f.replicas {
		all.Go(func() { // at once, because each waits for its turn
			a := f.ask(http.MethodPut, "/refused", "x", "X-Forwarded-For", client)
			if a.status != http.StatusServiceUnavailable || a.retry == "" || !strings.Contains(a.body, "too many uploads at once") {
				f.t.Errorf("one upload more of %s: %+v", client, a)
			}
		})
	}
	all.Wait()
	if a := f.ask(http.MethodGet, "/refused", ""); a.status != http.StatusNotFound {
		f.t.Errorf("what was refused: %+v", a)
	}
}

// TestLimitsOnCluster: the test is the load balancer in front of three replicas. Each request goes to the next of them,
// and names its client.
func TestLimitsOnCluster(t *testing.T) {
	t.Parallel()
	server := pgtest.Run(t)
	for name, test := range map[string]struct {
		flags []string
		run   func(*testing.T, *fleet)
	}{
		"requests":    {[]string{"--client-requests", "1", "--trusted-proxy", "127.0.0.1"}, limitedRequests},
		"connections": {[]string{"--client-connections", "2"}, limitedConnections},
		"passwords": {[]string{"--users", usersOfCluster(t), "--insecure-basic", "--trusted-proxy", "127.0.0.1"},
			limitedPasswords},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if err := server.SQL("create database " + name); err != nil {
				t.Fatal(err)
			}
			test.run(t, startFleetWith(t, server.DSN(name), 3, test.flags))
		})
	}
}

// usersOfCluster returns a users file with ann, whose password is secret.
func usersOfCluster(t *testing.T) string {
	t.Helper()
	users := filepath.Join(t.TempDir(), "users")
	const ann = "ann:$2a$04$4NPtG9SnUkkykmP0X2whze5iZbQ78XY/PGYEG/HvK35rDcWxp/5DG\n"
	if err := os.WriteFile(users, []byte(ann), 0o600); err != nil {
		t.Fatal(err)
	}
	return users
}

// limitedRequests: N replicas take N times as many uploads of a client, and refuse more of them. The
// uploads of others go on, and none is lost.
func limitedRequests(t *testing.T, f *fleet) {
	var held []*heldUpload
	for i := range f.replicas {
		held = append(held, f.hold(i, fmt.Sprint("/held", i), "192.0.2.1"))
	}
	f.wantFull("192.0.2.1")
	for i := range 2 * len(f.replicas) {
		if a := f.ask(http.MethodPut, fmt.Sprint("/other", i), "x", "X-Forwarded-For", "192.0.2.2"); a.status != http.StatusCreated {
			t.Errorf("an upload of another client: %+v", a)
		}
	}
	for _, h := range held {
		close(h.ends)
		want := tagOfText(strings.Repeat("x", heldSize))
		if a := <-h.answers; a.status != http.StatusCreated || a.tag != want {
			t.Errorf("the upload that was taken: %+v", a)
		}
		if a := f.ask(http.MethodHead, h.path, ""); a.status != http.StatusOK || a.tag != want {
			t.Errorf("HEAD %s: %+v", h.path, a)
		}
	}
	for i := range f.replicas {
		if a := f.ask(http.MethodPut, fmt.Sprint("/again", i), "x", "X-Forwarded-For", "192.0.2.1"); a.status != http.StatusCreated {
			t.Errorf("after the others have ended: %+v", a)
		}
	}
}

// limitedConnections: a client has so many connections to each replica. One more is answered 503 there,
// and nothing has changed.
func limitedConnections(t *testing.T, f *fleet) {
	var begun []io.ReadWriter
	for i, s := range f.replicas {
		for n := range 2 {
			c := connect(t, "127.0.0.2", s)
			fmt.Fprintf(c, "PUT /held%d%d HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n", i, n)
			begun = append(begun, c)
			answer, err := http.ReadResponse(bufio.NewReader(c), nil)
			if err != nil || answer.StatusCode != http.StatusContinue {
				t.Fatalf("a connection to replica %d: %v, error %v", i, answer, err)
			}
		}
	}
	for i, s := range f.replicas {
		answer, body := askOnce(t, "127.0.0.2", s, http.MethodPut, "/refused", "x")
		if answer.StatusCode != http.StatusServiceUnavailable || answer.Header.Get("Retry-After") == "" ||
			!strings.Contains(body, "too many connections at once: this client has 2") {
			t.Errorf("one connection more to replica %d: %s, %s", i, answer.Status, body)
		}
		if answer, body := askOnce(t, "127.0.0.3", s, http.MethodGet, "/refused", ""); answer.StatusCode != http.StatusNotFound {
			t.Errorf("what was refused, asked by another client at %d: %s, %s", i, answer.Status, body)
		}
	}
	for _, c := range begun {
		io.WriteString(c, "ok")
		answer, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil || answer.StatusCode != http.StatusCreated {
			t.Errorf("an upload that was taken: %v, error %v", answer, err)
		}
	}
}

// limitedPasswords: three replicas compare as many wrong passwords of a client as one does.
func limitedPasswords(t *testing.T, f *fleet) {
	ask := func(client, password string) answer {
		return f.ask(http.MethodGet, "/", "", "X-Forwarded-For", client,
			"Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte("ann:"+password)))
	}
	answers := make(chan answer)
	const tried = 15
	begun := time.Now()
	for i := range tried {
		go func() { answers <- ask("192.0.2.1", fmt.Sprint("wrong", i)) }() // at once, because answers are kept back
	}
	got := map[int]int{}
	for range tried {
		a := <-answers
		if got[a.status]++; a.status == http.StatusTooManyRequests && a.retry == "" {
			t.Errorf("without Retry-After: %+v", a)
		}
	}
	if wrong := got[http.StatusUnauthorized]; !isAllowance(wrong, begun) || got[http.StatusTooManyRequests] != tried-wrong {
		t.Errorf("the answers to %d wrong passwords are %v", tried, got)
	}
	for range f.replicas { // each learns that the client is refused, or it would take a password that it has proved
		if a := ask("192.0.2.1", "wrong"); a.status != http.StatusTooManyRequests {
			t.Errorf("one more wrong password: %+v", a)
		}
	}
	for range f.replicas {
		if a := ask("192.0.2.1", "secret"); a.status != http.StatusTooManyRequests {
			t.Errorf("the right one from there: %+v", a)
		}
		if a := ask("192.0.2.2", "secret"); a.status != http.StatusOK {
			t.Errorf("the right one from elsewhere: %+v", a)
		}
	}
}
