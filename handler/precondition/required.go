package precondition

import (
	"fmt"
	"slices"

	"r-seed-1f3a754f.example/ifmatch/tree"
)

// A RequiredError reports a request that would replace or remove a resource without a condition about its version
// (428, RFC 6585 §3).
type RequiredError struct {
	Name string
	Have tree.State // the current state of the resource
}

func (e *RequiredError) Error() string { return fmt.Sprintf("no condition is about %q", e.Name) }

// Required returns a [RequiredError] if a resource is at a name and the request has no condition about it. Such
// conditions are:
//
//   - for the Request-URI: If-Match, If-None-Match and a valid If-Unmodified-Since
//   - for any name: a true list of If with an entity tag or a lock token, or the submitted token of a lock that covers the
//     name, because no other client can have changed a locked resource since its holder has seen it
//
// A term that is always true (Not <DAV:no-lock>) does not count, and neither does an ignored header. Required must be
// called after [Conditions.Write], in the same View, so that all conditions of the request are true. It also returns
// [tree.ErrTagUnknown] and errors of the View.
//
// unseen says that the principal must learn nothing about the name. Then the result does not depend on whether a
// resource is there.
func (c *Conditions) Required(v tree.View, name string, unseen bool) error {
	m := c.look(v)
	s, err := m.State(name)
	if err != nil || !s.Exists && !unseen {
		return err
	}
	if name == c.target && c.aboutTarget() {
		return nil
	}
	locks, err := v.Covering(name)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(locks, c.opened) {
		return nil
	}
	said := tree.False
	for _, r := range c.ifLists {
		if !r.known || r.name != name {
			continue
		}
		is, err := r.holds(m, stateList.aboutVersion)
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

// aboutVersion reports whether a term of the list tells one version from another.
func (l stateList) aboutVersion() bool {
	return slices.ContainsFunc(l, func(t term) bool { return t.token == "" || !t.not && t.token != noLock })
}
