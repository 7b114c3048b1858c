package auth

import (
	"slices"
	"strings"
)

// Names that differ from the path of a rule in case, or in another way that some disks take for none, may be names of
// the same file. On such a name a principal has only the effects that the rules grant on each of the spellings: the
// spelling that was sent, and the spellings in the rules.

// mostSpellings bounds the spellings of one name. Where there are more, nothing is granted.
const mostSpellings = 64

// spellings returns the other spellings that a name has in the rules: mostly none. ok is false if there are too many.
func (a *Access) spellings(name string) (others []string, ok bool) {
	p := a.policies
	if p.alike == nil || name == "" || len(p.rules.literals) == 0 && !p.rules.users {
		return nil, true
	}
	var buf [16]string
	segments := segmentsOf(buf[:0], name)
	for i, segment := range segments[:min(len(segments), p.rules.depth)] { // no rule is about the rest
		found := len(others)
		respell := func(spelling string) {
			if spelling == segment || len(others) > mostSpellings || !p.alike(segment, spelling) {
				return
			}
			front, rest := strings.Join(segments[:i], "/"), strings.Join(segments[i:], "/")
			for _, begun := range append([]string{front}, others[:found]...) {
				if begun != front { // an earlier segment is spelled otherwise, too
					begun = begun[:len(begun)-len(rest)-min(i, 1)]
				}
				other := spelling + strings.TrimPrefix(rest, segment)
				if i > 0 {
					other = begun + "/" + other
				}
				others = append(others, other)
			}
		}
		for _, literal := range p.rules.literals {
			respell(literal)
		}
		if p.rules.users && a.who.Name != "" && !slices.Contains(p.rules.literals, a.who.Name) {
			respell(a.who.Name)
		}
		if len(others) > mostSpellings {
			return nil, false
		}
	}
	return others, true
}

// onEach returns the effects that are granted on all spellings of a name.
func (a *Access) onEach(name string, granted func(name string) Effects) Effects {
	e := granted(name)
	others, ok := a.spellings(name)
	if !ok {
		return None
	}
	for _, other := range others {
		e &= granted(other)
	}
	return e
}
