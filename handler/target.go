package handler

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"r-seed-1f3a754f.example/ifmatch/auth"
	"r-seed-1f3a754f.example/ifmatch/handler/proxy"
	"r-seed-1f3a754f.example/ifmatch/internal/excerpt"
	"r-seed-1f3a754f.example/ifmatch/tree"
	"r-seed-1f3a754f.example/ifmatch/web"
)

var (
	errOutside = errors.New("the path is outside of the served tree")
	errAbove   = errors.New("the path is above the served tree")
)

// splitPath returns the segments of an escaped absolute path, and whether the path is that of a collection. It reads
// all targets: Request-URI, Destination, and the resources of If. Nothing may look at a path before it, because only
// it knows the names.
//
// It splits the path as it was sent, and decodes each segment once. So "/a%2Fb" is not "/a/b", and an escaped dot is
// a dot (RFC 3986 §6.2.2.2). It then removes "." and ".." as in §5.2.4, but refuses a path that leads above the root.
// It removes empty segments, because some clients send a slash too many between a base and a name, and other servers
// accept that.
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

// pathOf returns the path of a URL as it was sent. [url.URL.EscapedPath] would escape the path anew if the client has
// not escaped it properly, and so hide which slashes were escaped.
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

// locate returns the name of an escaped path. It returns the name with ErrSegmentLong too.
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

// href returns the absolute path of a name. It ends with a slash for a collection.
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

// escape is [url.PathEscape] that also escapes the colon, before which some clients look for a scheme.
func escape(segment string) string {
	return strings.ReplaceAll(url.PathEscape(segment), ":", "%3A")
}

// reference returns the name of a URI reference in a header: an absolute path, or an absolute URI of any scheme with
// an authority of this server. Proxies change scheme and port, so neither counts.
//
// A query or a fragment is an error. RFC 4918 §8.3 permits them, but no resource has one here. Without the error, a
// client that does not escape a "?" in a name would get another resource.
func (s *server) reference(r *request, ref string) (name string, slash bool, err error) {
	if strings.ContainsAny(ref, "?#") {
		return "", false, withStatus(http.StatusBadRequest,
			"a URI with a query or a fragment; write ? in a name as %3F and # as %23: "+excerpt.Of(ref))
	}
	if strings.ContainsRune(ref, '\t') {
		return "", false, withStatus(http.StatusBadRequest, "not an absolute URI or path: "+excerpt.Of(ref))
	}
	path := ref
	// else it is a path, whatever the number of slashes: RFC 4918 §8.3 has no relative authority
	if !strings.HasPrefix(ref, "/") {
		u, err := url.Parse(ref)
		if err != nil || u.Opaque != "" {
			return "", false, withStatus(http.StatusBadRequest, "not an absolute URI or path: "+excerpt.Of(ref))
		}
		if (u.Host != "" || u.Scheme != "") && !s.ours(r, u.Host) {
			return "", false, errOtherServer
		}
		path = pathOf(u)
	}
	return s.locateIn(path)
}

// locateIn is [server.locate] for a path that must be in the tree.
func (s *server) locateIn(escaped string) (name string, slash bool, err error) {
	name, slash, err = s.locate(escaped)
	if errors.Is(err, errAbove) {
		err = errOutside
	}
	return name, slash, err
}

// errLongReference says that a path in a header is longer than any name. The status 414 is only for the Request-URI.
var errLongReference = withStatus(http.StatusBadRequest, "a path in the header is longer than a name can be")

// tagged resolves the resources of the If header (RFC 4918 §10.4.2). If one is longer than any path, it sets tooLong.
// One with a segment that is too long is a name without a resource, for which §10.4.4 defines the result.
func (s *server) tagged(r *request, tooLong *error) func(ref string) (string, bool) {
	return func(ref string) (string, bool) {
		name, _, err := s.reference(r, ref)
		switch {
		case err == nil && r.seen(name):
			asked := name
			if name, err = s.spelledNow(r, asked); !r.may(asked, auth.Read) {
				name = asked // the comparison is refused, and no token may count for another name
			}
		case errors.Is(err, tree.ErrSegmentLong):
			err = nil
		case errors.Is(err, tree.ErrNameTooLong):
			*tooLong = errLongReference
		}
		return name, err == nil
	}
}

// spelledNow returns the existing name that a name from a client stands for, or the name itself if there is none. If a
// link has led there, the existing name counts only where the principal may follow that link.
func (s *server) spelledNow(r *request, name string) (string, error) {
	speller, ok := s.Store.(tree.Speller)
	if !ok {
		return name, nil
	}
	spelled, err := speller.Spelled(r.Context(), name)
	if err != nil || spelled == name || r.follows == nil {
		return spelled, err
	}
	err = s.Store.Try(r.Context(), tree.Condition{Names: []string{spelled}, Follow: r.follows, Check: func(v tree.View) error {
		if found, _ := v.State(spelled); found.Through && !found.Exists {
			return tree.ErrNotExist
		}
		return nil
	}})
	if errors.Is(err, tree.ErrNotExist) {
		return name, nil
	}
	return spelled, err
}

