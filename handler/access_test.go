package handler

import (
	"encoding/base64"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"

	"r-seed-1f3a754f.example/ifmatch/auth"
	"r-seed-1f3a754f.example/ifmatch/etagfs"
	"r-seed-1f3a754f.example/ifmatch/fs"
	"r-seed-1f3a754f.example/ifmatch/handler/proxy"
	"r-seed-1f3a754f.example/ifmatch/internal/servertest"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

const openToAll = `
[[rule]]
path = "/"
who = ["authenticated", "anonymous"]
effects = ["list", "read", "create", "replace", "remove", "props", "lock"]
`

// TestLockTokensAreOfTheirTaker: RFC 4918 §6.4.
func TestLockTokensAreOfTheirTaker(t *testing.T) {
	authority, _ := openAuthority(t, openToAll+`
[[rule]]
path = "/"
who = ["cy"]
effects = ["unlock"]
`)
	h := newTestHandler(t, Config{Store: storeInMemory(t, "f=f", "g=g"), Auth: authority})
	lockOf := func(user, target string) string {
		got := askAs(t, h, user, "LOCK", target, bodyOf("LOCK"))
		if got.Code != http.StatusOK {
			t.Fatalf("LOCK: %d", got.Code)
		}
		return strings.Trim(got.Header().Get("Lock-Token"), "<>")
	}
	ann, nobody := lockOf("ann", "/f"), lockOf("", "/g")
	shown := func(user string) bool {
		return strings.Contains(askAs(t, h, user, "PROPFIND", "/f", "", "Depth:0").Body.String(), ann)
	}
	if !shown("ann") || shown("bob") || shown("") || !shown("cy") {
		t.Errorf("the token is shown to its taker: %v, to others: %v %v, to who has unlock: %v", shown("ann"), shown("bob"), shown(""), shown("cy"))
	}
	for _, tt := range []struct {
		user, method, target string
		header               string
		want                 int
	}{
		{"bob", "PUT", "/f", "If:(<" + ann + ">)", 412},
		{"bob", "PUT", "/f", "If:(Not <" + ann + ">)", 423},
		{"bob", "PUT", "/f", "Lock-Token:<" + ann + ">", 423},
		{"bob", "DELETE", "/f", "Lock-Token:<" + ann + ">", 423},
		{"", "PUT", "/f", "Lock-Token:<" + ann + ">", 423},
		{"cy", "PUT", "/f", "Lock-Token:<" + ann + ">", 423},
		{"ann", "PUT", "/f", "If:(<" + ann + ">)", 204},
		{"bob", "LOCK", "/f", "If:(<" + ann + ">)", 412},
		{"bob", "LOCK", "/f", "Lock-Token:<" + ann + ">", 409},
		{"ann", "LOCK", "/f", "If:(<" + ann + ">)", 200},
		{"bob", "UNLOCK", "/f", "Lock-Token:<" + ann + ">", 409},
		{"", "UNLOCK", "/f", "Lock-Token:<" + ann + ">", 409},
		{"cy", "UNLOCK", "/f", "Lock-Token:<" + ann + ">", 204},
		{"bob", "PUT", "/g", "If:(<" + nobody + ">)", 204},
		{"ann", "UNLOCK", "/g", "Lock-Token:<" + nobody + ">", 204},
	} {
		if got := askAs(t, h, tt.user, tt.method, tt.target, "", tt.header); got.Code != tt.want {
			t.Errorf("%s %s by %q with %s: %d, want %d: %s", tt.method, tt.target, tt.user, tt.header, got.Code, tt.want, got.Body)
		}
	}
}

// TestRulesAreAskedInTheCommit: those that are in force then, after the body has come.
func TestRulesAreAskedInTheCommit(t *testing.T) {
	authority, config := openAuthority(t, openToAll)
	store := storeInMemory(t, "f=f")
	h := newTestHandler(t, Config{Store: store, Auth: authority})
	for _, target := range []string{"/f", "/new"} {
		body, client := io.Pipe()
		r := httptest.NewRequestWithContext(t.Context(), "PUT", "http://localhost"+target, body)
		r.Header.Set("X-Remote-User", "bob")
		w := httptest.NewRecorder()
		done := make(chan struct{})
		go func() { h.ServeHTTP(w, r); close(done) }()
		client.Write([]byte("half")) // it is being read now
		reload(t, authority, config, strings.Replace(openToAll, `"authenticated", "anonymous"`, `"ann"`, 1))
		client.Write([]byte("whole"))
		client.Close()
		<-done
		if w.Code != http.StatusForbidden {
			t.Errorf("PUT %s, forbidden while its body came: %d", target, w.Code)
		}
		if got := askAs(t, h, "ann", "GET", target, "").Body.String(); strings.Contains(got, "half") {
			t.Errorf("%s has %q", target, got)
		}
		reload(t, authority, config, openToAll)
	}
}

func reload(t *testing.T, authority *auth.Authority, config, text string) {
	t.Helper()
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := authority.Reload(); err != nil {
		t.Fatal(err)
	}
}

// TestLinksNeedBothNames: through a link nothing is had that its target does not grant.
func TestLinksNeedBothNames(t *testing.T) {
	authority, _ := openAuthority(t, servertest.Rules(
		"/pub anonymous all", "/secret ann all", "/secret/pub anonymous list,read",
	))
	dir := t.TempDir()
	for _, d := range []string{"pub", "secret/pub", "secret/d"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, f := range []string{"secret/s", "secret/pub/p", "secret/d/m"} {
		if err := os.WriteFile(filepath.Join(dir, f), []byte(hiddenContent), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for link, to := range map[string]string{"file": "../secret/s", "dead": "../secret/none", "dir": "../secret", "ok": "../secret/pub/p", "okdir": "../secret/pub", "top": ".."} {
		if err := os.Symlink(to, filepath.Join(dir, "pub", link)); err != nil {
			t.Fatal(err)
		}
	}
	h := newTestHandler(t, Config{Store: storeOn(t, dir, fs.Options{}, etagfs.Options{}), Auth: authority})
	for _, tt := range []struct {
		target          string
		of, ann, depth1 int
	}{
		{"/pub/file", 404, 200, 404}, {"/pub/dead", 404, 404, 404}, {"/pub/dir", 404, 200, 404}, {"/pub/dir/s", 404, 200, 404},
		{"/pub/dir/d/m", 404, 200, 404}, {"/pub/dir/none", 404, 404, 404}, {"/pub/ok", 200, 200, 207}, {"/pub/okdir", 200, 200, 207},
		{"/pub/okdir/p", 200, 200, 207}, {"/pub/dir/pub/p", 200, 200, 207}, {"/pub/top/secret/s", 404, 200, 404}, {"/pub/top", 404, 403, 404},
	} {
		for user, want := range map[string]int{"bob": tt.of, "": tt.of, "ann": tt.ann} {
			for _, header := range []string{"Accept:*/*", "If-None-Match:" + hiddenTag, "If-Modified-Since:Mon, 01 Jan 2035 00:00:00 GMT", "Range:bytes=0-0"} {
				got := askAs(t, h, user, "GET", tt.target, "", header).Code
				if want == 200 && (got == 304 || got == 206) {
					continue
				}
				if want != got && !(tt.target == "/pub/top" && user == "ann") {
					t.Errorf("GET %s by %q with %s: %d, want %d", tt.target, user, header, got, want)
				}
			}
		}
		if got := askAs(t, h, "bob", "PROPFIND", tt.target, "", "Depth:1"); got.Code != tt.depth1 || strings.Contains(got.Body.String(), "secret/s") {
			t.Errorf("PROPFIND %s: %d, want %d: %s", tt.target, got.Code, tt.depth1, got.Body)
		}
		for _, condition := range []string{"([" + hiddenTag + "])", "(Not [" + hiddenTag + "])"} {
			if tt.of == 200 {
				continue
			}
			want := map[bool]int{true: 201, false: 412}[strings.Contains(condition, "Not")]
			askAs(t, h, "bob", "DELETE", "/pub/new", "")
			if got := askAs(t, h, "bob", "PUT", "/pub/new", "", "If:<"+tt.target+"> "+condition).Code; got != want {
				t.Errorf("PUT with If about %s %s: %d, want %d, as of nothing", tt.target, condition, got, want)
			}
		}
	}
	page, list := askAs(t, h, "bob", "GET", "/pub", "").Body.String(), askAs(t, h, "bob", "PROPFIND", "/pub", "", "Depth:1").Body.String()
	for name, want := range map[string]bool{"ok": true, "okdir": true, "file": false, "dead": false, "dir": false} {
		if got := strings.Contains(page, "/pub/"+name+`"`) || strings.Contains(page, "/pub/"+name+`/"`); got != want {
			t.Errorf("the page tells of %s: %v", name, got)
		}
		if got := strings.Contains(list, "/pub/"+name+"<") || strings.Contains(list, "/pub/"+name+"/<"); got != want {
			t.Errorf("PROPFIND tells of %s: %v", name, got)
		}
	}
}

// TestValidatorsNeedRead: a write tells the tag and the date of the new version to principals that may read it.
func TestValidatorsNeedRead(t *testing.T) {
	authority, _ := openAuthority(t, servertest.Rules(
		"/ ann all", "/ bob list,create,replace,remove,lock,props",
	))
	h := newTestHandler(t, Config{Store: storeInMemory(t, "d/"), Auth: authority})
	for _, user := range []string{"ann", "bob"} {
		for _, method := range []string{"PUT", "PUT", "MKCOL"} {
			target := "/" + user + method
			got := askAs(t, h, user, method, target, "")
			told := got.Header().Get("ETag") != ""
			if got.Code >= 300 || told != (user == "ann" && method == "PUT") {
				t.Errorf("%s %s by %s: %d, tag %v", method, target, user, got.Code, told)
			}
		}
	}
	quota := `<propfind xmlns="DAV:"><prop><current-user-privilege-set/></prop></propfind>`
	for user, want := range map[string]string{"ann": "<D:read/>", "bob": "<D:write/>"} {
		if got := askAs(t, h, user, "PROPFIND", "/annPUT", quota, "Depth:0").Body.String(); !strings.Contains(got, want) || user == "bob" && strings.Contains(got, "<D:read/>") {
			t.Errorf("%s: %s", user, got)
		}
	}
}

// TestConditionsByRule: require = "conditions" is 428 without one. A name that is not seen gets it whether or not it
// is taken.
func TestConditionsByRule(t *testing.T) {
	authority, _ := openAuthority(t, `
[[rule]]
path = "/"
who = ["ann"]
effects = ["all"]
require = "conditions"
[[rule]]
path = "/"
who = ["bob"]
effects = ["create", "replace"]
require = "conditions"
`)
	h := newTestHandler(t, Config{Store: storeInMemory(t, "f=f"), Auth: authority})
	for _, tt := range []struct {
		user, target, header string
		want                 int
	}{
		{"ann", "/f", "A:b", 428}, {"ann", "/new", "A:b", 201}, {"ann", "/f", "If-Match:*", 204},
		{"bob", "/f", "A:b", 428}, {"bob", "/none", "A:b", 428}, {"bob", "/f", "If-None-Match:*", 412}, {"bob", "/none", "If-None-Match:*", 201},
		{"bob", "/f", "If:</x> (Not <urn:x:y>)", 428}, {"bob", "/none2", "If:</x> (Not <urn:x:y>)", 428},
	} {
		if got := askAs(t, h, tt.user, "PUT", tt.target, "", tt.header); got.Code != tt.want || tt.user == "bob" && got.Header().Get("ETag") != "" {
			t.Errorf("PUT %s by %s with %s: %d, want %d: %s", tt.target, tt.user, tt.header, got.Code, tt.want, got.Body)
		}
	}
}

func basicOf(user, password string) string {
	return "Authorization:Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
}

// TestIdentify: clients that are asked for a password, that are refused before, and that are believed.
func TestIdentify(t *testing.T) {
	dir := t.TempDir()
	users := filepath.Join(dir, "users")
	hash, err := auth.NewHash("pw")
	if err == nil {
		err = os.WriteFile(users, []byte("ann:"+hash+"\n"), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	names, err := auth.ParseProxyNames("X-Remote-User", []string{"10.0.0.9"}, "X-Remote-Groups", "")
	if err != nil {
		t.Fatal(err)
	}
	authority, err := auth.Open(auth.Options{Users: users, Proxy: names, Anonymous: auth.ReadOnly})
	if err != nil {
		t.Fatal(err)
	}
	log := newLogLines()
	h, err := New(Config{Store: storeInMemory(t, "f=f"), Auth: authority, Log: log.logger(), TrustedProxies: proxy.Trusted{
		Networks: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/24"), netip.MustParsePrefix("127.0.0.2/32")}},
		CORSOrigins: []string{"https://app.example"}})
	if err != nil {
		t.Fatal(err)
	}
	const far, near, through = "192.0.2.1:5", "127.0.0.1:5", "10.0.0.1:5"
	for i, tt := range []struct {
		peer, method string
		header       []string
		want         int
		challenged   bool
	}{
		{near, "GET", nil, 200, false},
		{near, "PUT", nil, 401, true},
		{near, "PUT", []string{basicOf("ann", "pw")}, 201, false},
		{near, "PUT", []string{basicOf("ann", "no")}, 401, true},
		{near, "PUT", []string{basicOf("none", "pw")}, 401, true},
		{near, "GET", []string{basicOf("ann", "no")}, 401, true},
		{near, "PUT", []string{"Authorization:Basic ???"}, 400, false},
		{near, "PUT", []string{"Authorization:Bearer"}, 401, true},
		{near, "PUT", []string{basicOf("ann", "pw"), basicOf("ann", "pw")}, 400, false},
		{near, "PUT", []string{"X-Forwarded-For:192.0.2.7"}, 403, false},
		{far, "GET", nil, 200, false},
		{far, "PUT", nil, 403, false},
		{far, "PUT", []string{basicOf("ann", "pw")}, 403, false},
		{far, "PUT", []string{basicOf("ann", "pw"), "X-Forwarded-Proto:https"}, 403, false},
		{through, "PUT", []string{basicOf("ann", "pw")}, 403, false},
		{through, "PUT", []string{basicOf("ann", "pw"), "X-Forwarded-For:127.0.0.1", "X-Forwarded-Proto:http"}, 403, false},
		{through, "PUT", []string{basicOf("ann", "pw"), "X-Forwarded-For:192.0.2.7", "X-Forwarded-Proto:https"}, 204, false},
		{through, "PUT", []string{"X-Forwarded-For:192.0.2.7", "X-Forwarded-Proto:https"}, 401, true},
		{through, "PUT", []string{basicOf("ann", "pw"), "X-Forwarded-For:192.0.2.7", "X-Forwarded-Proto:https, http"}, 403, false},
		{through, "PUT", []string{basicOf("ann", "pw"), "X-Forwarded-For:192.0.2.7", "X-Forwarded-Proto:https", "X-Forwarded-Proto:http"}, 403, false},
		{through, "PUT", []string{basicOf("ann", "pw"), "Forwarded:for=192.0.2.7;proto=https"}, 204, false},
		{through, "PUT", []string{basicOf("ann", "pw"), "Forwarded:proto=https, for=192.0.2.7;proto=http"}, 403, false},
		{through, "PUT", []string{basicOf("ann", "pw"), "Forwarded:for=192.0.2.7;proto=https", "X-Forwarded-For:192.0.2.7"}, 403, false},
		{"127.0.0.2:5", "PUT", []string{basicOf("ann", "pw")}, 403, false}, // a trusted proxy that does not name the client
		{"127.0.0.2:5", "PUT", nil, 403, false},
		{"10.0.0.9:5", "PUT", []string{"X-Remote-User:ann"}, 204, false},
		{"10.0.0.9:5", "PUT", []string{"X-Remote-User:ann", "X-Remote-User:ann"}, 400, false},
		{"10.0.0.9:5", "PUT", []string{"X-Remote-User:"}, 400, false},
		{"10.0.0.9:5", "PUT", []string{"X-Remote-User:eve"}, 403, false},
		{"10.0.0.9:5", "PUT", []string{"X-Remote-User:ann", basicOf("eve", "x")}, 400, false},
		{"10.0.0.1:5", "PUT", []string{"X-Remote-User:ann", "X-Forwarded-Proto:https"}, 401, true},
		{far, "PUT", []string{"X-Remote-User:ann"}, 403, false},
		{near, "OPTIONS", nil, 200, false},
		{near, "OPTIONS", []string{"User-Agent:Microsoft-WebDAV-MiniRedir/10.0.19045"}, 401, true},
		{near, "OPTIONS", []string{"User-Agent:Microsoft-WebDAV-MiniRedir/10.0.19045", basicOf("ann", "pw")}, 200, false},
		{far, "OPTIONS", []string{"User-Agent:Microsoft-WebDAV-MiniRedir/10.0.19045"}, 200, false},
		{near, "OPTIONS", []string{"User-Agent:DavClnt", "Origin:https://app.example", "Access-Control-Request-Method:PUT"}, 204, false},
		{near, "OPTIONS", []string{"User-Agent:DavClnt", "Origin:https://x.example", "Access-Control-Request-Method:PUT"}, 204, false},
		{near, "GET", []string{"User-Agent:DavClnt"}, 200, false},
	} {
		r := httptest.NewRequestWithContext(t.Context(), tt.method, "http://localhost/f", strings.NewReader("f"))
		if tt.method == "PUT" {
			r.URL.Path = "/new"
		}
		r.RemoteAddr = tt.peer
		for _, line := range tt.header {
			name, value, _ := strings.Cut(line, ":")
			r.Header.Add(name, value)
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if challenged := w.Header().Get("WWW-Authenticate") != ""; w.Code != tt.want || challenged != tt.challenged {
			t.Errorf("%d: %s from %s with %q: %d, challenged: %v; want %d, %v: %s", i, tt.method, tt.peer, tt.header, w.Code, challenged, tt.want, tt.challenged, w.Body)
		}
	}
	for _, line := range []string{"login failed", `user=ann`, "a header that names a user was not believed"} {
		if !strings.Contains(log.String(), line) {
			t.Errorf("the log does not say %q", line)
		}
	}
	if strings.Contains(log.String(), "pw") {
		t.Error("the log has a password")
	}
}

// TestTooManyWrongPasswords are answered 429, with Retry-After, also to the right one.
func TestTooManyWrongPasswords(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // wrong passwords are forgotten as time passes
		users := filepath.Join(t.TempDir(), "users")
		hash, err := auth.NewHash("pw")
		if err == nil {
			err = os.WriteFile(users, []byte("ann:"+hash+"\n"), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		authority, err := auth.Open(auth.Options{Users: users})
		if err != nil {
			t.Fatal(err)
		}
		h, err := New(Config{Store: storeInMemory(t), Auth: authority, Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		for i := range 150 {
			r := httptest.NewRequestWithContext(t.Context(), "GET", "http://localhost/", nil)
			r.RemoteAddr = "127.0.0.1:5"
			r.SetBasicAuth(fmt.Sprint("user", i), "x")
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			if w.Code == http.StatusTooManyRequests {
				if w.Header().Get("Retry-After") == "" || w.Header().Get("WWW-Authenticate") != "" {
					t.Errorf("%v", w.Header())
				}
				return
			}
			if w.Code != http.StatusUnauthorized {
				t.Fatalf("%d: %d", i, w.Code)
			}
		}
		t.Error("no number of wrong passwords is too many")
	})
}

// TestDeleteAfterRefusedPut: a client that deletes a file which it may not replace is kept from it, as after any
// other refusal.
func TestDeleteAfterRefusedPut(t *testing.T) {
	authority, _ := openAuthority(t, strings.Replace(openToAll, `"create", "replace", `, "", 1))
	h := newTestHandler(t, Config{Store: storeInMemory(t, "f=f"), Auth: authority, DeleteGuard: []string{"rclone/*"}})
	for _, tt := range []struct {
		user, method, header string
		want                 int
	}{
		{"bob", "PUT", "A:b", 403}, {"ann", "DELETE", "If-Match:\"x\"", 412}, {"bob", "DELETE", "A:b", 412}, {"bob", "PUT", "A:b", 403},
		{"bob", "DELETE", "A:b", 412}, {"bob", "DELETE", "A:b", 204},
	} {
		if got := askAs(t, h, tt.user, tt.method, "/f", "", "User-Agent:rclone/v1", tt.header); got.Code != tt.want {
			t.Errorf("%s by %s: %d, want %d: %s", tt.method, tt.user, got.Code, tt.want, got.Body)
		}
	}
}

// TestHiddenMembersDoNotCount against the most that a PROPFIND with Depth: infinity may tell of.
func TestHiddenMembersDoNotCount(t *testing.T) {
	authority, _ := openAuthority(t, openToAll+`
[[rule]]
path = "/h"
who = ["ann"]
effects = ["list"]
`)
	layout := []string{"a=a", "d/", "h/", "h/1=1", "h/2=2", "h/3/", "h/3/4=4"}
	for what, store := range map[string]tree.Store{
		"maps": storeInMemory(t, layout...), "a directory": dirInMemory(t, fs.Options{}, layout...),
	} {
		h := newTestHandler(t, Config{Store: store, Auth: authority, MaxInfinite: 2})
		for user, want := range map[string]int{"bob": 207, "": 207, "ann": 403} {
			if got := askAs(t, h, user, "PROPFIND", "/", "", "Depth:infinity"); got.Code != want || strings.Contains(got.Body.String(), "/h") {
				t.Errorf("%s, %q: %d, want %d: %s", what, user, got.Code, want, got.Body)
			}
		}
	}
}
