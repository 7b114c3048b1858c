package login

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"r-seed-1f3a754f.example/ifmatch/auth"
	"r-seed-1f3a754f.example/ifmatch/auth/session"
	"r-seed-1f3a754f.example/ifmatch/handler/origin"
	"r-seed-1f3a754f.example/ifmatch/tree"
	"r-seed-1f3a754f.example/ifmatch/web"
)

// A Visitor is a request as the [Gate] sees it, once its connection and the users are known.
type Visitor interface {
	Context() context.Context
	Request() *http.Request // as it has arrived
	Rules() *auth.Snapshot
	Visit() *auth.Visit
	Own() string    // the path of the program's own addresses, with a slash at the end
	Root() string   // the path of the tree, with a slash at the end
	Policy() string // the Content-Security-Policy of the form
	Client() string // the client as logs name it
	// Turn waits for the turn of the request among others.
	Turn(w http.ResponseWriter) error
	// Refused notes that a login was refused, and returns the status of the answer.
	Refused(w http.ResponseWriter, e *auth.LoginError) int
	// LoggedIn notes who has logged in.
	LoggedIn(w http.ResponseWriter, who auth.Principal)
}

// A Gate lets people in by a form, knows them again, and lets them out. Its errors are those of package tree, an
// [*origin.Refusal], an [*auth.LoginError], and those of [Visitor.Turn].
type Gate struct {
	Sessions *session.Table
	Origin   *origin.Guard
}

// Resume returns the user of the session that a request names, and its key, which is "" where there is none that
// counts.
func (g *Gate) Resume(v Visitor) (auth.Principal, session.Key, error) {
	id := Cookie(v.Request(), v.Visit().Secure)
	if id == "" || !v.Rules().TakesSessions(v.Visit()) || !g.Origin.Carries(v.Request()) {
		return auth.Principal{}, "", nil
	}
	found, err := g.Sessions.Find(v.Context(), id)
	if errors.Is(err, session.ErrNone) {
		return auth.Principal{}, "", nil
	}
	if err != nil {
		return auth.Principal{}, "", unavailable("looked up", err)
	}
	if who, ok := v.Rules().Resume(found.User, found.Token, found.Proof); ok {
		return who, found.Key, nil
	}
	// The password is another one, or the user is gone. That ends the session, also if the old password comes back
	// later.
	return auth.Principal{}, "", g.end(v, found.Key)
}

// Lasts reports whether a session has not ended. Where that cannot be found out, it lasts.
func (g *Gate) Lasts(ctx context.Context, key session.Key) bool {
	_, err := g.Sessions.Look(ctx, key)
	return !errors.Is(err, session.ErrNone)
}

// endOwn ends the session that the browser has, if any.
func (g *Gate) endOwn(v Visitor) error {
	if key, ok := session.KeyOf(Cookie(v.Request(), v.Visit().Secure)); ok {
		return g.end(v, key)
	}
	return nil
}

func (g *Gate) end(v Visitor, key session.Key) error {
	if err := g.Sessions.End(v.Context(), key); err != nil {
		return unavailable("ended", err)
	}
	return nil
}

// unavailable returns the error of a store of sessions as one of the storage: that a part of it is
// away does not say that a file is gone.
func unavailable(done string, err error) error {
	if errors.Is(err, context.Canceled) {
		return err
	}
	return fmt.Errorf("%w: the session cannot be %s: %v", tree.ErrUnavailable, done, err)
}

// Ask answers a request that is not allowed without a login, if a person has sent it. It returns the kind of the
// request and whether it has answered: a [Script] is to be answered with the [Challenge], a [Program] by Basic.
func (g *Gate) Ask(w http.ResponseWriter, v Visitor) (kind Kind, answered bool) {
	kind = KindOf(v.Request(), v.Visit().Secure)
	switch {
	case !v.Rules().TakesSessions(v.Visit()):
		return Program, kind == Person && refuseForm(w, v)
	case kind == Person:
		show(w, v, http.StatusUnauthorized, web.LoginView{
			To: Target(v.Request().URL.RequestURI(), v.Root()), Again: FromElsewhere(v.Request()),
		})
		return kind, true
	}
	return kind, false
}

