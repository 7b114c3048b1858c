//go:build unix

package handler

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"r-seed-1f3a754f.example/ifmatch/etagfs"
	"r-seed-1f3a754f.example/ifmatch/fs"
	"r-seed-1f3a754f.example/ifmatch/internal/servertest"
)

// linkRules hide /h from all but ann. bob may read /mute without a list of it, and list /shut without reading it.
var linkRules = servertest.Rules(
	"/ authenticated list", "/ ann all", "/h ann all", "/h/way/z ann,bob list,read", "/open anonymous all",
	"/mute bob read", "/mute ann all", "/shut ann,bob list",
)

// A linkWorld is a handler of a directory on the disk. The link open/l leads to what lead says.
type linkWorld struct {
	http.Handler
	dir string
}

func newLinkWorld(t *testing.T) *linkWorld {
	t.Helper()
	w := &linkWorld{dir: t.TempDir()}
	for _, dir := range []string{"open/d", "h/d", "h/way/z", "mute", "shut"} {
		if err := os.MkdirAll(filepath.Join(w.dir, dir), 0o777); err != nil {
			t.Fatal(err)
		}
	}
	for _, file := range []string{"h/f", "h/ä", "h/d/f", "h/way/z/f", "open/d/o", "mute/f", "shut/f"} {
		if err := os.WriteFile(filepath.Join(w.dir, file), []byte(hiddenContent), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mkfifo(filepath.Join(w.dir, "h/pipe"), 0o666); err != nil {
		t.Fatal(err)
	}
	for link, target := range map[string]string{
		"open/file": "o", "open/dir": "d", "open/chain": "dir", "open/mute": "../mute/f", "open/shut": "../shut/f", "open/way": "../h/way",
		"open/z": "../h/way/z", "h/back": "../open/o", "open/there": "../h/back", "open/hidden": "../h", "d": "open/d",
	} {
		if err := os.Symlink(target, filepath.Join(w.dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	w.lead(t, "none")
	authority, _ := openAuthority(t, linkRules)
	w.Handler = newTestHandler(t, Config{Store: storeOn(t, w.dir, fs.Options{Durability: fs.None}, etagfs.Options{}), Auth: authority})
	return w
}

// lead has the link open/l lead to a target, and sets back what requests may have changed.
func (w *linkWorld) lead(t *testing.T, target string) {
	t.Helper()
	at := func(name string) string { return filepath.Join(w.dir, name) }
	err := errors.Join(os.MkdirAll(at("open/d"), 0o777), os.RemoveAll(at("open/new")), os.RemoveAll(at("open/l")), os.Symlink(target, at("open/l")))
	if now, _ := os.ReadFile(at("open/o")); string(now) != "o" {
		err = errors.Join(err, os.RemoveAll(at("open/o")), os.WriteFile(at("open/o"), []byte("o"), 0o666))
	}
	if err != nil {
		t.Fatal(err)
	}
}

// hiddenTargets are targets of links that bob may not see, and targets that do not exist.
var hiddenTargets = []string{
	"none", "../h/f", "../h", "../h/d", "../h/none", "../h/f/none", "../h/way", "l", "l/l", "../../none", "/etc/passwd", "/none",
	"../.ifmatch", "../h/pipe", "../h/ä", "../h/" + strings.Repeat("long", 200), "hidden", "hidden/f",
}

// TestLinksTellNothingOfTheirTargets: a principal that may not list the target of a link gets the same answer wherever
// the link leads: to a hidden file or collection, to nothing, in a circle, out of the tree, or to the state of the server.
func TestLinksTellNothingOfTheirTargets(t *testing.T) {
	paths := []string{"/open/l", "/open/l/", "/open/l/f", "/open/l/f/x", "/open/l/none", "/open/l/d", "/open/l/a%CC%88", "/open/l/%C3%A4/x",
		"/open/o", "/open", "/"}
	const none = "urn:uuid:00000000-0000-4000-8000-000000000000"
	w, n := newLinkWorld(t), 0
	for _, method := range toldMethods {
		for i, header := range append(toldHeaders(none), []string{"Depth:1"}, []string{"Depth:0", "Overwrite:F"}) {
			for j, line := range header {
				header[j] = strings.NewReplacer("/h/x/y", "/open/l/f", "/h/x", "/open/l", "/h", "/open/l/a%CC%88").Replace(line)
			}
			for j, path := range paths {
				if !*accessAll && (i+j)%16 != 0 || underRace && (i+j)%64 != 0 {
					continue
				}
				user := []string{"bob", ""}[(i+j/2)%2]
				want := ""
				for k, target := range hiddenTargets {
					w.lead(t, target)
					got := wholeAnswer(t, w.Handler, user, method, path, bodyOf(method), header)
					if n++; method == "LOCK" {
						w.unlock(t, user, path)
					}
					if k == 0 {
						want = got
					} else if got != want {
						t.Errorf("%s %s by %q with %q: with a link to %s:\n%s\nand to %s:\n%s", method, path, user, header, hiddenTargets[0], want,
							target, got)
					}
				}
				if t.Failed() {
					return
				}
			}
		}
	}
	t.Logf("%d answers", n)
}

// unlock ends the locks of a user on a name.
func (w *linkWorld) unlock(t *testing.T, user, path string) {
	t.Helper()
	body := askAs(t, w.Handler, user, "PROPFIND", path, "", "Depth:0").Body.String()
	for _, token := range tokenText.FindAllString(body, -1) {
		askAs(t, w.Handler, user, "UNLOCK", path, "", "Lock-Token:<"+token+">")
	}
}

// TestLinks: through a link, a request needs the effects on the name as asked and on the name to which the link leads.
func TestLinks(t *testing.T) {
	w := newLinkWorld(t)
	w.lead(t, "../h/f")
	for _, tt := range []struct {
		user, method, target string
		want                 int
		header               []string
	}{
		{user: "bob", method: "GET", target: "/open/file", want: 200},
		{user: "bob", method: "GET", target: "/open/dir/o", want: 200},
		{user: "bob", method: "GET", target: "/open/chain/o", want: 200},
		{user: "bob", method: "GET", target: "/open/dir/none", want: 404},
		{user: "bob", method: "GET", target: "/open/there", want: 200}, // through a hidden link
		{user: "bob", method: "GET", target: "/open/z/f", want: 200},
		{user: "bob", method: "GET", target: "/open/l", want: 404},
		{user: "bob", method: "GET", target: "/open/hidden/f", want: 404},
		{user: "bob", method: "GET", target: "/open/hidden/back", want: 200},
		{user: "bob", method: "GET", target: "/open/mute", want: 200}, // as the file by its name
		{user: "bob", method: "GET", target: "/open/shut", want: 403},
		{user: "bob", method: "HEAD", target: "/open/shut", want: 403},
		{user: "bob", method: "PROPFIND", target: "/open/shut", want: 207},
		{user: "bob", method: "PROPFIND", target: "/open/mute", want: 404},
		{user: "bob", method: "PROPFIND", target: "/open/way", want: 404},
		{user: "bob", method: "GET", target: "/d/o", want: 403}, // a name that bob may list and not read
		{user: "bob", method: "GET", target: "/open/file", want: 304, header: []string{"If-None-Match:*"}},
		{user: "bob", method: "GET", target: "/open/shut", want: 403, header: []string{"If-None-Match:" + hiddenTag}},
		{user: "ann", method: "GET", target: "/open/l", want: 304, header: []string{"If-None-Match:" + hiddenTag}},
		{user: "ann", method: "GET", target: "/open/l", want: 200},
		{user: "ann", method: "GET", target: "/open/hidden/f", want: 200},
		{user: "ann", method: "GET", target: "/open/hidden/none", want: 404},
		{user: "ann", method: "GET", target: "/d/o", want: 200},
		// Nothing is written through a link, by either name.
		{user: "ann", method: "PUT", target: "/open/l", want: 403},
		{user: "bob", method: "PUT", target: "/open/l", want: 403},
		{user: "bob", method: "PUT", target: "/open/dir/new", want: 403},
		{user: "bob", method: "MKCOL", target: "/open/dir/new", want: 403},
		{user: "bob", method: "DELETE", target: "/open/dir/o", want: 403},
		{user: "bob", method: "PROPPATCH", target: "/open/file", want: 403},
		{user: "bob", method: "LOCK", target: "/open/file", want: 403},
		{user: "bob", method: "COPY", target: "/open/file", want: 403, header: []string{"Destination:/open/new"}},
		{user: "bob", method: "COPY", target: "/open/o", want: 403, header: []string{"Destination:/open/file"}},
		// A link itself is moved and removed by the rights on its own name.
		{user: "bob", method: "DELETE", target: "/d", want: 403},
		{user: "bob", method: "MOVE", target: "/open/l", want: 201, header: []string{"Destination:/open/new"}},
		{user: "bob", method: "DELETE", target: "/open/new", want: 204},
		{user: "bob", method: "DELETE", target: "/open/hidden", want: 204},
		{user: "bob", method: "DELETE", target: "/open/dir", want: 204},
	} {
		got := askAs(t, w.Handler, tt.user, tt.method, tt.target, bodyOf(tt.method), tt.header...)
		if got.Code != tt.want {
			t.Errorf("%s %s by %s with %q: %d, want %d: %s", tt.method, tt.target, tt.user, tt.header, got.Code, tt.want, got.Body)
		}
	}
	for _, name := range []string{"h/f", "h/d/f", "open/d/o", "open/o"} {
		if _, err := os.Stat(filepath.Join(w.dir, name)); err != nil {
			t.Error(err)
		}
	}
}

// TestListingsThroughLinks: a listing shows the links to what the principal may list, and through a link the members that
// the principal may list by both names.
func TestListingsThroughLinks(t *testing.T) {
	w := newLinkWorld(t)
	w.lead(t, "../h/f")
	all := []string{"chain", "d", "dir", "file", "hidden", "l", "mute", "o", "shut", "there", "way", "z"}
	for _, tt := range []struct {
		user, target string
		want         []string
	}{
		{"ann", "/open/", all},
		{"bob", "/open/", []string{"chain", "d", "dir", "file", "o", "shut", "there", "z"}},
		{"", "/open/", []string{"chain", "d", "dir", "file", "o", "there"}},
		{"bob", "/open/dir/", []string{"o"}},
		{"bob", "/open/z/", []string{"f"}},
		{"ann", "/open/hidden/", []string{"back", "d", "f", "way", "ä"}},
	} {
		for _, depth := range []string{"1", "infinity"} {
			hrefs, _ := told(t, askAs(t, w.Handler, tt.user, "PROPFIND", tt.target, "", "Depth:"+depth).Body.Bytes())
			var got []string
			for _, href := range hrefs {
				base := strings.TrimSuffix(strings.TrimPrefix(href, tt.target), "/")
				if base != "" && !strings.Contains(base, "/") && href != tt.target {
					got = append(got, strings.ReplaceAll(base, "%C3%A4", "ä"))
				}
			}
			if slices.Sort(got); !slices.Equal(got, tt.want) {
				t.Errorf("PROPFIND %s by %q with Depth %s: %q, want %q", tt.target, tt.user, depth, got, tt.want)
			}
		}
		page := askAs(t, w.Handler, tt.user, "GET", tt.target, "").Body.String()
		for _, name := range all {
			if shows := strings.Contains(page, tt.target+name); shows != slices.Contains(tt.want, name) {
				t.Errorf("GET %s by %q shows %s: %v", tt.target, tt.user, name, shows)
			}
		}
	}
}

// TestATagThroughALinkNeedsBothNames: no answer of any kind tells the tag of a file to a principal that may not read it.
func TestATagThroughALinkNeedsBothNames(t *testing.T) {
	w := newLinkWorld(t)
	tag := strings.Trim(hiddenTag, `"`)
	for _, method := range toldMethods {
		for _, header := range toldHeaders("urn:uuid:0") {
			for _, path := range []string{"/open/l", "/open/shut", "/open/o"} {
				for _, target := range []string{"../h/f", "../shut/f"} {
					w.lead(t, target)
					for i, line := range header {
						header[i] = strings.ReplaceAll(line, "/h/x", "/open/l")
					}
					sent := fmt.Sprint(header)
					got := wholeAnswer(t, w.Handler, "bob", method, path, bodyOf(method), header)
					if strings.Contains(got, tag) && !strings.Contains(sent, tag) && method != "PUT" {
						t.Fatalf("%s %s with %s, to %s:\n%s", method, path, sent, target, got)
					}
					if method == "LOCK" {
						w.unlock(t, "bob", path)
					}
				}
				if method == "DELETE" || method == "MOVE" {
					if err := os.Symlink("../shut/f", filepath.Join(w.dir, "open/shut")); err != nil && !os.IsExist(err) {
						t.Fatal(err)
					}
				}
			}
		}
	}
}

// TestALinkThatIsTurned: while a local program turns a link from what a principal may see to what it may not see and
// back, no answer tells of the latter. Each answer goes by one look.
func TestALinkThatIsTurned(t *testing.T) {
	w := newLinkWorld(t)
	put := func(name, content string) {
		if err := os.WriteFile(filepath.Join(w.dir, name), []byte(content), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	put("open/d/f", "open")
	put("open/d/o", "open")
	put("open/d/also", "open")
	put("h/d/also", hiddenContent)
	put("h/d/secret", hiddenContent)
	stop, stopped := make(chan struct{}), make(chan error, 1)
	go func() {
		turned := filepath.Join(w.dir, "turned")
		var err error
		for i := 0; err == nil; i++ {
			select {
			case <-stop:
				stopped <- err
				return
			default:
			}
			err = errors.Join(os.Symlink([]string{"d", "../h/d"}[i%2], turned), os.Rename(turned, filepath.Join(w.dir, "open/l")))
		}
		stopped <- err
	}()
	rounds := 200
	if underRace {
		rounds = 40
	}
	for range rounds {
		for _, r := range []struct{ method, target, header string }{
			{"GET", "/open/l/f", "Accept:*/*"}, {"PROPFIND", "/open/l/f", "Depth:0"}, {"PROPFIND", "/open/l", "Depth:1"},
			{"PROPFIND", "/open/l", "Depth:infinity"}, {"GET", "/open/l/", "Accept:*/*"}, {"GET", "/open/l/f", "If-None-Match:*"},
			{"PUT", "/open/new", "If:</open/l/f> ([" + hiddenTag + "])"}, {"GET", "/open/l/f", "Range:bytes=0-2"},
		} {
			got := askAs(t, w.Handler, "bob", r.method, r.target, bodyOf(r.method), r.header)
			told := fmt.Sprint(got.Header(), got.Body)
			switch hidden := strings.Contains(told, "secret") || strings.Contains(told, "hid") || strings.Contains(told, hiddenTag); {
			case hidden && r.method != "PUT", r.method == "PUT" && got.Code != http.StatusPreconditionFailed:
				t.Fatalf("%v: %d %s", r, got.Code, told)
			}
		}
	}
	close(stop)
	if err := <-stopped; err != nil {
		t.Fatal(err)
	}
}

// TestMembersThroughLinksAreNotCounted: how many members a listing through a link has does not depend on those that the
// principal may not list by the names to which the link leads.
func TestMembersThroughLinksAreNotCounted(t *testing.T) {
	w := newLinkWorld(t)
	for i := range 5 {
		if err := os.WriteFile(filepath.Join(w.dir, "h/way/z", fmt.Sprint("secret", i)), []byte(hiddenContent), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	authority, _ := openAuthority(t, linkRules+servertest.Rules(
		"/h/way/z/* ann list", "/h/way/z/f ann,bob list",
	))
	store := storeOn(t, w.dir, fs.Options{Durability: fs.None}, etagfs.Options{})
	h := newTestHandler(t, Config{Store: store, Auth: authority, MaxInfinite: 4})
	for user, want := range map[string]int{"ann": http.StatusForbidden, "bob": http.StatusMultiStatus} {
		got := askAs(t, h, user, "PROPFIND", "/open/z", "", "Depth:infinity")
		if told := got.Body.String(); got.Code != want || strings.Contains(told, "secret") {
			t.Errorf("by %s: %d, want %d: %s", user, got.Code, want, told)
		}
	}
}
