package handler

import (
	"net/http"
	"slices"
	"strings"
	"testing"
)

// effectsRules give bob a part of the rights that methods need.
const effectsRules = `
[[rule]]
path = "/read"
who = ["bob"]
effects = ["read", "remove"]
[[rule]]
path = "/read/part"
who = ["bob"]
effects = ["list", "read"]
[[rule]]
path = "/drop"
who = ["bob"]
effects = ["create"]
[[rule]]
path = "/guarded"
who = ["bob"]
effects = ["all"]
require = "create-only"
[[rule]]
path = "/own"
who = ["bob"]
effects = ["all"]
`

// TestReadWithoutListShowsNoNames: a principal that may read and not list learns no name of a member, be it by a copy in
// a collection that may be listed.
func TestReadWithoutListShowsNoNames(t *testing.T) {
	authority, _ := openAuthority(t, effectsRules)
	h := newTestHandler(t, Config{Store: storeInMemory(t, "own/", "read/", "read/secret=s", "read/part/", "read/part/p=p"), Auth: authority})
	for _, tt := range []struct {
		method, target, header string
		want                   int
	}{
		{"GET", "/read/secret", "Depth:0", 200},
		{"GET", "/read/", "Depth:0", 200}, // an empty page
		{"COPY", "/read/", "Destination:/own/copy", 403},
		{"COPY", "/read/secret", "Destination:/own/copy", 403},
		{"MOVE", "/read/", "Destination:/own/copy", 403},
		{"COPY", "/read/part", "Destination:/own/part", 201},
		{"PROPFIND", "/read/", "Depth:1", 207}, // on the way to /read/part
		{"PROPFIND", "/read/secret", "Depth:0", 404},
	} {
		got := askAs(t, h, "bob", tt.method, tt.target, "", tt.header)
		if got.Code != tt.want || tt.target == "/read/" && strings.Contains(got.Body.String(), "secret") {
			t.Errorf("%s %s with %s: %d, want %d: %s", tt.method, tt.target, tt.header, got.Code, tt.want, got.Body)
		}
	}
}

// TestTakenNames: the answer to a principal that would make something where something is. A principal that may not
// list gets the same answer to each method, for a file and for a collection.
func TestTakenNames(t *testing.T) {
	authority, _ := openAuthority(t, effectsRules)
	h := newTestHandler(t, Config{Store: storeInMemory(t, "drop/", "drop/f=f", "drop/d/", "guarded/", "guarded/f=f", "guarded/d/"), Auth: authority})
	answers := map[string]bool{}
	for _, tt := range []struct {
		method, target string
		want           int
	}{
		{"PUT", "/drop/f", 412}, {"PUT", "/drop/d", 412}, {"MKCOL", "/drop/f", 412}, {"MKCOL", "/drop/d", 412},
		{"PUT", "/guarded/f", 403}, {"PUT", "/guarded/d", 405}, {"MKCOL", "/guarded/f", 405}, {"MKCOL", "/guarded/d", 405},
		{"PUT", "/drop/new", 201}, {"MKCOL", "/drop/newd", 201}, {"PUT", "/guarded/new", 201}, {"MKCOL", "/guarded/newd", 201},
		{"DELETE", "/guarded/new", 403},
	} {
		got := askAs(t, h, "bob", tt.method, tt.target, "")
		if got.Code != tt.want {
			t.Errorf("%s %s: %d, want %d: %s", tt.method, tt.target, got.Code, tt.want, got.Body)
		}
		if got.Code == http.StatusPreconditionFailed {
			answers[idText.ReplaceAllString(got.Body.String(), "")+got.Header().Get("Allow")+got.Header().Get("ETag")] = true
		}
	}
	if len(answers) != 1 {
		t.Errorf("the answers about names that are taken differ: %v", answers)
	}
}

// TestClassesOfLocks: class 2 is told where the principal may lock, or a user who has not logged in yet may.
func TestClassesOfLocks(t *testing.T) {
	authority, _ := openAuthority(t, effectsRules+`
[[rule]]
path = "/anyone"
who = ["anonymous"]
effects = ["list", "read"]
`)
	h := newTestHandler(t, Config{Store: storeInMemory(t, "own/", "read/", "anyone/"), Auth: authority})
	for _, tt := range []struct{ user, target, want string }{
		{"bob", "/own", "1, 2, 3"}, {"bob", "/", "1, 2, 3"}, {"bob", "/read", "1, 3"}, {"bob", "/drop", "1, 3"},
		{"ann", "/", "1, 3"}, {"ann", "/own", "1, 3"},
		{"", "/", "1, 2, 3"}, {"", "/own", "1, 2, 3"}, {"", "/anyone", "1, 3"}, {"", "/none", "1, 3"},
	} {
		if got := askAs(t, h, tt.user, "OPTIONS", tt.target, "").Header().Get("DAV"); got != tt.want {
			t.Errorf("OPTIONS %s by %q: DAV: %s, want %s", tt.target, tt.user, got, tt.want)
		}
	}
}

// TestAllowIsAboutWhatIsThere: a PUT over a file is no creation, and a LOCK of nothing is one. Where the principal may
// not list, Allow does not depend on what is there.
func TestAllowIsAboutWhatIsThere(t *testing.T) {
	authority, _ := openAuthority(t, effectsRules+`
[[rule]]
path = "/edit"
who = ["bob"]
effects = ["list", "replace", "lock"]
`)
	// Each method has a store of its own: what a LOCK has made, a PUT may not replace.
	fresh := func() http.Handler {
		return newTestHandler(t, Config{Auth: authority,
			Store: storeInMemory(t, "guarded/", "guarded/f=f", "edit/", "edit/f=f", "drop/", "drop/f=f")})
	}
	for _, tt := range []struct {
		target    string
		put, lock bool
	}{
		{"/guarded/f", false, true},
		{"/guarded/new", true, true},
		{"/edit/f", true, true},
		{"/edit/new", false, false},
		{"/drop/f", true, false},
		{"/drop/new", true, false},
	} {
		allow := strings.Split(askAs(t, fresh(), "bob", "OPTIONS", tt.target, "").Header().Get("Allow"), ", ")
		if slices.Contains(allow, "PUT") != tt.put || slices.Contains(allow, "LOCK") != tt.lock {
			t.Errorf("%s: Allow: %v; want PUT: %v, LOCK: %v", tt.target, allow, tt.put, tt.lock)
		}
		for method, want := range map[string]bool{"PUT": tt.put && tt.target != "/drop/f", "LOCK": tt.lock} {
			if got := askAs(t, fresh(), "bob", method, tt.target, bodyOf(method)); (got.Code < 300) != want {
				t.Errorf("%s %s: %d, want success: %v: %s", method, tt.target, got.Code, want, got.Body)
			}
		}
	}
}
