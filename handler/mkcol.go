package handler

import (
	"errors"
	"io"
	"net/http"

	"ifmatch/auth"
	"ifmatch/handler/precondition"
	"ifmatch/tree"
)

// mkcol answers MKCOL. What a body would ask for is not known (RFC 4918 §9.3); an empty one is none.
func (s *server) mkcol(w http.ResponseWriter, r *request) error {
	n, err := 1, error(nil)
	if r.ContentLength <= 0 { // otherwise there is one, and nobody needs to send it
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
	r.makes(r.name)
	state, err := s.Store.Mkdir(r.Context(), r.name, tree.MkdirOptions{Modified: modified}, r.check(free(r.name), precondition.Resource(r.name)))
	if errors.Is(err, tree.ErrExist) {
		if !r.may(r.name, auth.List) {
			return errTaken // which methods make sense there is not told
		}
		return s.notAllowed(r, "it is there already")
	}
	if err != nil {
		return err
	}
	acceptModified(w.Header(), modified, state)
	s.done(w, r, state, true)
	return nil
}
