package handler

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/webdav"

	"ifmatch/auth"
	"ifmatch/handler/davxml"
	"ifmatch/handler/precondition"
	"ifmatch/limit"
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
	{tree.ErrNotServed, http.StatusForbidden, "what is there is not served"},
	{tree.ErrReadOnly, http.StatusForbidden, "what is served here is read-only"},
	{tree.ErrUnavailable, http.StatusServiceUnavailable, "what is served here is not there now; nothing has changed, and the server's log says more"},
	{tree.ErrFailed, http.StatusInternalServerError, "the storage has failed; what was there is there, and the server's log says more"},
	{tree.ErrTooLarge, http.StatusRequestEntityTooLarge, "no file can be as large as that here; nothing has changed"},
	{tree.ErrBadName, http.StatusBadRequest, "no such name can be kept here; use another one"},
	{tree.ErrPermission, http.StatusForbidden, "the server itself may not do that where its files are"},
	{tree.ErrNameTooLong, http.StatusRequestURITooLong, "no name can be as long as that here"},
	{tree.ErrNoSpace, http.StatusInsufficientStorage, "there is no room for it: the storage is full, or a quota or a bound is reached; nothing has changed; make room, and try again"},
	{tree.ErrUnsupported, http.StatusInsufficientStorage, "that cannot be kept here; nothing has changed"},
	{tree.ErrBusy, http.StatusServiceUnavailable, "it keeps changing; nothing has been done, try again"},
	{davxml.ErrTooLarge, http.StatusRequestEntityTooLarge, "the XML is too large"},
	{errAbandoned, http.StatusServiceUnavailable, "its ETag was not known yet, and you have closed your side of the connection, as clients do that are gone; nothing has been done, try again"},
	{errGaveWay, http.StatusServiceUnavailable, "others waited for their turn, and you have sent or read nearly nothing; nothing has been done, try again"},
	{errOtherServer, http.StatusBadGateway, "the Destination is on another server"},
}

// errAbandoned says that a hash was given up since nobody may wait for it any more, see Config.Abandoned.
var errAbandoned = errors.New("hashing was given up: the client has closed its side of the connection")

// errThroughLink says that a request would write through a symbolic link.
var errThroughLink = &statusError{status: http.StatusForbidden,
	detail: "a symbolic link is on the way, and nothing is written through one"}

var errOtherServer = errors.New("the URI is of another server")

// notModified answers with 304.
func (s *server) notModified(w http.ResponseWriter, r *request, e *precondition.NotModified) {
	s.describe(w.Header(), r, e.Have)
	s.confine(w.Header(), e.Have)
	w.Header().Set("Cache-Control", cacheControl) // RFC 9110 §15.4.5: what the 200 would have said
	w.WriteHeader(http.StatusNotModified)
}

// fail answers a request that has failed: the one place where an error becomes a status.
func (s *server) fail(w http.ResponseWriter, r *request, err error) {
	if e, ok := err.(*precondition.NotModified); ok { // by far the most, and each variable below is an allocation
		s.notModified(w, r, e)
		return
	}
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
		member      *tree.MemberError
		tooMany     *limit.Error
		denied      *deniedError
		login       *auth.LoginError
		refused     *auth.RequestError
	)
	switch {
	case errors.As(err, &denied):
		s.deny(w, r, denied.verdict)
	case errors.As(err, &login):
		s.refuseLogin(w, r, login)
	case errors.As(err, &refused):
		explain(w, slog.String("cause", refused.Detail))
		s.refuse(w, r, problem{Status: refused.Status, Detail: refused.Detail})
	case errors.As(err, &member) && s.isAboutMember(r, member.Name):
		s.memberFailed(w, r, member)
	case errors.As(err, &failed):
		s.preconditionFailed(w, r, failed)
	case errors.As(err, &required):
		s.preconditionRequired(w, r, required)
	case errors.As(err, &notModified):
		s.notModified(w, r, notModified)
	case errors.As(err, &locked):
		s.locked(w, r, locked)
	case errors.As(err, &syntax):
		s.refuse(w, r, problem{Status: http.StatusBadRequest, Detail: syntax.Error()})
	case errors.As(err, &xmlSyntax):
		s.refuse(w, r, problem{Status: http.StatusBadRequest, Detail: "malformed XML: " + xmlSyntax.Error()})
	case errors.As(err, &name):
		s.refuse(w, r, problem{Status: http.StatusBadRequest, Detail: name.Error()})
	case errors.As(err, &body):
		s.refuseBody(w, r, body.Err)
	case errors.As(err, &digest):
		s.refuseDigest(w, r, digest)
	case errors.As(err, &tooMany):
		s.refuseTooMany(w, r, tooMany)
	case errors.Is(err, tree.ErrTooMany):
		s.refuseStatus(w, r, errTooMany)
	case errors.As(err, &status):
		s.refuseStatus(w, r, status)
	default:
		s.failOther(w, r, err)
	}
}

var errTooMany = &statusError{status: http.StatusForbidden, condition: "propfind-finite-depth",
	detail: "it has more members than are told with Depth: infinity (--depth-infinity)"}

// refuseBody answers a request whose body did not come as it should.
func (s *server) refuseBody(w http.ResponseWriter, r *request, err error) {
	status, detail := http.StatusBadRequest, "the body broke off or is not what was announced; nothing has changed: "
	if late := new(lateError); errors.As(err, &late) {
		status, detail = http.StatusRequestTimeout, "the body did not come in time; nothing has changed: "
	}
	cause := "the body: "
	if r.sending.broken() && errors.Is(err, io.ErrUnexpectedEOF) {
		cause = "the client stopped sending: "
	}
	explain(w, slog.String("cause", cause+err.Error()))
	s.refuse(w, r, problem{Status: status, Detail: detail + err.Error()})
}

