package handler

import (
	"net/http"

	"ifmatch/handler/precondition"
	"ifmatch/tree"
)

// delete answers DELETE.
func (s *server) delete(w http.ResponseWriter, r *request) error {
	deep, err := depthOf(r.Header, depthZero, depthOne, depthInfinity)
	if err != nil {
		return err
	}
	check := r.check(func(v tree.View) error {
		state, err := v.State(r.name)
		if err == nil {
			err = wholeTree(state, deep)
		}
		return err
	}, precondition.Mapping(r.name))
	if err := s.Store.Remove(r.Context(), r.name, check); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// wholeTree refuses to remove or move a collection without what is in it (RFC 4918 §9.6.1, §9.9.2).
func wholeTree(state tree.State, deep depth) error {
	if state.Collection && (deep == depthZero || deep == depthOne) {
		return &statusError{status: http.StatusBadRequest, detail: "a collection is removed or moved with all that is in it; Depth must be infinity or absent"}
	}
	return nil
}
