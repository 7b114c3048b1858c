// Package deleteguard keeps clients from deleting a file that they were just refused to replace.
//
// rclone sends an unconditional DELETE of the name after every PUT that fails, also after one whose condition was not
// met, to clear away the half file that other servers leave. Here there is no half file, and the DELETE would remove
// the version that the refusal has protected.
//
// So after a PUT that was refused or failed, one unconditional DELETE of that name by the same client is refused too,
// as long as the name has the version that the PUT has met.
package deleteguard

import (
	"crypto/sha256"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"r-seed-1f3a754f.example/ifmatch/tree"
)

const (
	// Time is how long after the answer to a PUT a DELETE counts as following it.
	Time = 10 * time.Second
	// maxEntries bounds the names that are remembered.
	maxEntries = 4096
)

// A Guard remembers the PUTs that have failed. Its methods may be called at the same time.
type Guard struct {
	agents []string // patterns of the User-Agent, see flat
	now    func() time.Time

	mu     sync.Mutex
	failed *lru.Cache[Key, FailedPut]
	unseen *lru.Cache[Key, time.Time] // DELETEs that were refused because a connection had been refused
}

// A Key stands for a client, its User-Agent and a name. It is a hash, so that the memory of the guard does not depend
// on the length of names.
type Key [sha256.Size]byte

// A FailedPut is a PUT that was refused or has failed.
type FailedPut struct {
	at     time.Time  // the end of the request
	met    tree.State // the state of the name then
	unseen bool       // the version that it met is not known: it may have been sent on a connection that was refused
}

// New returns a guard for clients whose User-Agent matches one of some patterns, in the syntax of [path.Match], but
// with "*" for any text. It fails if a pattern is malformed.
func New(agents []string, now func() time.Time) (*Guard, error) {
	g := &Guard{now: now}
	for _, pattern := range agents {
		pattern = flat(pattern)
		if _, err := path.Match(pattern, ""); err != nil {
			return nil, err
		}
		g.agents = append(g.agents, pattern)
	}
	var err error
	if g.failed, err = lru.New[Key, FailedPut](maxEntries); err == nil {
		g.unseen, err = lru.New[Key, time.Time](maxEntries)
	}
	return g, err
}

// Matches reports whether a User-Agent matches one of some patterns, as those of [New].
func Matches(patterns []string, agent string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool { return matches(flat(pattern), agent) })
}

// Watches reports whether a User-Agent is that of a client to guard against.
func (g *Guard) Watches(agent string) bool {
	return slices.ContainsFunc(g.agents, func(pattern string) bool { return matches(pattern, agent) })
}

func matches(flatPattern, agent string) bool {
	ok, _ := path.Match(flatPattern, flat(agent))
	return ok
}

// flat replaces the slashes of a pattern or a text, because the "*" of path.Match does not match them.
func flat(s string) string { return strings.ReplaceAll(s, "/", "\x00") }

// KeyOf returns the key of a client with a User-Agent and a name. The case of the name does not count, because some
// stores ignore it. A wrong match does no harm: the version is compared too.
func KeyOf(client, agent, name string) Key {
	return sha256.Sum256([]byte(client + "\x00" + agent + "\x00" + strings.ToLower(name)))
}

// Failed notes that a PUT has failed, and the version that it has met.
func (g *Guard) Failed(key Key, met tree.State) { g.failed.Add(key, FailedPut{at: g.now(), met: met}) }

// FailedUnseen notes that a PUT was refused before the store was asked about the name.
func (g *Guard) FailedUnseen(key Key) { g.failed.Add(key, FailedPut{at: g.now(), unseen: true}) }

// Answered makes the time of the last [Guard.Failed] begin anew, because the answer has been sent only now: many
// clients read it only after they have sent the whole body.
func (g *Guard) Answered(key Key) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if put, ok := g.failed.Get(key); ok {
		put.at = g.now()
		g.failed.Add(key, put)
	}
}

// Written forgets the failed PUT, because the client has written the name since.
func (g *Guard) Written(key Key) { g.failed.Remove(key) }

// Take returns the PUT that a DELETE follows, if there is one, and forgets it. So one of two DELETEs is refused.
func (g *Guard) Take(key Key) (FailedPut, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	put, ok := g.failed.Get(key)
	g.failed.Remove(key)
	return put, ok && g.now().Sub(put.at) < Time
}

// TakeUnseen is [Guard.Take] for a client of which a connection was refused a moment ago, so that it is not known which
// PUT has failed. It remembers the name, so that one of two DELETEs is refused here too.
func (g *Guard) TakeUnseen(key Key) (FailedPut, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if at, told := g.unseen.Get(key); told && g.now().Sub(at) < Time {
		return FailedPut{}, false
	}
	g.unseen.Add(key, g.now())
	return FailedPut{at: g.now(), unseen: true}, true
}

// PutBack undoes Take or TakeUnseen for a DELETE that has failed for another reason.
func (g *Guard) PutBack(key Key, put FailedPut) {
	if put.unseen {
		g.unseen.Remove(key)
		return
	}
	g.failed.ContainsOrAdd(key, put)
}

// Met reports whether the PUT has met this version of the name, as far as that is known.
func (p *FailedPut) Met(now tree.State) bool {
	return p.unseen && now.Exists && !now.Collection || sameVersion(now, p.met)
}

// Name returns the name of the PUT, or "" if it is not known.
func (p *FailedPut) Name() string { return p.met.Name }

// sameVersion reports whether two states are of the same version of a file. If a tag is not known, size and date
// decide, because a hash would take too long here.
func sameVersion(a, b tree.State) bool {
	switch {
	case !a.Exists || !b.Exists || a.Collection || b.Collection:
		return false
	case a.Tag != "" && b.Tag != "":
		return a.Tag == b.Tag
	}
	return a.Size == b.Size && a.Modified.Equal(b.Modified)
}
