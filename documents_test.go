package main

import (
	"encoding/json"
	"encoding/xml"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"

	"r-seed-1f3a754f.example/ifmatch/internal/servertest"
)

// TestDocuments compares what the documents say with the program and the tree: links lead to something, tests and flags
// that are named are there, and the README is short.
func TestDocuments(t *testing.T) {
	pages, err := filepath.Glob("docs/*.md")
	if err != nil || len(pages) == 0 {
		t.Fatalf("%d pages in docs, %v", len(pages), err)
	}
	pages = append(pages, "README.md", "bench/README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")
	tests, flags := namesOfTests(t), namesOfFlags()
	for _, page := range pages {
		text := readPage(t, page)
		for _, link := range linksOf(text) {
			if reason := brokenLink(t, page, link); reason != "" {
				t.Errorf("%s links to %s: %s", page, link, reason)
			}
		}
		for _, name := range regexp.MustCompile("`((?:Test|Fuzz)[A-Z]\\w*)").FindAllStringSubmatch(text, -1) {
			if !tests[name[1]] {
				t.Errorf("%s names the test %s, which is not there", page, name[1])
			}
		}
		if strings.HasSuffix(page, "README.md") || filepath.Dir(page) == "docs" || page == "CHANGELOG.md" {
			for _, flag := range flagsIn(text) {
				if !flags[flag] {
					t.Errorf("%s names the flag --%s, which is not there", page, flag)
				}
			}
		}
	}
	if words := len(strings.Fields(readPage(t, "README.md"))); words > 900 {
		t.Errorf("the README has %d words; it may have 900, and the rest belongs to docs", words)
	}
}

// TestReadmeTellsTheDefaults compares the table of flags in the README with the flags of serve: each row has a flag, with
// its placeholder where it takes a value, and its default.
func TestReadmeTellsTheDefaults(t *testing.T) {
	rows := regexp.MustCompile("(?m)^\\| `--([a-z-]+)(?: ([A-Z:]+))?` \\|(.*?)\\| .* \\|$").
		FindAllStringSubmatch(readPage(t, "README.md"), -1)
	if len(rows) != 10 {
		t.Errorf("the table has %d flags, not the ten that are used most", len(rows))
	}
	for _, row := range rows {
		name, placeholder, value := row[1], row[2], strings.Trim(row[3], " `")
		i := slices.IndexFunc(serveFlags(), func(f cli.Flag) bool { return f.Names()[0] == name })
		if i < 0 {
			t.Errorf("there is no flag --%s", name)
			continue
		}
		flag := serveFlags()[i].(cli.DocGenerationFlag)
		if takes := placeholder != ""; takes != flag.TakesValue() {
			t.Errorf("--%s takes a value: %v, and the table says %v", name, flag.TakesValue(), takes)
		}
		if placeholder != "" && !strings.Contains(flag.GetUsage(), "`"+placeholder+"`") {
			t.Errorf("--%s has another placeholder than %s: %s", name, placeholder, flag.GetUsage())
		}
		if want := strings.Trim(flag.GetDefaultText(), `"`); flag.TakesValue() && value != want {
			t.Errorf("--%s is %q by default, and the table says %q", name, want, value)
		}
	}
}