// ours reports whether an authority belongs to this server: it is the Host of the request, the host of the request to
// a trusted proxy, or that of a public URL.
func (s *server) ours(r *request, authority string) bool {
	if r.ours == nil { // only once, because an If may name many resources, and proxies many hosts
		r.ours = map[string]bool{}
		for _, k := range s.origin.Hosts(r.Request) {
			r.ours[plainAuthority(k)] = true
		}
	}
	authority = plainAuthority(authority)
	return authority != "" && r.ours[authority]
}

// plainAuthority returns an authority in lower case and without the ports of http and https, whatever the scheme. A
// proxy that terminates TLS may write another port, or none, where the client wrote one.
func plainAuthority(authority string) string {
	authority = strings.ToLower(authority)
	for _, port := range []string{":80", ":443", ":"} {
		if plain, ok := strings.CutSuffix(authority, port); ok {
			return plain
		}
	}
	return authority
}

// askedDestination returns the name in the Destination header (RFC 4918 §10.3), in the spelling of the header.
func (s *server) askedDestination(r *request) (string, error) {
	values := r.Header.Values("Destination")
	if len(values) != 1 || values[0] == "" {
		return "", withStatus(http.StatusBadRequest, excerpt.Of(r.Method)+" needs one Destination header")
	}
	asked, _, err := s.reference(r, values[0])
	switch {
	case errors.Is(err, errOutside):
		err = withStatus(http.StatusForbidden,
			"the Destination is outside of the served tree, which is "+s.href("", true)+" and what is in it")
	case errors.Is(err, errOtherServer):
		err = s.otherServer(r, values[0])
	case errors.Is(err, tree.ErrNameTooLong):
		err = errLongReference
	}
	return asked, err
}

// destination sets the name that the Destination stands for. If that is the Request-URI in another spelling, the last
// segment keeps the spelling of the header, because a MOVE then changes the spelling.
func (s *server) destination(r *request) error {
	if r.toErr != nil {
		return r.toErr
	}
	name, err := s.spelledNow(r, r.askedTo)
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

// otherServer returns the error of a Destination on an unknown host. Mostly the host is a proxy of this server.
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
	return withStatus(http.StatusBadGateway,
		"the Destination is on "+excerpt.Of(u.Host)+", which is not known to be this server; nothing has changed; "+
			"if it is, start it with --public-url "+scheme+"://"+excerpt.Of(u.Host)+", or with --trusted-proxy "+
			proxy.Peer(r.Request)+" if that is a proxy in front of it (which must pass on the path unchanged: --prefix)")
}

// overwrite returns the Overwrite header: absent means yes (RFC 4918 §10.6).
func overwrite(h http.Header) (bool, error) {
	values := h.Values("Overwrite")
	if len(values) == 0 {
		return true, nil
	}
	v := strings.ToUpper(values[0])
	if len(values) > 1 || v != "T" && v != "F" {
		return false, withStatus(http.StatusBadRequest,
			"Overwrite must be T or F, not "+excerpt.Of(strings.Join(values, ", ")))
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

// depths are the values of the header, by depth.
var depths = []string{"", "0", "1", "infinity"}

// depthOf returns the Depth header. It must be absent or have one of the allowed values.
func depthOf(h http.Header, allowed ...depth) (depth, error) {
	values := h.Values("Depth")
	if len(values) == 0 {
		return depthAbsent, nil
	}
	found := depth(slices.Index(depths, strings.ToLower(values[0])))
	if len(values) > 1 || !slices.Contains(allowed, found) {
		var known []string
		for _, one := range allowed {
			known = append(known, depths[one])
		}
		return 0, withStatus(http.StatusBadRequest, "this method does not take Depth: "+
			excerpt.Of(strings.Join(values, ", "))+"; send "+strings.Join(known, " or "))
	}
	return found, nil
}

// ownPath is the path of the program's own addresses.
func (s *server) ownPath() string { return s.href(ownDir, true) }

// scriptPolicy is the Content-Security-Policy of the page, for the authorities by which a browser can know this server.
func (s *server) scriptPolicy(r *request) string { return s.policy(r, s.origin.Frames()) }

func (s *server) policy(r *request, frames string) string {
	return web.Policy(s.origin.Hosts(r.Request), s.ownPath(), frames)
}
