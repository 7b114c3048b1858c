package handler

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/webdav"

	"r-seed-1f3a754f.example/ifmatch/auth"
	"r-seed-1f3a754f.example/ifmatch/handler/accesslog"
	"r-seed-1f3a754f.example/ifmatch/handler/davxml"
	"r-seed-1f3a754f.example/ifmatch/handler/problem"
	"r-seed-1f3a754f.example/ifmatch/handler/synccollection"
	"r-seed-1f3a754f.example/ifmatch/handler/synctoken"
	"r-seed-1f3a754f.example/ifmatch/tree"
	"r-seed-1f3a754f.example/ifmatch/web"
)

// propfind answers PROPFIND. It streams the answer, and holds one member at a time.
func (s *server) propfind(w http.ResponseWriter, r *request) error {
	deep, err := depthOf(r.Header, depthZero, depthOne, depthInfinity)
	if err != nil {
		return err
	}
	check := r.condition(func(v tree.View) error {
		if _, err := r.look(v); err != nil {
			return err
		}
		return r.cond.IfOnly(v)
	})
	if err := s.courtesy(r, check); err != nil {
		return err
	}
	wanted, err := davxml.ReadPropfind(r.Body)
	if err != nil {
		return err
	}
	opts := tree.ListOptions{TagDeadline: r.tagDeadline, Show: r.showsMember(), Follow: r.follows}
	switch deep {
	case depthZero:
	case depthOne:
		opts.Depth = 1
	default: // RFC 4918 §9.1: an absent Depth means infinity
		opts.Depth, opts.Limit = -1, s.MaxInfinite
		if s.MaxInfinite < 0 {
			if self, err := s.Store.Stat(r.Context(), r.name, r.reading(0)); err != nil || self.Collection {
				return cmp.Or(err, tree.ErrTooMany)
			}
		}
	}
	if opts.Depth != 0 {
		if err := s.takeTurn(w, r, s.Pools.Listings); err != nil {
			return err
		}
	}
	l := propfindResponse{propertyRenderer: newPropertyRenderer(s, r, wanted), w: w}
	opts.Want = l.want
	if slices.Contains(l.named, liveByName[syncTokenName]) {
		// Before the listing, so that what changes meanwhile is after the token.
		l.syncToken(&tree.State{Collection: true})
	}
	if err = l.list(opts, check); err == nil {
		err = l.close()
	}
	if err != nil && l.out != nil {
		cutOff(w, err) // the status has been sent: only a cut connection tells that the answer is incomplete
	}
	return err
}

// A propfindResponse is the answer to a PROPFIND in progress.
type propfindResponse struct {
	*propertyRenderer
	w       http.ResponseWriter
	out     *davxml.Multistatus // nil: the status has not been sent
	flushed time.Time
	// the answer is about the members of the collection, and not about itself (RFC 6578 §3.4)
	membersOnly bool
}

// list writes all resources. An error before the first of them is returned for the whole answer.
func (l *propfindResponse) list(opts tree.ListOptions, cond tree.Condition) error {
	for state, err := range l.Store.List(l.r.Context(), l.r.name, opts, cond) {
		shown := l.r.shows(&state)
		switch {
		case err != nil && state.Name == "":
			return l.r.hidden(l.r.name, err)
		case !shown && state.Name == l.r.name:
			return tree.ErrNotExist
		case !shown, l.membersOnly && state.Name == l.r.name:
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

func (l *propfindResponse) show(state tree.State) error {
	l.begin()
	if err := l.out.Response(l.hrefOf(state), l.render(state)...); err != nil {
		return err
	}
	return l.flush()
}

// refuse writes the status of a resource that cannot be read.
func (l *propfindResponse) refuse(state tree.State, err error) error {
	if errors.Is(err, tree.ErrNotExist) {
		return nil // removed since its collection was read
	}
	if errors.Is(err, context.Canceled) {
		return err
	}
	status, _ := statusOf(err)
	accesslog.ExplainFailure(l.w, status, err, slog.String("member", state.Name))
	return l.out.Status(l.hrefOf(state), status, "", "")
}

// hrefOf returns the href of a resource, in the spelling of the request: some clients ignore resources with another
// prefix.
func (l *propfindResponse) hrefOf(state tree.State) string {
	name := state.Name
	if l.r.asked != l.r.name {
		name = l.r.asked + strings.TrimPrefix(name, l.r.name)
	}
	return l.href(name, state.Collection)
}

func (l *propfindResponse) begin() {
	if l.out != nil {
		return
	}
	l.w.Header().Set("Content-Type", problem.XMLType)
	l.w.WriteHeader(webdav.StatusMulti)
	l.out = davxml.NewMultistatus(l.w)
	l.flushed = l.Now()
}

// flushEvery bounds how long finished parts of an answer stay in the buffer while files are hashed. Some clients give
// up on a silent server.
const flushEvery = time.Second

func (l *propfindResponse) flush() error {
	if l.Now().Sub(l.flushed) < flushEvery {
		return nil
	}
	l.flushed = l.Now()
	err := l.out.Flush()
	if err == nil {
		err = http.NewResponseController(l.w).Flush()
	}
	if errors.Is(err, http.ErrNotSupported) {
		err = nil // the buffers are written when they are full
	}
	return err
}

func (l *propfindResponse) close() error {
	l.begin()
	return l.out.Close()
}

// compressed compresses listings, to about a twentieth, for clients that accept it (RFC 9110 §12.5.3). It does not
// compress file contents, because that would change their tags.
func compressed(next http.Handler) http.Handler {
	listings := web.Compressed()(next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == "PROPFIND" || r.Method == "REPORT" {
			listings.ServeHTTP(w, r)
		} else {
			next.ServeHTTP(w, r)
		}
	})
}

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
		if err := r.lookAtChanging(v, errOtherReport); err != nil {
			return err
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
	if err := s.takeTurn(w, r, s.Pools.Listings); err != nil {
		return err
	}
	// What changes from now on is told with the next token, even if this answer shows it already.
	end, err := s.feed.Now(r.Context())
	if err != nil {
		return err
	}
	props := davxml.Propfind{Props: wanted.Props}
	l := &syncResponse{propfindResponse: propfindResponse{
		propertyRenderer: newPropertyRenderer(s, r, props), w: w, membersOnly: true,
	}, wanted: wanted, end: end}
	if err = l.answer(check); err != nil && l.out != nil {
		cutOff(w, err) // the status has been sent: only a cut connection tells that the answer is incomplete
	}
	return err
}

// A syncResponse is the answer to a DAV:sync-collection in progress.
type syncResponse struct {
	propfindResponse
	wanted  davxml.SyncCollection
	end     tree.Cursor // the position of the answer
	partial bool        // there are more changes
}

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
		err := l.out.Status(l.href(l.r.asked, true), http.StatusInsufficientStorage, "number-of-matches-within-limits", "")
		if err != nil {
			return err
		}
	}
	if err := l.out.SyncToken(synctoken.New(l.end, l.r.binding())); err != nil {
		return err
	}
	return l.close()
}

