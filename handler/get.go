package handler

import (
	"cmp"
	"context"
	"errors"
	"mime"
	"net/http"
	"path"
	"strconv"
	"strings"
	"time"

	"r-seed-1f3a754f.example/ifmatch/auth"
	"r-seed-1f3a754f.example/ifmatch/handler/byterange"
	"r-seed-1f3a754f.example/ifmatch/handler/charset"
	"r-seed-1f3a754f.example/ifmatch/handler/precondition"
	"r-seed-1f3a754f.example/ifmatch/site"
	"r-seed-1f3a754f.example/ifmatch/site/grace"
	"r-seed-1f3a754f.example/ifmatch/tree"
	"r-seed-1f3a754f.example/ifmatch/web"
)

// readAgain is how often a file that changes while it is read is opened again, as long as nothing was sent.
const readAgain = 3

// get answers GET and HEAD. The tag, the conditions and the bytes are those of the version that was opened.
func (s *server) get(w http.ResponseWriter, r *request) error {
	once := s.getter(r)
	if s.Page == web.Full && r.site == nil && r.Header.Get("Service-Worker") != "" {
		return errServiceWorker
	}
	for range readAgain {
		if err := once(w, r); !errors.Is(err, tree.ErrChanged) {
			return err
		}
	}
	r.tagDeadline = time.Unix(1, 0) // send the file without a tag
	err := once(w, r)
	if r.shown != nil && errors.Is(err, tree.ErrChanged) {
		return tree.ErrBusy
	}
	return err
}

// errServiceWorker refuses a script that would answer for this server in a browser: a file that somebody has uploaded
// could so take the place of the page.
var errServiceWorker = withStatus(http.StatusForbidden, "no file here can be a service worker")

// getOnce fails with ErrChanged if the file has changed before the first byte was sent.
func (s *server) getOnce(w http.ResponseWriter, r *request) error {
	ctx := r.Context()
	opts := r.reading(tree.WantTag | tree.WantProperties)
	opts.NoContent = r.Method == http.MethodHead && r.Header["Want-Repr-Digest"] == nil
	content, state, err := s.Store.Open(ctx, r.name, opts, r.readsFile())
	if errors.Is(err, tree.ErrIsCollection) {
		return s.getCollection(w, r)
	}
	if err != nil {
		return r.hidden(r.name, err)
	}
	defer content.Close()
	if err := r.opens(&state); err != nil {
		return err
	}
	parts, partial := partsOf(r.Method, r.Header, &state)
	if r.shown.IsWhole() {
		parts, partial = wholeOf(&state), false
	}
	if parted, ok := content.(tree.PartedContent); ok && partial && len(parts) > 0 {
		apart, err := parted.Parts(ctx, parts)
		if err != nil {
			return err
		}
		if !apart { // RFC 9110 §14.2: "A server MAY ignore the Range header field"
			parts, partial = wholeOf(&state), false
		}
	}
	if len(parts) == 0 {
		w.Header().Set("Content-Range", "bytes */"+strconv.FormatInt(state.Size, 10)) // RFC 9110 §15.5.17
		return withStatus(http.StatusRequestedRangeNotSatisfiable, "the Range begins at or after the end of the file")
	}
	h := w.Header()
	s.describeContent(h, r, state)
	if !r.shown.IsWhole() {
		h["Accept-Ranges"] = inBytes
		s.digests.SetFields(ctx, r.tagDeadline, h, r.Request, content, state, parts)
	}
	return s.sendContent(ctx, w, r, content, state, parts, partial)
}

// The values of header fields that all answers share. They must not be changed.
var (
	inBytes      = []string{"bytes"}
	asDeclared   = []string{"nosniff"}
	revalidated  = []string{cacheControl}
	unknownMedia = []string{unknownType}
)

// unknownType is the media type of a file whose name tells none.
const unknownType = "application/octet-stream"

// partsOf returns the parts of a content that a request asks for, or the whole (partial is false).
func partsOf(method string, h http.Header, state *tree.State) (parts []tree.Part, partial bool) {
	parts, partial = byterange.Parse(h, state.Size)
	if !partial || method != http.MethodGet || !precondition.RangeApplies(h, *state) {
		return wholeOf(state), false
	}
	return parts, true
}

// wholeOf returns the whole content as one part.
func wholeOf(state *tree.State) []tree.Part { return []tree.Part{{Length: state.Size}} }

// hashTurn waits for a turn to hash a content for a digest field.
func (s *server) hashTurn(ctx context.Context) (release func(), err error) {
	slot, err := s.Pools.Hashes.Acquire(ctx, tree.ClientOf(ctx), admitPatience, nil)
	if err != nil {
		return nil, err
	}
	return slot.Release, nil
}

