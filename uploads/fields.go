package uploads

import (
	"bytes"
	"crypto"
	_ "crypto/md5" // the functions of Algorithms
	_ "crypto/sha1"
	_ "crypto/sha256"
	_ "crypto/sha512"
	"encoding/base64"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"net/http"
	"strconv"
	"strings"
)

// Metadata are the pairs of an Upload-Metadata.
type Metadata map[string]string

// maxMetadata bounds the Upload-Metadata, in bytes. It is kept with the upload.
const maxMetadata = 16 << 10

// ParseMetadata reads an Upload-Metadata: pairs of a key and a value in Base64, with commas between them. A key may have
// no value.
func ParseMetadata(field string) (Metadata, error) {
	all := Metadata{}
	if len(field) > maxMetadata {
		return nil, fmt.Errorf("it has more than %d bytes", maxMetadata)
	}
	if strings.TrimSpace(field) == "" {
		return all, nil
	}
	for pair := range strings.SplitSeq(field, ",") {
		key, value, _ := strings.Cut(strings.Trim(pair, " \t"), " ")
		if key == "" || strings.ContainsFunc(key, func(r rune) bool { return r <= ' ' || r > '~' }) {
			return nil, errors.New("a key is empty, or not of ASCII letters")
		}
		if _, twice := all[key]; twice {
			return nil, fmt.Errorf("the key %s is there twice", key)
		}
		decoded, err := base64.StdEncoding.DecodeString(strings.Trim(value, " \t"))
		if err != nil {
			return nil, fmt.Errorf("the value of %s is not Base64", key)
		}
		all[key] = string(decoded)
	}
	return all, nil
}

// target returns the path of the target below the collection to which the POST was sent: the metadata path or, as rclone
// and ownCloud name it, filename. It is "" if there is neither: then the POST was sent to the target itself.
func (m Metadata) target() string {
	if path := m["path"]; path != "" {
		return path
	}
	return m["filename"]
}

// size reads a field with a number of bytes.
func size(h http.Header, field string) (int64, error) {
	values := h.Values(field)
	if len(values) != 1 {
		return 0, refuse(http.StatusBadRequest, "one %s is needed, in bytes", field)
	}
	n, err := ParseSize(values[0])
	if err != nil {
		return 0, refuse(http.StatusBadRequest, "%s: %v", field, err)
	}
	return n, nil
}

// ParseSize reads a number of bytes: decimal digits alone.
func ParseSize(s string) (int64, error) {
	if s == "" || strings.Trim(s, "0123456789") != "" {
		return 0, errors.New("it must be a number of bytes in decimal digits")
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return 0, errors.New("the number is too large")
	}
	return n, nil
}

// Algorithms are the names of the hash functions that an Upload-Checksum may have.
const Algorithms = "sha1,sha256,sha512,md5,crc32"

// StatusMismatch is the status of a part that has another checksum (tus, "Checksum").
const StatusMismatch = 460

func newHash(name string) hash.Hash {
	switch name {
	case "sha1":
		return crypto.SHA1.New()
	case "sha256":
		return crypto.SHA256.New()
	case "sha512":
		return crypto.SHA512.New()
	case "md5":
		return crypto.MD5.New()
	case "crc32":
		return crc32.NewIEEE()
	}
	return nil
}

// ParseChecksum reads an Upload-Checksum: the name of a hash function, and a hash in Base64.
func ParseChecksum(field string) (h hash.Hash, sum []byte, err error) {
	name, value, _ := strings.Cut(field, " ")
	if h = newHash(name); h == nil {
		return nil, nil, fmt.Errorf("the hash function must be one of %s", Algorithms)
	}
	sum, err = base64.StdEncoding.DecodeString(value)
	if err != nil || len(sum) != h.Size() {
		return nil, nil, fmt.Errorf("it is not a %s in Base64", name)
	}
	return h, sum, nil
}

// verified returns the body of a request, and the function that compares its checksum (nil: it has none).
func verified(r *http.Request) (body io.Reader, verify func() error, err error) {
	field := strings.Join(r.Header.Values("Upload-Checksum"), ", ") // of two, none can be read
	if field == "" {
		return r.Body, nil, nil
	}
	h, sum, err := ParseChecksum(field)
	if err != nil {
		return nil, nil, refuse(http.StatusBadRequest, "Upload-Checksum: %v", err)
	}
	return io.TeeReader(r.Body, h), func() error {
		if !bytes.Equal(h.Sum(nil), sum) {
			return refuse(StatusMismatch, "the part has another checksum than its Upload-Checksum; nothing of it was kept")
		}
		return nil
	}, nil
}
