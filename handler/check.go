package handler

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"r-seed-1f3a754f.example/ifmatch/auth"
	"r-seed-1f3a754f.example/ifmatch/handler/precondition"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

// condition returns a condition that may look at all names of the request.
func (r *request) condition(check tree.Check) tree.Condition {
	names := append([]string{r.name}, r.toCreate...)
	if r.cond != nil {
		names = append(names, r.cond.Names()...)
	}
	return tree.Condition{Names: names, Check: check, Follow: r.follows}
}

// check returns the condition of a method that changes something. First comes the shape: RFC 9110 §13.2.1 says that
// conditions are ignored if the answer without them would not be a success. The store has looked at the shape when it
// calls the Check inside the commit. With an early [tree.Store.Try], the error of the shape comes from here.
func (r *request) check(shape func(tree.View) error, changes ...precondition.Change) tree.Condition {
	r.decides = r.condition(func(v tree.View) error {
		if err := r.checkShape(v, shape); err != nil {
			return err
		}
		if err := r.mayCreate(v); err != nil {
			return err
		}
		r.noteBefore(v)
		return r.cond.Write(v, changes...)
	})
	r.decides.Exact = r.cond.NamesVersion()
	return r.decides
}

// checkShape checks whether the method makes sense for the resource, and whether the principal may do it there.
func (r *request) checkShape(v tree.View, shape func(tree.View) error) error {
	if err := r.allowedNow(); err != nil {
		return err
	}
	if r.Method == http.MethodPut { // only a principal who may list the name learns that a collection is there
		if err := r.within(v); err != nil {
			return err
		}
		return r.hidden(r.name, shape(v))
	}
	if err := shape(v); err != nil {
		return r.hidden(r.name, err)
	}
	return r.within(v)
}

// requireCondition adds to a check that the request must have a condition about each of some names that it would
// replace or remove, if the server requires that and something is there.
func (s *server) requireCondition(r *request, check tree.Condition, taken ...string) tree.Condition {
	return r.requireWhere(check, func(access *auth.Access, name string) bool {
		return s.RequireConditions || access.Requires(name, r.Method != http.MethodPut)
	}, taken...)
}

// requireWhere is [server.requireCondition] about the names for which required is true.
func (r *request) requireWhere(
	check tree.Condition, required func(*auth.Access, string) bool, taken ...string,
) tree.Condition {
	r.decides = check
	r.decides.Names = append(slices.Clip(check.Names), taken...)
	r.decides.Check = func(v tree.View) error {
		err := check.Ask(v)
		access := r.who.now()
		for _, name := range taken {
			if err != nil || !required(&access, name) {
				continue
			}
			respelled := name != r.name && tree.SameName(v, name, r.name) // nothing is replaced at this name
			if !respelled {
				err = r.cond.Required(v, name, !r.may(name, auth.List))
			}
		}
		return err
	}
	return r.decides
}

// preferCondition returns the failed condition or the conflicting lock in place of err, if err says that the store
// was too busy to check. Otherwise a client would wait, try again, and only then learn of it.
func (s *server) preferCondition(r *request, err error) error {
	if r.decides.Check == nil || !errors.Is(err, tree.ErrBusy) {
		return err
	}
	once := r.decides
	once.Check = func(v tree.View) error {
		if err := r.decides.Ask(v); !errors.Is(err, tree.ErrTagUnknown) {
			return err
		}
		return tree.ErrBusy // it has been hashed often enough
	}
	asked := s.Store.Try(r.Context(), once)
	if errors.As(asked, new(*precondition.Failed)) || errors.As(asked, new(*precondition.RequiredError)) ||
		errors.As(asked, new(*tree.LockedError)) {
		return asked
	}
	return err
}

// courtesyTime is how long a check before the body waits for tags if answers wait without a limit.
const courtesyTime = 5 * time.Second

// courtesy checks a condition before the body is read. If that takes too long, it returns nil, and the check runs
// after the body has been read. Only then it is known whether the client is still there: net/http does not notice
// earlier that it is gone.
func (s *server) courtesy(r *request, check tree.Condition) error {
	ctx, cancel := context.WithTimeout(r.Context(), cmp.Or(max(s.TagWait, 0), courtesyTime))
	defer cancel()
	err := s.Store.Try(ctx, check)
	if errors.Is(err, context.DeadlineExceeded) && r.Context().Err() == nil {
		return nil
	}
	return err
}

