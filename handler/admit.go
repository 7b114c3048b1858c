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

// How many requests run at once is bounded, in all and for each client, by what they hold: an upload a file in staging, a
// download an open file, a listing a directory and files that are being hashed. What is too much waits for a moment and is
// refused then, before anything was done.
const (
	// admitPatience is how long a request waits for its turn: longer than most hold theirs, and not as long as to be given up.
	admitPatience = 5 * time.Second
	// RetryAfter is when a request that was refused because there are too many may be sent again, in seconds.
	RetryAfter = 2
)

// ClientOf returns who is counted for what an address has or does: of IPv6, the network that a host can choose its address
// from.
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

// counted returns who is counted for a request: nobody where a trusted proxy does not say for whom it asks, since that
// may be many.
func (s *server) counted(r *http.Request) string {
	addr := s.TrustedProxies.Client(r)
	if s.TrustedProxies.Has(addr) {
		return ""
	}
	return ClientOf(addr)
}

// poolOf returns what the requests of a method compete for. Those that list go on to compete for listings, once it is
// known what.
func (s *server) poolOf(method string) *limit.Pool {
	switch method {
	case http.MethodPut:
		return s.Pools.Uploads
	case http.MethodGet, http.MethodHead:
		return s.Pools.Downloads
	}
	return s.Pools.Changes
}

// takeTurn has a request wait for its turn, in place of the one that it has had, or fails with a [limit.Error]. It
// returns the writer to answer with; [request.endTurn] must be called at the end.
func (s *server) takeTurn(w http.ResponseWriter, r *request, pool *limit.Pool) (http.ResponseWriter, error) {
	client := s.counted(r.Request)
	ctx, cancel := context.WithCancel(tree.WithClient(r.Context(), client))
	next := &turn{cancel: cancel, before: r.turn}
	slot, err := pool.Acquire(ctx, client, admitPatience, func() { next.giveWay(w) })
	if err != nil {
		cancel()
		r.turnedAway = r.turn == nil
		return w, err
	}
	r.leave()
	next.slot, r.turn = slot, next
	r.Request = r.WithContext(ctx)
	r.Body = meteredReader{r.Body, &slot.In}
	return &meteredWriter{w, &slot.Out}, nil
}

// A turn is when a request may be carried out.
type turn struct {
	slot    *limit.Slot
	cancel  func()
	before  *turn // in whose place it came
	gaveWay atomic.Bool
}

// giveWay ends what is going on for a client that sends and reads nothing, or nearly, while others wait: whatever waits
// for it fails.
func (t *turn) giveWay(w http.ResponseWriter) {
	t.gaveWay.Store(true)
	t.cancel()
	exchange.GiveWay(w)
}

var errGaveWay = errors.New("others waited, and the client sent or read nearly nothing")

// gaveWay reports whether a request has been ended for others.
func (r *request) gaveWay() bool { return r.turn != nil && r.turn.gaveWay.Load() }

// leave lets the next one have a turn, when nothing is held any more but the connection.
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

// A meteredReader measures how fast a body comes.
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

// A meteredWriter measures how fast an answer is read. It forwards ReadFrom, so that sendfile is kept.
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

// Unwrap serves http.ResponseController.
func (w *meteredWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// clientText returns the client of a request as logs name it.
func (s *server) clientText(r *http.Request) string {
	return auth.AddressText(s.TrustedProxies.Client(r))
}
