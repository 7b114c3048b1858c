package handler

import (
	"bytes"
	"context"
	"crypto"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"fmt"
	adler "hash/adler32"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dunglas/httpsfv"

	"ifmatch/tree"
)

// A digest may stand behind the body (RFC 9530 §6.4), over both versions of HTTP.
func TestDigestInTrailer(t *testing.T) {
	h := inMemory(t, Config{})
	clients := map[int]*http.Client{}
	urls := map[int]string{}
	for proto := 1; proto <= 2; proto++ {
		server := httptest.NewUnstartedServer(h)
		server.EnableHTTP2 = proto == 2
		server.StartTLS()
		defer server.Close()
		clients[proto], urls[proto] = server.Client(), server.URL
	}

	sum256, sum512 := sha256.Sum256([]byte("content")), sha512.Sum512([]byte("content"))
	sum1, sumMD5 := sha1.Sum([]byte("content")), md5.Sum([]byte("content"))
	adlerSum := adler32Of("content")
	good256, good512 := writeDigest("sha-256", sum256[:]), writeDigest("sha-512", sum512[:])
	bad256, bad512 := writeDigest("sha-256", make([]byte, 32)), writeDigest("sha-512", make([]byte, 64))
	for _, tt := range []struct {
		about  string
		field  string
		value  string
		status int
	}{
		{"sha-256", "Content-Digest", good256, 204},
		{"sha-512", "Repr-Digest", good512, 204},
		{"another sha-256", "Content-Digest", bad256, 400},
		{"another sha-512", "Repr-Digest", bad512, 400},
		{"of two, one", "Repr-Digest", good256 + ", " + bad512, 400},
		{"another Content-MD5", "Content-Md5", "AAAAAAAAAAAAAAAAAAAAAA==", 400},
		{"md5", "Repr-Digest", writeDigest("md5", sumMD5[:]), 204},
		{"another md5", "Repr-Digest", "md5=:AAAAAAAAAAAAAAAAAAAAAA==:", 400},
		{"another md5 of the content", "Content-Digest", "md5=:AAAAAAAAAAAAAAAAAAAAAA==:", 400},
		{"sha", "Content-Digest", writeDigest("sha", sum1[:]), 204},
		{"another sha", "Repr-Digest", writeDigest("sha", make([]byte, 20)), 400},
		{"all right but the last", "Repr-Digest", good256 + ", " + good512 + ", md5=:AAAAAAAAAAAAAAAAAAAAAA==:", 400},
		{"OC-Checksum", "Oc-Checksum", writeChecksum("SHA1", sum1[:]) + " " + writeChecksum("MD5", sumMD5[:]), 204},
		{"another SHA1 in OC-Checksum", "Oc-Checksum", writeChecksum("SHA1", make([]byte, 20)), 400},
		{"another MD5 in OC-Checksum", "Oc-Checksum", writeChecksum("MD5", make([]byte, 16)), 400},
		{"another SHA256 in OC-Checksum", "Oc-Checksum", writeChecksum("SHA256", make([]byte, 32)), 400},
		{"malformed OC-Checksum", "Oc-Checksum", "SHA1:xyz", 400},
		{"Adler-32 in OC-Checksum", "Oc-Checksum", writeChecksum("ADLER32", adlerSum), 204},
		{"another Adler-32 in OC-Checksum", "Oc-Checksum", "Adler32:00000001", 400},
		{"an Adler-32 of the wrong length", "Oc-Checksum", "ADLER32:01", 400},
		{"Digest", "Digest", writeInstance("SHA", sum1[:]) + ", " + writeInstance("md5", sumMD5[:]) + ",adler32=" + hex.EncodeToString(adlerSum), 204},
		{"another SHA-256 in Digest", "Digest", writeInstance("SHA-256", make([]byte, 32)), 400},
		{"another SHA-512 in Digest", "Digest", writeInstance("sha-512", make([]byte, 64)), 400},
		{"another SHA in Digest", "Digest", writeInstance("SHA", make([]byte, 20)), 400},
		{"another Adler-32 in Digest", "Digest", "ADLER32=00000001", 400},
		{"of two in Digest, one", "Digest", writeInstance("SHA", sum1[:]) + "," + writeInstance("MD5", make([]byte, 16)), 400},
		{"malformed Digest", "Digest", "SHA-256", 400},
		{"a Digest of nothing known", "Digest", "UNIXsum=30637", 204},
		{"malformed Content-MD5", "Content-Md5", "short", 400},
		{"a digest of the wrong length", "Repr-Digest", "md5=:AAAA:", 400},
		{"malformed", "Repr-Digest", "sha-256", 400},
		{"of nothing known", "Repr-Digest", "crc32c=:AAAAAA==:", 204},
	} {
		for proto, client := range clients {
			ask(t, h, "PUT", "/f", "old")
			// Of no known length, so that it is chunked.
			req, err := http.NewRequestWithContext(t.Context(), "PUT", urls[proto]+"/f", io.MultiReader(strings.NewReader("content")))
			if err != nil {
				t.Fatal(err)
			}
			req.Trailer = http.Header{tt.field: {tt.value}}
			answer, err := client.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			answer.Body.Close()
			if answer.StatusCode != tt.status || answer.ProtoMajor != proto {
				t.Errorf("%s: %s %s, want %d", tt.about, answer.Proto, answer.Status, tt.status)
			}
			want := "content"
			if tt.status != 204 {
				want = "old"
			}
			if got := ask(t, h, "GET", "/f", "").Body.String(); got != want {
				t.Errorf("%s: the file is %q", tt.about, got)
			}
		}
	}
}

