package handler

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"r-seed-1f3a754f.example/ifmatch/auth"
	"r-seed-1f3a754f.example/ifmatch/handler/accesslog"
	"r-seed-1f3a754f.example/ifmatch/handler/byterange"
	"r-seed-1f3a754f.example/ifmatch/handler/digest"
	"r-seed-1f3a754f.example/ifmatch/handler/exchange"
	"r-seed-1f3a754f.example/ifmatch/handler/precondition"
	"r-seed-1f3a754f.example/ifmatch/site"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

// sendContent answers with the content of a file, or parts of it. The header has all fields of [server.describeContent].
// If sendContent fails before the first byte, the caller can still send another answer: none of these fields is left. If
// it fails later, the answer is cut off, so that no client takes the received bytes for the whole.
func (s *server) sendContent(
	ctx context.Context, w http.ResponseWriter, r *request, content tree.Content, state tree.State,
	parts []tree.Part, partial bool,
) error {
	if len(parts) == 0 { // a caller that does not refuse such a Range ignores it (RFC 9110 §14.2)
		parts, partial = wholeOf(&state), false
	}
	h := w.Header()
	answer := &lateAnswer{ResponseWriter: w, status: r.shown.StatusOf()}
	to := sink(r, answer)
	send := func(p tree.Part) error {
		_, err := content.WriteRange(ctx, to, p.Offset, p.Length)
		return err
	}
	length, sendAll := parts[0].Length, func() error { return send(parts[0]) }
	if partial {
		answer.status = http.StatusPartialContent
		h.Set("Content-Range", byterange.ContentRange(parts[0], state.Size))
	}
	if len(parts) > 1 {
		body := byterange.NewMultipart(parts, state.Size, h.Get("Content-Type"))
		length, sendAll = body.Length(), func() error { return body.Write(to, send) }
		h.Set("Content-Type", body.ContentType())
		h.Del("Content-Range")
	}
	h["Content-Length"] = []string{strconv.FormatInt(length, 10)}
	if r.shown != nil && r.shown.Squeezed {
		delete(h, "Content-Length") // it is known when all is sent
		sendAll = func() error {
			return site.Squeeze(to, func(squeezed io.Writer) error {
				_, err := content.WriteRange(ctx, squeezed, 0, state.Size)
				return err
			})
		}
	}
	setTrailer := func(http.Header) {}
	if s.sendsTrailer(r, &state) {
		delete(h, "Content-Length") // the trailer needs the chunked coding (RFC 9112 §7.1.2)
		trailer := digest.NewTrailer(h)
		setTrailer = trailer.Set
		sendAll = func() error {
			_, err := content.WriteRange(ctx, io.MultiWriter(to, trailer), 0, state.Size)
			return err
		}
	}
	if r.Method != http.MethodHead {
		if err := sendAll(); err != nil && answer.begun {
			cutOff(w, err)
		} else if err != nil {
			for _, field := range contentFields {
				delete(h, field)
			}
			return err
		}
	}
	answer.begin() // an empty content has no first byte
	setTrailer(h)
	return nil
}

// sendsTrailer reports whether the tag of a whole content follows it, since it was not known in time.
func (s *server) sendsTrailer(r *request, state *tree.State) bool {
	return state.Tag == "" && r.Method == http.MethodGet && r.Header["Range"] == nil && !r.shown.IsWhole() &&
		digest.AcceptsTrailer(r.Request)
}

// cutOff ends an answer so that the client notices that it is incomplete: it resets the connection, or the stream of
// HTTP/2.
func cutOff(w http.ResponseWriter, cause error) {
	status, _ := statusOf(cause)
	if errors.Is(cause, tree.ErrChanged) {
		status = http.StatusServiceUnavailable // a local program has written to the file
	}
	accesslog.ExplainCut(w, status, cause)
	panic(http.ErrAbortHandler)
}

// sink returns the writer for a content. Over plain HTTP/1.1 it is an [io.ReaderFrom], so that the operating system
// can send the file.
func sink(r *request, answer io.Writer) io.Writer {
	if r.TLS != nil || r.ProtoMajor > 1 {
		return struct{ io.Writer }{answer}
	}
	return answer
}

// A lateAnswer sends its header with the first byte. Until then, another answer can be sent.
type lateAnswer struct {
	http.ResponseWriter
	status int
	begun  bool
}

func (a *lateAnswer) begin() {
	if !a.begun {
		a.begun = true
		a.WriteHeader(a.status)
	}
}

