package handler

import (
	"compress/gzip"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"r-seed-1f3a754f.example/ifmatch/auth"
	"r-seed-1f3a754f.example/ifmatch/handler/proxy"
	"r-seed-1f3a754f.example/ifmatch/site"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

// siteLayout is a tree with a site in www.
func siteLayout() []string {
	return []string{
		"secret=s", "www/", "www/index.html=<p>home", "www/about.html=<p>about", "www/404.html=<p>lost", "www/docs/",
		"www/docs/index.html=<p>docs", "www/bare/", "www/bare/f.txt=f", "www/app.js=" + strings.Repeat("let a = 1;\n", 500),
		"www/lib.js=" + strings.Repeat("let b = 2;\n", 500), "www/lib.js.gz=squeezed by a build", "www/logo.png=png",
		"www/chunk.3f2a9c8b.js=c",
	}
}

// onHost is a site of www at www.example.
func onHost() site.Site {
	s := site.Defaults("www")
	s.Host = "www.example"
	return s
}

// askHost is ask of a URL with a host.
func askHost(t *testing.T, h http.Handler, method, url string, header ...string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, url, nil)
	for _, line := range header {
		name, value, _ := strings.Cut(line, ":")
		r.Header.Add(name, strings.TrimSpace(value))
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

const (
	navigates = "Sec-Fetch-Mode: navigate"
	takesGzip = "Accept-Encoding: gzip"
)

func TestSiteOnItsHost(t *testing.T) {
	h := inMemory(t, Config{Sites: []site.Site{onHost()}}, siteLayout()...)
	for _, test := range []struct {
		line   string
		header []string
		status int
		want   string // is in the body, or in "Field: value"
	}{
		{"GET /", nil, 200, "<p>home"},
		{"GET /", nil, 200, "Content-Type: text/html"},
		{"GET /", nil, 200, "Cache-Control: no-cache"},
		{"GET /", nil, 200, "Content-Security-Policy: "},
		{"GET /", nil, 200, "Cross-Origin-Resource-Policy: "},
		{"GET /", nil, 200, "Vary: Accept-Encoding"},
		{"HEAD /", nil, 200, "Content-Length: 7"},
		{"GET /docs", []string{navigates}, 301, "Location: /docs/"},
		{"GET /docs?a=b%2Fc", []string{navigates}, 301, "Location: /docs/?a=b%2Fc"},
		{"GET //docs", []string{navigates}, 301, "Location: /docs/"},
		{"HEAD /docs", []string{navigates}, 301, "Cache-Control: no-cache"},
		{"GET /docs", nil, 200, "<p>docs"},
		{"GET /docs/", []string{navigates}, 200, "<p>docs"},
		{"GET /about", nil, 200, "<p>about"},
		{"GET /bare/", nil, 404, "<p>lost"},
		{"GET /nothing", nil, 404, "<p>lost"},
		{"GET /nothing", nil, 404, "Etag: "},
		{"GET /nothing", []string{"Range: bytes=0-1"}, 404, "<p>lost"},
		{"GET /nothing", []string{"If-None-Match: *"}, 404, "<p>lost"},
		{"HEAD /nothing", nil, 404, "Content-Length: 7"},
		{"GET /logo.png", nil, 200, "Content-Type: image/png"},
		{"GET /logo.png", nil, 200, "Vary: "},
		{"GET /logo.png", []string{"Range: bytes=1-1"}, 206, "Content-Range: bytes 1-1/3"},
		{"GET /logo.png", []string{"Range: bytes=9-"}, 416, ""},
		{"GET /logo.png", []string{"If-None-Match: *"}, 304, ""},
		{"GET /logo.png", []string{"If-Match: \"x\""}, 412, "a condition is not true"},
		{"GET /logo.png", []string{"If: (<urn:x>)"}, 200, "png"},
		{"GET /chunk.3f2a9c8b.js", nil, 200, "Cache-Control: public, max-age=31536000, immutable"},
		{"OPTIONS /", nil, 204, "Allow: GET, HEAD, OPTIONS"},
		{"OPTIONS /", nil, 204, "Dav: "},
		// There is nothing else on the host.
		{"GET /secret", nil, 404, "<p>lost"},
		{"GET /www/index.html", nil, 404, "<p>lost"},
		{"GET /.ifmatch/events", nil, 404, "<p>lost"},
		{"GET /.ifmatch/uploads", nil, 404, "<p>lost"},
		{"GET /%2e%2e/secret", nil, 400, ""},
		{"GET /..%2fsecret", nil, 400, ""},
		{"POST /", []string{"Tus-Resumable: 1.0.0", "Upload-Length: 1"}, 405, "Allow: GET, HEAD, OPTIONS"},
	} {
		method, path, _ := strings.Cut(test.line, " ")
		w := askHost(t, h, method, "http://www.example"+path, test.header...)
		got := w.Body.String()
		if name, _, isField := strings.Cut(test.want, ": "); isField {
			got = name + ": " + w.Header().Get(name)
		}
		if w.Code != test.status || !strings.Contains(got, test.want) || strings.HasSuffix(test.want, ": ") && got != test.want {
			t.Errorf("%s %q: got %d, %q; want %d, %q", test.line, test.header, w.Code, got, test.status, test.want)
		}
	}
}

// TestSiteTakesNoWrite: a page of the site may send any method to its own host, from its own origin.
func TestSiteTakesNoWrite(t *testing.T) {
	set := []site.Site{onHost()}
	config := Config{Sites: set, TrustedProxies: proxy.Trusted{Networks: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}},
		CORSOrigins: []string{"https://app.example"}}
	h := inMemory(t, config, siteLayout()...)
	all := []string{"POST", "PATCH", "TRACE", "FOO"}
	for method := range methods {
		all = append(all, method)
	}
	for _, host := range []string{"www.example", "WWW.Example:8080", "www.example.", "proxied"} {
		for _, method := range all {
			url, header := "http://"+host+"/index.html", []string{"Destination: /x", "Depth: 0"}
			if host == "proxied" { // a proxy that says elsewhere by which name the client knows it
				url, header = "http://10.0.0.1/index.html", append(header, "X-Forwarded-Host: www.example")
			}
			w := askHost(t, h, method, url, header...)
			reads := slices.Contains([]string{"GET", "HEAD", "OPTIONS"}, method)
			if reads != (w.Code/100 == 2) || !reads && w.Code != http.StatusMethodNotAllowed || w.Header().Get("Dav") != "" {
				t.Errorf("%s at %s: got %d", method, host, w.Code)
			}
		}
	}
	w := askHost(t, h, "OPTIONS", "http://www.example/", "Origin: https://app.example", "Access-Control-Request-Method: PUT")
	if got := w.Header().Get("Access-Control-Allow-Origin"); got != "" {
		t.Errorf("the host of a site trusts %s", got)
	}
	if w := ask(t, h, "GET", "/www/index.html", ""); w.Code != 200 || w.Body.String() != "<p>home" ||
		!strings.HasPrefix(w.Header().Get("Content-Security-Policy"), "sandbox ") {
		t.Errorf("beside the site: %d, %v", w.Code, w.Header())
	}
	if w := askHost(t, h, "PUT", "http://localhost/www/x", "Origin: http://www.example"); w.Code != 403 {
		t.Errorf("a page of the site wrote: %d", w.Code)
	}
}

func TestSiteOfAnApp(t *testing.T) {
	app := onHost()
	app.SPA, app.CSP, app.Charset, app.Listing = "index.html", "default-src 'self'", "utf-8", true
	h := inMemory(t, Config{Sites: []site.Site{app}}, siteLayout()...)
	w := askHost(t, h, "GET", "http://www.example/users/7", navigates)
	if w.Code != 200 || w.Body.String() != "<p>home" || !slices.Contains(w.Header()["Vary"], site.NavigationFields) ||
		w.Header().Get("Content-Security-Policy") != app.CSP || w.Header().Get("Content-Type") != "text/html; charset=utf-8" {
		t.Errorf("a deep link: %d, %v", w.Code, w.Header())
	}
	if w := askHost(t, h, "GET", "http://www.example/old.js", "Sec-Fetch-Mode: no-cors"); w.Code != 404 {
		t.Errorf("a missing script is a page: %d", w.Code)
	}
	w = askHost(t, h, "GET", "http://www.example/bare/")
	if w.Code != 200 || !strings.Contains(w.Body.String(), `"/bare/f.txt"`) || strings.Contains(w.Body.String(), "www") {
		t.Errorf("a listing: %d, %s", w.Code, w.Body)
	}
}

// TestSiteSqueezes: each representation has a tag of its own, and none but the file's own counts for a write.
func TestSiteSqueezes(t *testing.T) {
	h := inMemory(t, Config{Sites: []site.Site{onHost()}, LooseETags: true}, siteLayout()...)
	at := "http://www.example/app.js"
	plain := askHost(t, h, "GET", at)
	small := askHost(t, h, "GET", at, takesGzip)
	tag := small.Header().Get("Etag")
	if small.Header().Get("Content-Encoding") != "gzip" || !strings.HasPrefix(tag, `W/"`) || small.Body.Len() >= plain.Body.Len()/5 ||
		small.Header().Get("Accept-Ranges") != "" || small.Header().Get("Repr-Digest") != "" {
		t.Fatalf("%d bytes, %v", small.Body.Len(), small.Header())
	}
	z, err := gzip.NewReader(small.Body)
	if err != nil {
		t.Fatal(err)
	}
	if all, err := io.ReadAll(z); err != nil || string(all) != plain.Body.String() {
		t.Errorf("other content: %v", err)
	}
	for _, test := range []struct {
		about  string
		header []string
		status int
		coding string
	}{
		{"the tag of what is sent", []string{takesGzip, "If-None-Match: " + tag}, 304, ""},
		{"the tag of the file", []string{takesGzip, "If-None-Match: " + plain.Header().Get("Etag")}, 200, "gzip"},
		{"that tag for the file", []string{"If-None-Match: " + tag}, 200, ""},
		{"a range is of the file", []string{takesGzip, "Range: bytes=0-3"}, 206, ""},
		{"no range goes on with the tag", []string{takesGzip, "Range: bytes=0-3", "If-Range: " + tag}, 200, ""},
		{"If-Match is of the file", []string{takesGzip, "If-Match: " + plain.Header().Get("Etag")}, 200, ""},
	} {
		w := askHost(t, h, "GET", at, test.header...)
		if w.Code != test.status || w.Header().Get("Content-Encoding") != test.coding ||
			!slices.Contains(w.Header()["Vary"], "Accept-Encoding") {
			t.Errorf("%s: got %d, %v", test.about, w.Code, w.Header())
		}
		if w.Code == 304 && w.Header().Get("Etag") != tag {
			t.Errorf("%s: 304 with %s", test.about, w.Header().Get("Etag"))
		}
	}
	for _, sent := range []string{tag, strings.TrimPrefix(tag, "W/")} {
		if w := ask(t, h, "PUT", "/www/app.js", "x", "If-Match: "+sent); w.Code != http.StatusPreconditionFailed {
			t.Errorf("If-Match: %s: a PUT got %d", sent, w.Code)
		}
	}
	old := httptest.NewRequestWithContext(t.Context(), "GET", at, nil)
	old.Header.Set("Accept-Encoding", "gzip")
	old.Proto, old.ProtoMinor = "HTTP/1.0", 0
	w := httptest.NewRecorder()
	if h.ServeHTTP(w, old); w.Header().Get("Content-Encoding") != "" || w.Header().Get("Content-Length") == "" {
		t.Errorf("HTTP/1.0 has no chunks: %v", w.Header())
	}
	if head := askHost(t, h, "HEAD", at, takesGzip); head.Header().Get("Etag") != tag || head.Body.Len() != 0 ||
		head.Header().Get("Content-Length") != "" {
		t.Errorf("HEAD: %v", head.Header())
	}
	if w := ask(t, h, "PUT", "/www/app.js", "x", "If-Match: "+plain.Header().Get("Etag")); w.Code != http.StatusNoContent {
		t.Errorf("the tag of the file: a PUT got %d", w.Code)
	}
}

func TestSitePrecompressed(t *testing.T) {
	store := storeInMemory(t, siteLayout()...)
	h := newTestHandler(t, Config{Sites: []site.Site{onHost()}, Store: store})
	at := "http://www.example/lib.js"
	state, err := store.Stat(t.Context(), "www/lib.js.gz", tree.ReadOptions{Want: tree.WantTag})
	if err != nil {
		t.Fatal(err)
	}
	w := askHost(t, h, "GET", at, takesGzip)
	if w.Body.String() != "squeezed by a build" || w.Header().Get("Etag") != string(state.Tag) ||
		w.Header().Get("Content-Encoding") != "gzip" || w.Header().Get("Content-Type") != "text/javascript" {
		t.Errorf("%v", w.Header())
	}
	w = askHost(t, h, "GET", at, takesGzip, "Range: bytes=0-7", "If-Range: "+string(state.Tag))
	if w.Code != 206 || w.Body.String() != "squeezed" || w.Header().Get("Content-Encoding") != "gzip" {
		t.Errorf("a range of the sibling: %d, %v", w.Code, w.Header())
	}
	if w := askHost(t, h, "GET", at, takesGzip, "If-None-Match: "+string(state.Tag)); w.Code != 304 {
		t.Errorf("If-None-Match of the sibling: %d", w.Code)
	}
	if w := ask(t, h, "PUT", "/www/lib.js", "x", "If-Match: "+string(state.Tag)); w.Code != http.StatusPreconditionFailed {
		t.Errorf("If-Match of the sibling: a PUT of the file got %d", w.Code)
	}
}

// TestSiteWithoutHost: it is shown as long as nobody can write or log in.
func TestSiteWithoutHost(t *testing.T) {
	store := storeInMemory(t, siteLayout()...)
	set := []site.Site{site.Defaults("www")}
	h := newTestHandler(t, Config{Store: store, Sites: set, ReadOnly: true, Prefix: "/dav"})
	if w := ask(t, h, "GET", "/dav/www/", ""); w.Body.String() != "<p>home" || w.Header().Get("Content-Security-Policy") != "" {
		t.Errorf("got %d, %v", w.Code, w.Header())
	}
	if w := ask(t, h, "GET", "/dav/www/docs", "", navigates); w.Header().Get("Location") != "/dav/www/docs/" {
		t.Errorf("got %d, %v", w.Code, w.Header())
	}
	if w := ask(t, h, "PROPFIND", "/dav/www/docs", "", navigates, "Depth: 0"); w.Code != 207 {
		t.Errorf("a WebDAV method got %d", w.Code)
	}
	if w := ask(t, h, "GET", "/dav/", ""); w.Code != 200 || !strings.Contains(w.Body.String(), "secret") {
		t.Errorf("beside the site: %d", w.Code)
	}
	if w := ask(t, h, "GET", "/dav/www/index.html", "", `If: (["x"])`); w.Code != 412 {
		t.Errorf("If got %d", w.Code)
	}
	readers, _ := openAuthority(t, `
[[rule]]
path = "/"
who = ["anonymous"]
effects = ["list", "read"]
`)
	for about, config := range map[string]Config{
		"a server that is written to":   {Store: store, Sites: set},
		"a read-only server with users": {Store: store, Sites: set, ReadOnly: true, Auth: readers},
		"a read-only server, no site":   {Store: store, ReadOnly: true},
	} {
		w := ask(t, newTestHandler(t, config), "GET", "/www/index.html", "")
		if w.Code != 200 || !strings.HasPrefix(w.Header().Get("Content-Security-Policy"), "sandbox ") {
			t.Errorf("%s: %d, %v", about, w.Code, w.Header())
		}
	}
}

// TestSiteAndRules: the rules decide what a site shows, and a name that may not be known looks like one that is not there.
func TestSiteAndRules(t *testing.T) {
	rule := func(path, who string) string {
		return "[[rule]]\npath = \"" + path + "\"\nwho = [\"" + who + "\"]\neffects = [\"list\", \"read\"]\n"
	}
	open, _ := openAuthority(t, rule("/www", "anonymous")+rule("/www/docs", "ann"))
	closed, _ := openAuthority(t, rule("/www", "ann")+rule("/www/docs", "bob"))
	const ann = "X-Remote-User: ann"
	for _, test := range []struct {
		about  string
		auth   *auth.Authority
		path   string
		header []string
		status int
		want   string
	}{
		{"all may read", open, "/", nil, 200, "<p>home"},
		{"a part needs a login", open, "/docs/", nil, 401, "log in"},
		{"… and one logs in", open, "/docs/", []string{ann}, 200, "<p>docs"},
		{"the site needs a login", closed, "/", nil, 401, "log in"},
		{"one logs in", closed, "/", []string{ann}, 200, "<p>home"},
		{"another one", closed, "/", []string{"X-Remote-User: cy"}, 404, "nothing is there"},
		{"a hidden part", closed, "/docs/", []string{ann}, 404, "<p>lost"},
		{"a part that is not there", closed, "/nodocs/", []string{ann}, 404, "<p>lost"},
		{"no redirect tells of a hidden part", closed, "/docs", []string{ann, navigates}, 404, "<p>lost"},
	} {
		h := inMemory(t, Config{Sites: []site.Site{onHost()}, Auth: test.auth}, siteLayout()...)
		w := askHost(t, h, "GET", "http://www.example"+test.path, test.header...)
		if w.Code != test.status || !strings.Contains(w.Body.String(), test.want) ||
			(w.Code == 401) != strings.HasPrefix(w.Header().Get("WWW-Authenticate"), "Basic ") {
			t.Errorf("%s: got %d, %s", test.about, w.Code, w.Body)
		}
		loggedIn := slices.Contains(test.header, ann)
		private := strings.HasPrefix(w.Header().Get("Cache-Control"), "private")
		if w.Code == 200 && (private != loggedIn || (w.Header().Get("Cross-Origin-Resource-Policy") == "same-origin") != loggedIn) {
			t.Errorf("%s: others may keep or embed it: %v", test.about, w.Header())
		}
	}
}
