package site

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"r-seed-1f3a754f.example/ifmatch/tree"
)

// lookIn returns a Look at names, of which those with a slash at the end are collections.
func lookIn(names ...string) Look {
	return func(name string) (tree.State, error) {
		switch {
		case name == "" || slices.Contains(names, name+"/"):
			return tree.State{Name: name, Exists: true, Collection: true}, nil
		case slices.Contains(names, name):
			return tree.State{Name: name, Exists: true, Size: 5000}, nil
		}
		return tree.State{}, nil
	}
}

func (f Found) text() string {
	said := "nothing"
	switch {
	case f.Displaced:
		said = "displaced"
	case f.Redirect:
		said = "redirect"
	case f.Listing:
		said = "listing"
	case f.File != nil:
		said = fmt.Sprintf("%d %s", f.Status, f.File.Name)
	}
	if f.Varies {
		said += " varies"
	}
	return said
}

func TestFind(t *testing.T) {
	look := lookIn("index.html", "about.html", "docs/", "docs/index.html", "bare/", "app.js", "404.html", "both/", "both.html",
		"page.html/", "x/", "x/index.html/")
	plain, listing, spa := Defaults("www"), Defaults("www"), Defaults("www")
	listing.Listing, spa.SPA = true, "index.html"
	bare := Defaults("www")
	bare.NotFound = ""
	for _, test := range []struct {
		about string
		site  Site
		path  string // with a slash at the end, and ! before it for a navigation
		want  string
	}{
		{"the root is its index", plain, "/", "200 index.html"},
		{"the root of a navigation is its index", plain, "!/", "200 index.html"},
		{"a file is that file", plain, "app.js", "200 app.js"},
		{"a file with a slash is nothing", plain, "app.js/", "404 404.html"},
		{"a collection is its index", plain, "docs/", "200 docs/index.html"},
		{"a person is led to the slash", plain, "!docs", "redirect varies"},
		{"a WebDAV client is not", plain, "docs", "200 docs/index.html varies"},
		{"no index, no listing", plain, "bare/", "404 404.html"},
		{"no index, no listing, no redirect to nothing", plain, "!bare", "404 404.html"},
		{"a listing", listing, "bare/", "listing"},
		{"a person is led to the listing", listing, "!bare", "redirect varies"},
		{"a WebDAV client gets the listing", listing, "bare", "listing varies"},
		{"an index that is a collection is none", plain, "x/", "404 404.html"},
		{"a clean URL", plain, "about", "200 about.html"},
		{"a clean URL with a slash is none", plain, "about/", "404 404.html"},
		{"a clean URL gives way to a collection", plain, "both", "404 404.html"},
		{"no clean URL is a collection", plain, "page", "404 404.html"},
		{"not found", plain, "nope", "404 404.html"},
		{"not found without a page", bare, "nope", "nothing"},
		{"a deep link of an app", spa, "!users/7", "200 index.html varies"},
		{"a deep link with a slash", spa, "!users/7/", "200 index.html varies"},
		{"a missing script of an app is not its page", spa, "assets/old.js", "404 404.html varies"},
		{"a file of an app", spa, "app.js", "200 app.js"},
	} {
		ask := Ask{Below: strings.Trim(test.path, "!/"), Slash: strings.HasSuffix(test.path, "/"),
			Navigates: strings.HasPrefix(test.path, "!")}
		found, err := test.site.Find(ask, look)
		if err != nil || found.text() != test.want {
			t.Errorf("%s: %s: got %s, %v; want %s", test.about, test.path, found.text(), err, test.want)
		}
	}
}

// TestFindFails: a store that fails says nothing about what is there.
func TestFindFails(t *testing.T) {
	broken := errors.New("broken")
	s := Defaults("www")
	s.SPA = "app.html"
	for _, failing := range []string{"", "d", "d/index.html", "x", "x.html", "app.html", "404.html"} {
		look := func(name string) (tree.State, error) {
			if name == failing {
				return tree.State{}, broken
			}
			return lookIn("d/")(name)
		}
		failed := false
		for _, below := range []string{"", "d", "x"} {
			for _, navigates := range []bool{false, true} {
				_, err := s.Find(Ask{Below: below, Navigates: navigates}, look)
				failed = failed || errors.Is(err, broken)
			}
		}
		if !failed {
			t.Errorf("the failure at %q is not told", failing)
		}
	}
}

