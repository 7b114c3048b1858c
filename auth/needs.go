package auth

import (
	"fmt"
	"math/bits"
	"slices"
	"strings"
)

// Effects is a set of rights on a name, which a rule grants. The zero value grants nothing.
type Effects uint16

// The effects.
const (
	List    Effects = 1 << iota // learn that the name exists, its size, its dates, and the members of a collection
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
	// ReadOnly are the effects that --anonymous read grants.
	ReadOnly = List | Read
	// ReadWrite are the effects that --anonymous write grants where there are users: none on their locks, nor on
	// versions that they have removed.
	ReadWrite = ReadOnly | Create | Replace | Remove | Props | Lock
)

// effectNames are the names of the effects in a rule, in the order of their bits.
var effectNames = [...]string{"list", "read", "create", "replace", "remove", "props", "lock", "unlock", "history"}

// Has reports whether all of the wanted effects are in the set.
func (e Effects) Has(wanted Effects) bool { return e&wanted == wanted }

// String writes the set as [ParseEffects] reads it, with commas, or "none" for the empty set.
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

// ParseEffects reads names of effects, where "all" stands for all of them. The error quotes the name that is not
// known.
func ParseEffects(names []string) (Effects, error) {
	var e Effects
	for _, name := range names {
		switch i := slices.Index(effectNames[:], name); {
		case name == "all":
			e |= All
		case i >= 0:
			e |= 1 << i
		default:
			return None, fmt.Errorf("there is no effect %q: use %s, or all", name, strings.Join(effectNames[:], ", "))
		}
	}
	return e, nil
}

// A Verb is the kind of an operation.
type Verb string

// The verbs: methods of HTTP and WebDAV, and operations on the history.
const (
	VerbOptions   Verb = "OPTIONS"
	VerbGet       Verb = "GET"
	VerbHead      Verb = "HEAD"
	VerbPropfind  Verb = "PROPFIND"
	VerbPut       Verb = "PUT"
	VerbMkcol     Verb = "MKCOL"
	VerbCopy      Verb = "COPY"
	VerbMove      Verb = "MOVE"
	VerbDelete    Verb = "DELETE"
	VerbProppatch Verb = "PROPPATCH"
	VerbLock      Verb = "LOCK"
	VerbUnlock    Verb = "UNLOCK"
	VerbVersions  Verb = "versions" // list old versions of a name, or read one
	VerbRestore   Verb = "restore"  // make an old version the current one
)

// Reads reports whether the verb changes nothing.
func (v Verb) Reads() bool {
	switch v {
	case VerbOptions, VerbGet, VerbHead, VerbPropfind, VerbVersions:
		return true
	}
	return false
}

// An Operation is one request as far as effects are concerned. Names are below the served root, as in package tree.
type Operation struct {
	Verb Verb
	// Name is the name that the Request-URI stands for. For an old version it is the name that the version had then.
	Name string
	// To is the Destination of COPY and MOVE. For an old version it is the name by which the version is asked for.
	To string
	// Shallow: only the resource, and nothing below it (Depth: 0).
	Shallow bool
}

// Before returns the needs that do not depend on what is there. They are decided before the store is asked, on the
// names as asked. They are decided again inside the commit, with the needs that [Operation.Inside] adds, on the names
// that the disk resolves them to.
//
// PROPFIND and OPTIONS need nothing here: see [Access.See]. UNLOCK neither: see [Access.MayUnlock]. COPY and MOVE need
// [List] of the source, because the destination may be listed, and would show the names of all members.
func (o Operation) Before() []Need {
	deep := !o.Shallow
	switch o.Verb {
	case VerbGet, VerbHead:
		return []Need{{Name: o.Name, Effects: Read}}
	case VerbPut:
		return []Need{{Name: o.Name, AnyOf: Create | Replace}}
	case VerbMkcol:
		return []Need{{Name: o.Name, Effects: Create}}
	case VerbCopy:
		return []Need{{Name: o.Name, Effects: List | Read, Subtree: deep}, {Name: o.To, Effects: Create, Subtree: deep}}
	case VerbMove:
		return []Need{{Name: o.Name, Effects: List | Read | Remove, Subtree: true},
			{Name: o.To, Effects: Create, Subtree: true}}
	case VerbDelete:
		return []Need{{Name: o.Name, Effects: Remove, Subtree: true}}
	case VerbProppatch:
		return []Need{{Name: o.Name, Effects: Props}}
	case VerbLock:
		return []Need{{Name: o.Name, Effects: Lock, Subtree: deep}}
	case VerbVersions:
		return both(o, Need{Effects: History | Read, Subtree: deep})
	case VerbRestore:
		return append(both(o, Need{Effects: History | Read, Subtree: deep}), Need{Name: o.To, AnyOf: Create | Replace})
	}
	return nil
}

