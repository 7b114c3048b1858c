package handler

import (
	"net/http"

	"ifmatch/handler/precondition"
)

// delete answers DELETE.
func (s *server) delete(w http.ResponseWriter, r *request) error {
	deep, err := depthOf(r.Header, depthZero, depthOne, depthInfinity)
	if err != nil {
		return err
	}
	check, decided := s.guardDelete(r, s.conditional(r, r.check(r.whole(deep), precondition.Mapping(r.name)), r.name))
	err = s.Store.Remove(r.Context(), r.name, check)
	decided(err)
	if err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}
