package auth

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// told writes needs as the table has them.
func told(needs []Need) string {
	var all []string
	for _, n := range needs {
		s := n.Effects.String()
		if n.AnyOf != None {
			s = strings.ReplaceAll(n.AnyOf.String(), ",", "|")
		}
		s += " " + n.Name
		if n.Subtree {
			s += "/**"
		}
		all = append(all, s)
	}
	return strings.Join(all, "; ")
}

func TestEffectsOfMethods(t *testing.T) {
	nothing, file, dir := Found{}, Found{Exists: true}, Found{Exists: true, Collection: true}
	brings := func(f Found) Found { f.Brings = true; return f }
	tests := []struct {
		verb           Verb
		shallow        bool
		found          Found
		before, inside string
	}{
		{VerbOptions, false, file, "", ""},
		{VerbGet, false, file, "read n", ""},
		{VerbHead, false, file, "read n", ""},
		{VerbPropfind, false, file, "", ""},
		{VerbPut, false, nothing, "create|replace n", "create n"},
		{VerbPut, false, file, "create|replace n", "replace n"},
		{VerbPut, false, dir, "create|replace n", ""},
		{VerbMkcol, false, nothing, "create n", ""},
		{VerbCopy, false, nothing, "list,read n/**; create to/**", "create to"},
		{VerbCopy, false, brings(nothing), "list,read n/**; create to/**", "create to/**"},
		{VerbCopy, false, file, "list,read n/**; create to/**", "replace to"},
		{VerbCopy, false, brings(file), "list,read n/**; create to/**", "replace to"},
		{VerbCopy, false, dir, "list,read n/**; create to/**", "remove to/**; create to"},
		{VerbCopy, false, brings(dir), "list,read n/**; create to/**", "remove to/**; create to/**"},
		{VerbCopy, true, brings(nothing), "list,read n; create to", "create to"},
		{VerbCopy, true, brings(dir), "list,read n; create to", "remove to/**; create to"},
		{VerbMove, false, nothing, "list,read,remove n/**; create to/**", "create to"},
		{VerbMove, false, file, "list,read,remove n/**; create to/**", "replace to"},
		{VerbMove, false, dir, "list,read,remove n/**; create to/**", "remove to/**; create to"},
		{VerbDelete, false, dir, "remove n/**", ""},
		{VerbProppatch, false, file, "props n", ""},
		{VerbLock, false, dir, "lock n/**", ""},
		{VerbLock, true, file, "lock n", ""},
		{VerbLock, true, nothing, "lock n", "create n"},
		{VerbUnlock, false, file, "", ""},
		{VerbVersions, true, file, "read,history n; read,history to", ""},
		{VerbRestore, true, nothing, "read,history n; read,history to; create|replace to", "create to"},
		{VerbRestore, true, file, "read,history n; read,history to; create|replace to", "replace to"},
		{VerbRestore, false, brings(file), "read,history n/**; read,history to/**; create|replace to",
			"create,replace to/**"},
		{VerbRestore, false, brings(dir), "read,history n/**; read,history to/**; create|replace to",
			"remove to/**; create to/**"},
	}
	for _, tt := range tests {
		o := Operation{Verb: tt.verb, Name: "n", To: "to", Shallow: tt.shallow}
		if got := told(o.Before()); got != tt.before {
			t.Errorf("%s before: %q, want %q", tt.verb, got, tt.before)
		}
		if got := told(o.Inside(tt.found)); got != tt.inside {
			t.Errorf("%s, found %+v: %q, want %q", tt.verb, tt.found, got, tt.inside)
		}
	}
}

func TestOneNameNeedsItOnce(t *testing.T) {
	o := Operation{Verb: VerbVersions, Name: "n", To: "n", Shallow: true}
	if got := told(o.Before()); got != "read,history n" {
		t.Error(got)
	}
}

