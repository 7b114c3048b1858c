package tree

import (
	"crypto"
	_ "crypto/md5" // what a Sums can hold
	_ "crypto/sha1"
	_ "crypto/sha256"
	_ "crypto/sha512"
	"encoding/base64"
)

// Sums are hashes of one content, by the function that made them.
type Sums map[crypto.Hash][]byte

// Tag returns the tag of the content; it is empty where the SHA-256 is not among the sums.
func (s Sums) Tag() ETag {
	sum, ok := s[crypto.SHA256]
	if !ok {
		return ""
	}
	return TagOf([32]byte(sum))
}

// SumOf returns the SHA-256 that a tag is made of.
func SumOf(tag ETag) (sum []byte, ok bool) {
	if len(tag) < 2 {
		return nil, false
	}
	sum, err := base64.RawURLEncoding.Strict().DecodeString(string(tag[1 : len(tag)-1]))
	return sum, err == nil && len(sum) == crypto.SHA256.Size()
}
