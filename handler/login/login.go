// Package login is the login by a form, for browsers: which requests are asked to log in so, the cookie, and the form
// that comes back. It decides nothing about users and rights.
//
// A browser answers a challenge of Basic with a box of its own, remembers the password until it is closed, and cannot
// forget it before. So the requests of pages get the challenge [Challenge], which browsers leave alone, and a person
// gets a form. Programs get Basic, as before.
package login

import (
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"r-seed-1f3a754f.example/ifmatch/handler/origin"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

// Challenge is the value of WWW-Authenticate (RFC 9110 §11.6.1) for browsers. No browser knows the scheme, and so none
// asks for a password by itself.
const Challenge = `Session realm="ifmatch"`

// A Kind says how a request is asked to log in.
type Kind int

// The kinds.
const (
	Program Kind = iota // by Basic
	Script              // by Challenge: a page sends the request, and can show a form
	Person              // by Challenge, with the form as the body: a person opens a page
)

// KindOf returns the kind of a request. Browsers say the purpose (Sec-Fetch-Mode), where they trust the connection. Of
// those that do not yet, the name and the cookie tell.
func KindOf(r *http.Request, secure bool) Kind {
	mode, site, dest := r.Header.Get("Sec-Fetch-Mode"), r.Header.Get("Sec-Fetch-Site"), r.Header.Get("Sec-Fetch-Dest")
	reads := r.Method == http.MethodGet || r.Method == http.MethodHead
	switch {
	case mode == "navigate" && (dest == "" || dest == "document") && (reads || r.Method == http.MethodPost):
		return Person
	case mode == "navigate", site == "same-origin": // a frame cannot hold the form
		return Script
	case mode != "" || site != "":
		return Program // a program with the network of a browser, or a page of a listed origin that sends the password
	case reads && strings.HasPrefix(r.UserAgent(), "Mozilla/") && strings.Contains(r.Header.Get("Accept"), "text/html"):
		return Person
	case Cookie(r, secure) != "":
		return Script
	}
	return Program
}

// FromElsewhere reports whether a person follows a link of another site. The browser then sends no cookie (SameSite),
// and does with the next request.
func FromElsewhere(r *http.Request) bool { return r.Header.Get("Sec-Fetch-Site") == "cross-site" }

// CookieName returns the name of the cookie. Over https it has the prefix by which browsers take it only from exactly
// this host, with Secure and for all paths (RFC 6265bis §4.1.3.2). Over plain HTTP on this machine no such cookie can
// be set. There it has the port, since several servers of one machine share their cookies.
func CookieName(r *http.Request, secure bool) string {
	if secure {
		return "__Host-ifmatch"
	}
	if _, port, err := net.SplitHostPort(r.Host); err == nil && port != "" {
		return "ifmatch-" + port
	}
	return "ifmatch"
}

// Cookie returns the id of the session that a request names, or "".
func Cookie(r *http.Request, secure bool) string {
	if r.Header["Cookie"] == nil {
		return ""
	}
	c, err := r.Cookie(CookieName(r, secure))
	if err != nil {
		return ""
	}
	return c.Value
}

// SetCookie gives the id of a session to the browser, for a time. A negative time has the browser forget it. The cookie is
// sent with requests of this origin's pages alone, and no script can read it.
func SetCookie(w http.ResponseWriter, r *http.Request, secure bool, id string, lasts time.Duration) {
	http.SetCookie(w, &http.Cookie{
		Name: CookieName(r, secure), Value: id, Path: "/", MaxAge: int(lasts / time.Second),
		HttpOnly: true, Secure: secure, SameSite: http.SameSiteStrictMode,
	})
}

// A Form has the fields that a person has filled in.
type Form struct {
	Name, Password string
	To             string // where to go then, as it was sent
}

// maxForm bounds the body of a form, in bytes: a password of 1,024, a name and a long path, with escapes.
const maxForm = 64 << 10

// ReadForm reads the body of a login or a logout. The error is an [*origin.Refusal], or a [*tree.BodyError].
func ReadForm(r *http.Request) (f Form, err error) {
	media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || media != "application/x-www-form-urlencoded" {
		return f, &origin.Refusal{Status: http.StatusUnsupportedMediaType,
			Detail: "the body must be application/x-www-form-urlencoded"}
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxForm+1))
	switch {
	case err != nil:
		return f, &tree.BodyError{Err: err}
	case len(body) > maxForm:
		return f, &origin.Refusal{Status: http.StatusRequestEntityTooLarge, Detail: "the form is too large"}
	}
	values, err := url.ParseQuery(string(body))
	if err != nil {
		return f, &origin.Refusal{Status: http.StatusBadRequest, Detail: "the form is malformed"}
	}
	return Form{values.Get("name"), values.Get("password"), values.Get("to")}, nil
}

// Target returns a path of this server with its query, to which a browser may be sent, or other if the text is anything
// else. Browsers take a second slash, and backslashes for slashes, as the beginning of another server's address.
func Target(text, other string) string {
	if !strings.HasPrefix(text, "/") || strings.HasPrefix(text, "//") || strings.ContainsFunc(text, func(c rune) bool {
		return c == '\\' || c <= ' ' || c >= 0x7f
	}) {
		return other
	}
	u, err := url.ParseRequestURI(text)
	if err != nil || u.Scheme != "" || u.Host != "" || u.User != nil || !strings.HasPrefix(u.EscapedPath(), "/") ||
		strings.HasPrefix(u.Path, "//") { // escaped, which a program on the way may take back
		return other
	}
	for segment := range strings.SplitSeq(u.Path, "/") {
		if segment == "." || segment == ".." { // a browser would resolve them, perhaps to two slashes
			return other
		}
	}
	return text
}
