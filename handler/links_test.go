package handler

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"r-seed-1f3a754f.example/ifmatch/auth"
	"r-seed-1f3a754f.example/ifmatch/internal/servertest"
	"r-seed-1f3a754f.example/ifmatch/links"
	"r-seed-1f3a754f.example/ifmatch/tree"
	"r-seed-1f3a754f.example/ifmatch/web"
)

// A linked is a handler whose users ann and bob make share links.
type linked struct {
	http.Handler
	t         *testing.T
	dir       string // with the files of users, rules and links
	authority *auth.Authority
	store     tree.Store
	now       time.Time
	log       bytes.Buffer // of requests and changes
}

// sharedRules let ann do everything below docs, and bob read it.
var sharedRules = servertest.Rules(
	"/ ann all", "/docs ann all", "/docs bob list,read", "/docs/secret bob all",
)

func openLinked(t *testing.T, rules string, config Config) *linked {
	t.Helper()
	l := &linked{t: t, dir: t.TempDir(), now: time.Now()}
	l.users("ann", "bob")
	l.rules(rules)
	var err error
	l.authority, err = auth.Open(auth.Options{
		Users: filepath.Join(l.dir, "users"), Config: filepath.Join(l.dir, "config"), InsecureBasic: true,
		Now: func() time.Time { return l.now },
		Proxy: auth.ProxyNames{UserHeader: "X-Remote-User", From: []netip.Prefix{netip.MustParsePrefix("192.0.2.1/32")},
			NewGroup: "guests"},
	})
	if err != nil {
		t.Fatal(err)
	}
	if config.Store == nil {
		config.Store = storeInMemory(t, "docs/", "docs/a.txt=hello", "docs/page.html=<script>1</script>", "docs/d/", "docs/d/b=b",
			"docs/secret/", "docs/secret/s=s", "other=other")
	}
	l.store, config.Auth = config.Store, l.authority
	config.Now = func() time.Time { return l.now }
	config.AccessLog = slog.New(slog.NewTextHandler(&l.log, nil))
	config.Audit = config.AccessLog
	config.Log = config.AccessLog
	if l.Handler, err = New(config); err != nil {
		t.Fatal(err)
	}
	return l
}

// book returns the links as another process has them.
func (l *linked) book() *links.Book {
	users := filepath.Join(l.dir, "users")
	return links.NewBook(func() string { return users }, nil, func() time.Time { return l.now })
}

func (l *linked) write(file, text string) {
	l.t.Helper()
	if err := os.WriteFile(filepath.Join(l.dir, file), []byte(text), 0o600); err != nil {
		l.t.Fatal(err)
	}
	if l.authority != nil {
		if err := l.authority.Reload(); err != nil {
			l.t.Fatal(err)
		}
	}
}

func (l *linked) users(names ...string) {
	l.t.Helper()
	l.write("users", strings.Join(names, ":*\n")+":*\n")
}

func (l *linked) rules(text string) {
	l.t.Helper()
	l.write("config", text)
}

// make makes a link by the API, and returns the path of its URL, without a slash at its end, and its id.
func (l *linked) make(user, path string, more ...string) (href, id string) {
	l.t.Helper()
	fields := map[string]string{"path": path}
	for i := 0; i < len(more); i += 2 {
		fields[more[i]] = more[i+1]
	}
	body, _ := json.Marshal(fields)
	w := askAs(l.t, l, user, "POST", "/.ifmatch/links", string(body), "Content-Type: application/json")
	var told struct{ Href, ID string }
	if err := json.Unmarshal(w.Body.Bytes(), &told); w.Code != http.StatusCreated || err != nil || told.Href == "" {
		l.t.Fatalf("a link of %s to %s: %d %s", user, path, w.Code, w.Body)
	}
	return strings.TrimSuffix(told.Href, "/"), told.ID
}

// want fails unless a request is answered with a status, and returns the answer. Each answer by a link is one that no
// cache, no other site and no search engine keeps.
func (l *linked) want(status int, method, target, body string, header ...string) *httptest.ResponseRecorder {
	l.t.Helper()
	w := ask(l.t, l, method, target, body, header...)
	if w.Code != status {
		l.t.Errorf("%s %s: %d, want %d: %s", method, target, w.Code, status, w.Body)
	}
	for field, value := range map[string]string{"Cache-Control": "no-store, no-transform", "Referrer-Policy": "no-referrer",
		"X-Robots-Tag": "noindex, nofollow", "X-Content-Type-Options": "nosniff"} {
		if got := w.Header().Get(field); got != value {
			l.t.Errorf("%s %s: %s is %q, want %q", method, target, field, got, value)
		}
	}
	return w
}

