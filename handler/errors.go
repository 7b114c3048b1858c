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

	"r-seed-1f3a754f.example/ifmatch/auth"
	"r-seed-1f3a754f.example/ifmatch/handler/accesslog"
	"r-seed-1f3a754f.example/ifmatch/handler/davxml"
	"r-seed-1f3a754f.example/ifmatch/handler/digest"
	"r-seed-1f3a754f.example/ifmatch/handler/exchange"
	"r-seed-1f3a754f.example/ifmatch/handler/origin"
	"r-seed-1f3a754f.example/ifmatch/handler/precondition"
	"r-seed-1f3a754f.example/ifmatch/handler/problem"
	"r-seed-1f3a754f.example/ifmatch/limit"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

// A statusError is an error with the status of its answer.
type statusError struct {
	status    int
	detail    string // for people
	allow     string // the Allow header of a 405
	condition string // the DAV: precondition that was not met (RFC 4918 §16), if one has a name
}

func (e *statusError) Error() string { return e.detail }

func withStatus(status int, detail string) *statusError {
	return &statusError{status: status, detail: detail}
}

// statuses has the status of each error of the store. A client gets the detail, and not the cause.
var statuses = []struct {
	err    error
	status int
	detail string
}{
	{tree.ErrUnsure, http.StatusInternalServerError, "the change was made, but it may not be durable; check " +
		"before you try again"},
	{tree.ErrNotExist, http.StatusNotFound, "nothing is there"},
	{tree.ErrReserved, http.StatusNotFound, "nothing is there"},
	{errOutside, http.StatusNotFound, "nothing is served there"},
	{tree.ErrNoParent, http.StatusConflict, "the parent collection does not exist, or a file has its name; " +
		"create it first with MKCOL"},
	{tree.ErrSame, http.StatusForbidden, "the source and the destination are the same"},
	{tree.ErrNested, http.StatusForbidden, "the source and the destination contain one another"},
	{tree.ErrNotServed, http.StatusForbidden, "the server does not serve this kind of file"},
	{tree.ErrReadOnly, http.StatusForbidden, "this server is read-only"},
	{tree.ErrUnavailable, http.StatusServiceUnavailable, "the storage is not available now; nothing has changed; " +
		"the server's log says more"},
	{tree.ErrFailed, http.StatusInternalServerError, "the storage has failed; the old version is still there; the " +
		"server's log says more"},
	{tree.ErrTooLarge, http.StatusRequestEntityTooLarge, "the file is too large for the storage; nothing has changed"},
	{tree.ErrBadName, http.StatusBadRequest, "the storage cannot keep this name; use another one"},
	{tree.ErrLink, http.StatusForbidden, "a symbolic link is on the path, and the server does not write through links"},
	{tree.ErrPermission, http.StatusForbidden, "the server has no permission for that on its storage"},
	{tree.ErrNameTooLong, http.StatusRequestURITooLong, "the name is too long"},
	{tree.ErrNoSpace, http.StatusInsufficientStorage, "there is no room: the storage is full, or a quota or a " +
		"limit is reached; nothing has changed; make room, and try again"},
	{tree.ErrUnsupported, http.StatusInsufficientStorage, "the storage cannot keep that; nothing has changed"},
	{tree.ErrBusy, http.StatusServiceUnavailable, "the resource keeps changing; nothing has been done, try again"},
	{davxml.ErrTooLarge, http.StatusRequestEntityTooLarge, "the XML is too large; name fewer properties, or shorter values"},
	{errAbandoned, http.StatusServiceUnavailable, "the ETag was not known yet, and the client had closed its side " +
		"of the connection; nothing has been done, try again"},
	{errGaveWay, http.StatusServiceUnavailable, "the client sent or read nearly nothing while others waited; " +
		"nothing has been done, try again"},
	{errOtherServer, http.StatusBadGateway, "the Destination is on another server"},
	{tree.ErrIsCollection, http.StatusConflict, "it is a collection, which has no content of its own; ask for its members"},
	{tree.ErrExist, http.StatusConflict, "something is there already; nothing has changed"},
	{tree.ErrNoLock, http.StatusConflict, "the resource has no such lock"},
	{tree.ErrTime, http.StatusInsufficientStorage, "the storage cannot keep this time; nothing has changed"},
}

// errAbandoned says that hashing was given up because the client is probably gone, see Config.Abandoned.
var errAbandoned = errors.New("hashing was given up: the client has closed its side of the connection")

// errFixed says that a request would write where nothing can be changed, see [tree.State].
var errFixed = withStatus(http.StatusForbidden,
	"nothing can be changed or created here, only in the collections below; nothing has changed")

// errBlindCopy says that a COPY of a version does not say what it replaces.
var errBlindCopy = withStatus(http.StatusPreconditionRequired,
	"send If: <the Destination> ([\"the ETag that is there\"]), or Overwrite: F; nothing has changed")