// both asks for the same on the name of then and on the name as asked.
func both(o Operation, need Need) []Need {
	then, asked := need, need
	then.Name, asked.Name = o.Name, o.To
	if then == asked {
		return []Need{then}
	}
	return []Need{then, asked}
}

// A Found is the state of the target of a write, as the commit finds it. Of COPY, MOVE and Restore the target is To.
type Found struct {
	Exists     bool
	Collection bool
	// Brings: the source is a collection, whose members are created too (COPY, MOVE, Restore).
	Brings bool
}

// Inside returns the needs beside [Operation.Before] that follow from the state of the target.
func (o Operation) Inside(found Found) []Need {
	target := o.Name
	switch o.Verb {
	case VerbCopy, VerbMove, VerbRestore:
		target = o.To
	case VerbPut, VerbLock:
	default:
		return nil
	}
	switch {
	case o.Verb == VerbLock && found.Exists, o.Verb == VerbPut && found.Collection: // the second is 405
		return nil
	case !found.Exists:
		return []Need{{Name: target, Effects: Create, Subtree: found.Brings && !o.Shallow}}
	case found.Collection:
		return []Need{{Name: target, Effects: Remove, Subtree: true},
			{Name: target, Effects: Create, Subtree: found.Brings && !o.Shallow}}
	case o.Verb == VerbRestore && found.Brings:
		return []Need{{Name: target, Effects: Create | Replace, Subtree: true}}
	}
	return []Need{{Name: target, Effects: Replace}}
}

// A Refusal is the answer to a write that the state of its target forbids.
type Refusal uint8

// The refusals.
const (
	NotRefused Refusal = iota
	Denied             // 403
	Taken              // 412 without validators: the principal may create there, and not know the resource that is there
)

// Within answers for a write inside the commit. A principal that may create a name, and neither see nor replace the
// resource that has it, is told that the name is taken, as by "If-None-Match: *". Creating tells that much anyway.
func (a *Access) Within(o Operation, found Found) Refusal {
	if o.Verb == VerbPut && found.Collection && !a.Seen(o.Name) {
		return Taken // and not that a collection is there (405)
	}
	for _, need := range o.Inside(found) {
		if a.Has(need) {
			continue
		}
		if found.Exists && !a.Seen(need.Name) && a.Effects(need.Name).Has(Create) {
			return Taken
		}
		return Denied
	}
	return NotRefused
}

// MayUnlock reports whether a principal may end a lock that taker has taken ("" for anonymous), and be shown its
// token: its own one, one that is anonymous, or any where [Unlock] is granted on the root of the lock.
func (a *Access) MayUnlock(taker, root string) bool {
	return a.Holds(taker) || a.Effects(root).Has(Unlock)
}

// Holds reports whether a token of a lock counts from this principal (RFC 4918 §6.4): it has taken the lock, or the
// lock is anonymous. An app token takes locks for its user.
func (a *Access) Holds(taker string) bool { return taker == "" || taker == a.who.Name }

// Methods returns the methods that can succeed on a name, as far as the rules decide that. They are in the Allow
// header for this principal.
func (a *Access) Methods(name string) []Verb {
	allowed := []Verb{VerbOptions}
	e, below := a.Effects(name), a.Subtree(name)
	add := func(ok bool, verbs ...Verb) {
		if ok {
			allowed = append(allowed, verbs...)
		}
	}
	add(e.Has(Read), VerbGet, VerbHead)
	add(a.Seen(name), VerbPropfind)
	add(e&(Create|Replace) != None, VerbPut)
	add(e.Has(Create), VerbMkcol)
	add(below.Has(Remove), VerbDelete)
	add(e.Has(List|Read), VerbCopy)
	add(below.Has(List|Read|Remove), VerbMove)
	add(e.Has(Props), VerbProppatch)
	add(e.Has(Lock), VerbLock)
	add(a.who.Anonymous() || e&(Lock|Unlock) != None, VerbUnlock)
	return allowed
}

// Privileges returns the names of the DAV: privileges that the effects on a name stand for (RFC 3744 §3), for
// DAV:current-user-privilege-set.
func Privileges(e Effects) []string {
	var names []string
	add := func(ok bool, name ...string) {
		if ok {
			names = append(names, name...)
		}
	}
	add(e == All, "all")
	add(e.Has(List|Read), "read")
	add(e.Has(Create|Replace|Remove|Props), "write")
	add(e.Has(Replace), "write-content")
	add(e.Has(Props), "write-properties")
	add(e.Has(Create), "bind")
	add(e.Has(Remove), "unbind")
	add(e.Has(Unlock), "unlock")
	add(e.Has(List), "read-current-user-privilege-set")
	return names
}
