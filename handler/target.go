package handler

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"ifmatch/auth"
	"ifmatch/tree"
)

var (
	errOutside = errors.New("the path is outside of what is served")
	errAbove   = errors.New("the path is above what is served")
)

// splitPath returns the segments that an escaped absolute path stands for, and whether it is one of a collection. All
// targets are read by it: that of a request, Destination, and the resources of If.
//
// The path is split as it was sent, and each segment decoded once, so that "/a%2Fb" is not "/a/b", and an escaped dot is a
// dot (RFC 3986 §6.2.2.2). Then "." and ".." go as in §5.2.4; but what would go up from the root is refused, and not taken
// for something there. An empty segment goes too: some clients put a slash too many between a base and a name, and other
// servers do not mind. Nothing may look at a path that has not been here: only now is it known which names it has.
func splitPath(escaped string) (segments []string, slash bool, err error) {
	rest, ok := strings.CutPrefix(escaped, "/")
	if !ok {
		return nil, false, &tree.BadNameError{Name: escaped, Reason: "does not begin with a slash"}
	}
	for raw := range strings.SplitSeq(rest, "/") {
		segment, err := url.PathUnescape(raw)
		if err != nil {
			return nil, false, &tree.BadNameError{Name: escaped, Reason: "is badly escaped"}
		}
		slash = segment == "" || segment == "." || segment == ".."
		switch {
		case strings.Contains(segment, "/"):
			return nil, false, &tree.BadNameError{Name: escaped, Reason: "has an escaped slash"}
		case segment == "..":
			if len(segments) == 0 {
				return nil, false, &tree.BadNameError{Name: escaped, Reason: "leads above the root"}
			}
			segments = segments[:len(segments)-1]
		case !slash:
			segments = append(segments, segment)
		}
	}
	return segments, slash, tree.CheckName(strings.Join(segments, "/"))
}

// pathOf returns the path of a URL as it was sent. [url.URL.EscapedPath] returns another one where the client has not
// escaped what it should have: that one is escaped anew, and does not tell any more which slash was.
func pathOf(u *url.URL) string {
	path := u.EscapedPath()
	if decoded, err := url.PathUnescape(u.RawPath); err == nil && u.RawPath != "" && decoded == u.Path {
		path = u.RawPath
	}
	if path == "" && u.Host != "" {
		path = "/" // RFC 3986 §6.2.3
	}
	return path
}

// locate returns the name that an escaped path stands for; with ErrSegmentLong, too.
func (s *server) locate(escaped string) (name string, slash bool, err error) {
	segments, slash, err := splitPath(escaped)
	if err != nil && !errors.Is(err, tree.ErrSegmentLong) {
		return "", false, err
	}
	n := len(s.prefix)
	switch {
	case len(segments) < n && slices.Equal(segments, s.prefix[:len(segments)]):
		return "", false, errAbove
	case len(segments) < n || !slices.Equal(segments[:n], s.prefix):
		return "", false, errOutside
	}
	return strings.Join(segments[n:], "/"), slash, err
}

// href returns the absolute path of a name, with a slash at the end for a collection.
func (s *server) href(name string, collection bool) string {
	return hrefOf(s.prefix, name, collection)
}

func hrefOf(prefix []string, name string, collection bool) string {
	var b strings.Builder
	b.Grow(len(name) + 2)
	add := func(segment string) {
		b.WriteByte('/')
		b.WriteString(escape(segment))
	}
	for _, segment := range prefix {
		add(segment)
	}
	if name != "" {
		for segment := range strings.SplitSeq(name, "/") {
			add(segment)
		}
	}
	if collection || b.Len() == 0 {
		b.WriteByte('/')
	}
	return b.String()
}

// escape is [url.PathEscape] that also escapes the colon: some clients look for a scheme before one.
func escape(segment string) string {
	return strings.ReplaceAll(url.PathEscape(segment), ":", "%3A")
}

