package handler

import (
	"encoding/base64"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"r-seed-1f3a754f.example/ifmatch/fs"
)

const (
	tus       = "Tus-Resumable: 1.0.0"
	offsetted = "Content-Type: application/offset+octet-stream"
)

// tusName returns the Upload-Metadata for a target.
func tusName(key, name string) string {
	return "Upload-Metadata: " + key + " " + base64.StdEncoding.EncodeToString([]byte(name))
}

// created sends a POST that creates an upload, and returns the path of the upload.
func created(t *testing.T, h http.Handler, target, user string, header ...string) string {
	t.Helper()
	w := ask(t, h, "POST", target, "", append(header, tus, "X-Remote-User: "+user)...)
	if w.Code != http.StatusCreated {
		t.Fatalf("POST %s: %d %s", target, w.Code, w.Body)
	}
	return strings.TrimPrefix(w.Header().Get("Location"), "http://localhost")
}

func patch(t *testing.T, h http.Handler, upload string, offset int, body string, header ...string) *httptest.ResponseRecorder {
	t.Helper()
	return ask(t, h, "PATCH", upload, body, append(header, tus, offsetted, "Upload-Offset: "+strconv.Itoa(offset))...)
}

// TestDocumentedUpload replays the conversation about uploads in docs/http.md: each field of an answer must be in the
// answer of the server. FIRST stands for the ID.
func TestDocumentedUpload(t *testing.T) {
	page, err := os.ReadFile("../docs/http.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(page), "\n## Uploads in parts\n")
	section, _, _ = strings.Cut(section, "\n## ")
	blocks := regexp.MustCompile("(?s)```http\n(.*?)```").FindAllStringSubmatch(section, -1)
	if len(blocks) != 12 {
		t.Fatalf("there are %d blocks", len(blocks))
	}
	h := inMemoryWith(t, fs.Options{}, Config{}, "docs/")
	id := "FIRST"
	for i := 0; i < len(blocks); i += 2 {
		head, body, _ := strings.Cut(blocks[i][1], "\n\n")
		lines := strings.Split(strings.ReplaceAll(strings.TrimSpace(head), "FIRST", id), "\n")
		request := strings.Fields(lines[0])
		w := ask(t, h, request[0], request[1], strings.TrimSuffix(body, "\n"), lines[1:]...)
		if location := w.Header().Get("Location"); location != "" {
			id = location[strings.LastIndex(location, "/")+1:]
		}
		want := strings.Split(strings.TrimSpace(blocks[i+1][1]), "\n")
		if status := strings.Fields(want[0])[1]; status != strconv.Itoa(w.Code) {
			t.Errorf("%s is answered %d, want %s\n%s", lines[0], w.Code, status, w.Body)
		}
		wantDocumented(t, lines[0], w.Header(), strings.ReplaceAll(blocks[i+1][1], "FIRST", id))
	}
	if got := ask(t, h, "GET", "/docs/note.txt", "").Body.String(); got != "hello world" {
		t.Errorf("the file has %q", got)
	}
}

// TestTargetsOfUploads: a client names its target in the metadata, or by the URL.
func TestTargetsOfUploads(t *testing.T) {
	for _, tt := range []struct {
		name, target, metadata string
		want                   int
		file                   string
	}{
		{"a path", "/.ifmatch/uploads", tusName("path", "d/new"), 201, "/d/new"},
		{"a path with a slash before it", "/.ifmatch/uploads", tusName("path", "/d/new"), 201, "/d/new"},
		{"a filename", "/.ifmatch/uploads", tusName("filename", "new é?"), 201, "/new%20%C3%A9%3F"},
		{"a filename in a collection", "/d/", tusName("filename", "new"), 201, "/d/new"},
		{"a collection without its slash", "/d", tusName("filename", "new"), 201, "/d/new"},
		{"the URL of the file", "/d/new", "A: b", 201, "/d/new"},
		{"no name", "/.ifmatch/uploads", "A: b", 400, ""},
		{"no name in a collection", "/d/", "A: b", 400, ""},
		{"a name that leads out of the collection", "/d/", tusName("filename", "../f"), 400, ""},
		{"an empty segment", "/d/", tusName("filename", "e//f"), 400, ""},
		{"a reserved name", "/d/", tusName("filename", ".ifmatch/x"), 403, ""},
		{"no collection", "/none/", tusName("filename", "new"), 409, ""},
		{"a collection", "/.ifmatch/uploads", tusName("path", "d"), 405, ""},
		{"a file as a collection", "/f", tusName("filename", "new"), 409, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := inMemoryWith(t, fs.Options{}, Config{}, "d/", "f=f")
			w := ask(t, h, "POST", tt.target, "abc", tus, offsetted, "Upload-Length: 3", tt.metadata)
			if w.Code != tt.want {
				t.Fatalf("%d, want %d: %s", w.Code, tt.want, w.Body)
			}
			if tt.file == "" {
				return
			}
			if got := ask(t, h, "GET", tt.file, ""); got.Body.String() != "abc" || w.Header().Get("Etag") != got.Header().Get("Etag") {
				t.Errorf("%s: %d %q", tt.file, got.Code, got.Body)
			}
		})
	}
}

