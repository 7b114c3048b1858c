package handler

import (
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"strings"

	"r-seed-1f3a754f.example/ifmatch/auth"
	"r-seed-1f3a754f.example/ifmatch/handler/accesslog"
	"r-seed-1f3a754f.example/ifmatch/handler/precondition"
	"r-seed-1f3a754f.example/ifmatch/handler/problem"
	"r-seed-1f3a754f.example/ifmatch/handler/synctoken"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

// A deniedError says that the rules deny a request to its principal. Its answer depends on names and rules alone.
type deniedError struct{ verdict auth.Verdict }

func (e *deniedError) Error() string { return "the rules do not allow it" }

var errForbidden = &deniedError{auth.Forbidden}

// errTaken says that a name is taken where the principal may create, and may not know the resource that has the name.
var errTaken = withStatus(http.StatusPreconditionFailed, "the name is taken; nothing has changed")

// deny answers a request that the rules do not allow: by one text for each verdict.
func (s *server) deny(w http.ResponseWriter, r *request, verdict auth.Verdict) {
	accesslog.Explain(w, slog.String("cause", errForbidden.Error()))
	p := problem.Problem{Status: http.StatusForbidden, Detail: "the rules here do not allow that"}
	switch verdict {
	case auth.Challenge:
		if s.askByForm(w, r) {
			return
		}
		refused := new(auth.RequestError)
		if errors.As(r.who.rules.CanAsk(r.who.visit), &refused) {
			p = problem.Problem{Status: refused.Status, Detail: refused.Detail}
			break
		}
		w.Header().Set("WWW-Authenticate", auth.ChallengeHeader)
		p = problem.Problem{Status: http.StatusUnauthorized,
			Detail: "log in with the name and the password of a user who may do that"}
	case auth.NotFound:
		_, detail := statusOf(tree.ErrNotExist)
		p = problem.Problem{Status: http.StatusNotFound, Detail: detail}
	}
	s.refuse(w, r, p)
}

// verbOf returns the verb of a method. A REPORT lists, as a PROPFIND does.
func verbOf(method string) auth.Verb {
	if method == "REPORT" {
		return auth.VerbPropfind
	}
	return auth.Verb(method)
}

// lists reports whether the request lists resources and reads none.
func (r *request) lists() bool { return verbOf(r.Method) == auth.VerbPropfind }

// operations appends to all the operation of a request, by the names that it has sent and, where these stand for other
// names, by those too.
func (r *request) operations(all []auth.Operation) []auth.Operation {
	asked := auth.Operation{Verb: verbOf(r.Method), Name: r.asked, To: r.askedTo}
	switch {
	case r.Method == "LOCK" && r.ContentLength == 0: // a refresh, which makes no lock larger
		asked.Shallow = true
	case r.Method == "COPY" || r.Method == "LOCK":
		asked.Shallow = r.Header.Get("Depth") == "0"
	}
	if r.asked == r.name && r.askedTo == r.to {
		return append(all, asked)
	}
	spelled := asked
	spelled.Name, spelled.To = r.name, r.to
	return append(all, asked, spelled)
}

// allowed fails with a [deniedError] where the rules deny a request by its names alone. The result does not depend on
// the resources.
func (r *request) allowed(access *auth.Access) error {
	var room [2]auth.Operation
	for _, op := range r.operations(room[:0]) {
		verdict := auth.Granted
		switch needs := op.Before(); {
		case op.Verb == auth.VerbPropfind:
			verdict = access.See(op.Name)
		case r.toErr != nil: // there is no such Destination
			verdict = access.Decide(false, needs[:1]...)
		default:
			verdict = access.Decide(op.Verb.Reads(), needs...)
		}
		if verdict != auth.Granted {
			return &deniedError{verdict}
		}
	}
	return nil
}

// allowedNow is allowed by the rules that are in force now. It is asked inside the commit: a body may take an hour.
func (r *request) allowedNow() error {
	access := r.who.now()
	if err := r.allowed(&access); err != nil || r.cond == nil {
		return err
	}
	return r.mayCompare(&access)
}

// within decides inside the commit about the resource that a write would make or replace.
func (r *request) within(v tree.View) error {
	var found auth.Found
	target := r.name
	switch r.Method {
	case "COPY", "MOVE":
		target = r.to
		from, err := v.State(r.name)
		if err != nil {
			return err
		}
		found.Brings = from.Collection && !from.Link
	case http.MethodPut, "LOCK":
	default:
		return nil
	}
	s, err := v.State(target)
	if err != nil {
		return r.hidden(target, err)
	}
	found.Exists, found.Collection = s.Exists, s.Collection && !s.Link // a link is replaced itself
	return r.decideWithin(found)
}

// decideWithin decides by the rules that are in force now about the target that was found.
func (r *request) decideWithin(found auth.Found) error {
	access := r.who.now()
	for _, op := range r.operations(nil) {
		switch access.Within(op, found) {
		case auth.Denied:
			return errForbidden
		case auth.Taken:
			return errTaken
		}
	}
	return nil
}

// otherSpelling returns the name by which the client has asked for a name, if that is another one.
func (r *request) otherSpelling(name string) (string, bool) {
	switch {
	case r.asked != r.name && tree.Within(name, r.name):
		return r.asked + name[len(r.name):], true
	case r.askedTo != r.to && tree.Within(name, r.to):
		return r.askedTo + name[len(r.to):], true
	}
	return "", false
}

// may reports whether the principal has all of some effects on a name, and on the spelling that it has sent for it.
func (r *request) may(name string, effects auth.Effects) bool {
	if r.who == nil || !r.who.Effects(name).Has(effects) {
		return false
	}
	other, ok := r.otherSpelling(name)
	return !ok || r.who.Effects(other).Has(effects)
}

// seen reports whether the principal may know of a name, be it as a collection on the way to others.
func (r *request) seen(name string) bool {
	if r.who == nil || !r.who.Seen(name) {
		return false
	}
	other, ok := r.otherSpelling(name)
	return !ok || r.who.Seen(other)
}

// mayOf is [request.may] about a resource, to which a link may have led. The target of a dead link is not known.
func (r *request) mayOf(s *tree.State, effects auth.Effects) bool {
	switch {
	case !r.may(s.Name, effects):
		return false
	case s.Resolved != nil:
		return r.who.Effects(*s.Resolved).Has(effects)
	case s.Dead:
		return r.who.Subtree("").Has(effects) // as a link to any name
	}
	return true
}

// shows reports whether the principal may know of a resource that was found. On the way to a name there are
// collections alone.
func (r *request) shows(s *tree.State) bool {
	switch {
	case !r.seen(s.Name):
		return false
	case s.Resolved != nil || s.Dead:
		return r.mayOf(s, auth.List)
	}
	return s.Collection || r.may(s.Name, auth.List)
}

// opens fails where a link leads a reading request to a resource that the principal may not read, or not list for a
// PROPFIND. That looks as if the link led nowhere.
func (r *request) opens(s *tree.State) error {
	need := auth.Read
	if r.lists() {
		need = auth.List
	}
	switch {
	case r.lists() && !r.shows(s):
		return tree.ErrNotExist
	case s.Resolved == nil || r.who.Effects(*s.Resolved).Has(need):
		return nil
	case r.may(s.Name, auth.List) && r.who.Effects(*s.Resolved).Has(auth.List):
		return errForbidden
	}
	return tree.ErrNotExist
}

// seesAll reports whether the principal may list each name.
func (a *asker) seesAll() bool { return a.Subtree("").Has(auth.List) }

// follow is the [tree.Follow] of a principal who does not see all. A link to a name that the principal may not list looks
// like a link that leads nowhere, out of the tree, or in a circle. If the request reads content, the right to read that
// name is enough. A failure of the storage stays what it is: a client must not believe that a file is gone.
func (a *asker) follow(target string, err error, reads bool) error {
	effects := auth.None
	if err == nil || target != "" { // else the target is not known
		effects = a.Effects(target)
	}
	switch {
	case effects.Has(auth.List), reads && effects.Has(auth.Read), err != nil && !ofTheTarget(err):
		return err
	}
	return tree.ErrNotExist
}

// ofTheTarget reports whether the error of a look through a link depends on where the link leads.
func ofTheTarget(err error) bool {
	return slices.ContainsFunc([]error{tree.ErrNotExist, tree.ErrNotServed, tree.ErrReserved, tree.ErrPermission,
		tree.ErrNameTooLong, tree.ErrBadName, tree.ErrIsCollection}, func(of error) bool { return errors.Is(err, of) })
}

// sight limits the resources that the conditions of a request may be about.
func (r *request) sight() precondition.Sight {
	return precondition.Sight{
		Hidden: func(s tree.State) bool {
			if !s.Exists {
				return !r.seen(s.Name)
			}
			return !r.shows(&s) || s.Resolved != nil && !r.who.Effects(*s.Resolved).Has(auth.Read)
		},
		Foreign: func(l tree.Lock) bool { return !r.who.Holds(string(l.Principal)) },
		Cursor:  r.cursorOf,
	}
}

// mayCompare fails where a condition with a tag or a date is about a name that the principal may not read.
func (r *request) mayCompare(access *auth.Access) error {
	var names []string
	switch r.Method {
	case http.MethodOptions, "PROPFIND", "REPORT", "UNLOCK":
	default:
		if r.cond.ComparesTarget(r.Method == http.MethodGet || r.Method == http.MethodHead) {
			names = append(names, r.name, r.asked)
		}
	}
	for _, name := range r.cond.ComparedByIf() {
		if r.seen(name) {
			names = append(names, name)
			if other, ok := r.otherSpelling(name); ok {
				names = append(names, other)
			}
		}
	}
	for _, name := range names {
		if verdict := access.Decide(false, auth.Need{Name: name, Effects: auth.Read}); verdict != auth.Granted {
			return &deniedError{verdict}
		}
	}
	return nil
}

// hidden returns the failure to tell about a name that the principal may not list. A failure that would tell of the
// resource becomes a refusal of the rules.
func (r *request) hidden(name string, err error) error {
	if r.may(name, auth.List) {
		return err
	}
	var failed *precondition.Failed
	var status *statusError
	switch {
	case errors.As(err, &failed) && failed.Name == name:
		return errTaken
	case errors.Is(err, tree.ErrNotServed), errors.Is(err, tree.ErrReserved),
		errors.Is(err, tree.ErrPermission) && !errors.As(err, &status):
		if r.lists() || r.Method == http.MethodGet || r.Method == http.MethodHead {
			return &deniedError{auth.NotFound}
		}
		if r.may(name, auth.Create) {
			return errTaken
		}
		return errForbidden
	}
	return err
}

// methodsOf returns the methods, in the order of the Allow header, that can succeed for a principal on a name. state
// is nil where the resource may not be told of.
func (s *server) methodsOf(r *request, name string, state *tree.State) []string {
	all := s.withReport(append(slices.Clip(onFile), "MKCOL"))
	if s.ReadOnly {
		all = onReadOnly
	}
	if state != nil {
		all = s.methodsFor(state)
	}
	granted := r.who.Methods(name)
	other, respelled := r.otherSpelling(name)
	return slices.DeleteFunc(slices.Clone(all), func(method string) bool {
		return isLocking(method) && !s.locks() || !slices.Contains(granted, verbOf(method)) ||
			respelled && !slices.Contains(r.who.Methods(other), verbOf(method)) ||
			state != nil && !r.mayInside(method, name, state)
	})
}

// mayInside reports whether the principal has the effects that a method needs beside, where a resource is as it was
// found: a PUT over a file is no creation, and a LOCK of nothing is one.
func (r *request) mayInside(method, name string, state *tree.State) bool {
	op := auth.Operation{Verb: auth.Verb(method), Name: name}
	if op.Verb != auth.VerbPut && op.Verb != auth.VerbLock { // COPY and MOVE change another name
		return true
	}
	needs := op.Inside(auth.Found{Exists: state.Exists, Collection: state.Collection})
	return !slices.ContainsFunc(needs, func(need auth.Need) bool { return !r.may(name, need.Effects) })
}

// mayLockIn reports whether the principal may take locks at a name or below or, where none is known yet, whether some user
// may: clients ask before they log in.
func (r *request) mayLockIn(name string) bool {
	return r.who.MayIn(name, auth.Lock) || r.who.anonymous() && r.who.rules.SomeUserMayIn(name, auth.Lock)
}

// allow returns the methods that make sense for the Request-URI now, as far as the principal may know that.
func (s *server) allow(r *request) string {
	var state *tree.State
	if r.may(r.name, auth.List) {
		found, err := s.Store.Stat(r.Context(), r.name, r.reading(0))
		state = &tree.State{Fixed: found.Fixed}
		if err == nil && r.shows(&found) {
			state = &found
		}
	}
	return strings.Join(s.methodsOf(r, r.name, state), ", ")
}

// showsMember returns the function by which a store chooses the members of a listing, or nil for all.
func (r *request) showsMember() func(name string, resolved *string, collection bool) bool {
	if r.who.seesAll() {
		return nil
	}
	all := r.who.Subtree(r.name).Has(auth.List) && r.who.Subtree(r.asked).Has(auth.List)
	return func(name string, resolved *string, collection bool) bool {
		return (all || r.seen(name) && (collection || r.may(name, auth.List))) &&
			(resolved == nil || r.who.Effects(*resolved).Has(auth.List))
	}
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
