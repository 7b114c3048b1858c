package handler

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"r-seed-1f3a754f.example/ifmatch/auth"
	"r-seed-1f3a754f.example/ifmatch/etagfs"
	"r-seed-1f3a754f.example/ifmatch/fs"
	"r-seed-1f3a754f.example/ifmatch/internal/servertest"
)

// A following is a stream of events that a test reads.
type following struct {
	t      *testing.T
	header http.Header
	code   chan int
	events chan string // blocks of lines
	over   chan struct{}
	stop   func()
	rest   []byte
	id     string // of the last event that was read
}

func (f *following) Header() http.Header  { return f.header }
func (f *following) WriteHeader(code int) { f.code <- code }
func (f *following) Flush()               {}

func (f *following) Write(p []byte) (int, error) {
	f.rest = append(f.rest, p...)
	for {
		block, rest, ok := bytes.Cut(f.rest, []byte("\n\n"))
		if !ok {
			return len(p), nil
		}
		f.events <- string(block)
		f.rest = rest
	}
}

// follow reads the events of a collection until the test ends.
func follow(t *testing.T, h http.Handler, path string, header ...string) *following {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	r := httptest.NewRequestWithContext(ctx, "GET", "http://localhost/.ifmatch/events?path="+path, nil)
	for _, line := range header {
		name, value, _ := strings.Cut(line, ":")
		r.Header.Add(name, strings.TrimSpace(value))
	}
	f := &following{t: t, header: http.Header{}, code: make(chan int, 1), events: make(chan string, 1000), over: make(chan struct{})}
	f.stop = func() { cancel(); <-f.over }
	go func() {
		defer close(f.over)
		h.ServeHTTP(f, r)
	}()
	t.Cleanup(f.stop)
	select {
	case code := <-f.code:
		if code != http.StatusOK {
			t.Fatalf("events of %s: %d", path, code)
		}
	case <-time.After(time.Minute):
		t.Fatalf("events of %s: no answer", path)
	}
	return f
}

// next returns the next event as a line, or "end" when the stream has ended.
func (f *following) next() string {
	f.t.Helper()
	select {
	case block := <-f.events:
		return f.line(block)
	case <-f.over:
		select {
		case block := <-f.events:
			return f.line(block)
		default:
			return "end"
		}
	case <-time.After(time.Minute):
		f.t.Fatal("no event comes")
		return ""
	}
}

func (f *following) line(block string) string {
	var data struct {
		Path, From, ETag string
		Exists           bool
	}
	name := ""
	for line := range strings.SplitSeq(block, "\n") {
		field, value, _ := strings.Cut(line, ": ")
		switch field {
		case "event":
			name = value
		case "id":
			f.id = value
		case "data":
			if err := json.Unmarshal([]byte(value), &data); err != nil {
				f.t.Errorf("%q: %v", block, err)
			}
		}
	}
	line := name + " " + data.Path
	if data.From != "" {
		line += " from " + data.From
	}
	if name == "change" && !data.Exists {
		line += " gone"
	}
	if data.ETag != "" {
		line += " with its tag"
	}
	return line
}

func (f *following) want(lines ...string) {
	f.t.Helper()
	var got []string
	for range lines {
		got = append(got, f.next())
	}
	if !slices.Equal(got, lines) {
		f.t.Errorf("told %q, want %q", got, lines)
	}
}

var followRules = servertest.Rules(
	"/ ann all", "/ bob list,read", "/secret ann all", "/names ann all", "/names bob list",
)