// beforeBody returns a check for [server.courtesy]. The store writes through no symbolic link, and says so inside the
// commit. Here that error comes before those of conditions, and before the client sends a body in vain.
func (r *request) beforeBody(check tree.Condition) tree.Condition {
	early := check
	early.Check = func(v tree.View) error {
		if err := r.allowedNow(); err != nil {
			return err
		}
		s, err := v.State(r.name)
		if errors.Is(err, tree.ErrReserved) {
			return err
		}
		if s.Link || s.Through {
			return r.hidden(r.name, tree.ErrLink)
		}
		// a PUT to a collection is a 405, and a PROPPATCH of nothing is a 404
		if s.Fixed && (r.Method == "LOCK" || s.Exists == (r.Method == "PROPPATCH")) {
			return r.hidden(r.name, errFixed)
		}
		return check.Ask(v)
	}
	return early
}

// The shapes: which state of a resource a method needs.

// requireFileTarget: the Request-URI is a file or free, in an existing collection. With "Overwrite: F", which RFC
// 4918 §10.6 defines for COPY and MOVE, it must be free: GNOME sends that with PUT.
func (r *request) requireFileTarget(v tree.View) error {
	s, err := v.State(r.name)
	switch {
	case err != nil:
		return err
	case s.Collection:
		return tree.ErrIsCollection
	case s.Exists && slices.ContainsFunc(r.Header["Overwrite"], func(v string) bool { return strings.EqualFold(v, "F") }):
		return &precondition.Failed{Header: "Overwrite", Want: "F", Name: r.name, Have: s}
	case s.Exists:
		return nil // and so is its collection
	}
	return hasParent(v, r.name)
}

// requireAbsent: the Request-URI is free, in an existing collection.
func (r *request) requireAbsent(v tree.View) error {
	s, err := v.State(r.name)
	if err != nil {
		return err
	}
	if s.Exists {
		return tree.ErrExist
	}
	return hasParent(v, r.name)
}

// requirePresent: the Request-URI exists. If it ends with a slash, it is a collection.
func (r *request) requirePresent(v tree.View) error {
	_, err := r.found(v)
	return err
}

func (r *request) found(v tree.View) (tree.State, error) {
	s, err := v.State(r.name)
	if err == nil && (!s.Exists || r.slash && !s.Collection) {
		err = tree.ErrNotExist
	}
	return s, err
}

// look returns the resource of a request that reads it, if the principal may know of that.
func (r *request) look(v tree.View) (tree.State, error) {
	s, err := r.found(v)
	if err == nil {
		err = r.opens(&s)
	}
	return s, r.hidden(r.name, err)
}

// lookAtChanging fails with other unless changes of the resource are told: it is a collection to which no link leads.
func (r *request) lookAtChanging(v tree.View, other error) error {
	s, err := r.look(v)
	if err == nil && (!s.Collection || s.Link || s.Through || s.Resolved != nil) {
		err = other
	}
	return err
}

// requireWhole: the Request-URI exists, and Depth includes all its members (RFC 4918 §9.6.1, §9.9.2).
func (r *request) requireWhole(deep depth) func(tree.View) error {
	return func(v tree.View) error {
		s, err := r.found(v)
		if err == nil && s.Collection && (deep == depthZero || deep == depthOne) {
			err = withStatus(http.StatusBadRequest,
				"a collection is removed or moved with all its members; send Depth: infinity, or none")
		}
		return err
	}
}

// requireCreatable: the Request-URI exists, or its collection does.
func (r *request) requireCreatable(v tree.View) error {
	s, err := v.State(r.name)
	if err != nil || s.Exists {
		return err
	}
	return hasParent(v, r.name)
}

func hasParent(v tree.View, name string) error {
	parent, _ := tree.Split(name)
	if parent == "" {
		return nil // the root is a collection
	}
	s, err := v.State(parent)
	if err == nil && !s.Collection {
		err = tree.ErrNoParent
	}
	return err
}

