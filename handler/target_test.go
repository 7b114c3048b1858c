package handler

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"r-seed-1f3a754f.example/ifmatch/handler/proxy"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

func TestLocate(t *testing.T) {
	for _, tt := range []struct {
		about, prefix, path string
		name                string
		slash               bool
		err                 string
	}{
		{about: "the root", path: "/", slash: true},
		{about: "a file", path: "/a", name: "a"},
		{about: "a collection", path: "/a/b/", name: "a/b", slash: true},
		{about: "escaped bytes are decoded", path: "/a%20b/%C3%A9%FF%25", name: "a b/\u00e9\xff%"},
		{about: "dots inside a name are a name", path: "/..a/b..", name: "..a/b.."},
		{about: "a backslash is a byte of a name", path: "/a%5Cb", name: `a\b`},
		{about: "up", path: "/a/../b", name: "b"},
		{about: "up, escaped", path: "/a/%2e%2E/b", name: "b"},
		{about: "up, half escaped", path: "/a/.%2e/b", name: "b"},
		{about: "up from what need not be there", path: "/a/b/c/../../d", name: "a/d"},
		{about: "up at the end is a collection", path: "/a/b/..", name: "a", slash: true},
		{about: "up to the root", path: "/a/..", slash: true},
		{about: "up past empty segments", path: "/a//../b", name: "b"},
		{about: "above the root", path: "/../a", err: "leads above the root"},
		{about: "above the root, escaped", path: "/%2e%2E/etc", err: "leads above the root"},
		{about: "above the root, and back", path: "/a/../../a", err: "leads above the root"},
		{about: "above the root, past what is none", path: "/.//./..", err: "leads above the root"},
		{about: "here", path: "/./a", name: "a"},
		{about: "here, escaped", path: "/a/%2E/b", name: "a/b"},
		{about: "here, before a colon", path: "/./a:b", name: "a:b"},
		{about: "here at the end is a collection", path: "/a/.", name: "a", slash: true},
		{about: "nothing but here", path: "/.", slash: true},
		{about: "escaped twice is a name", path: "/%252e%252e/a", name: "%2e%2e/a"},
		{about: "a doubled slash", path: "/a//b", name: "a/b"},
		{about: "a doubled slash at the start", path: "//a", name: "a"},
		{about: "what looks like an authority", path: "//there/a", name: "there/a"},
		{about: "nothing but slashes", path: "//", slash: true},
		{about: "a doubled slash at the end", path: "/a//", name: "a", slash: true},
		{about: "many slashes", path: "////a////b////", name: "a/b", slash: true},
		{about: "an escaped slash", path: "/a%2Fb", err: "has an escaped slash"},
		{about: "an escaped slash that goes up", path: "/..%2f..", err: "has an escaped slash"},
		{about: "a NUL", path: "/a%00", err: "has a NUL byte"},
		{about: "bad escapes", path: "/a%zz", err: "is badly escaped"},
		{about: "no slash", path: "a", err: "does not begin with a slash"},
		{about: "nothing", path: "", err: "does not begin with a slash"},

		{about: "below the prefix", prefix: "/x/dav", path: "/x/dav/a", name: "a"},
		{about: "the prefix itself", prefix: "/x/dav", path: "/x/dav"},
		{about: "the prefix, escaped otherwise", prefix: "/x/d%61v", path: "/%78/dav/", slash: true},
		{about: "above the prefix", prefix: "/x/dav", path: "/x/", err: errAbove.Error()},
		{about: "far above the prefix", prefix: "/x/dav", path: "/", err: errAbove.Error()},
		{about: "beside the prefix", prefix: "/x/dav", path: "/x/davy/a", err: errOutside.Error()},
		{about: "beside its parent", prefix: "/x/dav", path: "/y", err: errOutside.Error()},
		{about: "below the prefix, by a detour", prefix: "/x/dav", path: "//x/./y/../dav//a", name: "a"},
		{about: "out of the prefix", prefix: "/x/dav", path: "/x/dav/../y", err: errOutside.Error()},
		{about: "out of the prefix, escaped", prefix: "/x/dav", path: "/x/dav/%2e%2e/y", err: errOutside.Error()},
		{about: "out of the prefix, and back", prefix: "/x/dav", path: "/x/dav/../dav/a", name: "a"},
		{about: "up from the prefix", prefix: "/x/dav", path: "/x/dav/..", err: errAbove.Error()},
		{about: "above the root, with a prefix", prefix: "/x/dav", path: "/x/dav/../../../a", err: "leads above the root"},
	} {
		t.Run(tt.about, func(t *testing.T) {
			s := newTestServer(t, Config{Prefix: tt.prefix})
			name, slash, err := s.locate(tt.path)
			if got := errText(err); !strings.Contains(got, tt.err) || (tt.err == "") != (err == nil) {
				t.Fatalf("locate(%q): error %q, want %q", tt.path, got, tt.err)
			}
			if name != tt.name || slash != tt.slash {
				t.Errorf("locate(%q) = %q, %v; want %q, %v", tt.path, name, slash, tt.name, tt.slash)
			}
		})
	}
}

