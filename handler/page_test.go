package handler

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"r-seed-1f3a754f.example/ifmatch/fs"
	"r-seed-1f3a754f.example/ifmatch/internal/servertest"
	"r-seed-1f3a754f.example/ifmatch/tree"
	"r-seed-1f3a754f.example/ifmatch/web"
)

const browser = "Accept:text/html,application/xhtml+xml,*/*;q=0.8"

// TestPageIsForBrowsers: a program that follows links gets the list, whole, and the page has no validators.
func TestPageIsForBrowsers(t *testing.T) {
	for _, test := range []struct {
		mode                    web.Mode
		accept                  string
		page, links, negotiated bool
	}{
		{web.Full, browser, true, true, true},
		{web.Full, "Accept:*/*", false, true, true},
		{web.Full, "X:y", false, true, true},
		{web.List, browser, false, true, false},
		{"", browser, false, true, false},
		{web.Off, browser, false, false, false},
	} {
		h := inMemory(t, Config{Page: test.mode}, "d/", "d/f=1")
		for _, target := range []string{"/d/", "/d", "/d/?after=x/"} {
			w := ask(t, h, "GET", target, "", test.accept)
			policy := w.Header().Get("Content-Security-Policy")
			if isPage := strings.Contains(policy, "script-src localhost/.ifmatch/page/"); w.Code != 200 || isPage != test.page {
				t.Errorf("%q, %s, %s: %d, the policy is %q", test.mode, test.accept, target, w.Code, policy)
			}
			if links := strings.Contains(w.Body.String(), `<a href="/d/f">`); links != test.links {
				t.Errorf("%q, %s, %s: links %v in\n%s", test.mode, test.accept, target, links, w.Body)
			}
			vary := strings.Join(w.Header().Values("Vary"), ", ")
			if strings.Contains(vary, "Accept, Authorization, Cookie") != test.negotiated || w.Header().Get("Etag") != "" {
				t.Errorf("%q, %s, %s: Vary: %q, ETag: %q", test.mode, test.accept, target, vary, w.Header().Get("Etag"))
			}
			if head := ask(t, h, "HEAD", target, "", test.accept); head.Code != 200 || head.Body.Len() != 0 ||
				head.Header().Get("Content-Security-Policy") != policy {
				t.Errorf("%q, %s, %s: HEAD %d, %v", test.mode, test.accept, target, head.Code, head.Header())
			}
		}
		if w := ask(t, h, "GET", "/none/", "", test.accept); w.Code != 404 {
			t.Errorf("%q: nothing is a %d", test.mode, w.Code)
		}
	}
}

// Without the page, its addresses are reserved names, as all like them.
func TestAddressesOfThePageAreThoseOfThePageAlone(t *testing.T) {
	own := []string{"/.ifmatch/list?path=/", "/.ifmatch/zip?path=/", "/.ifmatch/search?path=/&q=f", "/.ifmatch/history?path=/f", "/.ifmatch/latest?path=/f",
		"/.ifmatch/" + web.AssetDir() + "page.js"}
	for _, target := range own {
		for _, mode := range []web.Mode{web.List, web.Off} {
			if w := ask(t, inMemory(t, Config{Page: mode}, "f=1"), "GET", target, ""); w.Code != 404 {
				t.Errorf("%s with %q: %d", target, mode, w.Code)
			}
		}
		h := inMemory(t, Config{Page: web.Full}, "f=1")
		if w := ask(t, h, "GET", target, ""); w.Code != 200 {
			t.Errorf("GET %s: %d, %s", target, w.Code, w.Body)
		}
		for _, method := range []string{"PUT", "POST", "DELETE", "MKCOL", "PROPFIND"} {
			if w := ask(t, h, method, target, ""); w.Code != 405 || w.Header().Get("Allow") == "" {
				t.Errorf("%s %s: %d, Allow: %q", method, target, w.Code, w.Header().Get("Allow"))
			}
		}
	}
	h := inMemory(t, Config{Page: web.Full}, "f=1", "d/")
	for target, want := range map[string]int{
		"/.ifmatch/": 404, "/.ifmatch/list": 400, "/.ifmatch/list?path=f": 400, "/.ifmatch/list?path=/none": 404,
		"/.ifmatch/list?path=/f": 404, "/.ifmatch/list?path=/.ifmatch/": 404, "/.ifmatch/list?path=/%2e%2e/": 400,
		"/.ifmatch/list?path=/d/..": 200, "/.ifmatch/list/x?path=/": 404, "/.ifmatch/list?path=%zz": 400, "/.IFMATCH/list?path=/": 404,
		"/d/.ifmatch/list?path=/": 404, "/.ifmatch/search?path=/": 400, "/.ifmatch/restore?path=/f&id=x": 405,
		"/.ifmatch/search?path=/&q=" + strings.Repeat("x", 300): 400, "/.ifmatch/search?path=/none/&q=f": 404,
		"/.ifmatch/search?path=/f&q=f": 404, "/.ifmatch/search?path=/d/&q=f": 200, "/.ifmatch/zip?path=/none/": 404,
		"/.ifmatch/zip?path=/f": 404, "/.ifmatch/list?path=/d/": 200,
	} {
		if w := ask(t, h, "GET", target, ""); w.Code != want {
			t.Errorf("GET %s: %d, want %d: %s", target, w.Code, want, w.Body)
		}
	}
}

