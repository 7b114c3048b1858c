package handler

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"

	"ifmatch/auth"
	"ifmatch/handler/davxml"
	"ifmatch/handler/synctoken"
	"ifmatch/tree"
)

// maxReported bounds the resources in the answer to a report about changes. The rest comes with the next token.
const maxReported = 10_000

var (
	errOtherReport = &statusError{status: http.StatusForbidden, condition: "supported-report",
		detail: "the only report is DAV:sync-collection, of a collection to which no link leads"}
	errSyncToken = &statusError{status: http.StatusForbidden, condition: "valid-sync-token",
		detail: "the sync token is not known any more, or is of another user or other rules; list again, without a token"}
	errMatches = &statusError{status: http.StatusInsufficientStorage, condition: "number-of-matches-within-limits",
		detail: "more members are to be told at once than DAV:nresults or --depth-infinity allow; send no limit, or " +
			"sync-level 1"}
)

// report answers REPORT with the members of a collection that have changed since a sync token (RFC 6578).
func (s *server) report(w http.ResponseWriter, r *request) error {
	if s.feed == nil {
		return s.notAllowed(r, "this server keeps no changes that could be reported")
	}
	if _, err := depthOf(r.Header, depthZero); err != nil { // RFC 6578 §3.2
		return err
	}
	check := r.condition(func(v tree.View) error {
		self, err := r.found(v)
		if err == nil {
			err = r.opens(&self)
		}
		if err != nil {
			return r.hidden(r.name, err)
		}
		if !self.Collection || self.Link || self.Through || self.Resolved != nil {
			return errOtherReport
		}
		return r.cond.IfOnly(v)
	})
	if err := s.courtesy(r, check); err != nil {
		return err
	}
	wanted, known, err := davxml.ReadReport(r.Body)
	if err != nil {
		return err
	}
	if !known {
		return errOtherReport
	}
	if w, err = s.takeTurn(w, r, s.Pools.Listings); err != nil {
		return err
	}
	// What changes from now on is told with the next token, even if this answer shows it already.
	end, err := s.feed.Now(r.Context())
	if err != nil {
		return err
	}
	props := davxml.Propfind{Props: wanted.Props}
	l := &syncResponse{propfindResponse: propfindResponse{
		propertyRenderer: newPropertyRenderer(r.Context(), s, props), r: r, w: w,
	}, wanted: wanted, end: end, names: map[string]bool{}}
	l.asked, l.propertyRenderer.r = r.name, r
	if err = l.answer(check); err != nil && l.out != nil {
		cutOff(w, err) // the status has been sent: only a cut connection tells that the answer is incomplete
	}
	return err
}

// A syncResponse is the answer to a DAV:sync-collection in progress.
type syncResponse struct {
	propfindResponse
	wanted davxml.SyncCollection
	end    tree.Cursor // the position of the answer

	names   map[string]bool // the resources to be shown
	created map[string]bool // those of them that were not there at the token
	partial bool            // there are more changes
}

func (l *syncResponse) limit() int { return cmp.Or(l.wanted.Limit, maxReported) }

func (l *syncResponse) answer(check tree.Condition) error {
	if l.wanted.Token == "" {
		if err := l.listAll(check); err != nil {
			return err
		}
	} else if err := l.listChanges(); err != nil {
		return err
	}
	l.begin()
	if l.partial { // RFC 6578 §3.6
		err := l.out.Status(l.href(l.r.asked, true), http.StatusInsufficientStorage, "number-of-matches-within-limits")
		if err != nil {
			return err
		}
	}
	if err := l.out.SyncToken(synctoken.New(l.end, l.r.binding())); err != nil {
		return err
	}
	return l.close()
}

// depth returns the depth of a listing (RFC 6578 §6.3).
func (l *syncResponse) depth() int {
	if l.wanted.Infinite {
		return -1
	}
	return 1
}

