// Package origin decides which web pages may make a browser send a request, and by which names the server is known.
//
// Without users, each program that can reach the server may write, and each web page can make a browser send
// requests. A [Guard] refuses the requests of other sites' pages, and those for a Host that DNS may have led here
// (DNS rebinding).
package origin

import (
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/rs/cors"

	"r-seed-1f3a754f.example/ifmatch/handler/proxy"
	"r-seed-1f3a754f.example/ifmatch/internal/excerpt"
)

// A Guard knows the names of the server, and the origins whose pages may read and write.
type Guard struct {
	pages   []string // the listed origins, such as "https://app.example"
	public  []*url.URL
	proxies proxy.Trusted
	cross   *http.CrossOriginProtection
}

// New returns a guard that lists the origins of some pages, for a server with some public URLs behind trusted
// proxies. It fails if an origin is malformed.
func New(pages []string, public []*url.URL, proxies proxy.Trusted) (*Guard, error) {
	g := &Guard{pages, public, proxies, http.NewCrossOriginProtection()}
	for _, page := range pages {
		if err := g.cross.AddTrustedOrigin(page); err != nil {
			return nil, err
		}
	}
	for _, u := range public {
		if err := g.cross.AddTrustedOrigin(u.Scheme + "://" + u.Host); err != nil {
			return nil, err
		}
	}
	return g, nil
}

// A Refusal says why a request is refused.
type Refusal struct {
	Status int
	Detail string // for people
}

func (e *Refusal) Error() string { return e.Detail }

// Check returns nil, or why a request is refused.
func (g *Guard) Check(r *http.Request) *Refusal {
	switch {
	case !validHost(r.Host):
		return &Refusal{http.StatusBadRequest, "malformed Host: " + excerpt.Of(r.Host)}
	case !g.knows(r):
		host := excerpt.Of(r.Host)
		return &Refusal{http.StatusForbidden, "this server is not known as " + host + "; if that is its name, start it " +
			"with --public-url " + schemeOf(r) + "://" + host + ", or with --trusted-proxy " + proxy.Peer(r) +
			" if that is a proxy in front of it"}
	case g.cross.Check(r) != nil:
		return &Refusal{http.StatusForbidden, "a page of another site may not send this request" + hint(r)}
	case g.embeds(r):
		return &Refusal{http.StatusForbidden, "a page of another site may link to this, but not fetch or embed it" + hint(r)}
	}
	return nil
}

// The values of Cross-Origin-Resource-Policy. All answers share them, so they must not be changed.
var sameOrigin, crossOrigin = []string{"same-origin"}, []string{"cross-origin"}

// Private returns a handler whose answers pages of other sites cannot embed: an embedded script runs there, and
// whether an image loads tells whether it exists.
func (g *Guard) Private(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		policy := sameOrigin
		if g.lists(r) {
			policy = crossOrigin
		}
		w.Header()["Cross-Origin-Resource-Policy"] = policy
		next.ServeHTTP(w, r)
	})
}

// CORS returns a handler whose answers the pages of the listed origins may read, and to which they may send requests
// with some methods. It must be around everything that answers, so that a page can also read why it is refused.
func (g *Guard) CORS(methods []string, next http.Handler) http.Handler {
	if len(g.pages) == 0 {
		return next
	}
	return cors.New(cors.Options{
		AllowedOrigins: g.pages,
		AllowedMethods: methods,
		AllowedHeaders: []string{"Accept", "Authorization", "Cache-Control", "Content-Digest", "Content-MD5", "Content-Range",
			"Content-Type", "Depth", "Destination", "If", "If-Match", "If-Modified-Since", "If-None-Match", "If-Range",
			"If-Unmodified-Since", "Lock-Token", "OC-Checksum", "Overwrite", "Pragma", "Prefer", "Range", "Repr-Digest",
			"Timeout", "Tus-Resumable", "Upload-Checksum", "Upload-Length", "Upload-Metadata", "Upload-Offset",
			"Want-Content-Digest", "Want-Repr-Digest", "X-Expected-Entity-Length", "X-HTTP-Method-Override", "X-OC-Mtime",
			"X-Requested-With"},
		ExposedHeaders: []string{"Accept-Ranges", "Allow", "Content-Digest", "Content-Length", "Content-Location",
			"Content-Range", "DAV", "Date", "ETag", "Last-Modified", "Location", "Lock-Token", "MS-Author-Via", "OC-Checksum",
			"OC-ETag", "Preference-Applied", "Repr-Digest", "Retry-After", "Tus-Extension", "Tus-Max-Size", "Tus-Resumable",
			"Tus-Version", "Upload-Expires", "Upload-Length", "Upload-Metadata", "Upload-Offset", "Vary",
			"Want-Content-Digest", "Want-Repr-Digest", "WWW-Authenticate", "X-OC-Mtime", "X-Request-Id"},
		MaxAge: 600, // seconds
	}).Handler(next)
}

// embeds reports whether a page of another origin sends the request, and not a person who follows a link from there.
// Browsers tell this only over a connection that they trust. For the others there is [Guard.Private].
func (g *Guard) embeds(r *http.Request) bool {
	switch r.Header.Get("Sec-Fetch-Site") {
	case "", "same-origin", "none":
		return false // no browser, or no page of another origin
	}
	dest := r.Header.Get("Sec-Fetch-Dest")
	follows := r.Header.Get("Sec-Fetch-Mode") == "navigate" && (dest == "" || dest == "document") // and no frame
	return !follows && !g.lists(r)
}

