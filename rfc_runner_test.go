package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"r-seed-1f3a754f.example/ifmatch/fs"
	"r-seed-1f3a754f.example/ifmatch/internal/clustertest"
	"r-seed-1f3a754f.example/ifmatch/internal/servertest"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

// A sentence is one of an RFC that binds a server, as a row of the table that shows whether ours keeps it: for each of
// the methods a request on a small tree of its own, over a real connection, byte for byte as it is written.
//
// The tree of a row has the files f, g and d/m, the collections d and e, and nothing at none, new and no/f. In a
// request, $F, $G and $M are the tags of the three files, $D is the path of the tree, $A the authority of the server,
// and $1, $2 … the tokens of the row's locks.
type sentence struct {
	says    string // beginning with the section
	at      string // the member of the tree that the Request-URI is of
	methods string
	send    []string // header lines
	want    string   // see verdict
	locks   string   // taken before: "NAME", with "+" for Depth: infinity and "~" for a shared one
}

// The methods that a condition can be sent with, by their target.
const (
	reads        = "GET HEAD"
	writes       = "PUT DELETE COPY MOVE PROPPATCH LOCK"
	onFile       = reads + " " + writes
	onCollection = reads + " DELETE COPY MOVE PROPPATCH LOCK"
	onNothing    = "PUT MKCOL LOCK"
	elsewhere    = "PROPFIND OPTIONS UNLOCK" // only If counts
)

// What is wanted of a row, besides a status such as "404": that the method goes on as if the header was not there;
// that the header named fails (412, with all that a 412 says, and nothing has changed); or that it fails a write so
// and a read with 304.
const ok = "ok"

func fails(header string) string { return "412 " + header }
func found(header string) string { return "304 " + header }

// successes are the statuses of methods that go on: of something, and of nothing.
var successes = map[string][2]int{
	"GET": {200}, "HEAD": {200}, "PUT": {204, 201}, "DELETE": {204}, "MKCOL": {0, 201}, "COPY": {201}, "MOVE": {201},
	"PROPPATCH": {207}, "LOCK": {200, 201}, "PROPFIND": {207}, "OPTIONS": {200, 200}, "UNLOCK": {204}, "REFRESH": {200},
}

const (
	lockBody = `<lockinfo xmlns="DAV:"><lockscope><%s/></lockscope><locktype><write/></locktype></lockinfo>`
	propBody = `<propertyupdate xmlns="DAV:"><set><prop><color xmlns="x:">red</color></prop></set></propertyupdate>`
)

// bodies are the bodies of methods. Besides those of HTTP there are a LOCK without a body (REFRESH), four methods with
// bodies that are wrong, and a GET that is answered with a part (PARTIAL).
var bodies = map[string]string{"PUT": "new\n", "PROPPATCH": propBody, "LOCK": fmt.Sprintf(lockBody, "exclusive"),
	"BADPATCH": "<not XML", "BADLOCK": "<not XML", "BADFIND": "<not XML", "BADCOL": "<not XML"}

// long is a name that no disk takes.
var long = strings.Repeat("x", 300)

// written is when the files of a row's tree were last modified. It has a fraction, which Last-Modified has not.
var written = time.Date(2020, 1, 2, 3, 4, 5, 600e6, time.UTC)

const (
	atWritten = "Thu, 02 Jan 2020 03:04:05 GMT"
	earlier   = "Thu, 02 Jan 2020 03:04:04 GMT"
	later     = "Fri, 01 Jan 2100 00:00:00 GMT"
)

// A rowTree is the tree of one row and one method, on the disk of a running server.
type rowTree struct {
	server string // its URL
	dir    string // on the disk
	path   string // in URLs
	tokens []string
	spent  bool // a request has changed it
}

func newRowTree(t *testing.T, server, root string, n int) *rowTree {
	t.Helper()
	r := &rowTree{server: server, dir: filepath.Join(root, fmt.Sprint(n)), path: fmt.Sprintf("/%d", n)}
	if clustertest.IsOn() {
		r.upload(t)
		return r
	}
	for _, name := range []string{"", "d", "e"} {
		if err := os.Mkdir(filepath.Join(r.dir, name), 0o777); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"f", "g", "d/m"} {
		if err := os.WriteFile(filepath.Join(r.dir, name), []byte(name), 0o666); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(filepath.Join(r.dir, name), written, written); err != nil {
			t.Fatal(err)
		}
	}
	return r
}

