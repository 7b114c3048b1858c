package handler

import (
	"encoding/xml"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/webdav"

	"r-seed-1f3a754f.example/ifmatch/internal/servertest"
	"r-seed-1f3a754f.example/ifmatch/tree"
	"r-seed-1f3a754f.example/ifmatch/tree/memtree"
)

// A syncReport is the body of a REPORT.
type syncReport struct {
	token, level string
	limit        int
}

func (r syncReport) body() string {
	limit := ""
	if r.limit > 0 {
		limit = fmt.Sprintf("<limit><nresults>%d</nresults></limit>", r.limit)
	}
	return `<?xml version="1.0" encoding="utf-8"?><sync-collection xmlns="DAV:"><sync-token>` + r.token +
		"</sync-token><sync-level>" + r.level + "</sync-level>" + limit + "<prop><getetag/></prop></sync-collection>"
}

// A synced is the answer to a REPORT: the tags of members by name, "gone" for those that are not there, and "" for
// collections.
type synced struct {
	code    int
	body    string
	members map[string]string
	token   string
	partial bool
}

func parseSynced(t *testing.T, code int, body string) (s synced) {
	t.Helper()
	s = synced{code: code, body: body, members: map[string]string{}}
	if code != webdav.StatusMulti {
		return s
	}
	var multistatus struct {
		Token     string `xml:"DAV: sync-token"`
		Responses []struct {
			Href   string  `xml:"DAV: href"`
			Status string  `xml:"DAV: status"`
			Limits *string `xml:"DAV: error>number-of-matches-within-limits"`
			Tag    string  `xml:"DAV: propstat>prop>getetag"`
		} `xml:"DAV: response"`
	}
	if err := xml.Unmarshal([]byte(body), &multistatus); err != nil {
		t.Fatalf("%v in %s", err, body)
	}
	s.token = multistatus.Token
	for _, r := range multistatus.Responses {
		name, err := url.PathUnescape(strings.Trim(r.Href, "/"))
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case strings.Contains(r.Status, "507") && r.Limits != nil:
			s.partial = true
		case strings.Contains(r.Status, "404"):
			s.members[name] = "gone"
		default:
			s.members[name] = r.Tag
		}
	}
	return s
}

func report(t *testing.T, h http.Handler, target string, r syncReport, header ...string) synced {
	t.Helper()
	w := ask(t, h, "REPORT", target, r.body(), header...)
	return parseSynced(t, w.Code, w.Body.String())
}

func wantMembers(t *testing.T, what string, s synced, want ...string) {
	t.Helper()
	var got []string
	for name, tag := range s.members {
		if tag == "gone" {
			name = "-" + name
		}
		got = append(got, name)
	}
	slices.Sort(got)
	slices.Sort(want)
	if s.code != webdav.StatusMulti || !slices.Equal(got, want) {
		t.Errorf("%s: got %d with %q, want %q\n%s", what, s.code, got, want, s.body)
	}
}

func TestSyncCollection(t *testing.T) {
	h := inMemory(t, Config{}, "c/", "c/f=1", "c/d/", "c/d/g=2", "other=3", "src/", "src/x=4")
	near, deep := syncReport{level: "1"}, syncReport{level: "infinite"}
	for _, step := range []struct {
		request    []string // method, target, body, header …
		near, deep []string // what is told of it
		again      bool     // of which level infinite has to list again
	}{
		{nil, nil, nil, false},
		{[]string{"PUT", "/c/f", "new"}, []string{"c/f"}, []string{"c/f"}, false},
		{[]string{"PUT", "/c/d/g", "new"}, nil, []string{"c/d/g"}, false},
		{[]string{"PUT", "/other", "new"}, nil, nil, false},
		{[]string{"PUT", "/c/f", "refused", `If-Match:"x"`}, nil, nil, false},
		{[]string{"MKCOL", "/c/e", ""}, []string{"c/e"}, []string{"c/e"}, false},
		{[]string{"DELETE", "/c/f", ""}, []string{"-c/f"}, []string{"-c/f"}, false},
		{[]string{"MOVE", "/c/d", "", "Destination:/c/moved"}, []string{"-c/d", "c/moved"},
			[]string{"-c/d", "c/moved", "c/moved/g"}, false},
		{[]string{"COPY", "/src", "", "Destination:/c/copy"}, []string{"c/copy"}, []string{"c/copy", "c/copy/x"}, false},
		{[]string{"MOVE", "/c/copy", "", "Destination:/out"}, []string{"-c/copy"}, []string{"-c/copy"}, false},
		{[]string{"COPY", "/src", "", "Destination:/c/moved"}, []string{"c/moved"}, nil, true},
		{[]string{"PROPPATCH", "/c/e", patchOf("<x>1</x>")}, []string{"c/e"}, []string{"c/e"}, false},
	} {
		what := strings.Join(step.request, " ")
		near.token, deep.token = report(t, h, "/c/", near).token, report(t, h, "/c/", syncReport{level: "infinite"}).token
		if step.request != nil {
			ask(t, h, step.request[0], step.request[1], step.request[2], step.request[3:]...)
		}
		found := report(t, h, "/c/", near)
		wantMembers(t, what+", level 1", found, step.near...)
		deepFound := report(t, h, "/c/", deep, "Depth:0")
		if step.again {
			wantAgain(t, what, deepFound)
		} else {
			wantMembers(t, what+", level infinite", deepFound, step.deep...)
		}
		if len(step.near) == 0 && step.request == nil && found.token != near.token {
			t.Errorf("%s: nothing has changed, and the token is another one", what)
		}
		near.token = found.token
		wantMembers(t, what+", then", report(t, h, "/c/", near))
		near.token = ""
	}
	wantMembers(t, "the root", report(t, h, "/", near), "c", "other", "src", "out")
}