// lists reports whether a page of a listed origin sends the request: with its Origin if it reads the answer, with a
// Referer if it embeds it. Other pages can leave out both headers, but cannot choose their values.
func (g *Guard) lists(r *http.Request) bool {
	if len(g.pages) == 0 {
		return false
	}
	origin := r.Header.Get("Origin")
	if origin == "" {
		if u, err := url.Parse(r.Header.Get("Referer")); err == nil {
			origin = u.Scheme + "://" + u.Host
		}
	}
	return slices.ContainsFunc(g.pages, func(listed string) bool { return strings.EqualFold(origin, listed) })
}

// CheckLogin returns nil, or why a request that would change something for a user who has logged in is refused. A browser
// sends a cookie by itself, so with a session it must say that a page of this origin sends the request. It sends a password
// by itself, too, once it knows it: then no page may send the request without a browser having asked first whether that
// page may (CORS). A page in a sandbox has the origin "null", and is refused also where the browser says same-origin.
func (g *Guard) CheckLogin(r *http.Request, session bool) *Refusal {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions:
		return nil
	}
	site, from, mode := r.Header.Get("Sec-Fetch-Site"), r.Header.Get("Origin"), r.Header.Get("Sec-Fetch-Mode")
	foreign := site != "" && site != "same-origin" && site != "none"
	switch {
	case from == "null":
	case site == "same-origin", site == "" && from != "" && g.isOwn(r, from):
		return nil
	case session:
	case !foreign || mode != "no-cors" && mode != "navigate":
		return nil
	}
	return &Refusal{http.StatusForbidden, "a request with the login of a browser must come from a page of this server: " +
		"with Sec-Fetch-Site: same-origin, or with its Origin"}
}

// Carries reports whether a session counts with a request: the pages of no other origin have sent it, or a person follows
// a link from there. Pages of listed origins may read answers, but not those for a user who has logged in here.
func (g *Guard) Carries(r *http.Request) bool {
	from := r.Header.Get("Origin")
	switch r.Header.Get("Sec-Fetch-Site") {
	case "same-origin", "none":
		return true
	case "":
		return from == "" || g.isOwn(r, from)
	}
	dest := r.Header.Get("Sec-Fetch-Dest")
	reads := r.Method == http.MethodGet || r.Method == http.MethodHead
	return reads && r.Header.Get("Sec-Fetch-Mode") == "navigate" && (dest == "" || dest == "document")
}

// isOwn reports whether an Origin is that of this server, by the hosts under which the browser can have asked it.
func (g *Guard) isOwn(r *http.Request, from string) bool {
	u, err := url.Parse(from)
	if err != nil || u.Host == "" {
		return false
	}
	return slices.ContainsFunc(g.Hosts(r), func(host string) bool { return strings.EqualFold(host, u.Host) })
}

// Hosts returns the hosts by which clients may know the server, as far as a request tells: those of the request, and
// those of the public URLs.
func (g *Guard) Hosts(r *http.Request) []string {
	hosts := g.proxies.Hosts(r)
	for _, public := range g.public {
		hosts = append(hosts, public.Host)
	}
	return hosts
}

// Frames returns the directive of Content-Security-Policy that says which pages may show a page in a frame.
func (g *Guard) Frames() string {
	return strings.Join(append([]string{"frame-ancestors 'self'"}, g.pages...), " ")
}

// hint returns the end of a refusal: the flag that allows the request, if one can.
func hint(r *http.Request) string {
	u, err := url.Parse(r.Header.Get("Origin"))
	switch {
	case r.Header.Get("Origin") == "":
		return "; to allow it, start the server with --cors-origin and the origin of that page"
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		return ", nor may a page that has no origin of a site (" + excerpt.Of(r.Header.Get("Origin")) + ")"
	}
	return "; to allow it, start the server with --cors-origin " + u.Scheme + "://" + excerpt.Of(u.Host)
}

// knows reports whether the Host is a name that no other person's DNS can have led here: an IP address, localhost, a
// public URL, or any name that a trusted proxy sends. Browsers always send a Host, so a request without one is
// harmless.
func (g *Guard) knows(r *http.Request) bool {
	host := hostOf(r.Host)
	_, err := netip.ParseAddr(host)
	if err == nil || r.Host == "" || strings.EqualFold(host, "localhost") || g.proxies.Sent(r) {
		return true
	}
	return host != "" && slices.ContainsFunc(g.public, func(u *url.URL) bool { return strings.EqualFold(host, u.Hostname()) })
}

// schemeOf returns the scheme that the client seems to have used. It believes every proxy, because the scheme is only
// part of a hint.
func schemeOf(r *http.Request) string {
	said := strings.ToLower(r.Header.Get("X-Forwarded-Proto") + " " + r.Header.Get("Forwarded"))
	if r.TLS != nil || strings.Contains(said, "https") || strings.EqualFold(r.Header.Get("X-Forwarded-Ssl"), "on") {
		return "https"
	}
	return "http"
}

// validHost reports whether a Host is well-formed as far as it matters here: only a port may follow the name (RFC
// 9110 §7.2, RFC 3986 §3.2.3). A zone must not be sent to other hosts (RFC 6874 §4).
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
