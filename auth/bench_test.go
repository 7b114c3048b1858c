package auth

import (
	"fmt"
	"testing"
)

// BenchmarkDecide asks about a PUT, before and within the commit, in an office of 100 users with 120 rules.
func BenchmarkDecide(b *testing.B) {
	var users []string
	rules := []Rule{{Who: Who{Authenticated: true}, Effects: ReadOnly}}
	add := func(path string, who Who, e Effects) {
		p, err := ParsePath(path)
		if err != nil {
			b.Fatal(err)
		}
		rules = append(rules, Rule{Path: p, Who: who, Effects: e})
	}
	for i := range 100 {
		users = append(users, fmt.Sprint("user", i))
		add(fmt.Sprint("/projects/p", i), Who{Users: users[i:]}, All)
	}
	add("/home/{user}", Who{Authenticated: true}, All)
	add("/projects/*/public", Who{Anonymous: true}, ReadOnly)
	p := NewPolicies(NewRules(rules), Population{Users: users})
	for _, bm := range []struct{ who, name string }{
		{"user7", "home/user7/documents/letter.txt"}, {"user99", "projects/p50/src/main.go"}, {"", "projects/p50/src/main.go"},
	} {
		b.Run(fmt.Sprintf("%q on %s", bm.who, bm.name), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				a := p.Access(Principal{Name: bm.who})
				o := Operation{Verb: VerbPut, Name: bm.name}
				if a.Decide(false, o.Before()...) == Granted && a.Within(o, Found{Exists: true}) != NotRefused {
					b.Fatal("a user may create, and not replace")
				}
			}
		})
	}
}