// listAll shows all members: the client has no token yet. The listing may have as many as one by PROPFIND.
func (l *syncResponse) listAll(check tree.Condition) error {
	opts := tree.ListOptions{Want: l.want, TagDeadline: l.r.tagDeadline, Show: l.r.showsMember(), Depth: 1,
		Limit: l.wanted.Limit, Follow: l.r.follows}
	if l.wanted.Infinite { // RFC 6578 §6.3
		if l.MaxInfinite < 0 {
			return errMatches
		}
		opts.Depth, opts.Limit = -1, min(cmp.Or(opts.Limit, l.MaxInfinite), l.MaxInfinite)
	}
	err := l.list(opts, check)
	if errors.Is(err, tree.ErrTooMany) {
		return errMatches
	}
	return err
}

// listChanges shows the members that have changed since the token.
func (l *syncResponse) listChanges() error {
	since, ok := synctoken.Cursor(l.wanted.Token, l.r.binding())
	if !ok {
		return errSyncToken
	}
	members := synccollection.Collection{
		Store: l.Store, Feed: l.feed, Name: l.r.name, Infinite: l.wanted.Infinite, Limit: cmp.Or(l.wanted.Limit, maxReported),
		Seen: l.r.seen, Listed: func(name string) bool { return l.r.may(name, auth.List) }, Reading: l.r.reading(0),
		Listing: tree.ListOptions{Show: l.r.showsMember(), Follow: l.r.follows},
	}
	changed, err := members.Changed(l.r.Context(), since, l.end)
	switch {
	case errors.Is(err, synccollection.ErrList):
		return errSyncToken
	case errors.Is(err, synccollection.ErrLimit):
		return errMatches
	case err != nil:
		return err
	}
	l.end, l.partial = changed.End, changed.Partial
	for _, name := range changed.Names {
		if err := l.showOne(name); err != nil {
			return err
		}
	}
	return nil
}

// showOne shows a member as it is now, or that it is gone.
func (l *syncResponse) showOne(name string) error {
	if !l.r.seen(name) {
		return nil
	}
	state, err := l.Store.Stat(l.r.Context(), name, l.r.reading(l.want))
	state.Name = name
	switch {
	case err == nil && l.r.shows(&state):
		return l.show(state)
	case err != nil && !errors.Is(err, tree.ErrNotExist) && !errors.Is(err, tree.ErrNotServed):
		return l.refuse(state, err)
	}
	l.begin()
	return l.out.Status(l.hrefOf(tree.State{Name: name}), http.StatusNotFound, "", "") // RFC 6578 §3.5.2
}

// syncToken returns the sync token of a collection (RFC 6578 §4). It is new after each change of the tree, also one
// elsewhere.
func (t *propertyRenderer) syncToken(s *tree.State) (token string, ok bool) {
	if t.feed == nil || !s.Collection || s.Link || s.Resolved != nil {
		return "", false
	}
	if t.token == "" {
		ctx, cancel := context.WithTimeout(t.r.Context(), courtesyTime)
		defer cancel()
		now, err := t.feed.Now(ctx)
		if err != nil {
			return "", false
		}
		t.token = string(davxml.AppendText(nil, synctoken.New(now, t.r.binding())))
	}
	return t.token, true
}
