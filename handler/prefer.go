package handler

import (
	"bytes"
	"io"
	"net/http"

	"github.com/dunglas/httpsfv"

	"ifmatch/auth"
	"ifmatch/handler/precondition"
	"ifmatch/tree"
)

// preferred returns what a client prefers (RFC 7240), or "". The header is read as a structured field, which it is as
// clients write it; a preference that cannot be read may be ignored, as any other.
func preferred(h http.Header, preference string) string {
	all, err := httpsfv.UnmarshalDictionary(h.Values("Prefer"))
	if err != nil {
		return ""
	}
	member, _ := all.Get(preference)
	item, _ := member.(httpsfv.Item)
	switch value := item.Value.(type) {
	case httpsfv.Token:
		return string(value)
	case string:
		return value
	}
	return ""
}

// maxBuffered is the size of a content, in bytes, up to which all of it is read before the status is sent.
const maxBuffered = 64 << 10

// represent answers a 412 with the content that is there, where the client prefers that to hearing about it (RFC 7240
// §4.2, RFC 8144 §3.2): it can merge at once. It reports whether it did: of a file, and of the Request-URI, since what
// another resource holds is not for the headers of this answer to describe.
func (s *server) represent(w http.ResponseWriter, r *request, failed *precondition.Failed) bool {
	have := failed.Have
	if r.Method == http.MethodHead || failed.Name != r.name || !have.Exists || have.Collection || !r.may(r.name, auth.Read) ||
		preferred(r.Header, "return") != "representation" {
		return false
	}
	content, state, err := s.Store.Open(r.Context(), r.name, r.reading(tree.WantTag|tree.WantProperties), tree.Condition{})
	if err != nil {
		return false
	}
	defer content.Close()
	if r.opens(&state) != nil {
		return false
	}
	send := func(w io.Writer) error {
		_, err := content.WriteRange(r.Context(), w, 0, state.Size)
		return err
	}
	if state.Size <= maxBuffered {
		var all bytes.Buffer
		if send(&all) != nil {
			return false
		}
		send = func(w io.Writer) error { _, err := all.WriteTo(w); return err }
	}
	h := w.Header()
	s.present(h, r, state)
	s.setDigests(r.Context(), h, r, content, state, wholeOf(&state))
	h.Set("Content-Location", s.href(r.name, false))
	h.Set("Preference-Applied", "return=representation")
	s.send(w, r, http.StatusPreconditionFailed, contentType(&state), state.Size, send)
	return true
}