// listAll shows all members: the client has no token yet. The listing may have as many as one by PROPFIND.
func (l *syncResponse) listAll(check tree.Condition) error {
	opts := tree.ListOptions{Want: l.want, TagDeadline: l.r.tagDeadline, Show: l.r.showsMember(), Depth: l.depth(),
		Limit: l.wanted.Limit, Follow: l.r.follows}
	if l.wanted.Infinite && l.MaxInfinite < 0 {
		return errMatches
	}
	if l.wanted.Infinite && (opts.Limit == 0 || opts.Limit > l.MaxInfinite) {
		opts.Limit = l.MaxInfinite
	}
	for state, err := range l.Store.List(l.ctx, l.r.name, opts, check) {
		shown := l.r.shows(&state)
		switch {
		case errors.Is(err, tree.ErrTooMany):
			return errMatches
		case err != nil && state.Name == "":
			return l.r.hidden(l.r.name, err)
		case !shown && state.Name == l.r.name:
			return tree.ErrNotExist
		case !shown || state.Name == l.r.name: // the report is about members (RFC 6578 §3.4)
		case err != nil:
			err = l.refuse(state, err)
		default:
			err = l.show(state)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// listChanges shows the members that have changed since the token.
func (l *syncResponse) listChanges() error {
	since, ok := synctoken.Cursor(l.wanted.Token, l.r.binding())
	if !ok {
		return errSyncToken
	}
	if err := l.collect(since); err != nil {
		return err
	}
	names := make([]string, 0, len(l.names))
	for name := range l.names {
		names = append(names, name)
	}
	slices.Sort(names) // a collection comes before its members
	for _, name := range names {
		if err := l.showOne(name); err != nil {
			return err
		}
	}
	return nil
}

// collect finds the members that have changed, up to the limit.
func (l *syncResponse) collect(since tree.Cursor) error {
	if since == l.end {
		return nil
	}
	l.created = map[string]bool{}
	last := since
	for c, err := range l.feed.Changes(l.ctx, since, l.end) {
		if errors.Is(err, tree.ErrNotExist) {
			return errSyncToken
		}
		if err != nil {
			return err
		}
		more, err := l.concerned(c)
		if err != nil {
			return err
		}
		if len(l.names)+len(more) > l.limit() {
			if last == since {
				return errMatches
			}
			l.partial, l.end = true, last
			return nil
		}
		for _, name := range more {
			l.names[name] = true
		}
		last = c.Cursor
	}
	return nil
}

// concerned returns the members that a change concerns and that are not to be shown yet. It fails with errSyncToken if
// the change may have taken away members whose names are not known.
func (l *syncResponse) concerned(c tree.Change) (more []string, err error) {
	if !c.Concerns(l.r.name, strings.EqualFold) {
		return nil, nil
	}
	if !c.Concerns(l.r.name, nil) {
		return nil, l.respelled(c)
	}
	add := func(name string) {
		if !l.names[name] && !slices.Contains(more, name) {
			more = append(more, name)
		}
	}
	for _, name := range []string{c.From, c.Name} {
		switch {
		case name == "" && c.From == "" && c.Name != "":
		case !tree.Below(name, l.r.name):
			if c.Deep() && (l.r.name == name || tree.Below(l.r.name, name)) {
				return nil, errSyncToken // the collection itself has come, or members of it have, that nobody can name
			}
		case !l.wanted.Infinite && strings.Contains(l.below(name), "/"), !l.r.seen(name):
		case c.Again && l.wanted.Infinite:
			return nil, errSyncToken
		default:
			if c.Created && name == c.Name && !l.names[name] {
				l.created[name] = true
			}
			add(name)
			below, err := l.brought(c, name)
			if err != nil {
				return nil, err
			}
			for _, name := range below {
				add(name)
			}
		}
	}
	return more, nil
}

// respelled fails with errSyncToken if the store takes a name of a change for one in the collection that is spelled
// otherwise.
func (l *syncResponse) respelled(c tree.Change) error {
	same := false
	err := l.Store.Try(l.ctx, tree.Condition{Check: func(v tree.View) error {
		same = c.Concerns(l.r.name, func(a, b string) bool { return tree.SameName(v, a, b) })
		return nil
	}})
	if err == nil && same {
		err = errSyncToken
	}
	return err
}

// below returns the rest of the name of a member.
func (l *syncResponse) below(name string) string {
	return strings.TrimPrefix(name[len(l.r.name):], "/")
}

// brought returns the members below a name that a change has brought there as a whole. It fails with errSyncToken if
// others may have been there, at the token, which the client has and nobody can name.
func (l *syncResponse) brought(c tree.Change, name string) (names []string, err error) {
	if !l.wanted.Infinite || !c.Deep() {
		return nil, nil
	}
	s, err := l.Store.Stat(l.ctx, name, l.r.reading(0))
	if err != nil || !s.Collection || s.Link {
		return nil, nil // the client removes what it has below the name with the name
	}
	if !l.isNew(name) {
		return nil, errSyncToken
	}
	opts := tree.ListOptions{Depth: -1, Limit: l.limit(), Show: l.r.showsMember(), Follow: l.r.follows}
	for s, err := range l.Store.List(l.ctx, name, opts, tree.Condition{}) {
		switch {
		case errors.Is(err, tree.ErrTooMany):
			return nil, errSyncToken
		case errors.Is(err, tree.ErrNotExist):
			return names, nil
		case err != nil && s.Name == "":
			return nil, err
		case s.Name != name:
			names = append(names, s.Name)
		}
	}
	return names, nil
}

// isNew reports whether the client can have nothing at a name or below it, because the name, or a collection above it,
// was not there at the token.
func (l *syncResponse) isNew(name string) bool {
	for ; tree.Below(name, l.r.name); name, _ = tree.Split(name) {
		if l.created[name] {
			return true
		}
	}
	return false
}

// showOne shows a member as it is now, or that it is gone.
func (l *syncResponse) showOne(name string) error {
	if !l.r.seen(name) {
		return nil
	}
	state, err := l.Store.Stat(l.ctx, name, l.r.reading(l.want))
	state.Name = name
	switch {
	case err == nil && l.r.shows(&state):
		return l.show(state)
	case err != nil && !errors.Is(err, tree.ErrNotExist) && !errors.Is(err, tree.ErrNotServed):
		return l.refuse(state, err)
	case !l.r.may(name, auth.List):
		return nil // it was not told of before
	}
	l.begin()
	return l.out.Status(l.hrefOf(tree.State{Name: name}), http.StatusNotFound, "") // RFC 6578 §3.5.2
}

// binding is what the sync tokens of a request are bound to.
func (r *request) binding() string {
	if r.bound == "" {
		access := r.who.Access
		r.bound = r.who.rules.Generation(&access)
	}
	return r.bound
}

// cursorOf returns the cursor of a sync token in If, see [precondition.Sight]. The principal must see all that the
// condition is about, because it tells whether something has changed.
func (r *request) cursorOf(token, name string) (c tree.Cursor, is bool) {
	if !synctoken.Is(token) {
		return "", false
	}
	c, ok := synctoken.Cursor(token, r.binding())
	if !ok || !r.who.Subtree(name).Has(auth.List) {
		return "", true
	}
	return c, true
}

// syncToken returns the sync token of a collection (RFC 6578 §4). It is new after each change of the tree, also one
// elsewhere.
func (t *propertyRenderer) syncToken(s *tree.State) (token string, ok bool) {
	if t.feed == nil || !s.Collection || s.Link || s.Resolved != nil || t.r == nil {
		return "", false
	}
	if t.token == "" {
		ctx, cancel := context.WithTimeout(t.ctx, courtesyTime)
		defer cancel()
		now, err := t.feed.Now(ctx)
		if err != nil {
			return "", false
		}
		t.token = string(davxml.AppendText(nil, synctoken.New(now, t.r.binding())))
	}
	return t.token, true
}
