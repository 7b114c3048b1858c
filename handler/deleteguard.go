package handler

import (
	"context"
	"crypto/sha256"
	"errors"
	"path"
	"strings"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"ifmatch/handler/precondition"
	"ifmatch/tree"
)

// A deleteGuard keeps clients from deleting what they were just refused to replace. rclone answers every PUT that fails,
// also one whose condition was not met, with an unconditional DELETE of the name, to clear away the half file that other
// servers would have left. Here there is none, and what would go is the version that the refusal has protected.
//
// After a PUT that was refused or failed, one unconditional DELETE of that name by the same client is refused too, as
// long as the name holds the version that the PUT has met.
type deleteGuard struct {
	agents []string // patterns of the User-Agent
	now    func() time.Time

	mu     sync.Mutex
	failed *lru.Cache[guardKey, failedPut]
	unseen *lru.Cache[guardKey, time.Time] // DELETEs that were refused because a connection had been
}

// A guardKey stands for a client (its address and its User-Agent) and a name. It is a hash, so that the guard's memory
// has a bound, whatever the length of a name.
type guardKey [sha256.Size]byte

type failedPut struct {
	at  time.Time  // when the request ended
	met tree.State // what the name was then

	unseen bool // it may have been on a connection that was refused: whatever there is, it has met
}

const (
	guardTime    = 10 * time.Second
	guardEntries = 4096
)

// newDeleteGuard wants patterns as [path.Match] has them, in which "*" stands for any text.
func newDeleteGuard(agents []string, now func() time.Time) (*deleteGuard, error) {
	g := &deleteGuard{now: now}
	for _, pattern := range agents {
		pattern = flat(pattern)
		if _, err := path.Match(pattern, ""); err != nil {
			return nil, err
		}
		g.agents = append(g.agents, pattern)
	}
	var err error
	if g.failed, err = lru.New[guardKey, failedPut](guardEntries); err == nil {
		g.unseen, err = lru.New[guardKey, time.Time](guardEntries)
	}
	return g, err
}

// flat takes the slashes away, which path.Match would not have "*" stand for.
func flat(s string) string { return strings.ReplaceAll(s, "/", "\x00") }

func (g *deleteGuard) watches(agent string) bool {
	agent = flat(agent)
	for _, pattern := range g.agents {
		if ok, _ := path.Match(pattern, agent); ok {
			return true
		}
	}
	return false
}

// begin notes a PUT that has failed.
func (g *deleteGuard) begin(key guardKey, met tree.State) {
	g.failed.Add(key, failedPut{at: g.now(), met: met})
}

// extend has the time begin anew, now that the answer is out: many clients listen only after they have sent everything.
func (g *deleteGuard) extend(key guardKey) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if put, ok := g.failed.Get(key); ok {
		put.at = g.now()
		g.failed.Add(key, put)
	}
}

// end forgets what has failed: the client has written the name since.
func (g *deleteGuard) end(key guardKey) { g.failed.Remove(key) }

// take returns a PUT that has failed and forgets it, so that of two DELETEs one is refused.
func (g *deleteGuard) take(key guardKey) (failedPut, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	put, ok := g.failed.Get(key)
	g.failed.Remove(key)
	return put, ok && g.now().Sub(put.at) < guardTime
}

// takeUnseen is take for a client of which a connection was refused: what was asked for on that nobody knows. It notes
// the name, so that here, too, one of two DELETEs is refused.
func (g *deleteGuard) takeUnseen(key guardKey) (failedPut, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if at, told := g.unseen.Get(key); told && g.now().Sub(at) < guardTime {
		return failedPut{}, false
	}
	g.unseen.Add(key, g.now())
	return failedPut{at: g.now(), unseen: true}, true
}

// wasTurnedAway reports whether a connection of the client was refused a moment ago.
func (s *server) wasTurnedAway(r *request) bool {
	return s.Pools.TurnedAway.Lately(s.counted(r.Request), guardTime) || s.TrustedProxies.Sent(r.Request) && s.Pools.TurnedAway.Lately("", guardTime)
}

