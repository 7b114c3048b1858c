package site

import (
	"strings"
	"testing"
	"time"

	"github.com/BurntSushi/toml"
)

func parseText(t *testing.T, text string) ([]Site, error) {
	t.Helper()
	var content map[string]any
	if _, err := toml.Decode(text, &content); err != nil {
		t.Fatal(err)
	}
	return Parse(content["site"], text)
}

func TestParse(t *testing.T) {
	all, err := parseText(t, `
[[site]]
path = "/www/"
host = "WWW.Example.org."
index = "home.html"
not_found = ""
spa = "/app.html"
listing = true
precompressed = false
compress = false
charset = "utf-8"
csp = "default-src 'self'"
immutable = ["assets/**"]
publish_grace = "1d"
cache = [{ match = "*.woff2", value = "public, max-age=60" }]
[[site]]
path = "/"
`)
	if err != nil {
		t.Fatal(err)
	}
	one := all[0]
	if one.Path != "www" || one.Host != "www.example.org" || one.Index != "home.html" || one.NotFound != "" ||
		one.SPA != "app.html" || !one.Listing || one.Precompressed || one.Compress || one.Charset != "utf-8" ||
		one.CSP != "default-src 'self'" || len(one.Immutable) != 1 || one.Cache[0].Value != "public, max-age=60" {
		t.Errorf("got %+v", one)
	}
	one.SetGrace(time.Minute)
	if all[1].SetGrace(time.Minute); one.Grace != 24*time.Hour || all[1].Grace != time.Minute {
		t.Errorf("the graces are %v and %v", one.Grace, all[1].Grace)
	}
	if two := all[1]; two.Path != "" || two.Host != "" || two.Index != "index.html" || two.NotFound != "404.html" ||
		!two.Precompressed || !two.Compress || two.Immutable != nil {
		t.Errorf("got %+v", two)
	}
}

func TestParseRefuses(t *testing.T) {
	for text, want := range map[string]string{
		`host = "a.example"`:                                                      "the path is missing",
		`path = ""`:                                                               "the path is missing",
		`path = "a/../b"`:                                                         "no collection can have that name",
		"path = \"a\"\nhost = \"localhost\"":                                      "a site needs a name of its own",
		"path = \"a\"\nhost = \"127.0.0.1\"":                                      "a site needs a name of its own",
		"path = \"a\"\nhost = \"[::1]\"":                                          "a site needs a name of its own",
		"path = \"a\"\nhost = \"*.example\"":                                      "write a host name",
		"path = \"a\"\nhost = \"a.example/b\"":                                    "write a host name",
		"path = \"a\"\nhost = \"\"":                                               "write a host name",
		"path = \"a\"\nindex = \"b/c.html\"":                                      "is not the name of a file",
		"path = \"a\"\nspa = \"../x\"":                                            "is not the path of a file",
		"path = \"a\"\ncharset = \"utf-8; x\"":                                    "is not the name of a charset",
		"path = \"a\"\ncsp = \"a\\nb\"":                                           "a header can have",
		"path = \"a\"\nlisting = \"yes\"":                                         "write true or false",
		"path = \"a\"\nhots = \"x\"":                                              "hots: the key is not known",
		"path = \"a\"\npublish_grace = \"8d\"":                                    "up to 7d",
		"path = \"a\"\npublish_grace = 10":                                        "write a text in quotation marks",
		"path = \"a\"\nimmutable = \"x\"":                                         "write a list of patterns",
		"path = \"a\"\nimmutable = [\"\"]":                                        "is not a pattern",
		"path = \"a\"\ncache = [{ match = \"a\" }]":                               "write a list such as",
		"path = \"a\"\ncache = [{ match = \"a\", value = \"\" }]":                 "a header can have",
		"path = \"a\"\n[[site]]\npath = \"/a\"":                                   "two sites have the path /a",
		"path = \"a\"\nhost = \"h.x\"\n[[site]]\npath = \"b\"\nhost = \"H.x:80\"": "two sites have the host h.x",
	} {
		_, err := parseText(t, "\n[[site]]\n"+text)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", text, err, want)
		}
	}
	_, err := parseText(t, "\n[[site]]\npath = \"a\"\n[[site]]\nhost = \"b\"")
	if err == nil || !strings.HasPrefix(err.Error(), "line 4: site: ") {
		t.Errorf("the error has no line: %v", err)
	}
}

func TestParseFlag(t *testing.T) {
	for value, want := range map[string]string{
		"/www": "www@", "www.example=/a/b/": "a/b@www.example", "www.example=/": "@www.example", "/": "@",
		"/a=b": "a=b@", "=": "error", "": "error", "h.example=": "error", "localhost=/a": "error",
	} {
		one, err := ParseFlag(value)
		got := one.Path + "@" + one.Host
		if err != nil {
			got = "error"
		}
		if got != want {
			t.Errorf("%q: got %q, %v; want %q", value, got, err, want)
		}
	}
}

