package login

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"r-seed-1f3a754f.example/ifmatch/handler/origin"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

func requestOf(method, target, body string, header ...string) *http.Request {
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	for _, line := range header {
		name, value, _ := strings.Cut(line, ":")
		r.Header.Add(name, strings.TrimSpace(value))
	}
	return r
}

// TestKindsOfRequests: the headers are those that the programs send.
func TestKindsOfRequests(t *testing.T) {
	const (
		html    = "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
		firefox = "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:150.0) Gecko/20100101 Firefox/150.0"
		to      = "Sec-Fetch-Mode: navigate"
		top     = "Sec-Fetch-Dest: document"
	)
	for _, tt := range []struct {
		about, method string
		header        []string
		want          Kind
	}{
		{"an address that was typed", "GET", []string{html, firefox, to, top, "Sec-Fetch-Site: none"}, Person},
		{"a link here", "GET", []string{html, firefox, to, top, "Sec-Fetch-Site: same-origin"}, Person},
		{"a link elsewhere", "GET", []string{html, firefox, to, top, "Sec-Fetch-Site: cross-site"}, Person},
		{"a form", "POST", []string{html, firefox, to, top, "Sec-Fetch-Site: same-origin"}, Person},
		{"a HEAD", "HEAD", []string{to, top, "Sec-Fetch-Site: none"}, Person},
		{"a frame", "GET", []string{html, firefox, to, "Sec-Fetch-Dest: iframe", "Sec-Fetch-Site: same-origin"}, Script},
		{"fetch", "GET", []string{firefox, "Accept: application/json", "Sec-Fetch-Mode: cors", "Sec-Fetch-Site: same-origin"}, Script},
		{"fetch that writes", "PUT", []string{firefox, "Sec-Fetch-Mode: cors", "Sec-Fetch-Site: same-origin"}, Script},
		{"a picture", "GET", []string{firefox, "Sec-Fetch-Mode: no-cors", "Sec-Fetch-Dest: image", "Sec-Fetch-Site: same-origin"}, Script},
		{"a listed page", "GET", []string{firefox, "Sec-Fetch-Mode: cors", "Sec-Fetch-Site: cross-site", "Origin: https://app.example"}, Program},
		{"an old Safari", "GET", []string{html, "User-Agent: Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15) Version/15.0 Safari/605"}, Person},
		{"a script there, with a cookie", "PUT", []string{firefox, "Cookie: a=b; ifmatch-8080=x"}, Script},
		{"a script there, without", "PUT", []string{firefox}, Program},
		{"curl", "GET", []string{"User-Agent: curl/8.14.1", "Accept: */*"}, Program},
		{"curl that wants HTML", "GET", []string{"User-Agent: curl/8.14.1", html}, Program},
		{"wget2", "GET", []string{"User-Agent: wget2/2.2.0", html}, Program},
		{"lynx", "GET", []string{"User-Agent: Lynx/2.9.2", "Accept: text/html, text/plain, */*;q=0.01"}, Program},
		{"davfs2", "PROPFIND", []string{"User-Agent: davfs2/1.7.1 neon/0.34.2"}, Program},
		{"gvfs", "OPTIONS", []string{"User-Agent: gvfs/1.57.2", "Accept-Language: en"}, Program},
		{"the Finder", "PROPFIND", []string{"User-Agent: WebDAVFS/3.0.0 (03008000) Darwin/24.0.0", "Accept: */*"}, Program},
		{"Windows", "OPTIONS", []string{"User-Agent: Microsoft-WebDAV-MiniRedir/10.0.26100"}, Program},
		{"Microsoft Office", "HEAD", []string{"User-Agent: Mozilla/4.0 (compatible; ms-office; MSOffice 16)", "Accept: */*"}, Program},
		{"Microsoft Office", "PROPFIND", []string{"User-Agent: Mozilla/4.0 (compatible; ms-office; MSOffice 16)", html}, Program},
		{"rclone", "PROPFIND", []string{"User-Agent: rclone/v1.60.1-DEV", "Depth: 1"}, Program},
		{"Electron", "GET", []string{"Sec-Fetch-Mode: no-cors", "Sec-Fetch-Site: none", "Sec-Fetch-Dest: empty", "User-Agent: Mozilla/5.0 obsidian"}, Program},
	} {
		if got := KindOf(requestOf(tt.method, "http://localhost:8080/", "", tt.header...), false); got != tt.want {
			t.Errorf("%s of %s: %d, want %d", tt.method, tt.about, got, tt.want)
		}
	}
}

