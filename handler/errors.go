package handler

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"golang.org/x/net/webdav"

	"ifmatch/handler/davxml"
	"ifmatch/handler/precondition"
	"ifmatch/tree"
)

// A statusError is an answer that is decided where it is returned.
type statusError struct {
	status    int
	detail    string // for people
	allow     string // the Allow header of a 405
	condition string // the DAV: precondition that was not met (RFC 4918 §16), if one has a name
}

func (e *statusError) Error() string { return e.detail }

// statuses says which status an error of the store has. The client is told the detail and nothing of the cause.
var statuses = []struct {
	err    error
	status int
	detail string
}{
	{tree.ErrUnsure, http.StatusInternalServerError, "the change was made, but it may not last; look before you try again"},
	{tree.ErrNotExist, http.StatusNotFound, "nothing is there"},
	{tree.ErrReserved, http.StatusNotFound, "nothing is there"},
	{errOutside, http.StatusNotFound, "nothing is served there"},
	{tree.ErrNoParent, http.StatusConflict, "the collection it would be in does not exist; make that first with MKCOL"},
	{tree.ErrSame, http.StatusForbidden, "the source and the destination are the same"},
	{tree.ErrNested, http.StatusForbidden, "the source and the destination contain one another"},
	{tree.ErrLink, http.StatusForbidden, "a symbolic link is on the way, and nothing is written through one"},
	{tree.ErrEscapes, http.StatusForbidden, "a symbolic link leads out of what is served"},
	{tree.ErrSpecial, http.StatusForbidden, "this is neither a file nor a collection"},
	{tree.ErrOtherMount, http.StatusForbidden, "another file system is mounted there, and nothing can be renamed onto it"},
	{tree.ErrReadOnly, http.StatusForbidden, "what is served here is read-only"},
	{tree.ErrPermission, http.StatusForbidden, "the server may not do that on its disk"},
	{tree.ErrNameTooLong, http.StatusRequestURITooLong, "the disk takes no name as long as that"},
	{tree.ErrNoSpace, http.StatusInsufficientStorage, "there is no room for it; nothing has changed"},
	{tree.ErrUnsupported, http.StatusInsufficientStorage, "the disk cannot keep that; nothing has changed"},
	{tree.ErrWriter, http.StatusServiceUnavailable, "a program on the server has it open for writing; nothing has been done, try again when it has finished"},
	{tree.ErrBusy, http.StatusServiceUnavailable, "it keeps changing; nothing has been done, try again"},
	{davxml.ErrTooLarge, http.StatusRequestEntityTooLarge, "the XML is too large"},
	{errOtherServer, http.StatusBadGateway, "the Destination is on another server"},
}

var errOtherServer = errors.New("the URI is of another server")

// fail answers a request that has failed: the one place where an error becomes a status.
func (s *server) fail(w http.ResponseWriter, r *request, err error) {
	var (
		failed      *precondition.Failed
		required    *precondition.RequiredError
		notModified *precondition.NotModified
		locked      *tree.LockedError
		syntax      *precondition.SyntaxError
		xmlSyntax   *davxml.SyntaxError
		name        *tree.BadNameError
		body        *tree.BodyError
		status      *statusError
		digest      *digestError
	)
	switch {
	case errors.As(err, &failed):
		s.preconditionFailed(w, r, failed)
	case errors.As(err, &required):
		s.preconditionRequired(w, r, required)
	case errors.As(err, &notModified):
		s.describe(w.Header(), notModified.Have)
		w.Header().Set("Cache-Control", cacheControl) // RFC 9110 §15.4.5: what the 200 would have said
		w.WriteHeader(http.StatusNotModified)
	case errors.As(err, &locked):
		s.locked(w, r, locked)
	case errors.As(err, &syntax):
		s.refuse(w, r, problem{Status: http.StatusBadRequest, Detail: syntax.Error()})
	case errors.As(err, &xmlSyntax):
		s.refuse(w, r, problem{Status: http.StatusBadRequest, Detail: "malformed XML: " + xmlSyntax.Error()})
	case errors.As(err, &name):
		s.refuse(w, r, problem{Status: http.StatusBadRequest, Detail: name.Error()})
	case errors.As(err, &body):
		s.refuse(w, r, problem{Status: http.StatusBadRequest, Detail: "the body broke off or is not what was announced; nothing has changed: " + body.Err.Error()})
	case errors.As(err, &digest):
		s.refuseDigest(w, r, digest)
	case errors.As(err, &status):
		s.refuseStatus(w, r, status)
	default:
		s.failOther(w, r, err)
	}
}

