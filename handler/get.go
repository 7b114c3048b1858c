package handler

import (
	"cmp"
	"context"
	"errors"
	"iter"
	"mime"
	"net/http"
	"path"
	"strconv"
	"strings"
	"time"

	"ifmatch/auth"
	"ifmatch/handler/autoindex"
	"ifmatch/handler/byterange"
	"ifmatch/handler/precondition"
	"ifmatch/tree"
)

// readAgain is how often a file is read anew that has changed before any of it was sent.
const readAgain = 3

// get answers GET and HEAD. The tag, the conditions and the bytes are all of the one version that was opened.
func (s *server) get(w http.ResponseWriter, r *request) error {
	for range readAgain {
		if err := s.getOnce(w, r); !errors.Is(err, tree.ErrChanged) {
			return err
		}
	}
	r.tagDeadline = time.Unix(1, 0) // as it comes, without a tag
	return s.getOnce(w, r)
}

// getOnce fails with ErrChanged where nothing has been sent, and what was to be sent is another version now.
func (s *server) getOnce(w http.ResponseWriter, r *request) error {
	ctx := r.Context()
	content, state, err := s.Store.Open(ctx, r.name, r.reading(tree.WantTag|tree.WantProperties), r.readsFile())
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
	parts, partial := byterange.Parse(r.Header, state.Size)
	if !partial || r.Method != http.MethodGet || !precondition.RangeApplies(r.Header, state) {
		parts, partial = wholeOf(&state), false
	}
	if partial && len(parts) > 0 {
		apart, err := sentApart(ctx, content, parts)
		if err != nil {
			return err
		}
		if !apart { // RFC 9110 §14.2: "A server MAY ignore the Range header field"
			parts, partial = wholeOf(&state), false
		}
	}
	if len(parts) == 0 {
		w.Header().Set("Content-Range", "bytes */"+strconv.FormatInt(state.Size, 10)) // RFC 9110 §15.5.17
		return &statusError{status: http.StatusRequestedRangeNotSatisfiable, detail: "the file ends before the Range begins"}
	}
	h := http.Header{}
	s.present(h, r, state)
	h.Set("Accept-Ranges", "bytes")
	s.setDigests(ctx, h, r, content, state, parts)
	return s.sendContent(ctx, w, r, h, content, state, parts, partial)
}

// sentApart reports whether parts of a content are to be sent, and not all of it.
func sentApart(ctx context.Context, content tree.Content, parts []tree.Part) (bool, error) {
	parted, ok := content.(tree.PartedContent)
	if !ok {
		return true, nil
	}
	return parted.Parts(ctx, parts)
}

// wholeOf returns a content as one part.
func wholeOf(state *tree.State) []tree.Part { return []tree.Part{{Length: state.Size}} }

// setDigests sets the digest fields of an answer with a content, as far as they are known in time.
func (s *server) setDigests(ctx context.Context, h http.Header, r *request, content tree.Content, state tree.State, sent []tree.Part) {
	ctx, cancel := tree.Patience(ctx, r.tagDeadline)
	defer cancel()
	s.digests.SetFields(ctx, h, r.Request, content, state, sent)
}

// hashTurn waits for a turn to hash a content for a digest field.
func (s *server) hashTurn(ctx context.Context) (release func(), err error) {
	slot, err := s.Pools.Hashes.Acquire(ctx, tree.ClientOf(ctx), admitPatience, nil)
	if err != nil {
		return nil, err
	}
	return slot.Release, nil
}

// present sets the headers that go with the content of a version.
func (s *server) present(h http.Header, r *request, state tree.State) {
	s.describe(h, r, state)
	h.Set("Content-Type", contentType(&state))
	s.confine(h, state)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", cacheControl)
}

// confine sets what keeps a page from what is beside it. A 304 has it too: the page that is kept may have come without.
func (s *server) confine(h http.Header, state tree.State) {
	if !s.ReadOnly && !state.Collection && active(contentType(&state)) {
		h.Set("Content-Security-Policy", sandbox+"; "+s.origin.Frames())
	}
}

// cacheControl: what is in between must not compress, which would change the tag. A cache may keep it, and must ask.
const cacheControl = "private, no-cache, no-transform"

// readsFile returns the condition of a GET of a file.
func (r *request) readsFile() tree.Condition {
	if r.cond.IsUnconditional() && !r.slash {
		return tree.Condition{}
	}
	return r.condition(func(v tree.View) error {
		if r.slash {
			return tree.ErrNotExist // a file is no collection, and only those end with a slash
		}
		return r.mayRead(v)
	})
}

// mayRead asks the conditions of a GET about what it answers with.
func (r *request) mayRead(v tree.View) error {
	s, err := v.State(r.name)
	if err == nil {
		err = r.opens(&s)
	}
	if err != nil {
		return err
	}
	err = r.cond.Read(v)
	if !errors.Is(err, tree.ErrTagUnknown) {
		return err
	}
	if s, failed := v.State(r.name); failed == nil && s.Tag == "" {
		err = r.cond.Guard(v) // it keeps changing: better the whole content than no answer
	}
	return err
}