func TestCookiesHaveTheNameThatTheConnectionPermits(t *testing.T) {
	for _, tt := range []struct {
		host   string
		secure bool
		want   string
		fields []string
	}{
		{"files.example", true, "__Host-ifmatch", []string{"Path=/", "Max-Age=60", "HttpOnly", "Secure", "SameSite=Strict"}},
		{"files.example:8443", true, "__Host-ifmatch", []string{"Secure"}},
		{"127.0.0.1:8080", false, "ifmatch-8080", []string{"Path=/", "Max-Age=60", "HttpOnly", "SameSite=Strict"}},
		{"[::1]:8080", false, "ifmatch-8080", nil},
		{"localhost", false, "ifmatch", nil},
	} {
		r := requestOf("GET", "http://localhost/", "")
		r.Host = tt.host
		w := httptest.NewRecorder()
		SetCookie(w, r, tt.secure, "abc", 60e9)
		line := w.Header().Get("Set-Cookie")
		if !strings.HasPrefix(line, tt.want+"=abc;") || strings.Contains(line, "Domain") || strings.Contains(line, "Secure") != tt.secure {
			t.Errorf("%s: %s", tt.host, line)
		}
		for _, field := range tt.fields {
			if !strings.Contains(line+";", "; "+field+";") {
				t.Errorf("%s: no %s in %s", tt.host, field, line)
			}
		}
		r.Header.Set("Cookie", "x=y; "+tt.want+"=abc; __Host-ifmatch2=z")
		if got := Cookie(r, tt.secure); got != "abc" {
			t.Errorf("%s: %q", tt.host, got)
		}
		if got := Cookie(r, !tt.secure); got != "" {
			t.Errorf("%s: the cookie of the other connection is %q", tt.host, got)
		}
	}
}

func TestTargetsArePathsOfThisServer(t *testing.T) {
	for text, good := range map[string]bool{
		"/": true, "/a/b": true, "/a%20b/?after=c%2F&x=//y": true, "/.ifmatch/zip?path=/a/": true, "/a:b@c/": true, "/?": true,
		"": false, "a": false, "//evil.example": false, "///evil.example": false, `/\evil.example`: false, `/a\..\..`: false,
		"https://evil.example/": false, "javascript:alert(1)": false, "/\t/evil.example": false, "/a\r\nX: y": false, " /a": false,
		"/a b": false, "/ä": false, "/%zz": false, "/..//evil.example": false, "/a/..//evil.example": false, "/%2e%2e//evil.example": false,
		"/.//evil.example": false, "/a/%2e/b": false, "?a": false, "#": false,
	} {
		want := "/dav/"
		if good {
			want = text
		}
		if got := Target(text, "/dav/"); got != want {
			t.Errorf("%q: %q", text, got)
		}
	}
}

// FuzzTarget: wherever a browser would go, it stays at this server.
func FuzzTarget(f *testing.F) {
	for _, seed := range []string{"/", "//x", "/a/../b", `/\x`, "/%2f%2fx", "/a?b#c", "/;/x", "/%2ff|"} {
		f.Add(seed)
	}
	here := &url.URL{Scheme: "https", Host: "files.example", Path: "/.ifmatch/login"}
	f.Fuzz(func(t *testing.T, text string) {
		target := Target(text, "/")
		to, err := here.Parse(target)
		if err != nil || to.Scheme != here.Scheme || to.Host != here.Host || to.User != nil || strings.HasPrefix(to.EscapedPath(), "//") {
			t.Errorf("%q leads to %v, %v", text, to, err)
		}
		if strings.ContainsAny(target, "\r\n\\ ") {
			t.Errorf("%q has %q", text, target)
		}
	})
}

func TestFormsAreRead(t *testing.T) {
	const form = "Content-Type: application/x-www-form-urlencoded"
	for _, tt := range []struct {
		about, body string
		header      []string
		want        Form
		status      int // 0: none
	}{
		{"a form", "name=ann&password=a+b%26&to=%2Fx", []string{form}, Form{"ann", "a b&", "/x"}, 0},
		{"with a charset", "name=ann", []string{form + "; charset=UTF-8"}, Form{Name: "ann"}, 0},
		{"twice a name", "name=ann&name=bob", []string{form}, Form{Name: "ann"}, 0},
		{"nothing", "", []string{form}, Form{}, 0},
		{"JSON", `{"name":"ann"}`, []string{"Content-Type: application/json"}, Form{}, 415},
		{"text, which a page may send anywhere", "name=ann", []string{"Content-Type: text/plain"}, Form{}, 415},
		{"no type", "name=ann", nil, Form{}, 415},
		{"bad escapes", "name=%zz", []string{form}, Form{}, 400},
		{"the largest", "name=" + strings.Repeat("x", maxForm-5), []string{form}, Form{Name: strings.Repeat("x", maxForm-5)}, 0},
		{"too large", "name=" + strings.Repeat("x", maxForm-4), []string{form}, Form{}, 413},
	} {
		got, err := ReadForm(requestOf("POST", "http://localhost/", tt.body, tt.header...))
		refusal := new(origin.Refusal)
		if status := errors.As(err, &refusal); status != (tt.status != 0) || status && refusal.Status != tt.status || got != tt.want {
			t.Errorf("%s: %.80q, %v", tt.about, got, err)
		}
	}
	r := requestOf("POST", "http://localhost/", "", form)
	r.Body = brokenBody{}
	if _, err := ReadForm(r); !errors.As(err, new(*tree.BodyError)) {
		t.Errorf("a body that breaks off: %v", err)
	}
}

type brokenBody struct{}

func (brokenBody) Read([]byte) (int, error) { return 0, errors.New("it broke off") }
func (brokenBody) Close() error             { return nil }
