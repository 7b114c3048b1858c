package handler

import (
	"context"
	"iter"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"r-seed-1f3a754f.example/ifmatch/etagfs"
	"r-seed-1f3a754f.example/ifmatch/fs"
	"r-seed-1f3a754f.example/ifmatch/internal/servertest"
	"r-seed-1f3a754f.example/ifmatch/tree"
	"r-seed-1f3a754f.example/ifmatch/web"
)

// The tags of "one\n" and "two\n".
const (
	tagOfOne = "LIsI2lzmA5jh8Zrw5dzMdE3ydLgmq-WF6rpoxSVDSAY"
	tagOfTwo = "J92O1EqD_5TVV_n9BBLtWoy8pp6gSSLYjAEYSgcwClo"
)

// withVersions returns a store in which notes.txt has a version, and the folder d was removed with one member.
func withVersions(t *testing.T) *etagfs.Store {
	t.Helper()
	store := storeOn(t, t.TempDir(), fs.Options{History: true, Durability: fs.None}, etagfs.Options{})
	lay(t, store, "notes.txt=one\n", "notes.txt=two\n", "d/", "d/f=one\n", "d/f=two\n")
	if err := store.Remove(t.Context(), "d", tree.Condition{}); err != nil {
		t.Fatal(err)
	}
	return store
}

