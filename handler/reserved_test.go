package handler

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"r-seed-1f3a754f.example/ifmatch/fs"
)

// A name that some file system could take for the state of the server is missing for readers. Writers get a refusal
// that explains it.
func TestReserved(t *testing.T) {
	for _, name := range []string{
		".ifmatch", ".IfMatch", ".ifmatch.", ".ifmatch%20", ".ifmatch.%20.", ".IFMATCH/format", "d/.ifmatch", "d/.ifmatch./x", ".ifmatch/",
		".ifmatch::$INDEX_ALLOCATION", ".ifmatch:x", ".if%C2%ADmatch", "%E2%80%8B.ifmatch", ".ifmatch%EF%B8%8F", ".%C4%B1fmatch",
		"%EF%BC%8Eifmatch", ".%EF%BD%89fmatch", ".ifmatch%EF%80%A9", "./.ifmatch", "/.ifmatch", "d/../.ifmatch", ".ifmatch/x/..", "%2eifmatch",
	} {
		h := inMemoryWith(t, fs.Options{}, Config{}, "d/", "f=1")
		target := "/" + name
		for _, test := range []struct {
			method, body string
			header       []string
			code         int
		}{
			{"GET", "", nil, 404},
			{"HEAD", "", nil, 404},
			{"PROPFIND", "", []string{"Depth: 0"}, 404},
			{"PROPFIND", "", []string{"Depth: 1"}, 404},
			{"PUT", "x", nil, 403},
			{"PUT", "x", []string{"If-None-Match: *"}, 403},
			{"PUT", "x", []string{"If-Match: *"}, 403},
			{"MKCOL", "", nil, 403},
			{"DELETE", "", nil, 403},
			{"PROPPATCH", patchOf("<x>1</x>"), nil, 403},
			{"LOCK", lockBody, nil, 403},
			{"COPY", "", []string{"Destination: /new"}, 403},
			{"MOVE", "", []string{"Destination: /new"}, 403},
		} {
			checkReserved(t, ask(t, h, test.method, target, test.body, test.header...), test.method+" "+target, test.code)
		}
		for _, method := range []string{"COPY", "MOVE"} {
			for _, overwrite := range []string{"T", "F"} {
				w := ask(t, h, method, "/f", "", "Destination: "+target, "Overwrite: "+overwrite)
				checkReserved(t, w, method+" to "+target, 403)
			}
		}
		// It is no resource whose state could be anything.
		for list, code := range map[string]int{`(["x"])`: 412, `(Not ["x"])`: 204} {
			if w := ask(t, h, "PUT", "/f", "1", "If: <"+target+"> "+list); w.Code != code {
				t.Errorf("If %s %s: got %d, want %d", target, list, w.Code, code)
			}
		}
		hrefs, _ := told(t, ask(t, h, "PROPFIND", "/", "", "Depth: infinity").Body.Bytes())
		if len(hrefs) != 3 {
			t.Errorf("%s: there is %q", target, hrefs)
		}
	}
}

func checkReserved(t *testing.T, w *httptest.ResponseRecorder, what string, code int) {
	t.Helper()
	if w.Code != code || strings.Contains(w.Body.String(), "reserved") != (code == http.StatusForbidden) {
		t.Errorf("%s: got %d %s, want %d", what, w.Code, w.Body, code)
	}
}
