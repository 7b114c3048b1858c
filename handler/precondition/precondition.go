// Package precondition decides whether a request may go on: the conditional headers of RFC 9110 §13, the If header of
// RFC 4918 §10.4, and the lock tokens that RFC 4918 §7 asks for.
//
// It is pure. It reads header values and a [tree.View], and answers nil, [Failed], [NotModified] or
// [tree.LockedError]: no I/O, no clock, no log. The same function is asked early, as a courtesy, and again inside the
// commit, as the truth; every method of [Conditions] may run any number of times, and concurrently.
//
// Where a header is broken, the side that loses nothing is taken: a malformed If-Match is false, a malformed If is a
// [SyntaxError]. A malformed If-None-Match matches nothing, because real clients send one with every request (Joplin),
// and a malformed date is ignored, because RFC 9110 says so.
//
// A tag that is not known yet is asked for only if it decides: conditions are combined in three-valued logic, and
// [tree.ErrTagUnknown] is returned only where false and true are both still possible.
package precondition

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"ifmatch/tree"
)

// Conditions are the conditional headers of one request, parsed once.
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

	tokens    []string        // submitted, in the order sent
	submitted map[string]bool // the same as a set
	lockToken string          // of Lock-Token
}

// A Sight says what conditions may be about. The zero value is everything.
type Sight struct {
	// Hidden: in If, the resource counts as an unmapped URL, without tags, locks and tokens. It is asked about names where
	// nothing is, too.
	Hidden func(tree.State) bool
	// Foreign: the token of the lock does not count from who sends the request (RFC 4918 §6.4).
	Foreign func(tree.Lock) bool
}

// Limit sets what the conditions may be about. It is called before they are asked.
func (c *Conditions) Limit(s Sight) { c.sight = s }

// ComparesTarget reports whether a field of RFC 9110 compares a tag or a date of the Request-URI. reads: the method is GET
// or HEAD.
func (c *Conditions) ComparesTarget(reads bool) bool {
	return len(c.match.list.tags) > 0 || len(c.noneMatch.list.tags) > 0 || c.unmodified.valid || reads && c.modified.valid
}

// ComparedByIf returns the names whose tags an If header compares, each once.
func (c *Conditions) ComparedByIf() (names []string) {
	for _, r := range c.ifLists {
		if !r.known || slices.Contains(names, r.name) {
			continue
		}
		if slices.ContainsFunc(r.lists, func(l stateList) bool {
			return slices.ContainsFunc(l, func(t term) bool { return t.token == "" })
		}) {
			names = append(names, r.name)
		}
	}
	return names
}

// opened reports whether the token of a lock was submitted, by who may.
func (c *Conditions) opened(l tree.Lock) bool {
	return c.submitted[l.Token] && (c.sight.Foreign == nil || !c.sight.Foreign(l))
}

// NamesVersion reports whether the conditions of a write rest on which version of a resource is there, and not only on
// that there is one, or on locks.
func (c *Conditions) NamesVersion() bool {
	if c.match.sent && !c.match.list.any || c.unmodified.valid || c.noneMatch.sent && !c.noneMatch.list.any {
		return true
	}
	for _, r := range c.ifLists {
		for _, list := range r.lists {
			for _, t := range list {
				if t.token == "" {
					return true
				}
			}
		}
	}
	return false
}

// Names returns the names, besides the Request-URI's, of the resources in If, each once.
func (c *Conditions) Names() (names []string) {
	for _, r := range c.ifLists {
		hidden := c.sight.Hidden != nil && c.sight.Hidden(tree.State{Name: r.name})
		if r.known && r.name != c.target && !hidden && !slices.Contains(names, r.name) {
			names = append(names, r.name)
		}
	}
	return names
}

// A Failed error reports a condition that is not true (412). Nothing may change then.
type Failed struct {
	Header string     // the header that failed, such as "If-Match"
	Want   string     // its value as sent; several lines joined as RFC 9110 §5.3 does
	Name   string     // the resource it is not true of
	Have   tree.State // what that resource is now

	// Malformed: Header is not what the RFC says it is, and so is true of nothing.
	Malformed bool
	// Foreign is the first resource tag of If that is not of this tree, as sent: a list about it is never true. "" where
	// there is none.
	Foreign string

	tags []etag // those that Header names
}

func (e *Failed) Error() string {
	return fmt.Sprintf("%s: %s is not true of %q", e.Header, e.Want, e.Name)
}

// NamesTag reports whether the header says anything of tags. An If can be about nothing but locks.
func (e *Failed) NamesTag() bool { return len(e.tags) > 0 }