// TestEventsByRules: each listener is told what it may list. A MOVE out of sight is a removal, and one into sight a
// creation.
func TestEventsByRules(t *testing.T) {
	authority, _ := openAuthority(t, followRules)
	h := inMemory(t, Config{Auth: authority}, "secret/", "names/", "f=1", "d/", "d/x=1")
	ann, bob := follow(t, h, "/", "X-Remote-User:ann"), follow(t, h, "/", "X-Remote-User:bob")
	ann.want("ready /")
	bob.want("ready /")
	do := func(method, target, body string, header ...string) {
		t.Helper()
		if w := askAs(t, h, "ann", method, target, body, header...); w.Code >= 300 {
			t.Fatalf("%s %s: %d %s", method, target, w.Code, w.Body)
		}
	}
	do("PUT", "/secret/a", "2")
	ann.want("change /secret/a with its tag")
	do("MOVE", "/f", "", "Destination: /secret/f")
	ann.want("change /secret/f from /f with its tag")
	bob.want("change /f gone")
	do("MOVE", "/secret/f", "", "Destination: /g")
	ann.want("change /g from /secret/f with its tag")
	bob.want("change /g with its tag")
	do("PUT", "/names/n", "2")
	ann.want("change /names/n with its tag")
	bob.want("change /names/n")
	do("MOVE", "/d", "", "Destination: /secret/d")
	ann.want("change /secret/d/ from /d/", "list /secret/d/")
	bob.want("change /d gone")
	do("MOVE", "/secret/d", "", "Destination: /e")
	bob.want("change /e/", "list /e/")
	id := ann.id
	// A token of another user is none.
	bob.stop()
	bob = follow(t, h, "/", "X-Remote-User:bob", "Last-Event-ID:"+id)
	bob.want("list /")
	id = bob.id
	bob.stop()
	do("PUT", "/secret/b", "3")
	do("PUT", "/h", "3")
	bob = follow(t, h, "/", "X-Remote-User:bob", "Last-Event-ID:"+id)
	bob.want("change /h with its tag")
	bob.stop()
	bob = follow(t, h, "/&since="+id, "X-Remote-User:bob")
	bob.want("change /h with its tag")
}

// TestRemovalsOnTheDiskTellNoName: bob may know of /way only if it is a collection, because of a name below it. Another
// program removes what is there, and bob is told the same of a file and of a collection.
func TestRemovalsOnTheDiskTellNoName(t *testing.T) {
	rules := servertest.Rules("/ ann all", "/ bob list,read", "/way ann all", "/way/to ann,bob list,read")
	for name, layout := range map[string][]string{
		"a file":                     {"way=1"},
		"a collection":               {"way/"},
		"a collection with a member": {"way/", "way/f=1"},
	} {
		t.Run(name, func(t *testing.T) {
			authority, _ := openAuthority(t, rules)
			dir := t.TempDir()
			store := storeOn(t, dir, fs.Options{Durability: fs.None}, etagfs.Options{Journal: true})
			lay(t, store, layout...)
			h := newTestHandler(t, Config{Store: store, Auth: authority})
			sync := func(user, token string) synced {
				t.Helper()
				w := askAs(t, h, user, "REPORT", "/", syncReport{token: token, level: "1"}.body())
				return parseSynced(t, w.Code, w.Body.String())
			}
			anns, bobs := sync("ann", "").token, sync("bob", "").token
			ann, bob := follow(t, h, "/", "X-Remote-User:ann"), follow(t, h, "/", "X-Remote-User:bob")
			ann.want("ready /")
			bob.want("ready /")
			if err := os.RemoveAll(filepath.Join(dir, "way")); err != nil {
				t.Fatal(err)
			}
			store.Removed("way")
			ann.want("change /way gone")
			bob.want("list /")
			if w := askAs(t, h, "ann", "PUT", "/mark", "1"); w.Code != http.StatusCreated {
				t.Fatalf("PUT: %d %s", w.Code, w.Body)
			}
			bob.want("change /mark with its tag")
			wantMembers(t, "the changes for ann", sync("ann", anns), "-way", "mark")
			wantAgain(t, "the changes for bob", sync("bob", bobs))
		})
	}
}

