package auth

import (
	"fmt"
	"math/bits"
	"strings"
)

// Effects is a set of what a rule grants on a name. The zero value grants nothing.
type Effects uint16

// The effects.
const (
	List    Effects = 1 << iota // learn that the name exists, and its size and dates; the members of a collection
	Read                        // the content, its tag and digests, and dead properties
	Create                      // make something where nothing is
	Replace                     // put another version in the place of a file
	Remove                      // take the name away
	Props                       // change dead properties
	Lock                        // take and refresh WebDAV locks
	Unlock                      // end the locks of other principals, and see their tokens
	History                     // versions that were replaced or removed

	// None grants nothing.
	None Effects = 0
	// All are all effects.
	All = List | Read | Create | Replace | Remove | Props | Lock | Unlock | History
	// ReadOnly is what --anonymous read grants.
	ReadOnly = List | Read
	// ReadWrite is what --anonymous write grants where there are users: nothing about their locks, nor what they
	// removed.
	ReadWrite = ReadOnly | Create | Replace | Remove | Props | Lock
)

// effectNames are the names of the effects in a rule, in the order of their bits.
var effectNames = [...]string{"list", "read", "create", "replace", "remove", "props", "lock", "unlock", "history"}

// Has reports whether all of the wanted effects are in the set.
func (e Effects) Has(wanted Effects) bool { return e&wanted == wanted }

// String writes the set as [ParseEffects] reads it, with commas; "none" where it is empty.
func (e Effects) String() string {
	switch e & All {
	case None:
		return "none"
	case All:
		return "all"
	}
	return strings.Join(e.Names(), ",")
}

// Names returns the names of the effects in the set.
func (e Effects) Names() []string {
	names := make([]string, 0, bits.OnesCount16(uint16(e)))
	for i, name := range effectNames {
		if e&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	return names
}

// ParseEffects reads names of effects; "all" stands for all of them. Each error names what it could not read.
func ParseEffects(names []string) (Effects, error) {
	var e Effects
next:
	for _, name := range names {
		if name == "all" {
			e |= All
			continue
		}
		for i, known := range effectNames {
			if name == known {
				e |= 1 << i
				continue next
			}
		}
		return None, fmt.Errorf("there is no effect %q: use %s, or all", name, strings.Join(effectNames[:], ", "))
	}
	return e, nil
}
