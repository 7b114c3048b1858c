package handler

import (
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"r-seed-1f3a754f.example/ifmatch/etagfs"
	"r-seed-1f3a754f.example/ifmatch/fs"
	"r-seed-1f3a754f.example/ifmatch/internal/servertest"
)

// An ownRoutes is a handler with all addresses of the program, and an upload that is under way.
type ownRoutes struct {
	http.Handler
	t      *testing.T
	prefix string
	upload string // its path
	all    []string
}

// openOwnRoutes opens a directory with the file f and the collection d.
func openOwnRoutes(t *testing.T, config Config) *ownRoutes {
	t.Helper()
	config.Store = storeOn(t, t.TempDir(), fs.Options{Durability: fs.None, History: true}, etagfs.Options{Journal: true})
	lay(t, config.Store, "f=f", "d/")
	s := &ownRoutes{Handler: newTestHandler(t, config), t: t, prefix: config.Prefix}
	s.upload = created(t, s, s.prefix+"/d/up", "", "Upload-Length: 5")
	s.all = append(s.all, s.upload)
	for _, name := range slices.Sorted(maps.Keys(ownAddresses)) {
		s.all = append(s.all, s.prefix+"/.ifmatch/"+name, s.prefix+"/.ifmatch/"+name+"/")
	}
	return s
}

// wantUntouched fails unless the tree has the same names as at first, and the upload goes on.
func (s *ownRoutes) wantUntouched(what string) {
	s.t.Helper()
	hrefs, _ := told(s.t, ask(s.t, s, "PROPFIND", s.prefix+"/", "", "Depth: infinity").Body.Bytes())
	slices.Sort(hrefs)
	if want := []string{s.prefix + "/", s.prefix + "/d/", s.prefix + "/f"}; !slices.Equal(hrefs, want) {
		s.t.Errorf("%s: there is %q, want %q", what, hrefs, want)
	}
	if w := ask(s.t, s, "HEAD", s.upload, "", tus); w.Code != 200 || w.Header().Get("Upload-Offset") != "0" {
		s.t.Errorf("%s: the upload says %d, and is at byte %q", what, w.Code, w.Header().Get("Upload-Offset"))
	}
}

// TestOwnAddressesAreNoResources: each method of WebDAV fails on them, no Destination and no If means them, and no
// listing has them.
func TestOwnAddressesAreNoResources(t *testing.T) {
	for _, prefix := range []string{"", "/dav"} {
		s := openOwnRoutes(t, Config{Prefix: prefix})
		for _, address := range s.all {
			for _, tt := range []struct {
				method, body string
				header       []string
			}{
				{"PUT", "x", nil}, {"PUT", "x", []string{"If-None-Match: *"}}, {"MKCOL", "", nil}, {"DELETE", "", nil},
				{"PROPFIND", "", []string{"Depth: 0"}}, {"PROPFIND", "", []string{"Depth: infinity"}},
				{"PROPPATCH", patchOf("<x>1</x>"), nil}, {"REPORT", `<sync-collection xmlns="DAV:"/>`, nil},
				{"LOCK", lockBody, nil}, {"UNLOCK", "", []string{"Lock-Token: <urn:uuid:1>"}},
				{"COPY", "", []string{"Destination: " + prefix + "/new"}},
				{"MOVE", "", []string{"Destination: " + prefix + "/new"}},
				{"TRACE", "", nil}, {"POST", "x", nil}, {"PATCH", "x", nil},
			} {
				w := ask(t, s, tt.method, address, tt.body, tt.header...)
				if strings.HasSuffix(address, "/versions/") && tt.method == "PROPFIND" && tt.header[0] == "Depth: 0" {
					if w.Code != 207 { // it is a list, and no resource of the tree
						t.Errorf("%s %s: %d %s", tt.method, address, w.Code, w.Body)
					}
					continue
				}
				if w.Code < 400 || w.Code >= 500 {
					t.Errorf("%s %s: %d %s", tt.method, address, w.Code, w.Body)
				}
			}
			s.wantUntouched(address)
			for _, method := range []string{"COPY", "MOVE"} {
				w := ask(t, s, method, prefix+"/f", "", "Destination: "+address)
				checkReserved(t, w, method+" to "+address, 403)
			}
			for list, code := range map[string]int{`(["x"])`: 412, `(Not ["x"])`: 204} {
				if w := ask(t, s, "PUT", prefix+"/f", "f", "If: <"+address+"> "+list); w.Code != code {
					t.Errorf("If <%s> %s: %d, want %d", address, list, w.Code, code)
				}
			}
			s.wantUntouched("around " + address)
		}
	}
}