func TestRefusalsInsideTheCommit(t *testing.T) {
	file, dir := Found{Exists: true}, Found{Exists: true, Collection: true}
	p := office(t, `
		/drop    ; anonymous ; create
		/open    ; anonymous ; list create
		/update  ; anonymous ; replace
		/guarded ; anonymous ; list create replace ; create-only
		/files   ; anonymous ; create replace`)
	tests := []struct {
		verb  Verb
		name  string
		found Found
		want  Refusal
	}{
		{VerbPut, "drop/x", Found{}, NotRefused},
		{VerbPut, "drop/x", file, Taken},
		{VerbPut, "open/x", file, Denied}, // it may see that it is there
		{VerbPut, "drop/x", dir, Taken},
		{VerbPut, "open/x", dir, NotRefused}, // 405
		{VerbPut, "update/x", file, NotRefused},
		{VerbPut, "update/x", Found{}, Denied},
		{VerbPut, "guarded/x", file, Denied},
		{VerbPut, "files/x", file, NotRefused},
		{VerbCopy, "files/x", dir, Taken},
		{VerbLock, "drop/x", Found{}, NotRefused},
		{VerbLock, "update/x", Found{}, Denied},
	}
	a := p.Access(Principal{})
	for _, tt := range tests {
		o := Operation{Verb: tt.verb, Name: tt.name, To: tt.name}
		if got := a.Within(o, tt.found); got != tt.want {
			t.Errorf("%s %s, found %+v: %d, want %d", tt.verb, tt.name, tt.found, got, tt.want)
		}
	}
}

// TestNothingIsToldBeforeTheStoreIsAsked is the table of answers: to principals that may see a name and to those that
// may not, for reads and writes.
func TestNothingIsToldBeforeTheStoreIsAsked(t *testing.T) {
	p := office(t, `
		/public ; anonymous ; list read
		/staff  ; @staff    ; all
		/carol  ; carol     ; all
		/empty  ; nobody    ; all`)
	nobody := office(t, "/public ; anonymous ; list read")
	alone := NewPolicies(rulesOf(t, "/public ; anonymous ; list read"), Population{})
	tests := []struct {
		policies    *Policies
		user        string
		verb        Verb
		name        string
		want        Verdict
		description string
	}{
		{p, "", VerbGet, "public/x", Granted, "anonymous may"},
		{p, "", VerbPut, "public/x", Forbidden, "nobody may"},
		{p, "", VerbGet, "staff/x", Challenge, "some user may"},
		{p, "", VerbPut, "staff/x", Challenge, "some user may"},
		{p, "", VerbGet, "empty/x", NotFound, "the rule names no user"},
		{p, "", VerbPut, "empty/x", Forbidden, "the rule names no user"},
		{p, "carol", VerbGet, "staff/x", NotFound, "not seen"},
		{p, "carol", VerbPut, "staff/x", Forbidden, "not seen"},
		{p, "carol", VerbGet, "", Forbidden, "seen as a way, not read"},
		{p, "alice", VerbDelete, "", Forbidden, "not the subtree"},
		{p, "alice", VerbDelete, "staff", Granted, "the subtree"},
		{nobody, "", VerbPut, "public/x", Forbidden, "there are users, and none may"},
		{alone, "", VerbPut, "public/x", Forbidden, "there are no users"},
		{alone, "", VerbGet, "secret", NotFound, "there are no users"},
	}
	for _, tt := range tests {
		o := Operation{Verb: tt.verb, Name: tt.name}
		a := tt.policies.Access(Principal{Name: tt.user})
		if got := a.Decide(tt.verb.Reads(), o.Before()...); got != tt.want {
			t.Errorf("%q %s %q: verdict %d, want %d: %s", tt.user, tt.verb, tt.name, got, tt.want, tt.description)
		}
	}
	for name, want := range map[string]Verdict{"": Granted, "public": Granted, "staff": Challenge, "empty": NotFound} {
		a := p.Access(Principal{})
		if got := a.See(name); got != want {
			t.Errorf("PROPFIND of %q: verdict %d, want %d", name, got, want)
		}
	}
}

// TestUsersOfAProxyAreChallenged: users that only the proxy knows are users too.
func TestUsersOfAProxyAreChallenged(t *testing.T) {
	rules := rulesOf(t, `
		/guests ; @guests ; list read
		/sso    ; @sso    ; list read
		/home/{user} ; authenticated ; all`)
	for _, tt := range []struct {
		people Population
		name   string
		want   Verdict
	}{
		{Population{NewGroup: "guests"}, "guests", Challenge},
		{Population{NewGroup: "guests"}, "sso", NotFound},
		{Population{NewGroup: "guests"}, "home/zoe/x", Challenge},
		{Population{NewGroup: "guests", ProxyGroups: true}, "sso", Challenge},
		{Population{Users: []string{"ann"}}, "home/zoe/x", NotFound},
		{Population{Users: []string{"ann"}}, "home/ann/x", Challenge},
	} {
		a := NewPolicies(rules, tt.people).Access(Principal{})
		if got := a.Decide(true, Operation{Verb: VerbGet, Name: tt.name}.Before()...); got != tt.want {
			t.Errorf("%+v, %s: verdict %d, want %d", tt.people, tt.name, got, tt.want)
		}
	}
}