// TestEventsAreRefused like a PROPFIND of the collection.
func TestEventsAreRefused(t *testing.T) {
	authority, _ := openAuthority(t, followRules)
	h := newTestHandler(t, Config{Auth: authority, Prefix: "/dav", Store: storeInMemory(t, "secret/", "f=1", "d/", "d/x=1")})
	unfollowed := newTestHandler(t, Config{Store: dirInMemory(t, fs.Options{}, "f=1")})
	for _, test := range []struct {
		user, method, target string
		code                 int
	}{
		{"ann", "HEAD", "/dav/.ifmatch/events", 200},
		{"ann", "HEAD", "/dav/.ifmatch/events?path=/dav/", 200},
		{"ann", "HEAD", "/dav/.ifmatch/events?path=/dav/d", 200},
		{"ann", "OPTIONS", "/dav/.ifmatch/events", 204},
		{"bob", "HEAD", "/dav/.ifmatch/events?path=/dav/d/", 200},
		{"bob", "GET", "/dav/.ifmatch/events?path=/dav/secret/", 404},
		{"ann", "GET", "/dav/.ifmatch/events?path=/dav/none/", 404},
		{"ann", "GET", "/dav/.ifmatch/events?path=/dav/.ifmatch/", 404},
		{"ann", "GET", "/dav/.ifmatch/events?path=/d/", 404},
		{"ann", "GET", "/dav/.ifmatch/events?path=/", 404},
		{"ann", "GET", "/dav/.ifmatch/events?path=d", 400},
		{"ann", "GET", "/dav/.ifmatch/events?path=/dav/%252", 400},
		{"ann", "GET", "/dav/.ifmatch/events?path=/dav/f", 403},
		{"", "GET", "/dav/.ifmatch/events", 401},
		{"", "HEAD", "/dav/.ifmatch/events?path=/dav/none/", 401},
		{"ann", "POST", "/dav/.ifmatch/events", 405},
		{"ann", "PUT", "/dav/.ifmatch/events", 405},
		{"ann", "PROPFIND", "/dav/.ifmatch/events", 405},
		{"ann", "GET", "/dav/.ifmatch/events/x", 404},
		{"ann", "PUT", "/dav/.ifmatch/events/x", 403},
		{"ann", "GET", "/dav/.ifmatch/", 404},
		{"ann", "GET", "/.ifmatch/events", 404},
	} {
		if w := askAs(t, h, test.user, test.method, test.target, ""); w.Code != test.code {
			t.Errorf("%s %s of %q: %d, want %d: %s", test.method, test.target, test.user, w.Code, test.code, w.Body)
		}
	}
	if w := ask(t, unfollowed, "GET", "/.ifmatch/events", ""); w.Code != http.StatusNotFound {
		t.Errorf("a store without a journal: %d", w.Code)
	}
}

// TestEventsEndWithTheRules: the event that follows other rules is not sent by the rules before.
func TestEventsEndWithTheRules(t *testing.T) {
	authority, config := openAuthority(t, followRules)
	h := inMemory(t, Config{Auth: authority}, "d/")
	put := func(target, body string) {
		t.Helper()
		if w := askAs(t, h, "ann", "PUT", target, body); w.Code >= 300 {
			t.Fatalf("PUT %s: %d", target, w.Code)
		}
	}
	bob := follow(t, h, "/", "X-Remote-User:bob")
	bob.want("ready /")
	reload(t, authority, config, followRules+"# a comment\n")
	put("/d/x", "1")
	bob.want("change /d/x with its tag")
	reload(t, authority, config, followRules+"[[rule]]\npath = \"/d\"\nwho = [\"ann\"]\neffects = [\"all\"]\n")
	put("/d/x", "2")
	bob.want("end")
	id := bob.id
	bob = follow(t, h, "/", "X-Remote-User:bob", "Last-Event-ID:"+id)
	bob.want("list /")
}

