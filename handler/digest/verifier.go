package digest

import (
	"bytes"
	"crypto"
	"hash"
	adler "hash/adler32"
	"io"
	"net/http"
	"slices"

	"r-seed-1f3a754f.example/ifmatch/tree"
)

// trailing has the fields that may come behind the body, each with the hash functions that it may use besides SHA-256.
var trailing = map[string][]crypto.Hash{
	"Content-Digest": {crypto.SHA512, crypto.SHA1, crypto.MD5},
	"Repr-Digest":    {crypto.SHA512, crypto.SHA1, crypto.MD5},
	"OC-Checksum":    {crypto.SHA1, crypto.MD5, adler32},
	"Digest":         {crypto.SHA512, crypto.SHA1, crypto.MD5, adler32},
	"Content-MD5":    {crypto.MD5},
}

// A MismatchError says that a body has another digest than a field of its request announces.
type MismatchError struct {
	Field     string
	Announced string // the value of the field
	Computed  string // the value that would have been true
}

func (e *MismatchError) Error() string {
	return "the body does not have the digest that " + e.Field + " announces"
}

// A Verifier compares the body of a PUT with the digest fields in its header and in its trailer section.
type Verifier struct {
	claims  []claim
	wanted  preference         // for the answer
	trailer func() http.Header // the trailer section: before the body was read, its announced fields without values
	sums    tree.Sums          // of the body (nil until all of it was read)
	adler   hash.Hash32
}

// NewVerifier reads the digest fields of a header. trailer returns the trailer section as net/http has it at that
// time. The error is a [FieldError].
func NewVerifier(h http.Header, trailer func() http.Header) (*Verifier, error) {
	all, err := claims(h)
	return &Verifier{claims: all, wanted: preferences(h, "Want-Repr-Digest"), trailer: trailer}, err
}

// Hashes returns the hash functions that the store must compute of the body besides SHA-256.
func (v *Verifier) Hashes() []crypto.Hash {
	return slices.DeleteFunc(v.functions(), func(h crypto.Hash) bool { return h == crypto.SHA256 || h == adler32 })
}

// Reader returns the body, which must be read through it: it computes the hashes that a store does not.
func (v *Verifier) Reader(body io.Reader) io.Reader {
	if !slices.Contains(v.functions(), adler32) {
		return body
	}
	v.adler = adler.New()
	return io.TeeReader(body, v.adler)
}

// functions returns the hash functions that may be needed.
func (v *Verifier) functions() (all []crypto.Hash) {
	for _, c := range v.claims {
		all = append(all, c.hash)
	}
	// RFC 9530 §6.4 allows a digest in the trailer section. Its hash function is not known until it comes.
	if trailer := v.trailer(); len(trailer) > 0 {
		for field, possible := range trailing {
			if _, announced := trailer[http.CanonicalHeaderKey(field)]; announced {
				all = append(all, possible...)
			}
		}
	}
	if v.wanted.best(true) == crypto.SHA512 {
		all = append(all, crypto.SHA512)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// Verify compares all claims with the hashes of the body, which must have been read. The error is a [MismatchError]
// or a [FieldError].
func (v *Verifier) Verify(sums tree.Sums) error {
	v.sums = sums
	behind, err := claims(v.trailer())
	if err != nil {
		return err
	}
	for _, c := range slices.Concat(v.claims, behind) {
		have, computed := sums[c.hash]
		if c.hash == adler32 && v.adler != nil {
			have, computed = v.adler.Sum(nil), true
		}
		if !computed {
			return &FieldError{"the trailer section has a " + c.field + " that was not announced, so the body was not hashed " +
				"for it; send Trailer: " + c.field + " in the header; nothing has changed"}
		}
		if !bytes.Equal(have, c.sum) {
			return &MismatchError{c.field, c.write(c.name, c.sum), c.write(c.name, have)}
		}
	}
	return nil
}

// Sums returns the hashes of the body, or nil until it was read.
func (v *Verifier) Sums() tree.Sums { return v.sums }

// Tag returns the ETag of the body or, until that was read, of the body that the header announces. It is "" where
// neither is known, and for a nil Verifier.
func (v *Verifier) Tag() tree.ETag {
	if v == nil {
		return ""
	}
	if v.sums != nil {
		return v.sums.Tag()
	}
	for _, c := range v.claims {
		if c.hash == crypto.SHA256 {
			return tree.TagOf([32]byte(c.sum))
		}
	}
	return ""
}

// SetField sets the Repr-Digest of the answer to the digest of the body, if the request asks for one.
func (v *Verifier) SetField(h http.Header) {
	if !v.wanted.given {
		return
	}
	if best := v.wanted.best(true); v.sums[best] != nil {
		h.Set("Repr-Digest", writeDigest(nameOf(best), v.sums[best]))
	}
}