func TestCheck(t *testing.T) {
	own, hosted := Defaults("www"), Defaults("www")
	hosted.Host = "www.example"
	for _, test := range []struct {
		about         string
		site          Site
		open          bool
		ours, trusted []string
		want          string
	}{
		{"no host, where it could write", own, false, nil, nil, "could write"},
		{"no host, where nobody writes", own, true, nil, nil, ""},
		{"a host", hosted, false, []string{"files.example"}, []string{"https://app.example"}, ""},
		{"the host of the server", hosted, false, []string{"WWW.example:8443"}, nil, "a name of the server"},
		{"… where nobody writes, too", hosted, true, []string{"www.example."}, nil, "a name of the server"},
		{"a trusted origin", hosted, false, nil, []string{"https://www.example:8443"}, "leave out --cors-origin"},
	} {
		set, err := NewSet([]Site{test.site})
		if err != nil {
			t.Fatal(err)
		}
		err = set.Check(test.open, test.ours, test.trusted)
		if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
			t.Errorf("%s: got %v, want %q", test.about, err, test.want)
		}
	}
}

func TestSet(t *testing.T) {
	outer, inner, hosted, all := Defaults("a"), Defaults("a/b"), Defaults("h"), Defaults("")
	hosted.Host = "www.example"
	set, err := NewSet([]Site{outer, inner, hosted})
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"a": "a", "a/x": "a", "a/b": "a/b", "a/b/c": "a/b", "ab": "-", "": "-", "h/x": "-"} {
		got := "-"
		if s := set.At(name); s != nil {
			got = s.Path
		}
		if got != want {
			t.Errorf("%q is in %s, not %s", name, got, want)
		}
	}
	for host, want := range map[string]bool{
		"www.example": true, "WWW.EXAMPLE:8080": true, "www.example.": true, "www.example.:80": true,
		"example": false, "": false, "x.www.example": false, "127.0.0.1": false, "[::1]:80": false,
	} {
		if got := set.OfHosts("other", host) != nil; got != want {
			t.Errorf("%q: got %v", host, got)
		}
	}
	var none *Set
	if none.At("a") != nil || none.OfHosts("www.example") != nil || none.Check(false, nil, nil) != nil {
		t.Error("no set has a site")
	}
	if got := all.Below("x/y"); got != "x/y" || inner.Below("a/b/x") != "x" || inner.Below("a/b") != "" ||
		inner.Name("") != "a/b" || inner.Name("x") != "a/b/x" || all.Name("x") != "x" {
		t.Errorf("names are not those of the tree: %q", got)
	}
}

func TestCacheControl(t *testing.T) {
	s := Defaults("www")
	for _, test := range []struct{ match, value string }{
		{"*.woff2", "public, max-age=60"}, {"feeds/*", "max-age=5, s-maxage=9"}, {"/robots.txt", "no-store"},
		{"deep/**", "public, max-age=7"},
	} {
		p, err := ParsePattern(test.match)
		if err != nil {
			t.Fatal(err)
		}
		s.Cache = append(s.Cache, Rule{p, test.value})
	}
	assets := s
	p, _ := ParsePattern("assets/**")
	assets.Immutable = []Pattern{p}
	for _, test := range []struct {
		site         Site
		below, media string
		private      bool
		want         string
	}{
		{s, "index.html", "text/html", false, "no-cache"},
		{s, "app.js", "text/javascript", false, "no-cache"},
		{s, "app.3f2a9c8b.js", "text/javascript", false, forever},
		{s, "a/chunk-0123abcd4567.css", "text/css", false, forever},
		{s, "film.3f2a9c8b.webm", "video/webm", false, forever},
		{s, "film.webm", "video/webm", false, "no-cache"},
		{s, "app.3f2a9c8b.js", "text/javascript", true, "private, max-age=31536000, immutable"},
		{s, "page.3f2a9c8b.html", "text/html", false, "no-cache"},
		{s, "report-20260101.js", "text/javascript", false, "no-cache"},
		{s, "report-20260101a.js", "text/javascript", false, "no-cache"},
		{s, "facade12.js", "text/javascript", false, forever},
		{s, "document-facadebeef.js", "text/javascript", false, "no-cache"},
		{s, "a/b/x.woff2", "font/woff2", false, "public, max-age=60"},
		{s, "feeds/x.xml", "text/xml", true, "private, max-age=5"},
		{s, "feeds/a/x.xml", "text/xml", false, "no-cache"},
		{s, "deep/a/x.xml", "text/xml", false, "public, max-age=7"},
		{s, "robots.txt", "text/plain", true, "no-store"},
		{s, "a/robots.txt", "text/plain", false, "no-cache"},
		{s, "x.txt", "text/plain", true, "private, no-cache"},
		{assets, "assets/BfX1a2Qz.js", "text/javascript", false, forever},
		{assets, "assets/x.html", "text/html", false, "no-cache"},
		{assets, "app.3f2a9c8b.js", "text/javascript", false, "no-cache"},
	} {
		if got := test.site.CacheControl(test.below, test.media, test.private); got != test.want {
			t.Errorf("%s: got %q, want %q", test.below, got, test.want)
		}
	}
}

func TestTypeOf(t *testing.T) {
	s := Defaults("")
	text := s
	text.Charset = "utf-8"
	for _, test := range []struct {
		site       Site
		name, want string
	}{
		{s, "a.HTML", "text/html"}, {s, "a/b.mjs", "text/javascript"}, {s, "site.webmanifest", "application/manifest+json"},
		{s, "x.map", "application/json"}, {s, "a.wasm", "application/wasm"}, {s, "a", unknownType}, {s, "a.html.zzz", unknownType},
		{text, "a.html", "text/html; charset=utf-8"}, {text, "a.json", "application/json"}, {text, "a.png", "image/png"},
	} {
		if got := test.site.TypeOf(test.name); got != test.want {
			t.Errorf("%s: got %q, want %q", test.name, got, test.want)
		}
	}
}