func (s *server) failOther(w http.ResponseWriter, r *request, err error) {
	explain(w, slog.String("cause", err.Error()))
	if errors.Is(err, context.Canceled) {
		// Nobody listens any more, or the server is being stopped. Silence would become a 200.
		panic(http.ErrAbortHandler)
	}
	status, detail := statusOf(err)
	if status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "1")
	}
	s.refuse(w, r, problem{Status: status, Detail: detail})
}

// statusOf returns the status of an error of the store, and what people are told.
func statusOf(err error) (status int, detail string) {
	for _, known := range statuses {
		if errors.Is(err, known.err) {
			return known.status, known.detail
		}
	}
	return http.StatusInternalServerError, "the server failed; its log says why"
}

func (s *server) refuseStatus(w http.ResponseWriter, r *request, e *statusError) {
	if e.allow != "" {
		w.Header().Set("Allow", e.allow)
	}
	explain(w, slog.String("cause", e.detail))
	if e.condition != "" {
		s.refuseXML(w, r, e.status, e.condition)
		return
	}
	s.refuse(w, r, problem{Status: e.status, Detail: e.detail})
}

// A problem is the body of a refusal (RFC 9457).
type problem struct {
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail,omitempty"`

	// Of a 412 and a 428.
	*refusal
	// Of a body that is not what was said of it.
	*mismatch
}

// A refusal says which condition was not met (412), or that there was none (428), and what is there.
type refusal struct {
	Condition *string   `json:"condition,omitempty"`
	Want      *string   `json:"want,omitempty"`
	Resource  string    `json:"resource"`
	Exists    bool      `json:"exists"`
	ETag      tree.ETag `json:"etag,omitempty"`
	Size      *int64    `json:"size,omitempty"`     // in bytes
	Modified  string    `json:"modified,omitempty"` // as Last-Modified

	// SameContent: what was refused, or is said by its digest field to be sent, is what is there. Another client may
	// have written the same bytes, and who is refused must not count its write as one.
	SameContent bool `json:"sameContent,omitempty"`
}

// A mismatch says what a field had announced, and what came; both as that field writes it.
type mismatch struct {
	Field     string `json:"field"`
	Announced string `json:"announced"`
	Computed  string `json:"computed"`
}

func (s *server) refuseDigest(w http.ResponseWriter, r *request, e *digestError) {
	m := &mismatch{e.field, e.write(e.name, e.sum), e.write(e.name, e.have)}
	explain(w, slog.String("cause", e.Error()), slog.String("announced", m.Announced), slog.String("computed", m.Computed))
	s.refuse(w, r, problem{Status: http.StatusBadRequest, mismatch: m,
		Detail: e.Error() + "; it was damaged on the way, or is another; nothing has changed"})
}

func (s *server) preconditionFailed(w http.ResponseWriter, r *request, failed *precondition.Failed) {
	have := s.withTag(r, failed.Have)
	why := s.refusal(w, r, have)
	why.Condition, why.Want = &failed.Header, &failed.Want
	explain(w, slog.String("condition", failed.Header), slog.String("want", failed.Want), slog.String("have", string(have.Tag)))
	s.refuse(w, r, problem{Status: http.StatusPreconditionFailed, Detail: sentence(failed, have), refusal: why})
}

