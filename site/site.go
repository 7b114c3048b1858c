// Package site decides how a part of the tree is shown as a web site: which file answers a path, in which encoding,
// and what caches may do with it. It reads no file and writes no answer.
//
// A site runs scripts without a sandbox. So [Set.Check] permits it only where a script of it finds nothing to write and
// no password to use: on a host name that serves nothing else, or on a server that is read-only and has no users.
package site

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"r-seed-1f3a754f.example/ifmatch/tree"
)

// A Site is a collection that is shown as a web site. [Parse] and [ParseFlag] make one.
type Site struct {
	Path string // the name of the collection in the tree, such as "www" ("": the whole tree)
	Host string // the host name that serves only this site, in lower case and without a port ("": none)

	Index    string // the base name of the file that answers for a collection, such as "index.html"
	NotFound string // the file that is sent with the status 404, below Path ("": none)
	SPA      string // the file that answers a navigation to a path that leads nowhere, below Path ("": none)
	Listing  bool   // a collection without an index is listed, and not 404

	// Precompressed says that NAME.br, NAME.zst and NAME.gz are sent for NAME, to clients that take that coding.
	Precompressed bool
	// Compress says that other files of a media type that compresses well are compressed while they are sent.
	Compress bool

	Charset string // of text, for which no client has set a media type ("": none is said)
	CSP     string // the Content-Security-Policy of each answer ("": none)

	Cache     []Rule    // the first rule that matches a file decides
	Immutable []Pattern // names that never get another content (nil: see [Site.IsImmutable])

	// Grace is how long such names are answered after a publication has displaced them (0: they are not).
	Grace    time.Duration
	hasGrace bool // it was set for this site
}

// MaxGrace is the longest grace: the changes of a store are known for a week.
const MaxGrace = 7 * 24 * time.Hour

// SetGrace sets the grace of a site that has none of its own.
func (s *Site) SetGrace(d time.Duration) {
	if !s.hasGrace {
		s.Grace = d
	}
}

// Allow is the Allow header of a site on a host of its own.
const Allow = "GET, HEAD, OPTIONS"

// Defaults returns the site of a path without any setting.
func Defaults(path string) Site {
	return Site{Path: path, Index: "index.html", NotFound: "404.html", Precompressed: true, Compress: true}
}

// ParseFlag reads the value of --site: PATH, or HOST=PATH.
func ParseFlag(value string) (Site, error) {
	host, path, ok := strings.Cut(value, "=")
	if !ok || strings.Contains(host, "/") {
		host, path = "", value
	}
	name, err := parsePath(path)
	if err != nil {
		return Site{}, err
	}
	s := Defaults(name)
	if ok && host != "" {
		s.Host, err = parseHost(host)
	}
	return s, err
}

// parsePath returns the name of a path such as "/www/" or "www".
func parsePath(path string) (string, error) {
	name := strings.Trim(path, "/")
	if path == "" {
		return "", errors.New("the path is missing: write one such as /www, or / for all")
	}
	if tree.CheckName(name) != nil {
		return "", fmt.Errorf("path %q: no collection can have that name", path)
	}
	return name, nil
}

// parseHost checks a host name. An address and localhost are names by which the server itself is known.
func parseHost(host string) (string, error) {
	plain := PlainHost(host)
	_, isAddress := netip.ParseAddr(plain)
	u, err := url.Parse("http://" + plain + "/")
	switch {
	case isAddress == nil || plain == "localhost":
		return "", fmt.Errorf("host %q: the server itself is known by it; a site needs a name of its own", host)
	case err != nil || plain == "" || u.Host != plain || u.Port() != "" || strings.ContainsAny(plain, "*@ "):
		return "", fmt.Errorf("host %q: write a host name without a port, such as www.example.org", host)
	}
	return plain, nil
}

// PlainHost returns an authority in lower case, without its port and without a dot at the end.
func PlainHost(authority string) string {
	if host, _, err := net.SplitHostPort(authority); err == nil {
		authority = host
	}
	authority = strings.TrimSuffix(strings.TrimPrefix(authority, "["), "]")
	return strings.ToLower(strings.TrimSuffix(authority, "."))
}

// A Set is the sites of a server. Nil has none.
type Set struct {
	all    []Site
	byHost map[string]*Site
}

// Max is the maximum number of sites. A request looks at all of them.
const Max = 256

// NewSet returns the set of some sites, or an error if two of them have the same host, or the same path and no host.
func NewSet(all []Site) (*Set, error) {
	if len(all) > Max {
		return nil, fmt.Errorf("there are %d sites, and there may be %d", len(all), Max)
	}
	s := &Set{all: all, byHost: map[string]*Site{}}
	paths := map[string]bool{}
	for i := range all {
		one := &all[i]
		switch {
		case one.Host != "" && s.byHost[one.Host] != nil:
			return nil, fmt.Errorf("two sites have the host %s", one.Host)
		case one.Host == "" && paths[one.Path]:
			return nil, fmt.Errorf("two sites have the path /%s", one.Path)
		case one.Host != "":
			s.byHost[one.Host] = one
		default:
			paths[one.Path] = true
		}
	}
	return s, nil
}

// All returns the sites. They must not be changed.
func (s *Set) All() []Site {
	if s == nil {
		return nil
	}
	return s.all
}

// Check fails if a script of a site could act on the server. open says that the server is read-only and has no users.
// ours are the host names of the server, and trusted the web origins whose pages may read and write there.
func (s *Set) Check(open bool, ours, trusted []string) error {
	for _, one := range s.All() {
		if one.Host == "" && !open {
			return fmt.Errorf("the site /%s has no host of its own, and its scripts could write: name a host that serves "+
				"nothing else (--site HOST=/%s, or host in [[site]]), or serve with --read-only and without users",
				one.Path, one.Path)
		}
		for _, host := range ours {
			if one.Host != "" && PlainHost(host) == one.Host {
				return fmt.Errorf("%s is a name of the server (--public-url), and cannot be the host of a site, too", one.Host)
			}
		}
		for _, origin := range trusted {
			if u, err := url.Parse(origin); err == nil && one.Host != "" && PlainHost(u.Host) == one.Host {
				return fmt.Errorf("%s is the host of a site, whose scripts may not write: leave out --cors-origin %s",
					one.Host, origin)
			}
		}
	}
	return nil
}

// OfHosts returns the site of the first of some authorities that has one, or nil.
func (s *Set) OfHosts(authorities ...string) *Site {
	if s == nil || len(s.byHost) == 0 {
		return nil
	}
	for _, authority := range authorities {
		if one := s.byHost[PlainHost(authority)]; one != nil {
			return one
		}
	}
	return nil
}

// At returns the innermost site without a host that a name is in, or nil.
func (s *Set) At(name string) (found *Site) {
	for i := range s.All() {
		one := &s.all[i]
		in := tree.Within(name, one.Path)
		if one.Host == "" && in && (found == nil || len(one.Path) > len(found.Path)) {
			found = one
		}
	}
	return found
}

// Name returns the name in the tree of a name below the path of the site.
func (s *Site) Name(below string) string {
	if below == "" {
		return s.Path
	}
	return tree.Join(s.Path, below)
}

// Below returns the name of a resource of the site below its path, and "" for the site itself.
func (s *Site) Below(name string) string {
	if s.Path == "" {
		return name
	}
	return strings.TrimPrefix(strings.TrimPrefix(name, s.Path), "/")
}
