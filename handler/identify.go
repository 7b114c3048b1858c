package handler

import (
	"cmp"
	"errors"
	"log/slog"
	"net/http"
	"net/netip"
	"strconv"
	"time"

	"ifmatch/auth"
	"ifmatch/handler/accesslog"
	"ifmatch/handler/deleteguard"
	"ifmatch/handler/events"
	"ifmatch/handler/own"
	"ifmatch/handler/problem"
	"ifmatch/handler/proxy"
	"ifmatch/handler/synctoken"
	"ifmatch/handler/versions"
	"ifmatch/internal/excerpt"
	"ifmatch/tree"
)

// An asker is the principal that sends a request, and its rights by the rules that were in force when the request
// came.
type asker struct {
	auth.Access
	authority *auth.Authority
	rules     *auth.Snapshot
	visit     auth.Visit
}

// now returns the rights of the principal by the rules that are in force now.
func (a *asker) now() auth.Access { return a.authority.Now().Access(a.Principal()) }

// identify finds out the principal of a request. The error is one of package auth, or that of the context.
func (s *server) identify(w http.ResponseWriter, r *request) error {
	who := &asker{authority: s.Auth, rules: s.Auth.Now()}
	var principal auth.Principal
	if who.rules.HasUsers() {
		who.visit = s.visit(r.Request)
		found, dropped, err := who.rules.Identify(r.Context(), &who.visit)
		if dropped != nil {
			s.Log.LogAttrs(r.Context(), slog.LevelWarn, "a header that names a user was not believed",
				slog.String("client", auth.AddressText(dropped.From)), slog.String("header", dropped.Header),
				slog.String("user", strconv.QuoteToASCII(excerpt.Of(dropped.Name))))
		}
		if err != nil {
			return err
		}
		principal = found
		accesslog.SetUser(w, principal.String())
		if !principal.Anonymous() {
			r.ctx = tree.WithPrincipal(r.ctx, tree.Principal(principal.Name))
		}
	}
	who.Access = who.rules.Access(principal)
	r.who = who
	if !who.seesAll() {
		reads := r.Method == http.MethodGet || r.Method == http.MethodHead
		r.follows = func(target string, err error) error { return who.follow(target, err, reads) }
	}
	return nil
}

// visit returns the part of a request that tells of its sender.
func (s *server) visit(r *http.Request) auth.Visit {
	peer := proxy.Addr(r.RemoteAddr)
	v := auth.Visit{Peer: peer, Client: peer, Secure: r.TLS != nil, Header: r.Header}
	if local, ok := r.Context().Value(http.LocalAddrContextKey).(interface{ Network() string }); ok {
		v.Unix = !peer.IsValid() && local.Network() == "unix"
	}
	if s.TrustedProxies.Has(peer) {
		// How the proxy talks to us says nothing about how the client talks to the proxy.
		v.Trusted, v.Client, v.Secure = true, netip.Addr{}, proxy.SaysHTTPS(r.Header)
		if stations := proxy.ForwardedFor(r.Header); len(stations) > 0 && proxy.Addr(stations[len(stations)-1]).IsValid() {
			v.Client = s.TrustedProxies.Client(r)
		}
	}
	return v
}

// refuseLogin answers a request whose credentials were not taken.
func (s *server) refuseLogin(w http.ResponseWriter, r *request, e *auth.LoginError) {
	e.LogTo(r.Context(), s.Log)
	accesslog.SetLogin(w, reasonOf(e))
	accesslog.Explain(w, slog.String("cause", e.Error()))
	status := http.StatusUnauthorized
	switch e.Reason {
	case auth.TooMany:
		status = http.StatusTooManyRequests
	case auth.Busy:
		status = http.StatusServiceUnavailable
	}
	if status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", auth.ChallengeHeader)
	} else {
		after := max(1, int((e.RetryAfter+time.Second-1)/time.Second))
		w.Header().Set("Retry-After", strconv.Itoa(after))
	}
	s.refuse(w, r, problem.Problem{Status: status, Detail: e.Error()})
}

// askedToLogIn reports whether a client is to be challenged though its request is allowed: it never logs in by itself
// where reading needs no password, and some user may write there or below.
func (s *server) askedToLogIn(r *request) bool {
	if !r.who.rules.HasUsers() || !r.who.anonymous() ||
		r.Method != http.MethodOptions && r.Method != "PROPFIND" {
		return false
	}
	if r.Header.Get("Access-Control-Request-Method") != "" { // a browser asks for a page, and can send no password here
		return false
	}
	return deleteguard.Matches(r.who.rules.AskLogin(), r.UserAgent()) && r.who.rules.CanAsk(&r.who.visit) == nil &&
		r.who.rules.SomeUserMayIn(r.asked, auth.Create|auth.Replace)
}