// TestUploadKeepsItsTime: that of the metadata, or else that of X-OC-Mtime, in whatever request the file is committed.
func TestUploadKeepsItsTime(t *testing.T) {
	for _, tt := range []struct {
		name   string
		header []string
		want   string
	}{
		{"in the metadata", []string{"Upload-Metadata: mtime MTUwMDAwMDAwMA=="}, "Fri, 14 Jul 2017 02:40:00 GMT"},
		{"in a field", []string{"X-OC-Mtime: 1500000000"}, "Fri, 14 Jul 2017 02:40:00 GMT"},
		{"in both", []string{"Upload-Metadata: mtime MTUwMDAwMDAwMA==", "X-OC-Mtime: 1600000000"}, "Fri, 14 Jul 2017 02:40:00 GMT"},
	} {
		h := inMemoryWith(t, fs.Options{}, Config{})
		upload := created(t, h, "/f", "", append(tt.header, "Upload-Length: 2")...)
		for i := range 2 {
			if w := patch(t, h, upload, i, "x"); w.Code != 204 {
				t.Errorf("%s: %d %s", tt.name, w.Code, w.Body)
			}
		}
		if got := ask(t, h, "GET", "/f", "").Header().Get("Last-Modified"); got != tt.want {
			t.Errorf("%s: Last-Modified is %s", tt.name, got)
		}
	}
}