// inPage returns an href for a page in HTML, with nothing in it that is written as a character reference there: many
// programs look for links without reading HTML. Of what [url.PathEscape] leaves, that is all but the unreserved
// characters.
func inPage(href string) string { return pageEscapes.Replace(href) }

var pageEscapes = strings.NewReplacer("&", "%26", "+", "%2B", "=", "%3D", "@", "%40", "$", "%24")

// reference returns the name that a URI reference in a header stands for: an absolute URI of any scheme, whose
// authority is ours, or an absolute path. Proxies change scheme and port, so neither counts.
//
// With a query or a fragment it stands for nothing: RFC 4918 §8.3 lets a reference have one, and no resource here has. Who
// means a name with a "?" and does not escape it would be given another one.
func (s *server) reference(r *request, ref string) (name string, slash bool, err error) {
	if strings.ContainsAny(ref, "?#") {
		return "", false, &statusError{status: http.StatusBadRequest,
			detail: "it has a query or a fragment, and nothing here has; in a name, write ? as %3F and # as %23: " + Brief(ref)}
	}
	if strings.ContainsRune(ref, '\t') {
		return "", false, &statusError{status: http.StatusBadRequest, detail: "not an absolute URI or path: " + Brief(ref)}
	}
	path := ref
	if !strings.HasPrefix(ref, "/") { // else it is a path, with however many slashes: RFC 4918 §8.3 has no relative authority
		u, err := url.Parse(ref)
		if err != nil || u.Opaque != "" {
			return "", false, &statusError{status: http.StatusBadRequest, detail: "not an absolute URI or path: " + Brief(ref)}
		}
		if (u.Host != "" || u.Scheme != "") && !s.ours(r, u.Host) {
			return "", false, errOtherServer
		}
		path = pathOf(u)
	}
	name, slash, err = s.locate(path)
	if errors.Is(err, errAbove) {
		err = errOutside
	}
	return name, slash, err
}

// errLongReference says that a reference in a header is longer than the name of anything: 414 is about the Request-URI.
var errLongReference = &statusError{status: http.StatusBadRequest, detail: "a path in the header is longer than a name can be"}

// tagged resolves the resources of the If header (RFC 4918 §10.4.2). What is too long for a path is an error, which is kept in
// tooLong. One with a segment that is too long is a name that nothing has, of which §10.4.4 says what is true.
func (s *server) tagged(r *request, tooLong *error) func(ref string) (string, bool) {
	return func(ref string) (string, bool) {
		name, _, err := s.reference(r, ref)
		switch {
		case err == nil && r.seen(name):
			asked := name
			if name, err = s.spelledNow(r.Context(), asked); !r.may(asked, auth.Read) {
				name = asked // what is compared is refused, and no token may count by another name
			}
		case errors.Is(err, tree.ErrSegmentLong):
			err = nil
		case errors.Is(err, tree.ErrNameTooLong):
			*tooLong = errLongReference
		}
		return name, err == nil
	}
}

// ours reports whether an authority is one that this server is known by: the Host of the request, what a trusted proxy was
// asked for, or a public URL.
func (s *server) ours(r *request, authority string) bool {
	if r.ours == nil { // once: an If names many, and proxies too
		known := []string{r.Host}
		if s.fromProxy(r.Request) {
			known = append(known, forwardedHosts(r.Header)...)
		}
		for _, public := range s.PublicURLs {
			known = append(known, public.Host)
		}
		r.ours = map[string]bool{}
		for _, k := range known {
			r.ours[plainAuthority(k)] = true
		}
	}
	authority = plainAuthority(authority)
	return authority != "" && r.ours[authority]
}

