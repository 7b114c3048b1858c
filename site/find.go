package site

import (
	"net/http"
	"path"
	"strings"

	"r-seed-1f3a754f.example/ifmatch/tree"
)

// An Ask is a GET or HEAD of a path of a site.
type Ask struct {
	Below string // the path, as a name below the path of the site
	Slash bool   // the path ends with a slash
	// Navigates says that a person goes there in a browser: see [Navigates].
	Navigates bool
	// Displaced reports whether a name below the path of the site is answered from the history, since a publication has
	// displaced it not long ago (nil: none is). It is asked about immutable names that do not exist.
	Displaced func(below string) (bool, error)
}

// Navigates reports whether a request comes from a person who opens a page in a browser, and neither from a script nor
// from another client. Fetch Metadata tells it. Older browsers send no such field: they accept text/html for a page.
func Navigates(h http.Header) bool {
	if mode := h.Get("Sec-Fetch-Mode"); mode != "" {
		return mode == "navigate"
	}
	return strings.Contains(strings.ToLower(h.Get("Accept")), "text/html")
}

// NavigationFields are the request fields that [Navigates] reads, for Vary.
const NavigationFields = "Sec-Fetch-Mode, Accept"

// A Found is the answer to an Ask. Exactly one of Displaced, Redirect, Listing and File is set, or none if nothing is
// there.
type Found struct {
	Displaced bool        // the file that Ask.Displaced has found
	Redirect  bool        // to the same path with a slash
	Listing   bool        // of the collection
	File      *tree.State // that is sent
	Status    int         // of the answer with File: 200 or 404
	// Varies says that the answer to this path depends on [NavigationFields].
	Varies bool
}

// A Look returns the resource of a name below the path of a site. Exists is false where there is none, and where the
// client may not read it.
type Look func(below string) (tree.State, error)

// Find decides what answers a path. It asks look about five names at the most.
func (s *Site) Find(ask Ask, look Look) (Found, error) {
	state, err := look(ask.Below)
	switch {
	case err != nil:
		return Found{}, err
	case state.Exists && !state.Collection && !ask.Slash:
		return Found{File: &state, Status: http.StatusOK}, nil
	case state.Exists && state.Collection:
		slash := ask.Slash || ask.Below == ""
		found, err := s.ofCollection(ask, look, slash)
		if found != (Found{}) || err != nil {
			return found, err
		}
	case !state.Exists && !ask.Slash && ask.Below != "":
		if ask.Displaced != nil && s.IsImmutable(ask.Below) {
			if ok, err := ask.Displaced(ask.Below); ok || err != nil {
				return Found{Displaced: ok}, err
			}
		}
		if state, err = look(ask.Below + ".html"); err != nil {
			return Found{}, err
		}
		if state.Exists && !state.Collection {
			return Found{File: &state, Status: http.StatusOK}, nil
		}
	}
	return s.fallback(ask, look)
}

// ofCollection decides what answers the path of a collection. Without a slash, relative links of its page would lead
// elsewhere in a browser, so that is led to the path with a slash. Another client gets the page: WebDAV clients ask
// for a collection without a slash, and take a redirect for a failure.
func (s *Site) ofCollection(ask Ask, look Look, slash bool) (Found, error) {
	state, err := look(tree.Join(ask.Below, s.Index))
	there := state.Exists && !state.Collection
	switch {
	case err != nil || !there && !s.Listing:
		return Found{}, err
	case !slash && ask.Navigates:
		return Found{Redirect: true, Varies: true}, nil
	case !there:
		return Found{Listing: true, Varies: !slash}, nil
	}
	return Found{File: &state, Status: http.StatusOK, Varies: !slash}, nil
}

// fallback decides what answers a path that leads nowhere. A script that asks for a missing file must not get a page:
// it would fail with a syntax error, and a cache could keep that.
func (s *Site) fallback(ask Ask, look Look) (Found, error) {
	if s.SPA != "" && ask.Navigates {
		state, err := look(s.SPA)
		if err != nil || state.Exists && !state.Collection {
			return Found{File: &state, Status: http.StatusOK, Varies: true}, err
		}
	}
	varies := s.SPA != ""
	if s.NotFound != "" {
		state, err := look(s.NotFound)
		if err != nil || state.Exists && !state.Collection {
			return Found{File: &state, Status: http.StatusNotFound, Varies: varies}, err
		}
	}
	return Found{Varies: varies}, nil
}

// isPage reports whether a media type is that of a page.
func isPage(media string) bool {
	return media == "text/html" || media == "application/xhtml+xml"
}

// extension returns the extension of a name in lower case, with its dot.
func extension(name string) string { return strings.ToLower(path.Ext(name)) }