// TestUploadRefusals are those of the protocol. Nothing has changed then.
func TestUploadRefusals(t *testing.T) {
	h := inMemoryWith(t, fs.Options{}, Config{MaxUpload: 100}, "f=f")
	upload := created(t, h, "/new", "", "Upload-Length: 5")
	if w := patch(t, h, upload, 0, "he"); w.Code != 204 {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	other := tusName("filename", "x")
	for _, tt := range []struct {
		name, request, body string
		header              []string
		want                int
	}{
		{"no version", "PATCH " + upload, "llo", []string{offsetted, "Upload-Offset: 2"}, 412},
		{"another version", "PATCH " + upload, "llo", []string{"Tus-Resumable: 0.2.2", offsetted, "Upload-Offset: 2"}, 412},
		{"no offset", "PATCH " + upload, "llo", []string{tus, offsetted}, 400},
		{"a negative offset", "PATCH " + upload, "llo", []string{tus, offsetted, "Upload-Offset: -1"}, 400},
		{"an earlier offset", "PATCH " + upload, "hello", []string{tus, offsetted, "Upload-Offset: 0"}, 409},
		{"a later offset", "PATCH " + upload, "lo", []string{tus, offsetted, "Upload-Offset: 3"}, 409},
		{"another type", "PATCH " + upload, "llo", []string{tus, "Upload-Offset: 2"}, 415},
		{"too much", "PATCH " + upload, "llo world", []string{tus, offsetted, "Upload-Offset: 2"}, 413},
		{"another checksum", "PATCH " + upload, "llo", []string{tus, offsetted, "Upload-Offset: 2", "Upload-Checksum: crc32 AAAAAA=="}, 460},
		{"a coding", "PATCH " + upload, "llo", []string{tus, offsetted, "Upload-Offset: 2", "Content-Encoding: gzip"}, 415},
		{"a checksum of another kind", "PATCH " + upload, "llo", []string{tus, offsetted, "Upload-Offset: 2", "Upload-Checksum: x AAAAAA=="}, 400},
		{"an upload that is not there", "PATCH /.ifmatch/uploads/X", "x", []string{tus, offsetted, "Upload-Offset: 0"}, 404},
		{"another method", "GET " + upload, "", []string{tus}, 405},
		{"another method for all", "GET /.ifmatch/uploads", "", []string{tus}, 405},
		{"below an upload", "GET " + upload + "/x", "", nil, 404},
		{"no request of tus", "GET " + upload, "", nil, 404},
		{"no request of tus for all", "PROPFIND /.ifmatch/uploads", "", nil, 404},
		{"a PUT", "PUT " + upload, "", nil, 403},
		{"a DELETE that is not of tus", "DELETE " + upload, "", nil, 403},
		{"beside the uploads", "GET /.ifmatch/uploadsX", "", nil, 404},
		{"no length", "POST /", "", []string{tus, other}, 400},
		{"a length of another kind", "POST /", "", []string{tus, other, "Upload-Length: 0x5"}, 400},
		{"a length that is too large", "POST /", "", []string{tus, other, "Upload-Length: 101"}, 413},
		{"a length beyond all numbers", "POST /", "", []string{tus, other, "Upload-Length: 99999999999999999999"}, 400},
		{"a part of another upload", "POST /", "", []string{tus, other, "Upload-Length: 1", "Upload-Concat: partial"}, 400},
		{"a length to come", "POST /", "", []string{tus, other, "Upload-Defer-Length: 1"}, 400},
		{"bad metadata", "POST /", "", []string{tus, "Upload-Length: 1", "Upload-Metadata: filename *"}, 400},
		{"a digest that is not kept", "POST /", "", []string{tus, other, "Upload-Length: 1", "Repr-Digest: sha-512=:AAAA:"}, 400},
		{"a condition that is not true", "POST /f", "", []string{tus, "Upload-Length: 1", "If-None-Match: *"}, 412},
		{"a POST that creates none", "POST /f", "", nil, 405},
	} {
		method, target, _ := strings.Cut(tt.request, " ")
		if w := ask(t, h, method, target, tt.body, tt.header...); w.Code != tt.want {
			t.Errorf("%s: %d, want %d: %s", tt.name, w.Code, tt.want, w.Body)
		}
		if got := ask(t, h, "HEAD", upload, "", tus).Header().Get("Upload-Offset"); got != "2" {
			t.Errorf("%s: then the offset is %q", tt.name, got)
		}
	}
	if w := patch(t, h, upload, 2, "llo", "X-HTTP-Method-Override: PATCH"); w.Code != 204 {
		t.Errorf("the rest: %d %s", w.Code, w.Body)
	}
	if got := ask(t, h, "GET", "/new", "").Body.String(); got != "hello" {
		t.Errorf("the file has %q", got)
	}
}

// TestUploadKeepsEachByteOfItsName: also those of names and conditions that are not UTF-8.
func TestUploadKeepsEachByteOfItsName(t *testing.T) {
	h := inMemoryWith(t, fs.Options{}, Config{}, "\xfe=f")
	there := ask(t, h, "HEAD", "/%FE", "").Header().Get("Etag")
	upload := created(t, h, "/", "", "Upload-Length: 3", tusName("filename", "\xff"), "If: <http://localhost/\xfe> (["+there+"])")
	for i, part := range []string{"ab", "c"} {
		if w := patch(t, h, upload, 2*i, part); w.Code != 204 {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
	}
	if got := ask(t, h, "GET", "/%FF", ""); got.Body.String() != "abc" {
		t.Errorf("the file: %d %s", got.Code, got.Body)
	}
}

// TestLastByteAgain: it is not acknowledged before the commit, so it comes again after a refusal, with its checksum.
func TestLastByteAgain(t *testing.T) {
	h := inMemoryWith(t, fs.Options{}, Config{})
	upload := created(t, h, "/f", "", "Upload-Length: 3", "If-None-Match: *")
	meanwhile := sync.OnceFunc(func() { ask(t, h, "PUT", "/f", "theirs") })
	r := httptest.NewRequestWithContext(t.Context(), "PATCH", "http://localhost"+upload, strings.NewReader("abc"))
	r.Header = http.Header{"Tus-Resumable": {"1.0.0"}, "Content-Type": {"application/offset+octet-stream"}, "Upload-Offset": {"0"}}
	r.Body = signalingBody{r.Body, meanwhile}
	w := httptest.NewRecorder()
	if h.ServeHTTP(w, r); w.Code != 412 || w.Header().Get("Upload-Offset") != "2" {
		t.Fatalf("the whole: %d %v", w.Code, w.Header())
	}
	if w := patch(t, h, upload, 2, "c", "If-Match: *", "Upload-Checksum: crc32 AAAAAA=="); w.Code != 460 {
		t.Errorf("with another checksum: %d %s", w.Code, w.Body)
	}
	if got := ask(t, h, "GET", "/f", "").Body.String(); got != "theirs" {
		t.Errorf("then the file has %q", got)
	}
	if w := patch(t, h, upload, 2, "c", "If-Match: *", "Upload-Checksum: crc32 Brnfbw=="); w.Code != 204 {
		t.Errorf("with its checksum: %d %s", w.Code, w.Body)
	}
	if got := ask(t, h, "GET", "/f", "").Body.String(); got != "abc" {
		t.Errorf("the file has %q", got)
	}
}

// TestCreationThatFails: where the client cannot go on with an upload, nothing of it is left.
func TestCreationThatFails(t *testing.T) {
	for _, tt := range []struct {
		name   string
		body   io.Reader
		header []string
		want   int
		stays  bool
	}{
		{"a line that breaks", io.MultiReader(strings.NewReader("ab"), iotest.ErrReader(io.ErrUnexpectedEOF)), nil, 400, false},
		{"another checksum", strings.NewReader("abc"), []string{"Upload-Checksum", "crc32 AAAAAA=="}, 460, false},
		{"too much", strings.NewReader("abcd"), nil, 400, false},
		{"another digest", strings.NewReader("abc"), []string{"Repr-Digest",
			"sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:"}, 400, true},
	} {
		h := inMemoryWith(t, fs.Options{}, Config{})
		r := httptest.NewRequestWithContext(t.Context(), "POST", "http://localhost/f", tt.body)
		r.Header = http.Header{"Tus-Resumable": {"1.0.0"}, "Content-Type": {"application/offset+octet-stream"}, "Upload-Length": {"3"}}
		if tt.header != nil {
			r.Header.Set(tt.header[0], tt.header[1])
		}
		r.ContentLength = -1
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		location := w.Header().Get("Location")
		if w.Code != tt.want || (location != "") != tt.stays {
			t.Errorf("%s: %d with %v: %s", tt.name, w.Code, w.Header(), w.Body)
		}
		if w := ask(t, h, "HEAD", strings.TrimPrefix(location, "http://localhost"), "", tus); tt.stays && w.Code != 200 {
			t.Errorf("%s: then it is %d", tt.name, w.Code)
		}
	}
}

// TestUploadWithoutHost: a client of HTTP/1.0 may not say how it calls the server.
func TestUploadWithoutHost(t *testing.T) {
	h := inMemoryWith(t, fs.Options{}, Config{})
	r := httptest.NewRequestWithContext(t.Context(), "POST", "/f", nil)
	r.Host, r.Header = "", http.Header{"Tus-Resumable": {"1.0.0"}, "Upload-Length": {"3"}}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if got := w.Header().Get("Location"); w.Code != 201 || !strings.HasPrefix(got, "/.ifmatch/uploads/") {
		t.Errorf("%d, Location is %q", w.Code, got)
	}
}

// TestUploadWhileReadOnly: it has not ended, and goes on later.
func TestUploadWhileReadOnly(t *testing.T) {
	h := inMemoryWith(t, fs.Options{}, Config{ReadOnly: true})
	for _, method := range []string{"HEAD", "PATCH", "DELETE"} {
		if w := ask(t, h, method, "/.ifmatch/uploads/X", "", tus, offsetted, "Upload-Offset: 0"); w.Code != 403 {
			t.Errorf("%s: %d %s", method, w.Code, w.Body)
		}
	}
	if w := ask(t, h, "POST", "/f", "", tus, "Upload-Length: 3"); w.Code != 403 {
		t.Errorf("POST: %d %s", w.Code, w.Body)
	}
}

// TestUploadIsOfItsUser: others do not learn of it, and rights are those of the request that commits.
func TestUploadIsOfItsUser(t *testing.T) {
	authority, config := openAuthority(t, openToAll)
	h := inMemoryWith(t, fs.Options{}, Config{Auth: authority}, "f=f")
	upload := created(t, h, "/f", "ann", "Upload-Length: 3")
	for _, tt := range []struct {
		user, method string
		want         int
	}{
		{"bob", "HEAD", 404}, {"bob", "PATCH", 404}, {"bob", "DELETE", 404},
		{"", "HEAD", 401}, {"", "DELETE", 401},
		{"ann", "HEAD", 200},
	} {
		header := []string{tus, offsetted, "Upload-Offset: 0"}
		if tt.user != "" {
			header = append(header, "X-Remote-User: "+tt.user)
		}
		w := ask(t, h, tt.method, upload, "", header...)
		if w.Code != tt.want {
			t.Errorf("%s by %q: %d, want %d: %s", tt.method, tt.user, w.Code, tt.want, w.Body)
		}
	}
	if w := patch(t, h, upload, 0, "ne", "X-Remote-User: ann"); w.Code != 204 {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	onlyBob := strings.Replace(openToAll, `"authenticated", "anonymous"`, `"bob"`, 1)
	reload(t, authority, config, onlyBob)
	if w := patch(t, h, upload, 2, "w", "X-Remote-User: ann"); w.Code != 403 && w.Code != 404 {
		t.Errorf("without the right: %d %s", w.Code, w.Body)
	}
	if got := askAs(t, h, "bob", "GET", "/f", "").Body.String(); got != "f" {
		t.Errorf("then f has %q", got)
	}
	if w := ask(t, h, "POST", "/f", "", tus, "Upload-Length: 3", "X-Remote-User: ann"); w.Code != 403 && w.Code != 404 {
		t.Errorf("a creation without the right: %d %s", w.Code, w.Body)
	}
	reload(t, authority, config, openToAll)
	if w := patch(t, h, upload, 2, "w", "X-Remote-User: ann"); w.Code != 204 {
		t.Errorf("with the right: %d %s", w.Code, w.Body)
	}
	if got := askAs(t, h, "bob", "GET", "/f", "").Body.String(); got != "new" {
		t.Errorf("f has %q", got)
	}
}

// A signalingBody tells when some of it was read.
type signalingBody struct {
	io.ReadCloser
	read func()
}

func (b signalingBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if n > 0 {
		b.read()
	}
	return n, err
}

// TestLaterRequestInterruptsUpload: a connection that hangs keeps no client from its upload, and what it has sent stays.
func TestLaterRequestInterruptsUpload(t *testing.T) {
	h := inMemoryWith(t, fs.Options{}, Config{})
	arrived := make(chan struct{})
	signal := sync.OnceFunc(func() { close(arrived) })
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Body = signalingBody{r.Body, signal}
		h.ServeHTTP(w, r)
	}))
	defer server.Close()
	upload := created(t, h, "/f", "", "Upload-Length: 5")
	send := func(method string, body io.Reader) (*http.Response, error) {
		r, err := http.NewRequestWithContext(t.Context(), method, server.URL+upload, body)
		if err != nil {
			t.Fatal(err)
		}
		r.Header = http.Header{"Tus-Resumable": {"1.0.0"}, "Content-Type": {"application/offset+octet-stream"}, "Upload-Offset": {"0"}}
		answer, err := http.DefaultClient.Do(r)
		if err == nil {
			answer.Body.Close()
		}
		return answer, err
	}
	body, client := io.Pipe()
	defer client.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		if answer, err := send("PATCH", body); err == nil && answer.StatusCode/100 == 2 {
			t.Errorf("the part that hangs: %s", answer.Status)
		}
	}()
	if _, err := client.Write([]byte("hel")); err != nil {
		t.Fatal(err)
	}
	<-arrived
	answer, err := send("HEAD", nil)
	if err != nil || answer.StatusCode != 200 {
		t.Fatalf("HEAD: %v, %v", answer, err)
	}
	<-done
	if got := answer.Header.Get("Upload-Offset"); got != "3" {
		t.Errorf("the offset is %s", got)
	}
	if w := patch(t, h, upload, 3, "lo"); w.Code != 204 {
		t.Errorf("the rest: %d %s", w.Code, w.Body)
	}
	if got := ask(t, h, "GET", "/f", "").Body.String(); got != "hello" {
		t.Errorf("the file has %q", got)
	}
}