func TestNavigates(t *testing.T) {
	for _, test := range []struct {
		mode, accept string
		want         bool
	}{
		{"navigate", "*/*", true},
		{"cors", "text/html", false},
		{"no-cors", "text/html", false},
		{"", "text/html,application/xhtml+xml,*/*;q=0.8", true},
		{"", "TEXT/HTML", true},
		{"", "*/*", false},
		{"", "", false},
	} {
		h := http.Header{}
		if test.mode != "" {
			h.Set("Sec-Fetch-Mode", test.mode)
		}
		if test.accept != "" {
			h.Set("Accept", test.accept)
		}
		if got := Navigates(h); got != test.want {
			t.Errorf("%+v: got %v", test, got)
		}
	}
}

func TestChoose(t *testing.T) {
	then := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	files := map[string]time.Time{
		"a.js": then, "a.js.br": then, "a.js.gz": then.Add(time.Second), // a build has made both
		"b.js": then, "b.js.br": then.Add(-time.Second), "b.js.gz": then.Add(-time.Hour), // b.js was written anew
		"c.js": then, "c.js.gz/": then,
	}
	look := func(name string) (tree.State, error) {
		modified, ok := files[name]
		if dir, is := files[name+"/"]; is {
			return tree.State{Name: name, Exists: true, Collection: true, Modified: dir}, nil
		}
		return tree.State{Name: name, Exists: ok, Size: 5000, Modified: modified}, nil
	}
	on, plain, only := Defaults("www"), Defaults("www"), Defaults("www")
	plain.Precompressed, plain.Compress = false, false
	only.Compress = false
	for _, test := range []struct {
		about, name, media, header string
		site                       Site
		size                       int64
		want                       string
	}{
		{"the smallest sibling", "a.js", "text/javascript", "Accept-Encoding: gzip, deflate, br, zstd", on, 0, "a.js.br br varies"},
		{"the one that is taken", "a.js", "text/javascript", "Accept-Encoding: gzip", on, 0, "a.js.gz gzip varies"},
		{"x-gzip is gzip", "a.js", "text/javascript", "Accept-Encoding: x-gzip", on, 0, "a.js.gz gzip varies"},
		{"any", "a.js", "text/javascript", "Accept-Encoding: *", on, 0, "a.js.br br varies"},
		{"any but one", "a.js", "text/javascript", "Accept-Encoding: *, br;q=0", on, 0, "a.js.gz gzip varies"},
		{"none", "a.js", "text/javascript", "Accept-Encoding: identity", on, 0, "a.js varies"},
		{"weights", "a.js", "text/javascript", "Accept-Encoding: br;q=0, gzip;q=0.001", on, 0, "a.js.gz gzip varies"},
		{"a malformed weight", "a.js", "text/javascript", "Accept-Encoding: br;q=x, gzip;y=1", on, 0, "a.js varies"},
		{"no field", "a.js", "text/javascript", "", on, 0, "a.js varies"},
		{"a sibling and a range", "a.js", "text/javascript", "Accept-Encoding: br\nRange: bytes=0-1", on, 0, "a.js.br br varies"},
		{"siblings of an older version", "b.js", "text/javascript", "Accept-Encoding: br, gzip", only, 0, "b.js varies"},
		{"… are made anew", "b.js", "text/javascript", "Accept-Encoding: br, gzip", on, 0, "b.js gzip squeezed varies"},
		{"a sibling that is a collection", "c.js", "text/javascript", "Accept-Encoding: gzip", only, 0, "c.js varies"},
		{"on the way", "c.js", "text/javascript; charset=utf-8", "Accept-Encoding: gzip", on, 0, "c.js gzip squeezed varies"},
		{"a range is of the file", "c.js", "text/javascript", "Accept-Encoding: gzip\nRange: bytes=0-1", on, 0, "c.js varies"},
		{"If-Match is of the file", "c.js", "text/javascript", "Accept-Encoding: gzip\nIf-Match: \"x\"", on, 0, "c.js varies"},
		{"too small", "c.js", "text/javascript", "Accept-Encoding: gzip", on, minCompressed - 1, "c.js varies"},
		{"too large", "c.js", "text/javascript", "Accept-Encoding: gzip", on, maxCompressed + 1, "c.js varies"},
		{"a picture", "c.js", "image/png", "Accept-Encoding: gzip", on, 0, "c.js"},
		{"off", "a.js", "text/javascript", "Accept-Encoding: gzip, br", plain, 0, "a.js"},
	} {
		h := http.Header{}
		for line := range strings.Lines(test.header) {
			name, value, _ := strings.Cut(line, ": ")
			h.Add(name, strings.TrimSpace(value))
		}
		file, _ := look(test.name)
		if test.size != 0 {
			file.Size = test.size
		}
		v, err := test.site.Choose(&file, test.media, h, look)
		got := strings.Join(strings.Fields(v.File.Name+" "+v.Coding), " ")
		if v.Squeezed {
			got += " squeezed"
		}
		if v.Varies {
			got += " varies"
		}
		if err != nil || got != test.want {
			t.Errorf("%s: got %q, %v; want %q", test.about, got, err, test.want)
		}
	}
}

