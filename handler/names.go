package handler

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"ifmatch/tree"
)

// Names are bytes, and what a client makes keeps those that it sent. But macOS sends the letter ü decomposed (NFD, the
// letter u and a diaeresis), and the others composed (NFC): one and the same name, typed on two machines, are two. So a
// name that is not there stands for one that is, and that differs in nothing but this, if there is only one.

// spelled returns the name, there now, that a name from a client stands for; the name itself where there is none. It costs
// nothing for ASCII, and one look for a name that is there.
func spelled(v tree.View, name string) string {
	if isASCII(name) || isThere(v, name) {
		return name
	}
	found, rest := "", strings.Split(name, "/")
	for i, segment := range rest {
		one, ok := segmentThere(v, found, segment)
		if !ok {
			return tree.Join(found, strings.Join(rest[i:], "/"))
		}
		found = tree.Join(found, one)
	}
	return found
}

// segmentThere returns the member of a collection that a segment stands for.
func segmentThere(v tree.View, dir, segment string) (member string, ok bool) {
	if isThere(v, tree.Join(dir, segment)) {
		return segment, true
	}
	if isASCII(segment) || !utf8.ValidString(segment) {
		return "", false
	}
	for _, form := range []norm.Form{norm.NFC, norm.NFD} {
		other := form.String(segment)
		if other == segment || other == member {
			continue
		}
		// A form that is too long for the disk, which the one that was sent may not be, is not there.
		if s, err := v.State(tree.Join(dir, other)); errors.Is(err, tree.ErrNameTooLong) || err == nil && !s.Exists {
			continue
		}
		if ok {
			return "", false // one of two: which is meant nobody can tell
		}
		member, ok = other, true
	}
	return member, ok
}

func isThere(v tree.View, name string) bool {
	s, err := v.State(name)
	return err != nil || s.Exists // whatever is wrong with it is for its method to say
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// spelledNow is spelled of the tree as it is.
func (s *server) spelledNow(ctx context.Context, name string) (string, error) {
	if isASCII(name) {
		return name, nil
	}
	found := name
	err := s.Store.Try(ctx, func(v tree.View) error {
		found = spelled(v, name)
		return nil
	})
	return found, err
}

// makes notes a name that a request may make, for [request.mayMake].
func (r *request) makes(name string) { r.made = append(r.made, name) }

// mayMake asks inside the commit whether a name may be made that was not there: another spelling of it may have come since
// the name was looked up, and the server may be told not to take what systems leave everywhere.
func (r *request) mayMake(v tree.View) error {
	for _, name := range r.made {
		if spelled(v, name) != name {
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