func TestReferenceIsOursByAuthority(t *testing.T) {
	public, _ := url.Parse("https://files.example/")
	config := Config{PublicURLs: []*url.URL{public}, TrustedProxies: proxy.Trusted{Networks: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}}
	for _, tt := range []struct {
		about, ref, peer string
		name             string
		err              error
	}{
		{about: "a path", ref: "/a", name: "a"},
		{about: "the Host of the request", ref: "http://here:8080/a", name: "a"},
		{about: "in another case", ref: "http://HERE:8080/a", name: "a"},
		{about: "of any scheme", ref: "webdavs://here:8080/a", name: "a"},
		{about: "with a user", ref: "http://me:secret@here:8080/a", name: "a"},
		{about: "a public URL, whatever the scheme and the default port", ref: "http://files.example:443/a", name: "a"},
		{about: "with an empty port", ref: "https://files.example:/a", name: "a"},
		{about: "no authority", ref: "file:///a", err: errOtherServer},
		{about: "no authority, through a proxy", ref: "file:///a", peer: "10.1.2.3:4", err: errOtherServer},
		{about: "another port", ref: "http://here:8081/a", err: errOtherServer},
		{about: "another server", ref: "http://there/a", err: errOtherServer},
		{about: "with nothing after the authority", ref: "http://here:8080", name: ""},
		{about: "with two slashes after the authority", ref: "http://here:8080//a", name: "a"},
		{about: "with dots", ref: "http://here:8080/./b/%2e%2e/a", name: "a"},
		{about: "a path that looks like an authority", ref: "//there/a", name: "there/a"},
		{about: "a path with characters that should have been escaped", ref: "/a\"b", name: "a\"b"},
		{about: "what a proxy was asked for", ref: "https://proxy/a", peer: "10.1.2.3:4", name: "a"},
		{about: "what one before that was asked for", ref: "https://EDGE:443/a", peer: "10.1.2.3:4", name: "a"},
		{about: "what it says in Forwarded", ref: "https://rfc7239/a", peer: "10.1.2.3:4", name: "a"},
		{about: "what nobody was asked for", ref: "https://there/a", peer: "10.1.2.3:4", err: errOtherServer},
		{about: "what a stranger says in Forwarded", ref: "https://rfc7239/a", peer: "192.0.2.1:4", err: errOtherServer},
		{about: "what a stranger says he was asked for", ref: "https://proxy/a", peer: "192.0.2.1:4", err: errOtherServer},
	} {
		t.Run(tt.about, func(t *testing.T) {
			s := newTestServer(t, config)
			r := httptest.NewRequest("MOVE", "http://here:8080/b", nil)
			r.Header.Set("X-Forwarded-Host", "edge, proxy:80")
			r.Header.Set("Forwarded", `for=192.0.2.1;host="rfc7239:443"`)
			if tt.peer != "" {
				r.RemoteAddr = tt.peer
			}
			name, _, err := s.reference(&request{Request: r}, tt.ref)
			if name != tt.name || !errors.Is(err, tt.err) {
				t.Errorf("reference(%q) = %q, %v; want %q, %v", tt.ref, name, err, tt.name, tt.err)
			}
		})
	}
}

func TestDestinationThatIsNoneIsRefused(t *testing.T) {
	for _, values := range [][]string{nil, {""}, {"/a", "/b"}, {"a"}, {"http://here/a#b"}, {"mailto:a"}, {"http://here/%zz"}, {"/a/../../b"},
		{"http://here/a?b"}, {"/a?b"}, {"/a?"}, {"/a?b#c"}, {"/a\tb"}, {"/a#"}, {"/a%2Fb"}, {"/a%2Fb\"c"}, {"http://here/a%2Fb\"c"}, {"http://here/a%00"}} {
		s := newTestServer(t, Config{})
		r := httptest.NewRequest("MOVE", "http://here/b", nil)
		r.Header["Destination"] = values
		if name, err := s.askedDestination(&request{Request: r}); err == nil {
			t.Errorf("Destination %q is taken for %q", values, name)
		}
	}
}

