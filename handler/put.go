package handler

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"r-seed-1f3a754f.example/ifmatch/auth"
	"r-seed-1f3a754f.example/ifmatch/handler/charset"
	"r-seed-1f3a754f.example/ifmatch/handler/digest"
	"r-seed-1f3a754f.example/ifmatch/handler/precondition"
	"r-seed-1f3a754f.example/ifmatch/handler/proxy"
	"r-seed-1f3a754f.example/ifmatch/internal/excerpt"
	"r-seed-1f3a754f.example/ifmatch/tree"
	"r-seed-1f3a754f.example/ifmatch/uploads"
)

// put answers PUT. It checks the conditions before it reads the body, and again inside the commit.
func (s *server) put(w http.ResponseWriter, r *request) error {
	// If the whole body has come already, a refusal before it is read would spare the client nothing.
	hasCome := func() bool { return r.sending.HasCome(tree.MaxLate) }
	opts, check, err := s.beforePut(r, func() http.Header { return r.arrived.Trailer }, hasCome)
	var state tree.State
	var created bool
	if err == nil {
		body := r.sent.Reader(bounded(r.Body, s.maxUpload()))
		if said := charset.Said(r.Header); said != "" {
			text := charset.NewBody(body, said)
			body, opts.Describe = text, text.Describe
		}
		state, created, err = s.Store.Put(r.Context(), r.name, body, opts, check)
	}
	if err != nil {
		return s.notOnCollection(r, err)
	}
	s.afterPut(w.Header(), r, opts, state)
	r.sent.SetField(w.Header())
	s.digests.Keep(r.sent.Sums())
	s.done(w, r, state, created)
	return nil
}

// beforePut checks a PUT before its body is read, and returns the options and the condition for the store. trailer
// returns the trailer section that has come. late is that of the condition.
func (s *server) beforePut(
	r *request, trailer func() http.Header, late func() bool,
) (tree.PutOptions, tree.Condition, error) {
	var check tree.Condition
	opts, err := putOptions(r)
	if err != nil {
		return opts, check, err
	}
	if most := s.maxUpload(); most > 0 && opts.Length > most {
		return opts, check, tooLarge(most)
	}
	if r.sent, err = digest.NewVerifier(r.Header, trailer); err != nil {
		return opts, check, err
	}
	opts.Hashes, opts.Verify = r.sent.Hashes(), r.sent.Verify
	if r.slash {
		return opts, check, s.notAllowed(r, "a name with a slash at the end is a collection; leave the slash out, or create a "+
			"collection with MKCOL")
	}
	opts.Respelled = func(name string) (tree.Condition, error) { return s.putRespelled(r, name) }
	check = s.mayPut(r)
	check.Late = late
	err = s.courtesy(r, r.beforeBody(check))
	if respelled := new(tree.RespelledError); errors.As(err, &respelled) {
		if check, err = s.putRespelled(r, respelled.Name); err == nil {
			err = s.courtesy(r, r.beforeBody(check))
		}
	}
	return opts, check, err
}

// notOnCollection returns the failure of a PUT.
func (s *server) notOnCollection(r *request, err error) error {
	if errors.Is(err, tree.ErrIsCollection) {
		return s.notAllowed(r, "a collection is there, which a PUT cannot replace")
	}
	return err
}

// afterPut notes a PUT that has succeeded, and sets the fields of the answer that are not those of each write.
func (s *server) afterPut(h http.Header, r *request, opts tree.PutOptions, state tree.State) {
	s.written(r, r.name)
	acceptModified(h, opts.Modified, state)
}

// mayPut returns the condition of a PUT of the name that was found.
func (s *server) mayPut(r *request) tree.Condition {
	r.toCreate = []string{r.name}
	return s.requireCondition(r, r.check(r.requireFileTarget, precondition.Resource(r.name)), r.name)
}

// putRespelled returns the condition of a PUT whose name exists in another spelling since the request has begun. Rules
// and headers decide about that spelling again.
func (s *server) putRespelled(r *request, name string) (tree.Condition, error) {
	r.name = name
	if err := r.allowed(&r.who.Access); err != nil {
		return tree.Condition{}, err
	}
	if err := s.parseConditions(r); err != nil {
		return tree.Condition{}, err
	}
	return s.mayPut(r), nil
}

// maxUpload returns the most bytes that the body of a PUT that begins may have, or 0 for any number.
func (s *server) maxUpload() int64 {
	if s.Current == nil {
		return s.MaxUpload
	}
	most, _ := s.Current()
	return most
}

// tooLarge is the failure of a PUT of more bytes than are taken.
func tooLarge(most int64) *statusError {
	return withStatus(http.StatusRequestEntityTooLarge,
		fmt.Sprintf("a file may have at most %d bytes here (--max-upload); nothing has changed", most))
}

