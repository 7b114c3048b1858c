package handler

import (
	"bytes"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"

	"r-seed-1f3a754f.example/ifmatch/handler/byterange"
)

// FuzzRanges: the answer is that of net/http to a request for the same parts.
func FuzzRanges(f *testing.F) {
	for _, seed := range []string{"bytes=0-4", "bytes=-1,2-", "Bytes = 1-2", "bytes=00-0,", "bytes=0-0,9-,4-5", "bytes=10-", "x"} {
		f.Add(seed)
	}
	const content = "0123456789"
	h := inMemory(f, Config{}, "x="+content)
	f.Fuzz(func(t *testing.T, value string) {
		w := httptest.NewRecorder()
		r := httptest.NewRequest("GET", "http://localhost/x", nil)
		r.Header.Set("Range", value)
		h.ServeHTTP(w, r)
		var specs []string
		wanted, ok := byterange.Parse(r.Header, int64(len(content)))
		for _, p := range wanted {
			specs = append(specs, fmt.Sprintf("%d-%d", p.Offset, p.Offset+p.Length-1))
		}
		if ok && len(wanted) == 0 {
			specs = []string{"10-"}
		}
		plain := httptest.NewRequest("GET", "/", nil)
		if ok {
			plain.Header.Set("Range", "bytes="+strings.Join(specs, ","))
		}
		want := httptest.NewRecorder()
		want.Header().Set("Content-Type", w.Header().Get("Content-Type"))
		if ok && len(wanted) > 1 {
			want.Header().Set("Content-Type", "application/octet-stream")
		}
		http.ServeContent(want, plain, "x", time.Time{}, strings.NewReader(content))
		if w.Code != want.Code || w.Header().Get("Content-Range") != want.Header().Get("Content-Range") {
			t.Fatalf("%q: %d %v, want %d %v", value, w.Code, w.Header(), want.Code, want.Header())
		}
		if w.Code == http.StatusRequestedRangeNotSatisfiable {
			return
		}
		if got, want := w.Header().Get("Content-Length"), fmt.Sprint(w.Body.Len()); got != want {
			t.Fatalf("%q: Content-Length: %s, and %s are sent", value, got, want)
		}
		if got, want := bodyParts(t, w), bodyParts(t, want); !reflect.DeepEqual(got, want) {
			t.Fatalf("%q: got %q, want %q", value, got, want)
		}
	})
}

// bodyParts returns the parts of an answer, each with its header.
func bodyParts(t *testing.T, w *httptest.ResponseRecorder) (parts []string) {
	t.Helper()
	_, params, _ := mime.ParseMediaType(w.Header().Get("Content-Type"))
	if params["boundary"] == "" {
		return []string{w.Body.String()}
	}
	all := multipart.NewReader(bytes.NewReader(w.Body.Bytes()), params["boundary"])
	for {
		p, err := all.NextPart()
		if err == io.EOF {
			return parts
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(p)
		if err != nil {
			t.Fatal(err)
		}
		parts = append(parts, fmt.Sprint(p.Header)+string(content))
	}
}

// The server does not know the charset of a file, so no answer, part or listing has one.
func TestNoCharsetIsMadeUp(t *testing.T) {
	for base, want := range map[string]string{
		"f.txt": "text/plain", "f.html": "text/html", "f.css": "text/css", "f.js": "text/javascript", "f.xml": "text/xml",
		"f.csv": "text/csv", "f": "application/octet-stream", "f.no-such-type": "application/octet-stream", "F.HTML": "text/html",
	} {
		h := inMemory(t, Config{}, base+"=hello")
		for _, w := range []*httptest.ResponseRecorder{
			ask(t, h, "GET", "/"+base, ""), ask(t, h, "HEAD", "/"+base, ""), ask(t, h, "GET", "/"+base, "", "Range: bytes=1-2"),
			ask(t, h, "GET", "/"+base, "", `If-Match: "x"`, "Prefer: return=representation"),
		} {
			got := w.Header().Get("Content-Type")
			if base == "f.xml" && got == "application/xml" || base == "f.csv" && got == "application/octet-stream" {
				continue // as the system's table has it
			}
			if got != want {
				t.Errorf("%s is %q, want %q", base, got, want)
			}
		}
		parts := ask(t, h, "GET", "/"+base, "", "Range: bytes=0-0,2-2").Body.String()
		listed := ask(t, h, "PROPFIND", "/", propfindOf("<getcontenttype/>"), "Depth: 1").Body.String()
		if strings.Contains(parts, "charset") || strings.Contains(listed, "charset") {
			t.Errorf("%s has a charset:\n%s\n%s", base, parts, listed)
		}
	}
}

// TestActiveContent: a type counts as one that browsers run, whatever its parameters are.
func TestActiveContent(t *testing.T) {
	for media, want := range map[string]bool{
		"text/html": true, "TEXT/HTML; charset=utf-8": true, " text/html ;broken": true, "image/svg+xml": true,
		"application/xml": true, "text/xsl": true, "multipart/mixed; boundary=x": true, "message/rfc822": true,
		"text/plain": false, "application/octet-stream": false, "image/png": false, "": false, "html": false,
	} {
		if got := active(media); got != want {
			t.Errorf("active(%q) is %t, want %t", media, got, want)
		}
	}
}
