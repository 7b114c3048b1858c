package auth

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// A configuration file of which only a part was written is refused where that can be told: its last line has no end,
// a rule lacks a key, it has fewer rules than it says, or it is the beginning of the file that is in force and grants
// more.

// checkCount fails if the file does not have as many rules as it says.
func (c *Config) checkCount() error {
	if c.counted && c.count != len(c.Rules) {
		return fmt.Errorf("it says rule-count = %d, and has %d: a part of the file is missing, or the number is old",
			c.count, len(c.Rules))
	}
	return nil
}

// checkWhole fails if the snapshot that is to replace this one seems to be a part of it. The rules at the end of a
// file are often those that close a path, and without any rule each user may do everything. That rules which only
// grant something are gone may be meant: then something is revoked, and that must not fail.
func (s *Snapshot) checkWhole(next *Snapshot) error {
	before, after := s.config, next.config
	switch {
	case len(before.Rules) == 0 || len(after.Rules) >= len(before.Rules):
		return nil
	case len(after.Rules) == 0:
		return errors.New("it has no rules any more, and without rules each user may do everything: " +
			"write one for /, or restart the server to mean it")
	case after.counted || !strings.HasPrefix(before.text, after.text):
		return nil
	}
	if path, more := s.widenedBy(next); more {
		return fmt.Errorf("it is the beginning of the file that is in force, as if its writing was cut off, and grants "+
			"more on %s: write rule-count = %d at its top, or restart the server, to mean it", path, len(after.Rules))
	}
	return nil
}

// widenedBy returns a path of a rule on which another snapshot may grant more.
func (s *Snapshot) widenedBy(next *Snapshot) (path Path, more bool) {
	kinds, kept := s.kinds(), map[string]int{}
	for _, set := range next.Policies.rules.sets {
		kept[set.path.String()] = len(set.rules)
	}
	for _, set := range s.Policies.rules.sets {
		if kept[set.path.String()] == len(set.rules) {
			continue // the same rules decide on it
		}
		deciding := next.Policies.rules.decidingWithin(set.path)
		for _, k := range kinds {
			old, conditions := set.grants(&k, k.Groups)
			granted, required := None, true
			for _, other := range deciding {
				e, r := other.grants(&k, k.Groups)
				granted, required = granted|e, required && r
			}
			if !old.Has(granted) || conditions && granted&(Replace|Remove) != None && !required {
				return set.path, true
			}
		}
	}
	return Path{}, false
}

// kinds returns one principal of each kind, which stands for all that the rules name alike. Its Groups are all that it
// is in.
func (s *Snapshot) kinds() []Principal {
	named := map[string]bool{}
	for _, set := range s.Policies.rules.sets {
		for _, rule := range set.rules {
			for _, name := range rule.Who.Users {
				named[name] = true
			}
		}
	}
	kinds, known := []Principal{{}}, map[string]bool{}
	add := func(name string, groups []string) {
		key := strings.Join(groups, ",")
		if named[name] {
			key = name + ":" + key
		}
		if !known[key] {
			known[key] = true
			kinds = append(kinds, Principal{Name: name, Groups: groups})
		}
	}
	for name, u := range s.users {
		add(name, u.groups)
	}
	if s.newGroup != "" {
		add("\x00", []string{s.newGroup})
	}
	if s.opts.Proxy.GroupsHeader != "" {
		for group := range s.Policies.rules.groups() {
			add("\x00", []string{s.newGroup, group})
		}
	}
	return kinds
}

// decidingWithin returns the sets of rules that can decide about the names that a path matches first: the longest that
// can match such a name, down to one that matches all of them.
func (r *Rules) decidingWithin(path Path) []*ruleSet {
	var sets []*ruleSet
	for _, set := range r.sets {
		if set.path.overlaps(path) {
			sets = append(sets, set)
		}
	}
	slices.SortStableFunc(sets, func(a, b *ruleSet) int { return len(b.path.segments) - len(a.path.segments) })
	for i, set := range sets {
		if set.path.covers(path) {
			return sets[:i+1]
		}
	}
	return sets
}

// overlaps reports whether a path that is not longer than another one can match a name that the other one matches.
func (p Path) overlaps(other Path) bool {
	return p.fits(other, func(a, b string) bool { return a == b || isPattern(a) || isPattern(b) })
}

// covers reports whether a path matches each name that another one matches.
func (p Path) covers(other Path) bool {
	return p.fits(other, func(a, b string) bool { return a == b || a == anySegment })
}

func isPattern(segment string) bool { return segment == anySegment || segment == userSegment }

// fits reports whether each segment of a path fits that of another one, which is as long or longer.
func (p Path) fits(other Path, fit func(a, b string) bool) bool {
	for i, segment := range p.segments {
		if i == len(other.segments) || !fit(segment, other.segments[i]) {
			return false
		}
	}
	return true
}