// TestOwnAddressesHaveOneSpelling: another one serves nothing, and creates no upload. Segments that are empty or
// dots are taken out of each Request-URI.
func TestOwnAddressesHaveOneSpelling(t *testing.T) {
	for _, prefix := range []string{"", "/dav"} {
		s := openOwnRoutes(t, Config{Prefix: prefix})
		id := s.upload[strings.LastIndex(s.upload, "/")+1:]
		for _, spelled := range []string{
			"/.IFMATCH/@", "/.ifmatch./@", "/.ifmatch%20/@", "/.ifmatch%2F@", "/.ifmatch%5C@", "/d/.ifmatch/@", "/f/.ifmatch/@",
			"/.ifmatch/@.", "/.ifmatch/@%20", "/.ifmatch/@%00", "/.ifmatch/@:x", "/.if%C2%ADmatch/@", "/.ifmatch/x/@",
			"/.ifmatch/@/x/y", "/d/../.ifmatch", "/.ifmatch",
		} {
			for _, address := range []string{"events", "uploads", "uploads/" + id, "Uploads", "EVENTS"} {
				target := prefix + strings.ReplaceAll(spelled, "@", address)
				for _, tt := range []struct {
					method string
					header []string
				}{
					{"HEAD", nil}, {"HEAD", []string{tus}}, {"OPTIONS", []string{tus}}, {"DELETE", []string{tus}},
					{"POST", []string{tus, "Upload-Length: 1", tusName("path", "new")}},
					{"PATCH", []string{tus, offsetted, "Upload-Offset: 0"}},
				} {
					w := ask(t, s, tt.method, target, "", tt.header...)
					served := w.Code < 400 || w.Code >= 500
					if tt.method == "OPTIONS" { // it is answered for each ID, be there such an upload or not
						served = w.Header().Get("Tus-Extension") != "" && !strings.Contains(address, "/")
					}
					if served {
						t.Errorf("%s %s: %d %v", tt.method, target, w.Code, w.Header())
					}
				}
			}
			s.wantUntouched(spelled)
		}
		for _, same := range []string{
			"//.ifmatch/@", "/.ifmatch//@", "/./.ifmatch/@", "/d/../.ifmatch/./@", "/%2eifmatch/@",
		} {
			if w := ask(t, s, "HEAD", prefix+strings.ReplaceAll(same, "@", "events"), ""); w.Code != 200 {
				t.Errorf("%s: %d", same, w.Code)
			}
		}
	}
	s := openOwnRoutes(t, Config{Prefix: "/dav"})
	for _, target := range []string{"/.ifmatch/events", "/.ifmatch/uploads", strings.TrimPrefix(s.upload, "/dav")} {
		for _, method := range []string{"HEAD", "POST", "PATCH", "DELETE"} {
			if w := ask(t, s, method, target, "", tus, "Upload-Length: 1", tusName("path", "new")); w.Code < 400 {
				t.Errorf("%s %s outside of the prefix: %d", method, target, w.Code)
			}
		}
	}
	s.wantUntouched("outside of the prefix")
}

// TestLocksAndUploads: a lock of the target, of its collection or of the root counts as for a PUT, at the beginning and
// at the commit. It is no lock of the upload itself.
func TestLocksAndUploads(t *testing.T) {
	for _, tt := range []struct{ name, root, depth, target string }{
		{"the file", "/f", "0", "/f"}, {"the root", "/", "infinity", "/f"},
		{"the root, and a new name", "/", "infinity", "/d/new"}, {"the members of a collection", "/d", "0", "/d/new"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := openOwnRoutes(t, Config{})
			before := created(t, s, tt.target, "", "Upload-Length: 5")
			w := ask(t, s, "LOCK", tt.root, lockBody, "Depth: "+tt.depth)
			token := w.Header().Get("Lock-Token")
			if w.Code != 200 || token == "" {
				t.Fatalf("LOCK: %d %s", w.Code, w.Body)
			}
			if w := ask(t, s, "POST", tt.target, "", tus, "Upload-Length: 5"); w.Code != 423 {
				t.Errorf("a creation without the token: %d", w.Code)
			}
			if w := patch(t, s, before, 0, "hello"); w.Code != 423 {
				t.Errorf("the part of an upload of before: %d", w.Code)
			}
			if w := ask(t, s, "HEAD", "/.ifmatch/events", ""); w.Code != 200 {
				t.Errorf("events: %d", w.Code)
			}
			held := "If: <" + tt.root + "> (" + token + ")"
			with := created(t, s, tt.target, "", "Upload-Length: 5", held)
			if w := patch(t, s, with, 0, "hello"); w.Code != 204 { // the token is that of the creation
				t.Errorf("with the token of the creation: %d %s", w.Code, w.Body)
			}
			if w := patch(t, s, before, 0, "other", held); w.Code != 204 {
				t.Errorf("with the token: %d %s", w.Code, w.Body)
			}
			if got := ask(t, s, "GET", tt.target, "").Body.String(); got != "other" {
				t.Errorf("the file has %q", got)
			}
			if w := ask(t, s, "DELETE", s.upload, "", tus); w.Code != 204 {
				t.Errorf("the end of an upload: %d", w.Code)
			}
		})
	}
}

