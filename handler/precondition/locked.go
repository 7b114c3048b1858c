package precondition

import (
	"strings"

	"ifmatch/tree"
)

// A Change is what a request does to one name, as far as write locks are concerned (RFC 4918 §7).
type Change struct {
	name string
	kind changeKind
	lock tree.Lock // of a Locking
}

type changeKind uint8

const (
	changeResource changeKind = iota
	changeLocking
	changeMapping
)

// Resource is a change of the content or the properties of a resource, or the making of one where nothing is: PUT,
// MKCOL, PROPPATCH.
func Resource(name string) Change { return Change{name: name, kind: changeResource} }

// Locking is the taking of a lock, and the making of a resource where nothing is: LOCK. No token opens a lock that it
// conflicts with (RFC 4918 §9.10.5).
func Locking(lock tree.Lock) Change { return Change{lock.Root, changeLocking, lock} }

// Mapping is a change of what a name stands for, with everything below it: DELETE, both ends of a MOVE, and the
// Destination of a COPY.
func Mapping(name string) Change { return Change{name: name, kind: changeMapping} }

// unlocked returns a [tree.LockedError] where a lock is in the way of a change and its token was not submitted. A token
// opens nothing but what its lock covers. An error of the View is returned as it is.
func (c *Conditions) unlocked(v tree.View, changes []Change) error {
	for _, change := range changes {
		if err := c.unlockedFor(v, change); err != nil {
			return err
		}
	}
	return nil
}

func (c *Conditions) unlockedFor(v tree.View, change Change) error {
	name := change.name
	if change.kind == changeMapping {
		// RFC 4918 §9.6.1 and §9.9: a lock anywhere below is in the way of a change of the whole.
		locks, err := v.Locks(name)
		if err == nil {
			err = c.opens(locks, name)
		}
		if err != nil {
			return err
		}
		return c.opensMembership(v, name)
	}

	s, err := v.State(name)
	if err != nil {
		return err
	}
	if change.kind == changeLocking {
		if err := without(v, change.lock); err != nil || s.Exists {
			return err
		}
	}
	if err := c.opensCovering(v, name); err != nil {
		return err
	}
	if s.Exists {
		return nil
	}
	return c.opensMembership(v, name)
}

// without returns a [tree.LockedError] where a lock is held that another one conflicts with.
func without(v tree.View, lock tree.Lock) error {
	locks, err := v.Locks(lock.Root)
	if err != nil {
		return err
	}
	for _, held := range locks {
		if held.Conflicts(lock) {
			return &tree.LockedError{Name: lock.Root, Lock: held}
		}
	}
	return nil
}

// opensMembership asks for the locks of the collection that name is or becomes a member of. RFC 4918 §7.4: a lock on a
// collection, of any depth, protects which members it has, and not what is in a member that stays.
func (c *Conditions) opensMembership(v tree.View, name string) error {
	if name == "" {
		return nil
	}
	parent, _ := tree.Split(name)
	return c.opensCovering(v, parent)
}

// opensCovering reports whether the submitted tokens open all locks that cover a name.
func (c *Conditions) opensCovering(v tree.View, name string) error {
	locks, err := tree.Covering(v, name)
	if err != nil {
		return err
	}
	return c.opens(locks, name)
}

// opens reports whether the submitted tokens open all these locks, which are in the way of a change of a name.
func (c *Conditions) opens(locks []tree.Lock, name string) error {
	held := shared{}
	for _, l := range locks {
		if l.Shared && c.opened(l) {
			held[l.Root] = held[l.Root] || l.Infinite
		}
	}
	for _, l := range locks {
		if c.opened(l) {
			continue
		}
		affected := name
		if tree.Below(l.Root, name) {
			affected = l.Root
		}
		// RFC 4918 §6.2: those who share a lock have agreed on how to work together, so the token of one of them is
		// enough; nobody could hold all of them.
		if l.Shared && held.cover(affected) {
			continue
		}
		return &tree.LockedError{Name: affected, Lock: l}
	}
	return nil
}

// shared are the roots of the shared locks whose tokens were submitted, and whether one of them is infinite. Asked by
// walking up, so that many locks and many tokens do not multiply.
type shared map[string]bool

func (held shared) cover(name string) bool {
	if _, ok := held[name]; ok {
		return true
	}
	for name != "" {
		if name, _ = tree.Split(name); held[name] {
			return true
		}
	}
	return false
}

// collectTokens notes the submitted tokens. RFC 4918 §10.4.1: "the mere fact that a state token appears in an If header
// means that it has been submitted", in a list that is false, about another resource, or behind a "Not". Microsoft
// Office sends its token in Lock-Token alone.
func (c *Conditions) collectTokens(lockTokens []string) {
	for _, r := range c.ifLists {
		for _, l := range r.lists {
			for _, t := range l {
				c.submit(t.token)
			}
		}
	}
	for _, line := range lockTokens {
		// Windows and the npm client leave the brackets out.
		token := strings.TrimSuffix(strings.TrimPrefix(strings.TrimSpace(line), "<"), ">")
		if c.lockToken == "" {
			c.lockToken = token
		}
		c.submit(token)
	}
}

func (c *Conditions) submit(token string) {
	if token == "" || token == noLock || c.submitted[token] {
		return
	}
	if c.submitted == nil {
		c.submitted = map[string]bool{}
	}
	c.submitted[token] = true
	c.tokens = append(c.tokens, token)
}

// Tokens returns the submitted tokens, each once: those of If in their order, then those of Lock-Token. The caller must
// not change the slice.
func (c *Conditions) Tokens() []string { return c.tokens }

// LockToken returns the token of the Lock-Token header, for UNLOCK; "" where there is none.
func (c *Conditions) LockToken() string { return c.lockToken }