type listed struct {
	May     []string
	Token   string
	Members []struct {
		Href, Name, ETag string
		Size             int64
		Collection       bool
	}
	Versions []struct{ ID, Href, Cause, ETag, By string }
	Complete bool
}

func decode(t *testing.T, w *httptest.ResponseRecorder) (l listed) {
	t.Helper()
	if err := json.Unmarshal(w.Body.Bytes(), &l); err != nil || w.Code != 200 {
		t.Fatalf("%d, %v: %s", w.Code, err, w.Body)
	}
	return l
}

func (l listed) names() (names []string) {
	for _, m := range l.Members {
		names = append(names, m.Href)
	}
	slices.Sort(names)
	return names
}

var someHidden = servertest.Rules(
	"/ ann,bob list,read,create,replace,remove,history",
	"/open/secret ann list,read,history,create,replace,remove", "/open/shown ann,bob list",
)

// TestPageTellsOnlyWhatItsAskerMayKnow: as a listing does, in each of its answers.
func TestPageTellsOnlyWhatItsAskerMayKnow(t *testing.T) {
	authority, _ := openAuthority(t, someHidden)
	h := newTestHandler(t, Config{Page: web.Full, Auth: authority,
		Store: storeInMemory(t, "open/", "open/a=1", "open/secret/", "open/secret/a=2", "open/shown=3")})
	for user, want := range map[string][]string{
		"ann": {"/open/a", "/open/secret/", "/open/shown"}, "bob": {"/open/a", "/open/shown"},
	} {
		l := decode(t, askAs(t, h, user, "GET", "/.ifmatch/list?path=/open/", ""))
		if !slices.Equal(l.names(), want) || !slices.Contains(l.May, "create") {
			t.Errorf("%s: listed %v, may %v", user, l.names(), l.May)
		}
		for _, m := range l.Members {
			if told := m.ETag != ""; m.Href == "/open/shown" && told {
				t.Errorf("%s is told the ETag of what cannot be read", user)
			}
		}
		page := askAs(t, h, user, "GET", "/open/", "", browser).Body.String()
		if strings.Contains(page, "secret") != (user == "ann") {
			t.Errorf("%s: the page is\n%s", user, page)
		}
		found := decode(t, askAs(t, h, user, "GET", "/.ifmatch/search?path=/&q=A", ""))
		if slices.Contains(found.names(), "/open/secret/a") != (user == "ann") || !found.Complete {
			t.Errorf("%s has found %v", user, found.names())
		}
		w := askAs(t, h, user, "GET", "/.ifmatch/zip?path=/open/", "")
		inside := contentsOf(t, w.Body.Bytes())
		_, secret := inside["open/secret/a"]
		_, shown := inside["open/shown"]
		if inside["open/a"] != "1" || secret != (user == "ann") || shown {
			t.Errorf("%s has the archive %v", user, inside)
		}
	}
	for _, address := range []string{"list", "zip", "history", "latest", "search"} {
		if w := askAs(t, h, "bob", "GET", "/.ifmatch/"+address+"?q=a&path=/open/secret/", ""); w.Code != 404 {
			t.Errorf("%s of what bob may not see: %d, %s", address, w.Code, w.Body)
		}
		if w := ask(t, h, "GET", "/.ifmatch/"+address+"?q=a&path=/open/", ""); w.Code != 401 {
			t.Errorf("%s by nobody: %d", address, w.Code)
		}
	}
}

