// Package s3test has two S3 services for tests: a small one in this process, which fails in ways that a test chooses,
// and versitygw, a server for use.
package s3test

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// Names of the bucket, and of the key that may use it.
const (
	Bucket = "bucket"
	Access = "access"
	Secret = "secret-of-the-tests"
)

// A Fate says how a request ends.
type Fate int

const (
	Answered Fate = iota
	Refused       // with 503, and nothing has happened
	Denied        // with 403
	Hung          // it is not answered
	Cut           // nothing has happened, and the connection breaks. A GET breaks off in its answer
	Unheard       // it has happened, and the connection breaks before the answer
	Lied          // the answer is that of a success, and nothing has happened. A GET has other bytes
	Halved        // only half of the bytes are stored. A GET tells of an object of half the size
)

// Faults are all fates that are faults.
var Faults = []Fate{Refused, Denied, Hung, Cut, Unheard, Lied, Halved}

func (f Fate) String() string {
	return [...]string{"answered", "refused", "denied", "hung", "cut", "unheard", "lied", "halved"}[f]
}

// A Server has one bucket in memory. It compares each body with the SHA-256 that its request is signed with, and does
// not verify the signature itself.
type Server struct {
	URL string
	// MinPart is the least size of a part but the last, in bytes.
	MinPart int
	// Before, if not nil, is called with each request when its body has come, and may wait.
	Before func(r *http.Request)

	mu      sync.Mutex
	objects map[string][]byte
	uploads map[string]*parts
	begun   int
	asked   []string // methods and their targets
	fate    func(n int, r *http.Request) Fate
}

type parts struct {
	key   string
	parts map[int][]byte
}

// New starts a server, which ends with the test.
func New(t testing.TB) *Server {
	s := &Server{objects: map[string][]byte{}, uploads: map[string]*parts{}}
	server := httptest.NewServer(s)
	t.Cleanup(func() { server.CloseClientConnections(); server.Close() })
	s.URL = server.URL
	return s
}

// Fail has each request from now on end as fate says. n counts them from 0.
func (s *Server) Fail(fate func(n int, r *http.Request) Fate) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fate, s.asked = fate, nil
}

// Nth is a fault at one request.
func Nth(at int, fault Fate) func(int, *http.Request) Fate {
	return func(n int, _ *http.Request) Fate {
		if n == at {
			return fault
		}
		return Answered
	}
}

// Asked returns the requests since the last Fail.
func (s *Server) Asked() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.asked)
}

// Objects returns the keys of all objects, and how many uploads in parts are unfinished.
func (s *Server) Objects() (keys []string, unfinished int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.objects)), len(s.uploads)
}

// Change changes the bytes of an object, or removes it where change returns nil.
func (s *Server) Change(key string, change func([]byte) []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.objects[key] = change(slices.Clone(s.objects[key])); s.objects[key] == nil {
		delete(s.objects, key)
	}
}

// An answer is the answer to a request.
type answer struct {
	status int
	header map[string]string
	body   []byte
}

// ServeHTTP implements [http.Handler].
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	if s.Before != nil {
		s.Before(r)
	}
	s.mu.Lock()
	fate := Answered
	if s.fate != nil {
		fate = s.fate(len(s.asked), r)
	}
	s.asked = append(s.asked, describe(r))
	s.mu.Unlock()
	var a answer
	switch {
	case fate == Refused:
		a = failed(http.StatusServiceUnavailable, "SlowDown")
	case fate == Denied:
		a = failed(http.StatusForbidden, "AccessDenied")
	case fate == Hung:
		<-r.Context().Done()
		return
	case fate == Cut && r.Method != http.MethodGet:
		panic(http.ErrAbortHandler)
	case fate == Lied && r.Method != http.MethodGet:
		a = s.lie(r, body)
	case fate == Halved && r.Method == http.MethodPut:
		a = s.answer(r, body, body[:len(body)/2])
	default:
		a = s.answer(r, body, body)
	}
	s.send(w, r, fate, a)
}

func (s *Server) send(w http.ResponseWriter, r *http.Request, fate Fate, a answer) {
	found := r.Method == http.MethodGet && a.status == http.StatusPartialContent
	switch {
	case fate == Unheard:
		panic(http.ErrAbortHandler)
	case fate == Halved && found:
		half := a.body[:len(a.body)/2]
		first, _, _ := strings.Cut(strings.TrimPrefix(a.header["Content-Range"], "bytes "), "-")
		from, _ := strconv.Atoi(first)
		a.header["Content-Range"] = fmt.Sprintf("bytes %d-%d/%d", from, from+len(half)-1, from+len(half))
		a.body = half
	case fate == Lied && found:
		a.body = slices.Clone(a.body)
		a.body[len(a.body)/2] ^= 1
	}
	for name, value := range a.header {
		w.Header().Set(name, value)
	}
	if r.Method != http.MethodHead {
		w.Header().Set("Content-Length", strconv.Itoa(len(a.body)))
	}
	w.WriteHeader(a.status)
	if fate == Cut {
		_, _ = w.Write(a.body[:len(a.body)/2])
		panic(http.ErrAbortHandler)
	}
	_, _ = w.Write(a.body)
}

// describe names the target of a request, without identifiers.
func describe(r *http.Request) string {
	query, what := r.URL.Query(), "object"
	switch {
	case query.Has("partNumber"):
		what = "part " + query.Get("partNumber")
	case query.Has("uploads"):
		what = "uploads"
	case query.Has("uploadId"):
		what = "upload"
	case query.Has("list-type"):
		what = "list"
	}
	return r.Method + " " + what
}

