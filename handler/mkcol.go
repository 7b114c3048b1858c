package handler

import (
	"errors"
	"io"
	"net/http"

	"ifmatch/auth"
	"ifmatch/handler/precondition"
	"ifmatch/tree"
)

// mkcol answers MKCOL. No media type of a body is known (RFC 4918 §9.3). An empty body counts as none.
func (s *server) mkcol(w http.ResponseWriter, r *request) error {
	n, err := 1, error(nil)
	if r.ContentLength <= 0 { // otherwise there is a body, which the client need not send
		n, err = r.Body.Read(make([]byte, 1))
	}
	if n > 0 {
		return &statusError{status: http.StatusUnsupportedMediaType, detail: "MKCOL takes no body"}
	} else if err != nil && err != io.EOF {
		return &tree.BodyError{Err: err}
	}
	modified, err := ocModified(r.Header)
	if err != nil {
		return err
	}
	r.creates(r.name)
	check := r.check(requireAbsent(r.name), precondition.Resource(r.name))
	state, err := s.Store.Mkdir(r.Context(), r.name, tree.MkdirOptions{Modified: modified}, check)
	if errors.Is(err, tree.ErrExist) {
		if !r.may(r.name, auth.List) {
			return errTaken // which methods make sense there is not told
		}
		return s.notAllowed(r, "something is there already")
	}
	if err != nil {
		return err
	}
	acceptModified(w.Header(), modified, state)
	s.done(w, r, state, true)
	return nil
}
