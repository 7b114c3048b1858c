package handler

import (
	"context"
	"errors"
	"io"
	"iter"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"r-seed-1f3a754f.example/ifmatch/auth"
	"r-seed-1f3a754f.example/ifmatch/handler/autoindex"
	"r-seed-1f3a754f.example/ifmatch/handler/bylink"
	"r-seed-1f3a754f.example/ifmatch/handler/synctoken"
	"r-seed-1f3a754f.example/ifmatch/tree"
	"r-seed-1f3a754f.example/ifmatch/web"
)

// getCollection answers GET and HEAD of a collection. The answer is never a 404 or a redirect, because LibreOffice and
// Microsoft Office ask for the folder before they save into it.
func (s *server) getCollection(w http.ResponseWriter, r *request) error {
	var err error
	for _, err = range s.Store.List(r.Context(), r.name, tree.ListOptions{Follow: r.follows}, r.condition(r.mayRead)) {
	}
	if err != nil {
		return r.hidden(r.name, err)
	}
	full := s.Page == web.Full && r.site == nil && r.link == nil // the host of a site, and a link, have nothing else
	if full {
		w.Header()["Vary"] = append(w.Header()["Vary"], "Accept, Authorization, Cookie")
	}
	if full && web.AcceptsPage(r.Header) {
		return s.page(w, r)
	}
	begun := false
	begin := func(length int) {
		begun = true
		bylink.IsPage(w)
		h := w.Header()
		h.Set("Content-Type", "text/html; charset=utf-8")
		h.Set("Cache-Control", cacheControl)
		h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; "+s.origin.Frames())
		h.Set("X-Content-Type-Options", "nosniff")
		if length >= 0 {
			h.Set("Content-Length", strconv.Itoa(length))
		}
		w.WriteHeader(http.StatusOK)
	}
	if r.Method == http.MethodHead {
		begin(-1)
		return nil
	}
	if err := s.takeTurn(w, r, s.Pools.Listings); err != nil {
		return err
	}
	page := autoindex.Page{
		Title: r.title(),
		Href:  func(m *autoindex.Member) string { return s.hrefOn(r, tree.Join(r.name, m.Base), m.Collection) },
		Date:  func(t time.Time) string { date, _ := httpDate(t); return date },
		Begin: begin,
	}
	if r.below(r.name) != "" {
		parent, _ := tree.Split(r.name)
		page.Up = s.hrefOn(r, parent, true)
	}
	members := s.indexMembers(r)
	if r.link != nil {
		page.Archive = s.hrefOn(r, r.name, true) + "?zip"
	} else if s.Page == web.Off {
		members = func(func(autoindex.Member, error) bool) {}
	}
	if err = page.Write(w, members); err != nil && begun {
		cutOff(w, err)
	}
	return err
}

// indexMembers yields the rows of the list of a collection. An error ends it.
func (s *server) indexMembers(r *request) iter.Seq2[autoindex.Member, error] {
	return func(yield func(autoindex.Member, error) bool) {
		for m, err := range s.visibleMembers(r, 1, 0) {
			if err != nil && m.Name != "" {
				continue // a member that cannot be read must not hide the others
			}
			_, base := tree.Split(m.Name)
			member := autoindex.Member{
				Base: strings.Clone(base), Collection: m.Collection, Size: m.Size, Modified: m.Modified,
			}
			if !yield(member, err) || err != nil {
				return
			}
		}
	}
}

// visibleMembers yields the members of the collection at the Request-URI that the principal may know of. An error without
// a name ends them.
func (s *server) visibleMembers(r *request, depth int, want tree.Want) iter.Seq2[tree.State, error] {
	return func(yield func(tree.State, error) bool) {
		opts := tree.ListOptions{Depth: depth, Show: r.showsMember(), Follow: r.follows, Want: want,
			TagDeadline: time.Unix(1, 0)} // tags that are known
		for m, err := range s.Store.List(r.Context(), r.name, opts, tree.Condition{}) {
			if err != nil && m.Name == "" {
				yield(tree.State{}, err)
				return
			}
			shown := r.shows(&m)
			if err == nil && m.Name == r.name {
				if err = r.opens(&m); err == nil && !m.Collection {
					err = tree.ErrNotExist // there is no such collection
				}
				if err != nil {
					yield(tree.State{}, err)
					return
				}
				continue
			}
			if !shown {
				continue
			}
			if !r.may(m.Name, auth.List) { // it is only on the way to visible names
				m.Modified = time.Time{}
			}
			if !yield(m, err) {
				return
			}
		}
	}
}