// wantContent fails unless a file has a content.
func (l *linked) wantContent(name, want string) {
	l.t.Helper()
	content, state, err := l.store.Open(l.t.Context(), name, tree.ReadOptions{}, tree.Condition{})
	if err != nil {
		l.t.Errorf("%s: %v", name, err)
		return
	}
	defer content.Close()
	var got bytes.Buffer
	if _, err := content.WriteRange(l.t.Context(), &got, 0, state.Size); err != nil || got.String() != want {
		l.t.Errorf("%s has %q, %v, want %q", name, &got, err, want)
	}
}

// wantNoName fails if an answer tells where a link leads to.
func (l *linked) wantNoName(w *httptest.ResponseRecorder, what string) {
	l.t.Helper()
	told := w.Body.String() + fmt.Sprint(w.Header())
	for _, name := range []string{"docs", "other", "ann"} {
		if strings.Contains(told, name) {
			l.t.Errorf("%s tells of %q:\n%s", what, name, told)
		}
	}
}

// TestReadLinkOfAFile: it is the file, as a GET of it is, with conditions, ranges and HEAD.
func TestReadLinkOfAFile(t *testing.T) {
	l := openLinked(t, sharedRules, Config{})
	href, _ := l.make("ann", "/docs/a.txt")
	got := l.want(200, "GET", href, "")
	if got.Body.String() != "hello" || got.Header().Get("Content-Disposition") != "inline; filename*=UTF-8''a.txt" {
		t.Errorf("the file is %q, %v", got.Body, got.Header())
	}
	tag := got.Header().Get("Etag")
	l.want(304, "GET", href, "", "If-None-Match: "+tag)
	failed := l.want(412, "GET", href, "", `If-Match: "x"`)
	l.wantNoName(failed, "a 412")
	if part := l.want(206, "GET", href, "", "Range: bytes=1-2"); part.Body.String() != "el" {
		t.Errorf("the range is %q", part.Body)
	}
	if head := l.want(200, "HEAD", href, ""); head.Header().Get("Etag") != tag || head.Body.Len() != 0 {
		t.Errorf("HEAD: %v %s", head.Header(), head.Body)
	}
	if options := l.want(204, "OPTIONS", href, ""); options.Header().Get("Allow") != "GET, HEAD, OPTIONS" {
		t.Errorf("OPTIONS: %v", options.Header())
	}
	for _, target := range []string{href + "/", href + "/x", href + "/../x"} {
		l.t.Run(target[len(href):], func(t *testing.T) {
			if w := ask(t, l, "GET", target, ""); w.Code != 404 {
				t.Errorf("%d %s", w.Code, w.Body)
			}
		})
	}
}

// TestReadLinkOfAFolder: it is listed and read below its root, with links below the link, and nothing else is.
func TestReadLinkOfAFolder(t *testing.T) {
	for _, page := range []string{"full", "list", "off"} {
		l := openLinked(t, sharedRules, Config{Page: web.Mode(page)})
		href, _ := l.make("ann", "/docs/")
		list := l.want(200, "GET", href+"/", "", "Accept: text/html")
		if body := list.Body.String(); !strings.Contains(body, "<h1>docs</h1>") || strings.Contains(body, "ann") {
			t.Errorf("the list is\n%s", body)
		}
		for _, want := range []string{href + "/a.txt", href + "/d/", href + "/?zip"} {
			if !strings.Contains(list.Body.String(), `href="`+want+`"`) {
				t.Errorf("the list has no link to %s:\n%s", want, list.Body)
			}
		}
		if strings.Contains(list.Body.String(), `href="`+strings.TrimSuffix(href, "/")+`/../`) {
			t.Errorf("the list leads out:\n%s", list.Body)
		}
		below := l.want(200, "GET", href+"/d/", "")
		if !strings.Contains(below.Body.String(), `href="`+href+`/d/b"`) || !strings.Contains(below.Body.String(), `href="`+href+`/"`) {
			t.Errorf("the folder below:\n%s", below.Body)
		}
		if b := l.want(200, "GET", href+"/d/b", ""); b.Body.String() != "b" {
			t.Errorf("d/b is %q", b.Body)
		}
		zip := l.want(200, "GET", href+"/?zip", "")
		if zip.Header().Get("Content-Type") != "application/zip" || !bytes.HasPrefix(zip.Body.Bytes(), []byte("PK")) {
			t.Errorf("the archive: %v", zip.Header())
		}
	}
}

// TestActiveContentByLinkIsADownload: nothing that a browser runs has the origin of the server.
func TestActiveContentByLinkIsADownload(t *testing.T) {
	files := map[string]bool{"a.html": true, "a.svg": true, "a.xml": true, "a.js": true, "a.mhtml": true, "noend": true,
		"a.png": false, "a.txt": false, "a.pdf": false, "a.mp4": false}
	l := openLinked(t, sharedRules, Config{})
	href, _ := l.make("ann", "/docs/")
	for name, download := range files {
		lay(t, l.store, "docs/"+name+"=x")
		h := l.want(200, "GET", href+"/"+name, "").Header()
		disposition, policy := "inline; filename*=UTF-8''"+name, ""
		if download {
			disposition, policy = "attachment; filename*=UTF-8''"+name, "sandbox"
		}
		if h.Get("Content-Disposition") != disposition || h.Get("Content-Security-Policy") != policy {
			t.Errorf("%s: %q, %q", name, h.Get("Content-Disposition"), h.Get("Content-Security-Policy"))
		}
	}
	l.want(403, "GET", href+"/a.js", "", "Service-Worker: script")
}

