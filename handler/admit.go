package handler

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"r-seed-1f3a754f.example/ifmatch/auth"
	"r-seed-1f3a754f.example/ifmatch/handler/accesslog"
	"r-seed-1f3a754f.example/ifmatch/handler/bylink"
	"r-seed-1f3a754f.example/ifmatch/handler/exchange"
	"r-seed-1f3a754f.example/ifmatch/handler/precondition"
	"r-seed-1f3a754f.example/ifmatch/limit"
	"r-seed-1f3a754f.example/ifmatch/tree"
	"r-seed-1f3a754f.example/ifmatch/uploads"
	"r-seed-1f3a754f.example/ifmatch/wire"
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

// takeTurn waits for the turn of a request, in place of an earlier turn, or fails with a [limit.Error].
// [request.endTurn] must be called at the end.
func (s *server) takeTurn(w http.ResponseWriter, r *request, pool *limit.Pool) error {
	client := s.counted(r.Request)
	ctx := tree.WithClient(r.ctx, client)
	next := &turn{life: exchange.LifeOf(w), before: r.turn}
	if next.life == nil {
		ctx, next.cancel = context.WithCancel(ctx)
	}
	slot, err := pool.Acquire(ctx, client, admitPatience, func() { next.giveWay(w) })
	if err != nil {
		next.end()
		r.turnedAway = r.turn == nil
		return err
	}
	r.leave()
	next.slot, r.turn = slot, next
	r.ctx = ctx
	exchange.Measure(w, &slot.In, &slot.Out)
	return nil
}

// A turn is the time in which a request may hold its resource.
type turn struct {
	slot    *limit.Slot
	life    *wire.Life         // whose end ends the context of the turn. nil: cancel does
	cancel  context.CancelFunc // of the turn alone
	before  *turn              // the earlier turn that it replaces
	gaveWay atomic.Bool
}

// giveWay ends the turn for other requests that wait, because its client sends or reads nearly nothing. All waits for
// that client fail.
func (t *turn) giveWay(w http.ResponseWriter) {
	t.gaveWay.Store(true)
	if t.life != nil {
		t.life.Cancel()
	}
	t.end()
	exchange.GiveWay(w)
}

