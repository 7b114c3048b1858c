package handler

import (
	"context"
	"errors"
	"net/http"

	"r-seed-1f3a754f.example/ifmatch/handler/deleteguard"
	"r-seed-1f3a754f.example/ifmatch/handler/precondition"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

func (s *server) delete(w http.ResponseWriter, r *request) error {
	deep, err := depthOf(r.Header, depthZero, depthOne, depthInfinity)
	if err != nil {
		return err
	}
	check := s.requireCondition(r, r.check(r.requireWhole(deep), precondition.Mapping(r.name)), r.name)
	check, decided, err := s.guardDelete(r, check)
	if err != nil {
		return err // without the guard, the DELETE might remove the version that it protects
	}
	err = s.Store.Remove(r.Context(), r.name, check)
	decided(err)
	if r.name == "" && errors.Is(err, tree.ErrPermission) {
		return errRoot
	}
	if err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// errRoot is the failure of a DELETE of the root, which no store removes.
var errRoot = withStatus(http.StatusForbidden,
	"the root of what is served cannot be removed; its members can; nothing has changed")

// afterPut is the name of the guard's condition in the access log and in the 412. It is no header of the request.
const afterPut = "delete-guard"

// guardDelete adds to the check of a DELETE that the name does not have the version that a failed PUT has met. The
// caller must call decided with the result of the DELETE.
func (s *server) guardDelete(
	r *request, check tree.Condition,
) (guarded tree.Condition, decided func(error), err error) {
	pass := func(error) {}
	key, watched := s.guardKey(r, r.name)
	if !watched || r.cond.Conditional() {
		return check, pass, nil
	}
	put, ok, err := s.deleteGuard.Take(r.Context(), key)
	if err != nil {
		return check, pass, err
	}
	if !ok && s.wasTurnedAway(r) {
		put, ok = s.deleteGuard.TakeUnseen(key)
	}
	if !ok {
		return check, pass, nil
	}
	guarded = check
	guarded.Check = func(v tree.View) error {
		if err := check.Ask(v); err != nil {
			return err
		}
		now, err := v.State(r.name)
		if err == nil && put.Met(now) {
			err = &precondition.Failed{Header: afterPut, Want: "no DELETE after a PUT that failed", Name: r.name, Have: now}
		}
		return err
	}
	return guarded, func(err error) {
		failed := new(precondition.Failed)
		if err != nil && !errors.As(err, &failed) || err == nil && string(put.Name) != r.name {
			s.guardFails(r, s.deleteGuard.PutBack(context.WithoutCancel(r.Context()), key, put)) // this DELETE did not follow the PUT
		}
	}, nil
}

// guardKey returns the key of a request's client and a name, and whether the guard watches that client.
func (s *server) guardKey(r *request, name string) (deleteguard.Key, bool) {
	agent := r.UserAgent()
	if !s.deleteGuard.Watches(agent) {
		return deleteguard.Key{}, false
	}
	client := s.TrustedProxies.Client(r.Request).String() + "\x00" + string(tree.PrincipalOf(r.Context()))
	return deleteguard.KeyOf(client, agent, name), true
}

// wasTurnedAway reports whether a connection of the client was refused a moment ago.
func (s *server) wasTurnedAway(r *request) bool {
	return s.Pools.TurnedAway.Lately(s.counted(r.Request), deleteguard.Time) ||
		s.TrustedProxies.Sent(r.Request) && s.Pools.TurnedAway.Lately("", deleteguard.Time)
}

// guardFails handles an error of the guard. It then watches each name of the client, as far as requests come to this server.
func (s *server) guardFails(r *request, err error) {
	if err != nil {
		s.Pools.TurnedAway.Note(s.counted(r.Request))
		s.Log.Warn("the guard for DELETE cannot be told to the other servers: " + err.Error())
	}
}

// putFailed makes the guard watch the name of a PUT that has failed. The caller must call answered when the answer
// has been sent.
func (s *server) putFailed(r *request) (answered func()) {
	key, ok := s.guardKey(r, r.name)
	if !ok {
		return func() {}
	}
	var met tree.State
	ctx := context.WithoutCancel(r.Context()) // the client may have closed the connection: its DELETE comes all the same
	err := s.Store.Try(ctx, r.condition(func(v tree.View) (err error) {
		met, err = v.State(r.name)
		return err
	}))
	switch {
	case errors.Is(err, tree.ErrUnavailable), errors.Is(err, tree.ErrBusy):
		err = s.deleteGuard.FailedUnseen(ctx, key) // the DELETE may come when the store is back
	case err != nil || !met.Exists || met.Collection:
		return func() {} // there is no file to delete
	default:
		err = s.deleteGuard.Failed(ctx, key, met)
	}
	s.guardFails(r, err)
	return func() { _ = s.deleteGuard.Answered(ctx, key) } // the time of Failed has begun, in any case
}

// putRefused makes the guard watch the name of a PUT that was refused before the store was asked about it. If the
// principal is not known, the guard watches every name of this client.
func (s *server) putRefused(r *request) {
	if r.who == nil {
		s.Pools.TurnedAway.Note(s.counted(r.Request))
	} else if key, ok := s.guardKey(r, r.name); ok {
		s.guardFails(r, s.deleteGuard.FailedUnseen(context.WithoutCancel(r.Context()), key))
	}
}

// written ends the guard of a name that the client has written.
func (s *server) written(r *request, name string) {
	if key, ok := s.guardKey(r, name); ok {
		// Where it is not forgotten, the version is another one, and the DELETE is not refused.
		_ = s.deleteGuard.Written(context.WithoutCancel(r.Context()), key)
	}
}