// creates notes a name that the request may create, for [request.mayCreate].
func (r *request) creates(name string) { r.toCreate = append(r.toCreate, name) }

// mayCreate checks inside the commit whether the noted names may be created. Another spelling of a name may have been
// created since the name was looked up, and the server may be configured to refuse the files that systems leave
// everywhere.
func (r *request) mayCreate(v tree.View) error {
	for _, name := range r.toCreate {
		// a MOVE to another spelling of the same name is no conflict
		if is := tree.Spelled(v, name); is != name && is != r.name {
			return &tree.RespelledError{Name: is}
		}
		if _, base := tree.Split(name); r.noJunk && isJunk(base) {
			if s, err := v.State(name); err != nil || s.Exists {
				continue // the method itself reports what is wrong with the name
			}
			return withStatus(http.StatusForbidden,
				"files like "+base+", which operating systems leave in every directory, are refused (--junk refuse)")
		}
	}
	return nil
}

// isJunk reports whether macOS or Windows leave files with this name in directories.
func isJunk(base string) bool {
	return strings.HasPrefix(base, "._") || slices.Contains([]string{".ds_store", ".spotlight-v100", ".trashes",
		".fseventsd", ".temporaryitems", ".apdisk", ".metadata_never_index", "thumbs.db", "ehthumbs.db", "desktop.ini",
	}, strings.ToLower(base))
}

// The methods that make sense, in the order of the Allow header.
var (
	onReadOnly   = []string{"OPTIONS", "GET", "HEAD", "PROPFIND"}
	onCollection = []string{"OPTIONS", "GET", "HEAD", "DELETE", "COPY", "MOVE", "PROPFIND", "PROPPATCH", "LOCK", "UNLOCK"}
	onFile       = append(slices.Clip(onCollection), "PUT")
	onLink       = []string{"OPTIONS", "GET", "HEAD", "DELETE", "MOVE", "PROPFIND"}
	onNothing    = []string{"OPTIONS", "PUT", "MKCOL", "LOCK"}
)

// methodsFor returns the methods that make sense for a resource, with those of locks.
func (s *server) methodsFor(state *tree.State) []string {
	switch {
	case s.ReadOnly && state.Collection, state.Fixed:
		return s.withReport(onReadOnly)
	case s.ReadOnly, state.Resolved != nil && !state.Link: // nothing is written through a link
		return onReadOnly
	case state.Link:
		return onLink
	case !state.Exists:
		return onNothing
	case state.Collection:
		return s.withReport(onCollection)
	}
	return onFile
}

// withReport returns the methods of collections, with REPORT where changes can be followed.
func (s *server) withReport(methods []string) []string {
	if s.feed == nil {
		return methods
	}
	return append(slices.Clip(methods), "REPORT")
}

// locks reports whether locks can be taken. A read-only server needs none.
func (s *server) locks() bool { return !s.ReadOnly && !s.NoLocks }

func isLocking(method string) bool { return method == "LOCK" || method == "UNLOCK" }

// notAllowed returns a 405 with the methods that make sense for the Request-URI now. why is the detail; "" for a
// general one.
func (s *server) notAllowed(r *request, why string) error {
	if r.may(r.name, auth.List) {
		if _, err := s.Store.Stat(r.Context(), r.name, r.reading(0)); errors.Is(err, tree.ErrReserved) {
			return err
		}
	}
	allow := s.allow(r)
	return &statusError{status: http.StatusMethodNotAllowed, allow: allow, detail: cmp.Or(why, "method not "+
		"allowed; allowed: "+allow)}
}

// mayRestore decides inside the commit, by the rules that are in force now, about what is there.
func (r *request) mayRestore(v tree.View, collection bool) error {
	s, err := v.State(r.name)
	if err == nil && !s.Exists {
		err = hasParent(v, r.name)
	}
	if err != nil {
		return r.hidden(r.name, err)
	}
	return r.decideWithin(auth.Found{Exists: s.Exists, Collection: s.Collection && !s.Link, Brings: collection})
}
