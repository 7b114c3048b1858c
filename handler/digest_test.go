package handler

import (
	"context"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
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

	"r-seed-1f3a754f.example/ifmatch/tree"
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

// writeDigest writes a digest as in Repr-Digest.
func writeDigest(name string, sum []byte) string {
	return name + "=:" + base64.StdEncoding.EncodeToString(sum) + ":"
}

// writeInstance writes a digest as in Digest.
func writeInstance(name string, sum []byte) string {
	return name + "=" + base64.StdEncoding.EncodeToString(sum)
}

// writeChecksum writes a hash as in OC-Checksum.
func writeChecksum(name string, sum []byte) string { return name + ":" + hex.EncodeToString(sum) }

// adler32Of returns the Adler-32 of a text.
func adler32Of(text string) []byte {
	h := adler.New()
	io.WriteString(h, text)
	return h.Sum(nil)
}

// A field of the trailer section that was not announced is compared too, or refused if the hash was not computed.
// Over HTTP/2, net/http throws it away.
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

// A computed digest is remembered for all requests for the same content, also under another name. That of a PUT is
// remembered too.
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

// Of many requests at the same time, one reads the file. If that one is given up, another one reads it.
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
