package handler

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"log/slog"
	"mime"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/elnormous/contenttype"
	"golang.org/x/net/webdav"

	"ifmatch/auth"
	"ifmatch/handler/precondition"
	"ifmatch/tree"
)

// A problem is the body of a refusal (RFC 9457 §3), as JSON or, within a DAV:error, as XML.
type problem struct {
	Title  string `json:"title" xml:"title"`
	Status int    `json:"status" xml:"status"`
	Detail string `json:"detail,omitempty" xml:"detail,omitempty"`
	// RequestID is the X-Request-Id of the answer, by which the log can be searched.
	RequestID string `json:"requestId,omitempty" xml:"requestId,omitempty"`

	// Of a 412 and a 428.
	*refusal
	// Of a body that is not what was said of it.
	*mismatch
}

// A refusal says which condition was not met (412), or that there was none (428), and what is there.
type refusal struct {
	Condition *string   `json:"condition,omitempty" xml:"condition,omitempty"`
	Want      *string   `json:"want,omitempty" xml:"want,omitempty"`
	Resource  string    `json:"resource" xml:"resource"`
	Exists    bool      `json:"exists" xml:"exists"`
	ETag      tree.ETag `json:"etag,omitempty" xml:"etag,omitempty"`
	Size      *int64    `json:"size,omitempty" xml:"size,omitempty"`         // in bytes
	Modified  string    `json:"modified,omitempty" xml:"modified,omitempty"` // as Last-Modified

	// SameContent: what was refused, or is said by its digest field to be sent, is what is there. Another client may
	// have written the same bytes, and who is refused must not count its write as one.
	SameContent bool `json:"sameContent,omitempty" xml:"sameContent,omitempty"`
}

// A mismatch says what a field had announced, and what came; both as that field writes it.
type mismatch struct {
	Field     string `json:"field" xml:"field"`
	Announced string `json:"announced" xml:"announced"`
	Computed  string `json:"computed" xml:"computed"`
}

func (s *server) refuseDigest(w http.ResponseWriter, r *request, e *digestError) {
	m := &mismatch{e.field, e.write(e.name, e.sum), e.write(e.name, e.have)}
	explain(w, slog.String("cause", e.Error()), slog.String("announced", m.Announced), slog.String("computed", m.Computed))
	s.refuse(w, r, problem{Status: http.StatusBadRequest, mismatch: m,
		Detail: e.Error() + "; it was damaged on the way, or is another; nothing has changed"})
}

func (s *server) preconditionFailed(w http.ResponseWriter, r *request, failed *precondition.Failed) {
	if rec, ok := below[*recorder](w); ok {
		rec.condition = failed.Header
	}
	w.Header().Add("Vary", "Prefer")
	if !r.may(failed.Name, auth.List) { // the condition can only have been about that, or nothing
		explain(w, slog.String("condition", failed.Header))
		s.refuse(w, r, problem{Status: http.StatusPreconditionFailed, Detail: "a condition is not true; nothing has changed"})
		return
	}
	have := s.withTag(r, failed.Have)
	why := s.refusal(w, r, have)
	want := Brief(failed.Want)
	why.Condition, why.Want = &failed.Header, &want
	explain(w, slog.String("condition", failed.Header), slog.String("want", failed.Want), slog.String("have", string(have.Tag)))
	if s.represent(w, r, failed) {
		return
	}
	s.refuse(w, r, problem{Status: http.StatusPreconditionFailed, Detail: sentence(failed, have), refusal: why})
}

func (s *server) preconditionRequired(w http.ResponseWriter, r *request, required *precondition.RequiredError) {
	if !r.may(required.Name, auth.List) {
		w.Header().Set("Cache-Control", "no-store")
		s.refuse(w, r, problem{Status: http.StatusPreconditionRequired,
			Detail: "this server replaces and removes only what the request says it has seen; nothing has changed"})
		return
	}
	have := s.withTag(r, required.Have)
	why := s.refusal(w, r, have)
	how := "send If-Match with its ETag"
	switch {
	case have.Name != r.name:
		how = "name it in an If header, with its ETag: If: <" + why.Resource + "> ([" + string(why.ETag) + "])"
		if have.Collection {
			how = "MOVE or DELETE it first, with If-Match: *, or lock it"
		}
	case have.Collection:
		how = "send If-Match: *"
	}
	explain(w, slog.String("cause", "no condition"), slog.String("have", string(have.Tag)))
	w.Header().Set("Cache-Control", "no-store") // RFC 6585 §3: it "MUST NOT be stored by a cache"
	s.refuse(w, r, problem{Status: http.StatusPreconditionRequired, refusal: why,
		Detail: "something is there, and this server replaces and removes only what the request says it has seen: " + how + "; nothing has changed"})
}

// refusal tells what is there. The headers are about the Request-URI, whatever the condition was about.
func (s *server) refusal(w http.ResponseWriter, r *request, have tree.State) *refusal {
	told := have
	if have.Name != r.name {
		var err error
		if told, err = s.Store.Stat(r.Context(), r.name, r.reading(tree.WantTag)); err != nil {
			told = tree.State{}
		}
	}
	s.describe(w.Header(), r, told)
	why := &refusal{Resource: s.href(have.Name, have.Collection), Exists: have.Exists}
	if !r.mayOf(&have, auth.List) {
		return &refusal{Resource: s.href(r.asked, r.slash)}
	}
	mayRead := r.mayOf(&have, auth.Read)
	if mayRead {
		why.ETag = have.Tag
	}
	if mayRead && have.Name == r.name && have.Tag != "" {
		sent := r.sent.content()
		if sent == "" {
			sent = s.glance(r, have.Size)
		}
		why.SameContent = sent == have.Tag
	}
	if have.Exists {
		why.Modified, _ = httpDate(have.LastModified)
		if !have.Collection {
			why.Size = &have.Size
		}
	}
	return why
}

