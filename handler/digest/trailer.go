package digest

import (
	"crypto"
	"crypto/sha256"
	"hash"
	"net/http"
	"slices"
	"strings"

	"r-seed-1f3a754f.example/ifmatch/tree"
)

// AcceptsTrailer reports whether a client keeps trailer fields of an answer: it says so by TE (RFC 9110 §6.5.1, §10.1.4),
// and its version of HTTP has them.
func AcceptsTrailer(r *http.Request) bool {
	return r.ProtoAtLeast(1, 1) && slices.ContainsFunc(r.Header["Te"], func(line string) bool {
		return slices.ContainsFunc(strings.Split(line, ","), func(coding string) bool {
			return strings.EqualFold(strings.TrimSpace(coding), "trailers")
		})
	})
}

// A Trailer hashes a whole content while it is sent, because its tag is not known yet. It is an [io.Writer] that never
// fails.
type Trailer struct{ sum hash.Hash }

// NewTrailer announces ETag and Repr-Digest as trailer fields of an answer whose header is not sent yet.
func NewTrailer(h http.Header) Trailer {
	h["Trailer"] = []string{"ETag, Repr-Digest"}
	return Trailer{sha256.New()}
}

// Write hashes the next bytes of the content.
func (t Trailer) Write(p []byte) (int, error) { return t.sum.Write(p) }

// Set sets the two fields, after the last byte of the content. They are of the bytes that were sent.
func (t Trailer) Set(h http.Header) {
	sum := t.sum.Sum(nil)
	h["Etag"] = []string{string(tree.TagOf([sha256.Size]byte(sum)))}
	h["Repr-Digest"] = []string{writeDigest(nameOf(crypto.SHA256), sum)}
}
