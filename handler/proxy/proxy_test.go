package proxy

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"reflect"
	"strings"
	"testing"
)

func TestClientIsNamedByTrustedProxies(t *testing.T) {
	trusted := Trusted{Networks: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8::/32")}}
	for _, tt := range []struct {
		about  string
		peer   string
		header http.Header
		want   string
	}{
		{about: "nothing said", peer: "192.0.2.1:1234", want: "192.0.2.1"},
		{about: "nothing said by a proxy", peer: "10.0.0.1:1234", want: "10.0.0.1"},
		{about: "IPv6", peer: "[fe80::1%eth0]:1234", want: "fe80::1"},
		{about: "IPv4 in IPv6", peer: "[::ffff:192.0.2.1]:1234", want: "192.0.2.1"},
		{about: "a stranger is not believed", peer: "192.0.2.1:1", header: http.Header{"X-Forwarded-For": {"192.0.2.7"}, "Forwarded": {"for=192.0.2.7"}}, want: "192.0.2.1"},
		{about: "a proxy is", peer: "10.0.0.1:1", header: http.Header{"X-Forwarded-For": {"192.0.2.7"}}, want: "192.0.2.7"},
		{about: "a proxy in IPv6", peer: "[2001:db8::1]:1", header: http.Header{"X-Forwarded-For": {"2001:db9::7"}}, want: "2001:db9::7"},
		{about: "a mapped proxy is", peer: "[::ffff:10.0.0.1]:1", header: http.Header{"X-Forwarded-For": {"192.0.2.7"}}, want: "192.0.2.7"},
		{about: "what a client made up is left of what the proxy adds", peer: "10.0.0.1:1", header: http.Header{"X-Forwarded-For": {"192.0.2.66, 192.0.2.7"}}, want: "192.0.2.7"},
		{about: "past trusted proxies", peer: "10.0.0.1:1", header: http.Header{"X-Forwarded-For": {"192.0.2.66, 192.0.2.7, 10.0.0.3", "10.0.0.2"}}, want: "192.0.2.7"},
		{about: "all are trusted: the farthest", peer: "10.0.0.1:1", header: http.Header{"X-Forwarded-For": {"10.0.0.3,10.0.0.2"}}, want: "10.0.0.3"},
		{about: "with ports", peer: "10.0.0.1:1", header: http.Header{"X-Forwarded-For": {"192.0.2.7:4711, [2001:db8::2]:4711"}}, want: "192.0.2.7"},
		{about: "brackets without a port", peer: "10.0.0.1:1", header: http.Header{"X-Forwarded-For": {"[2001:db9::2]"}}, want: "2001:db9::2"},
		{about: "not an address", peer: "10.0.0.1:1", header: http.Header{"X-Forwarded-For": {"192.0.2.7, unknown, 10.0.0.2"}}, want: "10.0.0.2"},
		{about: "empty", peer: "10.0.0.1:1", header: http.Header{"X-Forwarded-For": {""}}, want: "10.0.0.1"},
		{about: "Forwarded", peer: "10.0.0.1:1", header: http.Header{"Forwarded": {`for=192.0.2.66, For="[2001:db9::7]:4711";proto=https`, "for=10.0.0.2"}}, want: "2001:db9::7"},
		{about: "Forwarded, obfuscated", peer: "10.0.0.1:1", header: http.Header{"Forwarded": {"for=_hidden, for=10.0.0.2"}}, want: "10.0.0.2"},
		{about: "Forwarded without for", peer: "10.0.0.1:1", header: http.Header{"Forwarded": {"for=192.0.2.7, proto=https"}}, want: "10.0.0.1"},
		{about: "Forwarded, malformed in what the client sent", peer: "10.0.0.1:1", header: http.Header{"Forwarded": {`for="192.0.2.66`, "for=192.0.2.7"}}, want: "192.0.2.7"},
		{about: "Forwarded, malformed so as to take in what the proxy adds", peer: "10.0.0.1:1", header: http.Header{"Forwarded": {`for=192.0.2.66;x=", for=192.0.2.7`}}, want: "10.0.0.1"},
		{about: "Forwarded passed on beside X-Forwarded-For", peer: "10.0.0.1:1", header: http.Header{"Forwarded": {"for=192.0.2.66"}, "X-Forwarded-For": {"192.0.2.7"}}, want: "192.0.2.7"},
	} {
		t.Run(tt.about, func(t *testing.T) {
			r := httptest.NewRequest("GET", "/", nil)
			r.RemoteAddr, r.Header = tt.peer, tt.header
			if got := trusted.Client(r).String(); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

// RFC 7239 §4.
func TestParseForwarded(t *testing.T) {
	for value, want := range map[string][]hop{
		"":                                  nil,
		", ,":                               nil,
		`for="_gazonk"`:                     {{from: "_gazonk"}},
		`For="[2001:db8:cafe::17]:4711"`:    {{from: "[2001:db8:cafe::17]:4711"}},
		`for=192.0.2.60;proto=http;by=::1`:  {{from: "192.0.2.60", proto: "http"}},
		`for=192.0.2.43, for=198.51.100.17`: {{from: "192.0.2.43"}, {from: "198.51.100.17"}},
		`host=a;for=b , ;HOST="c:1";;`:      {{from: "b", host: "a"}, {host: "c:1"}},
		`for="a\"b,;\\";host=c`:             {{from: `a"b,;\`, host: "c"}},
		`for="";host=a`:                     {{host: "a"}},
		`for=192.0.2.1:80`:                  {{from: "192.0.2.1:80"}}, // not a token, and seen
		`secret=x`:                          {{}},
		"\tfor=a\t;\thost=b\t,\tproto=http": {{from: "a", host: "b"}, {proto: "http"}},
	} {
		if got, ok := parseForwarded(value); !ok || !reflect.DeepEqual(got, want) {
			t.Errorf("parseForwarded(%q) = %q, %v; want %q", value, got, ok, want)
		}
	}
	for _, value := range []string{
		"for", "for=", "=a", ";=", `for="a`, `for="a\"`, `for="a"b`, `for=a"b"`, "for=a b", "for=a for=b", "for=a;for=b", "for =a",
		"for= a", `for="a\`, "for=a, for",
	} {
		if got, ok := parseForwarded(value); ok {
			t.Errorf("parseForwarded(%q) = %q, want nothing", value, got)
		}
	}
}

// FuzzForwarded: a value that was read and written again is read as the same. An element that a proxy appends to a
// well-formed value is the last one, after any other elements.
func FuzzForwarded(f *testing.F) {
	for _, seed := range []string{`for=a;host="b\"", for=_c;proto=https`, `,;,`, `for="`, "for=a;for=b"} {
		f.Add(seed)
	}
	quoted := func(s string) string { return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"` }
	f.Fuzz(func(t *testing.T, value string) {
		hops, ok := parseForwarded(value)
		if !ok {
			return
		}
		var written []string
		for _, h := range hops {
			written = append(written, "for="+quoted(h.from)+";host="+quoted(h.host)+";proto="+quoted(h.proto))
		}
		again, ok := parseForwarded(strings.Join(written, ", "))
		if !ok || !reflect.DeepEqual(again, hops) {
			t.Errorf("%q is %q, written %q, read %q", value, hops, written, again)
		}
		longer, ok := parseForwarded(value + ", for=appended")
		if !ok || len(longer) != len(hops)+1 || longer[len(hops)].from != "appended" {
			t.Errorf("%q with something appended is %q", value, longer)
		}
	})
}