// page answers GET and HEAD of a collection with the page for browsers.
func (s *server) page(w http.ResponseWriter, r *request) error {
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Cache-Control", "private, no-cache")
	h.Set("Content-Security-Policy", s.scriptPolicy(r))
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "same-origin")
	if r.Method == http.MethodHead {
		w.WriteHeader(http.StatusOK)
		return nil
	}
	if err := s.takeTurn(w, r, s.Pools.Listings); err != nil {
		return err
	}
	view := web.View{
		Own:    s.ownPath(),
		Member: func(m *tree.State) string { return s.href(m.Name, m.Collection) },
		Crumbs: []web.Crumb{{Name: r.Host, Href: s.href("", true)}},
		After:  r.URL.Query().Get("after"),
		Login:  s.shownLogin(r),
		Links:  s.makesLinks(r),
	}
	for i := range len(r.name) + 1 {
		if r.name != "" && (i == len(r.name) || r.name[i] == '/') {
			_, base := tree.Split(r.name[:i])
			view.Crumbs = append(view.Crumbs, web.Crumb{Name: web.Shown(base), Href: s.href(r.name[:i], true)})
		}
	}
	var failed error
	web.Compressed()(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		failed = web.WritePage(w, view, s.visibleMembers(r, 1, 0))
	})).ServeHTTP(w, r.Request)
	return failed
}

// withPage adds the addresses of the page to a table.
func withPage(table map[string]ownAddress) map[string]ownAddress {
	table["page"] = func(s *server, w http.ResponseWriter, r *request, rest string) error {
		if err := s.ofPage(r, http.MethodGet, http.MethodHead); err != nil {
			return err
		}
		web.Assets(w, r.Request, rest, s.scriptPolicy(r))
		return nil
	}
	for name, address := range web.Addresses {
		table[name] = func(s *server, w http.ResponseWriter, r *request, rest string) error {
			if err := s.ofPage(r, address.Method); err != nil {
				return err
			}
			if rest != "" {
				return tree.ErrNotExist
			}
			return s.aboutPath(w, r, address)
		}
	}
	return table
}

// ofPage refuses a request for an address of the page that is not there, or takes other methods.
func (s *server) ofPage(r *request, methods ...string) error {
	switch {
	case s.Page != web.Full:
		return tree.ErrNotExist
	case !slices.Contains(methods, r.Method):
		return &statusError{status: http.StatusMethodNotAllowed, allow: strings.Join(methods, ", "),
			detail: "this is a part of the page"}
	}
	return nil
}

// aboutPath answers a request for one of the program's own addresses about the resource at the parameter path, with the
// rights that a method needs there.
func (s *server) aboutPath(w http.ResponseWriter, r *request, address web.Address) error {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return withStatus(http.StatusBadRequest, "the query is badly escaped")
	}
	name, slash, err := s.locate(query.Get("path"))
	if err != nil {
		return err
	}
	r.slash = slash
	if err := s.becomes(r, address.As, name, r.Header); err != nil {
		return err
	}
	pool := s.Pools.Listings
	switch {
	case address.Method == http.MethodPost:
		pool = s.Pools.Changes
	case address.Large:
		pool = s.Pools.Archives
	case address.Plain:
		pool = s.Pools.Downloads
	}
	if err := s.takeTurn(w, r, pool); err != nil {
		return err
	}
	if address.Plain {
		return s.serveAddress(w, r, address)
	}
	web.Compressed()(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if err := s.serveAddress(w, r, address); err != nil {
			s.fail(w, r, err)
		}
	})).ServeHTTP(w, r.Request)
	return nil
}