func (s *server) preconditionRequired(w http.ResponseWriter, r *request, required *precondition.RequiredError) {
	have := s.withTag(r, required.Have)
	why := s.refusal(w, r, have)
	how := "send If-Match with its ETag"
	switch {
	case have.Name != r.name:
		how = "name it in an If header, with its ETag: If: <" + why.Resource + "> ([" + string(have.Tag) + "])"
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
		if told, err = s.Store.Stat(r.Context(), r.name, tree.WantTag); err != nil {
			told = tree.State{}
		}
	}
	s.describe(w.Header(), told)
	why := &refusal{Resource: s.href(have.Name, have.Collection), Exists: have.Exists, ETag: have.Tag}
	why.SameContent = have.Name == r.name && have.Tag != "" && r.sent.content() == have.Tag
	if have.Exists {
		if !have.Modified.IsZero() {
			why.Modified = lastModified(have)
		}
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
	now, err := s.Store.Stat(r.Context(), have.Name, tree.WantTag)
	switch {
	case errors.Is(err, tree.ErrNotExist):
		return tree.State{Name: have.Name}
	case err != nil:
		have.Modified = time.Time{} // it was to decide with, not to be shown
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
		return "no list of If is true, and those about <" + failed.Foreign + "> cannot be: that is not known to be on this server; if it " +
			"is, start the server with --public-url and the URL that clients use, or with --trusted-proxy and the proxy's address; " +
			"nothing has changed"
	case !have.Exists:
		return "nothing is there (any more), and " + failed.Header + " expects something; nothing has changed"
	case failed.Header == "If-None-Match" || failed.Header == "Overwrite":
		return "it is there already; nothing has changed"
	case failed.Mangled(have):
		return failed.Header + " has the tag of the version that is there, but changed: a proxy on the way seems to compress, and to " +
			"mark its tags; let it not compress, or start the server with --trusted-proxy and the proxy's address, or with " +
			"--loose-etags; nothing has changed"
	}
	return "it is not the version that " + failed.Header + " expects; get the current one, merge, and send it with its ETag; nothing has changed"
}

// locked answers a request that a WebDAV lock is in the way of. Where the lock is on a member of what the request is
// about, the answer names that member (RFC 4918 §9.6.1, §9.8.3, §9.10.3).
func (s *server) locked(w http.ResponseWriter, r *request, e *tree.LockedError) {
	explain(w, slog.String("cause", e.Error()))
	root := s.rootHref(e.Lock.Root)
	condition := "lock-token-submitted"
	if r.Method == "LOCK" {
		condition = "no-conflicting-lock"
	}
	if !s.isAboutMember(r, e.Lock.Root) {
		s.refuseXML(w, r, http.StatusLocked, condition, root)
		return
	}
	var b bytes.Buffer
	m := davxml.NewMultistatus(&b)
	m.Status(root, http.StatusLocked, condition)
	if r.Method == "LOCK" {
		m.Status(s.rootHref(r.name), http.StatusFailedDependency, "")
	}
	m.Close()
	s.write(w, r, webdav.StatusMulti, xmlType, b.Bytes())
}

// isAboutMember reports whether a name is below what a request is about.
func (s *server) isAboutMember(r *request, name string) bool {
	if tree.Below(name, r.name) {
		return true
	}
	if r.Method != "COPY" && r.Method != "MOVE" {
		return false
	}
	to, err := s.destination(r)
	return err == nil && tree.Below(name, to)
}

const (
	xmlType     = "application/xml; charset=utf-8"
	problemType = "application/problem+json"
)

func (s *server) refuseXML(w http.ResponseWriter, r *request, status int, condition string, hrefs ...string) {
	var b bytes.Buffer
	davxml.WriteError(&b, condition, hrefs...)
	s.write(w, r, status, xmlType, b.Bytes())
}

func (s *server) refuse(w http.ResponseWriter, r *request, p problem) {
	p.Title = webdav.StatusText(p.Status)
	if p.Title == "" {
		p.Title = http.StatusText(p.Status)
	}
	var body bytes.Buffer
	e := json.NewEncoder(&body)
	e.SetEscapeHTML(false) // people read it, and what it quotes has < and >
	if err := e.Encode(p); err != nil {
		body.Reset()
		fmt.Fprintf(&body, `{"status":%d}`, p.Status)
	}
	s.write(w, r, p.Status, problemType, body.Bytes())
}

// write answers with a small body. If the client is still sending, the answer goes out first and the rest of its body is
// read and thrown away, within bounds: many clients listen only after they have sent, and would see a broken pipe
// instead of the answer.
func (s *server) write(w http.ResponseWriter, r *request, status int, contentType string, body []byte) {
	sending := r.ContentLength != 0 && (r.Header.Get("Expect") == "" || r.begun)
	control := http.NewResponseController(w)
	if sending {
		sending = control.EnableFullDuplex() == nil
	}
	h := w.Header()
	h.Set("Content-Type", contentType)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		w.Write(body)
	}
	if !sending || control.Flush() != nil {
		return
	}
	end := time.Now().Add(s.DrainTime)
	control.SetReadDeadline(end)
	rest := io.Reader(r.Body)
	if r.ProtoMajor > 1 {
		rest = beforeRead{rest, func() { control.SetReadDeadline(earlier(end, time.Now().Add(silence))) }}
	}
	if _, err := io.CopyN(io.Discard, rest, s.DrainBytes); err == io.EOF {
		control.SetReadDeadline(time.Time{}) // the connection can go on
	}
}

// silence is how long a client that sends a refused body over HTTP/2 may pause. Some stop when they are refused and wait
// for the end of the answer, which here is not told before the body is through or given up: net/http. Others go on, and
// fail if the stream is reset under them, although RFC 9113 §8.1 has them take the answer: curl.
const silence = time.Second

// beforeRead does something before each Read.
type beforeRead struct {
	io.Reader
	do func()
}

func (r beforeRead) Read(p []byte) (int, error) {
	r.do()
	return r.Reader.Read(p)
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
