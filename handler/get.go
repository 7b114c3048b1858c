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

	"ifmatch/auth"
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
	parts, partial := ranges(r.Header, state.Size)
	if !partial || r.Method != http.MethodGet || !precondition.RangeApplies(r.Header, state) {
		parts, partial = []part{{0, state.Size}}, false
	}
	if partial && len(parts) > 0 {
		apart, err := sentApart(ctx, content, parts)
		if err != nil {
			return err
		}
		if !apart { // RFC 9110 §14.2: "A server MAY ignore the Range header field"
			parts, partial = []part{{0, state.Size}}, false
		}
	}
	if len(parts) == 0 {
		w.Header().Set("Content-Range", "bytes */"+strconv.FormatInt(state.Size, 10)) // RFC 9110 §15.5.17
		return &statusError{status: http.StatusRequestedRangeNotSatisfiable, detail: "the file ends before the Range begins"}
	}
	h := make(http.Header, mostFields)
	s.present(h, r, state)
	h.Set("Accept-Ranges", "bytes")
	s.describeContent(ctx, h, r, content, state, parts)
	return s.sendContent(ctx, w, r, h, content, state, parts, partial)
}

// mostFields is how many fields a GET sets, so that the map does not grow.
const mostFields = 12

// sentApart reports whether parts of a content are to be sent, and not all of it.
func sentApart(ctx context.Context, content tree.Content, parts []part) (bool, error) {
	parted, ok := content.(tree.PartedContent)
	if !ok {
		return true, nil
	}
	told := make([]tree.Part, len(parts))
	for i, p := range parts {
		told[i] = tree.Part{Offset: p.from, Length: p.length}
	}
	return parted.Parts(ctx, told)
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
		h.Set("Content-Security-Policy", sandbox+"; "+s.framing())
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