// serveAddress answers with one of the program's own addresses, about the name of the request.
func (s *server) serveAddress(w http.ResponseWriter, r *request, address web.Address) error {
	err := address.Serve(&asking{s, r, w})
	if bad := new(web.BadQueryError); errors.As(err, &bad) {
		err = withStatus(http.StatusBadRequest, bad.Detail)
	}
	return err
}

// asking is a request as package web sees it.
type asking struct {
	s *server
	r *request
	w http.ResponseWriter
}

func (a *asking) Context() context.Context { return a.r.Context() }
func (a *asking) Request() *http.Request   { return a.r.Request }
func (a *asking) Name() string             { return a.r.name }

func (a *asking) Href(name string, collection bool) string { return a.s.href(name, collection) }

func (a *asking) Effects(name string) []string {
	effects := a.r.who.Effects(name)
	if a.s.ReadOnly {
		effects &= auth.ReadOnly | auth.History
	}
	return effects.Names()
}

func (a *asking) MayRead(m *tree.State) bool { return a.r.mayOf(m, auth.Read) }

func (a *asking) Token() (string, error) {
	if a.s.feed == nil {
		return "", nil
	}
	now, err := a.s.feed.Now(a.Context())
	if err != nil {
		return "", err
	}
	return synctoken.New(now, a.r.binding()), nil
}

func (a *asking) Members(depth int) web.Members { return a.s.visibleMembers(a.r, depth, tree.WantTag) }

func (a *asking) Open(name string) (tree.Content, tree.State, error) {
	return a.s.Store.Open(a.Context(), name, tree.ReadOptions{TagDeadline: time.Unix(1, 0), Follow: a.r.follows}, tree.Condition{})
}

func (a *asking) Versions() iter.Seq2[tree.Version, error] {
	return a.versionsWith(tree.VersionOptions{})
}

func (a *asking) versionsWith(opts tree.VersionOptions) iter.Seq2[tree.Version, error] {
	return func(yield func(tree.Version, error) bool) {
		for v, err := range a.s.Store.Versions(a.Context(), a.r.name, opts) {
			if err == nil && !a.mayHave(&v) {
				continue
			}
			if !yield(v, err) {
				return
			}
		}
	}
}

// mayHave reports whether the principal may read a version of the history, by the name that it had and as asked.
func (a *asking) mayHave(v *tree.Version) bool {
	if v.Name == "" && a.r.name != "" { // its name is not known any more
		return false
	}
	op := auth.Operation{Verb: auth.VerbVersions, Name: v.Name, To: a.r.name, Shallow: !v.Collection}
	return a.r.may(v.Name, auth.History|auth.Read) && a.r.who.Decide(true, op.Before()...) == auth.Granted
}

// Begin sends the header of an answer. Browsers may keep it, and must ask again.
func (a *asking) Begin(media string) io.Writer {
	h := a.w.Header()
	confineVersion(h, media)
	if media == "application/zip" {
		h.Set("Content-Disposition", "attachment; filename*=UTF-8''"+escape(web.ArchiveName(a.r.name)))
	}
	a.w.WriteHeader(http.StatusOK)
	return a.w
}

// keptControl lets nothing be kept of what is in the history for a time only.
const keptControl = "private, no-store"

// confineVersion sets the fields of an answer that is no page of this server.
func confineVersion(h http.Header, media string) {
	h.Set("Content-Type", media)
	h.Set("Cache-Control", keptControl)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Security-Policy", "sandbox")
	if media != "application/json" {
		h.Set("Content-Disposition", "attachment")
	}
}

func (a *asking) Cut(err error) { cutOff(a.w, err) }

func (a *asking) OpenVersion(id string) (tree.Content, tree.Version, error) {
	content, v, err := a.s.Store.OpenVersion(a.Context(), id)
	if err != nil {
		return nil, v, err
	}
	if v.Name != a.r.name || !a.mayHave(&v) {
		content.Close()
		return nil, tree.Version{}, tree.ErrNotExist
	}
	return content, v, nil
}
