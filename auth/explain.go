package auth

// An Explanation says why a principal may do what on one name.
type Explanation struct {
	Effects Effects // on the name
	Subtree Effects // on the name and on all that can be below it
	Seen    bool
	Policy  bool // Conditions are required on the name
	// Deciding is the path of the rules that decide, and Rules are all that have it; none where no path matches.
	Deciding Path
	Rules    []ExplainedRule
	// Below are the paths that can match below, each with what is granted there, where that is not all of Effects.
	Below []ExplainedPath
}

// An ExplainedRule is a rule, and whether it names the principal.
type ExplainedRule struct {
	Rule
	Names bool
}

// An ExplainedPath is a path, and what is granted on it.
type ExplainedPath struct {
	Path    Path
	Effects Effects
}

// Explain says why a principal may do what on a name.
func (a *Access) Explain(name string) Explanation {
	var m match
	a.match(&m, name)
	e := Explanation{Subtree: a.Subtree(name), Seen: a.Seen(name)}
	e.Effects, e.Policy = m.deciding.grants(&a.who, a.groups)
	if m.deciding != nil {
		e.Deciding = m.deciding.path
		for _, rule := range m.deciding.rules {
			e.Rules = append(e.Rules, ExplainedRule{rule, rule.Who.names(&a.who, a.groups)})
		}
	}
	m.below(a.who.Name != "", func(s *ruleSet) bool {
		if granted, _ := s.grants(&a.who, a.groups); granted != e.Effects {
			e.Below = append(e.Below, ExplainedPath{s.path, granted})
		}
		return true
	})
	return e
}
