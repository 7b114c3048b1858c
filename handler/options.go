package handler

import (
	"net/http"

	"golang.org/x/net/webdav"

	"ifmatch/handler/davxml"
	"ifmatch/handler/problem"
)

// options answers OPTIONS with the methods and the compliance classes for a name. It announces only what works,
// because clients use what is announced.
func (s *server) options(w http.ResponseWriter, r *request) error {
	if r.cond != nil && r.Header["If"] != nil {
		if err := s.Store.Try(r.Context(), r.condition(r.cond.IfOnly)); err != nil {
			return err
		}
	}
	h := w.Header()
	h.Set("Allow", s.allow(r))
	s.classes(h, r.mayLockIn(r.asked))
	h.Set("Accept-Ranges", "bytes")
	h.Set("Content-Length", "0")
	w.WriteHeader(http.StatusOK)
	return nil
}

// classes sets the compliance classes (RFC 4918 §18). macOS writes only to servers with class 2.
func (s *server) classes(h http.Header, mayLock bool) {
	classes := "1, 2, 3"
	if !s.locks() || !mayLock {
		classes = "1, 3"
	}
	h.Set("DAV", classes)
	h.Set("MS-Author-Via", "DAV") // without it, Office opens everything read-only
}

// above answers for the paths above the served tree. Clients look there to find out what server it is.
func (s *server) above(w http.ResponseWriter, r *request) error {
	switch r.Method {
	case http.MethodOptions:
		s.classes(w.Header(), true)
		w.Header().Set("Allow", "OPTIONS, PROPFIND")
		w.Header().Set("Content-Length", "0")
		w.WriteHeader(http.StatusOK)
		return nil
	case "PROPFIND":
		return s.propfindAbove(w, r)
	}
	return errOutside
}

// propfindAbove shows a path above the served tree as a collection with one member: the next segment on the way to
// the tree.
func (s *server) propfindAbove(w http.ResponseWriter, r *request) error {
	wanted, err := davxml.ReadPropfind(r.Body)
	if err != nil {
		return err
	}
	deep, err := depthOf(r.Header, depthZero, depthOne, depthInfinity)
	if err != nil {
		return err
	}
	segments, _, err := splitPath(pathOf(r.URL))
	if err != nil {
		return err
	}
	shown := [][]string{segments}
	if deep != depthZero {
		shown = append(shown, s.prefix[:len(segments)+1])
	}
	w.Header().Set("Content-Type", problem.XMLType)
	w.WriteHeader(webdav.StatusMulti)
	m := davxml.NewMultistatus(w)
	for _, path := range shown {
		href := hrefOf(path, "", true)
		base := ""
		if len(path) > 0 {
			base = path[len(path)-1]
		}
		if err := m.Response(href, pathPropstats(base, wanted)...); err != nil {
			return nil // the client is gone
		}
	}
	m.Close()
	return nil
}
