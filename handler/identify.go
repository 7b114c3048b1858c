package handler

import (
	"log/slog"
	"net/http"
	"net/netip"
	"path"
	"strconv"
	"strings"
	"time"

	"ifmatch/auth"
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
				slog.String("user", strconv.QuoteToASCII(Brief(dropped.Name))))
		}
		if err != nil {
			return err
		}
		principal = found
		if rec, ok := below[*recorder](w); ok {
			rec.principal = principal.String()
		}
		if !principal.Anonymous() {
			r.Request = r.WithContext(tree.WithPrincipal(r.Context(), tree.Principal(principal.Name)))
		}
	}
	who.Access = who.rules.Access(principal)
	r.who = who
	return nil
}

// visit returns the part of a request that tells of its sender.
func (s *server) visit(r *http.Request) auth.Visit {
	peer := addrOf(r.RemoteAddr)
	v := auth.Visit{Peer: peer, Client: peer, Secure: r.TLS != nil, Header: r.Header}
	if local, ok := r.Context().Value(http.LocalAddrContextKey).(interface{ Network() string }); ok {
		v.Unix = !peer.IsValid() && local.Network() == "unix"
	}
	if s.trusts(peer) {
		// How the proxy talks to us says nothing about how the client talks to the proxy.
		v.Trusted, v.Client, v.Secure = true, netip.Addr{}, s.proxySaysSecure(r)
		if stations := forwardedFor(r.Header); len(stations) > 0 && addrOf(stations[len(stations)-1]).IsValid() {
			v.Client = s.client(r)
		}
	}
	return v
}

// refuseLogin answers a request whose credentials were not taken.
func (s *server) refuseLogin(w http.ResponseWriter, r *request, e *auth.LoginError) {
	e.LogTo(r.Context(), s.Log)
	explain(w, slog.String("cause", e.Error()))
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
	s.refuse(w, r, problem{Status: status, Detail: e.Error()})
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
	return matchesAgent(r.who.rules.AskLogin(), r.UserAgent()) && r.who.rules.CanAsk(&r.who.visit) == nil &&
		r.who.rules.SomeUserMayIn(r.asked, auth.Create|auth.Replace)
}

func (a *asker) anonymous() bool {
	who := a.Principal()
	return who.Anonymous()
}

// matchesAgent reports whether a User-Agent is one of those that patterns stand for, see [Config.DeleteGuard].
func matchesAgent(patterns []string, agent string) bool {
	for _, pattern := range patterns {
		if ok, _ := path.Match(flat(pattern), flat(agent)); ok {
			return true
		}
	}
	return false
}

// proxySaysSecure reports whether a trusted proxy says that the client has used https: in all of X-Forwarded-Proto
// or, where there is neither that nor X-Forwarded-For, in each element of Forwarded. So a proxy is safe that only
// adds its own word to the invented ones of a client.
func (s *server) proxySaysSecure(r *http.Request) bool {
	var said []string
	if lines := r.Header["X-Forwarded-Proto"]; len(lines) > 0 || len(r.Header["X-Forwarded-For"]) > 0 {
		said = listOf(lines)
	} else {
		for _, hop := range forwarded(r.Header) {
			said = append(said, hop.proto)
		}
	}
	for _, proto := range said {
		if !strings.EqualFold(proto, "https") {
			return false
		}
	}
	return len(said) > 0
}

// withoutUsers returns an authority that knows no users, where each client may do everything.
func withoutUsers() (*auth.Authority, error) { return auth.Open(auth.Options{}) }
