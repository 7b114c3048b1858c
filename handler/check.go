package handler

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"ifmatch/auth"
	"ifmatch/handler/precondition"
	"ifmatch/tree"
)

// condition returns a condition that may look at all names that the request has.
func (r *request) condition(check tree.Check) tree.Condition {
	names := append([]string{r.name}, r.made...)
	if r.cond != nil {
		names = append(names, r.cond.Names()...)
	}
	return tree.Condition{Names: names, Check: check}
}

// check returns the one condition of a method that changes something. The store asks it inside the commit, where the
// shape has been looked at already; handlers that ask it early, with [tree.Store.Try], get the shape's error first too:
// RFC 9110 §13.2.1 has conditions ignored where the answer would not be a success without them.
func (r *request) check(shape func(tree.View) error, changes ...precondition.Change) tree.Condition {
	r.decides = r.condition(func(v tree.View) error {
		if err := r.fits(v, shape); err != nil {
			return err
		}
		if err := r.mayMake(v); err != nil {
			return err
		}
		r.noteBefore(v)
		return r.cond.Write(v, changes...)
	})
	r.decides.Exact = r.cond.NamesVersion()
	return r.decides
}

// fits asks whether a method makes sense, and whether the principal may do what it comes to here.
func (r *request) fits(v tree.View, shape func(tree.View) error) error {
	if err := r.allowedNow(); err != nil {
		return err
	}
	if r.Method == http.MethodPut { // that a collection is there is told to those who may list it
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

// conditional has a check that holds fail where something is at one of the names that a request would take from what is
// there, and no condition is about that, if the server requires one.
func (s *server) conditional(r *request, check tree.Condition, taken ...string) tree.Condition {
	r.decides = check
	r.decides.Names = append(slices.Clip(check.Names), taken...)
	r.decides.Check = func(v tree.View) error {
		err := check.Ask(v)
		access := r.who.now()
		for _, name := range taken {
			if err != nil || !s.RequireConditions && !access.Requires(name, r.Method != http.MethodPut) {
				continue
			}
			respelled := name != r.name && tree.SameName(v, name, r.name) // nothing gives way to it
			if !respelled {
				err = r.cond.Required(v, name, !r.may(name, auth.List))
			}
		}
		return err
	}
	return r.decides
}

// ratherFailed returns the failure of a condition, or the lock in the way, in place of err, where that says that the store
// was too busy to ask: a client that waits and tries again would be told then, and have waited for nothing.
func (s *server) ratherFailed(r *request, err error) error {
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
	var failed *precondition.Failed
	var required *precondition.RequiredError
	var locked *tree.LockedError
	if errors.As(asked, &failed) || errors.As(asked, &required) || errors.As(asked, &locked) {
		return asked
	}
	return err
}

// courtesyTime is how long a check that is asked before the body is read waits for tags, where answers wait as long as it
// takes.
const courtesyTime = 5 * time.Second

// courtesy asks a check before the body is read, unless that takes too long: then it is asked when the body is there,
// which also tells whether there still is a client. net/http does not notice that one is gone before its body has been
// read.
func (s *server) courtesy(r *request, check tree.Condition) error {
	patience := courtesyTime
	if s.TagWait > 0 {
		patience = s.TagWait
	}
	ctx, cancel := context.WithTimeout(r.Context(), patience)
	defer cancel()
	err := s.Store.Try(ctx, check)
	if errors.Is(err, context.DeadlineExceeded) && r.Context().Err() == nil {
		return nil
	}
	return err
}

// early is a check as it is asked before the body is read. The store writes through no link, and says so inside the
// commit; here it is said before a condition is, and before a body is sent for nothing.
func (r *request) early(check tree.Condition) tree.Condition {
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
			return r.hidden(r.name, errThroughLink)
		}
		return check.Ask(v)
	}
	return early
}

// The shapes: what must be there for a method to make sense.

// mayHold: a file can be at the Request-URI. GNOME says with "Overwrite: F", which RFC 4918 §10.6 has for COPY and MOVE, that
// none may be there.
func (r *request) mayHold(v tree.View) error {
	s, err := v.State(r.name)
	switch {
	case err != nil:
		return err
	case s.Collection:
		return tree.ErrIsCollection
	case s.Exists && strings.EqualFold(r.Header.Get("Overwrite"), "F"):
		return &precondition.Failed{Header: "Overwrite", Want: "F", Name: r.name, Have: s}
	case s.Exists:
		return nil // and so is its collection
	}
	return hasParent(v, r.name)
}

// free: nothing is at name, and something can be.
func free(name string) func(tree.View) error {
	return func(v tree.View) error {
		s, err := v.State(name)
		if err != nil {
			return err
		}
		if s.Exists {
			return tree.ErrExist
		}
		return hasParent(v, name)
	}
}

// present: something is at the Request-URI; a collection, if that ends with a slash.
func (r *request) present(v tree.View) error {
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

// whole: present, and not to be removed or moved without what is in it (RFC 4918 §9.6.1, §9.9.2).
func (r *request) whole(deep depth) func(tree.View) error {
	return func(v tree.View) error {
		s, err := r.found(v)
		if err == nil && s.Collection && (deep == depthZero || deep == depthOne) {
			err = &statusError{status: http.StatusBadRequest, detail: "a collection is removed or moved with all that is in it; Depth must be infinity or absent"}
		}
		return err
	}
}

// placeable: something is at name, or can be.
func placeable(name string) func(tree.View) error {
	return func(v tree.View) error {
		s, err := v.State(name)
		if err != nil || s.Exists {
			return err
		}
		return hasParent(v, name)
	}
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

// What can be done with what a name stands for, in the order of the Allow header.
var (
	onReadOnly   = []string{"OPTIONS", "GET", "HEAD", "PROPFIND"}
	onCollection = []string{"OPTIONS", "GET", "HEAD", "DELETE", "COPY", "MOVE", "PROPFIND", "PROPPATCH", "LOCK", "UNLOCK"}
	onFile       = append(slices.Clip(onCollection), "PUT")
	onNothing    = []string{"OPTIONS", "PUT", "MKCOL", "LOCK"}
)

// methodsFor returns the methods that make sense for what a name stands for.
func (s *server) methodsFor(state *tree.State) []string {
	all := onFile
	switch {
	case s.ReadOnly:
		return onReadOnly
	case !state.Exists:
		all = onNothing
	case state.Collection:
		all = onCollection
	}
	if s.locks() {
		return all
	}
	return slices.DeleteFunc(slices.Clone(all), func(method string) bool { return method == "LOCK" || method == "UNLOCK" })
}

// locks reports whether locks can be taken. Without writing there is nothing to lock.
func (s *server) locks() bool { return !s.ReadOnly && !s.NoLocks }

// notAllowed is the failure of a method that makes no sense for what a name stands for now, and why, if there is more to
// say.
func (s *server) notAllowed(r *request, why string) error {
	if r.may(r.name, auth.List) {
		if _, err := s.Store.Stat(r.Context(), r.name, tree.ReadOptions{}); errors.Is(err, tree.ErrReserved) {
			return err
		}
	}
	allow := s.allow(r)
	return &statusError{status: http.StatusMethodNotAllowed, allow: allow, detail: cmp.Or(why, "here only "+allow+" make sense")}
}