// Only an immutable name that is not there is asked for in the history.
func TestFindDisplaced(t *testing.T) {
	look := lookIn("index.html", "404.html", "assets/", "assets/new.3f2a9c8b.js", "assets/gone.3f2a9c8d.js.html")
	failed := errors.New("the store fails")
	for _, test := range []struct {
		path  string
		want  string
		asked string
		err   error
	}{
		{path: "assets/old.3f2a9c8b.js", asked: "assets/old.3f2a9c8b.js", want: "displaced"},
		{path: "!assets/old.3f2a9c8b.js", asked: "assets/old.3f2a9c8b.js", want: "displaced"},
		{path: "assets/gone.3f2a9c8d.js", asked: "assets/gone.3f2a9c8d.js", want: "200 assets/gone.3f2a9c8d.js.html"},
		{path: "assets/new.3f2a9c8b.js", want: "200 assets/new.3f2a9c8b.js"},
		{path: "assets/old.3f2a9c8b.js/", want: "404 404.html"},
		{path: "assets/old.js", want: "404 404.html"},
		{path: "old.html", want: "404 404.html"},
		{path: "assets/fails.3f2a9c8b.js", asked: "assets/fails.3f2a9c8b.js", want: "nothing", err: failed},
	} {
		asked := ""
		s := Defaults("www")
		path, navigates := strings.CutPrefix(test.path, "!")
		below, slash := strings.CutSuffix(path, "/")
		found, err := s.Find(Ask{Below: below, Slash: slash, Navigates: navigates, Displaced: func(below string) (bool, error) {
			asked = below
			if strings.Contains(below, "fails") {
				return false, failed
			}
			return strings.Contains(below, "old"), nil
		}}, look)
		if got := found.text(); got != test.want || asked != test.asked || !errors.Is(err, test.err) {
			t.Errorf("%s: got %s, asked for %q, error %v; want %s", test.path, got, asked, err, test.want)
		}
	}
}

func TestGraceControl(t *testing.T) {
	for _, test := range []struct {
		left    time.Duration
		private bool
		want    string
	}{
		{90 * time.Second, false, "public, max-age=90"},
		{1999 * time.Millisecond, false, "public, max-age=1"},
		{time.Minute, true, "private, max-age=60"},
	} {
		if got := GraceControl(test.left, test.private); got != test.want {
			t.Errorf("%v left: got %q, want %q", test.left, got, test.want)
		}
	}
}