// errFolderVersion says that a version cannot be read.
var errFolderVersion = &statusError{status: http.StatusMethodNotAllowed, allow: "OPTIONS, PROPFIND, COPY",
	detail: "this version is a folder, which has no content of its own; COPY it to the name that it had, to have it back"}

var errOtherServer = errors.New("the URI is of another server")

func (s *server) notModified(w http.ResponseWriter, r *request, e *precondition.NotModified) {
	h := w.Header()
	s.describe(h, r, e.Have)
	if r.shown != nil {
		r.shown.SetFields(h, !r.who.anonymous())
		delete(h, "Content-Encoding")
		delete(h, "Content-Type")
	} else {
		s.confine(h, e.Have, contentType(&e.Have))
		h.Set("Cache-Control", cacheControl) // RFC 9110 §15.4.5: the same as in the 200
	}
	w.WriteHeader(http.StatusNotModified)
}

// fail answers a failed request. It is the only place where an error becomes a status.
func (s *server) fail(w http.ResponseWriter, r *request, err error) {
	if denied, ok := errors.AsType[*deniedError](err); ok {
		s.deny(w, r, denied.verdict)
	} else if login, ok := errors.AsType[*auth.LoginError](err); ok {
		s.refuseLogin(w, r, login)
	} else if refused, ok := errors.AsType[*auth.RequestError](err); ok {
		s.refuseStatus(w, r, withStatus(refused.Status, refused.Detail))
	} else if refused, ok := errors.AsType[*origin.Refusal](err); ok {
		s.refuseStatus(w, r, withStatus(refused.Status, refused.Detail))
	} else if member, ok := errors.AsType[*tree.MemberError](err); ok && s.isAboutMember(r, member.Name) {
		s.memberFailed(w, r, member)
	} else if failed, ok := errors.AsType[*precondition.Failed](err); ok {
		s.preconditionFailed(w, r, failed)
	} else if required, ok := errors.AsType[*precondition.RequiredError](err); ok {
		s.preconditionRequired(w, r, required)
	} else if same, ok := errors.AsType[*precondition.NotModified](err); ok {
		s.notModified(w, r, same)
	} else if locked, ok := errors.AsType[*tree.LockedError](err); ok {
		s.locked(w, r, locked)
	} else if why := malformed(err); why != "" {
		s.refuseStatus(w, r, withStatus(http.StatusBadRequest, why))
	} else if body, ok := errors.AsType[*tree.BodyError](err); ok {
		s.refuseBody(w, r, body.Err)
	} else if mismatch, ok := errors.AsType[*digest.MismatchError](err); ok {
		s.refuseDigest(w, r, mismatch)
	} else if tooMany, ok := errors.AsType[*limit.Error](err); ok {
		s.refuseTooMany(w, r, tooMany)
	} else if errors.Is(err, tree.ErrTooMany) {
		s.refuseStatus(w, r, errTooMany)
	} else if status, ok := errors.AsType[*statusError](err); ok {
		s.refuseStatus(w, r, status)
	} else {
		s.failOther(w, r, err)
	}
}

// malformed returns the detail of a 400, if a part of the request is malformed, else "".
func malformed(err error) string {
	if body, ok := errors.AsType[*davxml.SyntaxError](err); ok {
		return "malformed XML: " + body.Error()
	}
	if header, ok := errors.AsType[*precondition.SyntaxError](err); ok {
		return header.Error()
	}
	if name, ok := errors.AsType[*tree.BadNameError](err); ok {
		return name.Error()
	}
	if field, ok := errors.AsType[*digest.FieldError](err); ok {
		return field.Error()
	}
	return ""
}

var errTooMany = &statusError{status: http.StatusForbidden, condition: "propfind-finite-depth",
	detail: "there are more members than a PROPFIND with Depth: infinity may list (--depth-infinity); use Depth: 1"}

// refuseBody answers a request whose body broke off, was too slow, or had another length than announced.
func (s *server) refuseBody(w http.ResponseWriter, r *request, err error) {
	if most, ok := errors.AsType[*http.MaxBytesError](err); ok {
		s.refuseStatus(w, r, tooLarge(most.Limit))
		return
	}
	status, detail := http.StatusBadRequest, "the body broke off or is not what was announced; nothing has changed: "
	if late := new(exchange.LateError); errors.As(err, &late) {
		status, detail = http.StatusRequestTimeout, "the body did not come in time; nothing has changed: "
	}
	cause := "the body: "
	if r.sending.Broken() && errors.Is(err, io.ErrUnexpectedEOF) {
		cause = "the client stopped sending: "
	}
	accesslog.Explain(w, slog.String("cause", cause+err.Error()))
	s.refuse(w, r, problem.Problem{Status: status, Detail: detail + err.Error()})
}

