package handler

import (
	"cmp"
	"context"
	"log/slog"
	"net/http"
	"net/netip"
	"strconv"
	"strings"

	"r-seed-1f3a754f.example/ifmatch/auth"
	"r-seed-1f3a754f.example/ifmatch/auth/session"
	"r-seed-1f3a754f.example/ifmatch/handler/accesslog"
	"r-seed-1f3a754f.example/ifmatch/handler/deleteguard"
	"r-seed-1f3a754f.example/ifmatch/handler/events"
	"r-seed-1f3a754f.example/ifmatch/handler/login"
	"r-seed-1f3a754f.example/ifmatch/handler/problem"
	"r-seed-1f3a754f.example/ifmatch/handler/proxy"
	"r-seed-1f3a754f.example/ifmatch/handler/synctoken"
	"r-seed-1f3a754f.example/ifmatch/handler/versions"
	"r-seed-1f3a754f.example/ifmatch/internal/excerpt"
	"r-seed-1f3a754f.example/ifmatch/tree"
	"r-seed-1f3a754f.example/ifmatch/web"
)

// An asker is the principal that sends a request, and its rights by the rules that were in force when the request
// came.
type asker struct {
	auth.Access
	authority *auth.Authority
	rules     *auth.Snapshot
	visit     *auth.Visit // noVisit: there are no users
	session   session.Key // by which the user has logged in ("": in another way)
	ended     func() bool // whether the share link by which it asks has ended (nil: there is none)
}

// noVisit is the visit of all askers where there are no users, and stays as it is.
var noVisit = &auth.Visit{}

// now returns the rights of the principal by the rules that are in force now.
func (a *asker) now() auth.Access {
	who := a.Principal()
	if a.ended != nil && a.ended() {
		who.Without = auth.All
	}
	return a.authority.Now().Access(who)
}

// identify finds out the principal of a request. The error is one of package auth, or that of the context.
func (s *server) identify(w http.ResponseWriter, r *request) error {
	if r.byLink != nil {
		return s.identifyLink(w, r)
	}
	who := &asker{authority: s.Auth, rules: s.Auth.Now(), visit: noVisit}
	var principal auth.Principal
	if who.rules.HasUsers() {
		visit := s.visit(r.Request)
		who.visit = &visit
		var err error
		if principal, err = s.principal(w, r, who); err != nil {
			return err
		}
		accesslog.Of(w).User = principal.String()
		if !principal.Anonymous() {
			r.ctx = tree.WithPrincipal(r.ctx, tree.Principal(principal.Name))
		}
	}
	who.Access = who.rules.Access(principal)
	r.asks(who)
	return nil
}

func (r *request) asks(who *asker) {
	r.who = who
	if !who.seesAll() {
		reads := r.Method == http.MethodGet || r.Method == http.MethodHead
		r.follows = func(target string, err error) error { return who.follow(target, err, reads) }
	}
}

// principal returns the principal of a request, where there are users. The errors are those of [server.identify].
func (s *server) principal(w http.ResponseWriter, r *request, who *asker) (_ auth.Principal, err error) {
	if s.hasForm(r) {
		if s.needsNoUser(r) {
			return auth.Principal{}, nil
		}
		w.Header()["Vary"] = append(w.Header()["Vary"], "Authorization, Cookie")
		if who.visit.Session, who.session, err = s.gate().Resume(visitor{s, r, who}); err != nil {
			return auth.Principal{}, err
		}
	}
	found, dropped, err := who.rules.Identify(r.Context(), who.visit)
	if dropped != nil {
		s.Log.LogAttrs(r.Context(), slog.LevelWarn, "a header that names a user was not believed",
			slog.String("client", auth.AddressText(dropped.From)), slog.String("header", dropped.Header),
			slog.String("user", strconv.QuoteToASCII(excerpt.Of(dropped.Name))))
	}
	if err != nil || found.Anonymous() {
		return found, err
	}
	if found.Proxied {
		who.session = ""
	}
	if refusal := s.origin.CheckLogin(r.Request, who.session != ""); refusal != nil {
		return auth.Principal{}, refusal
	}
	return found, nil
}

