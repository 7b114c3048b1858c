package handler

import (
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"ifmatch/handler/digest"
	"ifmatch/handler/precondition"
	"ifmatch/internal/excerpt"
	"ifmatch/tree"
)

// put answers PUT. It checks the conditions before it reads the body, and again inside the commit.
func (s *server) put(w http.ResponseWriter, r *request) error {
	opts, err := putOptions(r)
	if err != nil {
		return err
	}
	most := s.maxUpload()
	if most > 0 && opts.Length > most {
		return tooLarge(most)
	}
	if r.sent, err = digest.NewVerifier(r.Header, func() http.Header { return r.arrived.Trailer }); err != nil {
		return err
	}
	opts.Hashes, opts.Verify = r.sent.Hashes(), r.sent.Verify
	if r.slash {
		return s.notAllowed(r, "a name with a slash at the end is a collection; leave the slash out, or create a "+
			"collection with MKCOL")
	}
	opts.Respelled = func(name string) (tree.Condition, error) { return s.putRespelled(r, name) }
	check := s.mayPut(r)
	err = s.courtesy(r, r.beforeBody(check))
	if respelled := new(tree.RespelledError); errors.As(err, &respelled) {
		if check, err = s.putRespelled(r, respelled.Name); err == nil {
			err = s.courtesy(r, r.beforeBody(check))
		}
	}
	var state tree.State
	var created bool
	if err == nil {
		state, created, err = s.Store.Put(r.Context(), r.name, r.sent.Reader(bounded(r.Body, most)), opts, check)
	}
	if errors.Is(err, tree.ErrIsCollection) {
		return s.notAllowed(r, "a collection is there, which a PUT cannot replace")
	}
	if err != nil {
		return err
	}
	s.written(r, r.name)
	acceptModified(w.Header(), opts.Modified, state)
	r.sent.SetField(w.Header())
	s.digests.Keep(r.sent.Sums())
	s.done(w, r, state, created)
	return nil
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
func tooLarge(most int64) error {
	return &statusError{status: http.StatusRequestEntityTooLarge,
		detail: fmt.Sprintf("a file may have at most %d bytes here (--max-upload); nothing has changed", most)}
}

// bounded returns the body of a PUT, which fails where it has more bytes than are taken.
func bounded(body io.Reader, most int64) io.Reader {
	if most <= 0 {
		return body
	}
	return &boundedReader{body, most, tooLarge(most)}
}

// A boundedReader fails behind so many bytes.
type boundedReader struct {
	io.Reader
	left int64
	err  error
}

func (r *boundedReader) Read(p []byte) (int, error) {
	if r.left < 0 {
		return 0, r.err
	}
	n, err := r.Reader.Read(p[:min(int64(len(p)), r.left+1)])
	if r.left -= int64(n); r.left < 0 {
		return 0, r.err
	}
	return n, err
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
	if r.Header.Get("Content-Range") != "" {
		// RFC 9110 §14.5: to store a part as the whole would destroy the file.
		return tree.PutOptions{}, &statusError{status: http.StatusBadRequest,
			detail: "a PUT of a part of a file (Content-Range) is not supported; send the whole file"}
	}
	for _, coding := range r.Header.Values("Content-Encoding") {
		if coding != "" && !strings.EqualFold(strings.TrimSpace(coding), "identity") {
			return tree.PutOptions{}, &statusError{status: http.StatusUnsupportedMediaType,
				detail: "a PUT with a Content-Encoding is not supported; send the file without it"}
		}
	}
	opts := tree.PutOptions{Length: r.ContentLength}
	// The Finder of macOS sends chunks, and announces the length of the body here (0: it does not know it).
	expected, _ := strconv.ParseInt(r.Header.Get("X-Expected-Entity-Length"), 10, 64)
	switch {
	case expected > 0 && opts.Length < 0:
		opts.Length = expected
	case expected > 0 && opts.Length != expected:
		return opts, &statusError{status: http.StatusBadRequest,
			detail: fmt.Sprintf("X-Expected-Entity-Length is %d and Content-Length is %d; nothing has "+
				"changed", expected, opts.Length)}
	}
	var err error
	opts.Modified, err = ocModified(r.Header)
	return opts, err
}

// ocModified returns the time in X-OC-Mtime, with which sync clients keep the modification time of a file. It is zero
// if the header is absent, or has a time that no file can have: a store would not keep that time either.
func ocModified(h http.Header) (time.Time, error) {
	value := h.Get("X-OC-Mtime")
	if value == "" {
		return time.Time{}, nil
	}
	t, err := unixTime(value)
	if errors.Is(err, strconv.ErrRange) {
		return time.Time{}, nil
	}
	if err != nil {
		err = &statusError{status: http.StatusBadRequest,
			detail: "X-OC-Mtime must be seconds since 1970, not " + excerpt.Of(value)}
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
