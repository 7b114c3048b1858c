package auth

import (
	"slices"
	"strings"
	"testing"
)

// rule reads "PATH; WHO; EFFECTS; REQUIRE", with spaces between several.
func rule(t *testing.T, text string) Rule {
	t.Helper()
	fields := strings.Split(text+";;;", ";")
	path, err := ParsePath(strings.TrimSpace(fields[0]))
	if err != nil {
		t.Fatal(err)
	}
	who, err := ParseWho(strings.Fields(fields[1]))
	if err != nil {
		t.Fatal(err)
	}
	effects, err := ParseEffects(strings.Fields(fields[2]))
	if err != nil {
		t.Fatal(err)
	}
	r := Rule{Path: path, Who: who, Effects: effects}
	if require := strings.TrimSpace(fields[3]); require != "" {
		if r.Require, err = ParsePolicy(require); err != nil {
			t.Fatal(err)
		}
	}
	return r
}

func rulesOf(t *testing.T, lines string) *Rules {
	t.Helper()
	var rules []Rule
	for line := range strings.Lines(lines) {
		if line = strings.TrimSpace(line); line != "" {
			rules = append(rules, rule(t, line))
		}
	}
	return NewRules(rules)
}

func office(t *testing.T, lines string) *Policies {
	t.Helper()
	return NewPolicies(rulesOf(t, lines), Population{
		Users:  []string{"alice", "bob", "carol"},
		Groups: map[string][]string{"staff": {"alice", "bob"}},
	})
}

func TestTheLongestPathDecides(t *testing.T) {
	const rules = `
		/                  ; authenticated ; list read
		/                  ; anonymous     ; list
		/shared            ; @staff        ; list read create replace remove
		/shared            ; authenticated ; list
		/shared/secret     ; carol         ; all
		/home/{user}       ; authenticated ; all
		/home/*            ; anonymous     ; list
		/home/bob          ; alice         ; read
		/drop              ; anonymous     ; create
		/keep              ; authenticated ; all   ; create-only
		/keep              ; alice         ; replace
		/Crème            ; anonymous     ; read
		/a/*               ; bob           ; read
		/*/b               ; bob           ; list`
	tests := []struct{ user, name, want string }{
		{"alice", "", "list,read"},
		{"", "", "list"},
		{"alice", "other/x", "list,read"},
		{"alice", "sharedx", "list,read"},
		{"alice", "shared/x/y", "list,read,create,replace,remove"},
		{"carol", "shared/x", "list"},
		{"", "shared/x", "none"},
		{"alice", "shared/secret", "none"},
		{"carol", "shared/secret/x", "all"},
		{"alice", "home/alice/x", "all"},
		{"alice", "home/carol/x", "list"},
		{"alice", "home/bob/x", "read"},
		{"bob", "home/bob", "none"}, // the literal path decides, for all principals
		{"", "home/alice", "list"},
		{"", "home", "list"},
		{"", "drop/x", "create"},
		{"alice", "keep/x", "list,read,create,props,lock,unlock,history"},
		{"", "Cr\u00e8me/x", "read"},
		{"", "Cre\u0300me/x", "read"}, // a rule is of both normal forms
		{"bob", "a/b", "read"},        // a literal segment first
		{"bob", "c/b", "list"},
		{"mallory", "", "list"}, // no user: as anonymous
	}
	p := office(t, rules)
	for _, tt := range tests {
		a := p.Access(Principal{Name: tt.user})
		if got := a.Effects(tt.name).String(); got != tt.want {
			t.Errorf("%q on %q: %s, want %s", tt.user, tt.name, got, tt.want)
		}
	}
}

