package handler

import (
	"bytes"
	"context"
	"crypto"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"hash"
	adler "hash/adler32"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/dunglas/httpsfv"
	lru "github.com/hashicorp/golang-lru/v2"

	"ifmatch/tree"
)

// The hash functions by their names in digest fields (RFC 9530 §5 and the registry it sets up). A client that means the
// old ones well is checked by them; they are never offered.
var digestNames = map[string]crypto.Hash{
	"sha-256": crypto.SHA256,
	"sha-512": crypto.SHA512,
	"sha":     crypto.SHA1,
	"md5":     crypto.MD5,
}

// adler32 stands for Adler-32 among the hash functions. It is no cryptographic one, so package crypto has no number for it,
// and a store is not asked for it.
const adler32 = crypto.Hash(1 << 16)

// The hash functions by their names in OC-Checksum, in upper case.
var checksumNames = map[string]crypto.Hash{
	"SHA256":  crypto.SHA256,
	"SHA1":    crypto.SHA1,
	"MD5":     crypto.MD5,
	"ADLER32": adler32,
}

// The hash functions by their names in Digest (RFC 3230 §4.1.1 and its registry), in upper case.
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

// trailing are the fields that may come behind the body, and the hash functions, besides SHA-256, that they can be by.
var trailing = map[string][]crypto.Hash{
	"Content-Digest": {crypto.SHA512, crypto.SHA1, crypto.MD5},
	"Repr-Digest":    {crypto.SHA512, crypto.SHA1, crypto.MD5},
	"OC-Checksum":    {crypto.SHA1, crypto.MD5, adler32},
	"Digest":         {crypto.SHA512, crypto.SHA1, crypto.MD5, adler32},
	"Content-MD5":    {crypto.MD5},
}

// A claim is what a field says of the content of a PUT.
type claim struct {
	field string
	name  string // of the hash function, as the field has it
	hash  crypto.Hash
	sum   []byte
	write func(name string, sum []byte) string
}

// A digestError says that a body is not what a field says it is.
type digestError struct {
	claim
	have []byte
}

func (e *digestError) Error() string {
	return fmt.Sprintf("the body is not what %s says it is", e.field)
}

// writeDigest writes a dictionary of one digest (RFC 8941 §3.2). It is in every answer to a GET, so it is put together
// by hand.
func writeDigest(name string, sum []byte) string {
	var b [maxDigestValue]byte
	value := append(append(b[:0], name...), "=:"...)
	return string(append(base64.StdEncoding.AppendEncode(value, sum), ':'))
}

// maxDigestValue is enough for every digest that is written, with its name: SHA-512 has 88 digits.
const maxDigestValue = 128

func writeMD5(_ string, sum []byte) string { return base64.StdEncoding.EncodeToString(sum) }

func writeInstance(name string, sum []byte) string { return name + "=" + writeMD5("", sum) }

func writeInstanceHex(name string, sum []byte) string { return name + "=" + hex.EncodeToString(sum) }

func writeChecksum(name string, sum []byte) string { return name + ":" + hex.EncodeToString(sum) }