func (a *asker) anonymous() bool {
	who := a.Principal()
	return who.Anonymous()
}

// withoutUsers returns an authority that knows no users, where each client may do everything.
func withoutUsers() (*auth.Authority, error) { return auth.Open(auth.Options{}) }

// reasonOf names the reason of a refused login, for counters.
func reasonOf(e *auth.LoginError) string {
	switch e.Reason {
	case auth.TooMany:
		return "too_many"
	case auth.Busy:
		return "busy"
	}
	return "wrong_password"
}

// isCurrent reports whether the login still counts, and gives the same rights as when the request came.
func (a *asker) isCurrent() bool {
	now, who := a.authority.Now(), a.Principal()
	if now == a.rules && who.Token == "" {
		return true
	}
	access := now.Access(who)
	same := now.SameLogin(a.rules, who) &&
		(now == a.rules || now.Generation(&access) == a.rules.Generation(&a.Access))
	if same {
		a.rules = now
	}
	return same
}

// A listener is the asker of a stream of events. It has the rights with which its request came: when they end, so does
// the stream.
type listener struct {
	s *server
	r *request
}

func (l listener) Live() bool { return l.r.who.isCurrent() }

func (l listener) SeesAll() bool { return l.r.who.Subtree("").Has(auth.List | auth.Read) }

func (l listener) Seen(name string) bool { return l.r.seen(name) }

func (l listener) Lists(name string) bool { return l.r.may(name, auth.List) }

func (l listener) Shows(s *tree.State) (shows, reads bool) {
	shows = l.r.shows(s)
	return shows, shows && l.r.mayOf(s, auth.Read)
}

func (l listener) Href(name string, collection bool) string { return l.s.href(name, collection) }

func (l listener) Token(c tree.Cursor) string { return synctoken.New(c, l.r.binding()) }

func (l listener) Cursor(token string) (tree.Cursor, bool) {
	return synctoken.Cursor(token, l.r.binding())
}

// ownAddresses are the addresses of the program itself. Each serves all methods, and gets the rest of the path.
var ownAddresses = withPage(own.Table[func(s *server, w http.ResponseWriter, r *request, rest string) error]{
	"events":  (*server).events,
	"uploads": (*server).uploadsAddress,

	versions.Address: (*server).versionsAddress,
})

// events answers PREFIX/.ifmatch/events?path=PATH with the changes of a collection as they come (see package events). The
// rights are those of a PROPFIND of the collection.
func (s *server) events(w http.ResponseWriter, r *request, rest string) error {
	if rest != "" || s.feed == nil {
		return tree.ErrReserved
	}
	isHead := r.Method == http.MethodHead
	const allow = "GET, HEAD, OPTIONS"
	switch r.Method {
	case http.MethodOptions:
		w.Header().Set("Allow", allow)
		w.WriteHeader(http.StatusNoContent)
		return nil
	case http.MethodGet, http.MethodHead:
	default:
		return &statusError{status: http.StatusMethodNotAllowed, allow: allow, detail: "events are read with GET"}
	}
	query := r.URL.Query()
	path := s.href("", true)
	if query.Has("path") {
		path = query.Get("path")
	}
	since := cmp.Or(r.Header.Get("Last-Event-ID"), query.Get("since"))
	if err := s.openListing(r, path); err != nil {
		return err
	}
	if isHead {
		w.Header().Set("Content-Type", events.ContentType)
		w.WriteHeader(http.StatusOK)
		return nil
	}
	return s.hub.Serve(r.Context(), w, listener{s, r}, s.counted(r.Request), r.name, since)
}

// openListing makes a request one about a collection that the client may list, like a PROPFIND, or fails as that would.
func (s *server) openListing(r *request, path string) (err error) {
	asked := *r.Request
	asked.Method = "PROPFIND"
	r.Request = &asked
	if r.name, _, err = s.locate(path); err != nil {
		if errors.Is(err, errAbove) {
			err = errOutside
		}
		return err
	}
	r.asked = r.name
	if err := r.allowed(&r.who.Access); err != nil {
		return err
	}
	if r.name, err = s.spelledNow(r, r.asked); err != nil {
		return r.hidden(r.asked, err)
	}
	if err := r.allowed(&r.who.Access); err != nil {
		return err
	}
	return s.Store.Try(r.Context(), r.condition(func(v tree.View) error {
		self, err := r.found(v)
		if err == nil {
			err = r.opens(&self)
		}
		if err != nil {
			return r.hidden(r.name, err)
		}
		if !self.Collection || self.Link || self.Through || self.Resolved != nil {
			return &statusError{status: http.StatusForbidden, detail: "only changes of a collection are told, to which no link leads"}
		}
		return nil
	}))
}