func TestASubtreeIsDecidedFromTheRulesAlone(t *testing.T) {
	const rules = `
		/              ; authenticated ; all
		/a/private     ; carol         ; all
		/b/*/private   ; carol         ; all
		/c/{user}      ; authenticated ; list read
		/d/x           ; @staff        ; all
		/e/open        ; anonymous     ; read
		/p/guarded     ; authenticated ; all ; conditions`
	tests := []struct {
		user, name, want string
		seen, requires   bool
	}{
		{"alice", "", "none", true, true},
		{"alice", "a", "none", true, false},
		{"carol", "a", "all", true, false},
		{"alice", "b", "none", true, false},
		{"alice", "b/any", "none", true, false},
		{"alice", "b/any/other", "all", true, false},
		{"alice", "b/any/private", "none", false, false},
		{"alice", "c", "list,read", true, false},
		{"", "c", "none", false, false},
		{"alice", "d", "all", true, false},
		{"carol", "d", "none", true, false},
		{"carol", "d/x", "none", false, false},
		{"", "", "none", true, false}, // on the way to /e/open
		{"", "e", "none", true, false},
		{"", "e/open", "read", false, false},
		{"", "e/other", "none", false, false},
		{"alice", "p", "all", true, true},
		{"alice", "p/other", "all", true, false},
	}
	p := office(t, rules)
	for _, tt := range tests {
		a := p.Access(Principal{Name: tt.user})
		got := a.Subtree(tt.name).String()
		if seen, requires := a.Seen(tt.name), a.Requires(tt.name, true); got != tt.want || seen != tt.seen ||
			requires != tt.requires {
			t.Errorf("%q on %q: %s, seen %t, requires %t; want %s, %t, %t", tt.user, tt.name, got, seen, requires,
				tt.want, tt.seen, tt.requires)
		}
	}
}

func TestWayIsWhereNoFileMayBeShown(t *testing.T) {
	p := office(t, `
		/x/y ; alice ; read
		/z   ; alice ; list`)
	a := p.Access(Principal{Name: "alice"})
	for name, want := range map[string]bool{"": true, "x": true, "x/y": false, "z": false, "q": false} {
		if got := a.Seen(name) && !a.Effects(name).Has(List); got != want {
			t.Errorf("%q is on the way: %t", name, got)
		}
	}
}

// TestUsersWhoAreThereNoMoreAreAnonymous: a request may outlive its user.
func TestUsersWhoAreThereNoMoreAreAnonymous(t *testing.T) {
	const rules = `
		/ ; authenticated ; list read
		/ ; anonymous     ; list`
	p := office(t, rules)
	for _, who := range []Principal{{Name: "zoe"}, {Name: "zoe", Proxied: true},
		{Name: "zoe", Groups: []string{"staff"}}} {
		if a := p.Access(who); a.Effects("x") != List || !a.Principal().Anonymous() {
			t.Errorf("%+v: %s", who, a.Effects("x"))
		}
	}
	guests := NewPolicies(rulesOf(t, rules), Population{NewGroup: "guests"})
	if a := guests.Access(Principal{Name: "zoe"}); a.Effects("x") != List {
		t.Error("a user of the file who is there no more is taken for one of the proxy")
	}
}

func TestAnAppTokenTakesEffectsAway(t *testing.T) {
	p := office(t, "/ ; authenticated ; all")
	a := p.Access(Principal{Name: "alice", Token: "phone", Without: All &^ ReadOnly})
	if got := a.Subtree(""); got != ReadOnly {
		t.Errorf("%s", got)
	}
}

func TestPathsOfRules(t *testing.T) {
	for text, want := range map[string]string{
		"/": "/", "/a": "/a", "/a/b/": "/a/b", "/home/{user}": "/home/{user}", "/*/x": "/*/x", "/Crème": "/Crème",
		"": "", "a": "", "//": "", "/a//b": "", "/a/../b": "", "/./a": "", "/*.txt": "", "/{group}": "",
		"/a{user}": "", "/a\x00": "",
	} {
		p, err := ParsePath(text)
		if got := p.String(); err == nil && got != want || (err != nil) != (want == "") {
			t.Errorf("%q: %q, %v", text, got, err)
		}
	}
}

func FuzzPath(f *testing.F) {
	for _, seed := range []string{"/", "/home/{user}", "/*/x/", "/Crème", "/\xff", "/a*"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p, err := ParsePath(text)
		if err != nil {
			return
		}
		again, err := ParsePath(p.String())
		if err != nil || !slices.Equal(again.segments, p.segments) {
			t.Errorf("%q became %q, and that %q, %v", text, p, again, err)
		}
		match := NewRules([]Rule{{Path: p, Who: Who{Anonymous: true}, Effects: Read}})
		name := strings.NewReplacer(userSegment, "ann", anySegment, "any").Replace(strings.TrimPrefix(p.String(), "/"))
		access := NewPolicies(match, Population{Users: []string{"ann"}}).Access(Principal{Name: "ann"})
		if !access.Effects(name).Has(Read) {
			t.Errorf("%q does not match %q", p, name)
		}
	})
}