// TestEventsEndWithTheLogin: with another password, without the user, and without the app token.
func TestEventsEndWithTheLogin(t *testing.T) {
	users := filepath.Join(t.TempDir(), "users")
	write := func(file string, lines ...string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(strings.Join(lines, "")), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	userOf := func(name, password string) string {
		t.Helper()
		hash, err := auth.NewHash(password)
		if err != nil {
			t.Fatal(err)
		}
		return name + ":" + hash + "\n"
	}
	now := time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
	ann, bob, cy := userOf("ann", "pw"), userOf("bob", "pw"), userOf("cy", "pw")
	write(users, ann, bob, cy)
	var all auth.Tokens
	secrets := map[string]string{}
	for name, lives := range map[string]time.Duration{"phone": 24 * time.Hour, "short": time.Hour} {
		secret, token, err := auth.NewToken("ann", name, now, now.Add(lives), nil)
		if err == nil {
			err = all.Add(token)
		}
		if err != nil {
			t.Fatal(err)
		}
		secrets[name] = secret
	}
	write(auth.TokensFile(users), all.String())
	var clock atomic.Pointer[time.Time]
	clock.Store(&now)
	authority, err := auth.Open(auth.Options{Users: users, InsecureBasic: true, Now: func() time.Time { return *clock.Load() }})
	if err != nil {
		t.Fatal(err)
	}
	h, err := New(Config{Store: storeInMemory(t), Auth: authority, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	change := func() {
		t.Helper()
		n++
		if w := ask(t, h, "PUT", "/f", fmt.Sprint(n), basicOf("ann", "pw")); w.Code >= 300 {
			t.Fatalf("PUT: %d", w.Code)
		}
	}
	streams := map[string]*following{}
	for name, login := range map[string]string{
		"ann": basicOf("ann", "pw"), "bob": basicOf("bob", "pw"), "cy": basicOf("cy", "pw"),
		"phone": basicOf("ann", secrets["phone"]), "short": basicOf("ann", secrets["short"]),
	} {
		streams[name] = follow(t, h, "/", login)
		streams[name].want("ready /")
	}
	wantEnded := func(ended string) {
		t.Helper()
		change()
		for name, f := range streams {
			if name == ended {
				f.want("end")
				delete(streams, name)
			} else {
				f.want("change /f with its tag")
			}
		}
	}
	wantEnded("nobody")
	write(users, ann, cy)
	if err := authority.Reload(); err != nil {
		t.Fatal(err)
	}
	wantEnded("bob")
	write(users, ann, userOf("cy", "another"))
	if err := authority.Reload(); err != nil {
		t.Fatal(err)
	}
	wantEnded("cy")
	later := now.Add(2 * time.Hour)
	clock.Store(&later)
	wantEnded("short")
	write(auth.TokensFile(users), "")
	if err := authority.Reload(); err != nil {
		t.Fatal(err)
	}
	wantEnded("phone")
}

// TestDocumentedEvents replays the conversation about events in docs/http.md. Words in capitals stand for ids and times.
func TestDocumentedEvents(t *testing.T) {
	page, err := os.ReadFile("../docs/http.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(page), "\n## Events\n")
	section, _, _ = strings.Cut(section, "\n## ")
	blocks := regexp.MustCompile("(?s)```http\n(.*?)```").FindAllStringSubmatch(section, -1)
	if len(blocks) != 8 {
		t.Fatalf("there are %d blocks", len(blocks))
	}
	h := inMemory(t, Config{}, "site/", "site/index.html=<h1>Old</h1>", "site/old.html=old")
	known := map[string]string{}
	for i := 0; i < len(blocks); i += 2 {
		message, body, _ := strings.Cut(blocks[i][1], "\n\n")
		lines := strings.Split(strings.TrimSpace(message), "\n")
		for word, id := range known {
			for i := range lines {
				lines[i] = strings.ReplaceAll(lines[i], word, id)
			}
		}
		request := strings.Fields(lines[0])
		answer := strings.Split(strings.TrimSpace(blocks[i+1][1]), "\n\n")
		head := strings.Split(answer[0], "\n")
		if path, ok := strings.CutPrefix(request[1], "/.ifmatch/events?path="); ok {
			f := follow(t, h, path, lines[1:]...)
			wantDocumented(t, lines[0], f.header, answer[0])
			for _, want := range answer[1:] {
				wantBlock(t, want, <-f.events, known)
			}
			continue
		}
		w := ask(t, h, request[0], request[1], body, lines[1:]...)
		if !strings.Contains(head[0], fmt.Sprint(" ", w.Code, " ")) {
			t.Errorf("%s is answered %d, want %s", lines[0], w.Code, head[0])
		}
		wantDocumented(t, lines[0], w.Header(), answer[0])
	}
}

// wantBlock compares an event with a documented one, and learns its id.
func wantBlock(t *testing.T, want, got string, known map[string]string) {
	t.Helper()
	words := regexp.MustCompile(`(?m)^id: ([A-Z]+)$`).FindStringSubmatch(want)
	id := regexp.MustCompile(`(?m)^id: (.*)$`).FindStringSubmatch(got)
	if words == nil || id == nil {
		t.Fatalf("no id in %q or %q", want, got)
	}
	known[words[1]] = id[1]
	want = strings.Replace(want, "id: "+words[1], id[0], 1)
	want = strings.Replace(want, `"time":"TIME"`, regexp.MustCompile(`"time":"[^"]*"`).FindString(got), 1)
	if got != want {
		t.Errorf("got the event\n%s\nwant\n%s", got, want)
	}
}