// adler32Of returns the Adler-32 of a text.
func adler32Of(text string) []byte {
	h := adler.New()
	io.WriteString(h, text)
	return h.Sum(nil)
}

// What comes behind the body without having been announced is compared too, or refused where it was not computed. Over
// HTTP/2, net/http throws it away.
func TestDigestInATrailerThatWasNotAnnounced(t *testing.T) {
	sum256, sum1 := sha256.Sum256([]byte("content")), sha1.Sum([]byte("content"))
	for _, tt := range []struct {
		header, trailer string
		status          string
	}{
		{"", "Repr-Digest: " + writeDigest("sha-256", sum256[:]), "201"},
		{"", "Repr-Digest: " + writeDigest("sha-256", make([]byte, 32)), "400"},
		{"", "Repr-Digest: sha-256", "400"},
		{"", "Repr-Digest: " + writeDigest("sha", sum1[:]), "400"},
		{"Trailer: Repr-Digest", "Repr-Digest: " + writeDigest("sha", sum1[:]), "201"},
		{"Trailer: repr-digest", "repr-digest: " + writeDigest("sha", make([]byte, 20)), "400"},
		{"Trailer: X", "Repr-Digest: " + writeDigest("sha", sum1[:]), "400"},
		{"OC-Checksum: " + writeChecksum("SHA1", sum1[:]), "Repr-Digest: " + writeDigest("sha", make([]byte, 20)), "400"},
		{"Trailer: OC-Checksum", "OC-Checksum: " + writeChecksum("ADLER32", adler32Of("content")), "201"},
		{"Trailer: OC-Checksum", "OC-Checksum: ADLER32:00000001", "400"},
		{"", "OC-Checksum: " + writeChecksum("ADLER32", adler32Of("content")), "400"},
		{"Trailer: Digest", "Digest: " + writeInstance("MD5", make([]byte, 16)), "400"},
		{"Trailer: Repr-Digest", "X: nothing of that came", "201"},
		{"", "X: y", "201"},
	} {
		for _, wait := range []time.Duration{0, time.Minute} { // with, the request gets a context of its own
			server := httptest.NewServer(inMemory(t, Config{TagWait: wait}))
			conn, err := net.Dial("tcp", server.Listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			header := "PUT /f HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n"
			if tt.header != "" {
				header += tt.header + "\r\n"
			}
			fmt.Fprintf(conn, "%s\r\n7\r\ncontent\r\n0\r\n%s\r\n\r\n", header, tt.trailer)
			answer, err := io.ReadAll(conn)
			if err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 "+tt.status) {
				t.Errorf("%q and %q: got %q, error %v, want %s", tt.header, tt.trailer, answer, err, tt.status)
			}
			conn.Close()
			server.Close()
		}
	}
}

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
		{"md5=10, unixsum=3", crypto.SHA256}, // RFC 9530 §4: a wish, and what we have is better than nothing
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

// What is not known and large is not read for a wish.
func TestDigestOfMuchIsNotComputed(t *testing.T) {
	sum := sha256.Sum256(nil)
	state := tree.State{Size: maxDigested + 10, Tag: tree.TagOf(sum)}
	wish := preferences(http.Header{"Want-Repr-Digest": {"sha-512=1"}}, "Want-Repr-Digest")
	for _, tt := range []struct {
		about string
		of    part
		want  string
	}{
		{"all of it has the one that is known", part{0, state.Size}, writeDigest("sha-256", sum[:])},
		{"a large part has none", part{5, maxDigested + 1}, ""},
	} {
		if got := digestOf(t.Context(), nil, state, tt.of, wish); got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.about, got, tt.want)
		}
	}
}