// The latest change tells who has made the version that is there, to those who may know the history.
func TestTheMakerOfAVersionIsToldToThoseWhoMayKnow(t *testing.T) {
	authority, _ := openAuthority(t, someHidden)
	h := newTestHandler(t, Config{Page: web.Full, Auth: authority,
		Store: storeInMemory(t, "open/", "open/secret/", "open/secret/a=2", "open/shown=3", "open/d/")})
	do := func(user, method, target, body string, headers ...string) string {
		t.Helper()
		w := askAs(t, h, user, method, target, body, headers...)
		if w.Code >= 300 {
			t.Fatalf("%s by %s: %d, %s", target, user, w.Code, w.Body)
		}
		return w.Body.String()
	}
	latest := func(user, path string) string { return do(user, "GET", "/.ifmatch/latest?path="+path, "") }
	do("ann", "PUT", "/open/new", "1")
	do("bob", "PUT", "/open/new", "2")
	do("ann", "MOVE", "/open/secret/a", "", "Destination:/open/out")
	do("ann", "PUT", "/open/d/f", "1")
	do("bob", "MOVE", "/open/d/", "", "Destination:/open/e/")
	for _, test := range []struct{ user, path, has, hasNot string }{
		{"ann", "/open/new", `"cause":"PUT","by":"bob"`, ""},
		{"bob", "/open/new", `"etag":"\"`, "ann"},
		{"bob", "/open/shown", "{}", "ann"},                         // what cannot be read has no history
		{"bob", "/open/out", `"cause":"MOVE","by":"ann"`, "secret"}, // and not from where
		{"ann", "/open/e/f", "{}", "bob"},                           // the folder was moved, and not written
		{"ann", "/open/e/", `"cause":"MOVE","by":"bob"`, `"d"`},
		{"ann", "/open/", "", "bob"},
	} {
		if got := latest(test.user, test.path); !strings.Contains(got, test.has) ||
			test.hasNot != "" && strings.Contains(got, test.hasNot) {
			t.Errorf("%s asks about %s: %s", test.user, test.path, got)
		}
	}
}

func contentsOf(t *testing.T, archive []byte) map[string]string {
	t.Helper()
	r, err := zip.NewReader(bytes.NewReader(archive), int64(len(archive)))
	if err != nil {
		t.Fatal(err)
	}
	inside := map[string]string{}
	for _, f := range r.File {
		content, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		all, err := io.ReadAll(content)
		if err != nil {
			t.Fatal(err)
		}
		inside[f.Name] = string(all)
	}
	return inside
}

func TestArchiveHasTheSelectedMembers(t *testing.T) {
	h := inMemory(t, Config{Page: web.Full}, "d/", "d/a=1", "d/b/", "d/b/c=2", "d/+ &=3", `d/x\..\y=4`, "d/\xff=5")
	for query, want := range map[string]map[string]string{
		"":                     {"d/a": "1", "d/b/": "", "d/b/c": "2", "d/+ &": "3", "d/x\u29f5..\u29f5y": "4", "d/\xff": "5"},
		"&only=b":              {"d/b/": "", "d/b/c": "2"},
		"&only=a&only=%2B+%26": {"d/a": "1", "d/+ &": "3"},
		"&only=%FF":            {"d/\xff": "5"},
		"&only=none":           {},
	} {
		w := ask(t, h, "GET", "/.ifmatch/zip?path=/d/"+query, "")
		got := contentsOf(t, w.Body.Bytes())
		if len(got) != len(want) {
			t.Errorf("%s: %v", query, got)
		}
		for name, content := range want {
			if got[name] != content {
				t.Errorf("%s: %q is %q, want %q", query, name, got[name], content)
			}
		}
		if d := w.Header().Get("Content-Disposition"); !strings.HasPrefix(d, "attachment") || w.Header().Get("Content-Length") != "" {
			t.Errorf("%s: %v", query, w.Header())
		}
	}
}

// breaksInContents is a store whose contents cannot be read from some time on.
type breaksInContents struct {
	tree.Store
	failing *bool
}

func (s *breaksInContents) Open(
	ctx context.Context, name string, opts tree.ReadOptions, cond tree.Condition,
) (tree.Content, tree.State, error) {
	content, state, err := s.Store.Open(ctx, name, opts, cond)
	return &broken{content, s.failing}, state, err
}

