package auth

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"net/netip"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

// A throttle counts wrong passwords by where they come from and for which user, and refuses more of them for a while.
// No user is ever refused for all addresses: each client could do that to each user.
//
// Where several servers count together, this one remembers only until when the others refuse a source.
type throttle struct {
	now    func() time.Time
	shared Counts // nil: this process counts by itself

	mu     sync.Mutex
	counts *simplelru.LRU[source, *count] // mu
}

// Counts are small texts by keys, which several servers share: the counts of wrong passwords.
type Counts interface {
	// Update has change put new texts in the place of those of some keys, in one step for all servers. It gets a time by one
	// clock for all of them, and nil for a key without a text. A text may be forgotten after the time that it lasts. Update
	// waits for seconds at the most. If it fails, the change may have been made or not.
	Update(ctx context.Context, keys []string, lasts time.Duration, change func(now time.Time, texts [][]byte) error) error
}

// sharedFor is longer than any count takes to fall to nothing.
const sharedFor = 20 * time.Minute

// A source is where passwords come from. A machine has the 64 bits below the prefix of an IPv6 network to itself.
type source struct {
	network netip.Prefix
	user    [16]byte // of the SHA-256 of the name, which may be long, or zero for all names together
}

func sourceOf(addr netip.Addr, name string) source {
	sum := sha256.Sum256([]byte(name))
	return source{networkOf(addr), [16]byte(sum[:])}
}

// key is the key of a source in [Counts].
func (s source) key() string {
	return s.network.String() + "\x00" + string(s.user[:])
}

// A count is how many passwords were wrong, or are being checked.
type count struct {
	N     float64   `json:"n"` // it falls by one each allowance.every
	At    time.Time `json:"at"`
	Until time.Time `json:"until,omitzero"` // all are refused
}

// An allowance is how many wrong passwords there may be.
type allowance struct {
	most    float64
	every   time.Duration // one of them is forgotten after this time
	refused time.Duration // where there are more
}

var (
	perUser    = allowance{most: 10, every: time.Minute, refused: 5 * time.Minute}
	perNetwork = allowance{most: 100, every: 10 * time.Second, refused: 5 * time.Minute}
)

// maxSources bounds the sources that are remembered: some 10 MB. One network cannot push others out, since it is
// refused long before it has used as many names.
const maxSources = 1 << 16

func newThrottle(now func() time.Time) *throttle {
	counts, err := simplelru.NewLRU[source, *count](maxSources, nil)
	if err != nil {
		panic(err) // of a size below one
	}
	return &throttle{now: now, counts: counts}
}

func networkOf(addr netip.Addr) netip.Prefix {
	addr = addr.Unmap().WithZone("")
	bits := addr.BitLen()
	if addr.Is6() {
		bits = 64
	}
	network, _ := addr.Prefix(bits) // that of the zero Addr is the zero Prefix
	return network
}

// refused returns for how long passwords from a network for a user are refused still, or 0 if they are not.
func (t *throttle) refused(s source) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	if c, ok := t.counts.Get(s); ok {
		return max(0, c.Until.Sub(t.now()))
	}
	return 0
}

// update changes the counts of a source: those of its user, and of its network.
func (t *throttle) update(ctx context.Context, s source, change func(now time.Time, user, network *count)) error {
	if t.shared != nil {
		return t.updateShared(ctx, s, change)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.now()
	change(now, t.count(s).fallen(now, perUser), t.count(source{network: s.network}).fallen(now, perNetwork))
	return nil
}

// updateShared is update where several servers count. It remembers until when the source is refused, so that a password
// that this server has proved before is refused as well.
func (t *throttle) updateShared(ctx context.Context, s source, change func(now time.Time, user, network *count)) error {
	var left time.Duration
	keys := []string{s.key(), source{network: s.network}.key()}
	err := t.shared.Update(ctx, keys, sharedFor, func(now time.Time, texts [][]byte) error {
		user, network := parseCount(texts[0], now).fallen(now, perUser), parseCount(texts[1], now).fallen(now, perNetwork)
		change(now, user, network)
		left = user.Until.Sub(now)
		texts[0], texts[1] = user.text(), network.text()
		return nil
	})
	if err == nil {
		t.mu.Lock()
		defer t.mu.Unlock()
		c, until := t.count(s), t.now().Add(left)
		if until.After(c.Until) { // or an answer that came late would end a refusal
			c.Until = until
		}
	}
	return err
}

// parseCount reads a count of another server. One that cannot be read is of a later release, and a new one takes its
// place.
func parseCount(text []byte, now time.Time) *count {
	c := &count{At: now}
	if text != nil && json.Unmarshal(text, c) != nil {
		return &count{At: now}
	}
	return c
}

func (c *count) text() []byte {
	text, _ := json.Marshal(c) // of numbers and times
	return text
}

// begin counts a password that is to be checked, as if it were wrong: else any number could be checked at once. If it
// returns a time, the password is refused for that time, and is not counted. If it fails, the password must not be
// checked.
func (t *throttle) begin(ctx context.Context, s source) (wait time.Duration, err error) {
	err = t.update(ctx, s, func(now time.Time, user, network *count) {
		wait = max(user.Until.Sub(now), network.Until.Sub(now), 0)
		switch {
		case wait > 0:
		case user.full(perUser) || network.full(perNetwork):
			wait = time.Second // those that are being checked are as many as may be wrong
		default:
			user.N++
			network.N++
		}
	})
	return wait, err
}

// right takes back the count of begin. Where that fails, it counts as wrong until it is forgotten.
func (t *throttle) right(ctx context.Context, s source) {
	_ = t.update(ctx, s, func(_ time.Time, user, network *count) {
		user.N, network.N = max(0, user.N-1), max(0, network.N-1)
	})
}

// wrong confirms the count of begin. It returns for how long the answer is to be kept back, and whether this was the
// last one that is checked for now. Where that fails, it is counted all the same.
func (t *throttle) wrong(ctx context.Context, s source) (slow time.Duration, last bool) {
	_ = t.update(ctx, s, func(now time.Time, user, network *count) {
		last = user.refuse(now, perUser)
		last = network.refuse(now, perNetwork) || last
		slow = slowness(user.N)
	})
	return slow, last
}

// full: one more would be more than there may be.
func (c *count) full(a allowance) bool { return c.N > a.most-1 }

// refuse begins to refuse where there were as many as there may be.
func (c *count) refuse(now time.Time, a allowance) bool {
	if !c.full(a) || now.Before(c.Until) {
		return false
	}
	c.Until = now.Add(a.refused)
	return true
}

// slowness is how long the answer to the n-th wrong password in a row is kept back: not for slips, then up to 4
// seconds.
func slowness(n float64) time.Duration {
	if n < 3 {
		return 0
	}
	return min(4*time.Second, 250*time.Millisecond<<int(min(n-3, 10)))
}

// count returns the count of a source. mu must be held.
func (t *throttle) count(s source) *count {
	c, ok := t.counts.Get(s)
	if !ok {
		c = &count{At: t.now()}
		t.counts.Add(s, c)
	}
	return c
}

// fallen lets a count fall by what is forgotten until now, and returns it.
func (c *count) fallen(now time.Time, a allowance) *count {
	if passed := now.Sub(c.At); passed > 0 {
		c.N = max(0, c.N-float64(passed)/float64(a.every))
	}
	c.At = now
	return c
}
