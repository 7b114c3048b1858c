package handler

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func TestRanges(t *testing.T) {
	for _, tt := range []struct {
		about  string
		values []string
		want   string // "": ignored
	}{
		{"none", nil, ""},
		{"one", []string{"bytes=0-4"}, "bytes=0-4"},
		{"open", []string{"bytes=5-"}, "bytes=5-"},
		{"the last", []string{"bytes=-5"}, "bytes=-5"},
		{"several, with white space and empty elements", []string{"bytes=0-0, ,2-3 ,-1"}, "bytes=0-0,2-3,-1"},
		{"the unit has no case (RFC 9110 §14.1)", []string{"Bytes=1-2"}, "bytes=1-2"},
		{"longer than any file", []string{"bytes=0-99999999999999999999999"}, "bytes=0-9223372036854775807"},
		{"the last none, which is beyond the end (RFC 9110 §14.1.2)", []string{"bytes=-0"}, "bytes=10-"},
		{"the last none among others", []string{"bytes=0-1,-0"}, "bytes=0-1"},
		{"an unknown unit is ignored (RFC 9110 §14.2)", []string{"lines=1-2"}, ""},
		{"malformed: no unit", []string{"0-4"}, ""},
		{"malformed: no range", []string{"bytes="}, ""},
		{"malformed: no dash", []string{"bytes=4"}, ""},
		{"malformed: nothing but a dash", []string{"bytes=-"}, ""},
		{"malformed: backwards", []string{"bytes=4-2"}, ""},
		{"malformed: letters", []string{"bytes=a-b"}, ""},
		{"malformed: a sign", []string{"bytes=+1-2"}, ""},
		{"malformed: one of several", []string{"bytes=0-1,x"}, ""},
		{"in several lines, which it cannot be", []string{"bytes=0-1", "bytes=2-3"}, ""},
		{"too many to be meant well", []string{"bytes=" + strings.Repeat("0-0,", maxRanges+1)}, ""},
	} {
		if got := ranges(http.Header{"Range": tt.values}, 10); got != tt.want {
			t.Errorf("%s: %q gives %q, want %q", tt.about, tt.values, got, tt.want)
		}
	}
}

func TestRangesOfNothingAreIgnored(t *testing.T) {
	for _, value := range []string{"bytes=0-", "bytes=-1", "bytes=-5,0-0"} {
		if got := ranges(http.Header{"Range": {value}}, 0); got != "" {
			t.Errorf("%q gives %q", value, got)
		}
	}
}

// FuzzRanges: what is passed on is understood by the one it is passed on to.
func FuzzRanges(f *testing.F) {
	for _, seed := range []string{"bytes=0-4", "bytes=-1,2-", "Bytes = 1-2", "bytes=00-0,", "x"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		passed := ranges(http.Header{"Range": {value}}, 10)
		if passed == "" {
			return
		}
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set("Range", passed)
		w := httptest.NewRecorder()
		http.ServeContent(w, r, "x", time.Time{}, strings.NewReader("0123456789"))
		switch w.Code {
		case http.StatusOK, http.StatusPartialContent:
			if part := w.Header().Get("Content-Range"); strings.Contains(part, "--") || strings.HasPrefix(part, "bytes 10-") {
				t.Fatalf("%q became %q: Content-Range: %s", value, passed, part)
			}
		case http.StatusRequestedRangeNotSatisfiable:
			if !strings.Contains(w.Body.String(), "overlap") {
				t.Fatalf("%q became %q, which is malformed: %s", value, passed, w.Body)
			}
		default:
			t.Fatalf("%q became %q: %d", value, passed, w.Code)
		}
	})
}