func (a *lateAnswer) Write(p []byte) (int, error) {
	a.begin()
	return a.ResponseWriter.Write(p)
}

// ReadFrom forwards to net/http, which lets the operating system send a file.
func (a *lateAnswer) ReadFrom(src io.Reader) (int64, error) {
	a.begin()
	return io.Copy(a.ResponseWriter, src)
}

// AwaitRead implements [tree.Drain].
func (a *lateAnswer) AwaitRead(most int64, patience time.Duration) (unread int64, ok bool) {
	return exchange.AwaitRead(a.ResponseWriter, most, patience)
}

// write answers with a body in memory.
func (s *server) write(w http.ResponseWriter, r *request, status int, contentType string, body []byte) {
	s.send(w, r, status, contentType, int64(len(body)), func(w io.Writer) error {
		_, err := w.Write(body)
		return err
	})
}

// send answers with a body of a size, in bytes, which the function body writes.
func (s *server) send(
	w http.ResponseWriter, r *request, status int, contentType string, size int64, body func(io.Writer) error,
) {
	h := w.Header()
	h.Set("Content-Type", contentType)
	h.Set("Content-Length", strconv.FormatInt(size, 10))
	w.WriteHeader(status)
	if r.Method == http.MethodHead {
		return
	}
	if err := body(sink(r, w)); err != nil {
		cutOff(w, err)
	}
}

// siteOf returns the site that is all that the host of a request serves, or nil. A browser behind a trusted proxy has
// sent one of the hosts on the way, and takes the answer for one of that host: a page of the site must find nothing
// else there, so each of these hosts counts.
func (s *server) siteOf(r *http.Request) *site.Site {
	if len(s.Sites) == 0 {
		return nil
	}
	return s.sites.OfHosts(s.TrustedProxies.Hosts(r)...)
}

// byHost sends requests for the host of a site past the checks of other hosts: a site takes no writes, and no page of
// another origin is trusted there.
func (s *server) byHost(ofSite, other http.Handler) http.Handler {
	if len(s.Sites) == 0 {
		return other
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.siteOf(r) != nil {
			ofSite.ServeHTTP(w, r)
		} else {
			other.ServeHTTP(w, r)
		}
	})
}

// serveSite answers a request for the host of a site. A path is one below the site: there are no addresses of the
// program, and no prefix.
func (s *server) serveSite(w http.ResponseWriter, r *request) error {
	if r.who.anonymous() { // else a page of another origin could tell whether the user may read a file
		delete(w.Header(), "Cross-Origin-Resource-Policy")
	}
	const detail = "this host serves a site, which is only read here; nothing has changed"
	if done, err := takes(w, r, site.Allow, detail); done {
		return err
	}
	segments, slash, err := splitPath(pathOf(r.URL))
	if err != nil {
		return err
	}
	r.name, r.slash = r.site.Name(strings.Join(segments, "/")), slash
	r.asked = r.name
	var denied *deniedError
	// A name that may not be known is answered like one that is not there: with the page of the site.
	if err := r.allowed(&r.who.Access); err != nil && !(errors.As(err, &denied) && denied.verdict == auth.NotFound) {
		return err
	}
	if err := s.takeTurn(w, r, s.Pools.Downloads); err != nil {
		return err
	}
	s.boundTags(r)
	err = s.get(w, r)
	if failed := new(precondition.Failed); errors.As(err, &failed) {
		// The refusal of other hosts would tell where the site is in the tree.
		return withStatus(http.StatusPreconditionFailed, "a condition is not true")
	}
	return err
}

// getter returns the function that answers a GET or HEAD: of a file or collection as it is, or as a site shows it.
// Without a host of its own, a site is shown as long as the server is read-only and has no users, and If is about the
// tree.
func (s *server) getter(r *request) func(w http.ResponseWriter, r *request) error {
	at := r.site
	if at == nil && s.ReadOnly && !r.who.rules.HasUsers() && r.Header["If"] == nil {
		at = s.sites.At(r.name)
	}
	if at == nil {
		return s.getOnce
	}
	ask := site.Ask{Below: at.Below(r.name), Slash: r.slash, Navigates: site.Navigates(r.Header)}
	return func(w http.ResponseWriter, r *request) error { return s.getOfSite(w, r, at, ask) }
}