// putBack undoes take for a DELETE that has failed for another reason.
func (g *deleteGuard) putBack(key guardKey, put failedPut) {
	if put.unseen {
		g.unseen.Remove(key)
		return
	}
	g.failed.ContainsOrAdd(key, put)
}

// guardKey returns the key of a request's client and a name, and whether the guard is for that client. Case does not
// count, since it does not to every store; which version is there does.
func (s *server) guardKey(r *request, name string) (guardKey, bool) {
	agent := r.UserAgent()
	if !s.deleteGuard.watches(agent) {
		return guardKey{}, false
	}
	client := s.TrustedProxies.Client(r.Request).String() + "\x00" + string(tree.PrincipalOf(r.Context()))
	return sha256.Sum256([]byte(client + "\x00" + agent + "\x00" + strings.ToLower(name))), true
}

// putFailed has the guard watch the name of a PUT that has failed. It returns what to call when the answer is out.
func (s *server) putFailed(r *request) (answered func()) {
	key, ok := s.guardKey(r, r.name)
	if !ok {
		return func() {}
	}
	var met tree.State
	// The client may have gone, and its DELETE comes all the same.
	err := s.Store.Try(context.WithoutCancel(r.Context()), r.condition(func(v tree.View) (err error) {
		met, err = v.State(r.name)
		return err
	}))
	if err != nil || !met.Exists || met.Collection {
		return func() {} // no file is there that could be deleted
	}
	s.deleteGuard.begin(key, met)
	return func() { s.deleteGuard.extend(key) }
}

// putRefused has the guard watch the name of a PUT that was refused before the store was asked what is there. Where it is
// not known who has sent it, that is any name.
func (s *server) putRefused(r *request) {
	if r.who == nil {
		s.Pools.TurnedAway.Note(s.counted(r.Request))
	} else if key, ok := s.guardKey(r, r.name); ok {
		s.deleteGuard.failed.Add(key, failedPut{at: s.Now(), unseen: true})
	}
}

// written ends the guard of a name that the client has written.
func (s *server) written(r *request, name string) {
	if key, ok := s.guardKey(r, name); ok {
		s.deleteGuard.end(key)
	}
}

// afterPut is what the access log and the 412 call the guard's condition, which is no header of the request.
const afterPut = "delete-guard"

// guardDelete adds to the check of a DELETE that the name does not hold the version a failed PUT has met. Whoever asks
// it says how that ended.
func (s *server) guardDelete(r *request, check tree.Condition) (guarded tree.Condition, decided func(error)) {
	pass := func(error) {}
	key, watched := s.guardKey(r, r.name)
	if !watched || r.cond.Conditional() {
		return check, pass
	}
	put, ok := s.deleteGuard.take(key)
	if !ok && s.wasTurnedAway(r) {
		put, ok = s.deleteGuard.takeUnseen(key)
	}
	if !ok {
		return check, pass
	}
	guarded = check
	guarded.Check = func(v tree.View) error {
		if err := check.Ask(v); err != nil {
			return err
		}
		now, err := v.State(r.name)
		if err == nil && (put.unseen && now.Exists && !now.Collection || sameVersion(now, put.met)) {
			err = &precondition.Failed{Header: afterPut, Want: "no DELETE after a PUT that failed", Name: r.name, Have: now}
		}
		return err
	}
	return guarded, func(err error) {
		failed := new(precondition.Failed)
		if err != nil && !errors.As(err, &failed) || err == nil && put.met.Name != r.name {
			s.deleteGuard.putBack(key, put) // this was not the one
		}
	}
}

// sameVersion reports whether a file is still what it was. Where a tag is not known the rest has to do: nobody waits for
// a hash here.
func sameVersion(a, b tree.State) bool {
	switch {
	case !a.Exists || !b.Exists || a.Collection || b.Collection:
		return false
	case a.Tag != "" && b.Tag != "":
		return a.Tag == b.Tag
	}
	return a.Size == b.Size && a.Modified.Equal(b.Modified)
}