// end ends the context of the turn, if it has one of its own.
func (t *turn) end() {
	if t.cancel != nil {
		t.cancel()
	}
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

func (r *request) endTurn() {
	for t := r.turn; t != nil; t = t.before {
		t.slot.Release()
		t.end()
	}
	r.turn = nil
}

// clientText returns the client of a request as logs name it.
func (s *server) clientText(r *http.Request) string {
	return auth.AddressText(s.TrustedProxies.Client(r))
}

func (s *server) serve(w http.ResponseWriter, hr *http.Request) {
	r := newRequest(hr)
	r.site = s.siteOf(hr)
	if r.byLink = s.linkOf(r); r.byLink != nil {
		w = &bylink.Writer{ResponseWriter: w}
	}
	defer r.endTurn()
	if r.noJunk = s.RefuseJunk; s.Audit != nil {
		r.id = accesslog.Of(w).ID
	}
	err := s.identify(w, r)
	if err == nil {
		err = s.dispatch(w, r)
	}
	s.audit(w, r, err)
	if err == nil && r.gaveWay() && exchange.IsCut(w) {
		// the answer is complete, but its deadlines have passed and the connection cannot be used further
		cutOff(w, errGaveWay)
	}
	if err == nil {
		return
	}
	if r.Method == http.MethodPut && r.granted { // else the store must not be asked about the name
		defer s.putFailed(r)()
	} else if r.Method == http.MethodPut {
		s.putRefused(r)
	}
	switch {
	case !r.gaveWay():
	case exchange.IsCut(w):
		cutOff(w, fmt.Errorf("%w: %w", errGaveWay, err))
	case !errors.Is(err, tree.ErrUnsure):
		err = fmt.Errorf("%w: %v", errGaveWay, err) // every error is a consequence of that
	}
	s.fail(w, r, r.ofLink(s.preferCondition(r, err)))
	r.leave() // the rest of the body needs no turn
	exchange.Settle(w)
}

func (s *server) dispatch(w http.ResponseWriter, r *request) error {
	if r.site == nil && r.RequestURI == "*" && r.Method == "OPTIONS" {
		return s.options(w, r)
	}
	if strings.Contains(r.RequestURI, "#") {
		return withStatus(http.StatusBadRequest, "a request has no fragment (RFC 9112 §3.2.1)")
	}
	if status, reason := exchange.CheckFraming(r.Request); status != 0 {
		return withStatus(status, reason)
	}
	if r.site != nil {
		return s.serveSite(w, r)
	}
	var err error
	r.name, r.slash, err = s.locate(pathOf(r.URL))
	if errors.Is(err, errAbove) {
		return s.above(w, r)
	}
	if err != nil {
		return err
	}
	if serve, rest := ownAddressOf(r.name); serve != nil {
		return serve(s, w, r, rest)
	}
	if s.uploads != nil && uploads.IsCreation(r.Request) {
		return s.upload(w, r, "", false)
	}
	m, known := methods[r.Method]
	if !known {
		return s.refuseMethod(r)
	}
	if err := s.begin(r, r.name); err != nil {
		return err
	}
	if err := s.takeTurn(w, r, s.poolOf(r.Method)); err != nil {
		return err
	}
	s.boundTags(r)
	return m.serve(s, w, r)
}

// boundTags bounds how long the answer waits for tags that it can do without. A GET with If-Match or If needs that of the
// opened file.
func (s *server) boundTags(r *request) {
	reads := r.Method == http.MethodGet || r.Method == http.MethodHead
	if needed := reads && (r.Header["If-Match"] != nil || r.Header["If"] != nil); s.TagWait > 0 && !needed {
		r.tagDeadline = time.Now().Add(s.TagWait)
	}
}

// takes reports whether a request for an address that takes some methods is done: OPTIONS is answered with these, and
// the error refuses any other method.
func takes(w http.ResponseWriter, r *request, allow, detail string) (done bool, err error) {
	switch {
	case r.Method == http.MethodOptions:
		w.Header().Set("Allow", allow)
		w.WriteHeader(http.StatusNoContent)
		return true, nil
	case !slices.Contains(strings.Split(allow, ", "), r.Method):
		return true, &statusError{status: http.StatusMethodNotAllowed, allow: allow, detail: detail}
	}
	return false, nil
}

// becomes makes the request one with a method, or a verb, and a header about a name, and begins it.
func (s *server) becomes(r *request, method, name string, header http.Header) error {
	asked := *r.Request
	asked.Method, asked.Header = method, header
	r.Request = &asked
	return s.begin(r, name)
}

// begin decides whether the request may go on with its method about a name, and reads its conditions.
func (s *server) begin(r *request, name string) error {
	if err := s.aim(r, name); err != nil {
		return err
	}
	r.granted = true
	switch {
	case s.NoLocks && !s.ReadOnly && isLocking(r.Method):
		return s.notAllowed(r, "this server takes no WebDAV locks (--no-locks)")
	case s.NoLocks && isLocking(r.Method):
		return s.notAllowed(r, "")
	case s.ReadOnly && methods[r.Method].writes:
		return tree.ErrReadOnly
	}
	return s.parseConditions(r)
}

// aim makes the request one about a name as the client has spelled it. The rules decide about that name, before the store
// is asked anything, and about the one that exists for it.
func (s *server) aim(r *request, name string) error {
	r.name, r.asked = name, name
	if s.askedToLogIn(r) {
		return &deniedError{auth.Challenge}
	}
	switch r.Method {
	case "COPY", "MOVE":
		r.askedTo, r.toErr = s.askedDestination(r)
		r.to = r.askedTo
	case string(auth.VerbRestore):
		r.askedTo, r.to = name, name
	}
	if err := r.allowed(&r.who.Access); err != nil {
		return err
	}
	if err := s.spell(r); err != nil || r.name == name {
		return err
	}
	return r.allowed(&r.who.Access)
}

// spell finds the spelling that the name of the request has.
func (s *server) spell(r *request) error {
	name, err := s.spelledNow(r, r.asked)
	if err != nil {
		return r.hidden(r.asked, err)
	}
	r.name = name
	if r.Method == string(auth.VerbRestore) {
		r.to = name
	}
	return nil
}

// refuseMethod refuses a method that the server does not know.
func (s *server) refuseMethod(r *request) error {
	r.asked = r.name
	if r.seen(r.asked) {
		if err := s.spell(r); err != nil {
			return err
		}
	}
	return s.notAllowed(r, "")
}

// parseConditions reads the conditions of the request, about the spelling of its name that was found.
func (s *server) parseConditions(r *request) (err error) {
	var tooLong error
	r.cond, err = precondition.Parse(r.Header, s.Now(), r.name, s.tagged(r, &tooLong), s.matching(r.Request))
	if err = cmp.Or(err, tooLong); err != nil {
		return err
	}
	if reads := r.Method == http.MethodGet || r.Method == http.MethodHead; !reads || !r.cond.IsUnconditional() {
		r.cond.Limit(r.sight()) // else it decides nothing
	}
	return r.mayCompare(&r.who.Access)
}

// matching returns how the tags in a request are compared.
func (s *server) matching(r *http.Request) precondition.Matching {
	if s.LooseETags || s.TrustedProxies.Sent(r) {
		return precondition.Loose
	}
	return precondition.Strict
}
