package handler

import (
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// guarded refuses what a web page of another site makes a browser send. As long as there is no authentication, whoever
// can reach the server may write, and a browser can.
func (s *server) guarded(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		refuse := func(detail string) {
			s.fail(w, newRequest(r), &statusError{status: http.StatusForbidden, detail: detail})
		}
		switch {
		case !validHost(r.Host):
			s.fail(w, newRequest(r), &statusError{status: http.StatusBadRequest, detail: "this is no Host: " + Brief(r.Host)})
		case !s.knownHost(r):
			refuse("this server is not known as " + Brief(r.Host) + "; start it with --public-url " + schemeOf(r) + "://" + Brief(r.Host) +
				" if it shall be, or with --trusted-proxy " + peerOf(r) + " if that is a proxy in front of it")
		case s.origin.Check(r) != nil:
			refuse("a page of another site may not do this" + originHint(r))
		case s.embedded(r):
			refuse("a page of another site may lead to this, and not fetch or embed it" + originHint(r))
		default:
			next.ServeHTTP(w, r)
		}
	})
}

// private keeps pages of other sites from embedding what is answered, whatever it is: scripts run where they are embedded,
// and whether an image loads tells whether it is there.
func (s *server) private(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		policy := "same-origin"
		if s.listedPage(r) {
			policy = "cross-origin"
		}
		w.Header().Set("Cross-Origin-Resource-Policy", policy)
		next.ServeHTTP(w, r)
	})
}

// embedded reports whether a page of another origin asks, and not a person who follows a link from there. Browsers say so
// where the connection is one that they trust; for the rest there is [server.private].
func (s *server) embedded(r *http.Request) bool {
	switch r.Header.Get("Sec-Fetch-Site") {
	case "", "same-origin", "none":
		return false // no browser, or none of another's pages
	}
	dest := r.Header.Get("Sec-Fetch-Dest")
	follows := r.Header.Get("Sec-Fetch-Mode") == "navigate" && (dest == "" || dest == "document") // and no frame
	return !follows && !s.listedPage(r)
}

// listedPage reports whether a page of a listed origin asks: with its Origin where it is to read the answer, and with a
// Referer where it embeds it. A page of another can leave both out, and write neither.
func (s *server) listedPage(r *http.Request) bool {
	if len(s.CORSOrigins) == 0 {
		return false
	}
	origin := r.Header.Get("Origin")
	if origin == "" {
		if u, err := url.Parse(r.Header.Get("Referer")); err == nil {
			origin = u.Scheme + "://" + u.Host
		}
	}
	return slices.ContainsFunc(s.CORSOrigins, func(listed string) bool { return strings.EqualFold(origin, listed) })
}

// framing is who may show a page in a frame (Content-Security-Policy).
func (s *server) framing() string {
	return strings.Join(append([]string{"frame-ancestors 'self'"}, s.CORSOrigins...), " ")
}

// originHint says which flag lets a page do what it may not, if any does.
func originHint(r *http.Request) string {
	u, err := url.Parse(r.Header.Get("Origin"))
	switch {
	case r.Header.Get("Origin") == "":
		return "; start the server with --cors-origin and the origin of that page if it shall"
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		return ", nor may one that has no origin of a site (" + Brief(r.Header.Get("Origin")) + ")"
	}
	return "; start the server with --cors-origin " + u.Scheme + "://" + Brief(u.Host) + " if it shall"
}

// knownHost reports whether the Host is one that no stranger's DNS can have led here: an IP address, localhost, a
// configured name, or whatever a trusted proxy says. A request without one is of no browser.
func (s *server) knownHost(r *http.Request) bool {
	host := hostOf(r.Host)
	if _, err := netip.ParseAddr(host); err == nil || r.Host == "" {
		return true
	}
	if strings.EqualFold(host, "localhost") || s.fromProxy(r) {
		return true
	}
	return host != "" && slices.ContainsFunc(s.PublicURLs, func(u *url.URL) bool { return strings.EqualFold(host, u.Hostname()) })
}

// schemeOf returns the scheme that the client seems to have used. What a proxy says of it is believed, whoever that is: it
// goes into a hint, and nowhere else.
func schemeOf(r *http.Request) string {
	said := strings.ToLower(r.Header.Get("X-Forwarded-Proto") + " " + r.Header.Get("Forwarded"))
	if r.TLS != nil || strings.Contains(said, "https") || strings.EqualFold(r.Header.Get("X-Forwarded-Ssl"), "on") {
		return "https"
	}
	return "http"
}

// peerOf returns the address that a request comes from, as a flag takes it.
func peerOf(r *http.Request) string {
	if addr := addrOf(r.RemoteAddr); addr.IsValid() {
		return addr.String()
	}
	return "ADDRESS"
}

// validHost reports whether a Host can be one, as far as it matters here: what follows the name is a port, or nothing (RFC
// 9110 §7.2, RFC 3986 §3.2.3), and a zone is of no concern to others than the client (RFC 6874 §4).
func validHost(authority string) bool {
	_, port, ok := strings.Cut(authority[strings.LastIndexByte(authority, ']')+1:], ":")
	valid := !strings.Contains(authority, "%")
	if ok && port != "" && valid {
		_, err := strconv.ParseUint(port, 10, 16)
		valid = err == nil
	}
	if !valid { // it may be an address without the brackets of RFC 3986, and without a port
		_, err := netip.ParseAddr(authority)
		valid = err == nil
	}
	return valid
}

// hostOf returns an authority without its port.
func hostOf(authority string) string {
	if host, _, err := net.SplitHostPort(authority); err == nil {
		return host
	}
	return strings.TrimSuffix(strings.TrimPrefix(authority, "["), "]")
}
