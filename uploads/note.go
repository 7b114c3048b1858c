package uploads

import (
	"encoding/json"
	"net/http"
	"slices"

	"r-seed-1f3a754f.example/ifmatch/tree"
)

// A note is what the server keeps with an upload, as JSON. Names and fields may have bytes that are not UTF-8, which a
// string of JSON has not.
type note struct {
	Owner    []byte              `json:"owner,omitempty"`
	Fields   map[string][][]byte `json:"fields,omitempty"` // see kept
	Metadata string              `json:"metadata,omitempty"`
}

func newNote(owner string, fields http.Header, metadata string) *note {
	n := &note{Owner: []byte(owner), Fields: map[string][][]byte{}, Metadata: metadata}
	for name, values := range fields {
		for _, value := range values {
			n.Fields[name] = append(n.Fields[name], []byte(value))
		}
	}
	return n
}

// header returns the fields.
func (n *note) header() http.Header {
	h := http.Header{}
	for name, values := range n.Fields {
		for _, value := range values {
			h[name] = append(h[name], string(value))
		}
	}
	return h
}

// Conditions are the fields that say when the PUT may happen. Those of a PATCH take the place of all those of the
// creation.
var Conditions = []string{"If", "If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since", "Overwrite"}

// others are the other fields of a creation that the PUT has.
var others = []string{"Repr-Digest", "X-Oc-Mtime"}

// Fields are the fields of a header that belong to the PUT and not to a single request.
var Fields = slices.Concat(Conditions, others)

func kept(h http.Header, names ...string) http.Header {
	fields := http.Header{}
	for _, name := range names {
		if values := h.Values(name); len(values) > 0 {
			fields[name] = values
		}
	}
	return fields
}

func noteOf(state tree.UploadState) (n note) {
	_ = json.Unmarshal(state.Note, &n) // the store has checked that it is what was written
	return n
}
