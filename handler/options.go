package handler

import (
	"cmp"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/webdav"

	"ifmatch/auth"
	"ifmatch/handler/bylink"
	"ifmatch/handler/davxml"
	"ifmatch/handler/problem"
	"ifmatch/links"
	"ifmatch/tree"
	"ifmatch/web"
	"ifmatch/wire"
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

// linkAddress is the address below which each share link has its own: PREFIX/.ifmatch/link/TOKEN, and for a collection
// what is below.
const linkAddress = "link"

// link answers a request by a share link. A link speaks HTTP and no WebDAV, for which a client needs a user.
func (s *server) link(w http.ResponseWriter, r *request, rest string) error {
	if r.link == nil {
		return tree.ErrNotExist
	}
	_, below, _ := strings.Cut(rest, "/")
	allow, serve := "GET, HEAD, OPTIONS", s.readByLink
	if r.link.Access == links.Drop {
		allow, serve = "GET, HEAD, OPTIONS, POST, PUT", s.dropByLink
	}
	switch {
	case r.Method == http.MethodOptions:
		w.Header().Set("Allow", allow)
		w.WriteHeader(http.StatusNoContent)
		return nil
	case !slices.Contains(strings.Split(allow, ", "), r.Method):
		return &statusError{status: http.StatusMethodNotAllowed, allow: allow, detail: "this link takes only " + allow}
	case r.Header.Get("Service-Worker") != "":
		return errServiceWorker
	}
	return serve(w, r, below)
}

// means makes the request one with a method about a name of the link, with some fields of the header in place of those
// that are conditions, or fails as the rules say.
func (s *server) means(r *request, method, name string, conditions ...string) (err error) {
	asked := *r.Request
	asked.Method, asked.Header = method, r.Header.Clone()
	asked.Header.Del("If") // it may be about any name of the tree
	if len(conditions) > 0 {
		for _, field := range []string{"If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since", "Overwrite"} {
			asked.Header.Del(field)
		}
		asked.Header.Set(conditions[0], conditions[1])
	}
	r.Request, r.asked, r.noJunk = &asked, name, s.RefuseJunk
	r.name = name
	if err := r.allowed(&r.who.Access); err != nil {
		return err
	}
	if r.name, err = s.spelledNow(r, name); err != nil {
		return err
	}
	if err := r.allowed(&r.who.Access); err != nil {
		return err
	}
	r.granted = true
	if methods[method].writes && s.ReadOnly {
		return tree.ErrReadOnly
	}
	return s.parseConditions(r)
}

// readByLink answers GET and HEAD. With the parameter zip, a collection is an archive.
func (s *server) readByLink(w http.ResponseWriter, r *request, below string) error {
	name := r.link.Name()
	if below != "" {
		name = tree.Join(name, below)
	}
	method := r.Method
	zip := r.URL.Query().Has("zip") && method == http.MethodGet
	if zip {
		method = string(auth.VerbPropfind)
	}
	if err := s.means(r, method, name); err != nil {
		return err
	}
	if answer, ok := wire.Inner[*bylink.Writer](w); ok {
		_, base := tree.Split(name)
		answer.Serves(base)
	}
	w, err := s.takeTurn(w, r, s.Pools.Downloads)
	if err != nil {
		return err
	}
	if s.TagWait > 0 && !r.needsTag() {
		r.tagDeadline = time.Now().Add(s.TagWait)
	}
	if zip {
		return web.Addresses["zip"].Serve(&asking{s, r, w})
	}
	return s.get(w, r)
}

// dropByLink answers a request to a link for dropping files: PUT creates a file, and a page has a form for browsers.
func (s *server) dropByLink(w http.ResponseWriter, r *request, below string) error {
	state, err := s.Store.Stat(r.Context(), r.link.Name(), r.reading(0))
	if err != nil || !state.Collection || state.Link || state.Through {
		return cmp.Or(err, tree.ErrNotExist) // else a name in a folder that is not there would be told to be taken
	}
	if r.Method == http.MethodPut {
		if below == "" || r.slash || strings.Contains(below, "/") {
			return &statusError{status: http.StatusForbidden, detail: "send a file with a name right below the link"}
		}
		if err := s.means(r, http.MethodPut, tree.Join(r.link.Name(), below), "If-None-Match", "*"); err != nil {
			return err
		}
		w, err := s.takeTurn(w, r, s.Pools.Uploads)
		if err != nil {
			return err
		}
		return s.put(w, r)
	}
	if below != "" {
		return tree.ErrNotExist // nothing is read back
	}
	page := bylink.DropPage{Label: r.link.Label, Here: s.linkHref(r, "", true)}
	status := http.StatusOK
	if r.Method == http.MethodPost {
		if status, err = s.dropForm(w, r, &page); err != nil {
			return err
		}
	}
	h := w.Header()
	bylink.IsPage(w)
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", bylink.Policy+"; "+s.origin.Frames())
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		_ = page.Write(w) // the client is gone, and nothing can be told to it
	}
	return nil
}

// dropForm stores the files of a form as they come, each like a PUT of its own.
func (s *server) dropForm(w http.ResponseWriter, r *request, page *bylink.DropPage) (status int, err error) {
	form := r.Request
	defer func() { r.Request = form }()
	if _, err = s.takeTurn(w, r, s.Pools.Uploads); err != nil {
		return 0, err
	}
	parts, err := r.MultipartReader()
	if err != nil {
		return 0, &statusError{status: http.StatusUnsupportedMediaType, detail: "a form with files is multipart/form-data"}
	}
	return page.Receive(parts, func(base string, part io.Reader) (status int, why string, err error) {
		status = http.StatusCreated
		defer func() { r.Request = form }()
		err = s.dropPart(r, base, part)
		tooLarge := new(statusError)
		if body := new(tree.BodyError); errors.As(err, &body) && !errors.As(body.Err, &tooLarge) {
			return 0, "", err // no more of it comes
		}
		if err != nil {
			status, why = s.tellDropped(r.ofLink(err))
		}
		if err == nil || errors.Is(err, tree.ErrUnsure) {
			s.auditAs(r, status)
		}
		return status, why, nil
	})
}

// dropPart stores one file of a form.
func (s *server) dropPart(r *request, base string, part io.Reader) error {
	if strings.Contains(base, "/") {
		return &tree.BadNameError{Name: base, Reason: "has a slash"}
	}
	name := tree.Join(r.link.Name(), base)
	if err := tree.CheckName(name); err != nil {
		return err
	}
	r.become(s, name, http.Header{}, -1)
	if err := s.means(r, http.MethodPut, name, "If-None-Match", "*"); err != nil {
		return err
	}
	opts, check, err := s.beforePut(r, func() http.Header { return nil })
	if err != nil {
		return err
	}
	state, _, err := s.Store.Put(r.Context(), r.name, bounded(part, s.maxUpload()), opts, check)
	r.after = state.Tag
	return err
}

// tellDropped returns the status and the reason of a file that was not stored.
func (s *server) tellDropped(err error) (status int, why string) {
	known := new(statusError)
	switch {
	case errors.As(err, &known):
		return known.status, known.detail
	case err == errForbidden:
		return http.StatusForbidden, "that is not allowed"
	case malformed(err) != "":
		return http.StatusBadRequest, "no file can have this name"
	}
	return statusOf(err)
}
