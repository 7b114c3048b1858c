package tree

import (
	"crypto"
	_ "crypto/md5" // the hash functions that a Sums can have
	_ "crypto/sha1"
	_ "crypto/sha256"
	_ "crypto/sha512"
	"encoding/base64"
	"hash"
)

// Sums are hashes of one content by hash function.
type Sums map[crypto.Hash][]byte

// Tag returns the tag of the content, or "" if the SHA-256 is missing.
func (s Sums) Tag() ETag {
	sum, ok := s[crypto.SHA256]
	if !ok {
		return ""
	}
	return TagOf([32]byte(sum))
}

// SumsOf returns the SHA-256 of a content, and other hashes.
func SumsOf(data []byte, others ...crypto.Hash) Sums {
	h := NewHasher(others...)
	h.Write(data)
	return h.Sums()
}

// SumOf returns the SHA-256 that a tag encodes.
func SumOf(tag ETag) (sum []byte, ok bool) {
	if len(tag) < 2 {
		return nil, false
	}
	sum, err := base64.RawURLEncoding.Strict().DecodeString(string(tag[1 : len(tag)-1]))
	return sum, err == nil && len(sum) == crypto.SHA256.Size()
}

// A Hasher computes hashes of what is written to it.
type Hasher map[crypto.Hash]hash.Hash

// NewHasher returns a hasher that computes the SHA-256, and other hashes.
func NewHasher(others ...crypto.Hash) Hasher {
	h := Hasher{crypto.SHA256: crypto.SHA256.New()}
	for _, other := range others {
		h[other] = other.New()
	}
	return h
}

// Write implements [io.Writer].
func (h Hasher) Write(p []byte) (int, error) {
	for _, one := range h {
		one.Write(p)
	}
	return len(p), nil
}

// Sums returns the hashes of all that was written.
func (h Hasher) Sums() Sums {
	sums := Sums{}
	for of, one := range h {
		sums[of] = one.Sum(nil)
	}
	return sums
}
