package digest

import (
	"crypto"
	"net/http"

	"github.com/dunglas/httpsfv"
)

// A preference is a Want-Repr-Digest or a Want-Content-Digest (RFC 9530 §4). The weights are from 1 to 10. A 0 means
// that the function is not acceptable, and -1 that the field does not mention it.
type preference struct {
	given          bool
	sha256, sha512 int64
}

// preferences reads one of the two fields. A malformed field is ignored, because it is only a wish.
func preferences(h http.Header, field string) preference {
	p := preference{sha256: -1, sha512: -1}
	lines := h.Values(field)
	if len(lines) == 0 {
		return p
	}
	dictionary, err := httpsfv.UnmarshalDictionary(lines)
	if err != nil {
		return p
	}
	weight := func(name string) int64 {
		member, _ := dictionary.Get(name)
		item, _ := member.(httpsfv.Item)
		if w, ok := item.Value.(int64); ok && w >= 0 && w <= 10 {
			p.given = true
			return w
		}
		return -1
	}
	p.sha256, p.sha512 = weight("sha-256"), weight("sha-512")
	return p
}

// best returns the hash function to answer with, or 0 for none. A client that prefers an unsupported function gets
// the SHA-256, which is known. The SHA-512 must be computed, and compute says whether that is possible.
func (p preference) best(compute bool) crypto.Hash {
	switch {
	case compute && p.sha512 > 0 && p.sha512 > p.sha256:
		return crypto.SHA512
	case p.sha256 != 0:
		return crypto.SHA256
	}
	return 0
}

// nameOf returns the name of a hash function in Content-Digest and Repr-Digest.
func nameOf(h crypto.Hash) string {
	if h == crypto.SHA512 {
		return "sha-512"
	}
	return "sha-256"
}
