package handler

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"ifmatch/tree"
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
		{about: "up", path: "/a/../b", err: "has a segment .."},
		{about: "up, escaped", path: "/%2e%2E/etc", err: "has a segment .."},
		{about: "up at the end", path: "/a/..", err: "has a segment .."},
		{about: "here", path: "/./a", err: "has a segment ."},
		{about: "a doubled slash", path: "/a//b", err: "has an empty segment"},
		{about: "a doubled slash at the start", path: "//a", err: "has an empty segment"},
		{about: "nothing but slashes", path: "//", err: "has an empty segment"},
		{about: "a doubled slash at the end", path: "/a//", err: "has an empty segment"},
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
	config := Config{PublicURLs: []*url.URL{public}, TrustedProxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}
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
		{about: "without a scheme", ref: "//there/a", err: errOtherServer},
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
			name, _, err := s.reference(r, tt.ref)
			if name != tt.name || !errors.Is(err, tt.err) {
				t.Errorf("reference(%q) = %q, %v; want %q, %v", tt.ref, name, err, tt.name, tt.err)
			}
		})
	}
}

func TestDestinationThatIsNoneIsRefused(t *testing.T) {
	for _, values := range [][]string{nil, {""}, {"/a", "/b"}, {"a"}, {"http://here/a#b"}, {"mailto:a"}, {"http://here/%zz"}, {"/a/../../b"}} {
		s := newTestServer(t, Config{})
		r := httptest.NewRequest("MOVE", "http://here/b", nil)
		r.Header["Destination"] = values
		if name, err := s.destination(&request{Request: r}); err == nil {
			t.Errorf("Destination %q is taken for %q", values, name)
		}
	}
}

// FuzzHref: what a name becomes in an answer leads back to it, and nothing leads to a name that cannot be.
func FuzzHref(f *testing.F) {
	for _, seed := range []string{"a", "a/b", "..", "a b%2f", "\xff", "?#", "é/ü", ".ifmatch"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		srv := newTestServer(t, Config{Prefix: "/dav"})
		if s != "" && tree.CheckName(s) == nil {
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
