package tree

import (
	"crypto"
	_ "crypto/md5" // the hash functions that a Sums can have
	_ "crypto/sha1"
	_ "crypto/sha256"
	_ "crypto/sha512"
	"encoding/base64"
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

// SumOf returns the SHA-256 that a tag encodes.
func SumOf(tag ETag) (sum []byte, ok bool) {
	if len(tag) < 2 {
		return nil, false
	}
	sum, err := base64.RawURLEncoding.Strict().DecodeString(string(tag[1 : len(tag)-1]))
	return sum, err == nil && len(sum) == crypto.SHA256.Size()
}
