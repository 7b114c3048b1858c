package auth

import (
	"maps"
	"slices"

	"r-seed-1f3a754f.example/ifmatch/tree"
)

// A Population is all users and groups, which rules can name.
type Population struct {
	Users  []string            // in the users file
	Groups map[string][]string // the members of each group
	// NewGroup is the group of users that only a proxy knows, or "" where these are refused.
	NewGroup string
	// ProxyGroups: a proxy says in which groups a user is, so that there may be one in any of them.
	ProxyGroups bool
}

// A Policies is the rules together with the users that they are about. It does not change, and may be used by several
// goroutines at once.
type Policies struct {
	rules    *Rules
	alike    func(a, b string) bool // see Options.Alike
	users    map[string]user
	newGroup string // Population.NewGroup
	classes  []class
	some     []Effects // the effects that any user is granted, by ruleSet.index
}

type user struct {
	groups []string
	class  int // in Policies.classes
}

// A class is all users to which the rules grant the same effects. Of two of them the rules say the same about every
// name without a segment that is the name of one.
type class struct {
	grants  []Effects // by ruleSet.index
	members int
}

// anyNumber is the number of members of a class of users that only a proxy knows.
const anyNumber = 1 << 30

// NewPolicies puts rules and users together.
func NewPolicies(rules *Rules, people Population) *Policies {
	p := &Policies{rules: rules, users: map[string]user{}, newGroup: people.NewGroup}
	for _, name := range people.Users {
		p.users[name] = user{}
	}
	for _, group := range slices.Sorted(maps.Keys(people.Groups)) {
		for _, name := range people.Groups[group] {
			if u, known := p.users[name]; known || people.NewGroup != "" { // else there is no such user
				u.groups = append(u.groups, group)
				p.users[name] = u
			}
		}
	}
	known := map[string]int{}
	for name, u := range p.users {
		u.class = p.join(known, Principal{Name: name}, u.groups, 1)
		p.users[name] = u
	}
	stranger := Principal{Name: "\x00"} // no rule can name it
	if people.NewGroup != "" {
		p.join(known, stranger, []string{people.NewGroup}, anyNumber)
	}
	if people.ProxyGroups {
		for group := range rules.groups() {
			p.join(known, stranger, []string{people.NewGroup, group}, anyNumber)
		}
	}
	p.some = make([]Effects, len(rules.sets))
	for _, c := range p.classes {
		for i, granted := range c.grants {
			p.some[i] |= granted
		}
	}
	return p
}

// join adds users to their class, and returns which one that is. known are the classes by the effects that they are
// granted.
func (p *Policies) join(known map[string]int, who Principal, groups []string, members int) int {
	c := class{grants: make([]Effects, len(p.rules.sets))}
	key := make([]byte, 0, 2*len(p.rules.sets))
	for i, set := range p.rules.sets {
		c.grants[i], _ = set.grants(&who, groups)
		key = append(key, byte(c.grants[i]), byte(c.grants[i]>>8))
	}
	i, ok := known[string(key)]
	if !ok {
		i = len(p.classes)
		known[string(key)] = i
		p.classes = append(p.classes, c)
	}
	p.classes[i].members = min(anyNumber, p.classes[i].members+members)
	return i
}

// Knows reports whether there is a user of this name.
func (p *Policies) Knows(name string) bool { _, ok := p.users[name]; return ok }

// Access returns the rights of a principal. A user that is not in the users file any more, and that no proxy has
// named, is anonymous.
func (p *Policies) Access(who Principal) Access {
	u, known := p.users[who.Name]
	groups := u.groups
	switch {
	case who.Link != "" && !known:
		who = who.gone()
	case who.Name == "":
		who = Principal{}
	case !known && who.Proxied && p.newGroup != "":
		groups = []string{p.newGroup}
	case !known:
		who = Principal{Without: who.Without}
	}
	if len(who.Groups) > 0 && who.Name != "" {
		groups = slices.Concat(groups, who.Groups)
	}
	return Access{policies: p, who: who, groups: groups}
}

// An Access is the rights of one principal, by the rules as they were when it was made. It asks no store.
type Access struct {
	policies *Policies
	who      Principal
	groups   []string
}

