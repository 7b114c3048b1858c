package digest

import (
	"bytes"
	"context"
	"crypto"
	"crypto/sha256"
	"crypto/sha512"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/dunglas/httpsfv"

	"r-seed-1f3a754f.example/ifmatch/tree"
)

func TestPreferences(t *testing.T) {
	for _, tt := range []struct {
		value string
		want  crypto.Hash // 0: none
	}{
		{"", crypto.SHA256},
		{"sha-256=1", crypto.SHA256},
		{"sha-512=1", crypto.SHA512},
		{"sha-512=3, sha-256=10", crypto.SHA256},
		{"sha-512=10, sha-256=3", crypto.SHA512},
		{"sha-512=5, sha-256=5", crypto.SHA256}, // which is there already
		{"sha-512=0", crypto.SHA256},
		{"sha-256=0", 0},
		{"sha-256=0, sha-512=1", crypto.SHA512},
		{"sha-256=0, sha-512=0", 0},
		{"md5=10, unixsum=3", crypto.SHA256}, // RFC 9530 §4: it is only a wish, and the known digest is better than none
		{"sha-512", crypto.SHA256},           // no weight
		{"sha-512=11", crypto.SHA256},        // not one either
		{"sha-512=0.5", crypto.SHA256},
		{"sha-512=1, ", crypto.SHA256}, // malformed
	} {
		h := http.Header{}
		if tt.value != "" {
			h.Set("Want-Repr-Digest", tt.value)
		}
		if got := preferences(h, "Want-Repr-Digest").best(true); got != tt.want {
			t.Errorf("%q gives %v, want %v", tt.value, got, tt.want)
		}
	}
}

// newMemory returns a memory whose turns come at once.
func newMemory() *Memory {
	return NewMemory(func(context.Context) (func(), error) { return func() {}, nil })
}

// A large content is not read for an unknown digest.
func TestDigestOfMuchIsNotComputed(t *testing.T) {
	sum := sha256.Sum256(nil)
	state := tree.State{Size: maxRead + 10, Tag: tree.TagOf(sum)}
	wish := preferences(http.Header{"Want-Repr-Digest": {"sha-512=1"}}, "Want-Repr-Digest")
	for _, tt := range []struct {
		about string
		of    tree.Part
		want  string
	}{
		{"all of it has the one that is known", tree.Part{Offset: 0, Length: state.Size}, writeDigest("sha-256", sum[:])},
		{"a large part has none", tree.Part{Offset: 5, Length: maxRead + 1}, ""},
	} {
		if got := newMemory().value(t.Context(), time.Time{}, nil, state, tt.of, wish); got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.about, got, tt.want)
		}
	}
}

// A digest that is computed from a file is sent only if the file is still the version of its tag.
func TestDigestOfAFileThatChanges(t *testing.T) {
	state := tree.State{Size: 3, Tag: tree.TagOf(sha256.Sum256([]byte("old")))}
	wish := preferences(http.Header{"Want-Repr-Digest": {"sha-512=1"}}, "Want-Repr-Digest")
	sum := sha512.Sum512([]byte("old"))
	for _, tt := range []struct {
		about   string
		content tree.Content
		state   tree.State
		of      tree.Part
		want    string
	}{
		{"unchanged", sentAs{nil, "old", nil}, state, tree.Part{Offset: 0, Length: 3}, writeDigest("sha-512", sum[:])},
		{"changed", sentAs{nil, "ne", tree.ErrChanged}, state, tree.Part{Offset: 0, Length: 3}, ""},
		{"a part, changed", sentAs{nil, "n", tree.ErrChanged}, state, tree.Part{Offset: 0, Length: 2}, ""},
		{"all, of no known version", sentAs{nil, "old", nil}, tree.State{Size: 3}, tree.Part{Offset: 0, Length: 3}, ""},
		{"a part, of no known version", sentAs{nil, "ol", nil}, tree.State{Size: 3}, tree.Part{Offset: 0, Length: 2}, ""},
	} {
		if got := newMemory().value(t.Context(), time.Time{}, tt.content, tt.state, tt.of, wish); got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.about, got, tt.want)
		}
	}
}

