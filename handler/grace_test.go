package handler

import (
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"r-seed-1f3a754f.example/ifmatch/etagfs"
	"r-seed-1f3a754f.example/ifmatch/fs"
	"r-seed-1f3a754f.example/ifmatch/site"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

// What a publication has displaced is answered for the grace, to those who may read it, and for no longer.
func TestSiteGrace(t *testing.T) {
	store := storeOn(t, t.TempDir(), fs.Options{History: true}, etagfs.Options{Journal: true})
	later := time.Duration(0)
	one := onHost()
	one.Grace = 10 * time.Minute
	h := newTestHandler(t, Config{Store: store, Sites: []site.Site{one}, Now: func() time.Time { return time.Now().Add(later) }})
	publish := func(script string) {
		t.Helper()
		lay(t, store, "next/", "next/index.html=<p>"+script, "next/404.html=<p>lost", "next/"+script+"=old", "next/plain.js=p")
		if w := ask(t, h, "MOVE", "/next", "", "Destination: /www"); w.Code/100 != 2 {
			t.Fatalf("MOVE: %d", w.Code)
		}
	}
	publish("app.3f2a9c8b.js")
	publish("app.3f2a9c8c.js")
	at := "http://www.example/app.3f2a9c8b.js"
	for _, test := range []struct {
		about, method, url string
		header             []string
		status             int
		want               string // is in the body, or in "Field: value"
	}{
		{"the old script", "GET", at, nil, 200, "old"},
		{"its type", "GET", at, nil, 200, "Content-Type: text/javascript"},
		{"no validator", "GET", at, nil, 200, "Etag: "},
		{"its length", "HEAD", at, nil, 200, "Content-Length: 3"},
		{"a range", "GET", at, []string{"Range: bytes=1-1"}, 206, "Content-Range: bytes 1-1/3"},
		{"a range of a version that it may not be", "GET", at, []string{"Range: bytes=1-1", `If-Range: "x"`}, 200, "old"},
		{"a range beyond it", "GET", at, []string{"Range: bytes=9-"}, 200, "old"},
		{"a navigation", "GET", at, []string{navigates}, 200, "old"},
		{"the new script", "GET", "http://www.example/app.3f2a9c8c.js", nil, 200,
			"Cache-Control: public, max-age=31536000, immutable"},
		{"with a slash", "GET", at + "/", nil, 404, "<p>lost"},
		{"one that never was", "GET", "http://www.example/app.3f2a9c8d.js", nil, 404, "<p>lost"},
		{"by WebDAV", "GET", "http://localhost/www/app.3f2a9c8b.js", nil, 404, ""},
		{"a listing by WebDAV", "PROPFIND", "http://localhost/www/app.3f2a9c8b.js", []string{"Depth: 0"}, 404, ""},
	} {
		w := askHost(t, h, test.method, test.url, test.header...)
		got := w.Body.String()
		if name, _, isField := strings.Cut(test.want, ": "); isField {
			got = name + ": " + w.Header().Get(name)
		}
		if w.Code != test.status || !strings.Contains(got, test.want) || strings.HasSuffix(test.want, ": ") && got != test.want {
			t.Errorf("%s: got %d, %q; want %d, %q", test.about, w.Code, got, test.status, test.want)
		}
	}
	age := func() int {
		t.Helper()
		value := askHost(t, h, "GET", at).Header().Get("Cache-Control")
		seconds, err := strconv.Atoi(strings.TrimPrefix(value, "public, max-age="))
		if err != nil {
			t.Fatalf("Cache-Control: %s", value)
		}
		return seconds
	}
	if n := age(); n <= 0 || n > 600 {
		t.Errorf("a cache may keep it for %d s", n)
	}
	later = 9 * time.Minute
	if n := age(); n <= 0 || n > 60 {
		t.Errorf("a minute before the end, a cache may keep it for %d s", n)
	}
	later = 11 * time.Minute
	if w := askHost(t, h, "GET", at); w.Code != http.StatusNotFound || w.Header().Get("Cache-Control") != "no-cache" {
		t.Errorf("after the end: %d, %v", w.Code, w.Header())
	}
}

// A DELETE counts at once: nothing that it has taken away is answered once it is answered itself.
func TestGraceEndsWithADelete(t *testing.T) {
	store := storeOn(t, t.TempDir(), fs.Options{History: true}, etagfs.Options{Journal: true})
	one := onHost()
	one.Grace = time.Hour
	h := newTestHandler(t, Config{Store: store, Sites: []site.Site{one}})
	for range 2 {
		lay(t, store, "next/", "next/app.3f2a9c8b.js=old")
		if w := ask(t, h, "MOVE", "/next", "", "Destination: /www"); w.Code/100 != 2 {
			t.Fatalf("MOVE: %d", w.Code)
		}
	}
	if w := ask(t, h, "DELETE", "/www/app.3f2a9c8b.js", ""); w.Code != http.StatusNoContent {
		t.Fatalf("DELETE: %d", w.Code)
	}
	if w := askHost(t, h, "GET", "http://www.example/app.3f2a9c8b.js"); w.Code != http.StatusNotFound {
		t.Errorf("got %d", w.Code)
	}
}

// Rules hold for what a publication has displaced, as they are now.
func TestGraceAsksRules(t *testing.T) {
	store := storeOn(t, t.TempDir(), fs.Options{History: true}, etagfs.Options{Journal: true})
	one := onHost()
	one.Grace = time.Hour
	rules := func(text string) Config {
		authority, _ := openAuthority(t, text)
		return Config{Store: store, Sites: []site.Site{one}, Auth: authority}
	}
	for _, script := range []string{"app.3f2a9c8b.js", "app.3f2a9c8c.js"} {
		lay(t, store, "next/", "next/"+script+"=old")
		if _, _, err := store.Move(t.Context(), "next", "www", tree.CopyOptions{}, tree.Condition{}); err != nil {
			t.Fatal(err)
		}
	}
	for _, test := range []struct {
		about, rules string
		status       int
	}{
		{"who may read the site", "[[rule]]\nwho = [\"anonymous\"]\npath = \"/www\"\neffects = [\"list\", \"read\"]\n", 200},
		{"who may not read that name", "[[rule]]\nwho = [\"anonymous\"]\npath = \"/www\"\neffects = [\"list\", \"read\"]\n" +
			"[[rule]]\nwho = [\"anonymous\"]\npath = \"/www/app.3f2a9c8b.js\"\neffects = [\"list\"]\n", 403},
	} {
		h := newTestHandler(t, rules(test.rules))
		if w := askHost(t, h, "GET", "http://www.example/app.3f2a9c8b.js"); w.Code != test.status {
			t.Errorf("%s: got %d, %s", test.about, w.Code, w.Body)
		}
	}
}

// A site with a grace needs a store that tells of its changes.
func TestGraceNeedsChanges(t *testing.T) {
	store := storeOn(t, t.TempDir(), fs.Options{History: true}, etagfs.Options{})
	one := onHost()
	one.Grace = time.Hour
	if _, err := New(Config{Store: store, Sites: []site.Site{one}}); err == nil {
		t.Error("it is accepted")
	}
}
