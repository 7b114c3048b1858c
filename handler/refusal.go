package handler

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"time"

	"github.com/dunglas/httpsfv"

	"r-seed-1f3a754f.example/ifmatch/auth"
	"r-seed-1f3a754f.example/ifmatch/handler/accesslog"
	"r-seed-1f3a754f.example/ifmatch/handler/digest"
	"r-seed-1f3a754f.example/ifmatch/handler/precondition"
	"r-seed-1f3a754f.example/ifmatch/handler/problem"
	"r-seed-1f3a754f.example/ifmatch/handler/synctoken"
	"r-seed-1f3a754f.example/ifmatch/internal/excerpt"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

func (s *server) refuseDigest(w http.ResponseWriter, r *request, e *digest.MismatchError) {
	m := problem.Mismatch(*e)
	accesslog.Explain(w, slog.String("cause", e.Error()),
		slog.String("announced", m.Announced), slog.String("computed", m.Computed))
	s.refuse(w, r, problem.Problem{Status: http.StatusBadRequest, Mismatch: &m,
		Detail: e.Error() + "; it was damaged on the way, or is another body; nothing has changed"})
}

func (s *server) preconditionFailed(w http.ResponseWriter, r *request, failed *precondition.Failed) {
	accesslog.Of(w).Condition = failed.Header
	accesslog.Explain(w, slog.String("condition", failed.Header))
	w.Header().Add("Vary", "Prefer")
	if !r.may(failed.Name, auth.List) { // the condition was about the hidden resource
		s.refuse(w, r, problem.Problem{Status: http.StatusPreconditionFailed, Detail: "a condition is not true; " +
			"nothing has changed"})
		return
	}
	have := s.withTag(r, failed.Have)
	why := s.refusal(w, r, have)
	want := excerpt.Of(failed.Want)
	why.Condition, why.Want = &failed.Header, &want
	accesslog.Explain(w, slog.String("want", failed.Want), slog.String("have", string(have.Tag)))
	if s.represent(w, r, failed) {
		return
	}
	s.refuse(w, r, problem.Problem{
		Status: http.StatusPreconditionFailed, Detail: sentence(failed, have), Precondition: why,
	})
}

