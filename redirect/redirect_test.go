package redirect

import (
	"net"
	"net/http/httptest"
	"net/url"
	"testing"
)

// GET and HEAD are led to where https is spoken, and nowhere else; nothing else is answered with more than why.
func TestPlainRequestsAreLedToHTTPS(t *testing.T) {
	public, err := url.Parse("https://Files.example:8443/dav")
	if err != nil {
		t.Fatal(err)
	}
	plain, err := url.Parse("http://plain.example")
	if err != nil {
		t.Fatal(err)
	}
	opts := Options{PublicURLs: []*url.URL{public, plain}}
	for _, tt := range []struct {
		method, host, target string
		port                 int
		status               int
		location             string
	}{
		{"GET", "files.example", "/a%2fb?x=1", 443, 308, "https://Files.example:8443/a%2fb?x=1"},
		{"HEAD", "FILES.example:80", "/", 443, 308, "https://Files.example:8443/"},
		{"GET", "127.0.0.1:80", "/a", 443, 308, "https://127.0.0.1/a"},
		{"GET", "127.0.0.1:80", "/a", 8443, 308, "https://127.0.0.1:8443/a"},
		{"GET", "[::1]:80", "/a", 443, 308, "https://[::1]/a"},
		{"GET", "[::1]", "/a", 8443, 308, "https://[::1]:8443/a"},
		{"GET", "localhost", "//evil.example/", 443, 308, "https://localhost//evil.example/"},
		{"GET", "evil.example", "/", 443, 421, ""},
		{"GET", "plain.example", "/", 443, 421, ""},
		{"GET", "files.example.evil.example", "/", 443, 421, ""},
		{"GET", "", "/", 443, 421, ""},
		{"PUT", "files.example", "/a", 443, 403, ""},
		{"PROPFIND", "files.example", "/a", 443, 403, ""},
		{"OPTIONS", "files.example", "*", 443, 403, ""},
		{"POST", "files.example", "/a", 443, 403, ""},
		{"GET", "files.example", "http://files.example/a", 443, 400, ""},
	} {
		r := httptest.NewRequestWithContext(t.Context(), tt.method, "/", nil)
		r.Host, r.RequestURI = tt.host, tt.target
		w := httptest.NewRecorder()
		opts.Server = &net.TCPAddr{Port: tt.port}
		opts.handler()(w, r)
		if got := w.Header().Get("Location"); w.Code != tt.status || got != tt.location {
			t.Errorf("%s %s of %q at port %d: %d %q, want %d %q",
				tt.method, tt.target, tt.host, tt.port, w.Code, got, tt.status, tt.location)
		}
	}
}
