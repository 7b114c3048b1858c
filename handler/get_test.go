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
)

func TestRanges(t *testing.T) {
	for _, tt := range []struct {
		about  string
		values []string
		want   []part // of 10; nil: ignored
	}{
		{"none", nil, nil},
		{"one", []string{"bytes=0-4"}, []part{{0, 5}}},
		{"open", []string{"bytes=5-"}, []part{{5, 5}}},
		{"the last", []string{"bytes=-3"}, []part{{7, 3}}},
		{"more than the last", []string{"bytes=-30"}, []part{{0, 10}}},
		{"several, with white space and empty elements", []string{"bytes=0-0, ,2-3 ,-1"}, []part{{0, 1}, {2, 2}, {9, 1}}},
		{"the unit has no case (RFC 9110 §14.1)", []string{"Bytes=1-2"}, []part{{1, 2}}},
		{"longer than it is", []string{"bytes=8-30"}, []part{{8, 2}}},
		{"longer than any file", []string{"bytes=0-99999999999999999999999"}, []part{{0, 10}}},
		{"beyond the end", []string{"bytes=10-"}, []part{}},
		{"one of several beyond the end", []string{"bytes=0-0,10-11,2-3"}, []part{{0, 1}, {2, 2}}},
		{"the last none, which is beyond the end (RFC 9110 §14.1.2)", []string{"bytes=-0"}, []part{}},
		{"the last none among others", []string{"bytes=0-1,-0"}, []part{{0, 2}}},
		{"an unknown unit is ignored (RFC 9110 §14.2)", []string{"lines=1-2"}, nil},
		{"malformed: no unit", []string{"0-4"}, nil},
		{"malformed: no range", []string{"bytes="}, nil},
		{"malformed: no dash", []string{"bytes=4"}, nil},
		{"malformed: nothing but a dash", []string{"bytes=-"}, nil},
		{"malformed: backwards", []string{"bytes=4-2"}, nil},
		{"malformed: letters", []string{"bytes=a-b"}, nil},
		{"malformed: a sign", []string{"bytes=+1-2"}, nil},
		{"malformed: one of several", []string{"bytes=0-1,x"}, nil},
		{"in several lines, which it cannot be", []string{"bytes=0-1", "bytes=2-3"}, nil},
		{"too many to be meant well", []string{"bytes=" + strings.Repeat("0-0,", maxRanges+1)}, nil},
		{"more than all there is", []string{"bytes=0-5,3-"}, nil},
	} {
		got, ok := ranges(http.Header{"Range": tt.values}, 10)
		if ok != (tt.want != nil) || ok && len(got)+len(tt.want) > 0 && !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s: %q gives %v, %v, want %v", tt.about, tt.values, got, ok, tt.want)
		}
	}
}

func TestRangesOfNothingAreIgnored(t *testing.T) {
	for _, value := range []string{"bytes=0-", "bytes=-1", "bytes=-5,0-0"} {
		if got, ok := ranges(http.Header{"Range": {value}}, 0); ok {
			t.Errorf("%q gives %v", value, got)
		}
	}
}

// FuzzRanges: what is sent is what net/http sends when it is asked for those parts.
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
		wanted, ok := ranges(r.Header, int64(len(content)))
		for _, p := range wanted {
			specs = append(specs, fmt.Sprintf("%d-%d", p.from, p.from+p.length-1))
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

// Which charset a file is in nobody has looked at, so nothing says one: neither an answer, nor a part of one, nor a listing.
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