// refuseForm tells a person why there is no form, if passwords could be read on the way. It reports whether it has
// answered.
func refuseForm(w http.ResponseWriter, v Visitor) bool {
	refused := new(auth.RequestError)
	if !errors.As(v.Rules().CanAsk(v.Visit()), &refused) {
		return false
	}
	show(w, v, refused.Status, web.LoginView{NoForm: sentence(refused.Detail)})
	return true
}

// sentence returns a text as people write it.
func sentence(text string) string { return strings.ToUpper(text[:1]) + text[1:] + "." }

// show answers with the page of the login. No cache keeps it.
func show(w http.ResponseWriter, v Visitor, status int, view web.LoginView) {
	view.Own = v.Own()
	var b bytes.Buffer
	if err := web.WriteLogin(&b, view); err != nil {
		panic(err) // it writes strings to memory
	}
	h := w.Header()
	if status == http.StatusUnauthorized {
		h.Set("WWW-Authenticate", Challenge)
	}
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy", v.Policy())
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Length", strconv.Itoa(b.Len()))
	h.Set("Referrer-Policy", "same-origin")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	if v.Request().Method != http.MethodHead {
		_, _ = b.WriteTo(w) // the client is gone, and nothing can be told to it
	}
}

// LogIn answers the address of the login: GET with the form, and POST with a session for a name and a password. A
// person is sent on to the path in the field "to", and a script gets a 204.
func (g *Gate) LogIn(w http.ResponseWriter, v Visitor) error {
	r := v.Request()
	if !v.Rules().TakesSessions(v.Visit()) {
		if refuseForm(w, v) {
			return nil
		}
		return tree.ErrNotExist // no user has a password, or --insecure-basic takes it by Basic alone
	}
	if r.Method != http.MethodPost {
		show(w, v, http.StatusOK, web.LoginView{To: Target(r.URL.Query().Get("to"), v.Root())})
		return nil
	}
	form, err := g.form(w, v)
	if err != nil {
		return err
	}
	who, err := v.Rules().Login(v.Context(), v.Visit(), form.Name, form.Password)
	if refused := new(auth.LoginError); errors.As(err, &refused) && web.AcceptsPage(r.Header) {
		show(w, v, v.Refused(w, refused), web.LoginView{
			To: Target(form.To, v.Root()), Name: form.Name, Problem: sentence(refused.Error()),
		})
		return nil
	}
	if err != nil {
		return err
	}
	v.LoggedIn(w, who)
	return g.begin(w, v, who, form.To)
}

// begin begins a session, in place of one that the browser has: a stranger who has put an id there does not know the
// new one.
func (g *Gate) begin(w http.ResponseWriter, v Visitor, who auth.Principal, to string) error {
	secure := v.Visit().Secure
	if err := g.endOwn(v); err != nil {
		return err
	}
	id, err := g.Sessions.Begin(v.Context(), session.Record{
		User: who.Name, Token: who.Token, Proof: v.Rules().Proof(who), From: v.Client(),
	})
	if err != nil {
		return unavailable("kept", err)
	}
	SetCookie(w, v.Request(), secure, id, session.Lasts)
	goOn(w, v, to)
	return nil
}

// LogOut answers the address of the logout: POST ends the session that the browser has.
func (g *Gate) LogOut(w http.ResponseWriter, v Visitor) error {
	form, err := g.form(w, v)
	if err != nil {
		return err
	}
	if err := g.endOwn(v); err != nil {
		return err
	}
	SetCookie(w, v.Request(), v.Visit().Secure, "", -time.Second)
	goOn(w, v, form.To)
	return nil
}

// form reads the form of a login or a logout, which a page of this server must have sent.
func (g *Gate) form(w http.ResponseWriter, v Visitor) (Form, error) {
	if refusal := g.Origin.CheckLogin(v.Request(), true); refusal != nil {
		return Form{}, refusal
	}
	if err := v.Turn(w); err != nil {
		return Form{}, err
	}
	return ReadForm(v.Request())
}

// goOn sends a person to a path of this server, by a GET (RFC 9110 §15.4.4).
func goOn(w http.ResponseWriter, v Visitor, to string) {
	if !web.AcceptsPage(v.Request().Header) {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	w.Header().Set("Location", Target(to, v.Root()))
	w.WriteHeader(http.StatusSeeOther)
}
