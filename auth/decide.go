package auth

import (
	"slices"
)

// A Need is the effects that a request must be granted on one name.
type Need struct {
	Name    string
	Effects Effects // all of them
	AnyOf   Effects // and one of these, unless this is [None]
	Subtree bool    // on every name that can be below, too
}

// metBy reports whether these effects are enough.
func (n *Need) metBy(granted Effects) bool {
	return granted.Has(n.Effects) && (n.AnyOf == None || granted&n.AnyOf != None)
}

// A Verdict is how a request is to be answered, before the store is asked.
type Verdict uint8

// The verdicts.
const (
	Granted   Verdict = iota // go on
	Challenge                // 401: anonymous may not, and some user may
	NotFound                 // 404: a read of a name that may not be known
	Forbidden                // 403
)

// Has reports whether the principal has the effects of a need.
func (a *Access) Has(need Need) bool {
	if need.Subtree {
		return need.metBy(a.Subtree(need.Name))
	}
	return need.metBy(a.Effects(need.Name))
}

// Decide answers for the needs of one request. It depends on names and rules alone. reads: the request changes nothing.
func (a *Access) Decide(reads bool, needs ...Need) Verdict {
	if a.hasAll(needs) {
		return Granted
	}
	return a.refusal(reads, needs)
}

// See answers for a request that needs its name to be seen: PROPFIND.
func (a *Access) See(name string) Verdict {
	if a.Seen(name) {
		return Granted
	}
	return a.refusal(true, []Need{{Name: name, Effects: List}})
}

func (a *Access) refusal(reads bool, needs []Need) Verdict {
	switch {
	case a.who.Anonymous() && a.policies.SomeUserMay(needs...):
		return Challenge
	case !reads:
		return Forbidden
	}
	if slices.ContainsFunc(needs, func(n Need) bool { return !a.Seen(n.Name) }) {
		return NotFound
	}
	return Forbidden
}

// SomeUserMay reports whether there is a user with all effects of some needs.
func (p *Policies) SomeUserMay(needs ...Need) bool {
	if len(p.classes) == 0 {
		return false
	}
	// "{user}" matches otherwise for users whose name is a segment: these are asked for by name, and the others by
	// class. A user whose name is another spelling of a segment is among the others: such a name may be answered 401
	// where no user may, which names and rules alone decide all the same.
	apart := map[string]bool{}
	for i := range needs {
		for _, segment := range segmentsOf(nil, needs[i].Name) {
			if p.Knows(segment) || p.newGroup != "" && CheckName(segment) == nil {
				apart[segment] = true
			}
		}
	}
	for name := range apart {
		access := p.Access(Principal{Name: name, Proxied: true})
		if access.hasAll(needs) {
			return true
		}
	}
	return p.someClassMay(needs, apart)
}

// SomeUserMayIn reports whether there is a user who has one of some effects on a name, or on a name below it.
func (p *Policies) SomeUserMayIn(name string, anyOf Effects) bool {
	if p.SomeUserMay(Need{Name: name, AnyOf: anyOf}) {
		return true
	}
	below := func(user string, granted func(s *ruleSet) Effects) (found bool) {
		var m match
		p.rules.match(&m, name, user)
		m.below(true, func(s *ruleSet) bool {
			found = granted(s)&anyOf != None
			return !found
		})
		return found
	}
	if below("", func(s *ruleSet) Effects { return p.some[s.index] }) {
		return true
	}
	return slices.ContainsFunc(segmentsOf(nil, name), func(segment string) bool {
		access := p.Access(Principal{Name: segment, Proxied: true})
		return !access.who.Anonymous() && below(segment, func(s *ruleSet) Effects {
			e, _ := access.granted(s)
			return e
		})
	})
}

// someClassMay asks for the users who are not set apart.
func (p *Policies) someClassMay(needs []Need, apart map[string]bool) bool {
	matches := make([][]match, len(needs)) // of each spelling
	anybody := Access{policies: p}
	for i := range needs {
		others, ok := anybody.spellings(needs[i].Name)
		if !ok {
			return false
		}
		matches[i] = make([]match, 1+len(others))
		p.rules.match(&matches[i][0], needs[i].Name, "")
		for j, other := range others {
			p.rules.match(&matches[i][1+j], other, "")
		}
	}
	for i := range p.classes {
		if p.classes[i].may(needs, matches) && p.members(i, apart) > 0 {
			return true
		}
	}
	return false
}

// may reports whether the users of a class have all that is needed, on each spelling.
func (c *class) may(needs []Need, matches [][]match) bool {
	for i := range needs {
		granted := All
		for j := range matches[i] {
			granted &= c.granted(&matches[i][j], needs[i].Subtree)
		}
		if !needs[i].metBy(granted) {
			return false
		}
	}
	return true
}

// granted returns the effects of the users of a class on a name, or on all names below it too.
func (c *class) granted(m *match, subtree bool) Effects {
	granted := None
	if m.deciding != nil {
		granted = c.grants[m.deciding.index]
	}
	if subtree {
		m.below(true, func(s *ruleSet) bool {
			granted &= c.grants[s.index]
			return granted != None
		})
	}
	return granted
}

// members returns how many users of a class are not set apart.
func (p *Policies) members(class int, apart map[string]bool) int {
	n := p.classes[class].members
	for name := range apart {
		if u, known := p.users[name]; known && u.class == class {
			n--
		}
	}
	return n
}

func (a *Access) hasAll(needs []Need) bool {
	return !slices.ContainsFunc(needs, func(n Need) bool { return !a.Has(n) })
}

// An Explanation is the reason for the rights of a principal on one name.
type Explanation struct {
	Effects Effects // on the name
	Subtree Effects // on the name and on all that can be below it
	Seen    bool
	Policy  bool // Conditions are required on the name
	// Deciding is the path of the rules that decide, and Rules are all rules with that path. There are none where no
	// path matches.
	Deciding Path
	Rules    []ExplainedRule
	// Spellings are other names, in the spelling of rules, that some disks take for the same name, and the effects
	// granted on each. The principal has the effects that are granted on all spellings, and none if there are TooMany.
	Spellings []ExplainedName
	TooMany   bool
	// Below are the paths that can match below and whose effects differ from Effects.
	Below []ExplainedPath
}

// An ExplainedRule is a rule, and whether it names the principal.
type ExplainedRule struct {
	Rule
	Names bool
}

// An ExplainedPath is a path, and the effects that are granted on it.
type ExplainedPath struct {
	Path    Path
	Effects Effects
}

// An ExplainedName is a name, and the effects that are granted on it.
type ExplainedName struct {
	Name    string
	Effects Effects
}

// Explain returns the reason for the rights of the principal on a name.
func (a *Access) Explain(name string) Explanation {
	var m match
	a.match(&m, name)
	e := Explanation{Effects: a.Effects(name), Subtree: a.Subtree(name), Seen: a.Seen(name)}
	e.Policy = a.Requires(name, false)
	others, ok := a.spellings(name)
	e.TooMany = !ok
	for _, other := range others {
		e.Spellings = append(e.Spellings, ExplainedName{other, a.effects(other)})
	}
	if m.deciding != nil {
		e.Deciding = m.deciding.path
		for _, rule := range m.deciding.rules {
			e.Rules = append(e.Rules, ExplainedRule{rule, rule.Who.names(&a.who, a.groups)})
		}
	}
	m.below(a.who.Name != "", func(s *ruleSet) bool {
		if granted, _ := a.granted(s); granted != e.Effects {
			e.Below = append(e.Below, ExplainedPath{s.path, granted})
		}
		return true
	})
	return e
}