func wantAgain(t *testing.T, what string, s synced) {
	t.Helper()
	if s.code != http.StatusForbidden || !strings.Contains(s.body, "<D:valid-sync-token/>") {
		t.Errorf("%s: got %d %s, want DAV:valid-sync-token", what, s.code, s.body)
	}
}

func TestReportsThatAreRefused(t *testing.T) {
	h := inMemory(t, Config{}, "c/", "c/f=1", "c/g=1", "f=1")
	good := syncReport{level: "1"}
	token := report(t, h, "/c/", good).token
	other := report(t, inMemory(t, Config{}), "/", good).token
	for _, test := range []struct {
		what, target, body string
		header             []string
		code               int
		want               string
	}{
		{"a token of another server", "/c/", syncReport{token: other, level: "1"}.body(), nil, 403, "valid-sync-token"},
		{"no token", "/c/", syncReport{token: "urn:uuid:1", level: "1"}.body(), nil, 403, "valid-sync-token"},
		{"a changed token", "/c/", syncReport{token: token + "x", level: "1"}.body(), nil, 403, "valid-sync-token"},
		{"a file", "/f", good.body(), nil, 403, "supported-report"},
		{"nothing", "/none/", good.body(), nil, 404, ""},
		{"another report", "/c/", `<x:version-tree xmlns:x="DAV:"/>`, nil, 403, "supported-report"},
		{"Depth 1", "/c/", good.body(), []string{"Depth:1"}, 400, ""},
		{"no level", "/c/", syncReport{}.body(), nil, 400, "sync-level"},
		{"no token element", "/c/", `<sync-collection xmlns="DAV:"><sync-level>1</sync-level></sync-collection>`,
			nil, 400, "DAV:sync-token"},
		{"no body", "/c/", "", nil, 400, ""},
		{"no XML", "/c/", "<sync-collection", nil, 400, ""},
		{"a bad limit", "/c/", strings.Replace(syncReport{level: "1", limit: 5}.body(), ">5<", ">0<", 1),
			nil, 400, "nresults"},
		{"too small a limit", "/c/", syncReport{level: "1", limit: 1}.body(), nil, 507, "number-of-matches-within-limits"},
		{"a false condition", "/c/", good.body(), []string{`If:(["x"])`}, 412, ""},
	} {
		w := ask(t, h, "REPORT", test.target, test.body, test.header...)
		if w.Code != test.code || !strings.Contains(w.Body.String(), test.want) {
			t.Errorf("%s: got %d %s, want %d %s", test.what, w.Code, w.Body, test.code, test.want)
		}
	}
	few := inMemory(t, Config{MaxInfinite: 2}, "c/", "c/f=1", "c/g=1")
	w := ask(t, few, "REPORT", "/", syncReport{level: "infinite"}.body())
	if w.Code != 507 || !strings.Contains(w.Body.String(), "number-of-matches-within-limits") {
		t.Errorf("more than may be listed: %d %s", w.Code, w.Body)
	}
	unfollowed := newTestHandler(t, Config{Store: struct{ tree.Store }{storeInMemory(t, "c/")}})
	if w := ask(t, unfollowed, "REPORT", "/c/", good.body()); w.Code != http.StatusMethodNotAllowed ||
		strings.Contains(w.Header().Get("Allow"), "REPORT") {
		t.Errorf("without a feed: %d, Allow: %s", w.Code, w.Header().Get("Allow"))
	}
}

