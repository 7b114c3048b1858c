// Package precondition decides whether a request may go on, by the conditional headers of RFC 9110 §13, the If header
// of RFC 4918 §10.4, and the lock tokens of RFC 4918 §7.
//
// It is pure: it reads header values and a [tree.View], and returns nil, [Failed], [NotModified] or
// [tree.LockedError]. It does no I/O, reads no clock and writes no log. A handler evaluates the conditions early, as
// a courtesy, and a store evaluates them again inside the commit. So every method of [Conditions] may be called any
// number of times, also concurrently.
//
// A malformed header never loses an update. A malformed If-Match is false, and a malformed If is a [SyntaxError]. A
// malformed If-None-Match matches nothing, because a real client sends one with every request (Joplin). A malformed
// date is ignored, as RFC 9110 demands.
//
// A tag that is not known yet is needed only if it decides. Conditions are combined in three-valued logic, and the
// result is [tree.ErrTagUnknown] only if both false and true are still possible.
package precondition

import (
	"cmp"
	"errors"
	"net/http"
	"slices"
	"time"

	"r-seed-1f3a754f.example/ifmatch/tree"
)

// Conditions are the conditional headers of one request.
type Conditions struct {
	target   string // the tree name of the Request-URI
	matching Matching

	match      etagField // If-Match
	unmodified dateField // If-Unmodified-Since
	noneMatch  etagField // If-None-Match
	modified   dateField // If-Modified-Since
	ifField    field     // If
	ifLists    []resourceLists

	sight Sight

	tokens    []string        // submitted tokens in their order
	submitted map[string]bool // the same tokens as a set
	lockToken string          // of Lock-Token
}

// A Sight limits the resources and locks that conditions may be about. The zero value permits all.
type Sight struct {
	// Hidden reports whether a resource in If counts as an unmapped URL without tags, locks and tokens. It is also
	// called with states that do not exist.
	Hidden func(tree.State) bool
	// Foreign reports whether the token of a lock does not count from this principal (RFC 4918 §6.4).
	Foreign func(tree.Lock) bool
	// Cursor returns the cursor of a sync token (RFC 6578 §5) about a name, or "" if the token is none for that
	// principal and that name. is is false for other state tokens.
	Cursor func(token, name string) (c tree.Cursor, is bool)
}

// Limit sets the sight. It must be called before the conditions are evaluated.
func (c *Conditions) Limit(s Sight) { c.sight = s }

// ComparesTarget reports whether a header of RFC 9110 compares a tag or a date of the Request-URI. reads says that
// the method is GET or HEAD.
func (c *Conditions) ComparesTarget(reads bool) bool {
	return len(c.match.list.tags) > 0 || len(c.noneMatch.list.tags) > 0 || c.unmodified.valid || reads && c.modified.valid
}

// ComparedByIf returns the names whose tags an If header compares, each once.
func (c *Conditions) ComparedByIf() (names []string) {
	for _, r := range c.ifLists {
		if r.known && !slices.Contains(names, r.name) && r.hasTag() {
			names = append(names, r.name)
		}
	}
	return names
}

// opened reports whether the token of a lock was submitted, and counts from this principal.
func (c *Conditions) opened(l tree.Lock) bool {
	return c.submitted[l.Token] && (c.sight.Foreign == nil || !c.sight.Foreign(l))
}

// NamesVersion reports whether the conditions of a write depend on the version of a resource, and not only on its
// existence or on locks.
func (c *Conditions) NamesVersion() bool {
	if c.match.sent && !c.match.list.any || c.unmodified.valid || c.noneMatch.sent && !c.noneMatch.list.any {
		return true
	}
	return slices.ContainsFunc(c.ifLists, resourceLists.hasTag)
}

// Names returns the names of the resources in If, each once, without that of the Request-URI.
func (c *Conditions) Names() (names []string) {
	for _, r := range c.ifLists {
		hidden := c.sight.Hidden != nil && c.sight.Hidden(tree.State{Name: r.name})
		if r.known && r.name != c.target && !hidden && !slices.Contains(names, r.name) {
			names = append(names, r.name)
		}
	}
	return names
}