// describeContent sets the header fields of a version's content.
func (s *server) describeContent(h http.Header, r *request, state tree.State) {
	s.describe(h, r, state)
	if r.shown != nil {
		r.shown.SetFields(h, !r.who.anonymous())
		return
	}
	media := contentType(&state)
	if media == unknownType {
		h["Content-Type"] = unknownMedia
	} else {
		h["Content-Type"] = []string{media}
	}
	s.confine(h, state, media)
	h["X-Content-Type-Options"] = asDeclared
	h["Cache-Control"] = revalidated
}

// contentFields are the header fields that an answer with a content has, and no other answer. A 412 or a 304 sets some
// of them anew.
var contentFields = []string{"Etag", "Last-Modified", "Content-Type", "Content-Security-Policy", "X-Content-Type-Options",
	"Referrer-Policy", "Cache-Control", "Accept-Ranges", "Content-Range", "Content-Length", "Content-Encoding", "Repr-Digest",
	"Content-Digest", "Trailer"}

// confine sets the policy that keeps a page from other files of the server. A 304 has it too, because the stored
// response may lack it.
func (s *server) confine(h http.Header, state tree.State, media string) {
	if !state.Collection && active(media) {
		h.Set("Content-Security-Policy", sandbox+"; "+s.origin.Frames())
		if s.Page == web.Full {
			h.Set("Referrer-Policy", "no-referrer") // the path of a folder is nothing that other sites should know
		}
	}
}

// cacheControl is sent with each content. Proxies must not compress it, which would change the tag. Caches may keep
// it, and must revalidate it.
const cacheControl = "private, no-cache, no-transform"

// readsFile returns the condition of a GET of a file.
func (r *request) readsFile() tree.Condition {
	if r.cond.IsUnconditional() && !r.slash {
		return tree.Condition{}
	}
	return r.condition(func(v tree.View) error {
		if r.slash {
			return tree.ErrNotExist // only collections end with a slash
		}
		return r.mayRead(v)
	})
}

// mayRead checks the conditions of a GET against the opened version.
func (r *request) mayRead(v tree.View) error {
	s, err := v.State(r.name)
	if err == nil {
		err = r.opens(&s)
	}
	if err != nil {
		return err
	}
	err = r.cond.Read(r.shown.View(v))
	if !errors.Is(err, tree.ErrTagUnknown) {
		return err
	}
	if s, failed := v.State(r.name); failed == nil && s.Tag == "" {
		err = r.cond.Guard(v) // the file keeps changing: the whole content is better than no answer
	}
	return err
}

// describe sets the validators of a resource, if the principal may read it.
func (s *server) describe(h http.Header, r *request, state tree.State) {
	if !state.Exists || !r.mayOf(&state, auth.Read) {
		return
	}
	if state.Tag != "" {
		h["Etag"] = []string{string(state.Tag)}
	}
	if date, ok := httpDate(state.LastModified); ok {
		h["Last-Modified"] = []string{date}
	}
}

// httpDate writes a date as in RFC 9110 §5.6.7. ok is false for a date that this form cannot express.
func httpDate(date time.Time) (s string, ok bool) {
	var buf [len(http.TimeFormat)]byte
	b, ok := appendDate(buf[:0], date)
	return string(b), ok
}

func appendDate(b []byte, date time.Time) ([]byte, bool) {
	if !canBeSaid(date) {
		return b, false
	}
	return date.UTC().AppendFormat(b, http.TimeFormat), true
}

// A secondText is a date in the form of RFC 9110 §5.6.7, if it can be said in that form (ok).
type secondText struct {
	second int64 // since 1970
	text   []byte
	ok     bool
}

// canBeSaid reports whether HTTP can express a date: its year has four digits. The zero time means an unknown date.
func canBeSaid(date time.Time) bool { return date.After(time.Time{}) && date.UTC().Year() <= 9999 }

// sandbox gives a served page another origin than ours. Its scripts run, but cannot write or read the files of the
// server. Pages that need to can be served with --read-only, unless the server has a page of its own there.
const sandbox = "sandbox allow-scripts allow-forms allow-popups allow-modals allow-downloads"

// active reports whether browsers run scripts in content of this type. Parameters do not matter, even malformed ones.
func active(contentType string) bool {
	media, _, _ := strings.Cut(contentType, ";")
	major, minor, _ := strings.Cut(strings.ToLower(strings.TrimSpace(media)), "/")
	return minor == "html" || strings.HasSuffix(minor, "xml") || minor == "xsl" ||
		major == "multipart" || major == "message"
}