// TestLinksLeadNowhereElse: no spelling of a path, no header and no method means a name that the link is not about.
func TestLinksLeadNowhereElse(t *testing.T) {
	l := openLinked(t, sharedRules, Config{})
	href, _ := l.make("ann", "/docs/d/")
	for _, below := range []string{"/../a.txt", "/%2e%2e/a.txt", "/..%2fa.txt", "/%2e%2e%2fa.txt", "/x/../../a.txt", "/d/../../a.txt",
		"/../../../other", "/../../../docs/a.txt", "/.ifmatch/links", "/%2fother", "/docs/a.txt", "/a.txt", "/b%00", "/b/"} {
		w := ask(t, l, "GET", href+below, "")
		if w.Code < 400 || strings.Contains(w.Body.String(), "hello") {
			t.Errorf("GET %s: %d %s", below, w.Code, w.Body)
		}
	}
	for _, method := range []string{"PUT", "POST", "DELETE", "MKCOL", "COPY", "MOVE", "PROPFIND", "PROPPATCH", "LOCK", "UNLOCK",
		"REPORT", "PATCH", "TRACE"} {
		w := l.want(405, method, href+"/b", "", "Destination: /docs/new", "Tus-Resumable: 1.0.0", "Upload-Length: 1")
		l.wantNoName(w, method)
	}
	// If may name any resource of the tree, and would tell of it.
	l.want(200, "GET", href+"/b", "", `If: </docs/a.txt> (["x"])`)
	for _, header := range []string{"Destination: " + href + "/new", `If: <` + href + `/b> (["x"])`} {
		if w := askAs(t, l, "ann", "COPY", "/docs/a.txt", "", "Destination: /docs/copy", header); w.Code < 400 {
			t.Errorf("%s is a name: %d", header, w.Code)
		}
	}
}

// TestLinkOfTheRoot: it is about the whole tree, as far as its maker may read it.
func TestLinkOfTheRoot(t *testing.T) {
	l := openLinked(t, sharedRules, Config{Prefix: "/dav"})
	w := askAs(t, l, "ann", "POST", "/dav/.ifmatch/links", `{"path":"/dav/"}`, "Content-Type: application/json")
	var told links.Told
	if err := json.Unmarshal(w.Body.Bytes(), &told); err != nil || !strings.HasPrefix(told.Href, "/dav/.ifmatch/link/") {
		t.Fatalf("%d %s, %v", w.Code, w.Body, err)
	}
	if got := l.want(200, "GET", told.Href+"other", ""); got.Body.String() != "other" {
		t.Errorf("other is %q", got.Body)
	}
	l.want(404, "GET", told.Href+"docs/secret/s", "")
	l.want(404, "GET", told.Href+".ifmatch/links", "")
}

// TestDropLink: it creates files, and tells nothing.
func TestDropLink(t *testing.T) {
	l := openLinked(t, sharedRules, Config{})
	href, id := l.make("ann", "/docs/d/", "access", "drop", "label", "For <me>")
	if w := l.want(201, "PUT", href+"/new", "one"); w.Header().Get("Etag") != "" {
		t.Errorf("the answer tells of the file: %v", w.Header())
	}
	l.wantContent("docs/d/new", "one")
	for _, header := range []string{"", "If-Match: *", `If-Match: "x"`, "If-None-Match: \"x\"", "If: (Not <DAV:no-lock>)", "Overwrite: T"} {
		l.wantNoName(l.want(412, "PUT", href+"/new", "two", header), "the second PUT")
		l.wantNoName(l.want(412, "PUT", href+"/b", "two", header), "a PUT over a file")
	}
	lay(t, l.store, "docs/d/sub/")
	l.want(412, "PUT", href+"/sub", "two")
	for _, below := range []string{"", "/", "/sub/x", "/none/x", "/x/"} {
		l.want(403, "PUT", href+below, "two")
	}
	for _, below := range []string{"/../x", "/%2e%2e/x", "/..%2fx", "/%2fx"} {
		if w := ask(t, l, "PUT", href+below, "two"); w.Code < 400 {
			t.Errorf("PUT %s: %d", below, w.Code)
		}
	}
	l.wantContent("docs/d/new", "one")
	l.wantContent("docs/d/b", "b")
	for _, below := range []string{"/new", "/b", "/none", "/sub/"} {
		l.want(404, "GET", href+below, "")
		l.want(404, "HEAD", href+below, "")
	}
	for _, method := range []string{"DELETE", "MKCOL", "COPY", "MOVE", "PROPFIND", "PROPPATCH", "LOCK", "UNLOCK", "REPORT", "PATCH"} {
		l.want(405, method, href+"/new", "")
	}
	page := l.want(200, "GET", href, "")
	l.wantNoName(page, "the page")
	if body := page.Body.String(); strings.Contains(body, "new") || !strings.Contains(body, "For &lt;me&gt;") ||
		!strings.Contains(body, `action="`+href+`/"`) {
		t.Errorf("the page is\n%s", body)
	}
	if !strings.Contains(l.log.String(), `msg=change user=ann/link:`+id+` method=PUT name=/docs/d/new`) {
		t.Errorf("the audit log is\n%s", &l.log)
	}
}