// refuseTooMany answers a request for which there is no room beside the running requests. The rest of its body is not
// read.
func (s *server) refuseTooMany(w http.ResponseWriter, r *request, e *limit.Error) {
	accesslog.Explain(w, slog.String("cause", e.Error()))
	accesslog.Of(w).Busy = e.What
	w.Header().Set("Retry-After", strconv.Itoa(RetryAfter))
	if r.turnedAway {
		r.sending.Refuse()
	}
	s.refuse(w, r, problem.Problem{Status: http.StatusServiceUnavailable, Detail: e.Error() + "; nothing has been " +
		"done, try again"})
}

func (s *server) failOther(w http.ResponseWriter, r *request, err error) {
	if errors.Is(err, context.Canceled) && r.Context().Err() == nil {
		err = fmt.Errorf("%w: %w", errAbandoned, err)
	} else if errors.Is(err, context.Canceled) {
		// The client is gone, or the server stops. net/http would send a 200 if nothing was written.
		accesslog.Explain(w, slog.String("cause", context.Cause(r.Context()).Error()))
		panic(http.ErrAbortHandler)
	}
	accesslog.Explain(w, slog.String("cause", err.Error()))
	status, detail := statusOf(err)
	switch {
	case errors.Is(err, tree.ErrReserved) && errors.Is(err, tree.ErrLink) && (r.who == nil || !r.who.seesAll()):
		status, detail = statusOf(tree.ErrLink) // where the link leads is not told
	case errors.Is(err, tree.ErrReserved) && methods[r.Method].writes:
		// A reader finds nothing there. A writer must not conclude that the collection is missing, or try again.
		status = http.StatusForbidden
		detail = "names like .ifmatch are reserved: the server keeps its own state there; use another one"
	}
	askToRetry(w, status, err)
	s.refuse(w, r, problem.Problem{Status: status, Detail: detail})
}

// askToRetry sets Retry-After if a later attempt may succeed.
func askToRetry(w http.ResponseWriter, status int, err error) {
	after := time.Second
	if storage := new(tree.StorageError); errors.As(err, &storage) && storage.RetryAfter > 0 {
		after = storage.RetryAfter
	} else if status != http.StatusServiceUnavailable {
		return
	}
	retryAfter(w, after)
}

// retryAfter asks for a later attempt, in whole seconds (RFC 9110 §10.2.3).
func retryAfter(w http.ResponseWriter, after time.Duration) {
	w.Header().Set("Retry-After", strconv.Itoa(max(1, int((after+time.Second-1)/time.Second))))
}

// statusOf returns the status of an error of the store, and the sentence for people: that of the store, if it has
// one.
func statusOf(err error) (status int, detail string) {
	for _, known := range statuses {
		if !errors.Is(err, known.err) {
			continue
		}
		storage := new(tree.StorageError)
		if errors.As(err, &storage) && storage.Hint != "" && errors.Is(storage, known.err) {
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
	accesslog.Explain(w, slog.String("cause", e.detail))
	if e.condition != "" {
		s.refuseXML(w, r, e.status, e.condition)
		return
	}
	s.refuse(w, r, problem.Problem{Status: e.status, Detail: e.detail})
}

// locked answers a request that conflicts with a WebDAV lock. If the lock is on a member below the resource, the
// answer names that member (RFC 4918 §9.6.1, §9.8.3, §9.10.3).
func (s *server) locked(w http.ResponseWriter, r *request, e *tree.LockedError) {
	accesslog.Explain(w, slog.String("cause", e.Error()))
	root, seen := s.rootHref(e.Lock), r.may(e.Lock.Root, auth.List)
	if !seen {
		root = s.href(r.asked, r.slash)
	}
	// Most clients unlock long before the lock would expire.
	retryAfter(w, min(e.Lock.Expires.Sub(s.Now()).Round(time.Second), lockPause))
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
	m.Status(root, http.StatusLocked, condition, "")
	if r.Method == "LOCK" {
		m.Status(s.href(r.name, true), http.StatusFailedDependency, "", "")
	}
	m.Close()
	s.write(w, r, webdav.StatusMulti, problem.XMLType, b.Bytes())
}

// memberFailed answers a request that has failed at a member of a collection (RFC 4918 §9.8.3, §9.9.3). It does not
// list the other members, for none of which anything was done.
func (s *server) memberFailed(w http.ResponseWriter, r *request, e *tree.MemberError) {
	accesslog.Explain(w, slog.String("member", e.Name), slog.String("cause", e.Err.Error()))
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
	m.Status(href, status, "", detail)
	m.Close()
	s.write(w, r, webdav.StatusMulti, problem.XMLType, b.Bytes())
}

// isAboutMember reports whether a name is below the resources of a request.
func (s *server) isAboutMember(r *request, name string) bool {
	hasTo := (r.Method == "COPY" || r.Method == "MOVE") && r.toErr == nil
	return tree.Below(name, r.name) || hasTo && tree.Below(name, r.to)
}

func (s *server) refuseXML(w http.ResponseWriter, r *request, status int, condition string, hrefs ...string) {
	var b bytes.Buffer
	davxml.WriteError(&b, condition, hrefs...)
	s.write(w, r, status, problem.XMLType, b.Bytes())
}