// contentType returns the media type of a file: that which a client has set, or that of the name. GET, HEAD and
// PROPFIND agree, and need not open the file. It has no charset but that which a client has said for this content: package
// mime would claim UTF-8 for all text without looking, and browsers believe the header more than the page itself.
func contentType(state *tree.State) string {
	if p := propertyOf(state, contentTypeName); p != nil {
		return strings.TrimSpace(plainText(p.InnerXML))
	}
	media, _, _ := strings.Cut(mime.TypeByExtension(path.Ext(state.Name)), ";")
	return charset.Add(cmp.Or(media, unknownType), charset.Of(state))
}

// mediaOf returns the media type of a file of a site: the one that the file has as a property, or the one of its name
// with the charset that is known of it.
func (s *server) mediaOf(r *request, at *site.Site, file *tree.State) (string, error) {
	said := ""
	if propertyOf(file, charset.Name) != nil {
		state, err := s.Store.Stat(r.Context(), file.Name, r.reading(tree.WantTag|tree.WantProperties))
		if err == nil {
			said = charset.Of(&state)
		} else if !ofTheTarget(err) { // else it is gone, as the answer will say
			return "", err
		}
	}
	if propertyOf(file, contentTypeName) != nil {
		return contentType(file), nil
	}
	media := at.TypeOf(file.Name)
	if said != "" {
		media = charset.Add(site.Plain(media), said)
	}
	return media, nil
}

// isContentType reports whether a string is a media type that a header field can have.
func isContentType(s string) bool {
	media, _, err := mime.ParseMediaType(s)
	major, minor, _ := strings.Cut(media, "/")
	printable := !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' })
	return err == nil && printable && major != "" && minor != "" && len(s) <= maxContentType
}

// maxContentType bounds a media type that a client sets, in bytes.
const maxContentType = 255

// A displaced is a file that a publication has displaced.
type displaced struct {
	content tree.Content
	state   tree.State
	left    time.Duration // of its grace
}

// displaced opens the file that a name below the path of a site had before a publication, if its grace has not ended,
// and if the principal may read the name.
func (s *server) displaced(r *request, at *site.Site, below string) (displaced, bool, error) {
	name := at.Name(below)
	spelled, err := s.spelledNow(r, name)
	if err != nil || !r.who.Effects(name).Has(auth.Read) || !r.who.Effects(spelled).Has(auth.Read) {
		return displaced{}, false, nil
	}
	found, ok, err := s.grace.Find(r.Context(), at.Path, name)
	if !ok || err != nil {
		return displaced{}, false, err
	}
	content, v, err := s.Store.OpenVersion(r.Context(), found.ID)
	if errors.Is(err, tree.ErrNotExist) || errors.Is(err, tree.ErrIsCollection) {
		return displaced{}, false, nil // the history has let it go
	}
	left := found.Until.Sub(s.Now())
	if err == nil && (left < time.Second || v.Late || v.Name != name) {
		content.Close()
		return displaced{}, false, nil
	}
	return displaced{content, v.State, left}, err == nil, err
}

// sendDisplaced answers with a displaced file. It has no validators, as its URL leads nowhere any more.
func (s *server) sendDisplaced(w http.ResponseWriter, r *request, at *site.Site, below string, old displaced) error {
	old.state.Tag, old.state.Modified = "", time.Time{}
	r.shown = &site.Shown{Variant: site.Variant{File: &old.state}, Site: at, Below: below, Media: at.TypeOf(below),
		Status: http.StatusOK}
	parts, partial := partsOf(r.Method, r.Header, &old.state)
	h := w.Header()
	r.shown.SetFields(h, !r.who.anonymous())
	h.Set("Cache-Control", site.GraceControl(old.left, !r.who.anonymous()))
	h["Accept-Ranges"] = inBytes
	return s.sendContent(r.Context(), w, r, old.content, old.state, parts, partial)
}

// graceOfSites returns what finds the files that publications have displaced, or nil if no site has a grace.
func (s *server) graceOfSites() (*grace.Keeper, error) {
	sites := grace.Sites{}
	for _, one := range s.Sites {
		if one.Grace > 0 {
			sites[one.Path] = max(sites[one.Path], one.Grace)
		}
	}
	switch {
	case len(sites) == 0:
		return nil, nil
	case s.feed == nil:
		return nil, errors.New("a site has a grace, and this store does not tell of its changes: leave out --publish-grace")
	}
	return grace.New(s.Store, s.feed, sites, s.Now), nil
}