// done answers a write that has created or replaced a resource.
func (s *server) done(w http.ResponseWriter, r *request, state tree.State, created bool) {
	r.after = state.Tag
	s.describe(w.Header(), r, state)
	if created {
		w.Header().Set("Content-Length", "0")
		w.WriteHeader(http.StatusCreated)
	} else {
		w.WriteHeader(http.StatusNoContent)
	}
}

func putOptions(r *request) (tree.PutOptions, error) {
	if strings.Join(r.Header["Content-Range"], "") != "" { // each line counts, and an empty one says nothing
		// RFC 9110 §14.5: to store a part as the whole would destroy the file.
		return tree.PutOptions{}, withStatus(http.StatusBadRequest,
			"a PUT of a part of a file (Content-Range) is not supported; send the whole file")
	}
	for _, coding := range r.Header.Values("Content-Encoding") {
		if coding != "" && !strings.EqualFold(strings.TrimSpace(coding), "identity") {
			return tree.PutOptions{}, withStatus(http.StatusUnsupportedMediaType,
				"a PUT with a Content-Encoding is not supported; send the file without it")
		}
	}
	opts := tree.PutOptions{Length: r.ContentLength}
	// The Finder of macOS sends chunks, and announces the length of the body here (0: it does not know it).
	expected, _ := strconv.ParseInt(r.Header.Get("X-Expected-Entity-Length"), 10, 64)
	switch {
	case expected > 0 && opts.Length < 0:
		opts.Length = expected
	case expected > 0 && opts.Length != expected:
		return opts, withStatus(http.StatusBadRequest,
			fmt.Sprintf("X-Expected-Entity-Length is %d and Content-Length is %d; nothing has changed", expected, opts.Length))
	}
	var err error
	opts.Modified, err = ocModified(r.Header)
	return opts, err
}

// mtimeField is X-OC-Mtime as net/http spells it, which would be found out anew for each request.
var mtimeField = http.CanonicalHeaderKey("X-OC-Mtime")

// ocModified returns the time in X-OC-Mtime, with which sync clients keep the modification time of a file. It is zero
// if the header is absent, or has a time that no file can have: a store would not keep that time either.
func ocModified(h http.Header) (time.Time, error) {
	value := h.Get(mtimeField)
	if value == "" {
		return time.Time{}, nil
	}
	t, err := unixTime(value)
	if errors.Is(err, strconv.ErrRange) {
		return time.Time{}, nil
	}
	if err != nil {
		err = withStatus(http.StatusBadRequest, "X-OC-Mtime must be seconds since 1970, not "+excerpt.Of(value))
	}
	return t, err
}

// acceptModified answers X-OC-Mtime if the file has that time now. Clients that get no answer set the time in another
// way, or remember the time of the server.
func acceptModified(h http.Header, asked time.Time, state tree.State) {
	if !asked.IsZero() && state.Modified.Unix() == asked.Unix() {
		h.Set("X-OC-Mtime", "accepted")
	}
}

// unixTime reads seconds since 1970. Some clients send a fraction, which is cut off. The error is strconv.ErrRange if
// HTTP cannot express the date.
func unixTime(s string) (time.Time, error) {
	seconds, err := strconv.ParseFloat(s, 64)
	switch {
	case err != nil:
		return time.Time{}, err
	case math.IsNaN(seconds):
		return time.Time{}, strconv.ErrSyntax
	case math.Abs(seconds) < 1<<40: // otherwise an int64 may overflow
		if t := time.Unix(int64(seconds), 0); canBeSaid(t) {
			return t, nil
		}
	}
	return time.Time{}, strconv.ErrRange
}

// uploadsName is the name below which the uploads that arrive in parts have their addresses.
const uploadsName = ownDir + "/uploads"

// uploadsAddress answers a request to PREFIX/.ifmatch/uploads, or to an upload below it.
func (s *server) uploadsAddress(w http.ResponseWriter, r *request, id string) error {
	isTus := r.Header.Get("Tus-Resumable") != "" || slices.Contains([]string{"OPTIONS", "PATCH", "POST"}, r.Method)
	if s.uploads == nil || !isTus || strings.Contains(id, "/") {
		return tree.ErrReserved
	}
	return s.upload(w, r, id, true)
}

