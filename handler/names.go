package handler

import (
	"context"
	"net/http"
	"strings"

	"ifmatch/tree"
)

func isThere(v tree.View, name string) bool {
	s, err := v.State(name)
	return err != nil || s.Exists // whatever is wrong with it is for its method to say
}

// spelledNow returns the name, there now, that a name from a client stands for; the name itself where there is none.
func (s *server) spelledNow(ctx context.Context, name string) (string, error) {
	if speller, ok := s.Store.(tree.Speller); ok {
		return speller.Spelled(ctx, name)
	}
	return name, nil
}

// makes notes a name that a request may make, for [request.mayMake].
func (r *request) makes(name string) { r.made = append(r.made, name) }

// mayMake asks inside the commit whether a name may be made that was not there: another spelling of it may have come since
// the name was looked up, and the server may be told not to take what systems leave everywhere.
func (r *request) mayMake(v tree.View) error {
	for _, name := range r.made {
		if is := tree.Spelled(v, name); is != name && is != r.name { // what a MOVE spells anew is there, of course
			return tree.ErrBusy // the next try finds that one
		}
		if _, base := tree.Split(name); r.noJunk && isJunk(base) && !isThere(v, name) {
			return &statusError{status: http.StatusForbidden, detail: "files like " + base +
				", which systems leave in every directory, are not taken here (--junk refuse)"}
		}
	}
	return nil
}

// isJunk reports whether a name is one that macOS or Windows leave in directories for themselves.
func isJunk(base string) bool {
	if strings.HasPrefix(base, "._") {
		return true
	}
	switch strings.ToLower(base) {
	case ".ds_store", ".spotlight-v100", ".trashes", ".fseventsd", ".temporaryitems", ".apdisk", ".metadata_never_index",
		"thumbs.db", "ehthumbs.db", "desktop.ini":
		return true
	}
	return false
}
