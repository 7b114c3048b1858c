package handler

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/netip"
	"sync/atomic"
	"time"

	"ifmatch/auth"
	"ifmatch/handler/exchange"
	"ifmatch/limit"
	"ifmatch/tree"
)

// The number of requests that run at once is limited, in all and for each client, by the resource that they hold: an
// upload holds a staged file, a download an open file, a listing a directory and files that are being hashed. A
// request above the limit waits for a short time, and is refused if there is still no room. Nothing has been done by
// then.
const (
	// admitPatience is how long a request waits for its turn. Most requests are done sooner, and clients wait longer.
	admitPatience = 5 * time.Second
	// RetryAfter is the Retry-After of the refusal, in seconds.
	RetryAfter = 2
)

// ClientOf returns the client that an address counts for. For IPv6 that is the /64 network, from which a host can
// choose its addresses.
func ClientOf(addr netip.Addr) string {
	if !addr.IsValid() {
		return ""
	}
	if addr.Is6() {
		if network, err := addr.Prefix(64); err == nil {
			return network.String()
		}
	}
	return addr.String()
}

// counted returns the client that a request counts for. It is "" if a trusted proxy does not name its client, because
// the request may come from any of many.
func (s *server) counted(r *http.Request) string {
	addr := s.TrustedProxies.Client(r)
	if s.TrustedProxies.Has(addr) {
		return ""
	}
	return ClientOf(addr)
}

// poolOf returns the pool of the resource that the requests of a method compete for. A listing takes its turn later,
// when it is known that there is something to list.
func (s *server) poolOf(method string) *limit.Pool {
	switch method {
	case http.MethodPut:
		return s.Pools.Uploads
	case http.MethodGet, http.MethodHead:
		return s.Pools.Downloads
	}
	return s.Pools.Changes
}

// takeTurn waits for the turn of a request, in place of an earlier turn, or fails with a [limit.Error]. The answer
// must be written to the returned writer. [request.endTurn] must be called at the end.
func (s *server) takeTurn(w http.ResponseWriter, r *request, pool *limit.Pool) (http.ResponseWriter, error) {
	client := s.counted(r.Request)
	ctx, cancel := context.WithCancel(tree.WithClient(r.ctx, client))
	next := &turn{cancel: cancel, before: r.turn}
	slot, err := pool.Acquire(ctx, client, admitPatience, func() { next.giveWay(w) })
	if err != nil {
		cancel()
		r.turnedAway = r.turn == nil
		return w, err
	}
	r.leave()
	next.slot, r.turn = slot, next
	r.ctx = ctx
	if r.sending != nil {
		r.Body = meteredReader{r.Body, &slot.In}
	}
	return &meteredWriter{w, &slot.Out}, nil
}

// A turn is the time in which a request may hold its resource.
type turn struct {
	slot    *limit.Slot
	cancel  func()
	before  *turn // the earlier turn that it replaces
	gaveWay atomic.Bool
}

// giveWay ends the turn for other requests that wait, because its client sends or reads nearly nothing. All waits for
// that client fail.
func (t *turn) giveWay(w http.ResponseWriter) {
	t.gaveWay.Store(true)
	t.cancel()
	exchange.GiveWay(w)
}

var errGaveWay = errors.New("others waited, and the client sent or read nearly nothing")

// gaveWay reports whether the turn of the request was ended for others.
func (r *request) gaveWay() bool { return r.turn != nil && r.turn.gaveWay.Load() }

// leave releases the resource of the turn, when the request holds nothing but the connection.
func (r *request) leave() {
	if r.turn != nil {
		r.turn.slot.Release()
	}
}

// endTurn ends the turn of a request.
func (r *request) endTurn() {
	for t := r.turn; t != nil; t = t.before {
		t.slot.Release()
		t.cancel()
	}
	r.turn = nil
}

// A meteredReader measures the pace of a body.
type meteredReader struct {
	io.ReadCloser
	meter *limit.Meter
}

func (r meteredReader) Read(p []byte) (int, error) {
	r.meter.Begin()
	n, err := r.ReadCloser.Read(p)
	r.meter.End(int64(n))
	return n, err
}

// A meteredWriter measures the pace at which the client reads. It forwards ReadFrom, so that sendfile is kept.
type meteredWriter struct {
	http.ResponseWriter
	meter *limit.Meter
}

func (w *meteredWriter) Write(p []byte) (int, error) {
	w.meter.Begin()
	n, err := w.ResponseWriter.Write(p)
	w.meter.End(int64(n))
	return n, err
}

func (w *meteredWriter) ReadFrom(src io.Reader) (int64, error) {
	w.meter.Begin()
	n, err := io.Copy(w.ResponseWriter, src)
	w.meter.End(n)
	return n, err
}

// AwaitRead implements [tree.Drain]. The server waits for the client meanwhile.
func (w *meteredWriter) AwaitRead(most int64, patience time.Duration) (unread int64, ok bool) {
	w.meter.Begin()
	defer w.meter.End(0)
	return exchange.AwaitRead(w.ResponseWriter, most, patience)
}

// Unwrap implements the search of [http.ResponseController].
func (w *meteredWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// clientText returns the client of a request as logs name it.
func (s *server) clientText(r *http.Request) string {
	return auth.AddressText(s.TrustedProxies.Client(r))
}
