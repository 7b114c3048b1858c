package auth

import (
	"fmt"
	"slices"
	"strings"

	"golang.org/x/text/unicode/norm"

	"r-seed-1f3a754f.example/ifmatch/tree"
)

// A Path is the path of a rule: a prefix of whole segments. The segment "{user}" stands for the name of the asker,
// and "*" for any one segment. The zero value is the root, "/".
type Path struct{ segments []string } // in NFC

const (
	userSegment = "{user}"
	anySegment  = "*"
)

// ParsePath reads the path of a rule, such as "/", "/home/{user}" or "/projects/*/public". A slash at the end means
// nothing.
func ParsePath(s string) (Path, error) {
	rest, ok := strings.CutPrefix(s, "/")
	if !ok {
		return Path{}, fmt.Errorf("path %q: begin it with a slash, as in /home/{user}", s)
	}
	rest = norm.NFC.String(strings.TrimSuffix(rest, "/"))
	if s == "/" {
		return Path{}, nil
	}
	if rest == "" {
		return Path{}, fmt.Errorf("path %q: write / for all", s)
	}
	if err := tree.CheckName(rest); err != nil {
		return Path{}, fmt.Errorf("path %q: no name can be that: %w", s, err)
	}
	segments := strings.Split(rest, "/")
	for _, segment := range segments {
		if segment != userSegment && segment != anySegment && strings.ContainsAny(segment, "*{}") {
			return Path{}, fmt.Errorf("path %q: %q is not a pattern: a segment is a name, {user}, or * for any one name",
				s, segment)
		}
	}
	return Path{segments}, nil
}

// String writes the path as [ParsePath] reads it.
func (p Path) String() string { return "/" + strings.Join(p.segments, "/") }

// segmentsOf appends the segments of a name, in NFC, so that a rule is of both normal forms of its path.
func segmentsOf(buf []string, name string) []string {
	if name == "" {
		return buf
	}
	if !norm.NFC.IsNormalString(name) {
		name = norm.NFC.String(name)
	}
	for segment := range strings.SplitSeq(name, "/") {
		buf = append(buf, segment)
	}
	return buf
}

// A Rule grants effects on a path, and on all below it, to those that it names.
type Rule struct {
	Path    Path
	Who     Who
	Effects Effects
	Require Policy
	Line    int // in the configuration file, or 0 for a rule that no file has
}

// A Policy restricts writes beside the effects.
type Policy uint8

// The policies.
const (
	NoPolicy   Policy = iota
	Conditions        // a request that would replace or remove must say which version it means, else 428
	CreateOnly        // nothing is replaced or removed, even if the effects grant it
)

var policyNames = [...]string{NoPolicy: "", Conditions: "conditions", CreateOnly: "create-only"}

// String writes the policy as a rule has it.
func (p Policy) String() string { return policyNames[p] }

// ParsePolicy reads the value of "require".
func ParsePolicy(s string) (Policy, error) {
	if i := slices.Index(policyNames[:], s); i > 0 {
		return Policy(i), nil
	}
	return NoPolicy, fmt.Errorf("require %q is not known: use conditions or create-only", s)
}

// Who are the principals that a rule names.
type Who struct {
	Users         []string // names of users
	Groups        []string // names of groups, without the @
	Authenticated bool     // each user
	Anonymous     bool     // each client, users too
}

// ParseWho reads the value of "who": names of users, @groups, "authenticated" and "anonymous".
func ParseWho(names []string) (Who, error) {
	var who Who
	if len(names) == 0 {
		return who, fmt.Errorf("who is empty: name users, @groups, authenticated, or anonymous for everybody")
	}
	for _, name := range names {
		group, isGroup := strings.CutPrefix(name, "@")
		switch {
		case isGroup:
			if err := CheckGroup(group); err != nil {
				return who, fmt.Errorf("group %q: %w", name, err)
			}
			who.Groups = append(who.Groups, group)
		case name == authenticatedName:
			who.Authenticated = true
		case name == anonymousName:
			who.Anonymous = true
		default:
			if err := CheckName(name); err != nil {
				return who, fmt.Errorf("user %q: %w", name, err)
			}
			who.Users = append(who.Users, name)
		}
	}
	return who, nil
}

// String writes who is named as a rule has it.
func (w Who) String() string {
	names := slices.Clone(w.Users)
	for _, group := range w.Groups {
		names = append(names, "@"+group)
	}
	if w.Authenticated {
		names = append(names, authenticatedName)
	}
	if w.Anonymous {
		names = append(names, anonymousName)
	}
	return strings.Join(names, ", ")
}

// names reports whether a principal is one of those. groups are all that the principal is in.
func (w *Who) names(p *Principal, groups []string) bool {
	if w.Anonymous || p.Name == "" {
		return w.Anonymous
	}
	if w.Authenticated || slices.Contains(w.Users, p.Name) {
		return true
	}
	return slices.ContainsFunc(w.Groups, func(g string) bool { return slices.Contains(groups, g) })
}