// TestHTTPPageIsWhole asks a server what it has, and wants each method, live property and field of a refusal on the page
// about HTTP.
func TestHTTPPageIsWhole(t *testing.T) {
	page := readPage(t, "docs/http.md")
	url, client := serveNew(t)
	servertest.Send(t, client, "PUT", url+"/f", "one")
	named := func(what, name string) {
		t.Helper()
		if !strings.Contains(page, "`"+name+"`") && !regexp.MustCompile(`(?m)^\|[^|]*\b`+name+`\b`).MatchString(page) {
			t.Errorf("docs/http.md does not name the %s %s", what, name)
		}
	}

	for _, name := range []string{"/", "/f", "/none"} {
		request, err := http.NewRequest("OPTIONS", url+name, nil)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := client.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		for method := range strings.SplitSeq(answer.Header.Get("Allow"), ", ") {
			named("method", method)
		}
	}

	_, _, all := servertest.Send(t, client, "PROPFIND", url+"/", `<propfind xmlns="DAV:"><propname/></propfind>`, "Depth", "1")
	var told struct {
		Props []struct {
			Any []struct{ XMLName xml.Name } `xml:",any"`
		} `xml:"response>propstat>prop"`
	}
	if err := xml.Unmarshal([]byte(all), &told); err != nil {
		t.Fatalf("%v: %s", err, all)
	}
	count := 0
	for _, prop := range told.Props {
		for _, property := range prop.Any {
			named("property", property.XMLName.Local)
			count++
		}
	}
	if count < 20 {
		t.Errorf("a file and a collection have %d live properties: %s", count, all)
	}

	_, _, refusal := servertest.Send(t, client, "PUT", url+"/f", "one", "If-Match", `"x"`)
	_, _, mismatch := servertest.Send(t, client, "PUT", url+"/f", "two", "Repr-Digest", "sha-256=:"+strings.Repeat("A", 43)+"=:")
	for _, body := range []string{refusal, mismatch} {
		var fields map[string]any
		if err := json.Unmarshal([]byte(body), &fields); err != nil || len(fields) < 6 {
			t.Fatalf("%v: %s", err, body)
		}
		for field := range fields {
			named("field", field)
		}
	}
}

// foreignFlags are those of other programs that the documents name beside ours.
var foreignFlags = []string{
	"etag-save", "header-upload", "ignore-existing", "exclude", "checksum", "dir-cache-time", "vfs-cache-mode", "vfs-write-back",
	"bare", "webdav-url", "webdav-vendor", "webdav-pacer-min-sleep", "webdav-nextcloud-chunk-size", "now", "xattrs",
	"fail", "fail-with-body", "data", "netrc", "retries", "webdav-user", "webdav-pass",
}

func flagsIn(text string) (names []string) {
	for _, found := range regexp.MustCompile(`(?:^|[\s\x60(|])--([a-z][a-z0-9-]+)`).FindAllStringSubmatch(text, -1) {
		if !slices.Contains(foreignFlags, found[1]) {
			names = append(names, found[1])
		}
	}
	return names
}

// namesOfFlags are the flags of all commands.
func namesOfFlags() map[string]bool {
	names := map[string]bool{"help": true, "version": true}
	var add func(commands []*cli.Command)
	add = func(commands []*cli.Command) {
		for _, command := range commands {
			for _, flag := range command.Flags {
				for _, name := range flag.Names() {
					names[name] = true
				}
			}
			add(command.Subcommands)
		}
	}
	add(newApp(nil, nil).Commands)
	return names
}

// namesOfTests are the tests of the whole tree, whatever system or tag their file is for.
func namesOfTests(t *testing.T) map[string]bool {
	t.Helper()
	names := map[string]bool{}
	declared := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`)
	err := filepath.WalkDir(".", func(path string, _ os.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(path, "_test.go") {
			for _, found := range declared.FindAllStringSubmatch(readPage(t, path), -1) {
				names[found[1]] = true
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

var linkPattern = regexp.MustCompile(`\]\(([^)\s]+)\)`)

func linksOf(text string) (links []string) {
	for _, found := range linkPattern.FindAllStringSubmatch(text, -1) {
		links = append(links, found[1])
	}
	return links
}

// brokenLink says why a link of a page leads nowhere; "" where it does not, or leads to another site.
func brokenLink(t *testing.T, page, link string) string {
	t.Helper()
	if strings.Contains(link, "://") {
		return ""
	}
	name, heading, _ := strings.Cut(link, "#")
	to := page
	if name != "" {
		to = filepath.Join(filepath.Dir(page), name)
	}
	if _, err := os.Stat(to); err != nil {
		return err.Error()
	}
	if heading != "" && !slices.Contains(headingsOf(readPage(t, to)), heading) {
		return "there is no such heading"
	}
	return ""
}

// headingsOf are the headings of a page as links name them.
func headingsOf(text string) (names []string) {
	dropped := regexp.MustCompile(`[^a-z0-9 -]`)
	for _, found := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllStringSubmatch(text, -1) {
		names = append(names, strings.ReplaceAll(dropped.ReplaceAllString(strings.ToLower(found[1]), ""), " ", "-"))
	}
	return names
}

func readPage(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