// sentAs is a content of which this is sent, before it fails.
type sentAs struct {
	io.ReaderAt
	sent string
	err  error
}

func (c sentAs) WriteRange(_ context.Context, w io.Writer, _, _ int64) (int64, error) {
	n, err := io.Copy(w, strings.NewReader(c.sent))
	return n, errors.Join(err, c.err)
}

func (sentAs) Close() error { return nil }

// FuzzClaims: each claim is written as a field that makes the same claim.
func FuzzClaims(f *testing.F) {
	for _, seed := range [][4]string{
		{"sha-256=:WJG1tSLV3whtD/CxEPvZ0hu0/HFjrzTQgoai6Eb2vgM=:", "", "", ""},
		{"", "md5=:AAAAAAAAAAAAAAAAAAAAAA==:, x;a=1", "", ""},
		{"", "", "AAAAAAAAAAAAAAAAAAAAAA==", ""},
		{"", "", "", "SHA1:f572d396fae9206628714fb2ce00f72e94f2258f ADLER32:1"},
	} {
		f.Add(seed[0], seed[1], seed[2], seed[3])
	}
	f.Fuzz(func(t *testing.T, content, repr, md5, oc string) {
		h := http.Header{}
		for name, value := range map[string]string{"Content-Digest": content, "Repr-Digest": repr, "Content-Md5": md5, "Oc-Checksum": oc} {
			if value != "" {
				h.Set(name, value)
			}
		}
		all, err := claims(h)
		if err != nil && !errors.As(err, new(*FieldError)) {
			t.Fatalf("%q: %v", h, err)
		}
		for _, c := range all {
			again, err := claims(http.Header{http.CanonicalHeaderKey(c.field): {c.write(c.name, c.sum)}})
			if err != nil || len(again) != 1 || again[0].hash != c.hash || !bytes.Equal(again[0].sum, c.sum) {
				t.Fatalf("%q claims %v, which reads as %v, %v", h, c, again, err)
			}
		}
	})
}

// FuzzPreferences: each field chooses a supported hash function, or none.
func FuzzPreferences(f *testing.F) {
	f.Add("sha-256=1, sha-512=3;q=1")
	f.Fuzz(func(t *testing.T, value string) {
		switch best := preferences(http.Header{"Want-Repr-Digest": {value}}, "Want-Repr-Digest").best(true); best {
		case 0, crypto.SHA256, crypto.SHA512:
		default:
			t.Fatalf("%q gives %v", value, best)
		}
	})
}

// writeDigest puts a dictionary together by hand. The library, which reads what clients send, would write the same.
func TestWriteDigestWritesADictionary(t *testing.T) {
	for name, size := range map[string]int{"sha-256": 32, "sha-512": 64, "md5": 16, "sha": 20} {
		sum := make([]byte, size)
		for i := range sum {
			sum[i] = byte(251 * i)
		}
		d := httpsfv.NewDictionary()
		d.Add(name, httpsfv.NewItem(sum))
		want, err := httpsfv.Marshal(d)
		if err != nil {
			t.Fatal(err)
		}
		if got := writeDigest(name, sum); got != want {
			t.Errorf("%s, not %s", got, want)
		}
	}
}

// TestDigestOfTag: the digest that is written from an ETag alone is that of the content.
func TestDigestOfTag(t *testing.T) {
	for i := range 300 {
		sum := sha256.Sum256([]byte{byte(i), byte(i >> 8)})
		want := writeDigest("sha-256", sum[:])
		if got := digestOfTag(tree.TagOf(sum)); got != want {
			t.Fatalf("content %d: %q, want %q", i, got, want)
		}
	}
	for _, tag := range []tree.ETag{"", `""`, `"x"`} {
		if got := digestOfTag(tag); got != "" {
			t.Errorf("the tag %s: %q, want none", tag, got)
		}
	}
}