// Principal returns who may do it.
func (a *Access) Principal() Principal { return a.who }

func (a *Access) match(m *match, name string) { a.policies.rules.match(m, name, a.who.Name) }

// outside reports whether a name is none of those that a share link is about. It is asked for the name itself, and not
// for its other spellings: these only take effects away.
func (a *Access) outside(name string) bool {
	return a.who.Link != "" && !tree.Within(name, a.who.Root)
}

// Effects returns the effects that are granted on a name.
func (a *Access) Effects(name string) Effects {
	if a.outside(name) {
		return None
	}
	if _, all := a.policies.rules.everywhere(); all { // one set decides about each name, in each spelling
		return a.effects(name)
	}
	return a.onEach(name, a.effects)
}

func (a *Access) effects(name string) Effects {
	e, _ := a.granted(a.deciding(name))
	return e
}

// deciding returns the rules that decide about a name.
func (a *Access) deciding(name string) *ruleSet {
	if set, all := a.policies.rules.everywhere(); all {
		return set
	}
	var m match
	a.match(&m, name)
	return m.deciding
}

// Subtree returns the effects that are granted on a name and on every name that can be below it. The rules that
// decide about the name must grant them, and the rules of every path that can match below. No member is looked for,
// so the result does not depend on the members.
func (a *Access) Subtree(name string) Effects {
	if a.outside(name) {
		return None
	}
	if _, all := a.policies.rules.everywhere(); all { // one set decides about each name, in each spelling
		return a.effects(name)
	}
	return a.onEach(name, a.subtree)
}

func (a *Access) subtree(name string) Effects {
	var m match
	a.match(&m, name)
	e, _ := a.granted(m.deciding)
	a.below(&m, func(granted Effects, _ bool) bool {
		e &= granted
		return e != None
	})
	return e
}

// granted returns the effects that some rules grant, and whether they require conditions.
func (a *Access) granted(s *ruleSet) (Effects, bool) { return s.grants(&a.who, a.groups) }

// below calls fn with what each set of rules grants that can match below a name, until fn returns false. It reports
// whether fn never did.
func (a *Access) below(m *match, fn func(granted Effects, required bool) bool) bool {
	return m.below(a.who.Name != "", func(s *ruleSet) bool { return fn(a.granted(s)) })
}

// MayIn reports whether one of some effects is granted on a name, or by a rule about a name below it.
func (a *Access) MayIn(name string, anyOf Effects) bool {
	if a.outside(name) {
		return false
	}
	var m match
	a.match(&m, name)
	e, _ := a.granted(m.deciding)
	return e&anyOf != None || !a.below(&m, func(granted Effects, _ bool) bool { return granted&anyOf == None })
}

// Seen reports whether the principal may learn that a name exists: [List] is granted, or the name is on the way to a
// path on which something is granted. On such a way only collections are to be shown, and of their members those that
// are seen.
func (a *Access) Seen(name string) bool {
	if a.outside(name) || !a.seen(name) {
		return false
	}
	others, ok := a.spellings(name)
	return ok && !slices.ContainsFunc(others, func(other string) bool { return !a.seen(other) })
}

func (a *Access) seen(name string) bool {
	if set, all := a.policies.rules.everywhere(); all {
		e, _ := a.granted(set)
		return e.Has(List) // there is nothing else below that the name could lead to
	}
	var m match
	a.match(&m, name)
	e, _ := a.granted(m.deciding)
	return e.Has(List) || !a.below(&m, func(granted Effects, _ bool) bool { return granted == None })
}

// Requires reports whether a write of a name, or of a subtree, must say which version it means.
func (a *Access) Requires(name string, subtree bool) bool {
	others, _ := a.spellings(name)
	return a.requires(name, subtree) ||
		slices.ContainsFunc(others, func(other string) bool { return a.requires(other, subtree) })
}

func (a *Access) requires(name string, subtree bool) bool {
	var m match
	a.match(&m, name)
	_, required := a.granted(m.deciding)
	return required || subtree && !a.below(&m, func(_ Effects, required bool) bool { return !required })
}