// A Rules is a set of rules, by their paths. It does not change.
type Rules struct {
	root node
	sets []*ruleSet // in the order of their index

	literals []string // the segments of all paths that are names, each once
	users    bool     // a path has {user}
	depth    int      // the most segments that a path has
}

// A ruleSet is all rules that have the same path. Those that name an asker add up.
type ruleSet struct {
	index int // in Rules.sets
	path  Path
	rules []Rule
}

// A node is one segment in the paths of rules.
type node struct {
	literal map[string]*node
	user    *node // {user}
	any     *node // *
	set     *ruleSet
}

// NewRules arranges rules. Their order means nothing.
func NewRules(rules []Rule) *Rules {
	r := &Rules{}
	for _, rule := range rules {
		at := &r.root
		r.depth = max(r.depth, len(rule.Path.segments))
		for _, segment := range rule.Path.segments {
			switch {
			case segment == userSegment:
				r.users = true
			case segment != anySegment && !slices.Contains(r.literals, segment):
				r.literals = append(r.literals, segment)
			}
			at = at.child(segment)
		}
		if at.set == nil {
			at.set = &ruleSet{index: len(r.sets), path: rule.Path}
			r.sets = append(r.sets, at.set)
		}
		at.set.rules = append(at.set.rules, rule)
	}
	return r
}

// groups returns the groups that rules name.
func (r *Rules) groups() map[string]bool {
	named := map[string]bool{}
	for _, set := range r.sets {
		for _, rule := range set.rules {
			for _, group := range rule.Who.Groups {
				named[group] = true
			}
		}
	}
	return named
}

func (n *node) child(segment string) *node {
	switch segment {
	case userSegment:
		if n.user == nil {
			n.user = &node{}
		}
		return n.user
	case anySegment:
		if n.any == nil {
			n.any = &node{}
		}
		return n.any
	}
	if n.literal == nil {
		n.literal = map[string]*node{}
	}
	if n.literal[segment] == nil {
		n.literal[segment] = &node{}
	}
	return n.literal[segment]
}

// A match is the rules about one name, for one user name.
type match struct {
	deciding *ruleSet // with the longest path that matches, or nil if none does
	ends     []*node  // those that the whole name leads to: below them are the rules about names below it
	buf      [2][8]*node
}

// everywhere returns the rules that decide about every name, if there are no others.
func (r *Rules) everywhere() (set *ruleSet, all bool) {
	return r.root.set, len(r.root.literal) == 0 && r.root.user == nil && r.root.any == nil
}

// match finds the rules about a name. "{user}" matches the segment user, and nothing where that is "".
//
// Of several paths of the longest length the first one decides at the first segment in which they differ: a literal
// segment before {user} before *. The nodes are kept in that order.
func (r *Rules) match(m *match, name, user string) {
	var segments [16]string
	m.deciding = r.root.set
	now, next := append(m.buf[0][:0], &r.root), m.buf[1][:0]
	for _, segment := range segmentsOf(segments[:0], name) {
		next = next[:0]
		for _, n := range now {
			if child := n.literal[segment]; child != nil {
				next = append(next, child)
			}
			if n.user != nil && segment == user {
				next = append(next, n.user)
			}
			if n.any != nil {
				next = append(next, n.any)
			}
		}
		for _, n := range next {
			if n.set != nil {
				m.deciding = n.set
				break
			}
		}
		now, next = next, now
		if len(now) == 0 {
			break
		}
	}
	m.ends = now
}

// below calls fn with each set of rules whose path can match a name below the one that was matched, until it returns
// false. users: "{user}" can match something.
func (m *match) below(users bool, fn func(*ruleSet) bool) bool {
	for _, n := range m.ends {
		if !n.below(users, fn) {
			return false
		}
	}
	return true
}

func (n *node) below(users bool, fn func(*ruleSet) bool) bool {
	visit := func(child *node) bool {
		return child == nil || (child.set == nil || fn(child.set)) && child.below(users, fn)
	}
	for _, child := range n.literal {
		if !visit(child) {
			return false
		}
	}
	return (!users || visit(n.user)) && visit(n.any)
}

// grants returns the effects that a set of rules grants to a principal.
func (s *ruleSet) grants(p *Principal, groups []string) (e Effects, conditions bool) {
	if s == nil {
		return None, false
	}
	createOnly := false
	for i := range s.rules {
		rule := &s.rules[i]
		if !rule.Who.names(p, groups) {
			continue
		}
		e |= rule.Effects
		createOnly = createOnly || rule.Require == CreateOnly
		conditions = conditions || rule.Require == Conditions
	}
	if createOnly {
		e &^= Replace | Remove
	}
	return e &^ p.Without, conditions
}
