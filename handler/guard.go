package handler

import (
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

// guarded refuses what a web page of another site makes a browser send. As long as there is no authentication, whoever
// can reach the server may write, and a browser can.
func (s *server) guarded(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !s.knownHost(r) {
			s.fail(w, newRequest(r), &statusError{status: http.StatusForbidden,
				detail: "this server is not known as " + r.Host + "; start it with --public-url http://" + r.Host +
					" if it shall be, or with --trusted-proxy if a proxy in front of it is"})
			return
		}
		if err := s.origin.Check(r); err != nil {
			s.fail(w, newRequest(r), &statusError{status: http.StatusForbidden,
				detail: "a page of another site may not do this; start the server with --cors-origin " + r.Header.Get("Origin") + " if it shall"})
			return
		}
		next.ServeHTTP(w, r)
	})
}

// knownHost reports whether the Host is one that no stranger's DNS can have led here: an IP address, localhost, a
// configured name, or whatever a trusted proxy says.
func (s *server) knownHost(r *http.Request) bool {
	host := hostOf(r.Host)
	if _, err := netip.ParseAddr(host); err == nil {
		return true
	}
	if strings.EqualFold(host, "localhost") || s.fromProxy(r) {
		return true
	}
	return host != "" && slices.ContainsFunc(s.PublicURLs, func(u *url.URL) bool { return strings.EqualFold(host, u.Hostname()) })
}

// hostOf returns an authority without its port.
func hostOf(authority string) string {
	if host, _, err := net.SplitHostPort(authority); err == nil {
		return host
	}
	return strings.TrimSuffix(strings.TrimPrefix(authority, "["), "]")
}
