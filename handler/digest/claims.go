// Package digest handles the header fields that tell hashes of a content: Content-Digest and Repr-Digest (RFC 9530),
// with the fields that ask for them, and the older Digest, Content-MD5 and OC-Checksum.
//
// A [Verifier] compares the body of a PUT with the fields of its request. A [Memory] sets the fields of the answer to a
// GET.
package digest

import (
	"crypto"
	"encoding/base64"
	"encoding/hex"
	adler "hash/adler32"
	"net/http"
	"strings"

	"github.com/dunglas/httpsfv"

	"r-seed-1f3a754f.example/ifmatch/internal/excerpt"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

// digestNames has the hash functions by their names in Content-Digest and Repr-Digest (RFC 9530 §5 and its registry).
// The broken functions are checked where a client sends them, and never offered.
var digestNames = map[string]crypto.Hash{
	"sha-256": crypto.SHA256,
	"sha-512": crypto.SHA512,
	"sha":     crypto.SHA1,
	"md5":     crypto.MD5,
}

// adler32 stands for Adler-32 among the hash functions. Package crypto has no number for it, because it is no
// cryptographic hash, and a store does not compute it.
const adler32 = crypto.Hash(1 << 16)

// checksumNames has the hash functions by their names in OC-Checksum, in upper case.
var checksumNames = map[string]crypto.Hash{
	"SHA256":  crypto.SHA256,
	"SHA1":    crypto.SHA1,
	"MD5":     crypto.MD5,
	"ADLER32": adler32,
}

// instanceNames has the hash functions by their names in Digest (RFC 3230 §4.1.1 and its registry), in upper case.
var instanceNames = map[string]crypto.Hash{
	"SHA-256": crypto.SHA256,
	"SHA-512": crypto.SHA512,
	"SHA":     crypto.SHA1,
	"MD5":     crypto.MD5,
	"ADLER32": adler32,
}

func sizeOf(h crypto.Hash) int {
	if h == adler32 {
		return adler.Size
	}
	return h.Size()
}

// A claim is the statement of a field about the content of a PUT.
type claim struct {
	field string
	name  string // of the hash function, as written in the field
	hash  crypto.Hash
	sum   []byte
	write func(name string, sum []byte) string // returns the field that makes the same claim with another sum
}

// A FieldError says why a digest field cannot be used: it is malformed, or came unannounced behind the body.
type FieldError struct{ Detail string }

func (e *FieldError) Error() string { return e.Detail }

func malformed(field, value string) error {
	return &FieldError{"malformed " + field + ": " + excerpt.Of(value)}
}

// writeDigest writes a dictionary of one digest (RFC 8941 §3.2), for Content-Digest or Repr-Digest. Each answer to a GET
// has one, so it is made without the library, and without its allocations.
func writeDigest(name string, sum []byte) string {
	var b [maxDigestValue]byte
	value := append(append(b[:0], name...), "=:"...)
	return string(append(base64.StdEncoding.AppendEncode(value, sum), ':'))
}

// digestOfTag returns the value of Repr-Digest that has the hash of a tag, or "" if the tag is not known. The tag has
// other letters for two of the digits, and no padding (RFC 4648 §4, §5).
func digestOfTag(tag tree.ETag) string {
	if len(tag) != 2+43 {
		return ""
	}
	var b [maxDigestValue]byte
	value := append(b[:0], "sha-256=:"...)
	for _, digit := range []byte(tag[1 : len(tag)-1]) {
		switch digit {
		case '-':
			digit = '+'
		case '_':
			digit = '/'
		}
		value = append(value, digit)
	}
	return string(append(value, "=:"...))
}

// maxDigestValue holds each digest that is written, with its name: SHA-512 has 88 digits.
const maxDigestValue = 128

func writeMD5(_ string, sum []byte) string { return base64.StdEncoding.EncodeToString(sum) }

func writeInstance(name string, sum []byte) string { return name + "=" + writeMD5("", sum) }

func writeInstanceHex(name string, sum []byte) string { return name + "=" + hex.EncodeToString(sum) }

func writeChecksum(name string, sum []byte) string { return name + ":" + hex.EncodeToString(sum) }

// The names of two fields as net/http spells them, which would be found out anew for each request.
var (
	md5Field      = http.CanonicalHeaderKey("Content-MD5")
	checksumField = http.CanonicalHeaderKey("OC-Checksum")
)

// claims reads the digest fields of a header. An unknown hash function makes no claim (RFC 9530 §2). A malformed
// field is a [FieldError], because its client wants the body to be checked.
func claims(h http.Header) (all []claim, err error) {
	for _, field := range []string{"Content-Digest", "Repr-Digest"} {
		found, err := digests(field, h.Values(field))
		if err != nil {
			return nil, err
		}
		all = append(all, found...)
	}
	for _, value := range h[md5Field] { // RFC 1864
		sum, err := base64.StdEncoding.DecodeString(strings.TrimSpace(value))
		if err != nil || len(sum) != crypto.MD5.Size() {
			return nil, malformed("Content-MD5", value)
		}
		all = append(all, claim{"Content-MD5", "", crypto.MD5, sum, writeMD5})
	}
	for _, value := range h[checksumField] {
		for one := range strings.FieldsSeq(value) {
			name, digits, ok := strings.Cut(one, ":")
			known, supported := checksumNames[strings.ToUpper(name)]
			if ok && !supported {
				continue
			}
			sum, err := hex.DecodeString(digits)
			if !ok || err != nil || len(sum) != sizeOf(known) {
				return nil, malformed("OC-Checksum", value)
			}
			all = append(all, claim{"OC-Checksum", name, known, sum, writeChecksum})
		}
	}
	for _, value := range h.Values("Digest") {
		found, err := instanceDigests(value)
		if err != nil {
			return nil, err
		}
		all = append(all, found...)
	}
	return all, nil
}

// instanceDigests reads a Digest (RFC 3230 §4.3.2). RFC 9530 has made the field obsolete, but some clients still send
// it.
func instanceDigests(value string) (all []claim, err error) {
	for one := range strings.SplitSeq(value, ",") {
		name, encoded, ok := strings.Cut(strings.TrimSpace(one), "=")
		known, supported := instanceNames[strings.ToUpper(name)]
		if ok && !supported || one == "" {
			continue
		}
		decode, write := base64.StdEncoding.DecodeString, writeInstance
		if known == adler32 {
			decode, write = hex.DecodeString, writeInstanceHex
		}
		sum, err := decode(encoded)
		if !ok || err != nil || len(sum) != sizeOf(known) {
			return nil, malformed("Digest", value)
		}
		all = append(all, claim{"Digest", name, known, sum, write})
	}
	return all, nil
}

// digests reads a Content-Digest or a Repr-Digest: a dictionary of byte sequences (RFC 9530 §2, §3). For a PUT both
// mean the same, because its body is never a part, and has no coding.
func digests(field string, lines []string) (all []claim, err error) {
	if len(lines) == 0 {
		return nil, nil
	}
	dictionary, err := httpsfv.UnmarshalDictionary(lines)
	if err != nil {
		return nil, malformed(field, strings.Join(lines, ", "))
	}
	for _, name := range dictionary.Names() {
		known, supported := digestNames[name]
		if !supported {
			continue
		}
		member, _ := dictionary.Get(name)
		item, _ := member.(httpsfv.Item)
		sum, ok := item.Value.([]byte)
		if !ok || len(sum) != known.Size() {
			return nil, malformed(field, strings.Join(lines, ", "))
		}
		all = append(all, claim{field, name, known, sum, writeDigest})
	}
	return all, nil
}
