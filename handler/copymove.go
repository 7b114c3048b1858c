package handler

import (
	"errors"
	"io"
	"net/http"

	"ifmatch/auth"
	"ifmatch/handler/precondition"
	"ifmatch/tree"
)

// copyMove answers COPY and MOVE. The conditions are about the source, unless an If header also names the
// destination.
func (s *server) copyMove(w http.ResponseWriter, r *request) error {
	if err := s.destination(r); err != nil {
		return err
	}
	to := r.to
	r.creates(to)
	replace, err := overwrite(r.Header)
	if err != nil {
		return err
	}
	opts := tree.CopyOptions{NoOverwrite: !replace}
	if opts.Modified, err = ocModified(r.Header); err != nil {
		return err
	}
	transfer := s.Store.Copy
	var check tree.Condition
	taken := []string{to} // the names that have another resource afterwards
	if r.Method == "COPY" {
		deep, err := depthOf(r.Header, depthZero, depthInfinity)
		if err != nil {
			return err
		}
		opts.Shallow = deep == depthZero
		check = r.check(r.requirePresent, precondition.Mapping(to))
	} else {
		deep, err := depthOf(r.Header, depthZero, depthOne, depthInfinity)
		if err != nil {
			return err
		}
		transfer = s.Store.Move
		check = r.check(r.requireWhole(deep), precondition.Mapping(r.name), precondition.Mapping(to))
		taken = append(taken, r.name)
	}
	state, created, err := transfer(r.Context(), r.name, to, opts, s.requireCondition(r, check, taken...))
	if errors.Is(err, tree.ErrExist) && opts.NoOverwrite {
		err = s.exists(r, to)
	}
	if err != nil {
		return err
	}
	s.written(r, to)
	if created {
		w.Header().Set("Location", s.href(to, state.Collection))
	}
	acceptModified(w.Header(), opts.Modified, state)
	s.done(w, r, state, created)
	return nil
}

// exists returns the error of a COPY or MOVE with "Overwrite: F", which is a condition too (RFC 4918 §10.6).
func (s *server) exists(r *request, name string) error {
	if !r.may(name, auth.List) {
		return errTaken
	}
	have, err := s.Store.Stat(r.Context(), name, r.reading(tree.WantTag))
	if err != nil {
		have = tree.State{Name: name, Exists: true}
	}
	return &precondition.Failed{Header: "Overwrite", Want: "F", Name: name, Have: have}
}

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
