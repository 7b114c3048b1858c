package handler

import (
	"cmp"
	"errors"
	"io"
	"maps"
	"net/http"
	"strings"

	"r-seed-1f3a754f.example/ifmatch/auth"
	"r-seed-1f3a754f.example/ifmatch/handler/accesslog"
	"r-seed-1f3a754f.example/ifmatch/handler/bylink"
	"r-seed-1f3a754f.example/ifmatch/handler/precondition"
	"r-seed-1f3a754f.example/ifmatch/links"
	"r-seed-1f3a754f.example/ifmatch/tree"
	"r-seed-1f3a754f.example/ifmatch/uploads"
	"r-seed-1f3a754f.example/ifmatch/web"
	"r-seed-1f3a754f.example/ifmatch/wire"
)

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
	if done, err := takes(w, r, allow, "this link takes only "+allow); done {
		return err
	}
	if r.Header.Get("Service-Worker") != "" {
		return errServiceWorker
	}
	return serve(w, r, below)
}

// means makes the request one with a method about a name of the link.
func (s *server) means(r *request, method, name string) error {
	header := r.Header.Clone()
	header.Del("If") // it may be about any name of the tree
	return s.becomes(r, method, name, header)
}

// onlyNew is the condition of a file that is dropped, in place of those of the request.
var onlyNew = http.Header{"If-None-Match": {"*"}}

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
		_, answer.File = tree.Split(name)
	}
	pool := s.Pools.Downloads
	if zip {
		pool = s.Pools.Archives
	}
	if err := s.takeTurn(w, r, pool); err != nil {
		return err
	}
	s.boundTags(r)
	if zip {
		return s.serveAddress(w, r, web.Addresses["zip"])
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
			return withStatus(http.StatusForbidden, "send a file with a name right below the link")
		}
		header := r.Header.Clone()
		for _, field := range uploads.Conditions {
			header.Del(field)
		}
		maps.Copy(header, onlyNew)
		if err := s.becomes(r, http.MethodPut, tree.Join(r.link.Name(), below), header); err != nil {
			return err
		}
		if err := s.takeTurn(w, r, s.Pools.Uploads); err != nil {
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
	r.sending.BecomesFile()
	if err = s.takeTurn(w, r, s.Pools.Uploads); err != nil {
		return 0, err
	}
	parts, err := r.MultipartReader()
	if err != nil {
		return 0, withStatus(http.StatusUnsupportedMediaType, "a form with files is multipart/form-data")
	}
	return page.Receive(parts, func(base string, part io.Reader) (status int, why string, err error) {
		status = http.StatusCreated
		defer func() { r.Request = form }()
		err = s.dropPart(r, base, part)
		if body := new(tree.BodyError); errors.As(err, &body) && !errors.As(err, new(*http.MaxBytesError)) {
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
	r.become(name, onlyNew, -1)
	if err := s.begin(r, name); err != nil {
		return err
	}
	opts, check, err := s.beforePut(r, func() http.Header { return nil }, nil)
	if err != nil {
		return err
	}
	state, _, err := s.Store.Put(r.Context(), r.name, bounded(part, s.maxUpload()), opts, check)
	r.after = state.Tag
	return err
}

// tellDropped returns the status and the reason of a file that was not stored.
func (s *server) tellDropped(err error) (status int, why string) {
	most, known := new(http.MaxBytesError), new(statusError)
	switch {
	case errors.As(err, &most):
		known = tooLarge(most.Limit)
	case errors.As(err, &known):
	case err == errForbidden:
		return http.StatusForbidden, "that is not allowed"
	case malformed(err) != "":
		return http.StatusBadRequest, "no file can have this name"
	default:
		return statusOf(err)
	}
	return known.status, known.detail
}

// linkOf returns the path below the address of share links, or nil if the request has another address.
func (s *server) linkOf(r *request) *string {
	if r.site != nil || !strings.Contains(r.URL.Path, ownDir) { // most requests
		return nil
	}
	name, _, err := s.locate(pathOf(r.URL))
	if err != nil && !errors.Is(err, tree.ErrSegmentLong) {
		return nil
	}
	rest, ok := strings.CutPrefix(name, ownDir+"/"+linkAddress)
	if !ok || rest != "" && rest[0] != '/' {
		return nil
	}
	rest = strings.TrimPrefix(rest, "/")
	return &rest
}

// usersWithLinks returns the users file beside which share links are, or "" if there are none. Where no user is known,
// each client has all rights that a link could give.
func (s *server) usersWithLinks() string {
	if s.NoLinks {
		return ""
	}
	return s.Auth.Now().UsersFile()
}

// identifyLink finds out by which link a request asks. A token that was never one, one that was revoked, one that has
// expired, and one whose maker may not do it any more are answered alike: nothing is there.
func (s *server) identifyLink(w http.ResponseWriter, r *request) error {
	rules := s.Auth.Now()
	visit := s.visit(r.Request)
	who := &asker{authority: s.Auth, rules: rules, visit: &visit}
	who.Access = rules.Access(auth.Principal{Without: auth.All, Link: "unknown"})
	r.asks(who)
	token, _, _ := strings.Cut(*r.byLink, "/")
	link, err := s.links.Find(token)
	if err != nil || link == nil {
		return cmp.Or(err, tree.ErrNotExist)
	}
	access := rules.Access(link.Principal())
	if needed := link.Access.Effects() & (auth.Read | auth.Create); !access.Effects(link.Name()).Has(needed) {
		return tree.ErrNotExist
	}
	answer, _ := wire.Inner[*bylink.Writer](w)
	if link.Hash != "" {
		answer.Challenge = `Basic realm="ifmatch link ` + link.ID + `", charset="UTF-8"`
		given, err := rules.CheckPassword(r.Context(), who.visit, auth.LinkSubject(link.ID), link.Hash)
		if err == nil && !given {
			err = withStatus(http.StatusUnauthorized, "this link has a password: log in with it, and with any name")
		}
		if err != nil {
			return err
		}
	}
	who.Access = access
	who.ended = func() bool { return !s.links.Has(link) }
	r.asks(who)
	r.link = link
	principal := link.Principal()
	accesslog.Of(w).User = principal.String()
	r.ctx = tree.WithPrincipal(r.ctx, tree.Principal(principal.Name))
	answer.Ended = func() bool {
		now := who.now()
		return !now.Effects(link.Name()).Has(auth.Read)
	}
	return nil
}

// linkHref returns the path of a name below the link of a request.
func (s *server) linkHref(r *request, below string, collection bool) string {
	token, _, _ := strings.Cut(*r.byLink, "/")
	name := ownDir + "/" + linkAddress + "/" + token
	if below != "" {
		name = tree.Join(name, below)
	}
	return s.href(name, collection)
}

// ofLink returns the failure to tell to a client that asks by a link. It tells nothing of where the link leads to, and of
// no rules.
func (r *request) ofLink(err error) error {
	if r.link == nil {
		return err
	}
	isDenied, isFailed := errors.As(err, new(*deniedError)), errors.As(err, new(*precondition.Failed))
	switch {
	case isDenied && r.link.Access == links.Drop:
		return errForbidden
	case isDenied, errors.Is(err, tree.ErrNoParent), errors.Is(err, tree.ErrLink):
		return tree.ErrNotExist
	case isFailed && r.link.Access == links.Drop:
		return errTaken
	case isFailed:
		return withStatus(http.StatusPreconditionFailed, "a condition is not true")
	case errors.As(err, new(*tree.LockedError)):
		return withStatus(http.StatusLocked, "it is locked; nothing has changed; try again later")
	case errors.Is(err, tree.ErrBadName):
		return withStatus(http.StatusBadRequest, "no file can have this name")
	}
	return err
}

// withoutNullOrigin returns the request to be judged as one of a page. Pages of links are sent with "Referrer-Policy:
// no-referrer", which makes browsers send "Origin: null" with their forms. A link has no rights of its visitor that a
// page of another site could use, so this says nothing there.
func (s *server) withoutNullOrigin(hr *http.Request) *http.Request {
	if hr.Header["Origin"] == nil || hr.Header.Get("Origin") != "null" || s.linkOf(newRequest(hr)) == nil {
		return hr
	}
	judged := *hr
	judged.Header = hr.Header.Clone()
	judged.Header.Del("Origin")
	return &judged
}
