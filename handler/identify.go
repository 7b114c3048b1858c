package handler

import (
	"log/slog"
	"net/http"
	"net/netip"
	"strconv"
	"time"

	"ifmatch/auth"
	"ifmatch/handler/accesslog"
	"ifmatch/handler/deleteguard"
	"ifmatch/handler/problem"
	"ifmatch/handler/proxy"
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