// Mangled reports whether the header would be true of a version, were it not for what a proxy seems to have done to its
// tag: see [Loose].
func (e *Failed) Mangled(have tree.State) bool {
	return slices.ContainsFunc(e.tags, func(t etag) bool {
		return Strict.strong(t, have) == tree.False && Loose.strong(t, have) == tree.True
	})
}

// A NotModified error reports that a GET or HEAD would answer what the client already has (304).
type NotModified struct {
	Have tree.State
}

func (e *NotModified) Error() string { return fmt.Sprintf("%q is not modified", e.Have.Name) }

// Parse reads If-Match, If-None-Match, If-Unmodified-Since, If-Modified-Since, If and Lock-Token. Its only error is a
// [SyntaxError] of a malformed If.
//
// target is the tree name of the Request-URI. resolve gives the tree name of the URI reference of a tagged list (an
// absolute URI or an absolute path); it says false where that is on another server or outside the tree, and then every
// list about it is false. matching is about the tags of all headers. now is when the request came, which tells the
// century of a date that does not.
func Parse(h http.Header, now time.Time, target string, resolve func(ref string) (name string, ok bool), matching Matching) (*Conditions, error) {
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
	c.collectTokens(h.Values("Lock-Token"))
	return c, nil
}

// Conditional reports whether the request asks something of what is there before it changes it. What is ignored, such as
// a malformed date, does not count; nor does an If-None-Match that matches nothing.
func (c *Conditions) Conditional() bool {
	return c.ifField.sent || c.aboutTarget()
}

// IsUnconditional reports whether the request has none of the headers that [Parse] reads, but for locks.
func (c *Conditions) IsUnconditional() bool {
	return !c.ifField.sent && !c.match.sent && !c.unmodified.sent && !c.noneMatch.sent && !c.modified.sent
}

// aboutTarget reports whether one of the headers that are about the Request-URI alone asks something.
func (c *Conditions) aboutTarget() bool {
	return c.match.sent || c.unmodified.valid || c.noneMatch.list.any || len(c.noneMatch.list.tags) > 0
}

// Read decides a GET or HEAD in the order of RFC 9110 §13.2.2: nil, [Failed], [NotModified], or [tree.ErrTagUnknown].
// An error of the View is returned as it is.
func (c *Conditions) Read(v tree.View) error {
	m := c.look(v)
	if err := all(m, c.checkIf, c.checkMatch); err != nil {
		return err
	}
	return c.checkModified(m)
}

// Guard decides the part of [Conditions.Read] that can only fail: If, If-Match and If-Unmodified-Since. When a tag
// cannot be had in time, these have to wait for it, while If-None-Match may be answered with the whole content.
func (c *Conditions) Guard(v tree.View) error {
	return all(c.look(v), c.checkIf, c.checkMatch)
}

// Write decides every other method that takes conditions, with what it would change: nil, [Failed], [tree.LockedError], or
// [tree.ErrTagUnknown]. An error of the View is returned as it is. There is no other way to ask for one of the three that it
// asks, so that no method has another order:
//
//  1. If. RFC 4918 §10.4.1 makes the whole request conditional on it.
//  2. The locks whose tokens were not submitted. RFC 9110 §13.2.1 has what follows ignored where the answer without it would
//     be neither a success nor 412.
//  3. The fields of RFC 9110, in the order of its §13.2.2.
func (c *Conditions) Write(v tree.View, changes ...Change) error {
	m := c.look(v)
	undecided := c.checkIf(m)
	if undecided != nil && !errors.Is(undecided, tree.ErrTagUnknown) {
		return undecided
	}
	if err := c.unlocked(v, changes); err != nil {
		return cmp.Or(undecided, err) // which of the two it is, the tag says
	}
	if err := all(m, c.checkMatch, c.checkNoneMatch); err != nil {
		return err
	}
	return undecided
}

// IfOnly decides the methods for which only the If header counts (PROPFIND, OPTIONS, UNLOCK): RFC 9110 §13.2.1 has
// the other conditions ignored where a method does not select or modify a representation.
func (c *Conditions) IfOnly(v tree.View) error {
	return c.checkIf(c.look(v))
}

// look begins an evaluation.
func (c *Conditions) look(v tree.View) *memo {
	return &memo{view: v, matching: c.matching, sight: &c.sight}
}

// all returns the first failure. A check that cannot decide without a tag does not end it: when a later one is false
// whatever the tag is, nothing needs to be hashed to refuse.
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