func TestSyncTokenAsProperty(t *testing.T) {
	h := inMemory(t, Config{}, "c/", "c/f=1")
	property := func() string {
		t.Helper()
		body := ask(t, h, "PROPFIND", "/c/", propfindOf("<sync-token/>"), "Depth:0").Body.String()
		_, rest, _ := strings.Cut(body, "<D:sync-token>")
		token, _, _ := strings.Cut(rest, "</D:sync-token>")
		return token
	}
	token := property()
	ask(t, h, "PUT", "/c/new", "x")
	wantMembers(t, "from the property on", report(t, h, "/c/", syncReport{token: token, level: "1"}), "c/new")
	if property() == token {
		t.Error("the property has not changed")
	}
	if body := ask(t, h, "PROPFIND", "/c/", "", "Depth:1").Body.String(); strings.Contains(body, "sync-token") {
		t.Errorf("it is in allprop: %s", body)
	}
}

// TestFollowerByReports: a client that applies reports, in parts, ends with what a listing shows.
func TestFollowerByReports(t *testing.T) {
	for _, level := range []string{"1", "infinite"} {
		t.Run(level, func(t *testing.T) {
			h := inMemory(t, Config{}, "a/", "b/", "a/x=1", "b/y=2")
			random := rand.New(rand.NewPCG(3, 4))
			all := strings.Fields("a b c a/x a/y b/x b/y a/d a/d/x b/d b/d/y c/z a/d/e a/d/e/f")
			name := func() string { return "/" + all[random.IntN(len(all))] }
			has, token, again, parts := map[string]string{}, "", 0, 0
			catchUp := func() {
				for more := true; more; {
					s := report(t, h, "/", syncReport{token: token, level: level, limit: 4 * min(1, len(token))})
					switch {
					case s.code == http.StatusForbidden:
						has, token = map[string]string{}, ""
						again++
						continue
					case s.code == http.StatusInsufficientStorage: // one change alone: without a limit
						s = report(t, h, "/", syncReport{token: token, level: level})
						if s.code == http.StatusForbidden {
							has, token = map[string]string{}, ""
							continue
						}
					}
					if s.code != webdav.StatusMulti {
						t.Fatalf("%d %s", s.code, s.body)
					}
					for name, tag := range s.members {
						if tag != "gone" {
							has[name] = tag
							continue
						}
						maps.DeleteFunc(has, func(have, _ string) bool { return have == name || tree.Below(have, name) })
					}
					token = s.token
					if more = s.partial; more {
						parts++
					}
				}
			}
			for i := range 400 {
				switch at := name(); random.IntN(7) {
				case 0, 1, 2:
					ask(t, h, "PUT", at, fmt.Sprint(i))
				case 3:
					ask(t, h, "MKCOL", at, "")
				case 4:
					ask(t, h, "DELETE", at, "")
				case 5:
					ask(t, h, "MOVE", at, "", "Destination:"+name())
				case 6:
					ask(t, h, "COPY", at, "", "Destination:"+name())
				}
				if random.IntN(6) == 0 {
					catchUp()
				}
			}
			catchUp()
			truth := report(t, h, "/", syncReport{level: level}).members
			if !maps.Equal(has, truth) {
				t.Errorf("the client has %v\nand there is %v", has, truth)
			}
			if level == "infinite" && parts == 0 || again > 60 {
				t.Errorf("%d answers were in parts, and %d times all was listed again", parts, again)
			}
		})
	}
}

// TestReportsShowWhatTheRulesShow: a member that goes out of sight is gone, and one that comes into sight is new. A
// token is of one user, and of the rules.
func TestReportsShowWhatTheRulesShow(t *testing.T) {
	rules := servertest.Rules("/ authenticated all", "/c/secret ann all")
	authority, file := openAuthority(t, rules)
	h := newTestHandler(t, Config{Store: storeInMemory(t, "c/", "c/f=1", "c/secret/", "c/secret/s=2"), Auth: authority})
	sync := func(user, token string) synced {
		t.Helper()
		w := askAs(t, h, user, "REPORT", "/c/", syncReport{token: token, level: "infinite"}.body())
		return parseSynced(t, w.Code, w.Body.String())
	}
	first := sync("bob", "")
	wantMembers(t, "what bob sees", first, "c/f")
	wantMembers(t, "what ann sees", sync("ann", ""), "c/f", "c/secret", "c/secret/s")
	askAs(t, h, "ann", "PUT", "/c/secret/t", "new")
	second := sync("bob", first.token)
	wantMembers(t, "a change out of sight", second)
	askAs(t, h, "ann", "MOVE", "/c/f", "", "Destination:/c/secret/f")
	third := sync("bob", second.token)
	wantMembers(t, "out of sight", third, "-c/f")
	askAs(t, h, "ann", "MOVE", "/c/secret/s", "", "Destination:/c/s")
	wantMembers(t, "into sight", sync("bob", third.token), "c/s")
	wantAgain(t, "the token of another user", sync("cy", third.token))
	reload(t, authority, file, rules+"[[rule]]\npath = \"/c/s\"\nwho = [\"ann\"]\neffects = [\"all\"]\n")
	wantAgain(t, "after a change of the rules", sync("bob", third.token))
	wantMembers(t, "listed again", sync("bob", ""))
}

