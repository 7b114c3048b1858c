package web

import (
	"errors"
	"fmt"
	iofs "io/fs"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"r-seed-1f3a754f.example/ifmatch/tree"
)

func TestOnlyThoseWhoNameHTMLGetThePage(t *testing.T) {
	for accept, want := range map[string]bool{
		"": false, "*/*": false, "text/*": false, "application/json": false, "text/html;q=0": false, "text/html; q=0.0": false,
		"text/html":                true,
		"TEXT/HTML; charset=utf-8": true,
		"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8": true,
		"*/*, text/html;q=0.1": true, "text/htmlx": false, ",,text/html": true, "text/html;q=x": true,
	} {
		if got := AcceptsPage(http.Header{"Accept": {accept}}); got != want {
			t.Errorf("%q: got %v, want %v", accept, got, want)
		}
	}
}

// The policy names the path of the assets, and no other file of the same origin.
func TestPolicyNamesOnlyThePathOfTheAssets(t *testing.T) {
	for _, test := range []struct {
		hosts []string
		want  string
	}{
		{[]string{"files.example"}, "files.example/dav/.ifmatch/" + AssetDir()},
		{[]string{"127.0.0.1:8080", "a.example:1"},
			"127.0.0.1:8080/dav/.ifmatch/" + AssetDir() + " a.example:1/dav/.ifmatch/" + AssetDir()},
		{[]string{"[::1]:8080"}, "'none'"}, // no policy can name it
		{[]string{"a;b", "x y", "*", "'self'", "a/b", "a:1:2", ""}, "'none'"},
	} {
		directives := strings.Split(Policy(test.hosts, "/dav/.ifmatch/", "frame-ancestors 'self'"), "; ")
		for _, kind := range []string{"script-src", "worker-src", "style-src"} {
			if want := kind + " " + test.want; !slices.Contains(directives, want) {
				t.Errorf("%q: no %q in %q", test.hosts, want, directives)
			}
		}
		for _, d := range directives {
			if strings.Contains(d, "unsafe") || strings.HasPrefix(d, "script-src") && strings.Contains(d, "'self'") {
				t.Errorf("%q permits too much", d)
			}
		}
	}
}

func TestNamesAreShownAsTheyAre(t *testing.T) {
	for name, want := range map[string]string{
		"a b": "a b", "<img>": "<img>", "a\nb\x7f": "a\u240ab\u2421", "\u202egpj.exe": "\ufffdgpj.exe", "\u2066x\u200f": "\ufffdx\ufffd",
		"\u00e4\u65e5": "\u00e4\u65e5", "\xff": "\ufffd", "a\u0085b\u2028": "a\ufffdb\ufffd", "\u0646\u0645\u06cc\u200c\u062e": "\u0646\u0645\u06cc\u200c\u062e", "\U0001F600": "\U0001F600",
	} {
		if got := Shown(name); got != want {
			t.Errorf("%q: got %q, want %q", name, got, want)
		}
	}
}

func TestSizesAreShort(t *testing.T) {
	for n, want := range map[int64]string{0: "0 B", 999: "999 B", 1000: "1.0 kB", 9949: "9.9 kB", 9950: "10 kB", 999_499: "999 kB",
		999_500: "1.0 MB", 1 << 30: "1.1 GB", 1<<63 - 1: "9.2 EB"} {
		if got := bytesText(n); got != want {
			t.Errorf("%d: got %s, want %s", n, got, want)
		}
	}
}

func assetOf(target, encoding string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	r := httptest.NewRequest("GET", "/", nil)
	r.Header.Set("Accept-Encoding", encoding)
	Assets(w, r, target, "default-src 'none'")
	return w
}

// A browser keeps an asset for ever, so a path has one content.
func TestAssetsAreKeptByTheirContent(t *testing.T) {
	dir := strings.TrimPrefix(AssetDir(), AssetPath)
	for _, name := range []string{"page.js", "client.js", "style.css", "editor.js", "merge-worker.js", "licences.txt", "icon.svg"} {
		plain, zipped := assetOf(dir+name, ""), assetOf(dir+name, "br, gzip")
		if plain.Code != 200 || !strings.Contains(plain.Header().Get("Cache-Control"), "immutable") ||
			plain.Header().Get("Content-Security-Policy") == "" || plain.Header().Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: %d, %v", name, plain.Code, plain.Header())
		}
		if zipped.Header().Get("Content-Encoding") == "gzip" && zipped.Body.Len() >= plain.Body.Len() {
			t.Errorf("%s is larger when it is compressed", name)
		}
		if got := assetOf(dir+name, "gzip;q=0, *").Header().Get("Content-Encoding"); got != "" {
			t.Errorf("%s: %s, though the client refuses it", name, got)
		}
	}
	for _, name := range []string{"other/page.js", dir + "none.js", dir, "", dir + "../web.go", "page.js", dir + "app/page.js"} {
		if w := assetOf(name, ""); w.Code != 404 || strings.Contains(w.Header().Get("Cache-Control"), "immutable") {
			t.Errorf("%q: %d, %v", name, w.Code, w.Header())
		}
	}
}