// refuseTooMany answers a request for which there is no room beside those that are running. What it sends is not read:
// there are too many already.
func (s *server) refuseTooMany(w http.ResponseWriter, r *request, e *limit.Error) {
	explain(w, slog.String("cause", e.Error()))
	w.Header().Set("Retry-After", strconv.Itoa(RetryAfter))
	if r.turnedAway && r.sending != nil {
		r.sending.unwanted = true
	}
	s.refuse(w, r, problem{Status: http.StatusServiceUnavailable, Detail: e.Error() + "; nothing has been done, try again"})
}

func (s *server) failOther(w http.ResponseWriter, r *request, err error) {
	if errors.Is(err, context.Canceled) && r.Context().Err() == nil {
		err = fmt.Errorf("%w: %w", errAbandoned, err)
	} else if errors.Is(err, context.Canceled) {
		// Nobody listens any more, or the server is being stopped. Silence would become a 200.
		explain(w, slog.String("cause", context.Cause(r.Context()).Error()))
		panic(http.ErrAbortHandler)
	}
	explain(w, slog.String("cause", err.Error()))
	status, detail := statusOf(err)
	if errors.Is(err, tree.ErrReserved) && methods[r.Method].writes {
		// Who reads finds nothing there. Who writes must not believe that the collection is missing, or try again.
		status = http.StatusForbidden
		detail = "names like .ifmatch are reserved: the server keeps its own state there; use another one"
	}
	askToRetry(w, status, err)
	s.refuse(w, r, problem{Status: status, Detail: detail})
}

// askToRetry says when it is worth to try again.
func askToRetry(w http.ResponseWriter, status int, err error) {
	after := time.Second
	if storage := new(tree.StorageError); errors.As(err, &storage) && storage.RetryAfter > 0 {
		after = storage.RetryAfter
	} else if status != http.StatusServiceUnavailable {
		return
	}
	w.Header().Set("Retry-After", strconv.Itoa(int((after+time.Second-1)/time.Second)))
}

// statusOf returns the status of an error of the store, and what people are told: the sentence of the store, if it has one.
func statusOf(err error) (status int, detail string) {
	for _, known := range statuses {
		if !errors.Is(err, known.err) {
			continue
		}
		if storage := new(tree.StorageError); errors.As(err, &storage) && storage.Hint != "" && errors.Is(storage, known.err) {
			return known.status, storage.Hint
		}
		return known.status, known.detail
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

// locked answers a request that a WebDAV lock is in the way of. Where the lock is on a member of what the request is
// about, the answer names that member (RFC 4918 §9.6.1, §9.8.3, §9.10.3).
func (s *server) locked(w http.ResponseWriter, r *request, e *tree.LockedError) {
	explain(w, slog.String("cause", e.Error()))
	root, seen := s.rootHref(e.Lock), r.may(e.Lock.Root, auth.List)
	if !seen {
		root = s.href(r.asked, r.slash)
	}
	// Who locks usually lets go long before the lock would end by itself.
	left := e.Lock.Expires.Sub(s.Now()).Round(time.Second)
	w.Header().Set("Retry-After", strconv.Itoa(int(min(max(left, time.Second), lockPause)/time.Second)))
	condition := "lock-token-submitted"
	if r.Method == "LOCK" {
		condition = "no-conflicting-lock"
	}
	if !seen || !s.isAboutMember(r, e.Lock.Root) {
		s.refuseXML(w, r, http.StatusLocked, condition, root)
		return
	}
	var b bytes.Buffer
	m := davxml.NewMultistatus(&b)
	m.Status(root, http.StatusLocked, condition)
	if r.Method == "LOCK" {
		m.Status(s.href(r.name, true), http.StatusFailedDependency, "")
	}
	m.Close()
	s.write(w, r, webdav.StatusMulti, xmlType, b.Bytes())
}

// memberFailed answers a request that has failed at a member of what it is about (RFC 4918 §9.8.3, §9.9.3). What has not
// been done because of that is not told: all of it.
func (s *server) memberFailed(w http.ResponseWriter, r *request, e *tree.MemberError) {
	explain(w, slog.String("member", e.Name), slog.String("cause", e.Err.Error()))
	status, detail := statusOf(e.Err)
	askToRetry(w, status, e.Err)
	var b bytes.Buffer
	m := davxml.NewMultistatus(&b)
	if !strings.Contains(detail, "nothing has") {
		detail += "; nothing has changed"
	}
	href := s.href(r.asked, r.slash)
	if r.may(e.Name, auth.List) {
		href = s.href(e.Name, e.Collection)
	}
	m.Failure(href, status, detail)
	m.Close()
	s.write(w, r, webdav.StatusMulti, xmlType, b.Bytes())
}

// isAboutMember reports whether a name is below what a request is about.
func (s *server) isAboutMember(r *request, name string) bool {
	if tree.Below(name, r.name) {
		return true
	}
	return (r.Method == "COPY" || r.Method == "MOVE") && r.toErr == nil && tree.Below(name, r.to)
}

const xmlType = "application/xml; charset=utf-8"

func (s *server) refuseXML(w http.ResponseWriter, r *request, status int, condition string, hrefs ...string) {
	var b bytes.Buffer
	davxml.WriteError(&b, condition, hrefs...)
	s.write(w, r, status, xmlType, b.Bytes())
}