// claims reads the fields that say what a content is. A hash function that is not known is no claim (RFC 9530 §2); what
// cannot be read is an error, because whoever sends it wants the body checked.
func claims(h http.Header) (all []claim, err error) {
	for _, field := range []string{"Content-Digest", "Repr-Digest"} {
		found, err := digests(field, h.Values(field))
		if err != nil {
			return nil, err
		}
		all = append(all, found...)
	}
	for _, value := range h.Values("Content-MD5") { // RFC 1864
		sum, err := base64.StdEncoding.DecodeString(strings.TrimSpace(value))
		if err != nil || len(sum) != crypto.MD5.Size() {
			return nil, malformed("Content-MD5", value)
		}
		all = append(all, claim{"Content-MD5", "", crypto.MD5, sum, writeMD5})
	}
	for _, value := range h.Values("OC-Checksum") {
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

// instanceDigests reads a Digest, which RFC 9530 has made obsolete and some clients still send (RFC 3230 §4.3.2).
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

// digests reads a Content-Digest or a Repr-Digest: a dictionary of byte sequences (RFC 9530 §2, §3). For a PUT they are
// the same, because it has no part and no coding.
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

func malformed(field, value string) error {
	return &statusError{status: http.StatusBadRequest, detail: "malformed " + field + ": " + Brief(value)}
}

// A verifier compares the body of a PUT with what was said of it, in the header or behind the body.
type verifier struct {
	claims []claim
	wanted preference // for the answer
	later  func() http.Header
	sums   tree.Sums // what was read; nil until all is
	adler  hash.Hash32
}

func newVerifier(r *request) (v *verifier, err error) {
	v = &verifier{wanted: preferences(r.Header, "Want-Repr-Digest"), later: func() http.Header { return r.arrived.Trailer }}
	v.claims, err = claims(r.Header)
	return v, err
}

// hashes are the functions that the store must hash the body with, besides SHA-256.
func (v *verifier) hashes() []crypto.Hash {
	return slices.DeleteFunc(v.functions(), func(h crypto.Hash) bool { return h == crypto.SHA256 || h == adler32 })
}

// reader returns the body, which is hashed as it is read by the functions that the store is not asked for.
func (v *verifier) reader(body io.Reader) io.Reader {
	if !slices.Contains(v.functions(), adler32) {
		return body
	}
	v.adler = adler.New()
	return io.TeeReader(body, v.adler)
}

func (v *verifier) functions() (all []crypto.Hash) {
	for _, c := range v.claims {
		all = append(all, c.hash)
	}
	// RFC 9530 §6.4 allows a digest in the trailer section. By which function it will be is not known until it comes.
	for field, possible := range trailing {
		if _, announced := v.later()[http.CanonicalHeaderKey(field)]; announced {
			all = append(all, possible...)
		}
	}
	if v.wanted.best(true) == crypto.SHA512 {
		all = append(all, crypto.SHA512)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// verify is asked when the body has been read. What is said of it is compared, or refused.
func (v *verifier) verify(sums tree.Sums) error {
	v.sums = sums
	behind, err := claims(v.later())
	if err != nil {
		return err
	}
	for _, c := range slices.Concat(v.claims, behind) {
		have, computed := sums[c.hash]
		if c.hash == adler32 && v.adler != nil {
			have, computed = v.adler.Sum(nil), true
		}
		if !computed {
			return &statusError{status: http.StatusBadRequest, detail: "the trailer section has a " + c.field + " that the body was " +
				"not hashed for, as it was not announced; send Trailer: " + c.field + " in the header; nothing has changed"}
		}
		if !bytes.Equal(have, c.sum) {
			return &digestError{c, have}
		}
	}
	return nil
}

// content returns the tag of what the client sent or, as long as that has not been read, of what it says that it sends.
// It is empty where neither is known.
func (v *verifier) content() tree.ETag {
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

// answer has the answer say what has been stored, to those who want to know.
func (v *verifier) answer(h http.Header) {
	if !v.wanted.given {
		return
	}
	if best := v.wanted.best(true); v.sums[best] != nil {
		h.Set("Repr-Digest", writeDigest(nameOf(best), v.sums[best]))
	}
}

func nameOf(h crypto.Hash) string {
	if h == crypto.SHA512 {
		return "sha-512"
	}
	return "sha-256"
}

// A preference is what a Want-Repr-Digest or Want-Content-Digest asks for (RFC 9530 §4): a weight from 1 to 10, 0 for
// what is not acceptable, and -1 for what is not mentioned.
type preference struct {
	given          bool
	sha256, sha512 int64
}

// preferences reads one of the two fields. It is a wish: what is malformed is ignored.
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

// best returns the hash function to answer with, 0 for none. The SHA-256 is known, so it is what those get who want
// another that we do not have; the SHA-512 has to be computed, and whether that can be is for the caller to say.
func (p preference) best(compute bool) crypto.Hash {
	switch {
	case compute && p.sha512 > 0 && p.sha512 > p.sha256:
		return crypto.SHA512
	case p.sha256 != 0:
		return crypto.SHA256
	}
	return 0
}

// maxDigested bounds, in bytes, what is read to answer a wish for a digest that is not known.
const maxDigested = 64 << 20

// describeContent sets the digest fields of a GET or HEAD: Repr-Digest of the whole version, whichever part of it is sent
// (RFC 9530 §3), and Content-Digest, if it is wanted, of what is sent.
func (s *server) describeContent(ctx context.Context, h http.Header, r *request, content tree.Content, state tree.State, sent []part) {
	set := func(field string, of part, wanted preference) {
		if value := s.digestInTurn(ctx, r.tagDeadline, content, state, of, wanted); value != "" {
			h.Set(field, value)
		}
	}
	set("Repr-Digest", part{0, state.Size}, preferences(r.Header, "Want-Repr-Digest"))
	// Several parts are sent with what is between them, and a HEAD is answered with nothing: no digest of ours is of those.
	if wanted := preferences(r.Header, "Want-Content-Digest"); wanted.given && r.Method == http.MethodGet && len(sent) == 1 {
		set("Content-Digest", sent[0], wanted)
	}
}

// digestInTurn is digestOf that remembers the digests of whole contents, and waits for its turn where there is much to
// read: as long as an answer waits for what it can do without.
func (s *server) digestInTurn(
	ctx context.Context, deadline time.Time, content tree.Content, state tree.State, of part, wanted preference,
) string {
	with := wanted.best(of.length <= maxDigested)
	whole := of.length == state.Size
	if with == 0 || whole && with == crypto.SHA256 {
		return digestOf(ctx, content, state, of, wanted)
	}
	ctx, cancel := tree.Patience(ctx, deadline)
	defer cancel()
	compute := func() string {
		if of.length > hashedAtOnce {
			slot, err := s.Pools.Hashes.Acquire(ctx, tree.ClientOf(ctx), admitPatience, nil)
			if err != nil {
				return ""
			}
			defer slot.Release()
		}
		return digestOf(ctx, content, state, of, wanted)
	}
	if !whole || state.Tag == "" {
		return compute()
	}
	return s.digests.get(ctx, state.Tag, compute)
}

// hashedAtOnce is how much, in bytes, is hashed without waiting for a turn: a millisecond's work.
const hashedAtOnce = 1 << 20

// digestOf returns the value of a digest field for a part of a content, or "" where none can be had.
func digestOf(ctx context.Context, content tree.Content, state tree.State, of part, wanted preference) string {
	with := wanted.best(of.length <= maxDigested)
	whole := of.length == state.Size
	sum, known := tree.SumOf(state.Tag)
	switch {
	case with == 0, !known, of.length > maxDigested && !whole:
		return ""
	case with != crypto.SHA256 || !whole:
		var err error
		if sum, err = hashPart(ctx, content, of, with); err != nil {
			return ""
		}
	}
	return writeDigest(nameOf(with), sum)
}

// hashPart hashes a part of a content.
func hashPart(ctx context.Context, content tree.Content, of part, with crypto.Hash) ([]byte, error) {
	sum := with.New()
	_, err := content.WriteRange(ctx, sum, of.from, of.length)
	return sum.Sum(nil), err
}

// digestMemory remembers the values of Repr-Digest that took reading a content, by its tag, which stands for what is in
// it. What many ask for at once is computed once.
type digestMemory struct {
	mu      sync.Mutex
	known   *lru.Cache[tree.ETag, string]
	running map[tree.ETag]chan struct{} // closed at the end
}

// digestsKept bounds the digests that are remembered.
const digestsKept = 4096

func newDigests() *digestMemory {
	known, _ := lru.New[tree.ETag, string](digestsKept) // fails for a size below one
	return &digestMemory{known: known, running: map[tree.ETag]chan struct{}{}}
}

// keep remembers what was computed of the body of a PUT.
func (d *digestMemory) keep(sums tree.Sums) {
	if sum, ok := sums[crypto.SHA512]; ok && sums.Tag() != "" {
		d.known.Add(sums.Tag(), writeDigest(nameOf(crypto.SHA512), sum))
	}
}

// get returns what is remembered of a tag, or computes it: "" where it fails. If somebody does that already, it waits; if
// they fail, it tries itself.
func (d *digestMemory) get(ctx context.Context, tag tree.ETag, compute func() string) string {
	for {
		d.mu.Lock()
		value, ok := d.known.Get(tag)
		running := d.running[tag]
		if !ok && running == nil {
			d.running[tag] = make(chan struct{})
		}
		d.mu.Unlock()
		switch {
		case ok:
			return value
		case running == nil:
			return d.compute(tag, compute)
		}
		select {
		case <-running:
		case <-ctx.Done():
			return ""
		}
	}
}

func (d *digestMemory) compute(tag tree.ETag, compute func() string) (value string) {
	defer func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		if value != "" {
			d.known.Add(tag, value)
		}
		close(d.running[tag])
		delete(d.running, tag)
	}()
	return compute()
}