var imported = regexp.MustCompile(`(?:from |import\()(?:requests\.assets \+ )?"(\.?/?[^"]+)"`)

// TestScriptsAreWhole wants each module that is imported, and no way by which a text could become HTML or a script. The
// policy of the page forbids these too; here each of them is found, also one that no test reaches.
func TestScriptsAreWhole(t *testing.T) {
	files, _ := all()
	forbidden := regexp.MustCompile(`innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser|srcdoc|\beval\(|new Function|setAttribute\("on`)
	found := 0
	for name, a := range files {
		if path.Ext(name) != ".js" || name == "editor.js" || name == "merge-worker.js" {
			continue
		}
		for _, m := range imported.FindAllStringSubmatch(string(a.content), -1) {
			found++
			if _, ok := files[strings.TrimPrefix(m[1], "./")]; !ok {
				t.Errorf("%s imports %s, which is not there", name, m[1])
			}
		}
		if bad := forbidden.FindString(string(a.content)); bad != "" {
			t.Errorf("%s has %s", name, bad)
		}
		if lines := strings.Count(string(a.content), "\n"); lines > 400 {
			t.Errorf("%s has %d lines", name, lines)
		}
	}
	if found < 20 {
		t.Errorf("%d imports were found", found)
	}
	if lines := strings.Count(string(files["client.js"].content), "\n"); lines > 300 {
		t.Errorf("client.js has %d lines", lines)
	}
	for _, module := range (View{}).Modules() {
		if _, ok := files[module]; !ok {
			t.Errorf("the page asks for %s, which is not there", module)
		}
	}
}

// htmlFiles have the HTML that the server writes for people.
var htmlFiles = []string{"page.go", "login.go", "../handler/bylink/drop.go", "../handler/autoindex/autoindex.go"}

// The texts that scripts and templates ask for are in the table, and none is there in vain.
func TestEachTextOfThePageIsInTheTable(t *testing.T) {
	files, _ := all()
	used := map[string]bool{}
	ask := regexp.MustCompile(`\b(?:t|Text)(?:\(| )"([^"]+)"`)
	any := regexp.MustCompile(`"([a-zA-Z.]+)"`)
	sources := map[string]string{}
	for name, a := range files {
		if path.Ext(name) == ".js" && !slices.Contains([]string{"editor.js", "merge-worker.js", "english.js"}, name) {
			sources[name] = string(a.content)
		}
	}
	for _, name := range htmlFiles {
		content, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		sources[name] = string(content)
	}
	for name, source := range sources {
		for _, m := range any.FindAllStringSubmatch(source, -1) {
			used[m[1]] = true
		}
		for _, m := range ask.FindAllStringSubmatch(source, -1) {
			if texts()[m[1]] == "" {
				t.Errorf("%s asks for the text %q, which is not there", name, m[1])
			}
		}
	}
	for key := range texts() {
		if prefix, _, _ := strings.Cut(key, "."); !used[key] && prefix != "merge" && prefix != "history" {
			t.Errorf("the text %q is never used", key)
		}
	}
	if len(texts()) < 150 || !used["login"] || Text("page.rows", "{1}", 2, 3) != "{1} to 2 of 3." {
		t.Errorf("%d texts, and %q", len(texts()), Text("page.rows", "{1}", 2, 3))
	}
}

// What people read in the HTML of the server comes from the same table.
func TestHTMLHasNoTextOfItsOwn(t *testing.T) {
	literal := regexp.MustCompile("(?s)`([^`]*<[^`]*)`")
	bare := regexp.MustCompile(`(?s)\{\{.*?\}\}|<style>.*?</style>|<[^>]*>|%(\[\d\])?[a-z]`)
	label := regexp.MustCompile(`\b(?:title|alt|aria-label|placeholder)="[^"{][^"]*"`)
	for _, name := range htmlFiles {
		content, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		found := literal.FindAllStringSubmatch(string(content), -1)
		for _, m := range found {
			if text := regexp.MustCompile(`[a-zA-Z]{2,}.*`).FindString(bare.ReplaceAllString(m[1], "")); text != "" {
				t.Errorf("%s has the text %q", name, text)
			}
			if text := label.FindString(m[1]); text != "" {
				t.Errorf("%s has %s", name, text)
			}
		}
		if len(found) == 0 {
			t.Errorf("%s has no HTML", name)
		}
	}
}

func rowsIn(page string) (names []string) {
	for _, m := range regexp.MustCompile(`<tr><td><a href="([^"]*)"`).FindAllStringSubmatch(page, -1) {
		names = append(names, m[1])
	}
	return names
}