// TestEachLineOfAFieldCounts: a field that forbids a write, or says that the body is no whole file, does so in each of its
// lines, and not in the first alone.
func TestEachLineOfAFieldCounts(t *testing.T) {
	for _, tt := range []struct {
		about, method, target string
		header                []string
		want                  int
	}{
		{"a part", "PUT", "/f", []string{"Content-Range:", "Content-Range: bytes 0-2/9"}, 400},
		{"nothing of a part", "PUT", "/f", []string{"Content-Range:"}, 204},
		{"a coding", "PUT", "/f", []string{"Content-Encoding: identity", "Content-Encoding: gzip"}, 415},
		{"create only", "PUT", "/f", []string{"Overwrite: T", "Overwrite: F"}, 412},
		{"create only, in parts", "POST", "/f", []string{tus, offsetted, "Upload-Length: 3", "Overwrite: T", "Overwrite: F"}, 412},
		{"a coding, in parts", "POST", "/f", []string{tus, offsetted, "Upload-Length: 3", "Content-Encoding: identity",
			"Content-Encoding: gzip"}, 415},
		{"a part of a concatenation", "POST", "/f", []string{tus, offsetted, "Upload-Length: 3", "Upload-Concat:", "Upload-Concat: partial"}, 400},
		{"two checksums", "POST", "/f", []string{tus, offsetted, "Upload-Length: 3", "Upload-Checksum: crc32 NSRBwg==",
			"Upload-Checksum: crc32 AAAAAA=="}, 400},
	} {
		t.Run(tt.about, func(t *testing.T) {
			h := inMemoryWith(t, fs.Options{}, Config{}, "f=f")
			w := ask(t, h, tt.method, tt.target, "abc", tt.header...)
			if w.Code != tt.want {
				t.Errorf("%d, want %d: %s", w.Code, tt.want, w.Body)
			}
			if got := ask(t, h, "GET", "/f", "").Body.String(); (got == "f") == (tt.want < 300) {
				t.Errorf("the file is %q", got)
			}
		})
	}
}
