package precondition

import (
	"fmt"

	"ifmatch/tree"
)

// A RequiredError reports a request that would replace or remove something and does not say which version it means
// (428, RFC 6585 §3).
type RequiredError struct {
	Name string
	Have tree.State // what is there
}

func (e *RequiredError) Error() string { return fmt.Sprintf("no condition is about %q", e.Name) }

// Required returns a [RequiredError] where something is at a name and no condition of the request is about it. These
// are:
//
//   - of the Request-URI: If-Match, If-None-Match and a valid If-Unmodified-Since;
//   - of any name: a list of If that is true and has an entity tag or a lock token, or the submitted token of a lock that
//     covers it, since nobody else can have changed what its holder has seen.
//
// What is only ever true (Not <DAV:no-lock>) says nothing, nor does what is ignored. It is asked after [Conditions.Write],
// in the same View: a condition that is there is true. Besides, it returns [tree.ErrTagUnknown] and the errors of the View.
//
// unseen: nothing may be told of the name, so that the answer is the same where nothing is there.
func (c *Conditions) Required(v tree.View, name string, unseen bool) error {
	m := c.look(v)
	s, err := m.State(name)
	if err != nil || !s.Exists && !unseen {
		return err
	}
	if name == c.target && c.aboutTarget() {
		return nil
	}
	locks, err := tree.Covering(v, name)
	if err != nil {
		return err
	}
	for _, l := range locks {
		if c.opened(l) {
			return nil
		}
	}
	said := tree.False
	for _, r := range c.ifLists {
		if !r.known || r.name != name {
			continue
		}
		is, err := r.says(m)
		if err != nil {
			return err
		}
		said = max(said, is)
	}
	switch said {
	case tree.True:
		return nil
	case tree.Unknown:
		return tree.ErrTagUnknown
	}
	return &RequiredError{Name: name, Have: s}
}

// says reports whether one of the lists is true and about a version.
func (r resourceLists) says(m *memo) (tree.Truth, error) {
	sum := tree.False
	for _, l := range r.lists {
		if !l.aboutVersion() {
			continue
		}
		is, err := l.holds(m, r.name)
		if err != nil {
			return is, err
		}
		sum = max(sum, is)
	}
	return sum, nil
}

// aboutVersion reports whether a term of the list tells one version from another.
func (l stateList) aboutVersion() bool {
	for _, t := range l {
		if t.token == "" || !t.not && t.token != noLock {
			return true
		}
	}
	return false
}