func (s *server) preconditionRequired(w http.ResponseWriter, r *request, required *precondition.RequiredError) {
	w.Header().Set("Cache-Control", "no-store") // RFC 6585 §3: it "MUST NOT be stored by a cache"
	if !r.may(required.Name, auth.List) {
		s.refuse(w, r, problem.Problem{Status: http.StatusPreconditionRequired,
			Detail: "this server needs a condition to replace or remove a resource; nothing has changed"})
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
	accesslog.Explain(w, slog.String("cause", "no condition"), slog.String("have", string(have.Tag)))
	s.refuse(w, r, problem.Problem{Status: http.StatusPreconditionRequired, Precondition: why,
		Detail: "something is there, and this server needs a condition to replace or remove it; " + how + "; " +
			"nothing has changed"})
}

// refusal describes the resource. The header fields describe the Request-URI, even if the condition was about another
// resource.
func (s *server) refusal(w http.ResponseWriter, r *request, have tree.State) *problem.Precondition {
	told := have
	if have.Name != r.name {
		var err error
		if told, err = s.Store.Stat(r.Context(), r.name, r.reading(tree.WantTag)); err != nil {
			told = tree.State{}
		}
	}
	s.describe(w.Header(), r, told)
	why := &problem.Precondition{Resource: s.href(have.Name, have.Collection), Exists: have.Exists}
	if !r.mayOf(&have, auth.List) {
		return &problem.Precondition{Resource: s.href(r.asked, r.slash)}
	}
	mayRead := r.mayOf(&have, auth.Read)
	if mayRead {
		why.ETag = have.Tag
	}
	if mayRead && have.Name == r.name && have.Tag != "" {
		sent := r.sent.Tag()
		if sent == "" && r.sent != nil {
			sent = s.Exchange.Peek(r.Request, r.sending, have.Size)
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

// withTag looks at the resource again if the condition was decided without its tag.
func (s *server) withTag(r *request, have tree.State) tree.State {
	if !have.Exists || have.Collection || have.Tag != "" {
		return have
	}
	now, err := s.Store.Stat(r.Context(), have.Name, r.reading(tree.WantTag))
	switch {
	case errors.Is(err, tree.ErrNotExist):
		return tree.State{Name: have.Name}
	case err != nil:
		have.LastModified = time.Time{} // it was only valid for the decision
		return have
	}
	return now
}

func sentence(failed *precondition.Failed, have tree.State) string {
	switch {
	case failed.Header == afterPut:
		return "the last PUT of this name failed, and this is the version that it would have replaced; nothing has " +
			"changed; to delete it on purpose, send its ETag in If-Match, or repeat the DELETE"
	case failed.Malformed:
		return failed.Header + " is malformed, and so matches nothing; nothing has changed; send * or a list of ETags " +
			"with their quotation marks, as the server has sent them"
	case failed.Foreign != "":
		return "no list of If is true, and those about <" + excerpt.Of(failed.Foreign) + "> cannot be, because it is not " +
			"known to be on this server; nothing has changed; if it is, start the server with --public-url and the URL that " +
			"clients use, or with --trusted-proxy and the proxy's address"
	case failed.Header == "If" && !failed.NamesTag() && synctoken.In(failed.Want):
		return "something has changed there since the sync token in If, or that token is not known any more; nothing has " +
			"changed by this request; look at the changes, and take a new token"
	case failed.Header == "If" && !failed.NamesTag():
		return "the locks are not those in If: a lock has ended, has another token, or does not exist; nothing has changed"
	case !have.Exists && (failed.Header == "If-None-Match" || failed.Header == "Overwrite"):
		return "something was there, and has gone since; nothing has changed; send it again"
	case !have.Exists:
		return "nothing is there, and " + failed.Header + " expects a version; nothing has changed"
	case failed.Header == "If-None-Match" || failed.Header == "Overwrite":
		return "something is there already; nothing has changed"
	case have.Collection && have.Tag == "" && (failed.Header == "If-Match" || failed.Header == "If"):
		return "a collection has no ETag, so " + failed.Header + " with an ETag is false; nothing has changed; " +
			"send If-Match: *"
	case have.Collection && failed.Header == "If-Unmodified-Since":
		return "no date identifies the content of a collection, so If-Unmodified-Since is false; nothing has " +
			"changed; send If-Match: *"
	case failed.Header == "If-Unmodified-Since":
		return "the current version is not the one of that date, or another version had that date too; nothing has " +
			"changed; get the current version, merge, and send the result with its ETag in If-Match"
	case failed.Mangled(have):
		return failed.Header + " has the tag of the version that is there, but changed: a proxy on the way seems to " +
			"compress; nothing has changed; turn that off, or start the server with --trusted-proxy and the proxy's address, " +
			"or with --loose-etags"
	}
	return "it is not the version that " + failed.Header + " expects; nothing has changed; get the current version, " +
		"merge, and send the result with its ETag"
}

func (s *server) refuse(w http.ResponseWriter, r *request, p problem.Problem) {
	p.RequestID = accesslog.Of(w).ID
	contentType, body := p.Encode(r.Header)
	w.Header().Add("Vary", "Accept")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	s.write(w, r, p.Status, contentType, body)
}

// preferred returns the value of a preference in the Prefer header (RFC 7240), or "". It reads the header as a
// structured field, as clients write it. A malformed header is ignored, as every preference may be.
func preferred(h http.Header, preference string) string {
	all, err := httpsfv.UnmarshalDictionary(h.Values("Prefer"))
	if err != nil {
		return ""
	}
	member, _ := all.Get(preference)
	item, _ := member.(httpsfv.Item)
	switch value := item.Value.(type) {
	case httpsfv.Token:
		return string(value)
	case string:
		return value
	}
	return ""
}

// maxBuffered bounds the contents, in bytes, that are read before the status is sent.
const maxBuffered = 64 << 10

// represent answers a 412 with the current content, if the client prefers that (RFC 7240 §4.2, RFC 8144 §3.2): the
// client can merge at once. It does so only for a file at the Request-URI, because the header fields cannot describe
// another resource. It reports whether it has answered.
func (s *server) represent(w http.ResponseWriter, r *request, failed *precondition.Failed) bool {
	have := failed.Have
	if r.Method == http.MethodHead || failed.Name != r.name || !have.Exists || have.Collection ||
		!r.may(r.name, auth.Read) ||
		preferred(r.Header, "return") != "representation" {
		return false
	}
	opts := r.reading(tree.WantTag | tree.WantProperties)
	content, state, err := s.Store.Open(r.Context(), r.name, opts, tree.Condition{})
	if err != nil {
		return false
	}
	defer content.Close()
	if r.opens(&state) != nil {
		return false
	}
	send := func(w io.Writer) error {
		_, err := content.WriteRange(r.Context(), w, 0, state.Size)
		return err
	}
	if state.Size <= maxBuffered {
		var all bytes.Buffer
		if send(&all) != nil {
			return false
		}
		send = func(w io.Writer) error { _, err := all.WriteTo(w); return err }
	}
	h := w.Header()
	s.describeContent(h, r, state)
	s.digests.SetFields(r.Context(), r.tagDeadline, h, r.Request, content, state, wholeOf(&state))
	h.Set("Content-Location", s.href(r.name, false))
	h.Set("Preference-Applied", "return=representation")
	s.send(w, r, http.StatusPreconditionFailed, contentType(&state), state.Size, send)
	return true
}

// bounded returns the body of a PUT, which fails with an [http.MaxBytesError] where it has more bytes than are taken.
func bounded(body io.Reader, most int64) io.Reader {
	if most <= 0 {
		return body
	}
	return http.MaxBytesReader(nil, io.NopCloser(body), most)
}