type broken struct {
	tree.Content
	failing *bool
}

func (c *broken) WriteRange(ctx context.Context, w io.Writer, offset, n int64) (int64, error) {
	if *c.failing {
		return 0, tree.ErrChanged
	}
	return c.Content.WriteRange(ctx, w, offset, n)
}

// TestArchiveThatFailsHasNoEnd: a client must not take the half for the whole.
func TestArchiveThatFailsHasNoEnd(t *testing.T) {
	failing := false
	store := &breaksInContents{Store: dirInMemory(t, fs.Options{}, "a=1", "b=2", "c=3"), failing: &failing}
	h := newTestHandler(t, Config{Page: web.Full, Store: store})
	if got := contentsOf(t, ask(t, h, "GET", "/.ifmatch/zip?path=/", "").Body.Bytes()); len(got) != 3 {
		t.Fatalf("the whole archive is %v", got)
	}
	failing = true
	w := httptest.NewRecorder()
	cut := func() (cut bool) {
		defer func() { cut = recover() == http.ErrAbortHandler }()
		h.ServeHTTP(w, httptest.NewRequest("GET", "http://localhost/.ifmatch/zip?path=/", nil))
		return false
	}()
	if _, err := zip.NewReader(bytes.NewReader(w.Body.Bytes()), int64(w.Body.Len())); !cut || err == nil {
		t.Errorf("the answer was cut: %v, and it opens: %v", cut, err)
	}
}

// TestHistoryIsReadAndRestoredUnderConditions goes through the addresses of the history.
func TestHistoryIsReadAndRestoredUnderConditions(t *testing.T) {
	var log bytes.Buffer
	authority, _ := openAuthority(t, someHidden)
	h := newTestHandler(t, Config{Page: web.Full, Auth: authority, Store: dirInMemory(t, fs.Options{History: true}),
		Audit: slog.New(slog.NewTextHandler(&log, nil))})
	do := func(user, method, target, body string, want int, header ...string) *httptest.ResponseRecorder {
		t.Helper()
		w := askAs(t, h, user, method, target, body, header...)
		if w.Code != want {
			t.Fatalf("%s %s: %d, want %d: %s", method, target, w.Code, want, w.Body)
		}
		return w
	}
	do("ann", "PUT", "/f", "one", 201)
	tag := do("bob", "PUT", "/f", "two", 204).Header().Get("Etag")
	l := decode(t, do("ann", "GET", "/.ifmatch/history?path=/f", "", 200))
	if len(l.Versions) != 1 || l.Versions[0].Cause != "PUT" || l.Versions[0].By != "bob" || !l.Complete {
		t.Fatalf("%+v", l)
	}
	id := "&id=" + url.QueryEscape(l.Versions[0].ID)
	old := do("ann", "GET", "/.ifmatch/version?path=/f"+id, "", 200)
	if old.Body.String() != "one" || old.Header().Get("Content-Disposition") != "attachment" {
		t.Errorf("%q, %v", old.Body, old.Header())
	}
	do("ann", "GET", "/.ifmatch/version?path=/other"+id, "", 404)
	do("", "GET", "/.ifmatch/version?path=/f"+id, "", 401)

	restore := "/.ifmatch/restore?path=/f" + id
	do("ann", "POST", restore, "", 428)
	do("ann", "POST", restore, "", 412, "If-None-Match:*")
	do("ann", "POST", restore, "", 412, `If-Match:"x"`)
	do("", "POST", restore, "", 401, "If-Match:"+tag)
	do("ann", "GET", restore, "", 405)
	if do("ann", "GET", "/f", "", 200).Body.String() != "two" {
		t.Error("a refused restore has changed something")
	}
	do("ann", "POST", restore, "", 204, "If-Match:"+tag)
	if got := do("ann", "GET", "/f", "", 200); got.Body.String() != "one" {
		t.Errorf("restored: %q", got.Body)
	}
	if !strings.Contains(log.String(), "method=restore name=/f") {
		t.Errorf("the restore is not in the audit log:\n%s", &log)
	}
	do("ann", "POST", restore, "", 409, "If-Match:*")

	// A collection comes back with its members, where its name is free.
	do("ann", "MKCOL", "/d", "", 201)
	do("ann", "PUT", "/d/a", "1", 201)
	do("ann", "DELETE", "/d", "", 204)
	l = decode(t, do("ann", "GET", "/.ifmatch/history?path=/d", "", 200))
	if len(l.Versions) != 1 || l.Versions[0].Href != "/d/" {
		t.Fatalf("%+v", l)
	}
	do("ann", "POST", "/.ifmatch/restore?path=/d&id="+url.QueryEscape(l.Versions[0].ID), "", 201, "If-None-Match:*")
	do("ann", "GET", "/d/a", "", 200)

	// What was hidden stays hidden when it is gone.
	do("ann", "MKCOL", "/open", "", 201)
	do("ann", "MKCOL", "/open/secret", "", 201)
	do("ann", "PUT", "/open/secret/a", "2", 201)
	do("ann", "DELETE", "/open/secret/a", "", 204)
	of := func(user string) listed { return decode(t, do(user, "GET", "/.ifmatch/history?path=/open/", "", 200)) }
	if ann, bob := of("ann"), of("bob"); len(ann.Versions) != 1 || len(bob.Versions) != 0 {
		t.Errorf("ann: %+v, bob: %+v", ann, bob)
	}
	secret := url.QueryEscape(of("ann").Versions[0].ID)
	do("bob", "GET", "/.ifmatch/version?path=/open/secret/a&id="+secret, "", 404)
	do("bob", "POST", "/.ifmatch/restore?path=/open/secret/a&id="+secret, "", 403, "If-None-Match:*")
	do("bob", "POST", "/.ifmatch/restore?path=/open/b&id="+secret, "", 404, "If-None-Match:*")
}