// getOfSite answers a GET or HEAD as a site shows it.
func (s *server) getOfSite(w http.ResponseWriter, r *request, at *site.Site, ask site.Ask) error {
	look := func(name string) (tree.State, error) { return s.lookAt(r, name) }
	var old displaced
	if at.Grace > 0 {
		ask.Displaced = func(below string) (ok bool, err error) {
			old, ok, err = s.displaced(r, at, below)
			return ok, err
		}
	}
	found, err := at.Find(ask, func(below string) (tree.State, error) { return look(at.Name(below)) })
	if err != nil {
		return err
	}
	h := w.Header()
	if found.Varies {
		site.Vary(h, site.NavigationFields)
	}
	r.shown, r.slash = nil, false
	if r.cond, err = precondition.Parse(http.Header{}, s.Now(), r.name, nil, precondition.Strict); err != nil {
		return err
	}
	switch {
	case found.Displaced:
		defer old.content.Close()
		return s.sendDisplaced(w, r, at, ask.Below, old)
	case found.Redirect:
		h.Set("Location", s.hrefOn(r, at.Name(ask.Below), true)+(&url.URL{RawQuery: r.URL.RawQuery}).String())
		h.Set("Cache-Control", "no-cache")
		w.WriteHeader(http.StatusMovedPermanently)
		return nil
	case found.Listing:
		return s.getCollection(w, r)
	case found.File == nil:
		return tree.ErrNotExist
	}
	media, err := s.mediaOf(r, at, found.File)
	if err != nil {
		return err
	}
	shown := &site.Shown{Site: at, Below: at.Below(found.File.Name), Media: media, Status: found.Status}
	if shown.Variant, err = at.Choose(found.File, media, r.Header, look); err != nil {
		return err
	}
	if shown.Squeezed && !r.ProtoAtLeast(1, 1) { // without chunks, a part that is cut off looks like the whole
		shown.Squeezed, shown.Coding = false, ""
	}
	r.name = shown.File.Name
	r.asked = r.name
	if found.Status == http.StatusOK {
		r.cond, err = precondition.Parse(aboutTarget(r.Header), s.Now(), r.name, nil, s.matching(r.Request))
	}
	if r.shown = shown; err != nil {
		return err
	}
	err = s.getOnce(w, r)
	if errors.Is(err, tree.ErrNotExist) || errors.Is(err, tree.ErrIsCollection) {
		return tree.ErrChanged // it was there a moment ago
	}
	return err
}

// aboutTarget returns the fields of a request that are conditions about its target alone.
func aboutTarget(h http.Header) http.Header {
	about := http.Header{}
	for _, name := range []string{"If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since"} {
		if values := h[name]; values != nil {
			about[name] = values
		}
	}
	return about
}

// lookAt returns the resource of a name, or a state that does not exist where the principal may not read it.
func (s *server) lookAt(r *request, name string) (tree.State, error) {
	if !r.who.Effects(name).Has(auth.Read) {
		return tree.State{}, nil
	}
	spelled, err := s.spelledNow(r, name)
	if err == nil && !r.who.Effects(spelled).Has(auth.Read) {
		return tree.State{}, nil
	}
	var state tree.State
	if err == nil {
		state, err = s.Store.Stat(r.Context(), spelled, r.reading(tree.WantProperties))
	}
	if err == nil {
		err = r.opens(&state)
	}
	switch {
	case err != nil && (ofTheTarget(err) || errors.Is(err, tree.ErrNoParent) || errors.Is(err, errForbidden)):
		return tree.State{}, nil
	case err != nil || state.Dead:
		return tree.State{}, err
	}
	state.Name = spelled
	return state, nil
}

// below returns a name as the paths of the host have it.
func (r *request) below(name string) string {
	switch {
	case r.site != nil:
		return r.site.Below(name)
	case r.link != nil:
		return strings.TrimPrefix(strings.TrimPrefix(name, r.link.Name()), "/")
	}
	return name
}

// title returns the path of the collection of the request as people see it.
func (r *request) title() string {
	below := "/" + r.below(r.name)
	if r.link != nil {
		return strings.TrimSuffix(r.link.Title()+below, "/")
	}
	return below
}

// hrefOn is [server.href] for the host of a request.
func (s *server) hrefOn(r *request, name string, collection bool) string {
	if r.site != nil {
		return hrefOf(nil, r.site.Below(name), collection)
	}
	if r.link != nil {
		return s.linkHref(r, r.below(name), collection)
	}
	return s.href(name, collection)
}