// upload makes the tree where the disk only shows what clients have written.
func (r *rowTree) upload(t *testing.T) {
	t.Helper()
	for _, name := range []string{"", "d", "e"} {
		r.request(t, "MKCOL", name, "")
	}
	for _, name := range []string{"f", "g", "d/m"} {
		mtime := fmt.Sprint("X-OC-Mtime: ", written.Unix())
		if answer, body := r.request(t, "PUT", name, name, mtime, "If-None-Match: *"); answer.StatusCode != http.StatusCreated {
			t.Fatalf("PUT %s: %s %s", name, answer.Status, body)
		}
	}
}

func contentTag(content string) string { return string(tree.TagOf(sha256.Sum256([]byte(content)))) }

// lock takes the locks of a row.
func (r *rowTree) lock(t *testing.T, locks string) {
	t.Helper()
	for spec := range strings.FieldsSeq(locks) {
		name := strings.TrimRight(spec, "+~")
		scope, depth := "exclusive", "0"
		if strings.Contains(spec, "~") {
			scope = "shared"
		}
		if strings.Contains(spec, "+") {
			depth = "infinity"
		}
		answer, _ := r.request(t, "LOCK", name, fmt.Sprintf(lockBody, scope), "Depth: "+depth)
		token := strings.Trim(answer.Header.Get("Lock-Token"), "<>")
		if token == "" {
			t.Fatalf("LOCK %s: %s", name, answer.Status)
		}
		r.tokens = append(r.tokens, token)
	}
}

func (r *rowTree) request(t *testing.T, method, name, body string, header ...string) (*http.Response, []byte) {
	t.Helper()
	sent := servertest.Request{
		Base: r.server, Method: method, Target: r.path + "/" + name, Header: header, Body: []byte(body), HasBody: body != "",
	}
	answer, read, err := sent.Send()
	if err != nil {
		t.Fatalf("%s %s: %v", method, name, err)
	}
	return answer, read
}

// expand replaces the placeholders in the header lines of a row.
func (r *rowTree) expand(line string) string {
	_, authority, _ := strings.Cut(r.server, "://")
	pairs := []string{"$F", contentTag("f"), "$G", contentTag("g"), "$M", contentTag("d/m"), "$D", r.path, "$A", authority}
	for i, token := range r.tokens {
		pairs = append(pairs, fmt.Sprintf("$%d", i+1), token)
	}
	return strings.NewReplacer(pairs...).Replace(line)
}