// TestDropForm: each file of a form is stored like a PUT of its own, and the page tells what became of it.
func TestDropForm(t *testing.T) {
	l := openLinked(t, sharedRules, Config{MaxUpload: 5})
	href, _ := l.make("ann", "/docs/d/", "access", "drop")
	var body bytes.Buffer
	form := multipart.NewWriter(&body)
	for _, file := range [][2]string{{"one", "1"}, {"b", "over"}, {`C:\Users\me\two`, "2"}, {"../up", "3"}, {"large", "123456"}, {"", "4"},
		{"..", "5"}, {"<i>", "6"}} {
		part, err := form.CreateFormFile("file", file[0])
		if err == nil {
			_, err = io.WriteString(part, file[1])
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	form.WriteField("name", "x")
	form.Close()
	media := "Content-Type: " + form.FormDataContentType()
	got := l.want(400, "POST", href+"/", body.String(), media, "Origin: null")
	l.wantNoName(got, "the page")
	for _, want := range []string{"<bdi>one</bdi>: stored", "<bdi>b</bdi>: <strong>not stored</strong>: the name is taken",
		"<bdi>two</bdi>: stored", "<bdi>up</bdi>: stored", "<bdi>large</bdi>: <strong>not stored</strong>", "<bdi>&lt;i&gt;</bdi>: stored"} {
		if !strings.Contains(got.Body.String(), want) {
			t.Errorf("the page lacks %q:\n%s", want, got.Body)
		}
	}
	for name, content := range map[string]string{"one": "1", "two": "2", "up": "3", "b": "b", "<i>": "6"} {
		l.wantContent("docs/d/"+name, content)
	}
	if n := strings.Count(l.log.String(), "msg=change user=ann/link:"); n != 4 {
		t.Errorf("%d lines in the audit log:\n%s", n, &l.log)
	}
	cut := strings.Replace(body.String()[:strings.Index(body.String(), "over")+2], `"one"`, `"three"`, 1)
	l.want(400, "POST", href, strings.Replace(cut, `"b"`, `"four"`, 1), media)
	l.wantContent("docs/d/three", "1")
	l.want(404, "GET", "/.ifmatch/link/x/four", "")
	if _, err := l.store.Stat(t.Context(), "docs/d/four", tree.ReadOptions{}); err == nil {
		t.Error("a file whose form was cut off is there")
	}
	l.want(415, "POST", href, "x", "Content-Type: text/plain")
	l.want(403, "POST", href, "x", media, "Origin: http://evil.example", "Sec-Fetch-Site: cross-site")
}

// TestLinksThatEndedAreUnknown: whatever has ended a link, the answer is that to a token that never was.
func TestLinksThatEndedAreUnknown(t *testing.T) {
	for name, end := range map[string]func(l *linked, id string){
		"revoked": func(l *linked, id string) {
			if w := askAs(l.t, l, "ann", "DELETE", "/.ifmatch/links/"+id, ""); w.Code != 204 {
				l.t.Errorf("DELETE: %d %s", w.Code, w.Body)
			}
		},
		"expired":                       func(l *linked, _ string) { l.now = l.now.Add(links.DefaultExpiry + time.Second) },
		"its maker was removed":         func(l *linked, _ string) { l.users("bob") },
		"its maker may not any more":    func(l *linked, _ string) { l.rules(strings.ReplaceAll(sharedRules, "ann", "bob")) },
		"it was moved away":             func(l *linked, _ string) { l.must("MOVE", "/docs/d", "Destination: /docs/e") },
		"it was removed":                func(l *linked, _ string) { l.must("DELETE", "/docs/d") },
		"its line is not in the file":   func(l *linked, _ string) { l.write("users.links", "") },
		"the file of links was removed": func(l *linked, _ string) { os.Remove(filepath.Join(l.dir, "users.links")) },
	} {
		t.Run(name, func(t *testing.T) {
			l := openLinked(t, sharedRules, Config{})
			read, id := l.make("ann", "/docs/d/")
			drop, id2 := l.make("ann", "/docs/d/", "access", "drop")
			secret, id3 := l.make("ann", "/docs/d/", "password", "pw")
			file, id4 := l.make("ann", "/docs/d/b")
			l.want(200, "GET", read+"/b", "")
			l.want(200, "GET", file, "")
			for _, one := range []string{id, id2, id3, id4} {
				end(l, one)
				if name != "revoked" {
					break
				}
			}
			unknown := func(method, target string) string {
				w := l.want(404, method, target, "x")
				h := w.Header().Clone()
				h.Del("X-Request-Id")
				text := strings.NewReplacer(w.Header().Get("X-Request-Id"), "ID").Replace(w.Body.String())
				return fmt.Sprint(h, text)
			}
			want := unknown("GET", "/.ifmatch/link/ifmlink_"+strings.Repeat("A", 43)+"/b")
			for _, target := range []string{read + "/b", read + "/", read, drop, drop + "/", file, secret + "/b",
				"/.ifmatch/link/", "/.ifmatch/link", "/.ifmatch/link/x", "/.ifmatch/link/ifmlink_"} {
				if strings.HasPrefix(target, secret) && strings.HasPrefix(name, "it was") {
					continue // it asks for its password first
				}
				if got := unknown("GET", target); got != want {
					t.Errorf("GET %s: %s\nwant %s", target, got, want)
				}
			}
			if got := unknown("PUT", drop+"/x"); got != unknown("PUT", "/.ifmatch/link/ifmlink_"+strings.Repeat("A", 43)+"/x") {
				t.Errorf("PUT: %s", got)
			}
		})
	}
}

func (l *linked) must(method, target string, header ...string) {
	l.t.Helper()
	if w := askAs(l.t, l, "ann", method, target, "", header...); w.Code >= 300 {
		l.t.Fatalf("%s %s: %d %s", method, target, w.Code, w.Body)
	}
}

// TestLinksGiveNoMoreThanTheirMakerHas: bob may read docs but not write, and ann may not read what is secret.
func TestLinksGiveNoMoreThanTheirMakerHas(t *testing.T) {
	l := openLinked(t, sharedRules, Config{})
	ofAnn, _ := l.make("ann", "/docs/")
	l.want(404, "GET", ofAnn+"/secret/s", "")
	if list := l.want(200, "GET", ofAnn+"/", ""); strings.Contains(list.Body.String(), "secret") {
		t.Errorf("ann's link lists what she may not see:\n%s", list.Body)
	}
	for _, tt := range []struct {
		user, body string
		want       int
	}{
		{"bob", `{"path":"/docs/","access":"drop"}`, 403},
		{"bob", `{"path":"/other"}`, 404},
		{"ann", `{"path":"/docs/secret/s"}`, 404},
		{"ann", `{"path":"/docs/none"}`, 404},
		{"ann", `{"path":"/docs/a.txt","access":"drop"}`, 409},
		{"ann", `{"path":"/docs/a.txt","access":"write"}`, 400},
		{"ann", `{"path":"/.ifmatch/links"}`, 404},
		{"ann", `{"path":"docs/a.txt"}`, 400},
		{"ann", `{"path":"/docs/../../x"}`, 400},
		{"ann", `{"path":"/docs/a.txt","expires":"2001-01-01T00:00:00Z"}`, 400},
		{"ann", `{"path":"/docs/a.txt","expires":"9001-01-01T00:00:00Z"}`, 400},
		{"ann", `{"path":"/docs/a.txt","label":"a\nb"}`, 400},
		{"ann", `{"path":"/docs/a.txt","label":"` + strings.Repeat("x", links.MaxLabel+1) + `"}`, 400},
		{"ann", `{"path":"/docs/a.txt","password":"` + strings.Repeat("x", 2000) + `"}`, 400},
		{"ann", `{"path":"/docs/a.txt","label":"` + strings.Repeat("x", 40<<10) + `"}`, 400},
		{"ann", `{}`, 400}, {"ann", `[]`, 400}, {"ann", ``, 400},
		{"", `{"path":"/docs/a.txt"}`, 401},
		{"carol", `{"path":"/docs/a.txt"}`, 403}, // whom only the proxy knows
	} {
		w := askAs(t, l, tt.user, "POST", "/.ifmatch/links", tt.body, "Content-Type: application/json")
		if w.Code != tt.want {
			t.Errorf("%s by %q: %d, want %d: %s", tt.body, tt.user, w.Code, tt.want, w.Body)
		}
	}
	if w := askAs(t, l, "ann", "POST", "/.ifmatch/links", `{"path":"/docs/a.txt"}`, "Content-Type: text/plain"); w.Code != 415 {
		t.Errorf("a form of another site: %d", w.Code)
	}
}

// TestUploadByALinkThatEndsChangesNothing: the link is asked for again inside the commit.
func TestUploadByALinkThatEndsChangesNothing(t *testing.T) {
	for name, end := range map[string]func(l *linked, id string){
		"revoked": func(l *linked, id string) { l.must("DELETE", "/.ifmatch/links/"+id) },
		"expired": func(l *linked, _ string) { l.now = l.now.Add(links.DefaultExpiry + time.Second) },
		"rules":   func(l *linked, _ string) { l.rules(strings.ReplaceAll(sharedRules, "ann", "bob")) },
		"maker":   func(l *linked, _ string) { l.users("bob") },
	} {
		t.Run(name, func(t *testing.T) {
			l := openLinked(t, sharedRules, Config{})
			href, id := l.make("ann", "/docs/d/", "access", "drop")
			body, client := io.Pipe()
			r := httptest.NewRequestWithContext(t.Context(), "PUT", "http://localhost"+href+"/new", body)
			w := httptest.NewRecorder()
			done := make(chan struct{})
			go func() { l.ServeHTTP(w, r); close(done) }()
			client.Write([]byte("half")) // it is being read now
			end(l, id)
			client.Write([]byte("whole"))
			client.Close()
			<-done
			if w.Code != http.StatusForbidden {
				t.Errorf("%d %s", w.Code, w.Body)
			}
			if _, err := l.store.Stat(t.Context(), "docs/d/new", tree.ReadOptions{}); err == nil {
				t.Error("the file is there")
			}
		})
	}
}

// TestDownloadByALinkThatEndsIsCut: what is sent by then is told apart from a whole file.
func TestDownloadByALinkThatEndsIsCut(t *testing.T) {
	const size = 64 << 20
	l := openLinked(t, sharedRules, Config{})
	lay(t, l.store, "docs/large="+strings.Repeat("x", size))
	href, id := l.make("ann", "/docs/large")
	server := httptest.NewServer(l)
	defer server.Close()
	answer, err := server.Client().Get(server.URL + href)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if _, err := io.CopyN(io.Discard, answer.Body, 1<<20); err != nil {
		t.Fatal(err)
	}
	l.must("DELETE", "/.ifmatch/links/"+id)
	if n, err := io.Copy(io.Discard, answer.Body); err == nil {
		t.Errorf("all of it came: %d bytes more", n)
	}
}

// TestLinkPassword: any name goes with it, and no user's login does. Wrong ones are logged as those of users are.
func TestLinkPassword(t *testing.T) {
	l := openLinked(t, sharedRules, Config{})
	href, id := l.make("ann", "/docs/a.txt", "password", "pässword")
	free, _ := l.make("ann", "/docs/a.txt")
	basic := func(name, password string) string {
		return "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(name+":"+password))
	}
	challenge := `Basic realm="ifmatch link ` + id + `", charset="UTF-8"`
	if w := l.want(401, "GET", href, ""); w.Header().Get("WWW-Authenticate") != challenge {
		t.Errorf("the challenge is %q", w.Header().Get("WWW-Authenticate"))
	}
	for _, name := range []string{"", "me", "ann"} {
		if w := l.want(200, "GET", href, "", basic(name, "pässword")); w.Body.String() != "hello" {
			t.Errorf("by %q: %s", name, w.Body)
		}
	}
	l.want(200, "GET", free, "", basic("ann", "wrong"))
	l.want(401, "GET", href, "", basic("", "wrong"))
	if !strings.Contains(l.log.String(), `client=192.0.2.1 refused_now=false user="\"link:`+id+`\""`) {
		t.Errorf("the wrong password is not in the log as those of users are:\n%s", &l.log)
	}
	if w := askAs(t, l, "ann", "GET", "/docs/a.txt", ""); w.Code != 200 {
		t.Errorf("ann: %d", w.Code)
	}
}

// TestLinkTokensAreInNoLog: not of good links, not of ended ones, and however a client writes the path.
func TestLinkTokensAreInNoLog(t *testing.T) {
	l := openLinked(t, sharedRules, Config{})
	href, id := l.make("ann", "/docs/d/", "access", "drop")
	token := href[strings.LastIndexByte(href, '/')+1:]
	secret := strings.TrimPrefix(token, "ifmlink_")
	escaped := strings.Replace(token, "ifmlink", "%69fm%6Cink", 1)
	dotted := "/.ifmatch/./link/x/../" + token
	for _, target := range []string{href, href + "/", href + "/x", "/.ifmatch/link/" + escaped, "/" + token, dotted, href + "/../x", href + "/a%2Fb",
		"/docs/?t=" + token, href + "x"} {
		for _, method := range []string{"GET", "PUT", "PROPFIND", "COPY"} {
			w := ask(t, l, method, target, "x", "Destination: http://localhost"+href, "Referer: http://localhost"+href)
			if w.Code >= 300 && strings.Contains(w.Body.String(), secret) {
				t.Errorf("%s %s: the refusal has the token: %s", method, target, w.Body)
			}
		}
	}
	if text := l.log.String(); strings.Contains(text, secret) || !strings.Contains(text, "/.ifmatch/link/ifmlink_") {
		t.Errorf("the log has the token, or no link:\n%s", text)
	}
	stored, err := os.ReadFile(filepath.Join(l.dir, "users.links"))
	if err != nil || bytes.Contains(stored, []byte(secret)) || !bytes.Contains(stored, []byte(id)) {
		t.Errorf("the file is %s, %v", stored, err)
	}
}

// TestLinksAreListedForTheirMaker: and no other user can see or revoke them.
func TestLinksAreListedForTheirMaker(t *testing.T) {
	l := openLinked(t, sharedRules, Config{})
	href, id := l.make("ann", "/docs/a.txt", "label", "x", "password", "pw")
	l.make("bob", "/docs/a.txt")
	listed := func(user string) links.ToldList {
		w := askAs(t, l, user, "GET", "/.ifmatch/links", "")
		var all links.ToldList
		if err := json.Unmarshal(w.Body.Bytes(), &all); err != nil || w.Header().Get("Cache-Control") != "no-store" {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
		if strings.Contains(w.Body.String(), href) || strings.Contains(w.Body.String(), "argon2") {
			t.Errorf("the list has a secret: %s", w.Body)
		}
		return all
	}
	all := listed("ann").Links
	if len(all) != 1 || all[0].ID != id || all[0].Path != "/docs/a.txt" || !all[0].Password || all[0].Label != "x" {
		t.Errorf("ann has %+v", all)
	}
	for user, want := range map[string]int{"bob": 404, "carol": 403, "": 401} {
		if w := askAs(t, l, user, "DELETE", "/.ifmatch/links/"+id, ""); w.Code != want {
			t.Errorf("DELETE by %q: %d, want %d", user, w.Code, want)
		}
	}
	l.want(401, "GET", href, "")
	if !strings.Contains(l.log.String(), "msg=change user=ann method=POST name=/.ifmatch/links/"+id) {
		t.Errorf("the audit log is\n%s", &l.log)
	}
	l.must("DELETE", "/.ifmatch/links/"+id)
	if all := listed("ann").Links; len(all) != 0 {
		t.Errorf("ann has %+v still", all)
	}
}

// TestNoLinks: they are off, or there are no users whose rights they could give.
func TestNoLinks(t *testing.T) {
	l := openLinked(t, sharedRules, Config{NoLinks: true})
	if w := askAs(t, l, "ann", "POST", "/.ifmatch/links", `{"path":"/docs/a.txt"}`, "Content-Type: application/json"); w.Code != 404 {
		t.Errorf("a link: %d", w.Code)
	}
	link, token, err := links.New(links.Wish{Maker: "ann", Name: "docs/a.txt", Access: links.Read, Expires: l.now.Add(time.Hour)}, l.now)
	if err == nil {
		err = l.book().Add(t.Context(), link)
	}
	if err != nil {
		t.Fatal(err)
	}
	l.want(404, "GET", "/.ifmatch/link/"+token, "")
	open := newTestHandler(t, Config{Store: storeInMemory(t, "f=f")})
	for _, method := range []string{"GET", "POST"} {
		if w := ask(t, open, method, "/.ifmatch/links", `{"path":"/f"}`, "Content-Type: application/json"); w.Code != 404 {
			t.Errorf("%s without users: %d", method, w.Code)
		}
	}
}

// TestBrokenFileOfLinks: no link is answered, and a repaired file counts at once.
func TestBrokenFileOfLinks(t *testing.T) {
	l := openLinked(t, sharedRules, Config{})
	href, _ := l.make("ann", "/docs/a.txt")
	text, err := os.ReadFile(filepath.Join(l.dir, "users.links"))
	if err != nil {
		t.Fatal(err)
	}
	l.write("users.links", string(text)+"{")
	l.want(500, "GET", href, "")
	l.write("users.links", string(text)+string(text))
	l.want(500, "GET", href, "")
	l.write("users.links", string(text))
	l.want(200, "GET", href, "")
}

// checkOwn makes a link by a token with a part of the rights of ann, and checks that the token reaches the links that were
// made with it, and no others.
func (l *linked) checkOwn(basic string) {
	l.t.Helper()
	_, other := l.make("ann", "/docs/")
	w := ask(l.t, l, "POST", "/.ifmatch/links", `{"path":"/docs/"}`, basic, "Content-Type: application/json")
	var own links.Told
	if json.Unmarshal(w.Body.Bytes(), &own) != nil || own.ID == "" {
		l.t.Fatalf("%d %s", w.Code, w.Body)
	}
	list := ask(l.t, l, "GET", "/.ifmatch/links", "", basic).Body.String()
	if strings.Contains(list, other) || !strings.Contains(list, own.ID) {
		l.t.Errorf("%s is to be listed, and not %s: %s", own.ID, other, list)
	}
	for _, test := range []struct {
		id     string
		status int
	}{{other, 404}, {own.ID, 204}, {own.ID, 404}} {
		if w := ask(l.t, l, "DELETE", "/.ifmatch/links/"+test.id, "", basic); w.Code != test.status {
			l.t.Errorf("DELETE of %s: %d, want %d", test.id, w.Code, test.status)
		}
	}
	if list := askAs(l.t, l, "ann", "GET", "/.ifmatch/links", "").Body.String(); !strings.Contains(list, other) {
		l.t.Errorf("%s is gone: %s", other, list)
	}
}

// TestLinkOfAnAppToken: it has no more effects than the token, and ends with it.
func TestLinkOfAnAppToken(t *testing.T) {
	l := openLinked(t, sharedRules, Config{})
	users := filepath.Join(l.dir, "users")
	secret, token, err := auth.NewToken("ann", "phone", l.now, l.now.Add(time.Hour), []string{"list", "read"})
	if err == nil {
		err = auth.EditTokens(users, func(ts *auth.Tokens) error { return ts.Add(token) })
	}
	if err == nil {
		err = l.authority.Reload()
	}
	if err != nil {
		t.Fatal(err)
	}
	basic := "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte("ann:"+secret))
	made := func(body string) *httptest.ResponseRecorder {
		return ask(t, l, "POST", "/.ifmatch/links", body, basic, "Content-Type: application/json")
	}
	if w := made(`{"path":"/docs/","access":"drop"}`); w.Code != 403 {
		t.Errorf("a link that writes, by a token that reads: %d", w.Code)
	}
	var told links.Told
	if w := made(`{"path":"/docs/a.txt"}`); json.Unmarshal(w.Body.Bytes(), &told) != nil || told.Token != "phone" {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	l.want(200, "GET", told.Href, "")
	l.checkOwn(basic)
	err = auth.EditTokens(users, func(ts *auth.Tokens) error { ts.Revoke("ann", "phone"); return nil })
	if err == nil {
		err = l.authority.Reload()
	}
	if err != nil {
		t.Fatal(err)
	}
	l.want(404, "GET", told.Href, "")
}

// TestDropOnAReadOnlyServer: nothing is written, and such links are not made.
func TestDropOnAReadOnlyServer(t *testing.T) {
	l := openLinked(t, sharedRules, Config{ReadOnly: true})
	if w := askAs(t, l, "ann", "POST", "/.ifmatch/links", `{"path":"/docs/","access":"drop"}`, "Content-Type: application/json"); w.Code != 403 {
		t.Errorf("a link for dropping: %d", w.Code)
	}
	read, _ := l.make("ann", "/docs/a.txt")
	l.want(200, "GET", read, "")
	link, token, err := links.New(links.Wish{Maker: "ann", Name: "docs", Access: links.Drop, Expires: l.now.Add(time.Hour)}, l.now)
	if err == nil {
		err = l.book().Add(t.Context(), link)
	}
	if err != nil {
		t.Fatal(err)
	}
	l.want(403, "PUT", "/.ifmatch/link/"+token+"/x", "x")
}

// TestLinkIsOfOneAccount: a user of the same name who is added later has no links of the earlier one, and sees none. A new
// password that is told to the links ends none.
func TestLinkIsOfOneAccount(t *testing.T) {
	l := openLinked(t, sharedRules, Config{})
	hash := func() string {
		h, err := auth.NewHash("password")
		if err != nil {
			t.Fatal(err)
		}
		return h
	}
	first, second, third := "ann:"+hash()+"\nbob:*\n", "ann:"+hash()+"\nbob:*\n", hash()
	l.write("users", first)
	href, id := l.make("ann", "/docs/a.txt")
	l.want(200, "GET", href, "")
	l.users("bob")
	l.want(404, "GET", href, "")
	l.write("users", second)
	l.want(404, "GET", href, "")
	list := askAs(t, l, "ann", "GET", "/.ifmatch/links", "").Body.String()
	if w := askAs(t, l, "ann", "DELETE", "/.ifmatch/links/"+id, ""); w.Code != 404 || strings.Contains(list, id) {
		t.Errorf("the second ann sees the link of the first one: %d, %s", w.Code, list)
	}
	l.write("users", first) // of a backup
	l.want(200, "GET", href, "")

	before, err := auth.ParseUsers(first, false)
	if err == nil {
		book := links.NewBook(func() string { return filepath.Join(l.dir, "users") }, nil, func() time.Time { return l.now })
		err = book.Carry(t.Context(), before, "ann", third)
	}
	if err != nil {
		t.Fatal(err)
	}
	l.want(200, "GET", href, "") // the server has not read the users yet
	l.write("users", "ann:"+third+"\nbob:*\n")
	l.want(200, "GET", href, "")
	l.write("users", second)
	l.want(404, "GET", href, "")
	l.make("ann", "/docs/a.txt")
	l.write("users", first)
	l.want(404, "GET", href, "") // the link of another ann has taken its place
}