// hasForm reports whether people may log in by a form where a request asks, if users and the connection allow it.
func (s *server) hasForm(r *request) bool { return s.Page == web.Full && r.site == nil }

// needsNoUser reports whether a request is about the form, or what it looks like. A password that a browser remembers, and
// that is wrong by now, must not be in the way there.
func (s *server) needsNoUser(r *request) bool {
	at, ok := strings.CutPrefix(r.URL.EscapedPath(), s.ownPath())
	return ok && (at == "login" || at == "logout" || strings.HasPrefix(at, web.AssetPath))
}

func (s *server) gate() *login.Gate { return &login.Gate{Sessions: s.Sessions, Origin: s.origin} }

// A visitor is a request as package login sees it.
type visitor struct {
	s   *server
	r   *request
	who *asker
}

func (v visitor) Context() context.Context { return v.r.Context() }
func (v visitor) Request() *http.Request   { return v.r.arrived }
func (v visitor) Rules() *auth.Snapshot    { return v.who.rules }
func (v visitor) Visit() *auth.Visit       { return v.who.visit }
func (v visitor) Own() string              { return v.s.ownPath() }
func (v visitor) Root() string             { return v.s.href("", true) }
func (v visitor) Policy() string           { return v.s.policy(v.r, "frame-ancestors 'none'") }
func (v visitor) Client() string           { return v.s.clientText(v.r.arrived) }

func (v visitor) Turn(w http.ResponseWriter) error { return v.s.takeTurn(w, v.r, v.s.Pools.Changes) }

func (v visitor) Refused(w http.ResponseWriter, e *auth.LoginError) int {
	return v.s.noteRefused(w, v.r, e)
}

func (v visitor) LoggedIn(w http.ResponseWriter, who auth.Principal) {
	accesslog.Of(w).User = who.String()
}

// loginAddress answers one of the addresses of the login, which takes some methods.
func loginAddress(
	serve func(*login.Gate, http.ResponseWriter, login.Visitor) error, methods ...string,
) ownAddress {
	return func(s *server, w http.ResponseWriter, r *request, rest string) error {
		if rest != "" || !r.who.rules.HasUsers() {
			return tree.ErrNotExist
		}
		if err := s.ofPage(r, methods...); err != nil {
			return err
		}
		w.Header().Set("Cache-Control", "no-store")
		return serve(s.gate(), w, visitor{s, r, r.who})
	}
}

// askByForm answers a request that is not allowed to anonymous, if a browser has sent it. It reports whether it has.
func (s *server) askByForm(w http.ResponseWriter, r *request) bool {
	if !s.hasForm(r) {
		return false
	}
	kind, answered := s.gate().Ask(w, visitor{s, r, r.who})
	if !answered && kind == login.Script {
		w.Header().Set("WWW-Authenticate", login.Challenge)
		s.refuse(w, r, problem.Problem{Status: http.StatusUnauthorized, Detail: "log in as a user who may do that"})
	}
	return answered || kind == login.Script
}

// shownLogin is what the page tells of its reader.
func (s *server) shownLogin(r *request) web.Login {
	who := r.who.Principal()
	return web.Login{User: who.Name, Out: r.who.session != "", In: r.who.rules.TakesSessions(r.who.visit)}
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
	status := s.noteRefused(w, r, e)
	accesslog.Explain(w, slog.String("cause", e.Error()))
	if status == http.StatusUnauthorized {
		challenge := auth.ChallengeHeader // to Basic
		if s.hasForm(r) && s.needsNoUser(r) {
			challenge = login.Challenge
		}
		w.Header().Set("WWW-Authenticate", challenge)
	}
	s.refuse(w, r, problem.Problem{Status: status, Detail: e.Error()})
}

