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
	"context"
	"crypto/sha256"
	"encoding/json"
	"path"
	"slices"
	"strings"
	"time"

	"r-seed-1f3a754f.example/ifmatch/tree"
)

const (
	// Time is how long after the answer to a PUT a DELETE counts as following it.
	Time = 10 * time.Second
	// maxEntries bounds the names that are remembered in memory.
	maxEntries = 4096
)

// A Guard remembers the PUTs that have failed. Its methods may be called at the same time.
type Guard struct {
	agents []string // patterns of the User-Agent
	failed Store
	unseen *memory // the DELETEs that were refused because a connection to this process had been refused
}

// A Store keeps texts by keys for some time. That of several servers has them for all of these. Its methods may be called
// at the same time.
type Store interface {
	// Keep keeps a text for some time, in place of one with the same key.
	Keep(ctx context.Context, key string, text []byte, lasts time.Duration) error
	// Prolong has a text that is there last for some time from now.
	Prolong(ctx context.Context, key string, lasts time.Duration) error
	// Take removes a text and returns it, or nil if there is none. Of several calls at once, one gets it.
	Take(ctx context.Context, key string) ([]byte, error)
}

// A Key stands for a client, its User-Agent and a name. It is a hash, so that the memory of the guard does not depend
// on the length of names.
type Key [sha256.Size]byte

// A FailedPut is a PUT that was refused or has failed, and the version of the name that it has met.
type FailedPut struct {
	Name     []byte    `json:"name,omitempty"` // any bytes; nil if it is not known
	Tag      tree.ETag `json:"tag,omitempty"`
	Size     int64     `json:"size,omitempty"`
	Modified time.Time `json:"modified,omitzero"`
	// Unseen: the version that it met is not known, or the PUT may have been sent on a connection that was refused.
	Unseen bool `json:"unseen,omitempty"`
	// turnedAway: it is of TakeUnseen.
	turnedAway bool
}

// New returns a guard for clients whose User-Agent matches one of some patterns, in the syntax of [path.Match], but
// with "*" for any text. It fails if a pattern is malformed. shared is the store of several servers (nil: the guard is of
// this process), and now the clock of this one.
func New(agents []string, shared Store, now func() time.Time) (*Guard, error) {
	g := &Guard{agents: agents, failed: shared, unseen: newMemory(now)}
	if g.failed == nil {
		g.failed = newMemory(now)
	}
	for _, pattern := range agents {
		if _, err := path.Match(flat(pattern), ""); err != nil {
			return nil, err
		}
	}
	return g, nil
}

// Matches reports whether a User-Agent matches one of some patterns, as those of [New].
func Matches(patterns []string, agent string) bool {
	agent = flat(agent)
	return slices.ContainsFunc(patterns, func(pattern string) bool {
		ok, _ := path.Match(flat(pattern), agent)
		return ok
	})
}

// Watches reports whether a User-Agent is that of a client to guard against.
func (g *Guard) Watches(agent string) bool { return Matches(g.agents, agent) }

// flat replaces the slashes of a pattern or a text, because the "*" of path.Match does not match them.
func flat(s string) string { return strings.ReplaceAll(s, "/", "\x00") }

// KeyOf returns the key of a client with a User-Agent and a name. The case of the name does not count, because some
// stores ignore it. A wrong match does no harm: the version is compared too.
func KeyOf(client, agent, name string) Key {
	return sha256.Sum256([]byte(client + "\x00" + agent + "\x00" + strings.ToLower(name)))
}

// Failed notes that a PUT has failed, and the file that it has met.
func (g *Guard) Failed(ctx context.Context, key Key, met tree.State) error {
	return g.keep(ctx, key, FailedPut{Name: []byte(met.Name), Tag: met.Tag, Size: met.Size, Modified: met.Modified})
}

// FailedUnseen notes that a PUT was refused before the store was asked about the name.
func (g *Guard) FailedUnseen(ctx context.Context, key Key) error {
	return g.keep(ctx, key, FailedPut{Unseen: true})
}

func (g *Guard) keep(ctx context.Context, key Key, put FailedPut) error {
	text, err := json.Marshal(put)
	if err != nil {
		return err
	}
	return g.failed.Keep(ctx, string(key[:]), text, Time)
}

// Answered makes the time of the last [Guard.Failed] begin anew, because the answer has been sent only now: many
// clients read it only after they have sent the whole body.
func (g *Guard) Answered(ctx context.Context, key Key) error {
	return g.failed.Prolong(ctx, string(key[:]), Time)
}

// Written forgets the failed PUT, because the client has written the name since.
func (g *Guard) Written(ctx context.Context, key Key) error {
	_, err := g.failed.Take(ctx, string(key[:]))
	return err
}

// Take returns the PUT that a DELETE follows, if there is one, and forgets it. So one of two DELETEs is refused.
func (g *Guard) Take(ctx context.Context, key Key) (put FailedPut, ok bool, err error) {
	text, err := g.failed.Take(ctx, string(key[:]))
	if err != nil || text == nil {
		return put, false, err
	}
	if json.Unmarshal(text, &put) != nil {
		put = FailedPut{Unseen: true} // of a later release
	}
	return put, true, nil
}

// TakeUnseen is [Guard.Take] for a client of which a connection was refused a moment ago, so that it is not known which
// PUT has failed. It remembers the name, so that one of two DELETEs is refused here too.
func (g *Guard) TakeUnseen(key Key) (FailedPut, bool) {
	return FailedPut{Unseen: true, turnedAway: true}, g.unseen.first(string(key[:]), Time)
}

// PutBack undoes Take or TakeUnseen for a DELETE that has failed for another reason. The time begins anew.
func (g *Guard) PutBack(ctx context.Context, key Key, put FailedPut) error {
	if put.turnedAway {
		_, err := g.unseen.Take(ctx, string(key[:]))
		return err
	}
	return g.keep(ctx, key, put)
}

// Met reports whether the PUT has met this version of the name, as far as that is known. If a tag is not known, size and
// date decide, because a hash would take too long here.
func (p *FailedPut) Met(now tree.State) bool {
	switch {
	case !now.Exists || now.Collection:
		return false
	case p.Unseen || p.Name == nil:
		return p.Unseen
	case now.Tag != "" && p.Tag != "":
		return now.Tag == p.Tag
	}
	return now.Size == p.Size && now.Modified.Equal(p.Modified)
}