// TestSyncTokensInIf: RFC 6578 §5. A write on the condition that nothing below a collection has changed.
func TestSyncTokensInIf(t *testing.T) {
	change := func(request ...string) []string { return request }
	for _, test := range []struct {
		what    string
		between []string // the request after the token was given
		ifs     string   // T stands for the token
		want    bool
	}{
		{"nothing has changed", nil, "</site/> (<T>)", true},
		{"of the Request-URI", nil, "(<T>)", true},
		{"a member", change("PUT", "/site/f", "x"), "</site/> (<T>)", false},
		{"a member, of the Request-URI", change("PUT", "/site/f", "x"), "(<T>)", false},
		{"a new member deep below", change("PUT", "/site/d/new", "x"), "</site/> (<T>)", false},
		{"a member that is gone", change("DELETE", "/site/f", ""), "</site/> (<T>)", false},
		{"a member that has gone elsewhere", change("MOVE", "/site/d", "", "Destination:/d"), "</site/> (<T>)", false},
		{"another resource", change("PUT", "/other/f", "x"), "</site/> (<T>)", true},
		{"another resource, of the root", change("PUT", "/other/f", "x"), "</> (<T>)", false},
		{"a refused write", change("PUT", "/site/f", "x", "If-None-Match:*"), "</site/> (<T>)", true},
		{"not, and changed", change("PUT", "/site/f", "x"), "</site/> (Not <T>)", true},
		{"not, and not changed", nil, "</site/> (Not <T>)", false},
		{"with a tag that is right", nil, `</site/> (<T>) </site/f> (["x"])`, true},
		{"with a tag that is wrong", nil, `</site/> (<T> ["x"])`, false},
		{"a token that was changed", nil, "</site/> (<Tx>)", false},
		{"a token of no one", nil, "</site/> (<urn:x-ifmatch:sync:>)", false},
		{"about nothing", nil, "</none/> (<T>)", true},
	} {
		for _, write := range [][]string{
			{"DELETE", "/site/", ""}, {"PUT", "/site/f", "new"}, {"MOVE", "/site/", "", "Destination:/moved"},
			{"COPY", "/site/", "", "Destination:/copied"},
		} {
			if write[0] == "PUT" && strings.HasPrefix(test.ifs, "(") {
				continue // the Request-URI is a member
			}
			h := inMemory(t, Config{}, "site/", "site/f=1", "site/d/", "site/d/g=2", "other/", "other/f=3")
			token := report(t, h, "/site/", syncReport{level: "infinite"}).token
			if test.between != nil {
				ask(t, h, test.between[0], test.between[1], test.between[2], test.between[3:]...)
			}
			header := append(slices.Clone(write[3:]), "If:"+strings.ReplaceAll(test.ifs, "T", token))
			before := report(t, h, "/", syncReport{level: "infinite"})
			code := ask(t, h, write[0], write[1], write[2], header...).Code
			after := report(t, h, "/", syncReport{level: "infinite"})
			if test.want != (code/100 == 2) || !test.want && (code != 412 || !maps.Equal(before.members, after.members)) {
				t.Errorf("%s: %s is answered %d, want success: %v", test.what, write[0], code, test.want)
			}
		}
	}
	h := inMemory(t, Config{}, "site/")
	token := report(t, h, "/site/", syncReport{level: "1"}).token
	many := "If:</site/>" + strings.Repeat(" (Not <"+token+">)", 20)
	if w := ask(t, h, "DELETE", "/site/", "", many); w.Code != http.StatusBadRequest {
		t.Errorf("with too many tokens: %d", w.Code)
	}
}

// TestSyncTokensInIfOfWhatIsHidden: who may not list all below a collection is not told whether something has changed.
func TestSyncTokensInIfOfWhatIsHidden(t *testing.T) {
	authority, _ := openAuthority(t, servertest.Rules("/ authenticated all", "/c/secret ann all"))
	h := newTestHandler(t, Config{Store: storeInMemory(t, "c/", "c/f=1", "c/d/", "c/secret/"), Auth: authority})
	for _, test := range []struct {
		user, name string
		want       int
	}{{"ann", "/c/", 204}, {"bob", "/c/", 412}, {"bob", "/c/d/", 204}} {
		w := askAs(t, h, test.user, "REPORT", "/c/", syncReport{level: "1"}.body())
		token := parseSynced(t, w.Code, w.Body.String()).token
		put := askAs(t, h, test.user, "PUT", "/c/f", "by "+test.user+test.name, "If:<"+test.name+"> (<"+token+">)")
		if put.Code != test.want {
			t.Errorf("%s on %s: %d, want %d", test.user, test.name, put.Code, test.want)
		}
	}
}

var _ tree.Feed = (*memtree.Store)(nil)