// content is all that is on the disk, as text.
func (r *rowTree) content(t *testing.T) string {
	t.Helper()
	var all strings.Builder
	err := filepath.WalkDir(r.dir, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		fmt.Fprintf(&all, "%s\n", strings.TrimPrefix(path, r.dir))
		if d.IsDir() {
			return nil
		}
		content, err := os.ReadFile(path)
		fmt.Fprintf(&all, "\t%q\n", content)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all.String()
}

// has returns the tag of a name on the disk, and whether the name exists.
func (r *rowTree) has(name string) (tag string, exists bool) {
	info, err := os.Stat(filepath.Join(r.dir, name))
	if err != nil {
		return "", false
	}
	if info.IsDir() {
		return "", true
	}
	content, err := os.ReadFile(filepath.Join(r.dir, name))
	return contentTag(string(content)), err == nil
}

func (s sentence) run(t *testing.T, method string, r *rowTree) {
	r.spent = true
	r.lock(t, s.locks)
	sent, header := method, slices.Clone(s.send)
	switch method {
	case "COPY", "MOVE":
		if !slices.ContainsFunc(header, func(line string) bool { return strings.HasPrefix(line, "Destination:") }) {
			header = append(header, "Destination: $D/new")
		}
	case "UNLOCK":
		if len(r.tokens) == 0 {
			r.lock(t, s.at)
		}
		header = append(header, "Lock-Token: <$1>")
	case "REFRESH", "BADLOCK":
		sent = "LOCK"
	case "BADPATCH":
		sent = "PROPPATCH"
	case "BADFIND":
		sent = "PROPFIND"
	case "BADCOL":
		sent = "MKCOL"
	case "PARTIAL":
		sent = "GET"
	case "PROPFIND":
		header = append(header, "Depth: 0")
	}
	for i, line := range header {
		header[i] = r.expand(line)
	}
	tag, exists := r.has(s.at)
	before := r.content(t)
	answer, body := r.request(t, sent, s.at, bodies[method], header...)
	after := r.content(t)
	r.spent = before != after || len(r.tokens) > 0 || answer.StatusCode < 300 && !strings.Contains("GET HEAD OPTIONS PROPFIND", method)

	want, failed, _ := strings.Cut(s.want, " ")
	if want == "304" && !strings.Contains(reads, method) {
		want = "412"
	}
	if want == ok {
		i := 0
		if !exists {
			i = 1
		}
		want = fmt.Sprint(successes[method][i])
		if changes := strings.Contains("PUT DELETE MKCOL COPY MOVE", method) || method == "LOCK" && !exists; changes == (before == after) {
			t.Errorf("before it was\n%s, after it is\n%s", before, after)
		}
	} else if before != after && want >= "3" {
		t.Errorf("it has changed something: before\n%s, after\n%s", before, after)
	}
	if fmt.Sprint(answer.StatusCode) != want {
		t.Errorf("got %s, want %s\n%q\n%s", answer.Status, want, header, body)
		return
	}
	switch want {
	case "304":
		if got := answer.Header.Get("ETag"); got != tag || len(body) > 0 {
			t.Errorf("the 304 has the tag %q and the body %q, want %q and none", got, body, tag)
		}
	case "412", "428":
		if failed == "" && want == "412" {
			break // a LOCK that is refreshed says it in XML
		}
		r.judge(t, answer.StatusCode, method, failed, tag, answer, body)
	}
}

// judge looks at the body of a 412 or a 428.
func (r *rowTree) judge(t *testing.T, status int, method, failed, tag string, answer *http.Response, body []byte) {
	t.Helper()
	if got := answer.Header.Get("ETag"); got != tag {
		t.Errorf("the ETag is %q, and that of the Request-URI is %q", got, tag)
	}
	if method == "HEAD" {
		if len(body) > 0 {
			t.Errorf("HEAD has a body: %s", body)
		}
		return
	}
	var problem struct {
		Status                                  int
		Detail, Condition, Want, Resource, Etag string
		Exists                                  bool
		Size                                    *int64
	}
	if err := json.Unmarshal(body, &problem); err != nil {
		t.Errorf("the answer says %q: %v", body, err)
		return
	}
	name := strings.TrimSuffix(strings.TrimPrefix(problem.Resource, r.path+"/"), "/")
	has, exists := r.has(name)
	if problem.Status != status || problem.Condition != failed || problem.Detail == "" ||
		problem.Exists != exists || problem.Etag != has || (problem.Size != nil) != (has != "") {
		t.Errorf("the answer is of %s, want %s; %s exists: %v, with the tag %q\n%s", problem.Condition, failed, name, exists, has, body)
	}
	if strings.Contains(failed, "If") && problem.Want == "" && !bytes.Contains(body, []byte(`"want":""`)) {
		t.Errorf("the answer does not say what was wanted: %s", body)
	}
}

// runSentences runs a table against one server.
func runSentences(t *testing.T, cfg Config, table []sentence) {
	root := t.TempDir()
	var server string
	if clustertest.IsOn() {
		flags := []string{root}
		if cfg.RequireConditions {
			flags = []string{"--require-conditions", root}
		}
		server = servertest.Run(t, servertest.Command(flags...)).URL
	} else {
		cfg.Dir, cfg.Durability = root, fs.None
		server, _ = serveConfig(t, cfg)
	}
	n, trees := 0, 0
	var r *rowTree
	seen := map[string]bool{}
	for _, s := range table {
		if seen[s.says] {
			t.Errorf("two rows are named %q", s.says)
		}
		seen[s.says] = true
		t.Run(s.says, func(t *testing.T) {
			for method := range strings.FieldsSeq(s.methods) {
				n++
				if r == nil || r.spent {
					trees++
					r = newRowTree(t, server, root, trees)
				}
				t.Run(method, func(t *testing.T) { s.run(t, method, r) })
			}
		})
	}
	t.Logf("%d sentences, %d requests, %d trees", len(table), n, trees)
}

func lines(lines ...string) []string { return lines }