// answerOf returns what an answer tells: its status, and its body without what belongs to one request.
func answerOf(w *httptest.ResponseRecorder) (int, string) {
	code, body := w.Code, regexp.MustCompile(`"requestId":"[^"]*"`).ReplaceAllString(w.Body.String(), "")
	if code == http.StatusNoContent {
		code = http.StatusCreated // that of an upload
	}
	if code == http.StatusCreated {
		body = ""
	}
	return code, body
}

// TestUploadsAreRefusedAsAPut: who may not write a name learns the same of a PUT and of the creation of an upload.
func TestUploadsAreRefusedAsAPut(t *testing.T) {
	config := servertest.Rules(
		"/ ann all", "/read bob,anonymous list,read", "/drop bob create", "/change bob list,read,replace",
	)
	names := []string{"new", "f", "read/f", "read/new", "drop/f", "drop/new", "change/f", "change/new", "hidden/f",
		"hidden/new", "none/new", "read", "link", "away", "through/f", "through/new", "dangling", "f/below",
		".ifmatch/format", "hidden/.ifmatch/x"}
	for _, readOnly := range []bool{false, true} {
		for _, user := range []string{"ann", "bob", "cy", ""} {
			for _, name := range names {
				var answers [2]struct {
					code int
					body string
				}
				for i := range answers { // each on a tree of its own
					dir := t.TempDir()
					h := refusingHandler(t, dir, config, readOnly)
					method, body, header := "PUT", "x", []string(nil)
					if i == 1 {
						method, body, header = "POST", "", []string{tus, "Upload-Length: 1"}
					}
					w := askAs(t, h, user, method, "/"+name, body, header...)
					answers[i].code, answers[i].body = answerOf(w)
				}
				if answers[0] != answers[1] {
					t.Errorf("%s by %q (read-only: %v): a PUT is answered %+v, and an upload %+v",
						name, user, readOnly, answers[0], answers[1])
				}
			}
		}
	}
}

// refusingHandler returns a handler of a directory with some files and links.
func refusingHandler(t *testing.T, dir, config string, readOnly bool) http.Handler {
	t.Helper()
	authority, _ := openAuthority(t, config)
	for _, name := range []string{"read", "drop", "change", "hidden"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name, "f"), []byte("f"), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	for link, target := range map[string]string{
		"link": "read/f", "away": "/etc/hosts", "through": "hidden", "dangling": "read/none",
	} {
		if err := os.Symlink(target, filepath.Join(dir, link)); err != nil {
			t.Skip("NOT RUN: this system makes no links: ", err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "f"), []byte("f"), 0o666); err != nil {
		t.Fatal(err)
	}
	store := storeOn(t, dir, fs.Options{Durability: fs.None, ReadOnly: readOnly}, etagfs.Options{})
	return newTestHandler(t, Config{Store: store, Auth: authority, ReadOnly: readOnly})
}

func TestOwnAddressOf(t *testing.T) {
	for _, test := range []struct {
		name, rest string
		serves     bool
	}{
		{".ifmatch/events", "", true},
		{".ifmatch/uploads", "", true},
		{".ifmatch/uploads/a/b", "a/b", true},
		{".ifmatch", "", false},
		{".ifmatch/", "", false},
		{".ifmatch/nowhere", "", false},
		{".ifmatch/events2", "", false},
		{".Ifmatch/events", "", false},
		{".ifmatch./events", "", false},
		{".ifmatch/Events", "", false},
		{"a/.ifmatch/events", "", false},
		{"events", "", false},
		{"", "", false},
	} {
		if serve, rest := ownAddressOf(test.name); rest != test.rest || (serve != nil) != test.serves {
			t.Errorf("%q: served %v, %q; want %v, %q", test.name, serve != nil, rest, test.serves, test.rest)
		}
	}
}