// getCollection answers GET and HEAD of a collection. The answer is never a 404 or a redirect, because LibreOffice and
// Microsoft Office ask for the folder before they save into it.
func (s *server) getCollection(w http.ResponseWriter, r *request) error {
	var err error
	for _, err = range s.Store.List(r.Context(), r.name, tree.ListOptions{}, r.condition(r.mayRead)) {
	}
	if err != nil {
		return r.hidden(r.name, err)
	}
	begun := false
	begin := func(length int) {
		begun = true
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
	if w, err = s.takeTurn(w, r, s.Pools.Listings); err != nil {
		return err
	}
	page := autoindex.Page{
		Title: "/" + r.name,
		Href:  func(m *autoindex.Member) string { return s.href(tree.Join(r.name, m.Base), m.Collection) },
		Date:  func(t time.Time) string { date, _ := httpDate(t); return date },
		Begin: begin,
	}
	if r.name != "" {
		parent, _ := tree.Split(r.name)
		page.Up = s.href(parent, true)
	}
	if err = page.Write(w, s.indexMembers(r)); err != nil && begun {
		cutOff(w, err)
	}
	return err
}

// indexMembers yields the rows of the page of a collection. An error ends it.
func (s *server) indexMembers(r *request) iter.Seq2[autoindex.Member, error] {
	return func(yield func(autoindex.Member, error) bool) {
		var way via
		opts := tree.ListOptions{Depth: 1, Show: r.showsMember()}
		for m, err := range s.Store.List(r.Context(), r.name, opts, tree.Condition{}) {
			if err != nil && m.Name == "" {
				yield(autoindex.Member{}, err)
				return
			}
			shown := way.shows(r, &m)
			if err == nil && m.Name == r.name {
				if err := r.opens(&m); err != nil {
					yield(autoindex.Member{}, err)
					return
				}
				continue
			}
			if err != nil || !shown {
				continue // a member that cannot be read must not hide the others
			}
			_, base := tree.Split(m.Name)
			if !r.may(m.Name, auth.List) { // it is only on the way to visible names
				m.Modified = time.Time{}
			}
			if !yield(autoindex.Member{Base: strings.Clone(base), Collection: m.Collection, Size: m.Size, Modified: m.Modified}, nil) {
				return
			}
		}
	}
}

// describe sets the validators of what is there.
//
// They are told to those who may read it.
func (s *server) describe(h http.Header, r *request, state tree.State) {
	if !state.Exists || !r.mayOf(&state, auth.Read) {
		return
	}
	if state.Tag != "" {
		h.Set("ETag", string(state.Tag))
	}
	if date, ok := httpDate(state.LastModified); ok {
		h.Set("Last-Modified", date)
	}
}

// httpDate writes a date as RFC 9110 §5.6.7 has it; ok is false where that cannot say it.
func httpDate(date time.Time) (s string, ok bool) {
	b, ok := appendDate(nil, date)
	return string(b), ok
}

func appendDate(b []byte, date time.Time) ([]byte, bool) {
	if !canBeSaid(date) {
		return b, false
	}
	return date.UTC().AppendFormat(b, http.TimeFormat), true
}

// canBeSaid reports whether a date has a year of four digits; the very first one stands for one that is not known.
func canBeSaid(date time.Time) bool { return date.After(time.Time{}) && date.UTC().Year() <= 9999 }

// sandbox takes from a page that is served its origin, which is ours: its scripts run, and may not write into the files
// beside it, or even read them. Who publishes pages that must, serves them with --read-only.
const sandbox = "sandbox allow-scripts allow-forms allow-popups allow-modals allow-downloads"

// active reports whether browsers run scripts in content of this type, or in what is in it.
func active(contentType string) bool {
	media, _, _ := mime.ParseMediaType(contentType)
	major, minor, _ := strings.Cut(media, "/")
	return minor == "html" || strings.HasSuffix(minor, "xml") || minor == "xsl" || major == "multipart" || major == "message"
}

// contentType is what a client has set it to, or else told by the name alone: GET, HEAD and PROPFIND agree, and no file is
// opened for it. Of what the name says, no charset is told: package mime says UTF-8 of all text, which nobody has looked
// into, and browsers believe that before what a page says of itself.
func contentType(state *tree.State) string {
	if p := propertyOf(state, contentTypeName); p != nil {
		return strings.TrimSpace(plainText(p.InnerXML))
	}
	media, _, _ := strings.Cut(mime.TypeByExtension(path.Ext(state.Name)), ";")
	return cmp.Or(media, "application/octet-stream")
}

// isContentType reports whether a file may be said to be of a type: one that a header field can have.
func isContentType(s string) bool {
	media, _, err := mime.ParseMediaType(s)
	major, minor, _ := strings.Cut(media, "/")
	printable := !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' })
	return err == nil && printable && major != "" && minor != "" && len(s) <= maxContentType
}

// maxContentType bounds the types that clients set, in bytes.
const maxContentType = 255