// A digest that is computed from a file is told only if that is still what its tag says.
func TestDigestOfAFileThatChanges(t *testing.T) {
	state := tree.State{Size: 3, Tag: tree.TagOf(sha256.Sum256([]byte("old")))}
	wish := preferences(http.Header{"Want-Repr-Digest": {"sha-512=1"}}, "Want-Repr-Digest")
	sum := sha512.Sum512([]byte("old"))
	for _, tt := range []struct {
		about   string
		content tree.Content
		state   tree.State
		of      part
		want    string
	}{
		{"unchanged", sentAs{nil, "old", nil}, state, part{0, 3}, writeDigest("sha-512", sum[:])},
		{"changed", sentAs{nil, "ne", tree.ErrChanged}, state, part{0, 3}, ""},
		{"a part, changed", sentAs{nil, "n", tree.ErrChanged}, state, part{0, 2}, ""},
		{"all, of no known version", sentAs{nil, "old", nil}, tree.State{Size: 3}, part{0, 3}, ""},
		{"a part, of no known version", sentAs{nil, "ol", nil}, tree.State{Size: 3}, part{0, 2}, ""},
	} {
		if got := digestOf(t.Context(), tt.content, tt.state, tt.of, wish); got != tt.want {
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

// FuzzClaims: whatever is taken for a claim is written as a field that makes the same claim.
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
		if status := new(statusError); err != nil && (!errors.As(err, &status) || status.status != http.StatusBadRequest) {
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

// FuzzPreferences: whatever is sent, a hash function that we have is chosen, or none.
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

// read counts how often a content is read.
type read struct {
	tree.Store
	times atomic.Int32
	begun chan struct{} // if not nil, gets a value for each
	goOn  chan struct{} // and each waits for this to be closed, or for its request to end
}

func (s *read) Open(ctx context.Context, name string, opts tree.ReadOptions, cond tree.Condition) (tree.Content, tree.State, error) {
	content, state, err := s.Store.Open(ctx, name, opts, cond)
	return readContent{content, s}, state, err
}

type readContent struct {
	tree.Content
	s *read
}

func (c readContent) WriteRange(ctx context.Context, w io.Writer, offset, length int64) (int64, error) {
	c.s.times.Add(1)
	if c.s.begun != nil {
		c.s.begun <- struct{}{}
		select {
		case <-c.s.goOn:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
	return c.Content.WriteRange(ctx, w, offset, length)
}

// A digest that was asked for is remembered, for all who ask for the same content: under another name too, and what a PUT
// has said.
func TestDigestsAreRemembered(t *testing.T) {
	store := &read{Store: storeInMemory(t, "f=hello", "g=hello", "h=other")}
	h := newTestHandler(t, Config{Store: store})
	digestFor := func(target string) string {
		return ask(t, h, "HEAD", target, "", "Want-Repr-Digest: sha-512=1").Header().Get("Repr-Digest")
	}
	sum := sha512.Sum512([]byte("hello"))
	want := writeDigest("sha-512", sum[:])
	for _, target := range []string{"/f", "/f", "/g"} {
		if got := digestFor(target); got != want {
			t.Errorf("%s: got %s, want %s", target, got, want)
		}
	}
	if n := store.times.Load(); n != 1 {
		t.Errorf("it was read %d times, want once", n)
	}
	ask(t, h, "PUT", "/h", "new", "Want-Repr-Digest: sha-512=1")
	sum = sha512.Sum512([]byte("new"))
	if got := digestFor("/h"); got != writeDigest("sha-512", sum[:]) || store.times.Load() != 1 {
		t.Errorf("after a PUT that has it: got %s, read %d times", got, store.times.Load())
	}
}

// Of many who ask at once one reads; should that one give up, another does.
func TestDigestsAreComputedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &read{Store: storeInMemory(t, "f=hello"), begun: make(chan struct{}, 20), goOn: make(chan struct{})}
		h := newTestHandler(t, Config{Store: store})
		answers := make(chan string, 20)
		head := func(ctx context.Context) {
			r := httptest.NewRequestWithContext(ctx, "HEAD", "http://localhost/f", nil)
			r.Header.Set("Want-Repr-Digest", "sha-512=1")
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			answers <- w.Header().Get("Repr-Digest")
		}
		first, giveUp := context.WithCancel(t.Context())
		go head(first)
		<-store.begun
		for range 9 {
			go head(t.Context())
		}
		synctest.Wait()
		if n := store.times.Load(); n != 1 {
			t.Errorf("%d read it at once", n)
		}
		giveUp()
		<-answers
		<-store.begun
		close(store.goOn)
		for range 9 {
			if got := <-answers; !strings.HasPrefix(got, "sha-512=") {
				t.Errorf("got %q", got)
			}
		}
		if n := store.times.Load(); n != 2 {
			t.Errorf("it was read %d times, want twice", n)
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