// plainAuthority returns an authority without what does not tell servers apart: case, and the ports of http and https,
// whatever the scheme is. A proxy that ends TLS may write either of them, or none, where the client wrote the other.
func plainAuthority(authority string) string {
	authority = strings.ToLower(authority)
	for _, port := range []string{":80", ":443", ":"} {
		if plain, ok := strings.CutSuffix(authority, port); ok {
			return plain
		}
	}
	return authority
}

// askedDestination returns the name in the Destination header (RFC 4918 §10.3).
func (s *server) askedDestination(r *request) (string, error) {
	values := r.Header.Values("Destination")
	if len(values) != 1 || values[0] == "" {
		return "", &statusError{status: http.StatusBadRequest, detail: Brief(r.Method) + " needs one Destination header"}
	}
	asked, _, err := s.reference(r, values[0])
	switch {
	case errors.Is(err, errOutside):
		err = &statusError{status: http.StatusForbidden,
			detail: "the Destination is outside of what is served, which is " + s.href("", true) + " and what is in it"}
	case errors.Is(err, errOtherServer):
		err = s.otherServer(r, values[0])
	}
	if errors.Is(err, tree.ErrNameTooLong) {
		err = errLongReference
	}
	return asked, err
}

// destination finds out what the Destination header stands for. Where that is the one of the Request-URI, spelled
// otherwise, it ends as it was sent: so the resource is to be spelled.
func (s *server) destination(r *request) error {
	if r.toErr != nil {
		return r.toErr
	}
	name, err := s.spelledNow(r.Context(), r.askedTo)
	if name == r.name && r.Method == "MOVE" {
		parent, _ := tree.Split(name)
		_, base := tree.Split(r.askedTo)
		name = tree.Join(parent, base)
	}
	if err != nil {
		return r.hidden(r.askedTo, err)
	}
	r.to = name
	return r.allowed(&r.who.Access)
}

// otherServer is the failure of a Destination that is not known to be ours. Mostly it is, by the name that the clients of a
// proxy use.
func (s *server) otherServer(r *request, destination string) error {
	u, err := url.Parse(destination)
	if err != nil || u.Host == "" {
		return errOtherServer
	}
	scheme := "http"
	switch strings.ToLower(u.Scheme) {
	case "https", "webdavs", "davs":
		scheme = "https"
	}
	return &statusError{status: http.StatusBadGateway, detail: "the Destination is on " + Brief(u.Host) + ", which is not known to be " +
		"this server; if it is, start it with --public-url " + scheme + "://" + Brief(u.Host) + ", or with --trusted-proxy " +
		peerOf(r.Request) + " if that is a proxy in front of it (which must pass the path on as it is: --prefix); " +
		"nothing has changed"}
}

// overwrite returns the Overwrite header: absent means yes (RFC 4918 §10.6).
func overwrite(h http.Header) (bool, error) {
	values := h.Values("Overwrite")
	if len(values) == 0 {
		return true, nil
	}
	v := strings.ToUpper(values[0])
	if len(values) > 1 || v != "T" && v != "F" {
		return false, &statusError{status: http.StatusBadRequest, detail: "Overwrite must be T or F, not " + Brief(strings.Join(values, ", "))}
	}
	return v == "T", nil
}

// A depth is a Depth header (RFC 4918 §10.2).
type depth int

const (
	depthAbsent depth = iota
	depthZero
	depthOne
	depthInfinity
)

// depthOf returns the Depth header, which must be absent or one of those allowed.
func depthOf(h http.Header, allowed ...depth) (depth, error) {
	values := h.Values("Depth")
	if len(values) == 0 {
		return depthAbsent, nil
	}
	found := depthAbsent
	switch strings.ToLower(values[0]) {
	case "0":
		found = depthZero
	case "1":
		found = depthOne
	case "infinity":
		found = depthInfinity
	}
	if len(values) > 1 || !slices.Contains(allowed, found) {
		return 0, &statusError{status: http.StatusBadRequest, detail: "this Depth cannot be had here: " + Brief(strings.Join(values, ", "))}
	}
	return found, nil
}