// upload answers a request about uploads that arrive in parts. It becomes the PUT of the target as soon as that is known,
// so that a refusal is told, logged and noted as that of a PUT.
func (s *server) upload(w http.ResponseWriter, r *request, id string, own bool) error {
	pool, method := s.Pools.Changes, uploads.Method(r.Request)
	if s.ReadOnly && id != "" && method != http.MethodOptions {
		return tree.ErrReadOnly // and not that there is no such upload: it goes on when the server takes writes again
	}
	if method == http.MethodPost || method == http.MethodPatch {
		pool = s.Pools.Uploads
		r.sending.BecomesFile()
	}
	if err := s.takeTurn(w, r, pool); err != nil {
		return err
	}
	sent := r.Request
	err := s.uploads.Serve(w, sent, id, &uploader{s, w, r, r.turn, own})
	if err == nil && r.after == "" {
		r.Request = sent // nothing has been written yet
	}
	var refused *uploads.Error
	if !errors.As(err, &refused) {
		return s.notOnCollection(r, err)
	}
	if refused.Status == http.StatusNotFound && r.who.anonymous() && r.who.rules.HasUsers() {
		return &deniedError{auth.Challenge} // it may be of a user
	}
	return &statusError{status: refused.Status, detail: refused.Detail, allow: refused.Allow}
}

// An uploader implements [uploads.Caller].
type uploader struct {
	s   *server
	w   http.ResponseWriter
	r   *request
	t   *turn
	own bool // the request was sent to an address of uploads, and not to one of the tree
}

func (u *uploader) Context() context.Context { return u.r.Context() }

// Owner implements [uploads.Caller]. An app token uploads for its user.
func (u *uploader) Owner() string { return u.r.who.Principal().Name }

func (u *uploader) Owns(owner string) bool { return u.r.who.Holds(owner) }

func (u *uploader) Interrupt() { u.t.giveWay(u.w) }

func (u *uploader) Target(rel string) (string, error) {
	dir := u.r.name
	if u.own {
		dir = ""
	}
	if rel == "" {
		if dir == "" || u.r.slash {
			return "", withStatus(http.StatusBadRequest,
				"which file is it for? Name it in Upload-Metadata, with the key path or filename, or send the POST to the URL "+
					"of the file")
		}
		return dir, nil
	}
	name := strings.TrimPrefix(rel, "/")
	if dir != "" {
		name = dir + "/" + name
	}
	return name, tree.CheckName(name)
}

func (u *uploader) Write(name string, fields http.Header, length int64) (*uploads.Write, error) {
	s, r := u.s, u.r
	r.become(name, fields, length)
	if err := s.begin(r, name); err != nil {
		return nil, err
	}
	opts, check, err := s.beforePut(r, func() http.Header { return nil }, nil)
	if err == nil && len(opts.Hashes) > 0 {
		err = withStatus(http.StatusBadRequest, "the only Repr-Digest of an upload in parts is sha-256")
	}
	if err != nil {
		return nil, err
	}
	return &uploads.Write{Name: r.name, Options: opts, Cond: check, Done: func(state tree.State, _ bool) {
		s.afterPut(u.w.Header(), r, opts, state)
		r.after = state.Tag
		s.describe(u.w.Header(), r, state)
	}}, nil
}

// become makes the request the PUT of a whole file with some fields of the header.
func (r *request) become(name string, fields http.Header, length int64) {
	put := r.Request.WithContext(r.Request.Context())
	put.Method, put.ContentLength, put.URL = http.MethodPut, length, &url.URL{Path: "/" + name}
	put.Header = r.Header.Clone()
	for _, field := range slices.Concat(uploads.Fields, ofOneBody) {
		put.Header.Del(field)
	}
	maps.Copy(put.Header, fields)
	r.Request, r.sending, r.slash = put, nil, false
}

// ofOneBody are the fields about the body of one request, which is not that of the file.
var ofOneBody = []string{"Content-Digest", "Content-Encoding", "Content-MD5", "Content-Range", "Content-Type", "Digest",
	"OC-Checksum", "Expect", "Trailer", "Want-Repr-Digest", "X-Expected-Entity-Length"}

// URL implements [uploads.Caller]. Some clients need an absolute one.
func (u *uploader) URL(id string) string {
	r := u.r
	own := url.URL{Scheme: "http", Host: r.Host}
	if r.TLS != nil {
		own.Scheme = "https"
	}
	if u.s.TrustedProxies.Sent(r.Request) {
		if proxy.SaysHTTPS(r.Header) {
			own.Scheme = "https"
		}
		if hosts := proxy.ForwardedHosts(r.Header); len(hosts) > 0 && hosts[0] != "" {
			own.Host = hosts[0]
		}
	}
	for _, public := range u.s.PublicURLs {
		if plainAuthority(public.Host) == plainAuthority(own.Host) {
			own.Scheme, own.Host = public.Scheme, public.Host
		}
	}
	if own.Host == "" { // a client of HTTP/1.0 may not say how it calls the server
		return u.s.href(uploadsName+"/"+id, false)
	}
	return own.String() + u.s.href(uploadsName+"/"+id, false)
}
