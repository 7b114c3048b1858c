package origin

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"r-seed-1f3a754f.example/ifmatch/handler/proxy"
)

func guard(t *testing.T, pages ...string) *Guard {
	t.Helper()
	public, err := url.Parse("https://files.example")
	if err != nil {
		t.Fatal(err)
	}
	g, err := New(pages, []*url.URL{public}, proxy.Trusted{})
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func requestWith(method string, header ...string) *http.Request {
	r := httptest.NewRequest(method, "http://localhost:8080/f", nil)
	for _, line := range header {
		name, value, _ := strings.Cut(line, ":")
		r.Header.Set(name, strings.TrimSpace(value))
	}
	return r
}

// TestLoginOfABrowserChangesNothingForOthers: what a browser says of a request, and whether it may change something with
// a session, and with a password.
func TestLoginOfABrowserChangesNothingForOthers(t *testing.T) {
	g := guard(t, "https://app.example")
	for _, tt := range []struct {
		about           string
		session, basic  bool
		header          []string
		carries, refers bool // whether a session counts with a PUT, and with a GET
	}{
		{"a page of this server", true, true, []string{"Sec-Fetch-Site: same-origin", "Sec-Fetch-Mode: cors", "Origin: http://localhost:8080"}, true, true},
		{"one whose Host a proxy has changed", true, true, []string{"Sec-Fetch-Site: same-origin", "Origin: https://other.example"}, true, true},
		{"a browser that says less", true, true, []string{"Origin: http://localhost:8080"}, true, true},
		{"one that knows the public URL", true, true, []string{"Origin: https://files.example"}, true, true},
		{"a program", false, true, nil, true, true},
		{"a person, with no page", false, true, []string{"Sec-Fetch-Site: none"}, true, true},
		{"a sandbox that says same-origin", false, false, []string{"Sec-Fetch-Site: same-origin", "Origin: null"}, true, true},
		{"a sandbox", false, false, []string{"Sec-Fetch-Site: cross-site", "Origin: null", "Sec-Fetch-Mode: cors"}, false, false},
		{"a sandbox of a browser that says less", false, false, []string{"Origin: null"}, false, false},
		{"a sibling that was not asked for", false, false, []string{"Sec-Fetch-Site: same-site", "Sec-Fetch-Mode: no-cors", "Origin: http://localhost:9"}, false, false},
		{"a form of a sibling", false, false, []string{"Sec-Fetch-Site: same-site", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document",
			"Origin: http://localhost:9"}, false, true},
		{"a frame in a sibling", false, false, []string{"Sec-Fetch-Site: same-site", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: iframe"}, false, false},
		{"a listed page that was asked for", false, true, []string{"Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: cors", "Origin: https://app.example"}, false, false},
		{"a listed page that was not asked for", false, false, []string{"Sec-Fetch-Site: same-site", "Sec-Fetch-Mode: no-cors", "Origin: https://app.example"}, false, false},
		{"a listed page, in a browser that says less", false, true, []string{"Origin: https://app.example"}, false, false},
		{"a link elsewhere", false, false, []string{"Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document"}, false, true},
	} {
		for _, method := range []string{"PUT", "POST", "DELETE", "PROPFIND", "LOCK"} {
			r := requestWith(method, tt.header...)
			if got := g.CheckLogin(r, true); (got == nil) != tt.session {
				t.Errorf("%s: %s with a session: %v", tt.about, method, got)
			}
			if got := g.CheckLogin(r, false); (got == nil) != tt.basic {
				t.Errorf("%s: %s with a password: %v", tt.about, method, got)
			}
			if got := g.Carries(r); got != tt.carries {
				t.Errorf("%s: a session counts with %s: %v", tt.about, method, got)
			}
		}
		for _, method := range []string{"GET", "HEAD"} {
			r := requestWith(method, tt.header...)
			if got := g.CheckLogin(r, true); got != nil {
				t.Errorf("%s: %s: %v", tt.about, method, got)
			}
			if got := g.Carries(r); got != tt.refers {
				t.Errorf("%s: a session counts with %s: %v", tt.about, method, got)
			}
		}
	}
}