// TestDocumentedVersions replays the conversation in docs/history.md.
func TestDocumentedVersions(t *testing.T) {
	page, err := os.ReadFile("../docs/history.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(page), "\n## Versions by HTTP\n")
	section, _, _ = strings.Cut(section, "\n## ")
	blocks := regexp.MustCompile("(?s)```http\n(.*?)```").FindAllStringSubmatch(section, -1)
	if len(blocks) != 8 {
		t.Fatalf("there are %d blocks", len(blocks))
	}
	h := newTestHandler(t, Config{Store: withVersions(t)})
	for i := 0; i < len(blocks); i += 2 {
		lines := strings.Split(strings.TrimSpace(blocks[i][1]), "\n")
		request := strings.Fields(lines[0])
		w := ask(t, h, request[0], request[1], "", lines[1:]...)
		head, want, _ := strings.Cut(strings.TrimSpace(blocks[i+1][1]), "\n\n")
		if status := strings.Fields(head)[1]; status != strconv.Itoa(w.Code) {
			t.Errorf("%s is answered %d, want %s\n%s", lines[0], w.Code, status, w.Body)
		}
		for line := range strings.SplitSeq(want, "\n") {
			if !strings.Contains(w.Body.String(), line) {
				t.Errorf("%s: the answer has no %s\n%s", lines[0], line, w.Body)
			}
		}
	}
	if w := ask(t, h, "GET", "/notes.txt", ""); w.Body.String() != "one\n" {
		t.Errorf("restored: %q", w.Body)
	}
}

func TestVersionAddresses(t *testing.T) {
	const at = "/.ifmatch/versions/"
	one := at + "notes.txt/" + tagOfOne
	to := "Destination: /notes.txt"
	for _, test := range []struct {
		about, method, path string
		header              []string
		status              int
		want                string // is in the body, or in "Field: value"
	}{
		{"a list", "HEAD", at + "notes.txt/", nil, 200, "Content-Type: application/json"},
		{"of all", "GET", at, nil, 200, `"path":"/d/"`},
		{"of a folder that is gone", "GET", at + "d/", nil, 200, `"path":"/d/f"`},
		{"of a file in it", "GET", at + "d/f/", nil, 200, `"cause":"DELETE"`},
		{"of a name without versions", "GET", at + "none/", nil, 200, `{"versions":[],"complete":true}`},
		{"without a slash it is no list", "GET", at + "notes.txt", nil, 404, ""},
		{"nothing is above", "GET", "/.ifmatch/versions", nil, 404, ""},
		{"a reserved name has none", "GET", at + ".ifmatch/", nil, 200, `{"versions":[],"complete":true}`},
		{"PROPFIND of the list alone", "PROPFIND", at + "notes.txt/", []string{"Depth: 0"}, 207, "/.ifmatch/versions/notes.txt/<"},
		{"PROPFIND of a version", "PROPFIND", one, []string{"Depth: 0"}, 207, `<D:getetag>"` + tagOfOne},
		{"PROPFIND without end", "PROPFIND", at + "notes.txt/", nil, 403, ""},
		{"a version", "GET", one, nil, 200, `Etag: "` + tagOfOne + `"`},
		{"it is a download", "GET", one, nil, 200, "Content-Disposition: attachment"},
		{"it runs nothing", "GET", one, nil, 200, "Content-Security-Policy: sandbox"},
		{"its length", "HEAD", one, nil, 200, "Content-Length: 4"},
		{"a range", "GET", one, []string{"Range: bytes=1-1"}, 206, "n"},
		{"a range of it", "GET", one, []string{"Range: bytes=1-1", `If-Range: "` + tagOfOne + `"`}, 206, "n"},
		{"a range of another", "GET", one, []string{"Range: bytes=1-1", `If-Range: "x"`}, 200, "one\n"},
		{"not again", "GET", one, []string{`If-None-Match: "x", W/"` + tagOfOne + `"`}, 304, `Etag: "` + tagOfOne + `"`},
		{"no more than a GET tells", "HEAD", one, []string{"If-None-Match: *"}, 304, "Cache-Control: private, no-store"},
		{"again", "GET", one, []string{`If-None-Match: "` + tagOfTwo + `"`}, 200, "one\n"},
		{"as it is", "GET", one, []string{`If-Match: "` + tagOfOne + `"`}, 200, "one\n"},
		{"as the file is now", "GET", one, []string{`If-Match: "` + tagOfTwo + `"`}, 412, "not true of this version"},
		{"a condition before a range", "GET", one, []string{"Range: bytes=1-1", `If-Match: "x"`}, 412, ""},
		{"by dates, which it has not", "GET", one, []string{"If-Modified-Since: Fri, 01 Jan 2100 00:00:00 GMT",
			"If-Unmodified-Since: Thu, 01 Jan 1970 00:00:00 GMT"}, 200, "one\n"},
		{"the version of a file in a removed folder", "GET", at + "d/f/" + tagOfTwo, nil, 200, "two\n"},
		{"a version that is the current one", "GET", at + "notes.txt/" + tagOfTwo, nil, 404, ""},
		{"a version of another name", "GET", at + "d/" + tagOfOne, nil, 404, ""},
		{"a COPY without a condition", "COPY", one, []string{to}, 428, "Overwrite: F"},
		{"… about the version", "COPY", one, []string{to, `If-Match: "` + tagOfTwo + `"`}, 400, "about the version"},
		{"… in a list without a tag", "COPY", one, []string{to, `If: (["` + tagOfTwo + `"])`}, 400, "about the version"},
		{"… that is false", "COPY", one, []string{to, `If: </notes.txt> (["x"])`}, 412, ""},
		{"… about another resource", "COPY", one, []string{to, `If: </d2> (Not ["x"])`}, 428, "Overwrite: F"},
		{"… that tells no version from another", "COPY", one, []string{to, `If: </notes.txt> (Not <DAV:no-lock>)`}, 428, ""},
		{"… where something is", "COPY", one, []string{to, "Overwrite: F"}, 412, ""},
		{"a COPY to another name", "COPY", one, []string{"Destination: /new.txt", "Overwrite: F"}, 403, "the name that it had"},
		{"a COPY to nowhere", "COPY", one, nil, 400, ""},
		{"a COPY of a list", "COPY", at + "notes.txt/", []string{to}, 405, "Allow: GET, HEAD, OPTIONS, PROPFIND"},
		{"a MOVE", "MOVE", one, []string{to, "Overwrite: F"}, 405, "Allow: GET, HEAD, OPTIONS, PROPFIND, COPY"},
		{"a DELETE", "DELETE", one, nil, 405, ""},
		{"a PUT", "PUT", one, nil, 405, ""},
		{"a COPY into a folder that is gone", "COPY", at + "d/f/" + tagOfTwo, []string{"Destination: /d/f", "Overwrite: F"}, 409, ""},
		{"a COPY", "COPY", one, []string{to, `If: </notes.txt> (["` + tagOfTwo + `"])`}, 204, `Etag: "` + tagOfOne + `"`},
	} {
		h := newTestHandler(t, Config{Store: withVersions(t)})
		w := ask(t, h, test.method, test.path, "", test.header...)
		got := w.Body.String()
		if name, _, isField := strings.Cut(test.want, ": "); isField && w.Header().Get(name) != "" {
			got = name + ": " + w.Header().Get(name)
		}
		if w.Code != test.status || !strings.Contains(got, test.want) {
			t.Errorf("%s: got %d, %s; want %d, %s", test.about, w.Code, got, test.status, test.want)
		}
		if now := ask(t, h, "GET", "/notes.txt", ""); test.status != 204 && now.Body.String() != "two\n" {
			t.Errorf("%s: notes.txt is %q", test.about, now.Body)
		}
	}
}

// A writtenLate is a store in which a local program has a version open: its ETag is not known when it is opened, and if
// hashed is true, it was not known before.
type writtenLate struct {
	tree.Store
	hashed bool
}

func (s writtenLate) Versions(ctx context.Context, name string, opts tree.VersionOptions) iter.Seq2[tree.Version, error] {
	return func(yield func(tree.Version, error) bool) {
		for v, err := range s.Store.Versions(ctx, name, opts) {
			if s.hashed && opts.Want&tree.WantTag == 0 {
				v.Tag = ""
			}
			if !yield(v, err) {
				return
			}
		}
	}
}

func (s writtenLate) OpenVersion(ctx context.Context, id string) (tree.Content, tree.Version, error) {
	content, v, err := s.Store.OpenVersion(ctx, id)
	v.Tag = ""
	return content, v, err
}

// TestVersionsHaveETagsThatTheirContentsKeep: an ETag is sent only with a content that fails if it changes meanwhile.
func TestVersionsHaveETagsThatTheirContentsKeep(t *testing.T) {
	for _, test := range []struct {
		about  string
		hashed bool
		header string
		status int
	}{
		{"written to since it was found", false, "", 503},
		{"hashed to be found", true, "", 200},
		{"hashed to be found, under a condition", true, `If-Match: "` + tagOfOne + `"`, 412},
		{"hashed to be found, for a client that may have it", true, `If-None-Match: "` + tagOfOne + `"`, 200},
	} {
		var header []string
		if test.header != "" {
			header = append(header, test.header)
		}
		h := newTestHandler(t, Config{Store: writtenLate{withVersions(t), test.hashed}})
		w := ask(t, h, "GET", "/.ifmatch/versions/notes.txt/"+tagOfOne, "", header...)
		if w.Code != test.status || w.Header().Get("Etag") != "" || test.status == 200 && w.Body.String() != "one\n" {
			t.Errorf("%s: got %d, ETag %q, %q; want %d", test.about, w.Code, w.Header().Get("Etag"), w.Body, test.status)
		}
	}
}

// A folder that is gone comes back from its version, which has a time in place of an ETag.
func TestFolderComesBack(t *testing.T) {
	h := newTestHandler(t, Config{Store: withVersions(t)})
	list := ask(t, h, "GET", "/.ifmatch/versions/d/", "").Body.String()
	href := regexp.MustCompile(`"href":"(/\.ifmatch/versions/d/[0-9T:.%A-Z-]+Z)"`).FindStringSubmatch(list)
	if href == nil {
		t.Fatal(list)
	}
	for _, method := range []string{"GET", "HEAD"} {
		if w := ask(t, h, method, href[1], ""); w.Code != 405 || w.Header().Get("Allow") != "OPTIONS, PROPFIND, COPY" {
			t.Errorf("%s of a folder: %d, Allow: %q", method, w.Code, w.Header().Get("Allow"))
		}
	}
	if w := ask(t, h, "COPY", href[1], "", "Destination: /d", "Overwrite: F"); w.Code != http.StatusCreated {
		t.Fatalf("COPY: %d %s", w.Code, w.Body)
	}
	if w := ask(t, h, "GET", "/d/f", ""); w.Body.String() != "two\n" {
		t.Errorf("got %d %q", w.Code, w.Body)
	}
}

// Versions need history and read, on the name that they had and on the name that is asked about.
func TestVersionsAskRules(t *testing.T) {
	authority, _ := openAuthority(t, servertest.Rules(
		"/ ann list,read,history,create,replace,remove", "/ bob list,read,create,replace,remove",
		"/d ann list,history", "/d/f ann,bob list,read,history",
	))
	h := newTestHandler(t, Config{Store: withVersions(t), Auth: authority})
	const at = "/.ifmatch/versions/"
	for _, test := range []struct {
		user, method, path string
		header             []string
		status             int
		has, lacks         string // in the body
	}{
		{"ann", "GET", at + "notes.txt/", nil, 200, tagOfOne, ""},
		{"ann", "GET", at + "notes.txt/" + tagOfOne, nil, 200, "one\n", ""},
		{"ann", "GET", at, nil, 200, tagOfOne, `"/d/"`},
		{"bob", "GET", at + "notes.txt/", nil, 200, "", tagOfOne},
		{"bob", "PROPFIND", at + "notes.txt/", []string{"Depth: 1"}, 207, "", tagOfOne},
		{"bob", "GET", at + "notes.txt/" + tagOfOne, nil, 404, "", "one\n"},
		{"bob", "COPY", at + "notes.txt/" + tagOfOne, []string{"Destination: /notes.txt", `If: </notes.txt> (["` + tagOfTwo + `"])`},
			403, "", ""},
		{"ann", "GET", at + "d/", nil, 200, "", tagOfOne}, // no read of the name that is asked about
		{"ann", "GET", at + "d/f/", nil, 200, tagOfOne, ""},
		{"bob", "GET", at + "d/f/" + tagOfOne, nil, 200, "one\n", ""},
		{"", "GET", at + "notes.txt/", nil, 401, "", tagOfOne},
		{"", "GET", at + "notes.txt/" + tagOfOne, nil, 401, "", "one\n"},
	} {
		w := askAs(t, h, test.user, test.method, test.path, "", test.header...)
		body := w.Body.String()
		if w.Code != test.status || !strings.Contains(body, test.has) || test.lacks != "" && strings.Contains(body, test.lacks) {
			t.Errorf("%s %s by %q: got %d %s", test.method, test.path, test.user, w.Code, body)
		}
	}
}

// TestRestoreReplacesOnlyWhatWasSeen: each way to bring a version back says which version it replaces, and asks the locks of
// all that goes.
func TestRestoreReplacesOnlyWhatWasSeen(t *testing.T) {
	now := `"` + tagOfTwo + `"`
	for _, test := range []struct {
		about  string
		header []string
		status int
	}{
		{"nothing is said", nil, 428},
		{"a date of reads", []string{"If-Modified-Since: Thu, 01 Jan 1970 00:00:00 GMT"}, 428},
		{"a date that is none", []string{"If-Unmodified-Since: today"}, 428},
		{"a tag that is none", []string{"If-None-Match: x"}, 428},
		{"another resource", []string{`If: </d2> (Not ["x"])`}, 428},
		{"what is always true", []string{"If: (Not <DAV:no-lock>)"}, 428},
		{"another version", []string{`If-Match: "x"`}, 412},
		{"that version", []string{"If-Match: " + now}, 204},
		{"that version, in a list", []string{"If: ([" + now + "])"}, 204},
	} {
		h := newTestHandler(t, Config{Page: web.Full, Store: withVersions(t)})
		id := decode(t, ask(t, h, "GET", "/.ifmatch/history?path=/notes.txt", "")).Versions[0].ID
		w := ask(t, h, "POST", "/.ifmatch/restore?path=/notes.txt&id="+url.QueryEscape(id), "", test.header...)
		want := map[bool]string{true: "one\n", false: "two\n"}[test.status == 204]
		if got := ask(t, h, "GET", "/notes.txt", "").Body.String(); w.Code != test.status || got != want {
			t.Errorf("%s: %d, want %d; the file is %q: %s", test.about, w.Code, test.status, got, w.Body)
		}
	}
}

// TestRestoreOverALockedMember: a version that takes the place of a collection takes its members away (RFC 4918 §7.5).
func TestRestoreOverALockedMember(t *testing.T) {
	store := storeOn(t, t.TempDir(), fs.Options{History: true, Durability: fs.None}, etagfs.Options{})
	lay(t, store, "n=one\n", "n=two\n")
	h := newTestHandler(t, Config{Page: web.Full, Store: store})
	version := "/.ifmatch/versions/n/" + tagOfOne
	id := url.QueryEscape(decode(t, ask(t, h, "GET", "/.ifmatch/history?path=/n", "")).Versions[0].ID)
	if err := store.Remove(t.Context(), "n", tree.Condition{}); err != nil {
		t.Fatal(err)
	}
	lay(t, store, "n/", "n/f=f")
	w := ask(t, h, "LOCK", "/n/f", `<lockinfo xmlns="DAV:"><lockscope><exclusive/></lockscope><locktype><write/></locktype></lockinfo>`)
	token := w.Header().Get("Lock-Token")
	for _, test := range []struct {
		method, target string
		header         []string
		status         int
	}{
		{"POST", "/.ifmatch/restore?path=/n&id=" + id, []string{"If-Match: *"}, 207},
		{"COPY", version, []string{"Destination: /n", "If: </n> (Not [\"x\"])"}, 207},
		{"POST", "/.ifmatch/restore?path=/n&id=" + id, []string{"If-Match: *", "Lock-Token: " + token}, 204},
	} {
		w := ask(t, h, test.method, test.target, "", test.header...)
		if there := ask(t, h, "GET", "/n/f", "").Code == 200; w.Code != test.status || there != (test.status == 207) {
			t.Errorf("%s %q: %d, want %d; the member is there: %v: %s", test.method, test.header, w.Code, test.status, there, w.Body)
		}
	}
}

// busyHistory is a store whose history too many read.
type busyHistory struct{ tree.Store }

func (busyHistory) Versions(context.Context, string, tree.VersionOptions) iter.Seq2[tree.Version, error] {
	return func(yield func(tree.Version, error) bool) {
		yield(tree.Version{}, &tree.StorageError{Kind: tree.ErrBusy, Hint: "too many requests read the history; try again"})
	}
}

// TestBusyHistoryIsAskedAgain: whatever looks for versions, the answer is 503 before anything was sent.
func TestBusyHistoryIsAskedAgain(t *testing.T) {
	h := newTestHandler(t, Config{Page: web.Full, Store: busyHistory{withVersions(t)}})
	const one = "/.ifmatch/versions/notes.txt/" + tagOfOne
	for _, test := range []struct {
		method, target string
		header         []string
	}{
		{"GET", "/.ifmatch/versions/notes.txt/", nil},
		{"HEAD", "/.ifmatch/versions/notes.txt/", nil},
		{"PROPFIND", "/.ifmatch/versions/notes.txt/", []string{"Depth: 1"}},
		{"PROPFIND", one, []string{"Depth: 0"}},
		{"GET", one, nil},
		{"COPY", one, []string{"Destination: /notes.txt", `If: </notes.txt> (["` + tagOfTwo + `"])`}},
		{"GET", "/.ifmatch/history?path=/notes.txt", nil},
		{"POST", "/.ifmatch/restore?path=/notes.txt&id=x", []string{`If-Match: "` + tagOfTwo + `"`}},
	} {
		w := ask(t, h, test.method, test.target, "", test.header...)
		told := test.method == "HEAD" || strings.Contains(w.Body.String(), "too many requests read the history; try again")
		if w.Code != 503 || w.Header().Get("Retry-After") != "1" || !told {
			t.Errorf("%s %s: %d, Retry-After: %q: %s", test.method, test.target, w.Code, w.Header().Get("Retry-After"), w.Body)
		}
	}
}

// TestJunkComesBack: --junk refuse refuses to make such files, and keeps no version from coming back.
func TestJunkComesBack(t *testing.T) {
	for _, test := range []struct {
		about, method, target string // ID stands for the version of the page
		header                []string
		status                int
	}{
		{"the file is made", "PUT", "/.DS_Store", nil, 403},
		{"it is copied to such a name", "COPY", "/notes.txt", []string{"Destination: /.DS_Store"}, 403},
		{"its version is copied", "COPY", "/.ifmatch/versions/.DS_Store/" + tagOfOne, []string{"Destination: /.DS_Store", "Overwrite: F"}, 201},
		{"the page restores it", "POST", "/.ifmatch/restore?path=/.DS_Store&id=ID", []string{"If-None-Match: *"}, 201},
	} {
		store := withVersions(t)
		lay(t, store, ".DS_Store=one\n")
		if err := store.Remove(t.Context(), ".DS_Store", tree.Condition{}); err != nil {
			t.Fatal(err)
		}
		h := newTestHandler(t, Config{Page: web.Full, Store: store, RefuseJunk: true})
		id := decode(t, ask(t, h, "GET", "/.ifmatch/history?path=/.DS_Store", "")).Versions[0].ID
		w := ask(t, h, test.method, strings.Replace(test.target, "ID", url.QueryEscape(id), 1), "x", test.header...)
		if is := ask(t, h, "GET", "/.DS_Store", ""); w.Code != test.status || (is.Body.String() == "one\n") != (test.status == 201) {
			t.Errorf("%s: %d, want %d; the file is %d %q", test.about, w.Code, test.status, is.Code, is.Body)
		}
	}
}