// withTag looks once more where the condition was decided without the tag.
func (s *server) withTag(r *request, have tree.State) tree.State {
	if !have.Exists || have.Collection || have.Tag != "" {
		return have
	}
	now, err := s.Store.Stat(r.Context(), have.Name, r.reading(tree.WantTag))
	switch {
	case errors.Is(err, tree.ErrNotExist):
		return tree.State{Name: have.Name}
	case err != nil:
		have.LastModified = time.Time{} // it was to decide with, not to be shown
		return have
	}
	return now
}

func sentence(failed *precondition.Failed, have tree.State) string {
	switch {
	case failed.Header == afterPut:
		return "the PUT of this name before it failed, and this is the version it would have replaced; nothing has changed; " +
			"to delete it on purpose, send its ETag in If-Match, or the DELETE again"
	case failed.Malformed:
		return failed.Header + " must be * or a list of ETags, each in quotation marks, as the server has sent them; what it says is " +
			"true of nothing; nothing has changed"
	case failed.Foreign != "":
		return "no list of If is true, and those about <" + Brief(failed.Foreign) + "> cannot be: that is not known to be served here; if " +
			"it is, start the server with --public-url and the URL that clients use, or with --trusted-proxy and the proxy's address; " +
			"nothing has changed"
	case !have.Exists:
		return "nothing is there (any more), and " + failed.Header + " expects something; nothing has changed"
	case failed.Header == "If-None-Match" || failed.Header == "Overwrite":
		return "it is there already; nothing has changed"
	case failed.Header == "If" && !failed.NamesTag():
		return "what If says of locks is not true of it: a lock has ended, or has another token, or there is none; nothing has changed"
	case have.Collection && have.Tag == "" && (failed.Header == "If-Match" || failed.Header == "If"):
		return "a collection has no ETag here, so that " + failed.Header + " with one is not true of it; If-Match: * is; nothing has changed"
	case have.Collection && failed.Header == "If-Unmodified-Since":
		return "no date tells what is in a collection, so that If-Unmodified-Since is not true of one; If-Match: * is; nothing has changed"
	case failed.Header == "If-Unmodified-Since":
		return "it is not the version of that date, or the date was shown with another version of the name too; use If-Match: get " +
			"the current one, merge, and send it with its ETag; nothing has changed"
	case failed.Mangled(have):
		return failed.Header + " has the tag of the version that is there, but changed: a proxy on the way seems to compress, and to " +
			"mark its tags; let it not compress, or start the server with --trusted-proxy and the proxy's address, or with " +
			"--loose-etags; nothing has changed"
	}
	return "it is not the version that " + failed.Header + " expects; get the current one, merge, and send it with its ETag; nothing has changed"
}

// The media types of refusals, the one first that is sent to who does not care.
var refusalTypes = []contenttype.MediaType{
	contenttype.NewMediaType("application/problem+json"),
	contenttype.NewMediaType("application/json"), // who takes this understands the first
	contenttype.NewMediaType(xmlType),
	contenttype.NewMediaType("text/xml; charset=utf-8"),
}

// refusalType returns the type of the refusal that a client prefers (RFC 9110 §12.5.1). A malformed Accept is ignored.
func refusalType(h http.Header) contenttype.MediaType {
	ranges := slices.DeleteFunc(listOf(h.Values("Accept")), func(s string) bool { return s == "" }) // RFC 9110 §5.6.1.2
	accept := strings.Join(ranges, ", ")
	chosen, _, err := contenttype.GetAcceptableMediaTypeFromHeader(accept, refusalTypes)
	if err != nil || chosen.Subtype != "xml" {
		return refusalTypes[0]
	}
	return chosen
}

// A davError is a DAV:error (RFC 4918 §14.5). What went wrong is told in the XML of RFC 9457, appendix B; clients ignore
// the elements of a DAV:error that they do not know.
type davError struct {
	XMLName xml.Name `xml:"D:error"`
	DAV     string   `xml:"xmlns:D,attr"`
	Problem problem  `xml:"urn:ietf:rfc:7807 problem"`
}

func (s *server) refuse(w http.ResponseWriter, r *request, p problem) {
	p.Detail = cutTo(2*briefly, p.Detail) // what it quotes is shorter, mostly
	if rec, ok := below[*recorder](w); ok {
		p.RequestID = rec.id
	}
	p.Title = webdav.StatusText(p.Status)
	if p.Title == "" {
		p.Title = http.StatusText(p.Status)
	}
	chosen := refusalType(r.Header)
	var body bytes.Buffer
	var err error
	if chosen.Subtype == "xml" {
		body.WriteString(xml.Header)
		err = xml.NewEncoder(&body).Encode(davError{DAV: "DAV:", Problem: p})
	} else {
		e := json.NewEncoder(&body)
		e.SetEscapeHTML(false) // people read it, and what it quotes has < and >
		err = e.Encode(p)
	}
	if err != nil {
		chosen = refusalTypes[0]
		body.Reset()
		fmt.Fprintf(&body, `{"status":%d}`, p.Status)
	}
	w.Header().Add("Vary", "Accept")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	s.write(w, r, p.Status, mime.FormatMediaType(chosen.MIME(), chosen.Parameters), body.Bytes())
}