// TestServedFilesCannotBecomeThePage: they keep their sandbox on a read-only server too, and no script of theirs may
// answer for this origin.
func TestServedFilesCannotBecomeThePage(t *testing.T) {
	for _, readOnly := range []bool{false, true} {
		h := inMemory(t, Config{Page: web.Full, ReadOnly: readOnly}, "p.html=<p>", "s.js=1", "t.txt=1")
		page := ask(t, h, "GET", "/p.html", "").Header()
		if !strings.HasPrefix(page.Get("Content-Security-Policy"), "sandbox ") || page.Get("Referrer-Policy") != "no-referrer" {
			t.Errorf("read-only %v: %v", readOnly, page)
		}
		cached := ask(t, h, "GET", "/p.html", "", "If-None-Match:"+page.Get("Etag"))
		if cached.Code != 304 || cached.Header().Get("Content-Security-Policy") != page.Get("Content-Security-Policy") {
			t.Errorf("read-only %v: %d, %v", readOnly, cached.Code, cached.Header())
		}
		for _, target := range []string{"/s.js", "/p.html", "/"} {
			if w := ask(t, h, "GET", target, "", "Service-Worker:script", browser); w.Code != 403 {
				t.Errorf("%s as a service worker: %d", target, w.Code)
			}
		}
	}
	plain := inMemory(t, Config{ReadOnly: true}, "p.html=<p>")
	if got := ask(t, plain, "GET", "/p.html", "").Header().Get("Content-Security-Policy"); !strings.HasPrefix(got, "sandbox ") {
		t.Errorf("without the page, a read-only server has the policy %q", got)
	}
}

// TestPagesOfOtherSitesCannotRestore: the address takes no request that a page of another origin can send.
func TestPagesOfOtherSitesCannotRestore(t *testing.T) {
	h := inMemory(t, Config{Page: web.Full}, "f=1")
	for _, header := range [][]string{
		{"Origin:null"}, {"Origin:https://evil.example"}, {"Sec-Fetch-Site:cross-site"}, {"Sec-Fetch-Site:same-site"},
	} {
		if w := ask(t, h, "POST", "/.ifmatch/restore?path=/f&id=x", "", append(header, "If-Match:*")...); w.Code != 403 {
			t.Errorf("%v: %d", header, w.Code)
		}
	}
	for _, target := range []string{"/.ifmatch/list?path=/", "/.ifmatch/zip?path=/"} {
		if w := ask(t, h, "GET", target, "", "Sec-Fetch-Site:cross-site", "Sec-Fetch-Mode:no-cors"); w.Code != 403 {
			t.Errorf("%s is embedded: %d", target, w.Code)
		}
	}
}