// Parse reads If-Match, If-None-Match, If-Unmodified-Since, If-Modified-Since, If and Lock-Token. Its only error is a
// [SyntaxError] of a malformed If.
//
// target is the tree name of the Request-URI. resolve returns the tree name of the URI reference of a tagged list,
// which is an absolute URI or an absolute path. It returns false if that is on another server or outside of the tree,
// and then every list about it is false. matching applies to the tags of all headers. now is the time of the request,
// which selects the century of a date with two digits of the year.
func Parse(
	h http.Header, now time.Time, target string, resolve func(ref string) (name string, ok bool), matching Matching,
) (*Conditions, error) {
	c := &Conditions{
		target:     target,
		matching:   matching,
		match:      readETags(h, "If-Match"),
		unmodified: readDate(h, "If-Unmodified-Since", now),
		noneMatch:  readNoneMatch(h),
		modified:   readDate(h, "If-Modified-Since", now),
		ifField:    readField(h, "If"),
	}
	if c.ifField.sent {
		lists, err := parseIf(c.ifField.value)
		if err != nil {
			return nil, err
		}
		c.ifLists = resolveAll(lists, target, resolve)
	}
	c.collectTokens(h["Lock-Token"])
	return c, nil
}

// Conditional reports whether the request has a condition about the resource that it would change. Ignored headers do
// not count, such as a malformed date, or an If-None-Match that matches nothing.
func (c *Conditions) Conditional() bool {
	return c.ifField.sent || c.aboutTarget()
}

// IsUnconditional reports whether the request has none of the headers that [Parse] reads, except for Lock-Token.
func (c *Conditions) IsUnconditional() bool {
	return !c.ifField.sent && !c.match.sent && !c.unmodified.sent && !c.noneMatch.sent && !c.modified.sent
}

// aboutTarget reports whether a header that is only about the Request-URI has a condition.
func (c *Conditions) aboutTarget() bool {
	return c.match.sent || c.unmodified.valid || c.noneMatch.list.any || len(c.noneMatch.list.tags) > 0
}

// Read decides a GET or HEAD in the order of RFC 9110 §13.2.2: nil, [Failed], [NotModified], or [tree.ErrTagUnknown].
// Errors of the View are returned unchanged.
func (c *Conditions) Read(v tree.View) error {
	m := c.look(v)
	if err := all(m, c.checkIf, c.checkMatch); err != nil {
		return err
	}
	return c.checkModified(m)
}

// Guard evaluates the conditions of [Conditions.Read] that can only fail: If, If-Match and If-Unmodified-Since. If a
// tag is not known in time, these must wait for it, while the answer to an If-None-Match may be the whole content.
func (c *Conditions) Guard(v tree.View) error {
	return all(c.look(v), c.checkIf, c.checkMatch)
}

// Write decides all other methods that take conditions, with their changes: nil, [Failed], [tree.LockedError], or
// [tree.ErrTagUnknown]. Errors of the View are returned unchanged. No method can evaluate the parts in another order:
//
//  1. If. RFC 4918 §10.4.1 makes the whole request conditional on it.
//  2. The locks whose tokens were not submitted. RFC 9110 §13.2.1 says that the other conditions are ignored if the answer
//     without them would be neither a success nor 412.
//  3. The headers of RFC 9110, in the order of its §13.2.2.
func (c *Conditions) Write(v tree.View, changes ...Change) error {
	m := c.look(v)
	undecided := c.checkIf(m)
	if undecided != nil && !errors.Is(undecided, tree.ErrTagUnknown) {
		return undecided
	}
	if err := c.unlocked(v, changes); err != nil {
		return cmp.Or(undecided, err) // the tag decides which of the two it is
	}
	if err := all(m, c.checkMatch, c.checkNoneMatch); err != nil {
		return err
	}
	return undecided
}

// IfOnly decides the methods for which only the If header counts (PROPFIND, OPTIONS, UNLOCK). RFC 9110 §13.2.1 says
// that the other conditions are ignored if a method does not select or modify a representation.
func (c *Conditions) IfOnly(v tree.View) error {
	return c.checkIf(c.look(v))
}

// look begins an evaluation.
func (c *Conditions) look(v tree.View) *memo {
	m := &memo{view: v, matching: c.matching, sight: &c.sight}
	m.seen = m.first[:0]
	return m
}

// all returns the first failure. It goes on after a check that cannot decide without a tag: if a later check is false
// whatever the tag, no file needs to be hashed for the refusal.
func all(m *memo, checks ...func(*memo) error) error {
	var undecided error
	for _, check := range checks {
		err := check(m)
		switch {
		case errors.Is(err, tree.ErrTagUnknown):
			undecided = err
		case err != nil:
			return err
		}
	}
	return undecided
}

