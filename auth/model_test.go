package auth

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// model is the rules as the documentation has them, without an index.
type model struct {
	rules []Rule
	users []string
	in    map[string][]string
}

// rank orders the paths that match a name: 1 literal, 2 {user}, 3 * in each segment. nil: it does not match so far.
func (m *model) rank(path Path, segments []string, user string) []int {
	ranks := []int{}
	for i, s := range path.segments {
		switch {
		case i == len(segments):
			return ranks
		case s == "*":
			ranks = append(ranks, 3)
		case s == "{user}" && user != "" && segments[i] == user:
			ranks = append(ranks, 2)
		case s == segments[i] && s != "{user}":
			ranks = append(ranks, 1)
		default:
			return nil
		}
	}
	return ranks
}

func (m *model) granted(path Path, user string) Effects {
	e, createOnly := None, false
	for _, r := range m.rules {
		named := r.Who.Anonymous || user != "" && (r.Who.Authenticated || slices.Contains(r.Who.Users, user))
		for _, g := range r.Who.Groups {
			named = named || slices.Contains(m.in[g], user)
		}
		if named && r.Path.String() == path.String() {
			e |= r.Effects
			createOnly = createOnly || r.Require == CreateOnly
		}
	}
	if createOnly {
		e &^= Replace | Remove
	}
	return e
}

func (m *model) effects(name, user string) Effects {
	segments := strings.FieldsFunc(name, func(r rune) bool { return r == '/' })
	var best *Path
	var ranks []int
	for i := range m.rules {
		p := &m.rules[i].Path
		got := m.rank(*p, segments, user)
		if got == nil || len(p.segments) > len(segments) {
			continue
		}
		if best == nil || len(got) > len(ranks) || len(got) == len(ranks) && slices.Compare(got, ranks) < 0 {
			best, ranks = p, got
		}
	}
	if best == nil {
		return None
	}
	return m.granted(*best, user)
}

// below returns the paths that can match below a name.
func (m *model) below(name, user string) (paths []Path) {
	segments := strings.FieldsFunc(name, func(r rune) bool { return r == '/' })
	for _, r := range m.rules {
		if len(r.Path.segments) <= len(segments) || m.rank(r.Path, segments, user) == nil {
			continue
		}
		if user == "" && slices.Contains(r.Path.segments, "{user}") {
			continue
		}
		paths = append(paths, r.Path)
	}
	return paths
}

func (m *model) subtree(name, user string) Effects {
	e := m.effects(name, user)
	for _, p := range m.below(name, user) {
		e &= m.granted(p, user)
	}
	return e
}

func (m *model) seen(name, user string) bool {
	seen := m.effects(name, user).Has(List)
	for _, p := range m.below(name, user) {
		seen = seen || m.granted(p, user) != None
	}
	return seen
}

func (m *model) has(n Need, user string) bool {
	e := m.effects(n.Name, user)
	if n.Subtree {
		e = m.subtree(n.Name, user)
	}
	return e&n.Effects == n.Effects && (n.AnyOf == 0 || e&n.AnyOf != 0)
}

// universe is all names of at most three of these segments.
func universe() []string {
	names := []string{""}
	for _, a := range []string{"a", "b", "alice", "bob"} {
		names = append(names, a)
		for _, b := range []string{"a", "b", "alice", "bob"} {
			names = append(names, a+"/"+b)
			for _, c := range []string{"a", "alice"} {
				names = append(names, a+"/"+b+"/"+c)
			}
		}
	}
	return names
}

// randomModel makes up rules for the names of [universe].
func randomModel(r *rand.Rand) *model {
	pick := func(from ...string) string { return from[r.IntN(len(from))] }
	m := &model{users: []string{"alice", "bob", "carol"},
		in: map[string][]string{"g": {"alice", "carol"}, "h": {"bob"}}}
	for range r.IntN(7) {
		var path strings.Builder
		for range r.IntN(4) {
			path.WriteString("/" + pick("a", "b", "alice", "bob", "*", "{user}", "*", "{user}"))
		}
		p, err := ParsePath(path.String() + "/")
		if err != nil {
			panic(err)
		}
		who, err := ParseWho([]string{pick("alice", "bob", "carol", "@g", "@h", "authenticated", "anonymous")})
		if err != nil {
			panic(err)
		}
		m.rules = append(m.rules, Rule{Path: p, Who: who, Effects: Effects(r.IntN(int(All) + 1)),
			Require: Policy(r.IntN(3))})
	}
	return m
}

// TestRulesAreThoseOfTheModel asks rules that are made up, and the model of them, about all names of a small universe.
func TestRulesAreThoseOfTheModel(t *testing.T) {
	names := universe()
	for seed := range uint64(120) {
		r := rand.New(rand.NewPCG(seed, 14))
		m := randomModel(r)
		p := NewPolicies(NewRules(m.rules), Population{Users: m.users, Groups: m.in})
		for _, user := range []string{"", "alice", "bob", "carol"} {
			a := p.Access(Principal{Name: user})
			for _, name := range names {
				got := fmt.Sprint(a.Effects(name), a.Subtree(name), a.Seen(name))
				want := fmt.Sprint(m.effects(name, user), m.subtree(name, user), m.seen(name, user))
				if got != want {
					t.Fatalf("seed %d, %q on %q: %s, want %s\nrules: %v", seed, user, name, got, want, m.rules)
				}
				checkBelow(t, &a, names, name)
			}
		}
		checkDecisions(t, r, m, p, names)
	}
}

// checkBelow: an effect on a subtree is granted on each name in it, and a name above a granted one is seen.
func checkBelow(t *testing.T, a *Access, names []string, top string) {
	t.Helper()
	all := a.Subtree(top)
	for _, name := range names {
		if top != "" && name != top && !strings.HasPrefix(name, top+"/") {
			continue
		}
		if !a.Effects(name).Has(all) {
			t.Fatalf("the subtree %q is granted %s, and %q in it only %s", top, all, name, a.Effects(name))
		}
		if name != top && a.Effects(name) != None && a.Effects(top) == None && !a.Seen(top) {
			t.Fatalf("%q is not seen, and %q below it is granted %s", top, name, a.Effects(name))
		}
	}
}

// checkDecisions compares verdicts about operations that are made up.
func checkDecisions(t *testing.T, r *rand.Rand, m *model, p *Policies, names []string) {
	t.Helper()
	verbs := []Verb{VerbOptions, VerbGet, VerbHead, VerbPut, VerbMkcol, VerbCopy, VerbMove, VerbDelete,
		VerbProppatch, VerbLock, VerbVersions, VerbRestore}
	for range 200 {
		o := Operation{Verb: verbs[r.IntN(len(verbs))], Name: names[r.IntN(len(names))], To: names[r.IntN(len(names))],
			Shallow: r.IntN(2) == 0}
		needs := o.Before()
		for _, user := range []string{"", "alice", "bob", "carol"} {
			may := func(user string) bool {
				return !slices.ContainsFunc(needs, func(n Need) bool { return !m.has(n, user) })
			}
			want := Forbidden
			switch {
			case may(user):
				want = Granted
			case user == "" && slices.ContainsFunc(m.users, may):
				want = Challenge
			case o.Verb.Reads() && slices.ContainsFunc(needs, func(n Need) bool { return !m.seen(n.Name, user) }):
				want = NotFound
			}
			a := p.Access(Principal{Name: user})
			if got := a.Decide(o.Verb.Reads(), needs...); got != want {
				t.Fatalf("%q, %+v: verdict %d, want %d\nrules: %v", user, o, got, want, m.rules)
			}
		}
	}
}