// noteRefused notes a login that was refused, and returns the status of its answer.
func (s *server) noteRefused(w http.ResponseWriter, r *request, e *auth.LoginError) int {
	e.LogTo(r.Context(), s.Log)
	reason, status := "wrong_password", http.StatusUnauthorized // the reason is for counters
	switch e.Reason {
	case auth.TooMany:
		reason, status = "too_many", http.StatusTooManyRequests
	case auth.Busy:
		reason, status = "busy", http.StatusServiceUnavailable
	case auth.Uncounted:
		reason, status = "uncounted", http.StatusServiceUnavailable
	}
	accesslog.Of(w).Login = reason
	if status != http.StatusUnauthorized {
		retryAfter(w, e.RetryAfter)
	}
	return status
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
	return deleteguard.Matches(r.who.rules.AskLogin(), r.UserAgent()) && r.who.rules.CanAsk(r.who.visit) == nil &&
		r.who.rules.SomeUserMayIn(r.asked, auth.Create|auth.Replace)
}

func (a *asker) anonymous() bool {
	who := a.Principal()
	return who.Anonymous()
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

func (l listener) Live() bool {
	who := l.r.who
	return (who.session == "" || l.s.gate().Lasts(l.r.Context(), who.session)) && who.isCurrent()
}

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

// ownDir is the first segment of the addresses of the program itself, which stand in place of files:
// PREFIX/.ifmatch/ADDRESS, and names below it. All other names like .ifmatch are reserved, see [tree.ErrReserved].
const ownDir = ".ifmatch"

// An ownAddress serves all methods, and gets the rest of the path. It is no resource of the tree, and decides about
// rights itself.
type ownAddress func(s *server, w http.ResponseWriter, r *request, rest string) error

// ownAddresses are the addresses by the segment after ownDir. An address counts in exactly this spelling, once the
// path is resolved as every path is (RFC 3986 §6.2.2), and only in the Request-URI: no Destination and no If can name
// one.
var ownAddresses = withPage(map[string]ownAddress{
	"events":  (*server).events,
	"login":   loginAddress((*login.Gate).LogIn, http.MethodGet, http.MethodHead, http.MethodPost),
	"logout":  loginAddress((*login.Gate).LogOut, http.MethodPost),
	"uploads": (*server).uploadsAddress,

	versions.Address: (*server).versionsAddress,
	linkAddress:      (*server).link,
	"links":          (*server).linksAddress,
})

// ownAddressOf returns the address that a name is, or is below, and the rest of the name. It is nil for other names.
func ownAddressOf(name string) (serve ownAddress, rest string) {
	below, ok := strings.CutPrefix(name, ownDir+"/")
	if !ok {
		return nil, ""
	}
	address, rest, _ := strings.Cut(below, "/")
	return ownAddresses[address], rest
}

// events answers PREFIX/.ifmatch/events?path=PATH with the changes of a collection as they come (see package events). The
// rights are those of a PROPFIND of the collection.
func (s *server) events(w http.ResponseWriter, r *request, rest string) error {
	if rest != "" || s.feed == nil {
		return tree.ErrReserved
	}
	if done, err := takes(w, r, "GET, HEAD, OPTIONS", "events are read with GET"); done {
		return err
	}
	isHead := r.Method == http.MethodHead
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
func (s *server) openListing(r *request, path string) error {
	asked := *r.Request
	asked.Method = "PROPFIND"
	r.Request = &asked
	name, _, err := s.locateIn(path)
	if err == nil {
		err = s.aim(r, name)
	}
	if err != nil {
		return err
	}
	return s.Store.Try(r.Context(), r.condition(func(v tree.View) error {
		return r.lookAtChanging(v, withStatus(http.StatusForbidden,
			"only changes of a collection are told, to which no link leads"))
	}))
}