// checkIf evaluates the If header. It comes first, because RFC 4918 §10.4.1 makes the whole request conditional on
// it, and RFC 9110 §13.2.2 leaves the place of an extension to the extension.
func (c *Conditions) checkIf(m *memo) error {
	if !c.ifField.sent {
		return nil
	}
	sum, last, foreign := tree.False, c.target, ""
	for _, r := range c.ifLists {
		if !r.known {
			foreign = cmp.Or(foreign, r.tag)
			continue
		}
		is, err := r.holds(m, func(stateList) bool { return true })
		if err != nil {
			return err
		}
		if is == tree.True { // RFC 4918 §10.4.3: one true list, about any resource, is enough
			return nil
		}
		sum, last = max(sum, is), r.name
	}
	err := c.verdict(m, sum, c.ifField, last, c.tagsAbout(last)...)
	if failed := new(Failed); errors.As(err, &failed) {
		failed.Foreign = foreign
	}
	return err
}

// checkMatch is RFC 9110 §13.2.2 steps 1 and 2.
func (c *Conditions) checkMatch(m *memo) error {
	if !c.match.sent && !c.unmodified.valid {
		return nil
	}
	s, err := m.State(c.target)
	if err != nil {
		return err
	}
	if !c.match.sent { // §13.1.4: it is ignored if there is an If-Match, even a malformed one
		return c.verdict(m, unmodifiedSince(s, c.unmodified.time), c.unmodified.field, c.target)
	}
	err = c.verdict(m, c.match.list.matches(s, c.matching.strong), c.match.field, c.target, c.match.list.tags...)
	if failed := new(Failed); errors.As(err, &failed) {
		failed.Malformed = c.match.malformed
	}
	return err
}

// checkNoneMatch is RFC 9110 §13.2.2 step 3 for methods that are neither GET nor HEAD. If-Modified-Since, step 4, is
// ignored for them (§13.1.3).
func (c *Conditions) checkNoneMatch(m *memo) error {
	if !c.noneMatch.sent {
		return nil
	}
	s, err := m.State(c.target)
	if err != nil {
		return err
	}
	return c.verdict(m, c.noneMatch.list.matches(s, c.matching.weak).Not(), c.noneMatch.field, c.target)
}

// checkModified is RFC 9110 §13.2.2 steps 3 and 4 for GET and HEAD.
func (c *Conditions) checkModified(m *memo) error {
	if !c.noneMatch.sent && !c.modified.valid {
		return nil
	}
	s, err := m.State(c.target)
	if err != nil {
		return err
	}
	same := tree.False
	if c.noneMatch.sent {
		same = c.noneMatch.list.matches(s, c.matching.weak)
	} else if s.Exists && dated(s) { // §13.1.3: ignored beside If-None-Match, and without a modification date
		same = s.ProvenBy(c.modified.time)
	}
	switch same {
	case tree.True:
		return &NotModified{Have: s}
	case tree.Unknown:
		return tree.ErrTagUnknown
	}
	return nil
}

// verdict turns the value of a header into its result. m has seen the name before.
func (c *Conditions) verdict(m *memo, is tree.Truth, f field, name string, tags ...etag) error {
	switch is {
	case tree.True:
		return nil
	case tree.Unknown:
		return tree.ErrTagUnknown
	}
	s, err := m.Mapped(name)
	if err != nil {
		return err
	}
	return &Failed{Header: f.name, Want: f.value, Name: name, Have: s, tags: tags}
}

// unmodifiedSince is RFC 9110 §13.1.4.
func unmodifiedSince(s tree.State, date time.Time) tree.Truth {
	switch {
	case !s.Exists:
		// The RFC says that the header is ignored if no modification date is available, and means resources without
		// one. Here the version that the client saw was deleted. To ignore the header would undo that deletion
		// unnoticed.
		return tree.False
	case !dated(s) && !s.Collection:
		return tree.True
	}
	return s.ProvenBy(date)
}

// dated reports whether a resource has a modification date.
func dated(s tree.State) bool { return !s.Modified.IsZero() }

// RangeApplies evaluates If-Range (RFC 9110 §13.1.5) for a request with a Range: true if there is none, or if its
// validator is that of s. It never waits for a tag: if the tag is not known, the answer is the whole content, which
// is right too.
//
// A tag that a proxy has changed belongs to an encoded representation, whose bytes must not be mixed with ours. So
// the comparison is always strict.
func RangeApplies(h http.Header, s tree.State) bool {
	f := readField(h, "If-Range")
	if !f.sent {
		return true
	}
	if t, rest, ok := cutETag(f.value); ok {
		return rest == "" && Strict.strong(t, s) == tree.True
	}
	date, err := http.ParseTime(f.value)
	// "exactly matches the Last-Modified validator", which must be a strong one: a later date is not enough here.
	return err == nil && s.Exists && dated(s) && s.Modified.Unix() == date.Unix() && s.ProvenBy(date) == tree.True
}