func TestALockCountsFromWhoTookIt(t *testing.T) {
	p := office(t, `
		/       ; authenticated ; list read lock
		/boss   ; carol         ; unlock`)
	for _, tt := range []struct {
		user, taker, root string
		holds, mayUnlock  bool
	}{
		{"alice", "alice", "x", true, true},
		{"bob", "alice", "x", false, false},
		{"bob", "", "x", true, true},
		{"", "", "x", true, true},
		{"", "alice", "x", false, false},
		{"carol", "alice", "boss/x", false, true},
	} {
		a := p.Access(Principal{Name: tt.user})
		if holds, may := a.Holds(tt.taker), a.MayUnlock(tt.taker, tt.root); holds != tt.holds || may != tt.mayUnlock {
			t.Errorf("%+v: %t, %t", tt, holds, may)
		}
	}
}

func TestAllowAndPrivilegesAreOfWhoAsks(t *testing.T) {
	p := office(t, `
		/      ; anonymous     ; list read
		/      ; authenticated ; all
		/x/own ; carol         ; all`)
	for _, tt := range []struct{ user, name, methods, privileges string }{
		{"", "f", "OPTIONS GET HEAD PROPFIND COPY UNLOCK", "read read-current-user-privilege-set"},
		{"alice", "f", "OPTIONS GET HEAD PROPFIND PUT MKCOL DELETE COPY MOVE PROPPATCH LOCK UNLOCK",
			"all read write write-content write-properties bind unbind unlock read-current-user-privilege-set"},
		{"alice", "x", "OPTIONS GET HEAD PROPFIND PUT MKCOL COPY PROPPATCH LOCK UNLOCK",
			"all read write write-content write-properties bind unbind unlock read-current-user-privilege-set"},
		{"alice", "x/own", "OPTIONS", ""},
	} {
		a := p.Access(Principal{Name: tt.user})
		methods := strings.Trim(fmt.Sprint(a.Methods(tt.name)), "[]")
		privileges := strings.Join(Privileges(a.Effects(tt.name)), " ")
		if methods != tt.methods || privileges != tt.privileges {
			t.Errorf("%q on %q: %s, %s", tt.user, tt.name, methods, privileges)
		}
	}
}

func TestNamesOfEffects(t *testing.T) {
	for i := range int(All) + 1 {
		e := Effects(i)
		back, err := ParseEffects(e.Names())
		if err != nil || back != e || len(e.Names()) == 0 != (e == None) {
			t.Fatalf("%d: %v, %v", i, back, err)
		}
	}
	if e, err := ParseEffects([]string{"all"}); e != All || err != nil {
		t.Error(e, err)
	}
	if _, err := ParseEffects([]string{"list", "write"}); err == nil {
		t.Error("write is no effect")
	}
	if !slices.Equal(None.Names(), nil) && len(None.Names()) != 0 {
		t.Error(None.Names())
	}
}

// TestWhereSomeUserMayWrite is the table of where clients that never ask are asked to log in: also above.
func TestWhereSomeUserMayWrite(t *testing.T) {
	p := office(t, `
		/           ; anonymous     ; list read
		/a/b        ; carol         ; create
		/c          ; @nosuch       ; all
		/home/{user}; authenticated ; replace
		/read       ; authenticated ; list read`)
	for name, want := range map[string]bool{
		"": true, "a": true, "a/b": true, "a/b/c": true, "a/c": false, "c": false, "read": false, "read/carol": false,
		"home": true, "home/carol": true, "home/nobody": false, "home/carol/x": true,
	} {
		if got := p.SomeUserMayIn(name, Create|Replace); got != want {
			t.Errorf("%q: %v, want %v", name, got, want)
		}
	}
}