// A path that is too long for a name is refused before the store is called: here it is nil.
func TestLongNamesAreRefusedUnseen(t *testing.T) {
	h := newTestHandler(t, Config{Store: struct{ tree.Store }{}, Prefix: "/dav"})
	for _, tt := range []struct {
		about, path string
		If          bool // it is refused in an If, too
	}{
		{"a segment", "/dav/a/" + strings.Repeat("a", tree.MaxSegment+1) + "/a", false},
		{"a segment, escaped", "/dav/" + strings.Repeat("%61", tree.MaxSegment+1), false},
		{"a path", "/dav" + strings.Repeat("/a", tree.MaxName/2), true},
		{"a path, escaped", "/dav" + strings.Repeat("/%C3%A4", tree.MaxName/3), true},
		{"a path of one level", "/dav/" + strings.Repeat("a", 100<<10), true},
	} {
		for method := range methods {
			if got := ask(t, h, method, tt.path, "", "Destination:/dav/to").Code; got != http.StatusRequestURITooLong {
				t.Errorf("%s of %s: %d, want 414", method, tt.about, got)
			}
		}
		for _, ref := range []string{tt.path, "http://localhost" + tt.path} {
			for _, method := range []string{"COPY", "MOVE"} {
				if got := ask(t, h, method, "/dav/f", "", "Destination:"+ref).Code; got != http.StatusBadRequest {
					t.Errorf("%s with %s in Destination: %d, want 400", method, tt.about, got)
				}
			}
			for method := range methods {
				if !tt.If {
					continue
				}
				got := ask(t, h, method, "/dav/f", "", "Destination:/dav/to", `If:</dav/f> (["x"]) <`+ref+`> (["x"])`).Code
				if got != http.StatusBadRequest {
					t.Errorf("%s with %s in If: %d, want 400", method, tt.about, got)
				}
			}
		}
	}
}

// FuzzHref: the href of a name leads back to the name, and no path leads to an impossible name.
func FuzzHref(f *testing.F) {
	for _, seed := range []string{"a", "a/b", "..", "a b%2f", "\xff", "?#", "é/ü", ".ifmatch"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		srv := newTestServer(t, Config{Prefix: "/dav"})
		if s != "" && tree.CheckName("dav/"+s) == nil {
			for _, collection := range []bool{false, true} {
				href := srv.href(s, collection)
				if name, slash, err := srv.locate(href); err != nil || name != s || slash != collection {
					t.Fatalf("%q -> %q -> %q, %v, %v", s, href, name, slash, err)
				}
			}
		}
		if name, _, err := srv.locate("/dav/" + s); err == nil && tree.CheckName(name) != nil {
			t.Fatalf("%q leads to %q", s, name)
		}
	})
}

// FuzzTarget: each target stands for one name, or for none. That name cannot be left, its href is the only one that
// is told, and it does not matter in which header, or how often, it is read.
func FuzzTarget(f *testing.F) {
	for _, seed := range []string{"/", "/./a:b", "//a//", "/a/../b", "/%2e%2e/a", "/a/%2E%2e/../..", "/a%2fb", "/dav/../x", "/dav/..//dav/a/.", "/%00", "/é\"?"} {
		f.Add(seed)
	}
	servers := map[string]*server{}
	for _, prefix := range []string{"", "/dav"} {
		servers[prefix] = newTestServer(f, Config{Prefix: prefix})
	}
	f.Fuzz(func(t *testing.T, path string) {
		segments, slash, err := splitPath(path)
		if err != nil {
			return
		}
		for _, segment := range segments {
			if segment == "" || segment == "." || segment == ".." || strings.ContainsAny(segment, "/\x00") {
				t.Fatalf("%q has the segments %q", path, segments)
			}
		}
		href := hrefOf(segments, "", slash)
		if again, slashAgain, err := splitPath(href); err != nil || !slices.Equal(again, segments) || slashAgain != slash && len(segments) > 0 {
			t.Fatalf("%q -> %q -> %q, %v, %v", path, href, again, slashAgain, err)
		}
		if strings.Contains(href, "//") || strings.Contains(href, "/./") || strings.Contains(href, "/../") {
			t.Fatalf("%q -> %q", path, href)
		}
		for prefix, s := range servers {
			name, _, err := s.locate(path)
			if err != nil {
				continue
			}
			if got := s.href(name, true); !strings.HasPrefix(got, prefix+"/") || tree.CheckName(name) != nil {
				t.Fatalf("%q below %q -> %q", path, prefix, got)
			}
			if strings.ContainsAny(path, "?#\t") {
				continue
			}
			r := httptest.NewRequest("MOVE", "http://here/", nil)
			if got, _, err := s.reference(&request{Request: r}, path); got != name || err != nil {
				t.Fatalf("%q in a header -> %q, %v; want %q", path, got, err, name)
			}
		}
	})
}

