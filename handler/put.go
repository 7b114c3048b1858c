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

// put answers PUT. The conditions are asked before the body is read, and again inside the commit.
func (s *server) put(w http.ResponseWriter, r *request) error {
	opts, err := putOptions(r)
	if err != nil {
		return err
	}
	if s.MaxUpload > 0 && opts.Length > s.MaxUpload {
		return s.tooLarge()
	}
	if r.sent, err = digest.NewVerifier(r.Header, func() http.Header { return r.arrived.Trailer }); err != nil {
		return err
	}
	opts.Hashes, opts.Verify = r.sent.Hashes(), r.sent.Verify
	if r.slash {
		return s.notAllowed(r, "what ends with a slash is a collection: leave the slash out, or make one with MKCOL")
	}
	r.makes(r.name)
	check := s.conditional(r, r.check(r.mayHold, precondition.Resource(r.name)), r.name)
	err = s.courtesy(r, r.early(check))
	var state tree.State
	var created bool
	if err == nil {
		state, created, err = s.Store.Put(r.Context(), r.name, r.sent.Reader(s.bounded(r.Body)), opts, check)
	}
	if errors.Is(err, tree.ErrIsCollection) {
		return s.notAllowed(r, "a collection is there, in place of which no file can be PUT")
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

// tooLarge is the failure of a PUT of more bytes than are taken.
func (s *server) tooLarge() error {
	return &statusError{status: http.StatusRequestEntityTooLarge,
		detail: fmt.Sprintf("a file may have at most %d bytes here (--max-upload); nothing has changed", s.MaxUpload)}
}

// bounded returns the body of a PUT, which fails where it has more bytes than are taken.
func (s *server) bounded(body io.Reader) io.Reader {
	if s.MaxUpload <= 0 {
		return body
	}
	return &boundedReader{body, s.MaxUpload, s.tooLarge()}
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

// done answers a write that has made or replaced something.
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
		// RFC 9110 §14.5: storing a part as if it were the whole would destroy the file.
		return tree.PutOptions{}, &statusError{status: http.StatusBadRequest, detail: "a part of a file (Content-Range) cannot be PUT; send all of it"}
	}
	for _, coding := range r.Header.Values("Content-Encoding") {
		if coding != "" && !strings.EqualFold(strings.TrimSpace(coding), "identity") {
			return tree.PutOptions{}, &statusError{status: http.StatusUnsupportedMediaType, detail: "what is PUT is stored as it is; send it without Content-Encoding"}
		}
	}
	opts := tree.PutOptions{Length: r.ContentLength}
	// The Finder of macOS sends chunks, and says here how many bytes they hold; 0 where it does not know.
	expected, _ := strconv.ParseInt(r.Header.Get("X-Expected-Entity-Length"), 10, 64)
	switch {
	case expected > 0 && opts.Length < 0:
		opts.Length = expected
	case expected > 0 && opts.Length != expected:
		return opts, &statusError{status: http.StatusBadRequest,
			detail: fmt.Sprintf("X-Expected-Entity-Length is %d and Content-Length is %d; nothing has changed", expected, opts.Length)}
	}
	var err error
	opts.Modified, err = ocModified(r.Header)
	return opts, err
}

// ocModified returns the time in X-OC-Mtime, which sync clients send to keep a file's modification time. Zero where there
// is none, or one that no file can have: that is as one that the store does not keep.
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
		err = &statusError{status: http.StatusBadRequest, detail: "X-OC-Mtime must be seconds since 1970, not " + excerpt.Of(value)}
	}
	return t, err
}

// acceptModified answers X-OC-Mtime where the file has that time now: clients that hear nothing set it another way, or
// remember the time that they are told.
func acceptModified(h http.Header, asked time.Time, state tree.State) {
	if !asked.IsZero() && state.Modified.Unix() == asked.Unix() {
		h.Set("X-OC-Mtime", "accepted")
	}
}

// unixTime reads seconds since 1970; what some clients write behind a point is cut off. The error of a time that no date of
// HTTP can say is strconv.ErrRange.
func unixTime(s string) (time.Time, error) {
	seconds, err := strconv.ParseFloat(s, 64)
	switch {
	case err != nil:
		return time.Time{}, err
	case math.IsNaN(seconds):
		return time.Time{}, strconv.ErrSyntax
	case math.Abs(seconds) < 1<<40: // and an int64 can hold it
		if t := time.Unix(int64(seconds), 0); canBeSaid(t) {
			return t, nil
		}
	}
	return time.Time{}, strconv.ErrRange
}