func membersOf(names ...string) Members {
	return func(yield func(tree.State, error) bool) {
		for _, name := range names {
			base, collection := strings.CutSuffix(name, "/")
			if !yield(tree.State{Name: base, Exists: true, Collection: collection}, nil) {
				return
			}
		}
	}
}

func written(t *testing.T, after string, members Members) string {
	t.Helper()
	var b strings.Builder
	v := View{Own: "/.ifmatch/", After: after, Crumbs: []Crumb{{"host", "/"}}, Member: func(s *tree.State) string {
		if s.Collection {
			return "/" + url.PathEscape(s.Name) + "/"
		}
		return "/" + url.PathEscape(s.Name)
	}}
	if err := WritePage(&b, v, members); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// All rows are reached by the links, each once and in order, whatever the order of the store.
func TestPagesOfRowsReachAllMembers(t *testing.T) {
	var names, want []string
	for i := range 1500 {
		names = append(names, fmt.Sprintf("f%05d", (i*7919)%1500))
	}
	for i := range 700 {
		names = append(names, fmt.Sprintf("d%04d/", (i*101)%700))
	}
	names = append(names, "d0999") // a file that has the name of the last collection, nearly
	slices.Sort(names)
	for _, collections := range []bool{true, false} {
		for _, name := range names {
			if strings.HasSuffix(name, "/") == collections {
				want = append(want, "/"+name)
			}
		}
	}
	slices.Reverse(names)
	next := regexp.MustCompile(`<a href="\?after=([^"]*)" rel="next">`)
	var got []string
	after, pages := "", 0
	for pages = 1; pages < 10; pages++ {
		page := written(t, after, membersOf(names...))
		got = append(got, rowsIn(page)...)
		m := next.FindStringSubmatch(page)
		if m == nil {
			break
		}
		after = strings.ReplaceAll(m[1], "%2F", "/")
	}
	if pages != 3 || !slices.Equal(got, want) {
		t.Errorf("%d pages with %d rows, want 3 with %d", pages, len(got), len(want))
	}
}

func TestPageWritesNamesAsData(t *testing.T) {
	page := written(t, "", membersOf(`<script>alert(1)<`, `"onmouseover=alert(1) x="`, "a\nb", strings.Repeat("n", 255), "\u202ex"))
	if strings.Contains(page, "<script>") || strings.Contains(page, `"onmouseover`) || strings.Contains(page, "\u202e") ||
		strings.Contains(page, "a\nb") || !strings.Contains(page, "&lt;script&gt;alert(1)&lt;</bdi>") {
		t.Errorf("a name is more than a name in\n%s", page)
	}
}

func TestPageFailsWholeAndNotHalf(t *testing.T) {
	failing := func(yield func(tree.State, error) bool) {
		_ = yield(tree.State{Name: "a"}, nil) && yield(tree.State{Name: "b"}, iofs.ErrPermission) && yield(tree.State{}, iofs.ErrInvalid)
	}
	var b strings.Builder
	err := WritePage(&b, View{Crumbs: []Crumb{{"h", "/"}}, Member: func(*tree.State) string { return "/x" }}, failing)
	if !errors.Is(err, iofs.ErrInvalid) || b.Len() != 0 {
		t.Errorf("got %v after %d bytes", err, b.Len())
	}
}

func TestArchivesUnpackInOnePlace(t *testing.T) {
	for name, want := range map[string]string{
		"": "files.zip", "a": "a.zip", "a/b c": "b c.zip", `a/..\evil`: "..\u29f5evil.zip", "a/C:": "C\ua789.zip",
	} {
		if got := ArchiveName(name); got != want {
			t.Errorf("%q: got %q, want %q", name, got, want)
		}
	}
}

// A list has the latest versions, the latest first, and no more than its bound.
func TestLatest(t *testing.T) {
	for _, n := range []int{0, 1, MaxVersions, MaxVersions + 1, 2 * MaxVersions, 2*MaxVersions + 1, 5 * MaxVersions} {
		latest, complete, err := Latest(func(yield func(tree.Version, error) bool) {
			for i := range n {
				if !yield(tree.Version{Gone: time.Unix(int64(i), 0)}, nil) {
					return
				}
			}
		})
		want := min(n, MaxVersions)
		if len(latest) != want || complete != (n <= MaxVersions) || err != nil {
			t.Fatalf("of %d: %d, %v, %v", n, len(latest), complete, err)
		}
		for i, v := range latest {
			if !v.Gone.Equal(time.Unix(int64(n-1-i), 0)) {
				t.Fatalf("of %d: number %d is of %v", n, i, v.Gone)
			}
		}
	}
	failed := errors.New("the store fails")
	_, _, err := Latest(func(yield func(tree.Version, error) bool) { yield(tree.Version{}, failed) })
	if !errors.Is(err, failed) {
		t.Errorf("got %v", err)
	}
}