// checkIf evaluates the If header. It comes before the others: RFC 4918 §10.4.1 makes the whole request conditional on
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
		is, err := r.holds(m)
		if err != nil {
			return err
		}
		if is == tree.True { // RFC 4918 §10.4.3: the production is true if at least one of its lists is, of any resource
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
	switch {
	case c.match.sent:
		s, err := m.State(c.target)
		if err != nil {
			return err
		}
		err = c.verdict(m, c.match.list.matches(s, c.matching.strong), c.match.field, c.target, c.match.list.tags...)
		if failed := new(Failed); errors.As(err, &failed) {
			failed.Malformed = c.match.malformed
		}
		return err

	case c.unmodified.valid: // §13.1.4: ignored beside If-Match, which also holds for a malformed one
		s, err := m.State(c.target)
		if err != nil {
			return err
		}
		return c.verdict(m, unmodifiedSince(s, c.unmodified.time), c.unmodified.field, c.target)
	}
	return nil
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

// verdict turns the truth of a header into the answer. Its value has been decided with what m has seen of name.
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
		// The RFC has the header ignored where no modification date is available, and means resources that have
		// none. Here the version the client saw was deleted; ignoring it would undo that delete unseen.
		return tree.False
	case !dated(s) && !s.Collection:
		return tree.True
	}
	return s.ProvenBy(date)
}

// dated reports whether there is a modification date.
func dated(s tree.State) bool { return !s.Modified.IsZero() }

// RangeApplies evaluates If-Range (RFC 9110 §13.1.5) for a request that has a Range: true when there is none, or when
// its validator is that of s. It never waits for a tag: without one the answer is the whole content, which is right.
//
// A tag that a proxy has changed is of an encoded representation, whose bytes are not to be mixed with ours. So the
// comparison is strict whoever asks.
func RangeApplies(h http.Header, s tree.State) bool {
	f := readField(h, "If-Range")
	if !f.sent {
		return true
	}
	if t, rest, ok := cutETag(f.value); ok {
		return rest == "" && Strict.strong(t, s) == tree.True
	}
	date, err := http.ParseTime(f.value)
	// "exactly matches the Last-Modified validator", and that is a strong one: a later date does not do here.
	return err == nil && s.Exists && dated(s) && s.Modified.Unix() == date.Unix() && s.ProvenBy(date) == tree.True
}

// A field is a header as it was sent.
type field struct {
	name  string
	value string // several lines joined as RFC 9110 §5.3 says
	sent  bool
}

func readField(h http.Header, name string) field {
	lines := h.Values(name)
	return field{name: name, value: strings.Join(lines, ", "), sent: len(lines) > 0}
}

// An etagField is If-Match or If-None-Match. A malformed one, or one that lists nothing, has an empty list, which matches nothing: If-Match is then
// false, and If-None-Match true.
type etagField struct {
	field
	list      etagList
	malformed bool
}

func readETags(h http.Header, name string) etagField {
	f := etagField{field: readField(h, name)}
	list, ok := parseETagList(f.value)
	f.list, f.malformed = list, !ok || !list.any && len(list.tags) == 0
	return f
}

// readNoneMatch takes a "*" for what it says, whatever stands in other lines: who sends one does not mean to replace
// anything.
func readNoneMatch(h http.Header) etagField {
	f := readETags(h, "If-None-Match")
	for _, line := range h.Values("If-None-Match") {
		f.list.any = f.list.any || strings.Trim(line, " \t") == "*"
	}
	return f
}

// A dateField is If-Unmodified-Since or If-Modified-Since. RFC 9110 §13.1.3 and §13.1.4: it is ignored unless valid.
// Two lines joined are no date.
type dateField struct {
	field
	time  time.Time
	valid bool
}

func readDate(h http.Header, name string, now time.Time) dateField {
	f := dateField{field: readField(h, name)}
	if !f.sent {
		return f
	}
	date, err := http.ParseTime(f.value) // the three forms of RFC 9110 §5.6.7
	f.time, f.valid = date, err == nil
	if _, err := time.Parse(time.RFC850, f.value); err == nil {
		f.time = inCentury(date, now)
	}
	return f
}

// inCentury moves a date of two digits to the century that RFC 9110 §5.6.7 means: it is the latest year that is not more
// than 50 years in the future. Package time has a fixed one, from 1969 to 2068.
func inCentury(date, now time.Time) time.Time {
	for !date.AddDate(100, 0, 0).After(now.AddDate(50, 0, 0)) {
		date = date.AddDate(100, 0, 0)
	}
	for date.After(now.AddDate(50, 0, 0)) {
		date = date.AddDate(-100, 0, 0)
	}
	return date
}