// A Request-URI is read as it was sent, and not as package net/url would escape it.
func TestPathOf(t *testing.T) {
	for target, want := range map[string]string{
		"/a%2Fb":              "/a%2Fb",
		"/a%2Fb\"c":           "/a%2Fb\"c",
		"/a%2fb|c":            "/a%2fb|c",
		"/\xff%2F":            "/\xff%2F",
		"//there/a":           "//there/a",
		"/a?b%2F":             "/a",
		"http://there":        "/",
		"http://there?a":      "/",
		"http://there//a/%2E": "//a/%2E",
		"*":                   "*",
	} {
		u, err := url.ParseRequestURI(target)
		if err != nil {
			t.Fatal(err)
		}
		if got := pathOf(u); got != want {
			t.Errorf("%q: got %q, want %q", target, got, want)
		}
	}
	// The side that removes a prefix has the last word.
	u := &url.URL{Path: "/a", RawPath: "/stale%2Fa"}
	if got := pathOf(u); got != "/a" {
		t.Errorf("got %q", got)
	}
}

// A target in any form on the wire (RFC 9112 §3.2, RFC 9113 §8.3.1) is a path, and an authority in it leads nowhere
// else.
func TestTargetOnTheWire(t *testing.T) {
	server := httptest.NewUnstartedServer(inMemory(t, Config{}, "f=1", "there/", "there/f=2"))
	server.Config.Protocols = new(http.Protocols)
	server.Config.Protocols.SetHTTP1(true)
	server.Config.Protocols.SetUnencryptedHTTP2(true)
	server.Start()
	defer server.Close()
	http1 := func(t *testing.T, method, target string) (int, string) {
		conn, err := net.Dial("tcp", server.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		fmt.Fprintf(conn, "%s %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", method, target)
		w, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(w.Body)
		return w.StatusCode, string(body)
	}
	transport := &http.Transport{Protocols: new(http.Protocols)}
	transport.Protocols.SetUnencryptedHTTP2(true)
	defer transport.CloseIdleConnections()
	http2 := func(t *testing.T, method, target string) (int, string) {
		u, err := url.ParseRequestURI(target)
		if err != nil {
			t.Fatal(err)
		}
		u.Scheme, u.Host = "http", server.Listener.Addr().String()
		w, err := transport.RoundTrip(&http.Request{Method: method, Host: "localhost", Header: http.Header{}, URL: u})
		if err != nil {
			t.Fatal(err)
		}
		defer w.Body.Close()
		body, _ := io.ReadAll(w.Body)
		return w.StatusCode, string(body)
	}
	for _, tt := range []struct {
		method, target string
		code           int
		body           string
	}{
		{"GET", "/f", 200, "1"},
		{"GET", "//f", 200, "1"},
		{"GET", "//there/f", 200, "2"},
		{"GET", "/./there//../f", 200, "1"},
		{"GET", "/%2e/f?a=/../b", 200, "1"},
		{"GET", "/../f", 400, ""},
		{"GET", "/%2e%2e/f", 400, ""},
		{"GET", "/there%2ff", 400, ""},
		{"GET", "http://localhost/f", 200, "1"},
		{"GET", "http://localhost//there/./f", 200, "2"},
		{"GET", "http://127.0.0.1:1/f", 200, "1"}, // the Host of an absolute form is the one that counts, RFC 9112 §3.2.2
		{"GET", "http://localhost/../f", 400, ""},
		{"GET", "http://other.example/f", 403, ""},
		{"HEAD", "http://localhost", 200, ""},
		{"HEAD", "http://localhost?a", 200, ""},
		{"OPTIONS", "*", 200, ""},
		{"OPTIONS", "//", 200, ""},
		{"OPTIONS", "http://localhost", 200, ""},
		{"GET", "*", 400, ""},
	} {
		for version, send := range map[string]func(*testing.T, string, string) (int, string){"HTTP/1.1": http1, "HTTP/2": http2} {
			if version == "HTTP/2" && tt.target[0] != '/' {
				continue // there is no absolute form, and this client sends no "*"
			}
			code, body := send(t, tt.method, tt.target)
			if code != tt.code || tt.body != "" && body != tt.body {
				t.Errorf("%s %s %s: got %d %q, want %d %q", version, tt.method, tt.target, code, body, tt.code, tt.body)
			}
		}
	}
}

// Links in the page are read by programs that know no HTML.
func TestLinksOfThePage(t *testing.T) {
	names := []string{"libstdc++.txt", "a&b", "a'b", "a\"b", "<a>", "a=b@c$d", "a:b", "?#%41", "&amp;", "*(x);,!", "\u00e9\u4e00\xff", "a\nb", "~-._"}
	h := inMemory(t, Config{}, "d+&'/")
	for _, name := range names {
		if w := ask(t, h, "PUT", "/d+&'/"+url.PathEscape(name), name); w.Code != http.StatusCreated {
			t.Fatalf("PUT %q: %d", name, w.Code)
		}
	}
	page := ask(t, h, "GET", "/d+&'/", "").Body.String()
	hrefs := regexp.MustCompile(`href="([^"]*)"`).FindAllStringSubmatch(page, -1)
	if len(hrefs) != len(names)+1 {
		t.Fatalf("%d links: %s", len(hrefs), page)
	}
	var found []string
	for _, match := range hrefs[1:] { // the first leads up
		href := match[1]
		if plain := regexp.MustCompile(`^(/([A-Za-z0-9._~-]|%[0-9A-F]{2})+)+$`); !plain.MatchString(href) {
			t.Errorf("the link %s is not read by all", href)
		}
		w := ask(t, h, "GET", href, "")
		if w.Code != http.StatusOK {
			t.Errorf("GET %s: %d", href, w.Code)
		}
		found = append(found, w.Body.String())
	}
	slices.Sort(found)
	slices.Sort(names)
	if !slices.Equal(found, names) {
		t.Errorf("the links lead to %q", found)
	}
}

func TestDepth(t *testing.T) {
	all := []depth{depthZero, depthOne, depthInfinity}
	for _, tt := range []struct {
		values  []string
		allowed []depth
		want    depth
		bad     bool
	}{
		{nil, nil, depthAbsent, false},
		{[]string{"0"}, all, depthZero, false},
		{[]string{"1"}, all, depthOne, false},
		{[]string{"Infinity"}, all, depthInfinity, false},
		{[]string{"1"}, []depth{depthZero, depthInfinity}, 0, true},
		{[]string{"2"}, all, 0, true},
		{[]string{""}, all, 0, true},
		{[]string{"0", "0"}, all, 0, true},
		{[]string{"1,noroot"}, all, 0, true},
	} {
		got, err := depthOf(http.Header{"Depth": tt.values}, tt.allowed...)
		if got != tt.want || (err != nil) != tt.bad {
			t.Errorf("Depth %q: %v, %v; want %v, refused %v", tt.values, got, err, tt.want, tt.bad)
		}
	}
}

func TestOverwrite(t *testing.T) {
	for _, tt := range []struct {
		values []string
		want   bool
		bad    bool
	}{
		{nil, true, false}, {[]string{"T"}, true, false}, {[]string{"t"}, true, false}, {[]string{"F"}, false, false},
		{[]string{""}, false, true}, {[]string{"X"}, false, true}, {[]string{"T", "F"}, false, true}, {[]string{"T, F"}, false, true},
	} {
		got, err := overwrite(http.Header{"Overwrite": tt.values})
		if got != tt.want || (err != nil) != tt.bad {
			t.Errorf("Overwrite %q: %v, %v; want %v, refused %v", tt.values, got, err, tt.want, tt.bad)
		}
	}
}

func TestTimeout(t *testing.T) {
	for value, want := range map[string]time.Duration{
		"":                               lockDefault,
		"Second-180":                     3 * time.Minute,
		"second-180":                     3 * time.Minute,
		"Second-1":                       time.Second,
		"Second-0":                       lockDefault,
		"Second-4100000000":              lockLongest,
		"Second-99999999999999999999999": lockLongest,
		"Infinite":                       lockLongest,
		"Infinite, Second-4100000000":    lockLongest,
		"Extend-5, Second-20":            20 * time.Second,
		"Second--5":                      lockDefault,
		"nonsense":                       lockDefault,
	} {
		if got := timeout(http.Header{"Timeout": {value}}); got != want {
			t.Errorf("Timeout %q: %v, want %v", value, got, want)
		}
	}
}

func newTestServer(t testing.TB, config Config) *server {
	t.Helper()
	s, err := newServer(config)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func errText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
