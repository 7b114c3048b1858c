package precondition

import (
	"strings"

	"r-seed-1f3a754f.example/ifmatch/tree"
)

// A Change is the change that a request makes to one name, as far as write locks are concerned (RFC 4918 §7).
type Change struct {
	name string
	kind changeKind
	lock tree.Lock // with Locking
}

type changeKind uint8

const (
	changeResource changeKind = iota
	changeLocking
	changeMapping
)

// Resource is a change of the content or the properties of a resource, or the creation of one: PUT, MKCOL, PROPPATCH.
func Resource(name string) Change { return Change{name: name, kind: changeResource} }

// Locking is a LOCK, which may create a resource. No token permits a lock that conflicts with another one (RFC 4918
// §9.10.5).
func Locking(lock tree.Lock) Change { return Change{lock.Root, changeLocking, lock} }

// Mapping is a change of the resource at a name and of all names below it: DELETE, both ends of a MOVE, and the
// Destination of a COPY.
func Mapping(name string) Change { return Change{name: name, kind: changeMapping} }

// unlocked returns a [tree.LockedError] if a lock protects the name of a change and its token was not submitted. A
// token counts only for the names that its lock covers. Errors of the View are returned unchanged.
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
		// RFC 4918 §9.6.1 and §9.9: a lock on a member protects against a change of the whole collection.
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
	if err := c.opensCovering(v, name); err != nil || s.Exists {
		return err
	}
	return c.opensMembership(v, name)
}

// without returns a [tree.LockedError] if a held lock conflicts with another one.
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

// opensMembership checks the locks on the collection of a name. RFC 4918 §7.4: a lock on a collection, of any depth,
// protects the set of its members, but not the content of the members.
func (c *Conditions) opensMembership(v tree.View, name string) error {
	if name == "" {
		return nil
	}
	parent, _ := tree.Split(name)
	return c.opensCovering(v, parent)
}

// opensCovering reports whether the submitted tokens open all locks that cover a name.
func (c *Conditions) opensCovering(v tree.View, name string) error {
	locks, err := v.Covering(name)
	if err != nil {
		return err
	}
	return c.opens(locks, name)
}

// opens reports whether the submitted tokens open all of some locks that protect a name.
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
		// RFC 4918 §6.2: the holders of a shared lock coordinate among themselves. The token of one of them is
		// enough, because no client can hold all.
		if l.Shared && held.cover(affected) {
			continue
		}
		return &tree.LockedError{Name: affected, Lock: l}
	}
	return nil
}

// shared returns the roots of the shared locks whose tokens were submitted, with whether one of them has infinite
// depth. Walking up from a name to look for them keeps the work linear in the number of locks and tokens.
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

// collectTokens notes the submitted tokens. RFC 4918 §10.4.1: "the mere fact that a state token appears in an If
// header means that it has been submitted". That includes a false list, one about another resource, and a token after
// "Not". Microsoft Office sends its token only in Lock-Token.
func (c *Conditions) collectTokens(lockTokens []string) {
	for _, r := range c.ifLists {
		for _, l := range r.lists {
			for _, t := range l {
				c.submit(t.token)
			}
		}
	}
	for _, line := range lockTokens {
		// Windows and the npm client omit the angle brackets.
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

// Tokens returns the submitted tokens, each once: first those of If in their order, then those of Lock-Token. The
// caller must not change the slice.
func (c *Conditions) Tokens() []string { return c.tokens }

// LockToken returns the token of the Lock-Token header, for UNLOCK ("": none).
func (c *Conditions) LockToken() string { return c.lockToken }