// lie answers as if all had gone well.
func (s *Server) lie(r *http.Request, body []byte) answer {
	switch what := describe(r); {
	case what == "POST uploads":
		return answer{200, nil, marshal(begun{Bucket: Bucket, UploadID: "no such one"})}
	case what == "POST upload":
		return answer{200, nil, marshal(completed{Bucket: Bucket, ETag: `"e"`})}
	case r.Method == http.MethodHead:
		return answer{200, headers(make([]byte, 1)), nil}
	case r.Method == http.MethodDelete:
		return answer{status: 204}
	}
	return answer{200, map[string]string{"ETag": etag(body)}, nil}
}

// answer carries out a request. The bytes that are stored may be others than those that came.
func (s *Server) answer(r *http.Request, body, stored []byte) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	key, ok := strings.CutPrefix(r.URL.Path, "/"+Bucket+"/")
	query := r.URL.Query()
	sum := sha256.Sum256(body)
	switch {
	case !ok:
		return failed(404, "NoSuchBucket")
	case !strings.Contains(r.Header.Get("Authorization"), "Credential="+Access+"/"):
		return failed(403, "InvalidAccessKeyId")
	case r.Header.Get("X-Amz-Content-Sha256") != hex.EncodeToString(sum[:]) && len(body) > 0:
		return failed(400, "XAmzContentSHA256Mismatch")
	case query.Has("list-type"):
		after := cmp.Or(query.Get("continuation-token"), query.Get("start-after"))
		return s.list(query.Get("prefix"), after, query.Get("max-keys"))
	case query.Has("uploads") && r.Method == http.MethodGet:
		return s.unfinished(query.Get("prefix"))
	case query.Has("uploads"):
		s.begun++
		id := fmt.Sprint("upload-", s.begun)
		s.uploads[id] = &parts{key: key, parts: map[int][]byte{}}
		return answer{200, nil, marshal(begun{Bucket: Bucket, UploadID: id})}
	case query.Has("uploadId"):
		return s.upload(r.Method, query.Get("uploadId"), query.Get("partNumber"), body, stored)
	case r.Method == http.MethodPut:
		s.objects[key] = stored
		return answer{200, map[string]string{"ETag": etag(body)}, nil}
	case r.Method == http.MethodDelete:
		delete(s.objects, key)
		return answer{status: 204}
	}
	return get(s.objects, key, r.Header.Get("Range"))
}

func get(objects map[string][]byte, key, wanted string) answer {
	found, ok := objects[key]
	if !ok {
		return failed(404, "NoSuchKey")
	}
	a := answer{200, headers(found), found}
	var first, last int
	if n, _ := fmt.Sscanf(wanted, "bytes=%d-%d", &first, &last); n == 2 {
		if first >= len(found) {
			return failed(416, "InvalidRange")
		}
		last = min(last, len(found)-1)
		a.status, a.body = http.StatusPartialContent, found[first:last+1]
		a.header["Content-Range"] = fmt.Sprintf("bytes %d-%d/%d", first, last, len(found))
		a.header["Content-Length"] = strconv.Itoa(len(a.body))
	}
	return a
}

func (s *Server) list(prefix, after, most string) answer {
	limit, err := strconv.Atoi(cmp.Or(most, "1000"))
	if err != nil {
		return failed(400, "InvalidArgument")
	}
	var found listed
	for _, key := range slices.Sorted(maps.Keys(s.objects)) {
		if !strings.HasPrefix(key, prefix) || key <= after {
			continue
		}
		if len(found.Contents) == limit {
			found.IsTruncated, found.NextContinuationToken = true, found.Contents[limit-1].Key
			break
		}
		found.Contents = append(found.Contents,
			object{Key: key, Size: len(s.objects[key]), LastModified: "2026-01-01T00:00:00Z"})
	}
	return answer{200, nil, marshal(found)}
}

func (s *Server) unfinished(prefix string) answer {
	var found struct {
		XMLName xml.Name `xml:"ListMultipartUploadsResult"`
		Upload  []object
	}
	for id, upload := range s.uploads {
		if strings.HasPrefix(upload.key, prefix) {
			found.Upload = append(found.Upload, object{Key: upload.key, UploadID: id})
		}
	}
	return answer{200, nil, marshal(found)}
}

// upload writes a part, completes an upload or ends it.
func (s *Server) upload(method, id, part string, body, stored []byte) answer {
	upload := s.uploads[id]
	if upload == nil {
		return failed(404, "NoSuchUpload")
	}
	switch method {
	case http.MethodPut:
		number, err := strconv.Atoi(part)
		if err != nil || number < 1 || number > 10000 {
			return failed(400, "InvalidPart")
		}
		upload.parts[number] = stored
		return answer{200, map[string]string{"ETag": etag(body)}, nil}
	case http.MethodDelete:
		delete(s.uploads, id)
		return answer{status: 204}
	}
	var wanted struct {
		Part []struct {
			PartNumber int
			ETag       string
		}
	}
	if err := xml.Unmarshal(body, &wanted); err != nil || len(wanted.Part) == 0 {
		return failed(400, "MalformedXML")
	}
	var whole []byte
	last := 0
	for i, part := range wanted.Part {
		bytes, ok := upload.parts[part.PartNumber]
		switch {
		case part.PartNumber <= last:
			return failed(400, "InvalidPartOrder")
		case !ok || strings.Trim(etag(bytes), `"`) != strings.Trim(part.ETag, `"`):
			return failed(400, "InvalidPart")
		case i < len(wanted.Part)-1 && len(bytes) < s.MinPart:
			return failed(400, "EntityTooSmall")
		}
		last, whole = part.PartNumber, append(whole, bytes...)
	}
	s.objects[upload.key] = whole
	delete(s.uploads, id)
	return answer{200, nil, marshal(completed{Bucket: Bucket, ETag: etag(whole)})}
}
