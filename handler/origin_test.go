package handler

import (
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// No page of another site may embed an answer, so all answers say so.
func TestAllAnswersAreForTheirOwnSite(t *testing.T) {
	for _, tt := range []struct {
		method, target string
		header         []string
		status         int
	}{
		{"GET", "/f", nil, 200},
		{"HEAD", "/f", nil, 200},
		{"GET", "/", nil, 200},
		{"GET", "/f", []string{"Range: bytes=0-0"}, 206},
		{"GET", "/f", []string{"Range: bytes=99-"}, 416},
		{"GET", "/f", []string{"If-None-Match: *"}, 304},
		{"GET", "/f", []string{`If-Match: "x"`}, 412},
		{"GET", "/none", nil, 404},
		{"OPTIONS", "/f", nil, 200},
		{"PROPFIND", "/", []string{"Depth: 0"}, 207},
		{"POST", "/f", nil, 405},
		{"PUT", "/g", nil, 201},
		{"GET", "/f", []string{"Sec-Fetch-Site: cross-site"}, 403},
		{"PUT", "/f", []string{"Origin: https://other.example"}, 403},
		{"GET", "/a%2Fb", nil, 400},
	} {
		h := inMemory(t, Config{CORSOrigins: []string{"https://app.example"}}, "f=hello")
		r := httptest.NewRequest(tt.method, "http://localhost"+tt.target, nil)
		for _, line := range tt.header {
			name, value, _ := strings.Cut(line, ": ")
			r.Header.Set(name, value)
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if got := w.Header()["Cross-Origin-Resource-Policy"]; w.Code != tt.status || len(got) != 1 || got[0] != "same-origin" {
			t.Errorf("%s %s with %q: %d, want %d, with the policy %q", tt.method, tt.target, tt.header, w.Code, tt.status, got)
		}
	}
}

// The headers in which a browser describes the page that sends a request.
func TestPagesOfOtherSites(t *testing.T) {
	const (
		cross, same = "Sec-Fetch-Site: cross-site", "Sec-Fetch-Site: same-site"
		noCORS      = "Sec-Fetch-Mode: no-cors"
		navigate    = "Sec-Fetch-Mode: navigate"
		app, other  = "https://app.example", "https://other.example"
	)
	for _, tt := range []struct {
		about  string
		header []string
		// With no origin listed, and with app.example.
		none, listed int
		policy       string // where it is listed
	}{
		{"a client that is no browser", nil, 200, 200, "same-origin"},
		{"our own page", []string{"Sec-Fetch-Site: same-origin", noCORS, "Sec-Fetch-Dest: image"}, 200, 200, "same-origin"},
		{"the address bar", []string{"Sec-Fetch-Site: none", navigate, "Sec-Fetch-Dest: document"}, 200, 200, "same-origin"},
		{"a link", []string{cross, navigate, "Sec-Fetch-Dest: document", "Referer: " + other + "/"}, 200, 200, "same-origin"},
		{"a download", []string{cross, navigate}, 200, 200, "same-origin"},
		{"a script", []string{cross, noCORS, "Sec-Fetch-Dest: script"}, 403, 403, "same-origin"},
		{"nothing but the site", []string{cross}, 403, 403, "same-origin"},
		{"an image", []string{cross, noCORS, "Sec-Fetch-Dest: image", "Referer: " + other + "/x"}, 403, 403, "same-origin"},
		{"an image of another port", []string{same, noCORS, "Sec-Fetch-Dest: image"}, 403, 403, "same-origin"},
		{"a frame", []string{cross, navigate, "Sec-Fetch-Dest: iframe"}, 403, 403, "same-origin"},
		{"an object", []string{cross, navigate, "Sec-Fetch-Dest: object"}, 403, 403, "same-origin"},
		{"fetch", []string{cross, "Sec-Fetch-Mode: cors", "Sec-Fetch-Dest: empty", "Origin: " + other}, 403, 403, "same-origin"},
		{"fetch of a page without an origin", []string{cross, "Sec-Fetch-Mode: cors", "Sec-Fetch-Dest: empty", "Origin: null"}, 403, 403, "same-origin"},
		{"fetch of a page that is listed", []string{cross, "Sec-Fetch-Mode: cors", "Sec-Fetch-Dest: empty", "Origin: " + app}, 403, 200, "cross-origin"},
		{"an image of a page that is listed", []string{cross, noCORS, "Sec-Fetch-Dest: image", "Referer: " + app + "/page"}, 403, 200, "cross-origin"},
		{"an image of one with a name like it", []string{cross, noCORS, "Referer: " + app + ".evil.example/"}, 403, 403, "same-origin"},
		{"an image of one that lies in a path", []string{cross, noCORS, "Referer: " + other + "/" + app}, 403, 403, "same-origin"},
		{"a listed page, as the user of another", []string{cross, noCORS, "Referer: https://app.example@other.example/"}, 403, 403, "same-origin"},
		{"an Origin counts before a Referer", []string{cross, noCORS, "Origin: " + other, "Referer: " + app + "/"}, 403, 403, "same-origin"},
		{"an image where browsers say no more", []string{"Referer: " + other + "/"}, 200, 200, "same-origin"},
		{"the same of a page that is listed", []string{"Referer: " + app + "/"}, 200, 200, "cross-origin"},
	} {
		for origin, want := range map[string]int{"": tt.none, app: tt.listed} {
			config, policy := Config{}, "same-origin"
			if origin != "" {
				config.CORSOrigins, policy = []string{origin}, tt.policy
			}
			h := inMemory(t, config, "f=hello")
			for _, method := range []string{"GET", "HEAD"} {
				w := ask(t, h, method, "/f", "", tt.header...)
				if got := w.Header().Get("Cross-Origin-Resource-Policy"); w.Code != want || got != policy {
					t.Errorf("%s, %s, listed %q: %d with the policy %q, want %d with %q", tt.about, method, origin, w.Code, got, want, policy)
				}
			}
		}
	}
}

func TestPagesAreFramedByTheirOwnSite(t *testing.T) {
	for _, tt := range []struct {
		config Config
		want   string
	}{
		{Config{}, "frame-ancestors 'self'"},
		{Config{CORSOrigins: []string{"https://a.example", "https://b.example"}}, "frame-ancestors 'self' https://a.example https://b.example"},
	} {
		h := inMemory(t, tt.config, "f.html=hello", "f.svg=hello")
		for _, target := range []string{"/", "/f.html", "/f.svg"} {
			w := ask(t, h, "GET", target, "")
			if got := w.Header().Get("Content-Security-Policy"); !strings.HasSuffix(got, "; "+tt.want) {
				t.Errorf("%s: %q, want %q", target, got, tt.want)
			}
		}
		w := ask(t, h, "GET", "/f.html", "", "If-None-Match: *")
		if got := w.Header().Get("Content-Security-Policy"); w.Code != http.StatusNotModified || !strings.HasPrefix(got, "sandbox ") {
			t.Errorf("a 304 has the policy %q", got)
		}
	}
}

// A request without a Host is of no browser: health checks send it.
func TestRequestWithoutHost(t *testing.T) {
	h := inMemory(t, Config{}, "f=hello")
	for _, method := range []string{"OPTIONS", "GET", "HEAD", "PUT", "DELETE"} {
		r := httptest.NewRequest(method, "/f", strings.NewReader("x"))
		r.Host, r.Proto, r.ProtoMajor, r.ProtoMinor = "", "HTTP/1.0", 1, 0
		r.Header.Set("Content-Length", "1")
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code >= 300 {
			t.Errorf("%s: %d %s", method, w.Code, w.Body)
		}
	}
}

// A refusal names the flag that helps, as it is to be written.
func TestHints(t *testing.T) {
	for _, tt := range []struct {
		about          string
		config         Config
		tls            bool
		method, target string
		header         []string
		status         int
		want           string
	}{
		{"a host", Config{}, false, "GET", "http://files.example:8080/f", nil, 403, "--public-url http://files.example:8080, or"},
		{"a host, by https", Config{}, true, "GET", "https://files.example/f", nil, 403, "--public-url https://files.example, or"},
		{"a host, by a proxy with https", Config{}, false, "GET", "http://files.example/f", []string{"X-Forwarded-Proto: https"}, 403, "--public-url https://files.example, or"},
		{"a host, by another proxy with https", Config{}, false, "GET", "http://files.example/f", []string{"Forwarded: for=1.2.3.4;proto=https"}, 403, "--public-url https://files.example, or"},
		{"the proxy", Config{}, false, "GET", "http://files.example/f", nil, 403, "--trusted-proxy 192.0.2.1 if"},
		{"an origin", Config{}, false, "PUT", "http://localhost/f", []string{"Origin: https://app.example"}, 403, "--cors-origin https://app.example"},
		{"no origin", Config{}, false, "PUT", "http://localhost/f", []string{"Sec-Fetch-Site: cross-site"}, 403, "--cors-origin and the origin of that page"},
		{"an image", Config{}, false, "GET", "http://localhost/f", []string{"Sec-Fetch-Site: cross-site"}, 403, "--cors-origin and the origin of that page"},
		{"an origin that none can be made of", Config{}, false, "PUT", "http://localhost/f", []string{"Origin: null"}, 403, "no origin of a site (null)"},
		{"a destination", Config{}, false, "MOVE", "http://localhost/f", []string{"Destination: https://files.example/g"}, 502, "--public-url https://files.example, or"},
		{"a destination with a user", Config{}, false, "COPY", "http://localhost/f", []string{"Destination: http://me@files.example:81/g"}, 502, "--public-url http://files.example:81, or"},
		{"a destination of davfs", Config{}, false, "MOVE", "http://localhost/f", []string{"Destination: webdavs://files.example/g"}, 502, "--public-url https://files.example, or"},
		{"a destination elsewhere", Config{Prefix: "/dav"}, false, "MOVE", "http://localhost/dav/f", []string{"Destination: /g"}, 403, "which is /dav/ and"},
		{"LOCK without locks", Config{NoLocks: true}, false, "LOCK", "http://localhost/f", nil, 405, "takes no WebDAV locks (--no-locks)"},
		{"MKCOL of what is there", Config{}, false, "MKCOL", "http://localhost/f", nil, 405, "something is there already"},
		{"PUT of a collection", Config{}, false, "PUT", "http://localhost/d", nil, 405, "a collection is there"},
		{"PUT with a slash", Config{}, false, "PUT", "http://localhost/new/", nil, 405, "leave the slash out"},
	} {
		t.Run(tt.about, func(t *testing.T) {
			h := inMemory(t, tt.config, "f=hello", "d/")
			r := httptest.NewRequest(tt.method, tt.target, nil)
			r.RemoteAddr, r.TLS = "192.0.2.1:1234", nil
			if tt.tls {
				r.TLS = &tls.ConnectionState{}
			}
			for _, line := range tt.header {
				name, value, _ := strings.Cut(line, ": ")
				r.Header.Set(name, value)
			}
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			if w.Code != tt.status || !strings.Contains(w.Body.String(), tt.want) {
				t.Errorf("got %d %s, want %d %s", w.Code, w.Body, tt.status, tt.want)
			}
		})
	}
}
