// Package admin answers the operator of a server: does it live, can it answer requests, and which figures does it have?
//
//	/healthz   200 while the process answers
//	/readyz    200 while requests can be served, or 503 with the reason; what else the operator should know comes after it
//	/metrics   the figures, in the text format of Prometheus
//
// It asks for no password, and is for a listener of its own, which only this machine can reach, or a network of those
// who run the server. A web page that a person on this machine visits cannot read it: the Host of a request must be an
// address, localhost, or a name that was told (see [Options]).
//
// No label of a metric has a path, a name of a user or an address in it, so that their number has a bound.
package admin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"
)

// Options configure the answers.
type Options struct {
	// Hosts are the names, beside localhost and IP addresses, that a Host may be.
	Hosts []string
	// AnyHost takes every Host: for a Unix socket, which no web page can reach.
	AnyHost bool
	// Ready returns nil while requests can be served, or the reason why they cannot. It is called once at a time, and may
	// take its time: see readyPatience.
	Ready func(ctx context.Context) error
	// Note returns advice for the operator of a server that is ready, or "" (nil: nothing).
	Note func() string
	// Metrics are the figures of /metrics.
	Metrics *Metrics
}

const (
	// readyFor is how long an answer of Ready is told again.
	readyFor = time.Second
	// readyPatience bounds the wait for Ready. A disk that hangs makes it late.
	readyPatience = 2 * time.Second
)

// New returns the handler.
func New(opts Options) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok\n") })
	ready := &readiness{ask: opts.Ready, now: time.Now, patience: readyPatience}
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		if err := ready.get(r.Context()); err != nil {
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(http.StatusServiceUnavailable)
			fmt.Fprintf(w, "%v\n", err)
			return
		}
		io.WriteString(w, "ok\n")
		if opts.Note == nil {
			return
		}
		if note := opts.Note(); note != "" {
			io.WriteString(w, note+"\n")
		}
	})
	mux.Handle("GET /metrics", opts.Metrics.handler())
	return opts.guarded(mux)
}

// guarded refuses requests that a web page may have made a browser send. Answers are neither embedded nor cached.
func (opts Options) guarded(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Cache-Control", "no-store")
		h.Set("Content-Type", "text/plain; charset=utf-8")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("X-Content-Type-Options", "nosniff")
		if !opts.AnyHost && !opts.knows(r.Host) {
			w.WriteHeader(http.StatusForbidden)
			fmt.Fprintln(w, "this listener is not known by that name: use its address, or start the server with --admin-host")
			return
		}
		next.ServeHTTP(w, r)
	})
}

// knows reports whether a Host is one that no stranger's DNS can have led here.
func (opts Options) knows(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	if _, err := netip.ParseAddr(host); err == nil || strings.EqualFold(host, "localhost") {
		return true
	}
	return slices.ContainsFunc(opts.Hosts, func(known string) bool { return strings.EqualFold(host, known) })
}

// A readiness runs one check at a time and repeats its result for a moment, so that frequent requests cost nothing.
type readiness struct {
	ask      func(context.Context) error
	now      func() time.Time
	patience time.Duration

	mu     sync.Mutex
	asking chan struct{} // closed at the end of the running check (nil: no check is running)
	err    error         // the last answer
	at     time.Time     // of it
}

var errNoAnswer = errors.New("what is served does not answer: a disk may hang")

// get returns the last answer if it is new, and waits for another one otherwise.
func (r *readiness) get(ctx context.Context) error {
	r.mu.Lock()
	if age := r.now().Sub(r.at); age >= 0 && age < readyFor {
		defer r.mu.Unlock()
		return r.err
	}
	if r.asking == nil {
		r.asking = make(chan struct{})
		go r.refresh(r.asking)
	}
	answered := r.asking
	r.mu.Unlock()
	late := time.NewTimer(r.patience)
	defer late.Stop()
	select {
	case <-answered:
		r.mu.Lock()
		defer r.mu.Unlock()
		return r.err
	case <-late.C:
		return errNoAnswer
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (r *readiness) refresh(answered chan struct{}) {
	ctx, cancel := context.WithTimeout(context.Background(), r.patience)
	defer cancel()
	err := r.ask(ctx)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.err, r.at, r.asking = err, r.now(), nil
	close(answered)
}
